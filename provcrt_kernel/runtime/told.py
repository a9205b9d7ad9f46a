"""What can be told of the executions of a project: their files, what came from what, provenance, what is needed, differences."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.provenance.lineage import Origin, sources, uses
from provcrt_kernel.provenance.owners import Package
from provcrt_kernel.provenance.requirements import Format, requirements
from provcrt_kernel.runtime import detail
from provcrt_kernel.runtime.archive import EXECUTED, Archive
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import Execution
from provcrt_kernel.runtime.kept import Kept

if TYPE_CHECKING:
    from nbformat import NotebookNode
    from prov.model import ProvDocument

    from provcrt_kernel.provenance.formats import Format as ProvFormat
    from provcrt_kernel.runtime.beside import Beside
    from provcrt_kernel.runtime.compared import Change


class Told:
    """Tells of the executions in an archive; `root` is the project's folder.

    All raise ProjectError, where there is no such execution or nothing to be told, and StoreError.
    """

    def __init__(self, archive: Archive, root: Path) -> None:
        self._archive = archive
        self._root = root

    def _kept(self, execution: Execution) -> Kept:
        with self._archive.store(readonly=True) as store:
            return Kept.load(execution, store)

    def detail(self, id: str) -> detail.Detail:
        """Return every file of an execution, classified, with its package."""
        execution = self._archive.execution(id)
        kept = self._kept(execution) if execution.container is not None else None
        if execution.command is None or kept is None:
            return detail.of_notebook(execution, kept)
        return detail.of_command(kept)

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
        execution = self._archive.execution(id)
        kept = self._kept(execution) if execution.command is not None else None
        steps = detail.steps_of(execution, kept)
        places = [kept.command.cwd] if kept is not None else []
        notebook = execution.notebook
        places += [str((self._root / notebook.path).parent)] if notebook is not None else []
        for name in (
            what,
            *(os.path.normpath(os.path.join(place, what)) for place in (*places, str(self._root))),
        ):
            found = uses(steps, name) if forwards else sources(steps, name)
            if found is not None:
                return found
        raise ProjectError.not_touched(id, what)

    def requirements(self, id: str, format: Format) -> str:
        """Return what has to be installed to run an execution, see `provenance.requirements`."""
        execution = self._archive.execution(id)
        if execution.container is None:
            named = execution.environment.packages.items()
            packages = [Package("pip", name, version) for name, version in named]
        else:
            packages = [each.package for each in self._kept(execution).content.packs]
        python = execution.environment.python.partition(" ")[0]
        return requirements(packages, python, format, execution.title)

    def diff(self, old: str, new: str) -> list[Change]:
        """Return how two executions differ, both of commands or both of notebooks."""
        from provcrt_kernel.runtime import compared

        pair = self._alike(old, new)
        if pair[0].command is not None:
            with self._archive.store(readonly=True) as store:
                return compared.of_commands(Kept.load(pair[0], store), Kept.load(pair[1], store), store)
        return compared.of_notebooks(*self._books(old, new))

    def beside(self, a: str, b: str) -> Beside:
        """Lay two executions side by side, both of commands or both of notebooks."""
        from provcrt_kernel.runtime import beside

        pair = self._alike(a, b)
        if pair[0].command is not None:
            return beside.commands(*pair, tuple(self.diff(a, b)))
        return beside.notebooks(*pair, self._books(a, b))

    def _alike(self, a: str, b: str) -> tuple[Execution, Execution]:
        pair = self._archive.execution(a), self._archive.execution(b)
        if len({each.command is None for each in pair}) > 1:
            raise ProjectError.usage(f"{a} and {b} cannot be compared", "give two commands, or two notebooks")
        return pair

    def _books(self, a: str, b: str) -> tuple[NotebookNode, NotebookNode]:
        from provcrt_kernel.runtime import notebook

        (place, data), (other, further) = (self._archive.read(id, EXECUTED) for id in (a, b))
        return notebook.from_bytes(data, place), notebook.from_bytes(further, other)

    def told(self, id: str, format: ProvFormat) -> str:
        """Return an execution as a W3C PROV document in one of the formats of `provenance.formats`."""
        from provcrt_kernel.provenance.formats import DRAWN, written

        title = f"{id}: {self._archive.execution(id).title}"
        try:
            return written(self.document(id, own=format in DRAWN), format, title)
        except ModuleNotFoundError as cause:
            raise ProjectError.usage(
                f"{format} needs {cause.name}", "install provcrt-kernel[formats]"
            ) from None

    def document(self, id: str, *, own: bool = False) -> ProvDocument:
        """Return an execution as a W3C PROV document; `own` leaves out the files of packages and of the system."""
        execution = self._archive.execution(id)
        notebook = execution.notebook
        if execution.command is None:
            activities = [detail.activity_of_cell(cell) for cell in execution.cells]
        else:
            activities = detail.activities_of_command(self._kept(execution), own_only=own)
        from provcrt_kernel.provenance.document import execution_document

        return execution_document(
            id,
            notebook=FileVersion(str(self._root / notebook.path), notebook.digest) if notebook else None,
            user=execution.user,
            activities=activities,
            environment={"python": execution.environment.python, "platform": execution.environment.platform},
            root=self._root,
        )
