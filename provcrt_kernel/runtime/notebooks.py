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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec
import nbformat
from jupyter_core.paths import jupyter_runtime_dir
from nbformat import NotebookNode

import provcrt_kernel
from provcrt_kernel.kernel.install import SPEC
from provcrt_kernel.provenance.audit import Audit, pack
from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.provenance.owners import Package
from provcrt_kernel.runtime import environment
from provcrt_kernel.runtime import notebook as reading
from provcrt_kernel.runtime.archive import EXECUTED, SOURCE, Archive, write
from provcrt_kernel.runtime.branch import ancestor, branch_of, changed_cells
from provcrt_kernel.runtime.command import umask
from provcrt_kernel.runtime.contain import contain
from provcrt_kernel.runtime.content import within
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import CellRun, Commanded, Execution, Relation, Repetition
from provcrt_kernel.runtime.facts import network
from provcrt_kernel.runtime.host import Host, hosting
from provcrt_kernel.runtime.inside import audited, sandboxed
from provcrt_kernel.runtime.kept import Kept
from provcrt_kernel.runtime.listed import asked_for
from provcrt_kernel.runtime.recalled import with_records
from provcrt_kernel.runtime.records import VARIABLE, Records
from provcrt_kernel.runtime.run import KERNEL, SESSION, Ran, run
from provcrt_kernel.runtime.sandbox import Bind
from provcrt_kernel.runtime.secrets import without_secrets
from provcrt_kernel.runtime.verdict import verdict
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
    branch = branch_of(archive, notebook.book)
    parent = ancestor(archive, branch) if branch is not None else None
    changes = changed_cells(_source(archive, parent), notebook.book) if parent is not None else ()
    argv = setting.kernel or KERNEL
    cwd = str(path.parent)
    environ = {**_environ(os.environ, path), **SPEC["env"]}
    records = Records.own(path.parent)
    with archive.draft() as draft, archive.store() as store, hosting() as host:
        ignore = _ignored(root, records, host)
        host.prepare(argv, cwd, environ, ignore=ignore, keep=str(draft / "before"))
        ran = run(notebook.book, path, on_cell=setting.on_cell, host=host)
        cells = with_versions(ran.cells, records)
        kernel, blobs = _contained(host, store, draft, argv, cwd, environ, notebook.book, cells, records)
        return _keep(
            setting,
            store,
            draft,
            notebook,
            Execution(
                id="",
                notebook=FileVersion(os.path.relpath(path, root), digest(notebook.source)),
                started=ran.started,
                seconds=ran.seconds,
                user=environment.user(),
                environment=environment.here(),
                cells=cells,
                error=ran.error,
                parameters=given,
                kernel=kernel,
                parent=parent,
                relation="branch" if parent is not None else None,
                changes=changes,
                branch=branch.id if branch is not None else "",
            ),
            blobs,
            output,
        )


def repeat(
    setting: Setting,
    reference: Execution,
    *,
    isolation: bool,
    memo: bool,
    output: Path | None = None,
) -> Repetition:
    """Run the recorded notebook of an execution again, and compare; see `Project.repeat`."""
    archive = setting.archive
    id = reference.id
    assert reference.notebook is not None
    where, source = archive.read(id, SOURCE)
    notebook = Notebook(source, reading.from_bytes(source, where))
    where, executed = archive.read(id, EXECUTED)
    before = reading.from_bytes(executed, where)
    if output is not None and not output.parent.is_dir():
        raise ProjectError.no_such_file(output.parent)
    archive.prepare()
    kernel, blobs = None, set[str]()
    with archive.draft() as draft, archive.store() as store:
        if isolation:
            kept = Kept.load(reference, store)
            inner = _inside(setting, store, draft, kept, notebook, memo=memo)
            ran, cells, audit = inner.ran, inner.cells, store.put(pack(inner.audit))
            blobs = {*inner.blobs, audit}
            problems = inner.audit.problems
            kernel = msgspec.structs.replace(
                kept.command, audit=audit, network=network(inner.audit), problems=problems, isolated=True
            )
        else:
            ran, cells = _here(setting, draft, reference, notebook, memo=memo)
        write(draft / EXECUTED, notebook.executed)

        def make(number: int) -> Repetition:
            archive.pin(store, f"{id}/{number}", blobs)
            return Repetition(
                of=id,
                number=number,
                started=ran.started,
                seconds=ran.seconds,
                environment=reference.environment if isolation else environment.here(),
                cells=cells,
                verdict=verdict(reference.cells, cells, before, notebook.book),
                kernel=kernel,
                error=ran.error,
            )

        repetition = archive.keep_repetition(draft, id, make)
    if output is not None:
        write(output, notebook.executed)
    return repetition


def modify(
    setting: Setting,
    kept: Kept,
    notebook: Notebook,
    *,
    relation: Relation,
    changes: tuple[str, ...],
    parameters: Mapping[str, str],
    output: Path | None = None,
) -> Execution:
    """Run a changed notebook, or a notebook on a changed container, as a new execution.

    Parameters
    ----------
    setting : Setting
    kept : Kept
        The execution that it comes from, with its content changed.
    notebook : Notebook
        With its cells changed.
    relation : {"given", "commit"}
    changes : tuple of str
        What was changed, a line each.
    parameters : mapping of str to str
        All that are set in it.
    output : Path, optional
        Where the executed notebook goes; by default beside the notebook, where its folder is there.
    """
    archive, of = setting.archive, kept.execution
    assert of.notebook is not None
    archive.prepare()
    with archive.draft() as draft, archive.store() as store:
        inner = _inside(setting, store, draft, kept, notebook)
        audit, content = store.put(pack(inner.audit)), store.put(pack(kept.content))
        kernel = msgspec.structs.replace(
            kept.command,
            audit=audit,
            content=content,
            size=kept.content.size,
            network=network(inner.audit),
            problems=inner.audit.problems,
            isolated=True,
        )
        return _keep(
            setting,
            store,
            draft,
            notebook,
            Execution(
                id="",
                notebook=FileVersion(of.notebook.path, digest(notebook.source)),
                started=inner.ran.started,
                seconds=inner.ran.seconds,
                user=environment.user(),
                environment=of.environment,
                cells=inner.cells,
                error=inner.ran.error,
                parameters=dict(parameters),
                kernel=kernel,
                parent=of.id,
                relation=relation,
                changes=changes,
                origin=of.origin,
            ),
            {*inner.blobs, *kept.content.blobs, audit, content},
            output,
        )


def _keep(
    setting: Setting,
    store: Store,
    draft: Path,
    notebook: Notebook,
    execution: Execution,
    blobs: set[str],
    output: Path | None,
) -> Execution:
    """Keep an execution under the next id, and write the executed notebook where a reader looks for it."""
    write(draft / SOURCE, notebook.source)
    write(draft / EXECUTED, notebook.executed)
    for each in draft.glob("before/*"):
        each.unlink()

    def make(id: str) -> Execution:
        setting.archive.pin(store, id, blobs)
        return msgspec.structs.replace(execution, id=id)

    kept = setting.archive.keep(draft, make)
    assert kept.notebook is not None
    path = setting.root / kept.notebook.path
    place = output or path.with_name(f"{path.stem}.{kept.id}.ipynb")
    if output is not None or place.parent.is_dir():
        write(place, notebook.executed)
    return kept


@dataclass(frozen=True)
class _Inner:
    """A run in a sandbox, with what was kept of it."""

    ran: Ran
    cells: tuple[CellRun, ...]
    audit: Audit
    blobs: set[str]


def _inside(
    setting: Setting, store: Store, draft: Path, kept: Kept, notebook: Notebook, *, memo: bool = True
) -> _Inner:
    """Run a notebook in a sandbox, incrementally unless `memo` is not wanted."""
    assert kept.execution.notebook is not None
    archive, command = setting.archive, kept.command
    path = Path(command.cwd) / Path(kept.execution.notebook.path).name
    if not memo:
        records = Records.apart(draft / "memo")
    elif archive.is_ours(kept.execution.id):
        records = Records.own(setting.root)
    else:
        records = Records.apart(archive.folder.parent / "sandbox")
    with hosting() as host:
        further, binds = records.shared(host.folder, command.environ)
        binds = [Bind(str(host.folder), str(host.folder), writable=True), *binds]
        with sandboxed(archive, setting.root, store, kept, binds) as sandbox:
            environ = {**_environ(command.environ, path), **further}
            host.prepare(command.argv, command.cwd, environ, sandbox=sandbox)
            ran = run(notebook.book, path, on_cell=setting.on_cell, host=host)
            audit, blobs = audited(host.span(), sandbox, kept, store)
            root = Path(sandbox.root)
            cells = with_versions(ran.cells, records, lambda name: within(root, name))
    return _Inner(ran, cells, audit, blobs)


def _here(
    setting: Setting, draft: Path, reference: Execution, notebook: Notebook, *, memo: bool
) -> tuple[Ran, tuple[CellRun, ...]]:
    """Run a notebook in its folder, with the files as they are now."""
    assert reference.notebook is not None
    if reference.kernel is not None and not setting.archive.is_ours(reference.id):
        raise ProjectError.not_ours(reference.id)
    path = setting.root / reference.notebook.path
    if not path.parent.is_dir():
        raise ProjectError.folder_gone(reference.id, path.parent)
    records = Records.own(path.parent) if memo else Records.apart(draft / "memo")
    with _store_at(records):
        ran = run(notebook.book, path, kernel=setting.kernel, on_cell=setting.on_cell)
    return ran, with_versions(ran.cells, records)


@contextlib.contextmanager
def _store_at(records: Records) -> Iterator[None]:
    """Have kernels keep their records in a place meanwhile."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(records.place)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before


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
        asked = asked_for(span, cwd, sources, without=_OURS)
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
    audit, content = store.put(pack(found.audit)), store.put(pack(found.content))
    kernel = Commanded(
        argv=tuple(argv),
        program=tuple(argv),
        cwd=cwd,
        environ={name: value for name, value in kept_environ.items() if name not in _OWN},
        stdin="null",
        streams={},
        status=0,
        audit=audit,
        content=content,
        size=found.content.size,
        umask=umask(),
        left_out=left_out,
        network=network(found.audit),
        problems=found.audit.problems,
    )
    return kernel, {*found.blobs, *found.content.blobs, audit, content}


def _environ(environ: Mapping[str, str], path: Path) -> dict[str, str]:
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


def _source(archive: Archive, id: str) -> NotebookNode:
    where, data = archive.read(id, SOURCE)
    return reading.from_bytes(data, where)
