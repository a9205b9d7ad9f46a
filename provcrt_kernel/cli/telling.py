"""Tell what is known of executions: what they did, what it came from, what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from provcrt_kernel.cli.arguments import Id, Json, What
from provcrt_kernel.cli.base import print_cells, print_json, print_table, print_total, size, tell, when
from provcrt_kernel.provenance.classify import shown_path
from provcrt_kernel.provenance.lineage import Origin
from provcrt_kernel.provenance.words import one_line
from provcrt_kernel.runtime import CellRun, Commanded, Project
from provcrt_kernel.runtime.detail import Detail
from provcrt_kernel.runtime.execution import ended

app = typer.Typer()


class Format(StrEnum):
    """How a PROV document is written."""

    json = "json"
    n = "n"
    xml = "xml"
    turtle = "turtle"
    mermaid = "mermaid"
    svg = "svg"


class Wanted(StrEnum):
    """Who reads what has to be installed."""

    pip = "pip"
    apt = "apt"
    conda = "conda"
    dockerfile = "dockerfile"
    binder = "binder"
    readme = "readme"


@app.command()
def show(
    id: Id,
    detail: Annotated[
        bool, typer.Option("--detail", help="Every file, classified, with its package.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what an execution did: what ran, files, times and environment."""
    project = Project.find(Path.cwd())
    if detail:
        _print_detail(project.detail(id), project.root, json)
        return
    execution = project.show(id)
    if json:
        print_json(execution)
        return
    tell(f"{id}  {execution.title}  {when(execution.started)}  by {execution.user}")
    tell(f"{execution.environment.python or 'no Python'} on {execution.environment.platform}")
    if execution.parent:
        tell(f"from {execution.parent} by {execution.relation}")
        tell("\n".join(f"  {change}" for change in execution.changes))
    if execution.parameters:
        tell("parameters: " + ", ".join(f"{name} = {value}" for name, value in execution.parameters.items()))
    if execution.command is not None:
        _print_command(execution.command, execution.seconds)
    else:
        print_cells(execution.cells)
        print_total(execution.cells, execution.seconds)
        _print_files(execution.cells, project.root)
    if execution.error:
        tell(f"ended early: {execution.error}")
    for repetition in project.repetitions(id):
        tell(f"repetition {repetition.number}  {when(repetition.started)}  {repetition.verdict.line}")
    packages = execution.environment.packages
    tell(f"{len(packages)} packages: " + ", ".join(f"{name} {version}" for name, version in packages.items()))


def _print_command(command: Commanded, seconds: float) -> None:
    tell(f"{ended(command.status)} after {seconds:.1f} s in {command.cwd}, {size(command.size)} contained")
    where = "isolated" if command.isolated else "in place"
    tell(f"ran {where}, standard input: {command.stdin}, {len(command.environ)} environment variables kept")
    if command.left_out:
        tell(f"left out, since they may be secret: {', '.join(command.left_out)}")
    tell(f"network: {', '.join(command.network) or 'not used'}")
    for problem in command.problems:
        tell(f"incomplete: {problem}")


def _print_detail(found: Detail, root: Path, json: bool) -> None:
    if json:
        print_json(found)
        return
    rows = []
    for each in found.files:
        owner = each.package
        package = [f"{owner.name} ({owner.manager})", owner.version] if owner else ["", ""]
        rows.append([shown_path(each.path, str(root)), each.kind, *package, each.why])
    print_table(("file", "class", "package", "version", "why"), rows)
    print_table(
        ("package", "version", "manager", "files used", "asked for by"),
        [[each.name, each.version, each.manager, str(each.files), each.asked_for] for each in found.packages],
    )
    if found.left_out:
        tell(f"environment variables left out: {', '.join(found.left_out)}")


def _print_files(cells: Sequence[CellRun], root: Path) -> None:
    from provcrt_kernel.provenance.files import parts

    rows = []
    versions = {file.path: file.digest for cell in cells for file in (*cell.files_read, *cell.files_written)}
    for path, part in parts((cell.files_read, cell.files_written) for cell in cells).items():
        readers = [str(cell.number) for cell in cells if path in {file.path for file in cell.files_read}]
        writers = [str(cell.number) for cell in cells if path in {file.path for file in cell.files_written}]
        shown = str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path
        rows.append([shown, part, (versions[path] or "")[:12], ",".join(readers), ",".join(writers)])
    print_table(("file", "", "content", "read by", "written by"), rows)


@app.command()
def prov(
    id: Id,
    format: Annotated[
        Format, typer.Option(help="PROV-JSON, PROV-N, PROV-XML, Turtle, a graph for Mermaid, or a picture.")
    ] = Format.json,
) -> None:
    """Print an execution as a W3C PROV document."""
    print(Project.find(Path.cwd()).told(id, format.value))


@app.command()
def diff(old: Id, new: Id, json: Json = False) -> None:
    """Show how two executions differ: arguments, files, packages, environment, outputs; notebooks by cell."""
    found = Project.find(Path.cwd()).diff(old, new)
    if json:
        print_json(found)
        return
    for change in found:
        line = f"{change.part} {change.name}"
        if change.diff:
            tell(f"{line}\n{change.diff}")
        else:
            tell(f"{line}: {change.before or 'not there'} became {change.after or 'not there'}")
    if not found:
        print(f"{old} and {new} are the same")


@app.command()
def why(id: Id, what: What, json: Json = False) -> None:
    """Show what a file or a variable came from."""
    _print_lineage(Project.find(Path.cwd()).lineage(id, what), json)


@app.command("used-by")
def used_by(id: Id, what: What, json: Json = False) -> None:
    """Show what came of a file or a variable."""
    _print_lineage(Project.find(Path.cwd()).lineage(id, what, forwards=True), json)


def _print_lineage(origin: Origin, json: bool, depth: int = 0) -> None:
    if json:
        print_json(origin)
        return
    step = f"  ({one_line(origin.step)})" if origin.step else ""
    tell(f"{'  ' * depth}{one_line(origin.what)}{step}")
    for each in origin.then:
        _print_lineage(each, json, depth + 1)


@app.command("requirements")
def required(
    id: Id,
    format: Annotated[Wanted, typer.Option(help="Who is to read it.")] = Wanted.pip,
) -> None:
    """Print what has to be installed, for pip, apt, conda, Docker or people."""
    print(Project.find(Path.cwd()).requirements(id, format.value), end="")
