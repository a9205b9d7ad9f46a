"""Notebooks: a run from beginning to end as a reference execution, and its incremental repetition."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import nbformat

from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.runtime import environment
from provcrt_kernel.runtime import notebook as reading
from provcrt_kernel.runtime.archive import EXECUTED, SOURCE, Archive, write
from provcrt_kernel.runtime.branch import ancestor, branch_of, changed_cells
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import CellRun, Execution, Repetition
from provcrt_kernel.runtime.run import run
from provcrt_kernel.runtime.verdict import verdict
from provcrt_kernel.runtime.versions import with_versions
from provcrt_kernel.store import digest

OnCell = Callable[[CellRun], None]


def execute(
    archive: Archive,
    root: Path,
    path: Path,
    *,
    kernel: Sequence[str],
    output: Path | None,
    on_cell: OnCell,
    parameters: Mapping[str, str],
) -> Execution:
    """Run a notebook as a reference execution; see `Project.execute`."""
    source, notebook = reading.parse(path)
    given = reading.with_parameters(notebook, parameters)
    if given:
        source = (nbformat.writes(notebook) + "\n").encode()
    if output is not None and not output.parent.is_dir():
        raise ProjectError.no_such_file(output.parent)
    archive.prepare()
    branch = branch_of(archive, notebook)
    parent = ancestor(archive, branch) if branch is not None else None
    changes: tuple[str, ...] = ()
    if parent is not None:
        where, data = archive.read(parent, SOURCE)
        changes = changed_cells(reading.from_bytes(data, where), notebook)
    ran = run(notebook, path, kernel=kernel, on_cell=on_cell)
    cells = with_versions(ran.cells, path.parent)
    executed = nbformat.writes(notebook) + "\n"
    with archive.draft() as draft:
        write(draft / SOURCE, source)
        write(draft / EXECUTED, executed.encode())
        execution = archive.keep(
            draft,
            lambda id: Execution(
                id=id,
                notebook=FileVersion(os.path.relpath(path, root), digest(source)),
                started=ran.started,
                seconds=ran.seconds,
                user=environment.user(),
                environment=environment.here(),
                cells=cells,
                error=ran.error,
                parameters=given,
                parent=parent,
                relation="branch" if parent is not None else None,
                changes=changes,
                branch=branch.id if branch is not None else "",
            ),
        )
    write(output or path.with_name(f"{path.stem}.{execution.id}.ipynb"), executed.encode())
    return execution


def repeat(
    archive: Archive, root: Path, reference: Execution, *, kernel: Sequence[str], on_cell: OnCell
) -> Repetition:
    """Run the recorded notebook of an execution again in its folder, and compare; see `Project.repeat`."""
    assert reference.notebook is not None
    id = reference.id
    path = root / reference.notebook.path
    if not path.parent.is_dir():
        raise ProjectError.folder_gone(id, path.parent)
    where, source = archive.read(id, SOURCE)
    notebook = reading.from_bytes(source, where)
    where, executed = archive.read(id, EXECUTED)
    before = reading.from_bytes(executed, where)
    archive.prepare()
    ran = run(notebook, path, kernel=kernel, on_cell=on_cell)
    cells = with_versions(ran.cells, path.parent)
    with archive.draft() as draft:
        write(draft / EXECUTED, (nbformat.writes(notebook) + "\n").encode())
        return archive.keep_repetition(
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
