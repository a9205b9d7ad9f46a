"""Notebooks: run, repeated and changed as commands are, cell by cell, with the kernel in the container and its client outside.

What is kept is what the kernel's process needed from its first call on, Python and the kernel itself included; what
replayed cells needed their records name. ::

    exec     kernel here, traced          → source, outputs, cells, container
    repeat   kernel in a sandbox, or here → outputs, cells, verdict
    given, commit   kernel in a sandbox, on a changed container → a new execution
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec
import nbformat
from jupyter_core.paths import jupyter_runtime_dir
from nbformat import NotebookNode

import provcrt_kernel
from provcrt_kernel.kernel.install import SPEC
from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.provenance.owners import Package
from provcrt_kernel.runtime import environment
from provcrt_kernel.runtime import notebook as reading
from provcrt_kernel.runtime.archive import EXECUTED, SOURCE, Archive, write
from provcrt_kernel.runtime.branch import ancestor, branch_of, changed_cells
from provcrt_kernel.runtime.contain import contain
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import CellRun, Commanded, Descent, Execution
from provcrt_kernel.runtime.host import Host, hosting
from provcrt_kernel.runtime.listed import asked_for
from provcrt_kernel.runtime.recalled import with_records
from provcrt_kernel.runtime.records import VARIABLE, Records
from provcrt_kernel.runtime.run import KERNEL, SESSION, run
from provcrt_kernel.runtime.secrets import without_secrets
from provcrt_kernel.runtime.versions import with_versions
from provcrt_kernel.store import Store, StoreError, digest

OnCell = Callable[[CellRun], None]
_OURS = str(Path(provcrt_kernel.__path__[0]))
_OWN = ("JPY_PARENT_PID", SESSION, VARIABLE)  # variables that are set anew for each kernel


@dataclass(frozen=True)
class Setting:
    """Where notebooks of a project run.

    Attributes
    ----------
    archive : Archive
        Of the project.
    root : Path
        The project's folder.
    kernel : tuple of str
        The command line of kernels; ours where it is empty.
    on_cell : callable
        Told of each cell when it has run.
    """

    archive: Archive
    root: Path
    kernel: tuple[str, ...]
    on_cell: OnCell


@dataclass(frozen=True)
class Notebook:
    """A notebook to be run: its source as a file has it, and the same to be filled with outputs."""

    source: bytes
    book: NotebookNode

    @classmethod
    def of(
        cls, source: bytes, book: NotebookNode, parameters: Mapping[str, str] = {}
    ) -> tuple[Self, dict[str, str]]:
        """Return a notebook with parameters set, and these as the notebook has them."""
        given = reading.with_parameters(book, parameters)
        return cls((nbformat.writes(book) + "\n").encode() if given else source, book), given

    @property
    def executed(self) -> bytes:
        """It with its outputs."""
        text: str = nbformat.writes(self.book)
        return (text + "\n").encode()


def execute(setting: Setting, path: Path, *, output: Path | None, parameters: Mapping[str, str]) -> Execution:
    """Run a notebook as a reference execution; see `Project.execute`."""
    archive, root = setting.archive, setting.root
    notebook, given = Notebook.of(*reading.parse(path), parameters)
    if output is not None and not output.parent.is_dir():
        raise ProjectError.no_such_file(output.parent)
    archive.prepare()
    descent = _branched(archive, notebook.book)
    argv = setting.kernel or KERNEL
    cwd = str(path.parent)
    environ = {**environ_of(os.environ, path), **SPEC["env"]}
    records = Records.own(path.parent)
    with archive.draft() as draft, archive.store() as store, hosting() as host:
        ignore = _ignored(root, records, host)
        host.prepare(argv, cwd, environ, ignore=ignore, keep=str(draft / "before"))
        ran = run(notebook.book, path, on_cell=setting.on_cell, host=host)
        cells = with_versions(ran.cells, records)
        kernel, blobs = _contained(host, store, draft, argv, cwd, environ, notebook.book, cells, records)
        execution = Execution.of(
            ran,
            environment.user(),
            environment.here(),
            descent,
            notebook=FileVersion(os.path.relpath(path, root), digest(notebook.source)),
            cells=cells,
            error=ran.error,
            parameters=given,
            kernel=kernel,
        )
        return keep(archive, store, draft, notebook, execution, blobs, output)


def keep(
    archive: Archive,
    store: Store,
    draft: Path,
    notebook: Notebook,
    execution: Execution,
    blobs: set[str],
    output: Path | None = None,
) -> Execution:
    """Keep an execution under the next id, and write the executed notebook where it is asked for.

    Nothing is written beside the notebook unasked: a cell that lists its folder would be given another input by that.
    """
    write(draft / SOURCE, notebook.source)
    write(draft / EXECUTED, notebook.executed)
    for each in draft.glob("before/*"):
        each.unlink()

    def make(id: str) -> Execution:
        archive.pin(store, id, blobs)
        return msgspec.structs.replace(execution, id=id)

    kept = archive.keep(draft, make)
    if output is not None:
        write(output, notebook.executed)
    return kept


def _branched(archive: Archive, book: NotebookNode) -> Descent:
    """Return what a notebook came from, if it is a branch."""
    branch = branch_of(archive, book)
    if branch is None:
        return Descent()
    parent = ancestor(archive, branch)
    if parent is None:
        return Descent(branch=branch.id)
    where, data = archive.read(parent, SOURCE)
    changes = changed_cells(reading.from_bytes(data, where), book)
    return Descent(parent, "branch", changes, branch.id)


def _contained(
    host: Host,
    store: Store,
    draft: Path,
    argv: Sequence[str],
    cwd: str,
    environ: Mapping[str, str],
    book: NotebookNode,
    cells: Sequence[CellRun],
    records: Records,
) -> tuple[Commanded, set[str]]:
    """Keep what a kernel that has just ended needed; return it, and the digests of what is in the store for it."""
    span = host.span()
    used: set[Package] = set()
    with contextlib.suppress(StoreError), records.open() as recorded:
        span, used = with_records(span, cells, recorded)
    kept_environ, left_out = without_secrets(environ)
    home = [environ["HOME"]] if os.path.isabs(environ.get("HOME", "")) else []
    try:
        sources = [cell.source for cell in book.cells if cell.cell_type == "code"]
        asked = asked_for(span, cwd, sources, without=_OURS, notes=store)
        found = contain(
            span,
            store,
            draft,
            folders=[cwd, *home],
            further={*used, *asked.packages},
            listed=asked.where,
            whole=[_OURS],
        )
    except OSError as cause:
        raise ProjectError.cannot_write(draft, cause) from cause
    return found.keep(
        store,
        argv=tuple(argv),
        program=tuple(argv),
        cwd=cwd,
        environ={name: value for name, value in kept_environ.items() if name not in _OWN},
        stdin="null",
        streams={},
        status=0,
        left_out=left_out,
    )


def environ_of(environ: Mapping[str, str], path: Path) -> dict[str, str]:
    """Return the environment of a kernel: it knows a notebook by the variable that Jupyter's server sets."""
    kept = {name: value for name, value in environ.items() if name not in _OWN or name == VARIABLE}
    return {**kept, SESSION: str(path)}


def _ignored(root: Path, records: Records, host: Host) -> list[str]:
    """Return what a kernel and its client use for themselves."""
    profile = os.path.join(
        os.environ.get("IPYTHONDIR") or os.path.expanduser("~/.ipython"), "profile_default"
    )
    own = [f"{profile}/{name}" for name in ("history.sqlite*", "db", "log", "pid", "security")]
    return [
        str(root / ".provcrt"),
        str(records.place),
        str(records.home),
        str(host.folder),
        jupyter_runtime_dir(),
        "/dev/shm/provcrt-*",
        *own,
    ]
