"""A command run and traced without a kernel, for `provcrt exec`.

Promise: the command runs in the foreground with the caller's descriptors and signals, and is its own first
process: what the caller does to start it is not in the span.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING, NoReturn

import msgspec

from provcrt_kernel.trace.process import Keeper
from provcrt_kernel.trace.span import Span, decode
from provcrt_kernel.trace.tracer import attach

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as shells have it


def run_traced(
    argv: Sequence[str],
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    ignore: Sequence[str] = (),
    keep: str = "",
    name: str = "command",
) -> tuple[int, Span]:
    """Run a command to its end; return how it ended and what it did.

    To be called from the main thread. Descriptors 0, 1 and 2 are the command's; SIGINT reaches it alone.

    Parameters
    ----------
    argv : sequence of str
        The program, looked up in the PATH of `env`, and its arguments.
    cwd : str, optional
        Where it runs; here by default.
    env : mapping, optional
        Its whole environment; this process's by default.
    ignore : sequence of str
        As `attach` takes it.
    keep : str
        A folder for what the command read and then changed (`Access.before_file`), which is the caller's to remove.
    name : str
        The span's name.

    Returns
    -------
    int
        The exit status, -n where signal n killed it; 127 where the program was not found.
    Span
        In it the command's own calls are ``by_kernel``, those of its children ``by_child``.
    """
    environ = dict(os.environ if env is None else env)
    reader, writer = os.pipe()

    def main() -> None:
        os.close(reader)
        what = cwd or argv[0]
        try:
            if cwd is not None:
                os.chdir(cwd)
            what = argv[0]
            program = shutil.which(what, path=environ.get("PATH", os.defpath))
            tracer = attach(ignore=ignore, keep=keep)
            os.write(writer, (tracer.reason or "").encode())
            os.close(writer)
            if program is None:
                _fail(_NOT_FOUND, f"provcrt: {what}: command not found\n")
            tracer.begin(name)
            os.execve(program, list(argv), environ)
        except BaseException as error:  # this is another process now: the caller's handlers are not for it
            _fail(_NOT_EXECUTABLE, f"provcrt: {what}: {getattr(error, 'strerror', None) or error}\n")

    keeper = Keeper(main, [writer])
    status = os.waitstatus_to_exitcode(keeper.run())
    with open(reader, "rb") as file:
        reason = file.read().decode()
    problem = f"not traced: {reason}" if reason else "the supervisor gave no span"
    span = Span(name, complete=False, problems=(problem,))
    if keeper.last:
        with contextlib.suppress(OSError, msgspec.DecodeError), open(keeper.last, "rb") as file:
            span = decode(file.read())
        shutil.rmtree(os.path.dirname(keeper.last), ignore_errors=True)
    return status, span


def _fail(status: int, line: str) -> NoReturn:
    os.write(2, line.encode())
    os._exit(status)
