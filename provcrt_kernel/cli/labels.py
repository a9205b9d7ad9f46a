"""What executions are called: a name, and tags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from provcrt_kernel.cli.arguments import Id, Json
from provcrt_kernel.cli.base import print_json, tell
from provcrt_kernel.runtime import Project

app = typer.Typer()


@app.command()
def rename(
    id: Id,
    name: Annotated[str, typer.Argument(metavar="NAME", help="One line; '' takes the name away.")],
    json: Json = False,
) -> None:
    """Give an execution a name."""
    label = Project.find(Path.cwd()).relabel(id, name=name)
    if json:
        print_json(label)
    else:
        tell(f"{id} is {label.name}" if label.name else f"{id} has no name now")


@app.command()
def tag(
    id: Id,
    tags: Annotated[list[str] | None, typer.Argument(metavar="[TAG]...", help="Tags to add.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option("-d", "--delete", metavar="TAG", help="A tag to take away.")
    ] = None,
    json: Json = False,
) -> None:
    """Add tags to an execution, or take some away; without any, print them."""
    project = Project.find(Path.cwd())
    label = project.label(id)
    if tags or remove:
        label = project.relabel(id, tags={*label.tags, *(tags or ())} - {*(remove or ())})
    if json:
        print_json(label)
    else:
        tell("\n".join(label.tags))
