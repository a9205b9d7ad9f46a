"""What a case is: a notebook, what happens between two sessions, and what a reader must see afterwards.

Notebooks are written in the percent format; each cell has a short name::

    # %% a
    x = 1
    # %% b
    print(x)
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: When the files of a case were last changed: long ago.
OLD = 1_700_000_000

Notebook = dict[str, str]
Edit = Callable[[Notebook, Path], None]

FAMILIES = {
    1: "unchanged",
    2: "constant edited",
    3: "comment or layout edited",
    4: "data file or environment changed",
    5: "mutation in place",
    6: "aliases",
    7: "two mutators",
    8: "random numbers",
    9: "hidden state of modules",
    10: "functions and classes",
    11: "values that cannot be pickled",
    12: "files and processes",
    13: "local modules",
    14: "what is displayed",
    15: "cells inserted, deleted, moved",
    16: "clocks and identities",
    17: "big state",
    18: "magics, await, input",
    19: "out of order",
    20: "cells that raise",
}


@dataclass(frozen=True)
class Case:
    """One notebook and one change.

    Attributes
    ----------
    probes
        Expressions; their values after the last cell must be those of plain ipykernel.
    true
        Expressions that must be true instead, where two runs from scratch do not agree.
    rerun, skip
        Cells that have to run again; cells that need not (missing one is slow, not wrong).
    order
        Order of execution in the first session; empty: as written.
    shown
        Cells whose messages must be those of plain ipykernel; None: all (with `true`: none).
    answers
        What `input()` is answered in the second session; the first gets `answers_before`.
    left
        The run from scratch also finds the files that a first run has left.
    known
        What the kernel still gets wrong here: an expected failure.
    telling
        In the default selection: it has caught a mistake, or stands for its family.
    """

    name: str
    family: int
    cells: Mapping[str, str]
    edit: Edit
    probes: tuple[str, ...] = ()
    true: tuple[str, ...] = ()
    rerun: frozenset[str] = frozenset()
    skip: frozenset[str] = frozenset()
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    env_before: Mapping[str, str] = field(default_factory=dict)
    env_after: Mapping[str, str] = field(default_factory=dict)
    answers_before: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    shown: frozenset[str] | None = None
    left: bool = False
    known: str = ""
    telling: bool = False

    def __str__(self) -> str:
        return self.name

    def prepare(self, folder: Path) -> None:
        """Write the case's files."""
        for name, content in self.files.items():
            _write(folder / name, content, OLD)


CASES: dict[str, Case] = {}


def case(
    name: str,
    family: int,
    notebook: str,
    edit: Edit,
    probes: str = "",
    *,
    true: str = "",
    rerun: str = "",
    skip: str = "",
    order: str = "",
    shown: str | None = None,
    **more: object,
) -> None:
    """Add a case; several names are separated by spaces, several expressions by semicolons."""
    assert name not in CASES, name
    CASES[name] = Case(
        name,
        family,
        cells_of(notebook),
        edit,
        _expressions(probes),
        _expressions(true),
        frozenset(rerun.split()),
        frozenset(skip.split()),
        order=tuple(order.split()),
        shown=None if shown is None else frozenset(shown.split()),
        **more,  # type: ignore[arg-type]
    )


def cells_of(notebook: str) -> Notebook:
    """The cells of a notebook in the percent format, by name."""
    parts = re.split(r"^# %% (\w+)\n", textwrap.dedent(notebook).lstrip("\n"), flags=re.MULTILINE)
    assert parts[0] == "", parts[0]
    return {name: text.rstrip("\n") for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _expressions(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())


# -- what happens between the sessions ------------------------------------------------------------------------------


def same(cells: Notebook, folder: Path) -> None:
    """Nothing."""


def sets(**sources: str) -> Edit:
    """Cells get other sources."""

    def edit(cells: Notebook, folder: Path) -> None:
        assert sources.keys() <= cells.keys()
        cells.update({name: textwrap.dedent(text).strip("\n") for name, text in sources.items()})

    return edit


def replaces(old: str, new: str) -> Edit:
    """A piece of text is replaced wherever it stands."""

    def edit(cells: Notebook, folder: Path) -> None:
        assert any(old in text for text in cells.values())
        cells.update({name: text.replace(old, new) for name, text in cells.items()})

    return edit


def deletes(*names: str) -> Edit:
    """Cells are deleted."""

    def edit(cells: Notebook, folder: Path) -> None:
        for name in names:
            del cells[name]

    return edit


def inserts(after: str | None, name: str, text: str) -> Edit:
    """A cell is inserted after another, or at the top."""

    def edit(cells: Notebook, folder: Path) -> None:
        old = dict(cells)
        cells.clear()
        if after is None:
            cells[name] = text
        for each, source in old.items():
            cells[each] = source
            if each == after:
                cells[name] = text

    return edit


def moves(order: str) -> Edit:
    """The cells stand in another order."""

    def edit(cells: Notebook, folder: Path) -> None:
        old = dict(cells)
        cells.clear()
        cells.update({name: old[name] for name in order.split()})

    return edit


def writes(path: str, content: str | bytes, when: float | None = None) -> Edit:
    """A file gets this content, and this time of modification."""
    return lambda cells, folder: _write(folder / path, content, when)


def removes(*paths: str) -> Edit:
    """Files are removed, if they are there."""

    def edit(cells: Notebook, folder: Path) -> None:
        for path in paths:
            (folder / path).unlink(missing_ok=True)

    return edit


def touches(path: str) -> Edit:
    """A file's time changes, its content does not."""
    return lambda cells, folder: os.utime(folder / path, (1_800_000_000, 1_800_000_000))


def does(action: Callable[[Path], object]) -> Edit:
    """Anything else that is done to the folder."""

    def edit(cells: Notebook, folder: Path) -> None:
        action(folder)

    return edit


def both(*edits: Edit) -> Edit:
    """One edit after the other."""

    def edit(cells: Notebook, folder: Path) -> None:
        for each in edits:
            each(cells, folder)

    return edit


def _write(path: Path, content: str | bytes, when: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else textwrap.dedent(content).encode())
    if when is not None:
        os.utime(path, (when, when))
