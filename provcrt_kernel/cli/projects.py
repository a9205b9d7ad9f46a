"""Projects: open one, share it, see what is in it, and make room."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from provcrt_kernel.cli.arguments import Id, Json
from provcrt_kernel.cli.base import fail, parts, print_json, print_table, size, tell, when
from provcrt_kernel.runtime import Execution, Project
from provcrt_kernel.runtime.execution import Branch
from provcrt_kernel.runtime.label import decoded

app = typer.Typer()
_BRANCH = re.compile(r"b[1-9][0-9]*")


@app.command("open")
def open_project(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE.provcrt", help="A project, or a shared file.")],
    rename: Annotated[
        str, typer.Option("--name", help="The new project's name, where a file is opened.")
    ] = "",
    json: Json = False,
) -> None:
    """Open a project of this folder, or begin it; or open a shared file as a new project."""
    if name.endswith(".provcrt"):
        loaded, ids = Project.load(Path.cwd(), Path(name), rename, parts("opening", json))
        if json:
            print_json({"name": loaded.name, "folder": str(loaded.root), "executions": ids})
        else:
            tell(f"opened {name} as {loaded.name} in {loaded.root}: {', '.join(ids)}")
        return
    project, new = Project.create(Path.cwd(), name)
    if json:
        print_json({"name": name, "folder": str(project.root), "created": new})
    else:
        called = name or "the project without a name"
        tell(f"{'created' if new else 'opened'} {called} in {project.root}")


@app.command()
def export(
    id: Id,
    file: Annotated[Path, typer.Argument(metavar="FILE.provcrt", help="The file to share.")],
    json: Json = False,
) -> None:
    """Write an execution, with those that it came from, to one file to share."""
    count = Project.find(Path.cwd()).export(id, file, parts("exporting", json))
    if json:
        print_json({"file": str(file), "bytes": count})
    else:
        tell(f"{id} is in {file}, {size(count)}")


@app.command("list")
def list_executions(json: Json = False) -> None:
    """List the executions of the project, as a tree of what came from what."""
    project = Project.find(Path.cwd())
    executions, branches = project.list(), project.branches()
    if json:
        print_json([*executions, *branches])
        return
    rows = []
    for depth, each in _as_tree(executions, branches):
        if isinstance(each, Branch):
            row = ["  " * depth + each.id, each.notebook, when(each.created), "", "", ""]
            rows.append([*row, f"branch of {each.source} at cell {each.cell}, not run yet"])
            continue
        repetitions = project.repetitions(each.id)
        verdict = repetitions[-1].verdict.word.replace("volatile", "reproduced except") if repetitions else ""
        big = size(each.command.size) if each.command is not None else f"{len(each.cells)} cells"
        come = f"{each.relation}: {each.changes[0].splitlines()[0]}" if each.changes else ""
        label = decoded(project.archive, each.id)
        called = "; ".join(filter(None, (label.name, ", ".join(label.tags))))
        row = ["  " * depth + each.id, each.title, when(each.started), f"{each.seconds:.1f}", big, verdict]
        rows.append([*row, "; ".join(filter(None, (called, come, each.failed)))])
    if rows:
        print_table(("", "what", "when", "seconds", "size", "verdict", ""), rows)
    else:
        print("no executions yet: `provcrt exec COMMAND` makes the first")


def _as_tree(
    executions: Sequence[Execution], branches: Sequence[Branch] = ()
) -> Iterator[tuple[int, Execution | Branch]]:
    """Yield each execution, and each branch that was not run, behind what it came from, with its depth."""
    run = {each.branch for each in executions}
    every: list[Execution | Branch] = [*executions, *(each for each in branches if each.id not in run)]
    known = {each.id for each in every}
    children: dict[str | None, list[Execution | Branch]] = {}
    for each in every:
        children.setdefault(each.parent if each.parent in known else None, []).append(each)
    waiting: list[tuple[int, Execution | Branch]] = [(0, each) for each in reversed(children.get(None, []))]
    while waiting:
        depth, each = waiting.pop()
        yield depth, each
        waiting += [(depth + 1, child) for child in reversed(children.get(each.id, []))]


@app.command("rm")
def remove(id: Id, json: Json = False) -> None:
    """Remove an execution with its repetitions, and free what only they needed; or forget a branch."""
    if _BRANCH.fullmatch(id):
        gone = Project.find(Path.cwd()).forget(id)
        if json:
            print_json(gone)
        else:
            tell(f"forgot {id}, {gone.notebook} stays")
        return
    done = Project.find(Path.cwd()).remove(id)
    if json:
        print_json(done)
    else:
        print(f"removed {id}, freed {size(done.bytes)}")


@app.command()
def gc(
    limit: Annotated[float | None, typer.Option(help="Megabytes to come down to.", min=0)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    json: Json = False,
) -> None:
    """Free space in the store: what nothing refers to, then the records worth least."""
    from provcrt_kernel.runtime.doctor import collect

    done = collect(Path.cwd(), None if limit is None else int(limit * 1e6), dry=dry_run)
    if json:
        print_json(done)
        return
    verb = "would free" if dry_run else "freed"
    what = f"{len(done.records)} records, {done.blobs} blobs, {done.notes} notes, {done.files} stray files"
    print(f"{verb} {size(done.bytes)} ({what}); {size(done.kept)} left")


@app.command()
def doctor(json: Json = False) -> None:
    """Tell what works here: how cells are traced, and where records are kept."""
    from provcrt_kernel.runtime.doctor import examine

    found = examine(Path.cwd())
    if json:
        print_json(found)
    else:
        print(f"tracer  {found.tracer}" + (f": {found.tracer_problem}" if found.tracer_problem else ""))
        print(f"sandbox {found.isolation_problem or 'bubblewrap'}")
        if found.store_limit:
            fill = f"{found.store_records} records, {size(found.store_bytes)} of {size(found.store_limit)}"
            print(f"store   {found.store}: {fill}")
        for layer in found.layers:
            print(f"below   {layer}")
        if found.store_problem:
            print(f"store   {found.store_problem}")
    if not found.well:
        fail("cells will not all be recorded here: see what is said above")
