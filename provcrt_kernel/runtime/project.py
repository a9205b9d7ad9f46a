"""A project: contain runs of commands and notebooks, repeat and change them, and tell what is known of them."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from provcrt_kernel.runtime.archive import EXECUTED, SOURCE, Archive, nearest, write
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import Branch, CellRun, Descent, Execution, Repetition
from provcrt_kernel.runtime.label import Label, label, relabel
from provcrt_kernel.store import Collected

if TYPE_CHECKING:
    from prov.model import ProvDocument

    from provcrt_kernel.kernel.rerun import Finding
    from provcrt_kernel.provenance.formats import Format as ProvFormat
    from provcrt_kernel.provenance.lineage import Origin
    from provcrt_kernel.provenance.requirements import Format
    from provcrt_kernel.runtime.beside import Beside
    from provcrt_kernel.runtime.compared import Change
    from provcrt_kernel.runtime.detail import Detail
    from provcrt_kernel.runtime.notebooks import Setting
    from provcrt_kernel.runtime.told import Told


def _nothing(cell: CellRun) -> None:
    """Be told of a cell, and do nothing."""


def _no_part(done: int, all: int) -> None:
    """Be told how far something is, and do nothing."""


class Project:
    """The project in the folder `root`; open one with `Project.open`.

    Attributes
    ----------
    root : Path
        The folder that holds ``.provcrt``.
    """

    def __init__(
        self, root: Path, *, kernel: Sequence[str] = (), name: str | None = None, network: bool = False
    ) -> None:
        self.root = root
        self._kernel = tuple(kernel)
        self._archive = Archive(root, name, network=network)

    @property
    def name(self) -> str:
        """The project's name; empty where it has none."""
        return self._archive.name

    @classmethod
    def create(cls, folder: Path | str, name: str, *, kernel: Sequence[str] = ()) -> tuple[Self, bool]:
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
    def open(cls, folder: Path | str, *, kernel: Sequence[str] = ()) -> Self:
        """Return the nearest project at or above `folder`, or one to begin there with its first execution."""
        folder = Path(folder)
        return cls(nearest(folder) or folder.absolute(), kernel=kernel)

    @classmethod
    def find(cls, start: Path | str, *, kernel: Sequence[str] = (), network: bool = False) -> Self:
        """Return the nearest project at or above `start`; ProjectError where there is none.

        With `network`, what others made is let reach the network where it did.
        """
        root = nearest(Path(start))
        if root is None:
            raise ProjectError.no_project(Path(start))
        return cls(root, kernel=kernel, network=network)

    def execute(
        self,
        path: Path | str,
        *,
        output: Path | str | None = None,
        parameters: Mapping[str, str] = {},
        on_cell: Callable[[CellRun], None] = _nothing,
    ) -> Execution:
        """Run a notebook as a reference execution; of a command, see `run`.

        Parameters
        ----------
        path : Path or str
            The notebook; it is left as it is.
        output : Path or str, optional
            Where else the executed notebook goes, which the project keeps; see `executed`.
        parameters : mapping of str to str
            See `notebook.with_parameters`.
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
        from provcrt_kernel.runtime import notebooks  # with nbclient and jsonschema: a command needs neither

        return notebooks.execute(
            self._setting(on_cell),
            Path(path).absolute(),
            output=Path(output).absolute() if output is not None else None,
            parameters=parameters,
        )

    def _setting(self, on_cell: Callable[[CellRun], None] = _nothing) -> Setting:
        from provcrt_kernel.runtime.notebooks import Setting

        return Setting(self._archive, self.root, self._kernel, on_cell)

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
        from provcrt_kernel.runtime import commands

        return commands.execute(self._archive, self.root, argv, show=show)

    def repeat(
        self,
        id: str,
        *,
        isolation: bool = True,
        output: Path | None = None,
        memo: bool = True,
        show: bool = True,
        on_cell: Callable[[CellRun], None] = _nothing,
    ) -> Repetition:
        """Repeat an execution, and compare what it does.

        It runs on its container's content, in a sandbox. Of a notebook, what the project's records know is replayed, and
        only what nobody can repeat is run.

        Parameters
        ----------
        id : str
            Such as ``e1``.
        isolation : bool
            Whether it runs in a sandbox; else in place: a command on inputs that must be what they were, a notebook on the
            files as they are now.
        output : Path, optional
            A folder for the files that a command wrote; the file for an executed notebook.
        memo : bool
            Whether cells may be replayed.
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
            from provcrt_kernel.runtime import notebook_again

            output = output.absolute() if output is not None else None
            return notebook_again.repeat(
                self._setting(on_cell), reference, isolation=isolation, memo=memo, output=output
            )
        from provcrt_kernel.runtime import again

        return again.repeat(
            self._archive, self.root, reference, isolation=isolation, show=show, output=output
        )

    def audit(
        self, id: str, *, everything: bool = False, on_cell: Callable[[CellRun], None] = _nothing
    ) -> tuple[Finding, ...]:
        """Run the recorded notebook of an execution, then from scratch beside it; see `audit.audit_notebook`."""
        from provcrt_kernel.runtime import audit

        return audit.audit_execution(
            self._archive,
            self.root,
            self.show(id),
            everything=everything,
            kernel=self._kernel,
            on_cell=on_cell,
        )

    def given(
        self,
        id: str,
        values: Sequence[str],
        places: Sequence[str] = (),
        *,
        show: bool = True,
        on_cell: Callable[[CellRun], None] = _nothing,
    ) -> Execution:
        """Run an execution's container with other arguments, parameters or data, as a new execution related to it.

        Parameters
        ----------
        id : str
            Such as ``e1``.
        values, places : sequence of str
            See `given.substituted`, and `given.with_parameters` for notebooks.
        show : bool
            Pass a command's output on to ours.
        on_cell : callable
            Told of each cell when it has run.

        Raises
        ------
        ProjectError, StoreError
            Where they do not fit, or it cannot be run.
        """
        reference = self.show(id)
        if reference.command is None:
            from provcrt_kernel.runtime import changed

            return changed.given(self._setting(on_cell), reference, values, places)
        from provcrt_kernel.runtime import again
        from provcrt_kernel.runtime.given import substituted
        from provcrt_kernel.runtime.kept import Kept

        with self._archive.store() as store:
            kept, changes = substituted(Kept.load(reference, store), values, places, store)
        descent = Descent(id, "given", tuple(changes), origin=reference.origin)
        return again.modify(self._archive, self.root, kept, descent=descent, show=show)

    def checkout(self, id: str, folder: Path | None = None) -> tuple[Path, int]:
        """Lay the user's files of an execution out in a folder, to be edited and committed.

        Returns
        -------
        Path
            The folder, by default one of the execution's name.
        int
            How many files.

        Raises
        ------
        ProjectError, StoreError
            Where it cannot be done.
        """
        from provcrt_kernel.runtime import commit

        folder = (folder or Path(id)).absolute()
        execution = self.show(id)
        notebook = None
        if execution.notebook is not None:
            notebook = Path(execution.notebook.path).name, self._archive.read(id, SOURCE)[1]
        return folder, commit.checkout(self._archive, execution, folder, notebook)

    def commit(
        self,
        id: str | None = None,
        *,
        show: bool = True,
        on_cell: Callable[[CellRun], None] = _nothing,
    ) -> Execution:
        """Run an execution with the files as they were edited, as a new execution related to it.

        Parameters
        ----------
        id : str, optional
            By default what is checked out, else the latest execution.
        show : bool
            Pass a command's output on to ours.
        on_cell : callable
            Told of each cell when it has run.

        Raises
        ------
        ProjectError, StoreError
            Where nothing was edited, or it cannot be run.
        """
        from provcrt_kernel.runtime import again, commit

        family, folder = commit.meant(self._archive, self.list(), id)
        reference = family[0]
        if reference.command is None:
            from provcrt_kernel.runtime import changed

            return changed.commit(self._setting(on_cell), family, folder)
        edited = commit.edited_by(self._archive, family, folder)
        descent = Descent(reference.id, "commit", edited.changes, origin=reference.origin)
        return again.modify(self._archive, self.root, edited.kept, descent=descent, show=show)

    def branch(self, source: str | Path, cell: str, output: Path | None = None) -> Branch:
        """Copy a notebook: the cells up to one with their outputs, those behind it without.

        The copy, run in this project, replays what it shares; executions of it are children of what it came from.

        Parameters
        ----------
        source : str or Path
            An execution's id, or the path of a notebook: what it came from is then its latest execution, if any.
        cell : str
            The last cell of the shared past: its id, or its number among the code cells.
        output : Path, optional
            The copy; by default ``NOTEBOOK-branch1.ipynb`` beside the notebook. It must not be there yet.

        Raises
        ------
        ProjectError
            Where there is no such notebook or cell, or the copy cannot be written.
        """
        from provcrt_kernel.runtime.branch import branch

        return branch(self._archive, self.root, source, cell, output)

    def branches(self) -> builtins.list[Branch]:
        """Return the branches of notebooks, oldest first; ProjectError where one cannot be read."""
        return self._archive.branches()

    def forget(self, id: str) -> Branch:
        """Forget a branch, and leave its notebook as it is; ProjectError where there is none."""
        return self._archive.forget(id)

    def export(self, id: str, target: Path, on_part: Callable[[int, int], None] = _no_part) -> int:
        """Write an execution, and those that it came from, to one file; return its size in bytes.

        Parameters
        ----------
        id : str
            Such as ``e1``.
        target : Path
            The file.
        on_part : callable
            Told how many contents of how many are in it.

        Raises
        ------
        ProjectError, StoreError
            Where there is none, or the file cannot be written.
        """
        from provcrt_kernel.runtime import share
        from provcrt_kernel.runtime.commit import lineage

        return share.export(self._archive, lineage(self.show(id), self.list()), target, on_part)

    @classmethod
    def load(
        cls,
        folder: Path | str,
        source: Path,
        name: str = "",
        on_part: Callable[[int, int], None] = _no_part,
    ) -> tuple[Self, builtins.list[str]]:
        """Open a shared file as a new project, of which nothing is trusted; return it and its executions' ids.

        `on_part` is told how many contents of how many were checked.

        Raises
        ------
        ProjectError, StoreError
            Where it cannot be read, or is hostile; nothing is kept then.
        """
        from provcrt_kernel.runtime import share

        if not source.is_file():
            raise ProjectError.no_such_file(source)
        folder = Path(folder)
        project = cls(nearest(folder) or folder.absolute(), name=name or share.name_of(source))
        executions = share.load(project._archive, source, on_part)
        for each in executions:
            project._lay_notebook(each)
        project._archive.create()  # it is the one that is open now
        return project, [each.id for each in executions]

    def _lay_notebook(self, execution: Execution) -> None:
        """Put an imported notebook where its execution had it, unless something is there."""
        if execution.notebook is not None:
            place = self.root / execution.notebook.path
            if not place.exists() and place.parent.resolve().is_relative_to(self.root.resolve()):
                place.parent.mkdir(parents=True, exist_ok=True)
                write(place, self._archive.read(execution.id, SOURCE)[1])

    def remove(self, id: str) -> Collected:
        """Remove an execution and its repetitions, and free what only they needed.

        Raises
        ------
        ProjectError, StoreError
            Where there is none, or it cannot be removed.
        """
        with self._archive.store() as store:
            return store.collect(given_up=self._archive.remove(id, store))

    def detail(self, id: str) -> Detail:
        """Return every file of an execution, classified, with its package; ProjectError where there is none."""
        return self._told.detail(id)

    def show(self, id: str) -> Execution:
        """Return an execution; ProjectError where there is none with this id."""
        return self._archive.execution(id)

    def repetitions(self, id: str) -> builtins.list[Repetition]:
        """Return the repetitions of an execution, oldest first; ProjectError where there is none."""
        return self._archive.repetitions(id)

    def list(self) -> builtins.list[Execution]:
        """Return the executions, oldest first; ProjectError where one cannot be read."""
        return [self._archive.execution(id) for id in self._archive.ids()]

    def lineage(self, id: str, what: str, *, forwards: bool = False) -> Origin:
        """Return what a file or a variable came from in an execution, or what came of it.

        Parameters
        ----------
        id : str
            Such as ``e1``.
        what : str
            A variable, or a path, taken from the working directory and from the project's folder.
        forwards : bool
            What came of it.

        Raises
        ------
        ProjectError
            Where the execution had nothing to do with it.
        """
        return self._told.lineage(id, what, forwards=forwards)

    def requirements(self, id: str, format: Format) -> str:
        """Return what has to be installed to run an execution, see `provenance.requirements`."""
        return self._told.requirements(id, format)

    def diff(self, old: str, new: str) -> builtins.list[Change]:
        """Return how two executions differ; ProjectError where one is of a command and the other of a notebook."""
        return self._told.diff(old, new)

    def beside(self, a: str, b: str) -> Beside:
        """Lay two executions side by side; ProjectError where one is of a command and the other of a notebook."""
        return self._told.beside(a, b)

    def label(self, id: str) -> Label:
        """Return the name and the tags of an execution; ProjectError where there is none with this id."""
        return label(self._archive, id)

    def relabel(self, id: str, name: str | None = None, tags: Iterable[str] | None = None) -> Label:
        """Give an execution another name or other tags, see `label.relabel`."""
        return relabel(self._archive, id, name, tags)

    def executed(self, id: str) -> tuple[Path, bytes]:
        """Return where the executed notebook of an execution is kept, and the file's bytes.

        Raises
        ------
        ProjectError
            Where there is none.
        """
        if self.show(id).notebook is None:
            raise ProjectError.not_a_notebook_run(id)
        return self._archive.read(id, EXECUTED)

    @property
    def archive(self) -> Archive:
        """Where its executions are kept."""
        return self._archive

    def told(self, id: str, format: ProvFormat) -> str:
        """Return an execution as a W3C PROV document in one of the formats of `provenance.formats`."""
        return self._told.told(id, format)

    def document(self, id: str) -> ProvDocument:
        """Return an execution as a W3C PROV document; ProjectError where there is none with this id."""
        return self._told.document(id)

    @property
    def _told(self) -> Told:
        from provcrt_kernel.runtime.told import Told

        return Told(self._archive, self.root)
