"""Run a piece of Python as a traced kernel process, and hand its spans back."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

from provcrt_kernel.trace import Access, Span, decode

SCRIPT = """
import json, os, subprocess, sys, time, threading
from provcrt_kernel.trace import attach, encode, supervise

def main():
    count = 0
    def keep(span):
        nonlocal count
        count += 1
        with open({out!r} + f"/span-{{count}}", "wb") as file:
            file.write(encode(span))
    tracer = attach(ignore={ignore!r}, keep={keep!r})
    wanted = {mechanism!r} or os.environ.get("PROVCRT_TRACER", "seccomp")
    assert tracer.mechanism == wanted, (tracer.mechanism, tracer.reason)
    class Spanned:
        def __init__(self, name): self.name = name
        def __enter__(self): tracer.begin(self.name)
        def __exit__(self, *error): keep(tracer.end())
    span = Spanned
{body}

supervise(main)
"""


def script(
    body: str, folder: Path, ignore: tuple[str, ...] = (), mechanism: str = "", keep: str = ""
) -> Path:
    """Write the script whose `body` opens spans by ``with span(name):``; return its path.

    It checks that it is traced by `mechanism`, or by the one that the environment asks for.
    """
    out = folder / "spans"
    out.mkdir(exist_ok=True)
    path = folder / "script.py"
    text = textwrap.indent(textwrap.dedent(body), "    ")
    path.write_text(
        SCRIPT.format(out=str(out), ignore=list(ignore), body=text, mechanism=mechanism, keep=keep)
    )
    return path


def spans_of(folder: Path) -> list[Span]:
    """Return the spans that a script has kept."""
    files = sorted((folder / "spans").iterdir(), key=lambda path: int(path.name.split("-")[1]))
    return [decode(path.read_bytes()) for path in files]


def start(path: Path, **options: object) -> subprocess.Popen[bytes]:
    """Start a script in a session of its own, as Jupyter does."""
    environ = {**os.environ, "PROVCRT_DEBUG": "1", "PYTHONHASHSEED": "0"}
    options = {"env": environ, "start_new_session": True, **options}
    return subprocess.Popen([sys.executable, str(path)], **options)  # type: ignore[call-overload,no-any-return]


def traced(
    body: str, folder: Path, ignore: tuple[str, ...] = (), keep: str = "", **options: object
) -> list[Span]:
    """Run a body to its end; return its spans."""
    process = start(script(body, folder, ignore, keep=keep), **options)
    assert process.wait(120) == 0
    return spans_of(folder)


def by_path(span: Span) -> dict[str, Access]:
    """Return the accesses of a span by path; each path must be there once."""
    found = {access.path: access for access in span.accesses}
    assert len(found) == len(span.accesses)
    return found


def flags(access: Access | None) -> str:
    """Return which flags are set, by their initials: r(ead) s(tated) e(xecuted) l(isted) w(ritten) d(eleted)."""
    if access is None:
        return ""
    names = ("read", "stated", "executed", "listed", "written", "removed")
    return "".join(letter for letter, name in zip("rselwd", names, strict=True) if getattr(access, name))


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if (
                entry.isdigit()
                and int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1]) == pid
            ):
                found.append(int(entry))
    return found


def dump(span: Span) -> str:
    """Return a span for people to read."""
    lines = [f"{flags(a):6} {a.path} {a.first and a.first.kind} {a.link or ''}" for a in span.accesses]
    return "\n".join([span.name, *lines, json.dumps(span.problems)])
