"""Keeper, supervisor and kernel process: who ends with whom, and who hears which signal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tracing import by_path, children, flags, script, spans_of, start, traced

from provcrt_kernel.trace import attach, decode

pytestmark = pytest.mark.usefixtures("mechanism")


def until(condition: object, seconds: float = 20.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def family(process: subprocess.Popen[bytes], ready: Path) -> tuple[int, int]:
    """Return the supervisor's and the kernel's pid, once the kernel has written the file `ready`."""
    until(ready.exists)
    (supervisor,) = children(process.pid)
    kernel = int(ready.read_text())
    return supervisor, kernel


def alive(pid: int) -> bool:
    """Say whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


READY = "open({ready!r} + '_', 'w').write(str(os.getpid())); os.rename({ready!r} + '_', {ready!r})\n"


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    return tmp_path / "ready"


def launch(body: str, tmp_path: Path, ready: Path, **options: object) -> subprocess.Popen[bytes]:
    return start(script(READY.format(ready=str(ready)) + body, tmp_path), **options)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("pass", 0),
        ("sys.exit(7)", 7),
        ("sys.exit('no')", 1),
        ("os.kill(os.getpid(), 9)", -9),
        ("os.kill(os.getpid(), 15)", -15),
        ("os.abort()", -6),
        ("raise ValueError", 1),
        ("os._exit(300 % 256)", 44),
    ],
)
def test_the_keeper_ends_as_the_kernel_ended(body: str, status: int, tmp_path: Path, ready: Path) -> None:
    process = launch(body, tmp_path, ready, stderr=subprocess.DEVNULL)
    assert process.wait(30) == status


def test_atexit_runs_and_output_arrives(tmp_path: Path) -> None:
    path = script("import atexit; atexit.register(print, 'bye'); print('hello')", tmp_path)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, timeout=30, check=True)
    assert done.stdout == b"hello\nbye\n"


def test_interrupt_of_the_group_reaches_the_kernel_alone(tmp_path: Path, ready: Path) -> None:
    body = """
try:
    with span("x"):
        open("/etc/hostname").close()
        time.sleep(60)
except KeyboardInterrupt:
    pass
with span("y"):
    os.path.exists("/nowhere")
"""
    process = launch(body, tmp_path, ready)
    supervisor, _ = family(process, ready)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 0
    first, second = spans_of(tmp_path)
    assert (first.complete, second.complete) == (True, True)
    assert flags(by_path(second)["/nowhere"]) == "s"
    until(lambda: not alive(supervisor))


def test_terminate_is_passed_on(tmp_path: Path, ready: Path) -> None:
    process = launch("time.sleep(60)", tmp_path, ready)
    supervisor, kernel = family(process, ready)
    process.terminate()
    assert process.wait(30) == -15
    until(lambda: not alive(kernel) and not alive(supervisor))


@pytest.mark.parametrize("group", [True, False])
def test_the_kernel_dies_with_the_keeper(group: bool, tmp_path: Path, ready: Path) -> None:
    process = launch("time.sleep(60)", tmp_path, ready, start_new_session=group)
    supervisor, kernel = family(process, ready)
    process.kill()
    process.wait()
    until(lambda: not alive(kernel) and not alive(supervisor))


def test_the_kernel_dies_with_who_started_the_keeper(tmp_path: Path, ready: Path) -> None:
    path = script(
        READY.format(ready=str(ready)) + "assert 'JPY_PARENT_PID' not in os.environ; time.sleep(60)", tmp_path
    )
    starter = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import subprocess, sys, time; subprocess.Popen([sys.executable, {str(path)!r}]); time.sleep(60)",
        ],
        env={**os.environ, "JPY_PARENT_PID": "1"},
    )
    until(ready.exists)
    kernel = int(ready.read_text())
    starter.kill()
    starter.wait()
    until(lambda: not alive(kernel))


def test_a_dead_supervisor_loses_no_call(tmp_path: Path, ready: Path, mechanism: str) -> None:
    """By ptrace nothing can take over, and the kernel dies instead of computing on with failed calls."""
    body = (
        f"folder = {str(tmp_path)!r}"
        + """
def work(n):
    for i in range(2500):
        with open(f"{folder}/{n}.{i}", "w") as file: file.write(str(i))
with span("hit"):
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
assert sum(len(open(f"{folder}/{n}.{i}").read()) for n in range(4) for i in range(2500)) == 4 * 8890
with span("after"):
    open("/etc/hostname").close()
    subprocess.run(["ls", "/"], stdout=subprocess.DEVNULL, check=True)
"""
    )
    process = launch(body, tmp_path, ready)
    supervisor, _ = family(process, ready)
    until((tmp_path / "2.200").exists)
    os.kill(supervisor, signal.SIGKILL)
    if mechanism == "ptrace":
        assert process.wait(60) == -9
        return
    assert process.wait(60) == 0
    hit, after = spans_of(tmp_path)
    assert not hit.complete
    assert hit.name == "hit"
    assert after.complete
    assert flags(by_path(after)["/etc/hostname"]) == "r"
    assert [p.argv for p in after.processes] == [("ls", "/")]


def test_a_dead_supervisor_keeps_no_large_file_waiting(tmp_path: Path, ready: Path, mechanism: str) -> None:
    with open(tmp_path / "big", "wb") as file:
        file.truncate(8 << 30)  # seconds to hash
    body = f"""
with span("hit"):
    open({str(tmp_path / "started")!r}, "w").close()
    os.truncate({str(tmp_path / "big")!r}, 0)
"""
    process = launch(body, tmp_path, ready)
    supervisor, _ = family(process, ready)
    until((tmp_path / "started").exists)
    time.sleep(0.2)
    os.kill(supervisor, signal.SIGKILL)
    if mechanism == "ptrace":
        assert process.wait(30) == -9
        return
    assert process.wait(30) == 0
    (hit,) = spans_of(tmp_path)
    assert not hit.complete


def test_processes_that_outlive_a_span_and_the_kernel(tmp_path: Path, ready: Path) -> None:
    body = f"""
with span("birth"):
    what = "read line; cat /etc/hostname > {tmp_path}/copy; sleep 0.2; echo x > {tmp_path}/end"
    child = subprocess.Popen(["sh", "-c", what], stdin=subprocess.PIPE)
os.path.exists("/between")
with span("later"):
    child.stdin.write(b"go\\n"); child.stdin.flush()
    while not os.path.exists("{tmp_path}/copy"): time.sleep(0.01)
    time.sleep(0.1)
"""
    process = launch(body, tmp_path, ready)
    assert process.wait(30) == 0
    birth, later = spans_of(tmp_path)
    assert len(birth.late) == 1
    assert birth.complete
    assert [name.split()[1] for name in later.late] == ["sleep"]
    assert flags(by_path(later)["/etc/hostname"]) == "r"
    assert "/between" not in by_path(birth).keys() | by_path(later).keys()
    until((tmp_path / "end").exists)  # its calls are answered although the kernel process has ended


def test_nested(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = script(
        """
        os.path.exists("/before")
        with span("first"):
            open("/etc/hostname").close()
            subprocess.run(["sh", "-c", "(cat /etc/passwd) >/dev/null; true"], check=True)
        os.path.exists("/between")
        with span("second"):
            os.path.exists("/second")
            open("/etc/hostname").close()
        """,
        inner,
        mechanism="joined",
    )
    outer, after = traced(
        f"""
        with span("outer"):
            os.path.exists("/outer")
            subprocess.run([sys.executable, {str(path)!r}], check=True)
        with span("after"):
            os.path.exists("/after")
        """,
        tmp_path,
    )
    first, second = spans_of(inner)
    assert all(span.complete for span in (outer, after, first, second)), (outer.problems, first.problems)
    asked = {"/before", "/between", "/second", "/outer", "/after", "/etc/hostname", "/etc/passwd"}
    assert asked & by_path(first).keys() == {"/etc/hostname", "/etc/passwd"}
    assert asked & by_path(second).keys() == {"/etc/hostname", "/second"}
    assert asked & by_path(outer).keys() == asked - {"/after"}
    assert asked & by_path(after).keys() == {"/after"}
    assert by_path(first)["/etc/hostname"].by_kernel
    assert by_path(first)["/etc/passwd"].by_child
    assert by_path(outer)["/etc/hostname"].by_child
    assert [process.argv[0] for process in first.processes] == ["sh", "cat"]
    assert not [path for path in by_path(outer) if "provcrt-" in path]


def test_without_a_supervisor() -> None:
    tracer = attach(ignore=[])
    tracer.begin("x")
    span = tracer.end()
    assert (tracer.mechanism, span.complete, span.accesses) == ("none", False, ())
    assert tracer.reason in span.problems[0]
    tracer.close()


def test_entropy_and_network(tmp_path: Path) -> None:
    none, some, device, talk = traced(
        """
        import socket
        server = socket.create_server(("127.0.0.1", 0))
        with span("none"):
            subprocess.run(["true"])
        with span("some"):
            os.urandom(16)
        with span("device"):
            open("/dev/urandom", "rb").read(1)
        with span("talk"):
            socket.create_connection(server.getsockname()).close()
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.sendto(b"x", ("127.0.0.1", 9))
            s.connect(("192.0.2.1", 53))
            u = socket.socket(socket.AF_UNIX)
            try: u.connect("/nowhere/socket")
            except OSError: pass
        """,
        tmp_path,
    )
    assert (none.entropy, some.entropy, device.entropy) == (0, 1, 1)
    assert [(e.address, e.own) for e in talk.endpoints] == [
        ("127.0.0.1", True),
        ("127.0.0.1", False),
        ("192.0.2.1", False),
    ]
    assert flags(by_path(talk)["/nowhere/socket"]) == "s"


def test_connections_that_stay_open(tmp_path: Path) -> None:
    """Whoever speaks over a connection of an earlier span speaks to its other end; who lets it be does not."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()

        def answer() -> None:
            line, _ = server.accept()
            while data := line.recv(10):
                line.sendall(data)
            time.sleep(0.3)  # what it sends unasked
            line.close()

        thread = threading.Thread(target=answer)
        thread.start()
        spans = traced(
            f"""
            import socket
            with span("met"): line = socket.create_connection({address!r})
            with span("idle"): subprocess.run(["true"])
            with span("used"): line.send(b"x"); line.recv(1)
            with span("idle"): pass
            with span("child"): subprocess.run(["sh", "-c", f"echo y >&{{line.fileno()}}"], pass_fds=[line.fileno()])
            time.sleep(0.1)
            with span("heard"): line.recv(2)
            with span("closed"): line.close()
            with span("over"): pass
            """,
            tmp_path,
        )
        thread.join()
    assert [[e.port for e in span.endpoints if e.family == "inet"] for span in spans] == [
        [address[1]], [], [address[1]], [], [address[1]], [address[1]], [address[1]], [],
    ]  # fmt: skip


def test_a_supervisor_that_fails_while_the_filter_is_installed(tmp_path: Path) -> None:
    """It cannot answer, so whoever has the filter ends, and says why."""
    path = tmp_path / "fails.py"
    path.write_text(
        "from provcrt_kernel.trace import attach, house, supervise\n"
        "def fails(*arguments): raise RuntimeError\n"
        "house.listen = fails\n"
        "supervise(lambda: attach(ignore=[]))\n"
    )
    done = subprocess.run(
        [sys.executable, path],
        env={**os.environ, "PROVCRT_TRACER": "seccomp"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -9
    assert b"the supervisor failed while the filter was installed" in done.stderr


def test_names_that_name_servers_are_asked_for(tmp_path: Path) -> None:
    """By libc's resolver, by a message with an address, and by none; what is not a question bears no name."""
    asking, plain = traced(
        """
        import socket, struct
        def question(name):
            labels = b"".join(bytes([len(word)]) + word for word in name.encode().split(b"."))
            return struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack(">2H", 1, 1)
        server = ("192.0.2.1", 53)
        def send(act):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                try: act(s)
                except OSError: pass  # there may be no route
        with span("asking"):
            send(lambda s: s.sendto(question("to.example"), server))
            send(lambda s: s.sendmsg([question("msg.example")], [], 0, server))
            send(lambda s: (s.connect(server), s.send(question("connected.example"), socket.MSG_NOSIGNAL)))
            send(lambda s: (s.connect(server), s.sendmsg([question("message.example")])))
            send(lambda s: s.sendto(b"no question, whatever it is for", server))
            subprocess.run(["getent", "hosts", "1.0.0.127.in-addr.arpa.example"])
            socket.getaddrinfo("localhost", 80)
            send(lambda s: s.connect(("127.0.0.1", 9)))
        with span("plain"):
            send(lambda s: s.connect(server))
            send(lambda s: (s.connect(("192.0.2.2", 80)), s.send(question("web.example"), socket.MSG_NOSIGNAL)))
        """,
        tmp_path,
    )
    assert asking.complete
    assert plain.complete
    by_address = {e.address: e for e in asking.endpoints if e.family == "inet"}
    assert by_address["192.0.2.1"].names == tuple(
        f"{name}.example" for name in ("to", "msg", "connected", "message")
    )
    assert len(by_address["192.0.2.1"].pids) == 1
    assert "localhost" in by_address["127.0.0.1"].names
    assert not any(e.names for e in plain.endpoints if e.port == 80)
    for server in resolvers():  # what libc itself asks them
        assert server not in by_address or "1.0.0.127.in-addr.arpa.example" in by_address[server].names


def resolvers() -> list[str]:
    """Return the name servers that libc asks."""
    path = Path("/etc/resolv.conf")
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split()[1] for line in lines if line.startswith("nameserver ")]


def test_memory_shared_by_a_key_is_told_of(tmp_path: Path) -> None:
    private, keyed = traced(
        """
        import ctypes
        libc = ctypes.CDLL(None)
        with span("private"):
            segment = libc.shmget(0, 64, 0o600)
            assert segment >= 0
            libc.shmctl(segment, 0, None)
        with span("keyed"):
            libc.shmget(0x50435254, 64, 0)
        """,
        tmp_path,
    )
    assert private.complete
    assert "shmget" in keyed.problems[0]


def test_files_that_stay_open(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "in").write_text("x" * 100)
    spans = traced(
        f"""
        source = open("{root}/in", "rb", buffering=0)
        idle = open("{root}/in", "rb")
        log = open("{root}/log", "w")
        with span("idle"): pass
        with span("read"): source.read(10)
        with span("write"): log.write("x"); log.flush()
        with span("closed"): idle.close()
        """,
        tmp_path,
    )
    assert [{Path(a.path).name: flags(a) for a in span.accesses} for span in spans] == [
        {}, {"in": "r"}, {"log": "rw"}, {"in": "r"},
    ]  # fmt: skip
    assert spans[2].accesses[0].problems


def test_escapes_are_told(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (root,) = traced("with span('x'):\n    subprocess.run(['/usr/sbin/chroot', '/', 'true'])", tmp_path)
    assert not root.complete
    assert "names mean" in root.problems[0]


COMMAND = """
import os, sys
from provcrt_kernel.trace import encode, run_traced
status, span = run_traced({argv!r}, cwd={cwd!r}, env={env!r})
open({out!r}, "wb").write(encode(span))
print("status", status, flush=True)
"""


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (["sh", "-c", "cat; cat in >&2; echo x > out; ls | sort > /dev/null; exit 5"], 5),
        (["sh", "-c", "kill -9 $$"], -9),
        (["no-such-command"], 127),
    ],
)
def test_a_command_without_a_kernel(argv: list[str], status: int, tmp_path: Path) -> None:
    folder = tmp_path.resolve() / "folder"
    folder.mkdir()
    (folder / "in").write_text("content")
    env = {"PATH": "/usr/bin:/bin"}
    code = COMMAND.format(argv=argv, cwd=str(folder), env=env, out=str(tmp_path / "span"))
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"piped", capture_output=True, timeout=60, check=True
    )
    assert done.stdout.endswith(f"status {status}\n".encode())
    span = decode((tmp_path / "span").read_bytes())
    if status == 127:
        assert b"not found" in done.stderr
        return
    assert span.complete
    assert span.processes[0].argv == tuple(argv)
    if status == 5:
        assert (done.stdout, done.stderr) == (b"pipedstatus 5\n", b"content")
        found = by_path(span)
        assert (flags(found[f"{folder}/in"]), flags(found[f"{folder}/out"])) == ("r", "w")
        assert not [path for path in found if "site-packages" in path]
        assert {process.parent for process in span.processes} == {0, span.processes[0].pid}


def test_whose_access_it_was(tmp_path: Path) -> None:
    folder = tmp_path.resolve() / "folder"
    folder.mkdir()
    (folder / "in").write_text("1\n")
    (folder / "more").write_text("2\n")
    script = """
        cat in > mid; sort < mid > out; cp out copy; (cat copy more; true) >> log; rm more; mv copy moved
        for n in 1 2 3; do cat in; done >/dev/null; exec tail -n 1 moved
    """
    argv, env = ["sh", "-c", script], {"PATH": "/usr/bin:/bin"}
    code = COMMAND.format(argv=argv, cwd=str(folder), env=env, out=str(tmp_path / "span"))
    subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=True)
    span = decode((tmp_path / "span").read_bytes())
    names = [process.argv[0] for process in span.processes]

    def who(places: tuple[int, ...]) -> list[str]:
        return sorted(names[place] for place in places if names[place] != "sh")

    found = by_path(span)
    told = {
        name: found.get(f"{folder}/{name}") for name in ("in", "mid", "out", "copy", "log", "more", "moved")
    }
    readers = {name: who(access.readers) for name, access in told.items() if access}
    writers = {name: who(access.writers) for name, access in told.items() if access}
    assert readers["in"] == ["cat"] * 4
    assert (writers["mid"], readers["mid"]) == (["cat"], ["sort"])
    assert (writers["out"], readers["out"]) == (["sort"], ["cp"])
    assert (writers["log"], readers["more"], writers["more"]) == (["cat"], ["cat"], ["rm"])
    assert (writers["moved"], readers["moved"]) == (["mv"], ["tail"])
    (libc,) = {path for path in found if path.endswith("/libc.so.6")}
    assert len(found[libc].readers) == len([name for name in names if name != "sh"]) + 1


def test_files_that_stay_mapped(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    for name in ("shared", "private", "written"):
        (root / name).write_bytes(b"x" * 4096)
    (span,) = traced(
        f"""
        import mmap
        def map_it(name, mode, **how):
            with open(f"{root}/" + name, mode) as file:
                return mmap.mmap(file.fileno(), 0, **how)
        maps = [map_it("shared", "rb", access=mmap.ACCESS_READ), map_it("private", "rb", access=mmap.ACCESS_COPY),
                map_it("written", "r+b")]
        with span("x"):
            maps[2][:1] = b"y"
        """,
        tmp_path,
    )
    assert {Path(a.path).name: flags(a) for a in span.accesses} == {
        "shared": "r",
        "private": "r",
        "written": "rw",
    }
    assert [bool(a.problems) for a in span.accesses] == [False, False, True]


def test_ways_round_the_filter(tmp_path: Path) -> None:
    """io_uring is refused, so that programs fall back; a 32-bit call makes the span incomplete, and works."""
    if os.uname().machine != "x86_64":
        pytest.skip("the machine code is x86_64")
    ring, narrow, after = traced(
        """
        import ctypes, errno, mmap
        libc = ctypes.CDLL(None, use_errno=True)
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(bytes.fromhex("53 b8 05000000 31db 31c9 31d2 cd80 5b c3"))  # open(NULL, 0, 0) by int 0x80
        call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
        with span("ring"):
            assert libc.syscall(425, 1, None) == -1
            assert ctypes.get_errno() == errno.ENOSYS
        with span("narrow"):
            assert call() in (-errno.EFAULT, -errno.ENOSYS)
        with span("after"):
            pass
        """,
        tmp_path,
    )
    assert ring.complete
    assert not narrow.complete
    assert "32-bit" in narrow.problems[0]
    assert after.complete


def test_a_file_mapped_between_spans(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "late").write_bytes(b"x" * 4096)
    first, second = traced(
        f"""
        import mmap
        with span("first"):
            pass
        with open("{root}/late", "rb") as file:
            held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        with span("second"):
            held[0]
        """,
        tmp_path,
    )
    assert not first.accesses
    assert flags(by_path(second)[f"{root}/late"]) == "r"


def test_a_file_system_of_its_own_does_not_hang(tmp_path: Path) -> None:
    """A FUSE server's calls wait for the supervisor, so the supervisor must not wait for the server."""
    mounting, after = traced(
        """
        import ctypes
        libc = ctypes.CDLL(None)
        with span("mounting"):
            libc.mount(b"none", b"/nowhere", b"fuse.test", 0, None)
            os.stat("/etc")
        with span("after"):
            os.stat("/etc")
        """,
        tmp_path,
    )
    assert (mounting.complete, after.complete) == (False, False)
    assert "FUSE" in " ".join(after.problems)


def test_a_signal_wakes_the_first_thread(tmp_path: Path) -> None:
    """Also where that thread is just being watched, while others sleep: Linux would choose one of them."""
    traced(
        """
        import signal
        for n in range(4):
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        class Woken(Exception): pass
        def wake(*_): raise Woken
        signal.signal(signal.SIGUSR1, wake)
        sender = "import os, sys\\nwhile os.read(0, 1): os.kill(int(sys.argv[1]), 10)"
        child = subprocess.Popen([sys.executable, "-c", sender, str(os.getpid())], stdin=subprocess.PIPE)
        late = False
        with span("x"):
            for turn in range(300):
                begun = time.monotonic()
                try:
                    os.write(child.stdin.fileno(), b"x")
                    os.stat("/")
                    time.sleep(20)
                except Woken:
                    late = time.monotonic() - begun > 15
                if late: break
        child.stdin.close()
        os._exit(late)
        """,
        tmp_path,
    )


def test_a_guest_joins_the_successor(tmp_path: Path, ready: Path, mechanism: str) -> None:
    if mechanism == "ptrace":
        pytest.skip("by ptrace nobody can take over")
    inner = tmp_path / "inner"
    inner.mkdir()
    body = f"""
    with span("hit"):
        open({str(ready)!r}, "w").write(str(os.getppid()))
        while not os.path.exists({str(ready)!r} + "-killed"): time.sleep(0.01)
    for name in ("lost", "after"):
        with span(name):
            open("/etc/hostname").close()
    """
    path = script(body, inner, mechanism="joined")
    process = start(
        script(
            f"with span('outer'):\n    subprocess.run([sys.executable, {str(path)!r}], check=True)", tmp_path
        )
    )
    until(ready.exists)
    (supervisor,) = children(process.pid)
    os.kill(supervisor, signal.SIGKILL)
    time.sleep(0.2)
    Path(f"{ready}-killed").touch()
    assert process.wait(60) == 0
    hit, lost, after = spans_of(inner)
    assert not hit.complete
    assert lost.complete  # joined again when it began
    assert after.complete
    assert flags(by_path(after)["/etc/hostname"]) == "r"
    (outer,) = spans_of(tmp_path)
    assert not outer.complete
