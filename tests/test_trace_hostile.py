"""Programs that would escape, crowd out or confuse the tracer: each is either seen, or the span says that it is not."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tracing import by_path, flags, script, spans_of, start, traced

from provcrt_kernel.trace import calls
from provcrt_kernel.trace.calls import machine
from provcrt_kernel.trace.notify import shared_page
from provcrt_kernel.trace.supervisor import Supervisor

pytestmark = pytest.mark.usefixtures("mechanism")
X86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the machine code is x86_64")


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


def run(path: Path, **options: object) -> int:
    return start(path, **options).wait(120)


@needs("setpriv")
def test_an_unprivileged_kernel_and_a_setuid_program(tmp_path: Path) -> None:
    """Without CAP_SYS_ADMIN the filter costs NO_NEW_PRIVS; a program that would gain privileges is told of."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a setuid program")
    shutil.copy("/bin/true", tmp_path / "gains")
    os.chmod(tmp_path / "gains", 0o4755)
    body = f"""
    with span("plain"):
        open("/etc/hostname").close()
        subprocess.run(["true"], check=True)
        text = open("/proc/self/status").read()
    print("NoNewPrivs", text.split("NoNewPrivs:")[1].split()[0], flush=True)
    with span("gains"):
        subprocess.run([{str(tmp_path / "gains")!r}], check=True)
    with span("after"):
        open("/etc/hostname").close()
    """
    path = script(body, tmp_path)
    drop = "-sys_admin,-setuid,-setgid,-sys_ptrace"
    command = ["setpriv", f"--bounding-set={drop}", f"--inh-caps={drop}", sys.executable, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    assert done.stdout == "NoNewPrivs 1\n"
    plain, gains, after = spans_of(tmp_path)
    assert (plain.complete, after.complete) == (True, True), plain.problems
    assert flags(by_path(plain)["/etc/hostname"]) == "r"
    assert not gains.complete
    assert "is setuid, and does not get its privileges" in gains.problems[0]


@X86
@needs("gcc")
def test_a_32_bit_program_is_told_of_and_works(tmp_path: Path) -> None:
    source = tmp_path / "narrow.s"
    source.write_text(
        '.globl _start\n_start:\nmov $5,%eax\nmov $path,%ebx\nxor %ecx,%ecx\nint $0x80\n'
        'mov $1,%eax\nmov $7,%ebx\nint $0x80\n.data\npath: .asciz "/etc/hostname"\n'
    )  # fmt: skip
    program = str(tmp_path / "narrow")
    subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-o", program, str(source)], check=True)
    narrow, after = traced(
        f"""
        with span("narrow"):
            assert subprocess.run([{program!r}]).returncode == 7
        with span("after"):
            open("/etc/hostname").close()
        """,
        tmp_path,
    )
    assert not narrow.complete
    assert "32-bit" in " ".join(narrow.problems)
    assert after.complete


@X86
def test_the_x32_door_is_closed(tmp_path: Path) -> None:
    (span,) = traced(
        """
        import ctypes, errno
        libc = ctypes.CDLL(None, use_errno=True)
        with span("x32"):
            assert libc.syscall(0x40000000 | 257, -100, b"/etc/hostname", 0) == -1
            assert ctypes.get_errno() == errno.ENOSYS
        """,
        tmp_path,
    )
    assert span.complete
    assert "/etc/hostname" not in by_path(span)


def test_a_listener_of_its_own_is_told_of(tmp_path: Path) -> None:
    """Its calls would go there and not stop for ptrace; under a listener it gets EBUSY."""
    child = "import ctypes; ctypes.CDLL(None).syscall({}, 1, 8, None)".format(
        {"x86_64": 317, "aarch64": 277}[os.uname().machine]
    )
    first, second = traced(
        f"""
        with span("first"):
            subprocess.run([sys.executable, "-c", {child!r}], check=True)
        with span("second"):
            subprocess.run(["true"], check=True)
        """,
        tmp_path,
    )
    assert not first.complete
    assert "listener of its own" in " ".join(first.problems)
    assert second.complete


DEBUGGERS = {
    "strace": "strace -f -qq -o {out} cat /etc/hostname",
    "gdb": "gdb -q -batch -nx -ex run -ex quit --args cat /etc/hostname",
}


@needs("strace", "gdb")
@pytest.mark.parametrize("name", DEBUGGERS)
def test_a_debugger_inside_a_span(name: str, tmp_path: Path, mechanism: str) -> None:
    """Under a listener it works and hides nothing; under ptrace it is refused, and nobody hangs."""
    command = DEBUGGERS[name].format(out=tmp_path / "log")
    first, after = traced(
        f"""
        with span("debugger"):
            done = subprocess.run({command!r}, shell=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        print({name!r}, done.returncode, flush=True)
        with span("after"):
            subprocess.run(["cat", "/etc/hostname"], check=True, stdout=subprocess.DEVNULL)
        """,
        tmp_path,
    )
    assert after.complete
    assert flags(by_path(after)["/etc/hostname"]) == "r"
    if mechanism == "seccomp":
        assert first.complete, first.problems
        assert flags(by_path(first)["/etc/hostname"]) == "r"


def test_py_spy_looks_at_the_kernel(tmp_path: Path, mechanism: str) -> None:
    spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if spy is None:
        pytest.skip("needs py-spy")
    (span,) = traced(
        f"""
        with span("spied"):
            done = subprocess.run([{spy!r}, "dump", "--pid", str(os.getpid())], stdout=subprocess.PIPE, text=True, timeout=60)
        assert {mechanism!r} == "ptrace" or "MainThread" in done.stdout, done
        """,
        tmp_path,
        stderr=subprocess.DEVNULL,
    )
    assert span.complete, span.problems


def test_many_threads(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (span,) = traced(
        f"""
        def work(n):
            for i in range(20):
                with open("{root}/%d.%d" % (n, i), "w") as file: file.write("x")
                os.path.exists("{root}/absent-%d.%d" % (n, i))
        with span("threads"):
            threads = [threading.Thread(target=work, args=(n,)) for n in range(64)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
        """,
        tmp_path,
    )
    found = by_path(span)
    assert span.complete, span.problems
    wanted = {f"{root}/{n}.{i}": "w" for n in range(64) for i in range(20)}
    wanted |= {f"{root}/absent-{n}.{i}": "s" for n in range(64) for i in range(20)}
    assert {path: flags(found.get(path)) for path in wanted} == wanted


def test_many_processes(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (span,) = traced(
        f"""
        with span("processes"):
            subprocess.run(["sh", "-c", "i=0; while [ $i -lt 1000 ]; do (: > {root}/$i) & i=$((i+1)); done; wait"], check=True)
        """,
        tmp_path,
    )
    found = by_path(span)
    assert span.complete, span.problems
    assert not span.late
    assert all(flags(found.get(f"{root}/{n}")) == "w" for n in range(1000))


def test_many_files_take_little_memory(tmp_path: Path) -> None:
    """At most 1,000 bytes for a file at the supervisor's peak and at ours: a span of 100,000 stays under 100 MB."""
    files = 10_000
    for n in range(files):
        if n % 200 == 0:
            (tmp_path / "files" / str(n // 200)).mkdir(parents=True)
        (tmp_path / "files" / str(n // 200) / str(n)).touch()
    (span,) = traced(
        f"""
        def peak(pid):
            lines = open(f"/proc/{{pid}}/status").read().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
        with span("warm"): pass
        before = [peak(pid) for pid in (os.getppid(), os.getpid())]
        tracer.begin("many")
        for n in range({files}):
            os.stat(f"{tmp_path}/files/{{n // 200}}/{{n}}")
        found = tracer.end()
        after = [peak(pid) for pid in (os.getppid(), os.getpid())]
        assert len(found.accesses) == {files}, len(found.accesses)
        assert all(now - then < 1000 * {files} for now, then in zip(after, before)), (before, after)
        """,
        tmp_path,
    )
    assert span.complete


def test_a_storm_over_one_path_is_looked_at_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever hands calls over: what is repeated in a span is neither looked at nor hashed, and costs its name only."""
    tables = machine()
    assert tables is not None
    numbers = {call.name: number for number, call in tables.calls.items()}
    (tmp_path / "asked").write_text("x")
    asked = ctypes.create_string_buffer(os.fsencode(tmp_path / "asked"))
    begin = ctypes.create_string_buffer(os.fsencode(tmp_path / "run" / "begin" / "1" / "x"))

    def call(name: str, *arguments: int) -> tuple[int, ...]:
        head = (1, os.getpid(), 0, numbers[name], tables.audit, 0, calls.AT_FDCWD)
        return (*head, *arguments, *(0,) * (5 - len(arguments)))

    source = Supervisor(
        shared_page(), print, os.getpid(), rundir=str(tmp_path / "run"), ignore=(), keep="", machine=tables
    )
    source.keeps(call("faccessat", ctypes.addressof(begin)))
    looks = 0
    lstat = os.lstat

    def counted(path: bytes) -> os.stat_result:
        nonlocal looks
        looks += path == asked.value
        return lstat(path)

    monkeypatch.setattr(os, "lstat", counted)
    for _ in range(1000):
        assert not source.keeps(call("newfstatat", ctypes.addressof(asked)))
        assert not source.keeps(call("openat", ctypes.addressof(asked)))
    assert looks <= 2


def test_a_storm_of_signals(tmp_path: Path, mechanism: str) -> None:
    """No call is lost. A signal that comes before the supervisor has taken the call makes it fail with EINTR, rarely."""
    (span,) = traced(
        """
        import signal
        signal.signal(signal.SIGALRM, lambda *_: None)
        interrupted = 0
        with span("storm"):
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            for n in range(3000):
                try: os.stat(f"/etc/../etc/hostname")
                except InterruptedError: interrupted += 1
                if os.path.exists(f"/nowhere/{n}"): raise ValueError
            signal.setitimer(signal.ITIMER_REAL, 0)
        print("interrupted", interrupted, flush=True)
        assert interrupted < 300
        """,
        tmp_path,
    )
    assert span.complete, span.problems
    found = by_path(span)
    missed = [n for n in range(3000) if f"/nowhere/{n}" not in found]
    assert len(missed) < 300 if mechanism == "seccomp" else not missed


@needs("setpriv")
def test_a_child_that_gives_up_new_privileges(tmp_path: Path) -> None:
    (span,) = traced(
        "with span('x'):\n    subprocess.run(['setpriv', '--no-new-privs', 'cat', '/etc/hostname'], check=True, stdout=-3)",
        tmp_path,
    )
    assert span.complete, span.problems
    assert flags(by_path(span)["/etc/hostname"]) == "r"


def test_stopped_and_continued(tmp_path: Path) -> None:
    """Job control: who is stopped stays so until it is told to go on, and its parent hears of both."""
    (span,) = traced(
        """
        import signal
        with span("x"):
            child = subprocess.Popen(["sh", "-c", "while [ ! -e /etc/hostname/ ]; do sleep 0.01; done"])
            time.sleep(0.2)
            child.send_signal(signal.SIGSTOP)
            pid, status = os.waitpid(child.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGSTOP
            time.sleep(0.1)
            assert open(f"/proc/{child.pid}/stat").read().rpartition(")")[2].split()[0] in "Tt"
            child.send_signal(signal.SIGCONT)
            pid, status = os.waitpid(child.pid, os.WCONTINUED)
            assert os.WIFCONTINUED(status)
            child.terminate()
            assert child.wait() == -15
        """,
        tmp_path,
    )
    assert span.complete, span.problems


def test_an_error_while_decoding_keeps_nobody_waiting(tmp_path: Path) -> None:
    tables = machine()
    assert tables is not None
    supervisor = Supervisor(
        shared_page(), print, os.getpid(), rundir=str(tmp_path), ignore=(), keep="", machine=tables
    )
    unknown = (1, os.getpid(), 0, 100_000, tables.audit, 0, 0, 0, 0, 0, 0, 0)
    assert supervisor.keeps(unknown) is False
