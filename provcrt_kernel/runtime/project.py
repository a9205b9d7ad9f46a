"""A project: contain runs of commands and notebooks, repeat and change them, and tell what is known of them."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.provenance.lineage import Origin, sources, uses
from provcrt_kernel.provenance.owners import Package
from provcrt_kernel.provenance.requirements import Format, requirements
from provcrt_kernel.runtime import commands, commit, detail, share
from provcrt_kernel.runtime.archive import EXECUTED, SOURCE, Archive, nearest, write
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import Branch, CellRun, Execution, Repetition
from provcrt_kernel.runtime.given import substituted
from provcrt_kernel.runtime.kept import Kept
from provcrt_kernel.runtime.label import Label, label, relabel
from provcrt_kernel.store import Collected

if TYPE_CHECKING:
    from prov.model import ProvDocument

    from provcrt_kernel.kernel.rerun import Finding
    from provcrt_kernel.provenance.formats import Format as ProvFormat
    from provcrt_kernel.runtime.beside import Beside
    from provcrt_kernel.runtime.compared import Change
    from provcrt_kernel.runtime.notebooks import Setting


def _nothing(cell: CellRun) -> None:
    """Be told of a cell, and do nothing."""


class Project:
    """The project in the folder `root`; open one with `Project.open`.

    Attributes
    ----------
    root : Path
        The folder that holds ``.provcrt``.
    """

    def __init__(self, root: Path, *, kernel: Sequence[str] = (), name: str | None = None) -> None:
        self.root = root
        self._kernel = tuple(kernel)
        self._archive = Archive(root, name)

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
    def find(cls, start: Path | str, *, kernel: Sequence[str] = ()) -> Self:
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
        parameters: Mapping[str, str] = {},
        on_cell: Callable[[CellRun], None] = _nothing,
    ) -> Execution:
        """Run a notebook as a reference execution; of a command, see `run`.

        Parameters
        ----------
        path : Path or str
            The notebook; it is left as it is.
        output : Path or str, optional
            Where the executed notebook goes; by default beside it, as ``<name>.e1.ipynb``.
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
            from provcrt_kernel.runtime import notebooks

            output = output.absolute() if output is not None else None
            return notebooks.repeat(
                self._setting(on_cell), reference, isolation=isolation, memo=memo, output=output
            )
        return commands.repeat(
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
        with self._archive.store() as store:
            kept, changes = substituted(Kept.load(reference, store), values, places, store)
        return commands.modify(
            self._archive, self.root, kept, relation="given", changes=tuple(changes), show=show
        )

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
        folder = (folder or Path(id)).absolute()
        execution = self.show(id)
        notebook = None
        if execution.notebook is not None:
            notebook = Path(execution.notebook.path).name, self._archive.read(id, SOURCE)[1]
        with self._archive.store() as store:
            kept = Kept.load(execution, store)
            return folder, commit.checkout(self._archive, kept, folder, store, notebook)

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
        executions = {each.id: each for each in self.list()}
        out = commit.checked_out(self._archive)
        if id is None:
            latest = [each.id for each in executions.values() if each.container is not None]
            id = out.id if out and out.id in executions else latest[-1] if latest else "e1"
        folder = Path(out.folder) if out and out.id == id and Path(out.folder).is_dir() else None
        reference = self.show(id)
        if folder is None and (command := reference.container) is not None:
            here = Path(command.cwd).is_dir() and not reference.origin
            if not here:
                raise ProjectError.usage(
                    f"the files of {id} are not here", f"`provcrt checkout {id}`, and edit those"
                )
        family = commit.lineage(reference, executions)
        if reference.command is None:
            from provcrt_kernel.runtime import changed

            return changed.commit(self._setting(on_cell), family, folder)
        with self._archive.store() as store:
            kept = [Kept.load(each, store) for each in family]
            edited = commit.edited(kept[0], folder, commit.left_by(kept), store)
        if not edited.changes:
            raise ProjectError.nothing_to_commit(id)
        return commands.modify(
            self._archive, self.root, edited.kept, relation="commit", changes=edited.changes, show=show
        )

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

    def export(self, id: str, target: Path) -> int:
        """Write an execution, and those that it came from, to one file; return its size in bytes.

        Raises
        ------
        ProjectError, StoreError
            Where there is none, or the file cannot be written.
        """
        executions = {each.id: each for each in self.list()}
        return share.export(self._archive, commit.lineage(self.show(id), executions), target)

    @classmethod
    def load(cls, folder: Path | str, source: Path, name: str = "") -> tuple[Self, builtins.list[str]]:
        """Open a shared file as a new project, of which nothing is trusted; return it and its executions' ids.

        Raises
        ------
        ProjectError, StoreError
            Where it cannot be read, or is hostile; nothing is kept then.
        """
        if not source.is_file():
            raise ProjectError.no_such_file(source)
        folder = Path(folder)
        project = cls(nearest(folder) or folder.absolute(), name=name or share.name_of(source))
        executions = share.load(project._archive, source)
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
            self._archive.remove(id, store)
            return store.collect()

    def detail(self, id: str) -> detail.Detail:
        """Return every file of an execution, classified, with its package; ProjectError where there is none."""
        execution = self.show(id)
        kept = None
        if execution.container is not None:
            with self._archive.store() as store:
                kept = Kept.load(execution, store)
        if execution.command is None or kept is None:
            return detail.of_notebook(execution, kept)
        return detail.of_command(kept)

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
        execution = self.show(id)
        kept = None
        if execution.command is not None:
            with self._archive.store() as store:
                kept = Kept.load(execution, store)
        steps = detail.steps_of(execution, kept)
        places = [kept.command.cwd] if kept is not None else []
        notebook = execution.notebook
        places += [str((self.root / notebook.path).parent)] if notebook is not None else []
        for name in (
            what,
            *(os.path.normpath(os.path.join(place, what)) for place in (*places, str(self.root))),
        ):
            found = uses(steps, name) if forwards else sources(steps, name)
            if found is not None:
                return found
        raise ProjectError.not_touched(id, what)

    def requirements(self, id: str, format: Format) -> str:
        """Return what has to be installed to run an execution, see `provenance.requirements`."""
        execution = self.show(id)
        if execution.container is None:
            named = execution.environment.packages.items()
            packages = [Package("pip", name, version) for name, version in named]
        else:
            with self._archive.store() as store:
                packages = [each.package for each in Kept.load(execution, store).content.packs]
        python = execution.environment.python.partition(" ")[0]
        return requirements(packages, python, format, execution.title)

    def diff(self, old: str, new: str) -> builtins.list[Change]:
        """Return how two executions differ; ProjectError where one is of a command and the other of a notebook."""
        from provcrt_kernel.runtime import compared

        pair = [self.show(old), self.show(new)]
        if all(each.command is not None for each in pair):
            with self._archive.store() as store:
                return compared.of_commands(Kept.load(pair[0], store), Kept.load(pair[1], store), store)
        if any(each.command is not None for each in pair):
            raise ProjectError.usage(
                f"{old} and {new} cannot be compared", "give two commands, or two notebooks"
            )
        from provcrt_kernel.runtime import notebook

        files = [self._archive.read(id, EXECUTED) for id in (old, new)]
        books = [notebook.from_bytes(data, place) for place, data in files]
        return compared.of_notebooks(books[0], books[1])

    def beside(self, a: str, b: str) -> Beside:
        """Lay two executions side by side; ProjectError where one is of a command and the other of a notebook."""
        from provcrt_kernel.runtime import beside, notebook

        changes = tuple(self.diff(a, b)) if self.show(a).command is not None else ()
        if changes or self.show(a).command is not None:
            return beside.commands(self.show(a), self.show(b), changes)
        if self.show(b).command is not None:
            raise ProjectError.usage(f"{a} and {b} cannot be compared", "give two commands, or two notebooks")
        files = [self._archive.read(id, EXECUTED) for id in (a, b)]
        books = [notebook.from_bytes(data, place) for place, data in files]
        return beside.notebooks(self.show(a), self.show(b), (books[0], books[1]))

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
        from provcrt_kernel.provenance.formats import written

        try:
            return written(self.document(id), format)
        except ModuleNotFoundError as cause:
            raise ProjectError.usage(
                f"{format} needs {cause.name}", "install provcrt-kernel[formats]"
            ) from None

    def document(self, id: str) -> ProvDocument:
        """Return an execution as a W3C PROV document; ProjectError where there is none with this id."""
        execution = self.show(id)
        notebook = execution.notebook
        if execution.command is None:
            activities = [detail.activity_of_cell(cell) for cell in execution.cells]
        else:
            with self._archive.store() as store:
                activities = detail.activities_of_command(Kept.load(execution, store))
        from provcrt_kernel.provenance.document import execution_document

        return execution_document(
            id,
            notebook=FileVersion(str(self.root / notebook.path), notebook.digest) if notebook else None,
            user=execution.user,
            activities=activities,
            environment={"python": execution.environment.python, "platform": execution.environment.platform},
            root=self.root,
        )
