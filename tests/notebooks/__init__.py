"""Notebooks in the manner of public ones, the data they read, and edits as readers make them.

Each ``.ipy`` file is one notebook in the percent format: ``# %% name``, then the cell's text.
"""

from __future__ import annotations

import json
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


def read(name: str | Path) -> tuple[Cell, ...]:
    """The cells of a notebook: one of ours by its name, or a file."""
    path = HERE / f"{name}.ipy" if name in NAMES else Path(name)
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text())
        cells = cells.get("cells") or [c for sheet in cells.get("worksheets", []) for c in sheet["cells"]]
        texts = ["".join(c.get("source", c.get("input", ""))) for c in cells if c["cell_type"] == "code"]
        return tuple(Cell(f"c{n}", t) for n, t in enumerate(texts, 1) if t.strip())
    parts = re.split(r"^# %% ([\w-]+)\n", path.read_text(), flags=re.MULTILINE)
    return tuple(Cell(n, t.strip("\n")) for n, t in zip(parts[1::2], parts[2::2], strict=True))
