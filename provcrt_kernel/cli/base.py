"""How things are shown, which all themes of the command line share.

Names come from files, from commands and from strangers: whatever is in them, a name takes one line, and nothing in it
reaches the terminal as a control sequence.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn
from unicodedata import combining, east_asian_width

from provcrt_kernel.provenance.words import one_line
from provcrt_kernel.runtime import CellRun, Commanded
from provcrt_kernel.runtime.execution import to_json


def tell(text: str) -> None:
    """Print text of several lines on standard output."""
    print("\n".join(map(one_line, text.split("\n"))))


def say(text: str) -> None:
    """Say something of ours where the command's own output is not: on standard error."""
    print("\n".join(map(one_line, text.split("\n"))), file=sys.stderr)


def say_problems(command: Commanded) -> None:
    """Say what may be missing of a run."""
    for problem in command.problems:
        say(f"provcrt: {one_line(problem)}")


def fail(line: str) -> NoReturn:
    """Say in one line what cannot be done, and end with 1."""
    sys.stdout.flush()
    say(f"provcrt: {one_line(line)}")
    sys.exit(1)


def progress(quiet: bool) -> Callable[[CellRun], None]:
    """Return what says on a terminal how far a run is."""
    if quiet or not sys.stderr.isatty():
        return lambda cell: None
    return lambda cell: print(
        f"\r\x1b[Kcell {cell.number} {cell.status}\r", end="", file=sys.stderr, flush=True
    )


def parts(what: str, quiet: bool) -> Callable[[int, int], None]:
    """Return what says on a terminal how many parts of something are done."""
    if quiet or not sys.stderr.isatty():
        return lambda done, all: None
    return lambda done, all: print(f"\r\x1b[K{what}: {done} of {all}\r", end="", file=sys.stderr, flush=True)


def print_json(value: object) -> None:
    """Print structs as JSON."""
    print(to_json(value).decode(), end="")


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print a table, unless it is empty.

    Parameters
    ----------
    titles : sequence of str
    rows : iterable of sequence of str
    right : sequence of int
        Columns of numbers.
    """
    lines = [[one_line(word) for word in row] for row in rows]
    if not lines:
        return
    lines.insert(0, list(titles))
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        words = [
            " " * (width - _width(word)) + word if number in right else word + " " * (width - _width(word))
            for number, (word, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(words).rstrip())


def _width(text: str) -> int:
    """Return how many places of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum((east_asian_width(each) in "WF") + 1 for each in text if not combining(each))


def print_cells(cells: Sequence[CellRun]) -> None:
    """Print what the cells of a run did, a row each."""
    rows = []
    for cell in cells:
        saved = f"saved {cell.saved_seconds:.1f} s" if cell.saved_seconds >= 0.05 else ""
        why = [cell.reason or saved]
        why += [f"cannot be repeated: {', '.join(cell.volatile)}"] if cell.volatile else []
        why += [f"not recorded: {', '.join(cell.not_recorded)}"] if cell.not_recorded else []
        row = [str(cell.number), cell.title, cell.status, f"{cell.seconds:.2f}", "; ".join(filter(None, why))]
        rows.append(row)
    print_table(("", "cell", "", "seconds", "why"), rows, right=(0, 3))


def print_total(cells: Sequence[CellRun], seconds: float) -> None:
    """Print how many cells ran, and how long they took all together."""
    replayed = sum(cell.status == "replayed" for cell in cells)
    saved = sum(cell.saved_seconds for cell in cells)
    print(
        f"{len(cells)} cells, {replayed} replayed, {seconds:.1f} s"
        + (f", {saved:.1f} s saved" if saved else "")
    )


def when(seconds: float) -> str:
    """Return a time, in seconds since the epoch, as people here write it; one that no calendar has as a number."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g}"


def size(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
