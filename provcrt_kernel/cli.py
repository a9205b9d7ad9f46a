"""`provcrt`: a thin face on `runtime`.

Exit codes: 0; 1 where something cannot be done, with one line that says what happened, to what, and what to
do; 2 for a wrong usage.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from provcrt_kernel import __version__
from provcrt_kernel.provenance.classify import shown_path
from provcrt_kernel.provenance.lineage import Origin
from provcrt_kernel.runtime import CellRun, Commanded, Execution, Project, ProjectError, Repetition
from provcrt_kernel.runtime.detail import Detail
from provcrt_kernel.runtime.execution import Branch, ended, to_json
from provcrt_kernel.store import StoreError

app = typer.Typer(
    name="provcrt",
    help="Run notebooks as records of what they did, and repeat them.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
_BRANCH = re.compile(r"b[1-9][0-9]*")
Id = Annotated[str, typer.Argument(metavar="ID", help="An execution, such as e1.")]
What = Annotated[str, typer.Argument(metavar="PATH", help="A file, or a variable.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Format(StrEnum):
    """How a PROV document is written."""

    json = "json"
    n = "n"
    xml = "xml"
    turtle = "turtle"
    mermaid = "mermaid"


class Wanted(StrEnum):
    """Who reads what has to be installed."""

    pip = "pip"
    apt = "apt"
    conda = "conda"
    dockerfile = "dockerfile"
    readme = "readme"


@app.callback()
def _about(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


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
        loaded, ids = Project.load(Path.cwd(), Path(name), rename)
        if json:
            _print_json({"name": loaded.name, "folder": str(loaded.root), "executions": ids})
        else:
            print(f"opened {name} as {loaded.name} in {loaded.root}: {', '.join(ids)}")
        return
    project, new = Project.create(Path.cwd(), name)
    if json:
        _print_json({"name": name, "folder": str(project.root), "created": new})
    else:
        print(f"{'created' if new else 'opened'} {name} in {project.root}")


@app.command()
def export(
    id: Id,
    file: Annotated[Path, typer.Argument(metavar="FILE.provcrt", help="The file to share.")],
    json: Json = False,
) -> None:
    """Write an execution, with those that it came from, to one file to share."""
    size = Project.find(Path.cwd()).export(id, file)
    if json:
        _print_json({"file": str(file), "bytes": size})
    else:
        print(f"{id} is in {file}, {_size(size)}")


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
        typer.Option("-o", "--output", help="Where the executed notebook goes, not NOTEBOOK.e1.ipynb."),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="A notebook's parameter."),
    ] = None,
    json: Json = False,
) -> None:
    """Run a command, or a notebook from beginning to end, as a reference execution."""
    if not command[0].endswith(".ipynb") or os.access(command[0], os.X_OK):
        _execute_command(command, json)
        return
    notebook, *options = command
    told = _Options(output, json)
    told.take([*(word for each in parameter or () for word in ("-p", each)), *options])
    json = told.json
    path = Path(notebook)
    execution = Project.open(path.absolute().parent).execute(
        path, output=told.output, parameters=told.parameters, on_cell=_progress(json)
    )
    if json:
        _print_json(execution)
    else:
        print(execution.id)
        _print_cells(execution.cells)
        _print_total(execution.cells, execution.seconds)
    if execution.error:
        _fail(f"{execution.error} (kept as {execution.id}): `provcrt show {execution.id}` shows what ran")


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


def _execute_command(argv: list[str], json: bool) -> NoReturn:
    execution = Project.open(Path.cwd()).run(argv, show=not json)
    assert execution.command is not None
    if json:
        _print_json(execution)
    else:
        _say(
            f"{execution.id}  {ended(execution.command.status)}, {execution.seconds:.1f} s, {_size(execution.command.size)}"
        )
        _say_problems(execution.command)
    status = execution.command.status
    sys.stdout.flush()
    sys.exit(status if status >= 0 else 128 - status)


@app.command()
def repeat(
    id: Id,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where it diverges.")] = False,
    no_isolation: Annotated[bool, typer.Option("--no-isolation", help="Run a command in place.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for the files that a command wrote.")
    ] = None,
    json: Json = False,
) -> None:
    """Repeat an execution and compare: a command on its container's content, a notebook incrementally."""
    repetition = Project.find(Path.cwd()).repeat(
        id, isolation=not no_isolation, output=output, show=not json, on_cell=_progress(json)
    )
    if json:
        _print_json(repetition)
    else:
        _print_repetition(repetition)
    if strict and repetition.verdict.word == "diverged":
        _fail(f"{id} {repetition.verdict.line}")


def _print_repetition(repetition: Repetition) -> None:
    say = print if repetition.command is None else _say
    say(f"{repetition.of}, repetition {repetition.number}")
    if repetition.command is None:
        _print_cells(repetition.cells)
        _print_total(repetition.cells, repetition.seconds)
    else:
        _say_problems(repetition.command)
    for difference in repetition.verdict.differences:
        excuse = f" (cannot be repeated: {', '.join(difference.volatile)})" if difference.volatile else ""
        excuse += f" (overlooking {difference.explained})" if difference.explained else ""
        cause = f"; likely cause: {difference.cause}" if difference.cause else ""
        say(f"{difference.place}: {difference.what}{excuse}{cause}")
        if difference.diff and not difference.excuse:
            say(difference.diff)
    say(repetition.verdict.line)


def _say(line: str) -> None:
    """Say something of ours where the command's own output is not: on standard error."""
    print(line, file=sys.stderr)


def _say_problems(command: Commanded) -> None:
    for problem in command.problems:
        _say(f"provcrt: {problem}")


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def given(
    words: Annotated[
        list[str],
        typer.Argument(metavar="VALUE... repeat ID [%N]...", help="Values, and the arguments they replace."),
    ],
) -> None:
    """Repeat a command with other arguments (%1 is the first) or data files (path=file), as a new execution."""
    json = "--json" in words[-1:]
    words = words[:-1] if json else words
    if "repeat" not in words[1:] or words[-1] == "repeat":
        raise typer.BadParameter("write VALUE... repeat ID [%N]..., as in: provcrt given 8 repeat e1 %1")
    at = len(words) - 1 - words[::-1].index("repeat")
    execution = Project.find(Path.cwd()).given(words[at + 1], words[:at], words[at + 2 :], show=not json)
    _print_modified(execution, json)


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
        found = audit_file(Path(target), everything=everything, on_cell=_progress(json))
    else:
        found = Project.find(Path.cwd()).audit(target, everything=everything, on_cell=_progress(json))
    if json:
        _print_json(found)
    else:
        print(report(found))
    if wrong := sum(each.verdict == "wrong" for each in found):
        _fail(f"{wrong} records of {target} are wrong: please report what is said above")


@app.command()
def checkout(
    id: Id,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="By default a folder named like the execution.")
    ] = None,
) -> None:
    """Lay the files of an execution out in a folder, to be edited and committed."""
    place, count = Project.find(Path.cwd()).checkout(id, folder)
    print(f"{count} files of {id} in {place}: edit them, then `provcrt commit`")


@app.command()
def commit(
    id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="By default what is checked out, else the latest.")
    ] = None,
    json: Json = False,
) -> None:
    """Run an execution with the files that were edited, as a new execution."""
    _print_modified(Project.find(Path.cwd()).commit(id, show=not json), json)


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
        _print_json(made)
    else:
        print(f"{made.id}  {made.notebook}, from {made.parent or made.source} at cell {made.cell}")


def _print_modified(execution: Execution, json: bool) -> None:
    assert execution.command is not None
    if json:
        _print_json(execution)
        return
    _say(
        f"{execution.id}  from {execution.parent} by {execution.relation}, {ended(execution.command.status)}"
    )
    for change in execution.changes:
        _say(f"  {change.splitlines()[0]}")
    _say_problems(execution.command)


@app.command("rm")
def remove(id: Id, json: Json = False) -> None:
    """Remove an execution with its repetitions, and free what only they needed; or forget a branch."""
    if _BRANCH.fullmatch(id):
        gone = Project.find(Path.cwd()).forget(id)
        if json:
            _print_json(gone)
        else:
            print(f"forgot {id}, {gone.notebook} stays")
        return
    done = Project.find(Path.cwd()).remove(id)
    if json:
        _print_json(done)
    else:
        print(f"removed {id}, freed {_size(done.bytes)}")


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
        _print_json(execution)
        return
    print(f"{id}  {execution.title}  {_when(execution.started)}  by {execution.user}")
    print(f"{execution.environment.python or 'no Python'} on {execution.environment.platform}")
    if execution.parent:
        print(f"from {execution.parent} by {execution.relation}")
        print("\n".join(f"  {change}" for change in execution.changes))
    if execution.parameters:
        print("parameters: " + ", ".join(f"{name} = {value}" for name, value in execution.parameters.items()))
    if execution.command is not None:
        _print_command(execution.command, execution.seconds)
    else:
        _print_cells(execution.cells)
        _print_total(execution.cells, execution.seconds)
        _print_files(execution.cells, project.root)
    if execution.error:
        print(f"ended early: {execution.error}")
    for repetition in project.repetitions(id):
        print(f"repetition {repetition.number}  {_when(repetition.started)}  {repetition.verdict.line}")
    packages = execution.environment.packages
    print(
        f"{len(packages)} packages: " + ", ".join(f"{name} {version}" for name, version in packages.items())
    )


def _print_command(command: Commanded, seconds: float) -> None:
    print(f"{ended(command.status)} after {seconds:.1f} s in {command.cwd}, {_size(command.size)} contained")
    where = "isolated" if command.isolated else "in place"
    print(f"ran {where}, standard input: {command.stdin}, {len(command.environ)} environment variables kept")
    if command.left_out:
        print(f"left out, since they may be secret: {', '.join(command.left_out)}")
    print(f"network: {', '.join(command.network) or 'not used'}")
    for problem in command.problems:
        print(f"incomplete: {problem}")


def _print_detail(found: Detail, root: Path, json: bool) -> None:
    if json:
        _print_json(found)
        return
    table = Table("file", "class", "package", "version", "why", box=None, pad_edge=False)
    for each in found.files:
        owner = (
            [f"{each.package.name} ({each.package.manager})", each.package.version]
            if each.package
            else ["", ""]
        )
        table.add_row(*map(escape, [shown_path(each.path, str(root)), each.kind, *owner, each.why]))
    _console().print(table)
    table = Table("package", "version", "manager", "files used", "asked for by", box=None, pad_edge=False)
    for package in found.packages:
        table.add_row(
            *map(
                escape,
                [package.name, package.version, package.manager, str(package.files), package.asked_for],
            )
        )
    _console().print(table)
    if found.left_out:
        print(f"environment variables left out: {', '.join(found.left_out)}")


@app.command("list")
def list_executions(json: Json = False) -> None:
    """List the executions of the project, as a tree of what came from what."""
    project = Project.find(Path.cwd())
    executions, branches = project.list(), project.branches()
    if json:
        _print_json([*executions, *branches])
        return
    table = Table("", "what", "when", "seconds", "size", "verdict", "", box=None, pad_edge=False)
    for depth, each in _as_tree(executions, branches):
        if isinstance(each, Branch):
            row = ["  " * depth + each.id, each.notebook, _when(each.created), "", "", ""]
            table.add_row(*map(escape, [*row, f"branch of {each.source} at cell {each.cell}, not run yet"]))
            continue
        repetitions = project.repetitions(each.id)
        verdict = repetitions[-1].verdict.word.replace("volatile", "reproduced except") if repetitions else ""
        size = _size(each.command.size) if each.command is not None else f"{len(each.cells)} cells"
        come = f"{each.relation}: {each.changes[0].splitlines()[0]}" if each.changes else ""
        row = ["  " * depth + each.id, each.title, _when(each.started), f"{each.seconds:.1f}", size, verdict]
        table.add_row(*map(escape, [*row, "; ".join(filter(None, (come, each.failed)))]))
    _console().print(table)


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


@app.command()
def prov(
    id: Id,
    format: Annotated[
        Format, typer.Option(help="PROV-JSON, PROV-N, PROV-XML, Turtle, or a graph for Mermaid.")
    ] = Format.json,
) -> None:
    """Print an execution as a W3C PROV document."""
    print(Project.find(Path.cwd()).told(id, format.value))


@app.command()
def diff(old: Id, new: Id, json: Json = False) -> None:
    """Show how two executions differ: arguments, files, packages, environment, outputs; notebooks by cell."""
    found = Project.find(Path.cwd()).diff(old, new)
    if json:
        _print_json(found)
        return
    for change in found:
        line = f"{change.part} {change.name}"
        if change.diff:
            print(f"{line}\n{change.diff}")
        else:
            print(f"{line}: {change.before or 'not there'} became {change.after or 'not there'}")
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
        _print_json(origin)
        return
    print(f"{'  ' * depth}{origin.what}" + (f"  ({origin.step})" if origin.step else ""))
    for each in origin.then:
        _print_lineage(each, json, depth + 1)


@app.command("requirements")
def required(
    id: Id,
    format: Annotated[Wanted, typer.Option(help="Who is to read it.")] = Wanted.pip,
) -> None:
    """Print what has to be installed, for pip, apt, conda, Docker or people."""
    print(Project.find(Path.cwd()).requirements(id, format.value), end="")


@app.command()
def doctor(json: Json = False) -> None:
    """Tell what works here: how cells are traced, and where records are kept."""
    from provcrt_kernel.runtime.doctor import examine

    found = examine(Path.cwd())
    if json:
        _print_json(found)
    else:
        print(f"tracer  {found.tracer}" + (f": {found.tracer_problem}" if found.tracer_problem else ""))
        print(f"sandbox {found.isolation_problem or 'bubblewrap'}")
        if found.store_limit:
            fill = f"{found.store_records} records, {_size(found.store_bytes)} of {_size(found.store_limit)}"
            print(f"store   {found.store}: {fill}")
        if found.store_problem:
            print(f"store   {found.store_problem}")
    if not found.well:
        _fail("cells will not all be recorded here: see what is said above")


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
        _print_json(done)
        return
    verb = "would free" if dry_run else "freed"
    what = f"{len(done.records)} records, {done.blobs} blobs, {done.notes} notes, {done.files} stray files"
    print(f"{verb} {_size(done.bytes)} ({what}); {_size(done.kept)} left")


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
        _fail(str(error))
    except KeyboardInterrupt:
        print("provcrt: interrupted, nothing was kept: run it again", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever read us has seen enough
        sys.stdout = None
    sys.exit(0)


def _fail(line: str) -> NoReturn:
    sys.stdout.flush()
    print(f"provcrt: {line}", file=sys.stderr)
    sys.exit(1)


def _progress(quiet: bool) -> Callable[[CellRun], None]:
    """Return what says on a terminal how far a run is."""
    if quiet or not sys.stderr.isatty():
        return lambda cell: None
    return lambda cell: print(
        f"\r\x1b[Kcell {cell.number} {cell.status}\r", end="", file=sys.stderr, flush=True
    )


def _console() -> Console:
    """Return a console that does not cut tables short where it does not write to a terminal."""
    return Console(width=None if sys.stdout.isatty() else 1000, highlight=False)


def _print_json(value: object) -> None:
    print(to_json(value).decode(), end="")


def _print_cells(cells: Sequence[CellRun]) -> None:
    table = Table("", "cell", "", "seconds", "why", box=None, pad_edge=False)
    table.columns[0].justify = table.columns[3].justify = "right"
    for cell in cells:
        saved = f"saved {cell.saved_seconds:.1f} s" if cell.saved_seconds >= 0.05 else ""
        why = [cell.reason or saved]
        why += [f"cannot be repeated: {', '.join(cell.volatile)}"] if cell.volatile else []
        why += [f"not recorded: {', '.join(cell.not_recorded)}"] if cell.not_recorded else []
        row = [str(cell.number), cell.title, cell.status, f"{cell.seconds:.2f}", "; ".join(filter(None, why))]
        table.add_row(*map(escape, row))
    _console().print(table)


def _print_total(cells: Sequence[CellRun], seconds: float) -> None:
    replayed = sum(cell.status == "replayed" for cell in cells)
    saved = sum(cell.saved_seconds for cell in cells)
    print(
        f"{len(cells)} cells, {replayed} replayed, {seconds:.1f} s"
        + (f", {saved:.1f} s saved" if saved else "")
    )


def _print_files(cells: Sequence[CellRun], root: Path) -> None:
    from provcrt_kernel.provenance.files import parts

    table = Table("file", "", "content", "read by", "written by", box=None, pad_edge=False)
    versions = {file.path: file.digest for cell in cells for file in (*cell.files_read, *cell.files_written)}
    for path, part in parts((cell.files_read, cell.files_written) for cell in cells).items():
        readers = [str(cell.number) for cell in cells if path in {file.path for file in cell.files_read}]
        writers = [str(cell.number) for cell in cells if path in {file.path for file in cell.files_written}]
        shown = str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else path
        table.add_row(
            *map(escape, [shown, part, (versions[path] or "")[:12], ",".join(readers), ",".join(writers)])
        )
    if table.row_count:
        _console().print(table)


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


if __name__ == "__main__":
    main()
