"""Run a notebook's code cells one by one on a kernel, and keep what each reply said about its cell.

Knows Jupyter, and of PROV-CRT only the key ``provcrt`` in a reply's metadata; so plain ipykernel runs through it too and
the two can be compared. The demo, the benchmarks and the tests stand on it. As a command it runs notebooks in place:
``python running.py quickstart.ipynb pipeline.ipynb``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode


@dataclass(frozen=True)
class Ran:
    """One code cell of one run."""

    id: str
    seconds: float  # from the request to the reply and idle, as a reader waits
    provcrt: Mapping[str, Any]  # what the kernel said of it; empty on plain ipykernel

    @property
    def status(self) -> str:
        """``executed`` or ``replayed``."""
        return self.provcrt.get("status", "executed")

    @property
    def reason(self) -> str:
        """Why it ran or need not run, and why there is no record of it if there is none; a few words."""
        unrecorded = "; ".join(self.provcrt.get("not_recorded") or ())
        return (self.provcrt.get("reason") or "") + (f" (not recorded: {unrecorded})" if unrecorded else "")


@dataclass(frozen=True)
class Run:
    """One run of a notebook from a fresh kernel: every code cell in order."""

    kernel_seconds: float  # from asking for a kernel until it answers
    cells: tuple[Ran, ...]

    @property
    def seconds(self) -> float:
        """Seconds of the cells, without the kernel's start."""
        return sum(cell.seconds for cell in self.cells)

    @property
    def executed(self) -> tuple[str, ...]:
        """Ids of the cells that ran, in order."""
        return tuple(cell.id for cell in self.cells if cell.status != "replayed")


@dataclass
class Desk:
    """A notebook open on a kernel that runs.

    Attributes
    ----------
    kernel_seconds
        From asking for the kernel until it answered.
    """

    kernel_seconds: float
    _client: NotebookClient
    _replies: list[Mapping[str, Any]]

    def run(self, index: int) -> Ran | None:
        """Run the cell at `index` of the notebook's cells; None if it has no code."""
        cell = self._client.nb.cells[index]
        if cell.cell_type != "code" or not cell.source.strip():
            return None
        start = time.perf_counter()
        self._client.execute_cell(cell, index)
        seconds = time.perf_counter() - start
        return Ran(cell.id, seconds, self._replies[-1].get("metadata", {}).get("provcrt", {}))


@contextmanager
def opened(
    notebook: NotebookNode,
    folder: Path,
    *,
    kernel: str = "provcrt",
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> Iterator[Desk]:
    """Start a kernel for a notebook, and shut it down in the end. Parameters are those of `run`."""
    replies: list[Mapping[str, Any]] = []
    client = NotebookClient(
        notebook,
        kernel_name=kernel,
        timeout=timeout,
        record_timing=False,
        coalesce_streams=True,  # where a stream is cut depends on timing
        extra_arguments=["--log-level=ERROR"],  # what a kernel warns of at its start is not the notebook's
        resources={"metadata": {"path": str(folder)}},
        on_cell_executed=lambda execute_reply, **_: replies.append(execute_reply),
    )
    start = time.perf_counter()
    with client.setup_kernel(**({} if env is None else {"env": dict(env)})):
        yield Desk(time.perf_counter() - start, client, replies)


def run(
    notebook: NotebookNode,
    folder: Path,
    *,
    kernel: str = "provcrt",
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
    on_cell: Callable[[Ran], None] | None = None,
) -> Run:
    """Start a kernel, run every code cell of `notebook` in it, shut it down.

    Parameters
    ----------
    notebook
        Changed in place: the cells' outputs and execution counts become those of this run.
    folder
        The kernel's working directory.
    kernel
        Name of an installed kernelspec.
    env
        The kernel's whole environment; None for this process's own.
    timeout
        Seconds that one cell may take.
    on_cell
        Called after each code cell.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        When a cell fails that is not tagged ``raises-exception``.
    """
    ran: list[Ran] = []
    with opened(notebook, folder, kernel=kernel, env=env, timeout=timeout) as desk:
        for index in range(len(notebook.cells)):
            cell = desk.run(index)
            if cell is not None:
                ran.append(cell)
                if on_cell is not None:
                    on_cell(cell)
    return Run(desk.kernel_seconds, tuple(ran))


def pid(desk: Desk) -> int:
    """The process that was started as the kernel; what it started in turn is below it."""
    return int(desk._client.km.provisioner.process.pid)


def read(path: Path) -> NotebookNode:
    """Read a notebook in the current format."""
    return nbformat.read(path, as_version=4)


def edit(notebook: NotebookNode, cell_id: str, old: str, new: str) -> None:
    """Replace `old` by `new` in the source of one cell.

    Raises
    ------
    LookupError
        When there is no such cell, or `old` does not stand in it.
    """
    for cell in notebook.cells:
        if cell.id == cell_id and old in cell.source:
            cell.source = cell.source.replace(old, new)
            return
    raise LookupError(
        f"no cell {cell_id!r} that contains {old!r}: the notebook was edited, edit its caller too"
    )


def main() -> None:
    """Run the notebooks given on the command line, each in its folder, and write their outputs into them."""
    parser = argparse.ArgumentParser(description="Run notebooks in place, each in its own folder.")
    parser.add_argument("--kernel", default="provcrt", help="name of the kernelspec (default: provcrt)")
    parser.add_argument("notebooks", nargs="+", type=Path, metavar="NOTEBOOK")
    arguments = parser.parse_args()
    for path in arguments.notebooks:
        notebook = read(path)
        metadata = dict(notebook.metadata)
        result = run(notebook, path.parent, kernel=arguments.kernel)
        notebook.metadata = metadata  # language_info names the patch release of Python: noise in a diff
        nbformat.write(notebook, path)
        print(f"{path}: {len(result.cells)} cells, {result.seconds:.1f} s")


if __name__ == "__main__":
    main()
