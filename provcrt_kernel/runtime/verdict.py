"""The verdict on a repetition: what its cells show and write, beside those of the reference."""

from __future__ import annotations

from collections.abc import Sequence

from nbformat import NotebookNode

from provcrt_kernel.provenance.compare import Difference, Step, Verdict, difference, excuses
from provcrt_kernel.runtime.execution import CellRun


def verdict(
    reference: Sequence[CellRun], repeated: Sequence[CellRun], before: NotebookNode, after: NotebookNode
) -> Verdict:
    """Compare two runs of one notebook.

    Parameters
    ----------
    reference, repeated : sequence of CellRun
        What the cells did.
    before, after : NotebookNode
        What they showed.
    """
    old_outputs, new_outputs = _outputs(before), _outputs(after)
    excused = excuses(map(_step, reference)) | excuses(map(_step, repeated))
    again = {cell.number: cell for cell in repeated}
    found: list[Difference] = []
    for old in reference:
        new = again.pop(old.number, None)
        what = "did not run"
        if new is not None:
            what = difference(old_outputs[old.cell], new_outputs[new.cell]) or _written(old, new)
        if what:
            found.append(Difference(old.number, old.cell, what, excused.get(old.number, ())))
    found += [Difference(new.number, new.cell, "ran, and did not before") for new in again.values()]
    return Verdict.of(found)


def _outputs(notebook: NotebookNode) -> dict[str, list[NotebookNode]]:
    return {cell["id"]: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def _written(old: CellRun, new: CellRun) -> str:
    """Return which file the two runs of a cell left differently; empty where there is none."""
    before = {file.path: file.digest for file in old.files_written}
    after = {file.path: file.digest for file in new.files_written}
    for path in sorted(before.keys() | after.keys()):
        if path not in after:
            return f"did not write {path}"
        if path not in before:
            return f"wrote {path}, which is new"
        if before[path] and after[path] and before[path] != after[path]:
            return f"wrote another content into {path}"
    return ""


def _step(cell: CellRun) -> Step:
    return Step(
        number=cell.number,
        reads={*cell.reads, *(file.path for file in cell.files_read)},
        writes={*cell.writes, *(file.path for file in cell.files_written)},
        volatile=cell.volatile,
    )
