"""How it grows: cells in a notebook, bytes in its state, files that a cell reads, executions in a project, notebooks in a store.

Plain ipykernel beside PROV-CRT, in turn, and the physical limits beside them: kernel start, disk and memory bandwidth, hash
speed.

    python benchmarks/scale.py [--only cells,state,files,executions,sharing,limits] [--largest 1] [--repeat 3] [--json FILE]

``--largest 0.01`` measures the same with sizes up to a hundredth: is everything installed?
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import nbformat
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "notebooks"))
sys.path.insert(0, str(HERE))

import running  # noqa: E402
from frame import Contender, Figure, contenders, write  # noqa: E402

from notebooks import machine  # noqa: E402
from provcrt_kernel.runtime import Execution  # noqa: E402
from provcrt_kernel.runtime.archive import Archive  # noqa: E402
from provcrt_kernel.session.fingerprint import fingerprint  # noqa: E402

CELLS = (10, 100, 1_000)
MEGABYTES = (1, 16, 256, 1_024, 4_096)
FILES = (10, 100, 1_000, 10_000, 100_000)
EXECUTIONS = (1, 10, 100, 1_000, 10_000)
NOTEBOOKS = (1, 2, 4, 8)


class Scale:
    """Figures of one section: each at several sizes.

    Parameters
    ----------
    section
        What grows; the figures are named ``section: what``, and their values are kept by ``contender@size``.
    """

    def __init__(self, section: str) -> None:
        self._section = section
        self.figures: dict[str, Figure] = {}

    def add(self, what: str, unit: str, contender: str, size: float, value: float) -> None:
        """Keep one measurement."""
        figure = self.figures.setdefault(what, Figure(f"{self._section}: {what}", unit))
        figure.add(f"{contender}@{size:g}", value)


def up_to(sizes: Sequence[int], largest: float) -> list[int]:
    """The sizes up to a share of the largest one; always two."""
    return [size for n, size in enumerate(sizes) if size <= largest * sizes[-1] or n < 2]


def run(contender: Contender, *cells: str) -> tuple[float, list[float]]:
    """Run cells in a fresh kernel: seconds of all with the kernel's start, and of each."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with running.opened(
        notebook, contender.folder, kernel=contender.kernel, env=contender.env, timeout=3600
    ) as desk:
        ran = [desk.run(index) for index in range(len(cells))]
    each = [one.seconds for one in ran if one is not None]
    return desk.kernel_seconds + sum(each), each


def cells(repeat: int, largest: float, top: Path) -> list[Figure]:
    """Notebooks of many trivial cells."""
    scale = Scale("cells")
    for count in up_to(CELLS, largest):
        for _ in range(repeat):
            for each in contenders((), top):
                sources = [f"x{n} = {n}" for n in range(count)]
                for what in ("from scratch", "again"):
                    whole, ran = run(each, *sources)
                    scale.add(what, "s", each.name, count, whole)
                    scale.add(
                        f"{what}, the last ten", "ms", each.name, count, 1000 * statistics.median(ran[-10:])
                    )
                shutil.rmtree(each.folder, ignore_errors=True)
    return list(scale.figures.values())


def state(repeat: int, largest: float, top: Path) -> list[Figure]:
    """One array of many bytes: made, recalled, and read."""
    scale = Scale("state")
    for megabytes in up_to(MEGABYTES, largest):
        source = f"a = np.random.default_rng(0).random({megabytes * 125_000})"
        for _ in range(repeat):
            for each in contenders((), top):
                each.env["PROVCRT_COST_POLICY"] = "off"  # numbers drawn again cost less than numbers kept
                scale.add("made", "s", each.name, megabytes, run(each, "import numpy as np", source)[1][-1])
                if each.name == "PROV-CRT":
                    again = run(each, "import numpy as np", source, "np.__name__", "float(a[-1])")[1]
                    scale.add("recalled", "s", each.name, megabytes, again[1])
                    scale.add("recalled and read", "s", each.name, megabytes, again[-1])
                    scale.add("kept", "MB", each.name, megabytes, each.stored() / 1e6)
                shutil.rmtree(each.folder, ignore_errors=True)
    return list(scale.figures.values())


def files(repeat: int, largest: float, top: Path) -> list[Figure]:
    """A cell that reads many small files."""
    scale = Scale("files")
    for count in up_to(FILES, largest):
        folder = Path(tempfile.mkdtemp(dir=top))
        for n in range(count):
            if n % 200 == 0:
                (folder / str(n // 200)).mkdir()
            (folder / str(n // 200) / str(n)).write_text(str(n))
        source = (
            "import os\ntotal = 0\n"
            f"for place, _, names in os.walk({str(folder)!r}):\n"
            "    for name in names:\n        with open(os.path.join(place, name)) as file:\n"
            "            total += int(file.read())\nprint(total)"
        )
        for _ in range(repeat):
            for each in contenders((), top):
                for what in ("from scratch", "again"):
                    scale.add(what, "s", each.name, count, run(each, source)[1][-1])
                shutil.rmtree(each.folder, ignore_errors=True)
        shutil.rmtree(folder)
    return list(scale.figures.values())


def executions(repeat: int, largest: float, top: Path) -> list[Figure]:
    """A project of many executions: each the copy of a real one, under its own id."""
    scale = Scale("executions")
    for count in up_to(EXECUTIONS, largest):
        work = Path(tempfile.mkdtemp(dir=top))
        provcrt = [sys.executable, "-m", "provcrt_kernel.cli"]
        environ = {**os.environ, "XDG_DATA_HOME": str(top / "data")}
        subprocess.run([*provcrt, "exec", "true"], cwd=work, env=environ, check=True, capture_output=True)
        os.environ["XDG_DATA_HOME"] = str(top / "data")
        archive = Archive(work)
        first = archive.execution("e1")
        for _ in range(count - 1):
            with archive.draft() as draft:
                for file in (archive.folder / "e1").iterdir():
                    if file.is_file() and file.name not in ("execution.json", "seal"):
                        shutil.copy2(file, draft)
                archive.keep(draft, partial(_renamed, first))
        for _ in range(repeat):
            for what, argv in (
                ("list", ["list"]),
                ("show", ["show", f"e{count}"]),
                ("exec", ["exec", "true"]),
            ):
                started = time.perf_counter()
                subprocess.run([*provcrt, *argv], cwd=work, env=environ, check=True, capture_output=True)
                scale.add(what, "s", "PROV-CRT", count, time.perf_counter() - started)
        shutil.rmtree(work)
    return list(scale.figures.values())


def _renamed(execution: Execution, id: str) -> Execution:
    return msgspec.structs.replace(execution, id=id)


def sharing(repeat: int, largest: float, top: Path) -> list[Figure]:
    """Copies of one notebook, each with one parameter of its own, in one store: an array of 80 MB and what follows from it."""
    scale = Scale("sharing")
    rows = max(1_000, int(10_000_000 * min(1, largest * 10)))
    for _ in range(repeat):
        ours = next(each for each in contenders((), top) if each.name == "PROV-CRT")
        ours.env["PROVCRT_COST_POLICY"] = "off"
        for number in range(1, NOTEBOOKS[-1] + 1):
            sources = (
                "import numpy as np",
                f"a = np.random.default_rng(0).random({rows})",
                f"k = {number}",
                "(a[:1000] * k).sum()",
            )
            seconds = run(ours, *sources)[0]
            if number in NOTEBOOKS:
                scale.add("kept", "MB", "PROV-CRT", number, ours.stored() / 1e6)
                scale.add("the last notebook", "s", "PROV-CRT", number, seconds)
        shutil.rmtree(ours.folder, ignore_errors=True)
    return list(scale.figures.values())


def limits(repeat: int, largest: float, top: Path) -> list[Figure]:
    """What the machine allows: nothing that keeps or recalls state can be faster."""
    names = (
        ("a kernel's start", "s"), ("memory, copied", "GB/s"), ("disk, written and synchronised", "GB/s"),
        ("disk, read (as cached)", "GB/s"), ("hash of an array", "GB/s"),
    )  # fmt: skip
    found = {name: Figure(f"limits: {name}", unit) for name, unit in names}
    array = np.random.default_rng(0).random(max(1_000_000, int(125_000_000 * largest)))
    size = array.nbytes / 1e9

    def timed(name: str, what: Callable[[], object], amount: float = size) -> None:
        started = time.perf_counter()
        what()
        found[name].add("machine", amount / (time.perf_counter() - started))

    def written() -> None:
        with open(top / "limit", "wb") as file:
            file.write(array.data)
            file.flush()
            os.fsync(file.fileno())

    for _ in range(repeat):
        for each in contenders((), top):
            started = time.perf_counter()
            run(each)
            found["a kernel's start"].add(each.name, time.perf_counter() - started)
            shutil.rmtree(each.folder, ignore_errors=True)
        copy = np.empty_like(array)
        copy[:] = 0  # its pages are there
        timed("memory, copied", lambda copy=copy: np.copyto(copy, array))
        timed("disk, written and synchronised", written)
        timed("disk, read (as cached)", (top / "limit").read_bytes)
        timed("hash of an array", lambda: fingerprint(array, {}))
    return list(found.values())


SECTIONS: dict[str, Callable[[int, float, Path], list[Figure]]] = {
    "cells": cells, "state": state, "files": files, "executions": executions, "sharing": sharing, "limits": limits,
}  # fmt: skip


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=3, help="repetitions (default: 3)")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--largest", type=float, default=1.0, help="share of the largest sizes (default: 1)")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "scale.json")
    arguments = parser.parse_args()
    begun, figures = machine(), []
    with tempfile.TemporaryDirectory(prefix="provcrt-bench-") as folder:
        for section in arguments.only.split(","):
            for figure in SECTIONS[section](arguments.repeat, arguments.largest, Path(folder)):
                figures.append(figure)
                print("\n".join(figure.lines()), flush=True)
    write(arguments.json, begun, figures, largest=arguments.largest)


if __name__ == "__main__":
    main()
