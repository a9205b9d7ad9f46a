"""Against strace: whatever it saw a program do to a path, the span has."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from tracing import by_path, flags, traced

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
    "sqlite": f'{sys.executable} -c \'import sqlite3; c = sqlite3.connect("d.db"); c.execute("create table t(a)"); c.commit()\'',
    "fork": f"{sys.executable} m.py fork",
    "spawn": f"{sys.executable} m.py spawn",
    "threads": f"{sys.executable} t.py",
    "coreutils": "cp -r files c && mv c/sub d && ln -s d e && cat e/b && ln d/b hard && rm -rf c && touch -t 200001010000 hard",
}

POOL = """
import multiprocessing, sys
def work(n):
    return open("files/a").read() + str(n)
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        pool.map(work, range(4))
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


@pytest.mark.skipif(STRACE is None, reason="needs strace")
@pytest.mark.timeout(300)
def test_no_path_is_missed(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    body = ""
    for name, command in PROGRAMS.items():
        folder = root / name
        (folder / "files" / "sub").mkdir(parents=True)
        (folder / "files" / "a").write_text("a")
        (folder / "files" / "sub" / "b").write_text("b")
        (folder / "hello.c").write_text('#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n')
        (folder / "m.py").write_text(POOL)
        (folder / "t.py").write_text(THREADS)
        trace = [
            "strace",
            "-f",
            "-y",
            "-qq",
            "-s",
            "4096",
            "-e",
            "trace=%file",
            "-o",
            str(root / f"{name}.log"),
        ]
        body += f"with span({name!r}):\n"
        body += f"    subprocess.run({[*trace, 'sh', '-c', command]!r}, cwd={str(folder)!r}, check=True)\n"
    spans = traced(body, tmp_path, ignore=(f"{root}/*.log",))
    missing = {}
    for span in spans:
        assert span.complete, (span.name, span.problems)
        assert not span.late
        log = "\n".join(_joined((root / f"{span.name}.log").read_text()))
        seen, read, made = expected(log, str(root / span.name))
        found = by_path(span)
        gone = {path for path in made if not os.path.lexists(path)}
        own = tuple(f"{path}/" for path in made)
        lost = {path for path in seen - set(found) - gone - {"/"} if not path.startswith(own)}
        unread = {
            path for path in read - made if os.path.isfile(path) and not path.startswith(own)
            and "r" not in flags(found.get(path)) and "w" not in flags(found.get(path))
        }  # fmt: skip
        assert len(seen) > 20, span.name
        if lost or unread:
            missing[span.name] = (sorted(lost), sorted(unread))
    assert not missing


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
