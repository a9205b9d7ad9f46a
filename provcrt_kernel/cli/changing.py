"""Change what was run: its files, or its future from a cell on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from provcrt_kernel.cli.arguments import Id, Json, Network
from provcrt_kernel.cli.base import print_cells, print_json, print_total, progress, say, say_problems, tell
from provcrt_kernel.cli.runs import end_as
from provcrt_kernel.runtime import Execution, Project
from provcrt_kernel.runtime.execution import ended

app = typer.Typer()


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def given(
    words: Annotated[
        list[str],
        typer.Argument(metavar="VALUE... repeat ID [%N]...", help="Values, and the arguments they replace."),
    ],
    network: Network = False,
) -> None:
    """Repeat with other arguments (%1 is the first), parameters (name=value) or data files (path=file), as a new execution."""
    json = "--json" in words[-1:]
    words = words[:-1] if json else words
    if "repeat" not in words[1:] or words[-1] == "repeat":
        raise typer.BadParameter("write VALUE... repeat ID [%N]..., as in: provcrt given 8 repeat e1 %1")
    at = len(words) - 1 - words[::-1].index("repeat")
    execution = Project.find(Path.cwd(), network=network).given(
        words[at + 1], words[:at], words[at + 2 :], show=not json, on_cell=progress(json)
    )
    _print_modified(execution, json)


@app.command()
def checkout(
    id: Id,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="By default a folder named like the execution.")
    ] = None,
) -> None:
    """Lay the files of an execution out in a folder, to be edited and committed."""
    place, count = Project.find(Path.cwd()).checkout(id, folder)
    tell(f"{count} files of {id} in {place}: edit them, then `provcrt commit`")


@app.command()
def commit(
    id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="By default what is checked out, else the latest.")
    ] = None,
    network: Network = False,
    json: Json = False,
) -> None:
    """Run an execution with the files that were edited, as a new execution."""
    project = Project.find(Path.cwd(), network=network)
    _print_modified(project.commit(id, show=not json, on_cell=progress(json)), json)


@app.command()
def branch(
    source: Annotated[str, typer.Argument(metavar="ID|NOTEBOOK", help="An execution, or a notebook.")],
    cell: Annotated[
        str, typer.Option("--cell", metavar="CELL", help="The last cell to share: its id, or its number.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The copy, not NOTEBOOK-branch1.ipynb.")
    ] = None,
    json: Json = False,
) -> None:
    """Copy a notebook up to a cell, which replays from the records, with a future of its own."""
    where = Path(source).absolute().parent if source.endswith(".ipynb") else Path.cwd()
    made = Project.find(where).branch(source, cell, output)
    if json:
        print_json(made)
    else:
        tell(f"{made.id}  {made.notebook}, from {made.parent or made.source} at cell {made.cell}")


def _print_modified(execution: Execution, json: bool) -> NoReturn:
    if json:
        print_json(execution)
        end_as(execution)
    how = (
        ended(execution.command.status)
        if execution.command is not None
        else execution.error or "ran to its end"
    )
    if execution.command is None:
        print_cells(execution.cells)
        print_total(execution.cells, execution.seconds)
    say(f"{execution.id}  from {execution.parent} by {execution.relation}, {how}")
    for change in execution.changes:
        say(f"  {change.splitlines()[0]}")
    if execution.container is not None:
        say_problems(execution.container)
    end_as(execution)
