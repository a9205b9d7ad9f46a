"""What all themes of the command line share: arguments, and how things are shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from provcrt_kernel.runtime import CellRun, Commanded
from provcrt_kernel.runtime.execution import to_json

Id = Annotated[str, typer.Argument(metavar="ID", help="An execution, such as e1.")]
What = Annotated[str, typer.Argument(metavar="PATH", help="A file, or a variable.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def say(line: str) -> None:
    """Say something of ours where the command's own output is not: on standard error."""
    print(line, file=sys.stderr)


def say_problems(command: Commanded) -> None:
    """Say what may be missing of a run."""
    for problem in command.problems:
        say(f"provcrt: {problem}")


def fail(line: str) -> NoReturn:
    """Say in one line what cannot be done, and end with 1."""
    sys.stdout.flush()
    print(f"provcrt: {line}", file=sys.stderr)
    sys.exit(1)


def progress(quiet: bool) -> Callable[[CellRun], None]:
    """Return what says on a terminal how far a run is."""
    if quiet or not sys.stderr.isatty():
        return lambda cell: None
    return lambda cell: print(
        f"\r\x1b[Kcell {cell.number} {cell.status}\r", end="", file=sys.stderr, flush=True
    )


def console() -> Console:
    """Return a console that does not cut tables short where it does not write to a terminal."""
    return Console(width=None if sys.stdout.isatty() else 1000, highlight=False)


def print_json(value: object) -> None:
    """Print structs as JSON."""
    print(to_json(value).decode(), end="")


def print_cells(cells: Sequence[CellRun]) -> None:
    """Print what the cells of a run did, a row each."""
    table = Table("", "cell", "", "seconds", "why", box=None, pad_edge=False)
    table.columns[0].justify = table.columns[3].justify = "right"
    for cell in cells:
        saved = f"saved {cell.saved_seconds:.1f} s" if cell.saved_seconds >= 0.05 else ""
        why = [cell.reason or saved]
        why += [f"cannot be repeated: {', '.join(cell.volatile)}"] if cell.volatile else []
        why += [f"not recorded: {', '.join(cell.not_recorded)}"] if cell.not_recorded else []
        row = [str(cell.number), cell.title, cell.status, f"{cell.seconds:.2f}", "; ".join(filter(None, why))]
        table.add_row(*map(escape, row))
    console().print(table)


def print_total(cells: Sequence[CellRun], seconds: float) -> None:
    """Print how many cells ran, and how long they took all together."""
    replayed = sum(cell.status == "replayed" for cell in cells)
    saved = sum(cell.saved_seconds for cell in cells)
    print(
        f"{len(cells)} cells, {replayed} replayed, {seconds:.1f} s"
        + (f", {saved:.1f} s saved" if saved else "")
    )


def when(seconds: float) -> str:
    """Return a time, in seconds since the epoch, as people here write it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def size(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
