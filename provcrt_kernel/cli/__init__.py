"""`provcrt`: a thin face on `runtime`, a module for each theme.

Exit codes: 0; 1 where something cannot be done, with one line that says what happened, to what, and what to
do; 2 for a wrong usage.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from provcrt_kernel import __version__
from provcrt_kernel.cli import changing, labels, projects, running, telling
from provcrt_kernel.cli.base import fail
from provcrt_kernel.runtime import ProjectError
from provcrt_kernel.store import StoreError

__all__ = ["main"]

app = typer.Typer(
    name="provcrt",
    help="Run notebooks as records of what they did, and repeat them.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
for theme in (projects, running, changing, labels, telling):
    app.add_typer(theme.app)


@app.callback()
def _about(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line.

    Raises
    ------
    SystemExit
        Always, with the exit code.
    """
    try:
        app(args=arguments)
    except (ProjectError, StoreError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        print("provcrt: interrupted, nothing was kept: run it again", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever read us has seen enough
        sys.stdout = None
    sys.exit(0)
