"""A project: contain runs of commands and notebooks, repeat and change them, and tell what is known of them."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from prov.model import ProvDocument

from provcrt_kernel.provenance.document import Activity, execution_document
from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.runtime import commands, notebooks
from provcrt_kernel.runtime.archive import Archive, nearest
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import CellRun, Execution, Repetition
from provcrt_kernel.runtime.run import KERNEL


def _nothing(cell: CellRun) -> None:
    """Be told of a cell, and do nothing."""


class Project:
    """The project in the folder `root`; open one with `Project.open`.

    Attributes
    ----------
    root : Path
        The folder that holds ``.provcrt``.
    """

    def __init__(self, root: Path, *, kernel: Sequence[str] = KERNEL, name: str | None = None) -> None:
        self.root = root
        self._kernel = tuple(kernel)
        self._archive = Archive(root, name)

    @property
    def name(self) -> str:
        """The project's name; empty where it has none."""
        return self._archive.name

    @classmethod
    def create(cls, folder: Path | str, name: str, *, kernel: Sequence[str] = KERNEL) -> tuple[Self, bool]:
        """Open the project `name` in the nearest folder at or above `folder` that has projects, or begin it there.

        Returns
        -------
        Project
        bool
            Whether it is new.

        Raises
        ------
        ProjectError
            Where it cannot be made.
        """
        folder = Path(folder)
        project = cls(nearest(folder) or folder.absolute(), kernel=kernel, name=name)
        return project, project._archive.create()

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
        """Run a notebook as a reference execution; of a command, see `run`.

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
        return notebooks.execute(
            self._archive,
            self.root,
            Path(path).absolute(),
            kernel=self._kernel,
            output=Path(output).absolute() if output is not None else None,
            on_cell=on_cell,
        )

    def run(self, argv: Sequence[str], *, show: bool = True) -> Execution:
        """Run a command in the current folder as a reference execution.

        Parameters
        ----------
        argv : sequence of str
            The command and its arguments.
        show : bool
            Pass its output on to ours.

        Returns
        -------
        Execution
            Also where the command failed: see `Commanded.status`.

        Raises
        ------
        ProjectError, StoreError
            Where it cannot be run, or not be kept.
        KeyboardInterrupt
            Where it was interrupted: nothing is kept then.
        """
        return commands.execute(self._archive, self.root, argv, show=show)

    def repeat(
        self,
        id: str,
        *,
        isolation: bool = True,
        output: Path | None = None,
        show: bool = True,
        on_cell: Callable[[CellRun], None] = _nothing,
    ) -> Repetition:
        """Repeat an execution, and compare what it does.

        A command runs on its container's content, in a sandbox. A notebook runs in its folder; what the store knows
        is replayed, and only what changed, or what nobody can repeat, is run.

        Parameters
        ----------
        id : str
            Such as ``e1``.
        isolation : bool
            Whether a command runs in a sandbox, or in place on inputs that must be what they were.
        output : Path, optional
            A folder for the files that a command wrote.
        show : bool
            Pass a command's output on to ours.
        on_cell : callable
            Told of each cell when it has run.

        Raises
        ------
        ProjectError, StoreError
            Where there is no such execution, or it cannot be run.
        """
        reference = self.show(id)
        if reference.command is None:
            return notebooks.repeat(self._archive, self.root, reference, kernel=self._kernel, on_cell=on_cell)
        return commands.repeat(
            self._archive, self.root, reference, isolation=isolation, show=show, output=output
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
        assert execution.notebook is not None
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
