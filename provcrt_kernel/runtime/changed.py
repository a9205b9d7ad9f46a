"""Notebooks with other parameters, other data or edited cells: `given` and `commit`, as new executions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from provcrt_kernel.runtime import commit as committing
from provcrt_kernel.runtime import given as giving
from provcrt_kernel.runtime import notebook as reading
from provcrt_kernel.runtime.archive import SOURCE
from provcrt_kernel.runtime.branch import changed_cells
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import Execution
from provcrt_kernel.runtime.kept import Kept
from provcrt_kernel.runtime.notebook_again import modify
from provcrt_kernel.runtime.notebooks import Notebook, Setting


def given(setting: Setting, reference: Execution, values: Sequence[str], places: Sequence[str]) -> Execution:
    """Run a notebook with other parameters or data files; see `Project.given`."""
    where, source = setting.archive.read(reference.id, SOURCE)
    with setting.archive.store() as store:
        kept, named, changes = giving.with_parameters(Kept.load(reference, store), values, places, store)
    parameters = {**reference.parameters, **named}
    notebook, told = Notebook.of(source, reading.from_bytes(source, where), parameters)
    return modify(setting, kept, notebook, relation="given", changes=tuple(changes), parameters=told)


def commit(setting: Setting, family: Sequence[Execution], folder: Path | None) -> Execution:
    """Run a notebook as it was edited, with the files as they were edited; see `Project.commit`.

    Parameters
    ----------
    setting : Setting
    family : sequence of Execution
        The execution of a notebook that was edited, and those that it came from.
    folder : Path or None
        Where it is checked out; None where it is edited in place.
    """
    reference = family[0]
    assert reference.notebook is not None
    place = setting.root / reference.notebook.path
    edited = place if folder is None else folder / place.name
    where, source = setting.archive.read(reference.id, SOURCE)
    before = reading.from_bytes(source, where)
    with setting.archive.store() as store:
        kept = [Kept.load(each, store) for each in family if each.container is not None]
        inside = f"{kept[0].command.cwd}/{place.name}"
        found = committing.edited(kept[0], folder, committing.left_by(kept), store, inside)
    data, book = reading.parse(edited) if edited.exists() else (source, reading.from_bytes(source, where))
    notebook, told = Notebook.of(data, book, reference.parameters)
    changes = (*changed_cells(before, notebook.book), *found.changes)
    if not changes:
        raise ProjectError.nothing_to_commit(reference.id)
    return modify(setting, found.kept, notebook, relation="commit", changes=changes, parameters=told)
