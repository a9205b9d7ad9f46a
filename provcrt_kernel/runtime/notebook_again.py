"""Notebooks again: repeated, or changed and run, in a sandbox on what was kept, or in their folder on what is there now."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from provcrt_kernel.provenance.audit import Audit
from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.runtime import environment
from provcrt_kernel.runtime import notebook as reading
from provcrt_kernel.runtime.archive import EXECUTED, SOURCE, write
from provcrt_kernel.runtime.content import left_at
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import CellRun, Descent, Execution, Relation, Repetition
from provcrt_kernel.runtime.host import hosting
from provcrt_kernel.runtime.inside import audited, sandboxed
from provcrt_kernel.runtime.kept import Kept
from provcrt_kernel.runtime.notebooks import Notebook, Setting, environ_of, keep
from provcrt_kernel.runtime.records import VARIABLE, Records
from provcrt_kernel.runtime.run import Ran, run
from provcrt_kernel.runtime.sandbox import Bind
from provcrt_kernel.runtime.verdict import verdict
from provcrt_kernel.runtime.versions import with_versions
from provcrt_kernel.store import Store, digest


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
            ran, cells = inner.ran, inner.cells
            kernel, digests = kept.again(inner.audit, store, isolated=True)
            blobs = inner.blobs | digests
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
    """
    archive, of = setting.archive, kept.execution
    assert of.notebook is not None
    archive.prepare()
    with archive.draft() as draft, archive.store() as store:
        inner = _inside(setting, store, draft, kept, notebook)
        kernel, digests = kept.again(inner.audit, store, changed=True, isolated=True)
        execution = Execution.of(
            inner.ran,
            environment.user(),
            of.environment,
            Descent(of.id, relation, changes, origin=of.origin),
            notebook=FileVersion(of.notebook.path, digest(notebook.source)),
            cells=inner.cells,
            error=inner.ran.error,
            parameters=dict(parameters),
            kernel=kernel,
        )
        return keep(archive, store, draft, notebook, execution, inner.blobs | digests)


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
            environ = {**environ_of(command.environ, path), **further}
            host.prepare(command.argv, command.cwd, environ, sandbox=sandbox)
            ran = run(notebook.book, path, on_cell=setting.on_cell, host=host)
            audit, blobs = audited(host.span(), sandbox, kept, store)
            root = Path(sandbox.root)
            cells = with_versions(ran.cells, records, lambda name: left_at(root, name))
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
