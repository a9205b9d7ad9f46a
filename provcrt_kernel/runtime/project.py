"""A project: run a notebook as a reference execution, repeat it, and tell what is known of it."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import nbformat
from prov.model import ProvDocument

from provcrt_kernel.provenance.document import Activity, execution_document
from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.runtime import environment
from provcrt_kernel.runtime import notebook as notebooks
from provcrt_kernel.runtime.archive import EXECUTED, SOURCE, Archive, nearest, write
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import CellRun, Execution, Repetition
from provcrt_kernel.runtime.run import KERNEL, run
from provcrt_kernel.runtime.verdict import verdict
from provcrt_kernel.runtime.versions import with_versions
from provcrt_kernel.store import digest


def _nothing(cell: CellRun) -> None:
    """Be told of a cell, and do nothing."""


class Project:
    """The project in the folder `root`; open one with `Project.open`.

    Attributes
    ----------
    root : Path
        The folder that holds ``.provcrt``.
    """

    def __init__(self, root: Path, *, kernel: Sequence[str] = KERNEL) -> None:
        self.root = root
        self._kernel = tuple(kernel)
        self._archive = Archive(root)

    @classmethod
    def open(cls, folder: Path | str, *, kernel: Sequence[str] = KERNEL) -> Self:
        """Return the nearest project at or above `folder`, or one to begin there with its first execution."""
        folder = Path(folder)
        return cls(nearest(folder) or folder.absolute(), kernel=kernel)

    @classmethod
    def find(cls, start: Path | str, *, kernel: Sequence[str] = KERNEL) -> Self:
        """Return the nearest project at or above `start`; ProjectError where there is none."""
        root = nearest(Path(start))
        if root is None:
            raise ProjectError.no_project(Path(start))
        return cls(root, kernel=kernel)

    def execute(
        self,
        path: Path | str,
        *,
        output: Path | str | None = None,
        on_cell: Callable[[CellRun], None] = _nothing,
    ) -> Execution:
        """Run a notebook as a reference execution.

        Parameters
        ----------
        path : Path or str
            The notebook; it is left as it is.
        output : Path or str, optional
            Where the executed notebook goes; by default beside it, as ``<name>.e1.ipynb``.
        on_cell : callable
            Told of each cell when it has run.

        Returns
        -------
        Execution
            Also where a cell raised an error, which ended the run: see `Execution.error`.

        Raises
        ------
        ProjectError
            Where it cannot be run, or not be kept.
        """
        path = Path(path).absolute()
        source, notebook = notebooks.parse(path)
        target = Path(output).absolute() if output is not None else None
        if target is not None and not target.parent.is_dir():
            raise ProjectError.no_such_file(target.parent)
        self._archive.prepare()
        ran = run(notebook, path, kernel=self._kernel, on_cell=on_cell)
        cells = with_versions(ran.cells, path.parent)
        executed = nbformat.writes(notebook) + "\n"
        with self._archive.draft() as draft:
            write(draft / SOURCE, source)
            write(draft / EXECUTED, executed.encode())
            execution = self._archive.keep(
                draft,
                lambda id: Execution(
                    id=id,
                    notebook=FileVersion(os.path.relpath(path, self.root), digest(source)),
                    started=ran.started,
                    seconds=ran.seconds,
                    user=environment.user(),
                    environment=environment.here(),
                    cells=cells,
                    error=ran.error,
                ),
            )
        write(target or path.with_name(f"{path.stem}.{execution.id}.ipynb"), executed.encode())
        return execution

    def repeat(self, id: str, *, on_cell: Callable[[CellRun], None] = _nothing) -> Repetition:
        """Run the recorded notebook of an execution again in its folder, and compare what it does.

        What the store knows is replayed; only what changed, or what nobody can repeat, is run.

        Parameters
        ----------
        id : str
            Such as ``e1``.
        on_cell : callable
            Told of each cell when it has run.

        Raises
        ------
        ProjectError
            Where there is no such execution, or it cannot be run.
        """
        reference = self.show(id)
        path = self.root / reference.notebook.path
        if not path.parent.is_dir():
            raise ProjectError.folder_gone(id, path.parent)
        where, source = self._archive.read(id, SOURCE)
        notebook = notebooks.from_bytes(source, where)
        where, executed = self._archive.read(id, EXECUTED)
        before = notebooks.from_bytes(executed, where)
        self._archive.prepare()
        ran = run(notebook, path, kernel=self._kernel, on_cell=on_cell)
        cells = with_versions(ran.cells, path.parent)
        with self._archive.draft() as draft:
            write(draft / EXECUTED, (nbformat.writes(notebook) + "\n").encode())
            return self._archive.keep_repetition(
                draft,
                id,
                lambda number: Repetition(
                    of=id,
                    number=number,
                    started=ran.started,
                    seconds=ran.seconds,
                    environment=environment.here(),
                    cells=cells,
                    verdict=verdict(reference.cells, cells, before, notebook),
                    error=ran.error,
                ),
            )

    def show(self, id: str) -> Execution:
        """Return an execution; ProjectError where there is none with this id."""
        return self._archive.execution(id)

    def repetitions(self, id: str) -> builtins.list[Repetition]:
        """Return the repetitions of an execution, oldest first; ProjectError where there is none."""
        return self._archive.repetitions(id)

    def list(self) -> builtins.list[Execution]:
        """Return the executions, oldest first; ProjectError where one cannot be read."""
        return [self._archive.execution(id) for id in self._archive.ids()]

    def document(self, id: str) -> ProvDocument:
        """Return an execution as a W3C PROV document; ProjectError where there is none with this id."""
        execution = self.show(id)
        return execution_document(
            id,
            notebook=FileVersion(str(self.root / execution.notebook.path), execution.notebook.digest),
            user=execution.user,
            activities=[_activity(cell) for cell in execution.cells],
            environment={"python": execution.environment.python, "platform": execution.environment.platform},
            root=self.root,
        )


def _activity(cell: CellRun) -> Activity:
    return Activity(
        number=cell.number,
        cell=cell.cell,
        started=cell.started,
        ended=cell.started + cell.seconds,
        used=cell.files_read,
        generated=cell.files_written,
        attributes={"status": cell.status, "reason": cell.reason, "volatile": ", ".join(cell.volatile)},
    )
