"""A kernel's process that is traced from its first call on, here or in a sandbox, while its client stays outside.

The client starts ``python -m provcrt_kernel.runtime.host FOLDER`` where it would start the kernel. ::

    FOLDER/task        what to run: `Task`
    FOLDER/k-1 …       the kernel's sockets (unix(7)), which a sandbox without network sees, too
    FOLDER/span        what it did, once it has ended

Whoever kills this process has killed the kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from provcrt_kernel.runtime.sandbox import Sandbox
from provcrt_kernel.trace import Span, decode, encode, run_traced

_LONGEST = 80  # bytes of the folder's name: a socket's may have 107 (unix(7))
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Task(msgspec.Struct, frozen=True):
    """A kernel to be run.

    Attributes
    ----------
    argv : tuple of str
    cwd : str
    environ : dict of str to str
    ignore, keep
        As `trace.run_traced` takes them.
    sandbox : Sandbox or None
        Where; here, by default.
    """

    argv: tuple[str, ...]
    cwd: str
    environ: dict[str, str]
    ignore: tuple[str, ...] = ()
    keep: str = ""
    sandbox: Sandbox | None = None


class Host:
    """The client's side of it; made by `hosting`.

    Attributes
    ----------
    folder : Path
        Seen by the kernel at the same place.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def connection_file(self) -> str:
        """Where the kernel is told of its sockets."""
        return f"{self.folder}/kernel.json"

    @property
    def sockets(self) -> str:
        """What the names of the kernel's sockets begin with."""
        return f"{self.folder}/k"

    def prepare(
        self,
        argv: Sequence[str],
        cwd: str,
        environ: Mapping[str, str],
        *,
        ignore: Sequence[str] = (),
        keep: str = "",
        sandbox: Sandbox | None = None,
    ) -> None:
        """Say what is to be run; ``{connection_file}`` in the command line is replaced."""
        words = tuple(word.replace("{connection_file}", self.connection_file) for word in argv)
        task = Task(words, cwd, dict(environ), tuple(ignore), keep, sandbox)
        (self.folder / "task").write_bytes(msgspec.json.encode(task))

    @property
    def argv(self) -> list[str]:
        """What the client starts."""
        return [sys.executable, "-m", __name__, str(self.folder)]

    def span(self) -> Span:
        """Return what the kernel did; it must have ended."""
        try:
            return decode((self.folder / "span").read_bytes())
        except (OSError, msgspec.DecodeError):
            return Span("kernel", complete=False, problems=("what traced the kernel was killed",))


@contextlib.contextmanager
def hosting() -> Iterator[Host]:
    """Yield a host, whose folder is gone afterwards; OSError where there can be none."""
    parent = tempfile.gettempdir()
    folder = tempfile.mkdtemp(
        prefix="provcrt-", dir=parent if len(os.fsencode(parent)) < _LONGEST else "/tmp"
    )
    try:
        yield Host(Path(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(folder: Path) -> int:
    """Run what a task says; return the exit status."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    task = msgspec.json.decode((folder / "task").read_bytes(), type=Task)
    if task.sandbox is not None:
        status, span = task.sandbox.run(task.argv, task.cwd, task.environ)
    else:
        status, span = run_traced(
            task.argv, cwd=task.cwd, env=task.environ, ignore=task.ignore, keep=task.keep
        )
    draft = folder / "span.new"
    draft.write_bytes(encode(span))
    draft.replace(folder / "span")
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
