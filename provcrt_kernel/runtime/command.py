"""Run a command traced, in place or in a sandbox, with its streams passed through and kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.streams import Copier
from provcrt_kernel.trace import Span, run_traced

Run = Callable[[Sequence[str], str, Mapping[str, str]], tuple[int, Span]]


@dataclass(frozen=True)
class Ran:
    """A command that has ended.

    Attributes
    ----------
    status : int
        Its exit status, -n where signal n killed it.
    span : Span
        What it did.
    started, seconds : float
        When, in seconds since the epoch, and for how long.
    """

    status: int
    span: Span
    started: float
    seconds: float


def runnable(argv: Sequence[str], cwd: str, environ: Mapping[str, str]) -> list[str]:
    """Return the command line that starts `argv`, whose program is looked for as a shell does, and then here.

    Raises
    ------
    ProjectError
        Where there is no such program, or it cannot be executed.
    """
    name = argv[0]
    if not name:
        raise ProjectError.cannot_run(name, "its name is empty")
    program = name
    if "/" not in name:
        program = shutil.which(name, path=environ.get("PATH", os.defpath)) or f"./{name}"
    place = os.path.join(cwd, program)
    if os.path.isdir(place):
        raise ProjectError.cannot_run(name, "it is a folder")
    if not os.path.isfile(place):
        raise ProjectError.cannot_run(name, "there is no such program")
    if not os.access(place, os.X_OK):
        raise ProjectError.cannot_run(name, "it is not executable: `chmod +x` it")
    if _is_text(place):
        return ["/bin/sh", program, *argv[1:]]  # as execvp(3) does
    return [name if program == name or not program.startswith("./") else program, *argv[1:]]


def in_place(ignore: Sequence[str], keep: Path | None = None) -> Run:
    """Return what runs a command here; `ignore` and `keep` as `trace.run_traced` takes them."""
    folder = str(keep or "")
    return lambda argv, cwd, environ: run_traced(argv, cwd=cwd, env=environ, ignore=ignore, keep=folder)


def run(
    argv: Sequence[str],
    cwd: str,
    environ: Mapping[str, str],
    folder: Path,
    runner: Run,
    *,
    show: bool = True,
    stdin: Path | None = None,
) -> Ran:
    """Run a command to its end.

    Parameters
    ----------
    argv, cwd, environ
        What to run, and where, with which environment.
    folder : Path
        Where its streams are kept, as files ``stdin``, ``stdout`` and ``stderr``.
    runner : callable
        `in_place`, or what a sandbox offers.
    show : bool
        Pass its output on to ours.
    stdin : Path, optional
        A file to be its standard input, instead of ours.

    Raises
    ------
    KeyboardInterrupt
        Where SIGINT ended it.
    ProjectError
        Where its streams cannot be kept.
    """
    given = os.open(stdin, os.O_RDONLY) if stdin is not None else None
    try:
        copier = Copier(folder, show=show, given=given)
    except OSError as cause:
        raise ProjectError.cannot_write(folder, cause) from cause
    started, begun = time.time(), time.monotonic()
    try:
        with _as_ours(copier):
            status, span = runner(argv, cwd, environ)
    finally:
        kept = copier.finish()
        if given is not None:
            os.close(given)
    if status == -signal.SIGINT:
        raise KeyboardInterrupt
    if not kept:
        raise ProjectError.cannot_write(folder, OSError(28, "No space left on device"))
    return Ran(status, span, started, time.monotonic() - begun)


@contextlib.contextmanager
def _as_ours(copier: Copier) -> Iterator[None]:
    """Have the command's streams as our own descriptors 0, 1 and 2 meanwhile."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()  # or what our caller printed before would be the command's
    saved = [os.dup(number) for number in range(3)]
    try:
        for number, theirs in enumerate(copier.descriptors):
            os.dup2(theirs, number)
        copier.started()
        yield
    finally:
        for number, ours in enumerate(saved):
            os.dup2(ours, number)
            os.close(ours)


def _is_text(place: str) -> bool:
    """Tell whether an executable file is a script that names no interpreter."""
    try:
        with open(place, "rb") as file:
            head = file.read(128)
    except OSError:
        return False
    return not head.startswith((b"\x7fELF", b"#!")) and b"\0" not in head


def umask() -> int:
    """Return the umask of this process."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def masked(mask: int) -> Iterator[None]:
    """Have another umask meanwhile."""
    before = os.umask(mask & 0o777)
    try:
        yield
    finally:
        os.umask(before)
