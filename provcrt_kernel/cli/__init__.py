"""`provcrt`: a thin face on `runtime`, a module for each theme.

Exit codes: 0; 1 where something cannot be done, with one line that says what happened, to what, and what to
do; 2 for a wrong usage.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from provcrt_kernel.cli import direct
from provcrt_kernel.cli.base import fail
from provcrt_kernel.runtime import ProjectError
from provcrt_kernel.store import StoreError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line.

    Raises
    ------
    SystemExit
        Always, with the exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names need not be text in the user's locale
            stream.reconfigure(errors="surrogateescape" if stream is sys.stdout else "backslashreplace")
    try:
        if not direct.run(words):
            from provcrt_kernel.cli.app import app

            app(args=words)
        sys.stdout.flush()
    except (ProjectError, StoreError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        print("provcrt: interrupted, nothing was kept: run it again", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever read us has seen enough
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(0)
