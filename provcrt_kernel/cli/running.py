"""Run things: as a reference, again, changed, or beside a run from scratch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from provcrt_kernel.cli import runs
from provcrt_kernel.cli.arguments import Id, Json, Network
from provcrt_kernel.cli.base import fail, print_cells, print_json, print_total, progress, say
from provcrt_kernel.runtime import Project

app = typer.Typer()


@app.command(
    "exec",
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
    },
)
def execute(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND [ARGUMENT]...", help="A command, or a notebook (.ipynb).")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where the executed notebook goes, too."),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="A notebook's parameter."),
    ] = None,
    json: Json = False,
) -> None:
    """Run a command, or a notebook from beginning to end, as a reference execution."""
    if not runs.is_notebook(command[0]):
        runs.execute(command, json=json)
    notebook, *options = command
    told = _Options(output, json)
    told.take([*(word for each in parameter or () for word in ("-p", each)), *options])
    json = told.json
    path = Path(notebook)
    project = Project.open(path.absolute().parent)
    execution = project.execute(path, output=told.output, parameters=told.parameters, on_cell=progress(json))
    if json:
        print_json(execution)
    else:
        print(execution.id)
        print_cells(execution.cells)
        print_total(execution.cells, execution.seconds)
        if told.output is None and sys.stderr.isatty():  # a hint for who types
            say(f"the executed notebook is {project.executed(execution.id)[0]}")
    runs.end_as(execution)


@dataclass
class _Options:
    """The options behind a notebook's name: what stands behind a command's is the command's."""

    output: Path | None
    json: bool
    parameters: dict[str, str] = field(default_factory=dict)

    def take(self, words: Sequence[str]) -> None:
        """Take them all."""
        waiting = list(words)
        while waiting:
            word = waiting.pop(0)
            value = waiting.pop(0) if word in ("-o", "--output", "-p", "--parameter") and waiting else ""
            if word == "--json":
                self.json = True
            elif word in ("-o", "--output") and value:
                self.output = Path(value)
            elif word in ("-p", "--parameter") and "=" in value:
                name, _, self.parameters[name] = value.partition("=")
            else:
                raise typer.BadParameter(
                    f"a notebook takes no {word!r}: it takes -p name=value, -o and --json"
                )


@app.command()
def repeat(
    id: Id,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where it diverges.")] = False,
    no_isolation: Annotated[bool, typer.Option("--no-isolation", help="Run in place.")] = False,
    no_memo: Annotated[bool, typer.Option("--no-memo", help="Run every cell, replay none.")] = False,
    network: Network = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Folder for what a command wrote; file for an executed notebook."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Repeat an execution on its container's content, isolated, and compare; a notebook incrementally."""
    runs.repeat(
        id,
        strict=strict,
        isolation=not no_isolation,
        memo=not no_memo,
        network=network,
        output=output,
        json=json,
    )


@app.command()
def audit(
    target: Annotated[
        str, typer.Argument(metavar="NOTEBOOK|ID", help="A notebook (.ipynb), or an execution.")
    ],
    everything: Annotated[bool, typer.Option("--all", help="Judge the cells that had to run, too.")] = False,
    json: Json = False,
) -> None:
    """Run a notebook, replaying what did not change, and then from scratch beside it: was every record right?

    Exits with 1 where a record was wrong.
    """
    from provcrt_kernel.kernel.audit import report
    from provcrt_kernel.runtime.audit import audit_file

    if target.endswith(".ipynb"):
        found = audit_file(Path(target), everything=everything, on_cell=progress(json))
    else:
        found = Project.find(Path.cwd()).audit(target, everything=everything, on_cell=progress(json))
    if json:
        print_json(found)
    else:
        print(report(found))
    if wrong := sum(each.verdict == "wrong" for each in found):
        fail(f"{wrong} records of {target} are wrong: please report what is said above")
