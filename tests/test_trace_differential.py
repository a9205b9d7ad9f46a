"""Against strace: whatever it saw a program do to a path, the span has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tracing import by_path, flags, traced

from provcrt_kernel.trace import Span

STRACE = shutil.which("strace")
CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*?)\) += (-?\d+|\?)(.*)$")
NAME = re.compile(r'(?:(AT_FDCWD|\d+)(?:<([^>]*)>)?, )?"((?:[^"\\]|\\.)*)"')
QUIET = ("/proc", "/sys", "/dev")

PROGRAMS = {
    "pandas": f"{sys.executable} -c 'import pandas'",
    "tar": "tar cf x.tar files && mkdir out && tar xf x.tar -C out && rm -r out",
    "find": "find files -type f -newer files/a && find . -name b",
    "pipe": "ls -l files | sort | tr a b > listing",
    "git": "git init -q . && git add files && git -c user.name=a -c user.email=a@b commit -qm x && git status",
    "gcc": "gcc -o hello hello.c && ./hello",
    "static": "gcc -static -o hello hello.c && ./hello",
    "make": "make -s -j2 all && touch one.c && make -s -j2 all && make -s clean",
    "sqlite": "sqlite3 d.db 'create table t(a); insert into t values(1); select * from t' && sqlite3 d.db .dump",
    "sqlite in python": f"{sys.executable} s.py",
    "node": 'node -e \'const fs = require("fs"); fs.writeFileSync("n", fs.readFileSync("files/a")); fs.existsSync("no")\'',
    "fork": f"{sys.executable} m.py fork",
    "spawn": f"{sys.executable} m.py spawn",
    "forkserver": f"{sys.executable} m.py forkserver",
    "threads": f"{sys.executable} t.py",
    "coreutils": "cp -r files c && mv c/sub d && ln -s d e && cat e/b && ln d/b hard && rm -rf c && touch -t 200001010000 hard",
}
MISSING = sorted(
    {command.split()[0] for command in PROGRAMS.values() if not shutil.which(command.split()[0])}
)

MAKEFILE = """
all: one.o two.o
\t@cat one.o two.o > all
%.o: %.c
\t@cp $< $@
clean:
\t@rm -f all one.o two.o
.PHONY: all clean
"""
POOL = """
import multiprocessing, sys
def work(n):
    return open("files/a").read() + str(n)
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        pool.map(work, range(4))
"""
DATABASE = """
import sqlite3
connection = sqlite3.connect("d.db")
connection.execute("create table t(a)")
connection.commit()
"""
THREADS = """
import os, threading
def work(n):
    for i in range(50):
        open(f"out{n}.{i}", "w").close(); os.stat(f"out{n}.{i}"); os.path.exists(f"absent{n}.{i}")
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
"""


def expected(log: str, cwd: str) -> tuple[set[str], set[str], set[str]]:
    """Return the paths strace saw, those among them that were opened for reading, and those that were made."""
    seen: set[str] = set()
    read: set[str] = set()
    made: set[str] = set()
    for line in log.splitlines():
        match = CALL.match(line)
        if match is None:
            continue
        name, arguments, result, _ = match.groups()
        if name in ("symlink", "symlinkat"):
            arguments = arguments.partition(", ")[2]
        names = NAME.findall(arguments if name != "execve" else arguments.partition(", [")[0])
        for place, base, text in names[: 2 if name.startswith(("rename", "link")) else 1]:
            if (not text and "AT_EMPTY_PATH" in arguments) or (text and not text.isascii()):
                continue
            if not text.startswith("/") and not place and name not in ("symlink", "symlinkat"):
                base = cwd
            full = os.path.join(base or cwd, text)
            path = os.path.join(
                os.path.realpath(os.path.dirname(full.rstrip("/"))), os.path.basename(full.rstrip("/"))
            )
            path = os.path.normpath(path)
            if path.startswith(QUIET) or "__pycache__" in path:
                continue
            seen.add(path)
            made_here = "O_CREAT" in arguments or name.startswith(("mkdir", "rename", "link", "symlink"))
            if made_here and result != "-1":
                made.add(path)
            if name in ("open", "openat") and result != "-1" and "O_RDONLY" in arguments and path not in made:
                read.add(os.path.realpath(path))
    return seen, read, made


def prepare(folder: Path) -> None:
    """Make a fresh folder for a program of the corpus."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "files" / "sub").mkdir(parents=True)
    (folder / "files" / "a").write_text("a")
    (folder / "files" / "sub" / "b").write_text("b")
    (folder / "hello.c").write_text(
        '#include <stdio.h>\nint main(void) { puts("hello"); return !fopen("files/a", "r"); }\n'
    )
    for name in ("one.c", "two.c"):
        (folder / name).write_text(name)
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "m.py").write_text(POOL)
    (folder / "t.py").write_text(THREADS)
    (folder / "s.py").write_text(DATABASE)


def strace(log: Path, command: str) -> list[str]:
    return [
        "strace",
        "-f",
        "-y",
        "-qq",
        "-s",
        "4096",
        "-e",
        "trace=%file",
        "-o",
        str(log),
        "sh",
        "-c",
        command,
    ]


def lacks(span: Span, seen: set[str], read: set[str], made: set[str]) -> tuple[list[str], list[str]]:
    """Return what strace saw and the span has not: paths, and files read."""
    found = by_path(span)
    gone = {path for path in made if not os.path.lexists(path)}
    own = tuple(f"{path}/" for path in made)
    lost = {path for path in seen - set(found) - gone - {"/"} if not path.startswith(own)}
    unread = {
        path for path in read - made if os.path.isfile(path) and not path.startswith(own)
        and "r" not in flags(found.get(path)) and "w" not in flags(found.get(path))
    }  # fmt: skip
    assert len(seen) > 10, span.name
    return sorted(lost), sorted(unread)


@pytest.mark.skipif(STRACE is None or bool(MISSING), reason=f"needs strace {' '.join(MISSING)}")
@pytest.mark.timeout(300)
def test_no_path_is_missed(tmp_path: Path) -> None:
    """strace runs inside the span, so both see the very same calls."""
    root = tmp_path.resolve()
    body = ""
    for name, command in PROGRAMS.items():
        prepare(root / name)
        body += f"with span({name!r}):\n"
        body += f"    subprocess.run({strace(root / f'{name}.log', command)!r}, cwd={str(root / name)!r}, check=True)\n"
    missing = {}
    for span in traced(body, tmp_path, ignore=(f"{root}/*.log",)):
        assert span.complete, (span.name, span.problems)
        assert not span.late
        log = "\n".join(_joined((root / f"{span.name}.log").read_text()))
        missing[span.name] = lacks(span, *expected(log, str(root / span.name)))
    assert not {name: lack for name, lack in missing.items() if any(lack)}


@pytest.mark.sweep
@pytest.mark.skipif(STRACE is None or bool(MISSING), reason=f"needs strace {' '.join(MISSING)}")
@pytest.mark.timeout(300)
def test_no_path_is_missed_by_ptrace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    """A task has one tracer, so the runs are apart; what two runs under strace have in common must be in ours."""
    if "sweep" not in pytestconfig.option.markexpr:
        pytest.skip("a sweep: pytest -m sweep")
    monkeypatch.setenv("PROVCRT_TRACER", "ptrace")
    root = tmp_path.resolve()
    wanted: dict[str, tuple[set[str], set[str], set[str]]] = {}
    for _ in range(2):
        for name, command in PROGRAMS.items():
            prepare(root / name)
            log = root / f"{name}.log"
            subprocess.run(strace(log, command), cwd=root / name, check=True, stdout=subprocess.DEVNULL)
            sets = expected("\n".join(_joined(log.read_text())), str(root / name))
            seen, read, made = wanted.get(name, sets)
            wanted[name] = (seen & sets[0], read & sets[1], made | sets[2])
    body = ""
    for name, command in PROGRAMS.items():
        prepare(root / name)
        body += f"with span({name!r}):\n"
        body += f"    subprocess.run(['sh', '-c', {command!r}], cwd={str(root / name)!r}, check=True)\n"
    missing = {}
    for span in traced(body, tmp_path, ignore=(f"{root}/*.log",)):
        assert span.complete, (span.name, span.problems)
        missing[span.name] = lacks(span, *wanted[span.name])
    assert not {name: lack for name, lack in missing.items() if any(lack)}


def _joined(log: str) -> list[str]:
    """Put the halves of interrupted lines together."""
    pending: dict[str, str] = {}
    lines = []
    for line in log.splitlines():
        pid, _, rest = line.partition(" ")
        if rest.endswith("<unfinished ...>"):
            pending[pid] = rest.removesuffix("<unfinished ...>").strip()
        elif rest.strip().startswith("<... "):
            lines.append(f"{pid} {pending.pop(pid, '')}{rest.partition('resumed>')[2]}")
        else:
            lines.append(line)
    return lines


def test_processes_of_a_pipeline(tmp_path: Path) -> None:
    (span,) = traced(
        "with span('x'):\n    subprocess.run('ls / | sort | tr a b > /dev/null', shell=True)", tmp_path
    )
    programs = [process.argv for process in span.processes]
    assert sorted(programs) == sorted(
        [("/bin/sh", "-c", "ls / | sort | tr a b > /dev/null"), ("ls", "/"), ("sort",), ("tr", "a", "b")]
    )
    shell = next(process for process in span.processes if process.argv[0] == "/bin/sh")
    assert {process.parent for process in span.processes if process is not shell} == {shell.pid}
    assert all(process.ended is not None and process.ended >= process.started for process in span.processes)
    assert "e" in flags(by_path(span)[os.path.realpath(shutil.which("ls") or "/bin/ls")])
