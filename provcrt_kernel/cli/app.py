"""The whole command line, which typer reads."""

from __future__ import annotations

from typing import Annotated

import typer

from provcrt_kernel import __version__
from provcrt_kernel.cli import changing, labels, projects, running, telling

app = typer.Typer(
    name="provcrt",
    help="Contain, audit, repeat, compare and explain runs of commands and notebooks.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
for theme in (projects, running, changing, labels, telling):
    app.add_typer(theme.app)


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _about(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_tell_version),
    ] = False,
) -> None:
    """Take the options that stand before a command."""
