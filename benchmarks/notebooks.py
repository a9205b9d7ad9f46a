"""What recording costs and what replaying saves, beside plain ipykernel in the same minutes on one machine.

The two kernels run side by side and take turns cell by cell, so that a machine that slows down slows down both;
every repetition has fresh folders and a fresh store. Prints a table of medians and writes every measurement to a JSON file.

    python benchmarks/notebooks.py [--repeat 3] [--only record,latency,scaling] [--json FILE]
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import nbformat

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parent / "notebooks"
sys.path.insert(0, str(NOTEBOOKS))

import running  # noqa: E402

PLAIN, OURS = "python3", "provcrt"
TRIVIAL = 200  # cells whose median is the latency of a trivial one
LATE_EDIT = ("noise", "6, 8]", "6, 7]")  # as many levels of noise as before: the cell itself costs the same


@dataclass
class Figure:
    """One line of the table: the same quantity on both kernels, one number per repetition."""

    name: str
    unit: str
    plain: list[float] = field(default_factory=list)
    provcrt: list[float] = field(default_factory=list)

    def add(self, kernel: str, value: float) -> None:
        """Keep one measurement."""
        (self.plain if kernel == PLAIN else self.provcrt).append(value)

    def line(self) -> str:
        """Give medians, their difference and their ratio."""
        plain, provcrt = statistics.median(self.plain), statistics.median(self.provcrt)
        return (
            f"{self.name:<56}{plain:>9.2f}{provcrt:>9.2f} {self.unit:<3}"
            f"{provcrt - plain:>+9.2f}{provcrt / plain:>8.2f}×   n={len(self.provcrt)}"
        )


@dataclass
class Place:
    """A fresh copy of the examples with a store of its own, for one kernel."""

    folder: Path
    kernel: str

    def opened(self, notebook: nbformat.NotebookNode) -> AbstractContextManager[running.Desk]:
        """Open `notebook` on a fresh kernel."""
        env = {
            **os.environ,
            "PROVCRT_STORE": str(self.folder / "store"),
            "IPYTHONDIR": str(self.folder / "ipython"),
        }
        return running.opened(notebook, self.folder / "examples", kernel=self.kernel, env=env, timeout=1800)

    def run(self, notebook: nbformat.NotebookNode) -> running.Run:
        """Run `notebook` from top to bottom in a fresh kernel, alone."""
        with self.opened(notebook) as desk:
            cells = [desk.run(index) for index in range(len(notebook.cells))]
        return running.Run(desk.kernel_seconds, tuple(filter(None, cells)))


@contextmanager
def place(kernel: str) -> Iterator[Place]:
    """Set up a fresh folder, and remove it."""
    with tempfile.TemporaryDirectory(prefix="provcrt-bench-") as top:
        shutil.copytree(
            NOTEBOOKS, Path(top) / "examples", ignore=shutil.ignore_patterns("out", "__pycache__")
        )
        yield Place(Path(top), kernel)


def side_by_side(places: Sequence[Place], notebook: nbformat.NotebookNode, first: int) -> list[running.Run]:
    """Run `notebook` on each place's kernel, cell by cell in turn; `first` rotates who begins."""
    with ExitStack() as stack:
        desks = [stack.enter_context(each.opened(copy.deepcopy(notebook))) for each in places]
        cells: list[list[running.Ran]] = [[] for _ in places]
        for index in range(len(notebook.cells)):
            for turn in range(len(places)):
                which = (turn + first + index) % len(places)
                ran = desks[which].run(index)
                if ran is not None:
                    cells[which].append(ran)
    return [running.Run(d.kernel_seconds, tuple(c)) for d, c in zip(desks, cells, strict=True)]


def of_cells(*sources: str) -> nbformat.NotebookNode:
    """Make a notebook of code cells."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    notebook.metadata["kernelspec"] = {"name": OURS, "display_name": "PROV-CRT Python", "language": "python"}
    return notebook


def record(repeat: int) -> list[Figure]:
    """Run each notebook from scratch on both kernels, then replay it; the study also with a late edit."""
    starts = Figure("kernel start", "s")
    figures = [starts]
    for name, times in (("quickstart", repeat + 2), ("pipeline", repeat + 2), ("model", repeat)):
        scratch = Figure(f"{name}: from scratch", "s")
        figures.append(scratch)
        again = [Figure(f"{name}: restart and run all, kernel start included", "s")]
        if name == "model":
            again.append(Figure("model: the cells that a late edit runs, and the imports", "s"))
            again.append(Figure("model: late edit, everything included", "s"))
        figures += again
        for turn in range(times):
            with place(PLAIN) as theirs, place(OURS) as ours:
                notebook = running.read(NOTEBOOKS / f"{name}.ipynb")
                plain, first = side_by_side((theirs, ours), notebook, turn)
                for kernel, run in ((PLAIN, plain), (OURS, first)):
                    starts.add(kernel, run.kernel_seconds)
                    scratch.add(kernel, run.seconds)
                # without records, running again is running from scratch
                again[0].add(PLAIN, whole(plain))
                again[0].add(OURS, whole(ours.run(notebook)))
                if name == "model":
                    running.edit(notebook, *LATE_EDIT)
                    edited = ours.run(notebook)
                    ran = {*edited.executed, "imports"}  # whatever runs needs what was imported
                    for kernel, was in ((PLAIN, plain), (OURS, edited)):
                        again[1].add(kernel, sum(cell.seconds for cell in was.cells if cell.id in ran))
                        again[2].add(kernel, whole(was))
            print("\n".join(figure.line() for figure in (scratch, *again)), flush=True)
    return figures


def whole(run: running.Run) -> float:
    """Seconds from asking for a kernel to the last cell's end."""
    return run.kernel_seconds + run.seconds


def latency(repeat: int) -> list[Figure]:
    """Take the median time of a trivial cell, in ms."""
    figure = Figure(f"a trivial cell, the median of {TRIVIAL}", "ms")
    measure(figure, repeat, of_cells(*(f"x = {number}" for number in range(TRIVIAL))), TRIVIAL)
    return [figure]


def scaling(repeat: int) -> list[Figure]:
    """Take the median time in ms of a trivial cell after many cells, and beside much untouched state."""
    figures = []
    probes = [f"y = {number}" for number in range(50)]
    for cells in (10, 100, 1000):
        figure = Figure(f"a trivial cell after {cells:,} others", "ms")
        measure(
            figure,
            repeat,
            of_cells(*(f"x{number} = {number}" for number in range(cells)), *probes),
            len(probes),
        )
        figures.append(figure)
    for size in (0, 100, 1000):
        figure = Figure(f"a trivial cell beside {size:,} MB of untouched arrays", "ms")
        state = f"import numpy as np\nbig = [np.full(1_250_000, n * 1.0) for n in range({size // 10})]"
        measure(figure, repeat, of_cells(state, *probes), len(probes))
        figures.append(figure)
    return figures


def measure(figure: Figure, repeat: int, notebook: nbformat.NotebookNode, last: int) -> None:
    """Add to `figure` the median time in ms of the `last` cells of `notebook`, `repeat` times a kernel."""
    for turn in range(repeat):
        with place(PLAIN) as theirs, place(OURS) as ours:
            for kernel, run in zip((PLAIN, OURS), side_by_side((theirs, ours), notebook, turn), strict=True):
                figure.add(kernel, 1000 * statistics.median(cell.seconds for cell in run.cells[-last:]))
    print(figure.line(), flush=True)


SECTIONS: dict[str, Callable[[int], list[Figure]]] = {
    "record": record,
    "latency": latency,
    "scaling": scaling,
}


def machine() -> dict[str, object]:
    """Say what was measured, and where."""
    model = [
        row.partition(":")[2].strip()
        for row in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in row
    ]
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    names = ("provcrt-kernel", "ipykernel", "ipython", "numpy", "pandas", "scikit-learn", "matplotlib")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "cpu": model[0] if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
        "packages": {name: importlib.metadata.version(name) for name in names},
    }


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=3, help="repetitions of the slow sections (default: 3)")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "notebooks.json")
    arguments = parser.parse_args()
    begun = machine()
    figures = []
    for section in arguments.only.split(","):
        figures += SECTIONS[section](arguments.repeat)
    print(f"\n{'':<56}{'ipykernel':>9}{'PROV-CRT':>9}    {'more':>9}{'ratio':>9}")
    print("\n".join(figure.line() for figure in figures))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "machine": begun,
        "load_after": os.getloadavg(),
        "figures": [vars(figure) for figure in figures],
    }
    arguments.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
