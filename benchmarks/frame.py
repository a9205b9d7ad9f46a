"""What the benchmarks share: contenders in folders and environments of their own, figures, the machine, the file of results.

A contender is a kernel, in an empty folder with a store and a home of its own. Peers are installed from PyPI into environments of
their own; one that cannot run says why. Every single measurement is kept.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "notebooks"))

import running  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Peer:
    """Another way to keep a session's state.

    Attributes
    ----------
    packages
        What to install, versions included.
    arguments
        The kernel's command line after the interpreter.
    enable
        A cell that switches it on; empty: nothing to do.
    """

    name: str
    packages: tuple[str, ...]
    arguments: tuple[str, ...] = ("-m", "ipykernel_launcher", "-f", "{connection_file}")
    enable: str = ""


@dataclass
class Figure:
    """One line of the table: a quantity of one contender, one number per repetition."""

    name: str
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, contender: str, value: float) -> None:
        """Keep one measurement."""
        self.values.setdefault(contender, []).append(value)

    def lines(self) -> Iterator[str]:
        """Give the medians, and their ratio to plain ipykernel's where that was measured."""
        plain = statistics.median(self.values["plain"]) if "plain" in self.values else None
        for contender, values in self.values.items():
            middle = statistics.median(values)
            ratio = f"{middle / plain:8.2f}×" if plain else ""
            yield f"{self.name:<46}{contender:<10}{middle:>10.3f} {self.unit:<5}{ratio}  n={len(values)}"


def processor_seconds(pid: int) -> float:
    """Seconds of processor that a process, its living descendants and its dead children have taken."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        threads = os.listdir(f"/proc/{pid}/task")
        children = [Path(f"/proc/{pid}/task/{t}/children").read_text().split() for t in threads]
    except OSError:
        return 0.0
    own = sum(map(int, fields[11:15])) / TICK
    return own + sum(processor_seconds(int(child)) for group in children for child in group)


@dataclass
class Contender:
    """A kernel to measure, in a folder of its own."""

    name: str
    kernel: str
    folder: Path
    env: dict[str, str]
    enable: str = ""

    def notebook(self, *cells: str) -> nbformat.NotebookNode:
        """Make a notebook of code cells, the enabling one first."""
        sources = [self.enable or "None", *cells]
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
        nbformat.write(made, self.folder / "state.ipynb")
        return made

    @contextmanager
    def opened(self, *cells: str) -> Iterator[running.Desk]:
        """Start the kernel on a notebook of `cells`; the first one is the cell that enables it."""
        made = self.notebook(*cells)
        with running.opened(made, self.folder, kernel=self.kernel, env=self.env, timeout=1800) as desk:
            yield desk

    def stored(self) -> int:
        """Bytes on disk that keeping state took."""
        own = (self.folder / "ipython", self.folder / "state.ipynb")
        files = (
            f for f in self.folder.rglob("*") if f.is_file() and not any(f.is_relative_to(o) for o in own)
        )
        return sum(f.stat().st_blocks * 512 for f in files)


def prepare(peer: Peer, homes: Path, top: Path) -> str | None:
    """Install a peer in an environment of its own, unless it is there, and name its kernel; returns why that failed."""
    home = homes / peer.name
    if not home.exists():
        venv.create(home, with_pip=True)
    wanted = ["numpy", "pandas", *peer.packages]
    done = subprocess.run(
        [home / "bin" / "pip", "install", "-q", *wanted], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    spec = top / "jupyter" / "kernels" / f"bench-{peer.name}"
    spec.mkdir(parents=True)
    argv = [str(home / "bin" / "python"), *peer.arguments]
    (spec / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": peer.name, "language": "python"})
    )
    return None


def contenders(peers: Sequence[Peer], top: Path) -> list[Contender]:
    """Plain ipykernel, PROV-CRT, and the peers, each in an empty folder with a home of its own."""
    found = []
    for name, kernel, enable in (
        ("plain", "python3", ""),
        ("PROV-CRT", "provcrt", ""),
        *((p.name, f"bench-{p.name}", p.enable) for p in peers),
    ):
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=top))
        env = {**os.environ, "PROVCRT_STORE": str(folder / "store"), "IPYTHONDIR": str(folder / "ipython")}
        if enable or kernel.startswith("bench-"):
            (folder / "home").mkdir()
            env |= {"HOME": str(folder / "home"), "JPY_SESSION_NAME": str(folder / "state.ipynb")}
        found.append(Contender(name, kernel, folder, env, enable))
    return found


def write(path: Path, begun: Mapping[str, object], figures: Sequence[Figure], **further: object) -> None:
    """Write every measurement to a file.

    Parameters
    ----------
    begun
        What `notebooks.machine` said before the first measurement.
    further
        More to keep, by name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "machine": begun,
        "load_after": os.getloadavg(),
        **further,
        "figures": [vars(figure) for figure in figures],
    }
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
