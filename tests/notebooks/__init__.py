"""Notebooks in the manner of public ones, the data they read, and edits as readers make them.

Each ``.ipy`` file is one notebook in the percent format: ``# %% name``, then the cell's text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
NAMES = tuple(sorted(path.stem for path in HERE.glob("*.ipy")))


@dataclass(frozen=True)
class Cell:
    """One code cell; its name stays when its text is edited."""

    name: str
    text: str


def read(name: str) -> tuple[Cell, ...]:
    """The cells of a notebook."""
    parts = re.split(r"^# %% ([\w-]+)\n", (HERE / f"{name}.ipy").read_text(), flags=re.MULTILINE)
    return tuple(Cell(n, t.strip("\n")) for n, t in zip(parts[1::2], parts[2::2], strict=True))
