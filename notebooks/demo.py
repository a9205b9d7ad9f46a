"""Run the quickstart notebook from scratch, restart and run it again, edit one cell and run it once more.

Prints a table of the cells for each of the three runs, then the three totals. Everything happens in a temporary folder
with a store of its own.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import textwrap
from pathlib import Path

import running

HERE = Path(__file__).resolve().parent
EDITED, OLD, NEW = "interval", "LEVEL = 0.95", "LEVEL = 0.99"


def demonstrate(folder: Path) -> dict[str, running.Run]:
    """Run the three runs in `folder`, print each as it ends, and return them by title."""
    shutil.copytree(HERE / "data", folder / "data")
    notebook = running.read(HERE / "quickstart.ipynb")
    env = {**os.environ, "PROVCRT_STORE": str(folder / "store"), "IPYTHONDIR": str(folder / "ipython")}
    runs = {}

    def once(title: str) -> None:
        runs[title] = running.run(notebook, folder, env=env)
        show(title, runs[title])

    once("1. from scratch: the store is empty")
    once("2. kernel restarted, nothing changed")
    running.edit(notebook, EDITED, OLD, NEW)
    once(f"3. kernel restarted, {OLD} edited to {NEW}")
    return runs


def show(title: str, run: running.Run) -> None:
    """Print one run: a line for each cell."""
    print(f"\n{title}\n  {'cell':<12}{'':<10}{'seconds':>8}  why")
    for cell in run.cells:
        why = textwrap.shorten(cell.reason, 72, placeholder=" …")
        print(f"  {cell.id:<12}{cell.status:<10}{cell.seconds:>8.3f}  {why}".rstrip())


def show_totals(runs: dict[str, running.Run]) -> None:
    """Print the runs side by side: a line for each."""
    print(f"\n{'':<58}{'cells run':>10}{'seconds':>9}{'+ kernel start':>16}")
    for title, run in runs.items():
        ran = f"{len(run.executed)} of {len(run.cells)}"
        print(f"{title:<58}{ran:>10}{run.seconds:>9.2f}{run.seconds + run.kernel_seconds:>16.2f}")


def main() -> None:
    """Run the demonstration in a temporary folder."""
    print("notebooks/quickstart.ipynb, every cell from top to bottom, each time in a fresh kernel")
    with tempfile.TemporaryDirectory(prefix="provcrt-demo-") as folder:
        show_totals(demonstrate(Path(folder)))


if __name__ == "__main__":
    main()
