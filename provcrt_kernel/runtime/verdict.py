"""The verdict on a repetition: what its cells show and write, beside those of the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    blamed: dict[str, str] = {}  # what an earlier cell left that may differ, and why
    for old in reference:
        new = again.pop(old.number, None)
        if new is None:
            found.append(Difference(old.number, old.cell, "did not run", excused.get(old.number, ())))
            continue
        what = difference(old_outputs[old.cell], new_outputs[new.cell]) or _written(old, new)
        causes = _causes(old, new, blamed)
        if what:
            excuse = excused.get(old.number, ())
            cause = "" if excuse else "; ".join(causes) or _chance(new)
            found.append(Difference(old.number, old.cell, what, excuse, cause=cause))
        for name in {*_step(old).writes, *_step(new).writes}:
            if what or causes:
                blamed[name] = f"{name} of cell {old.number}" + (f" ({causes[0]})" if causes else "")
            else:
                blamed.pop(name, None)
    found += [Difference(new.number, new.cell, "ran, and did not before") for new in again.values()]
    return Verdict.of(found)


def _causes(old: CellRun, new: CellRun, blamed: Mapping[str, str]) -> list[str]:
    """Return which inputs of a cell are not what they were, in words."""
    before = {file.path: file.digest for file in old.files_read}
    after = {file.path: file.digest for file in new.files_read}
    causes = [
        f"another content of {path}"
        for path in sorted(before.keys() & after.keys() - blamed.keys())
        if before[path] and after[path] and before[path] != after[path]
    ]
    further = sorted(after.keys() - before.keys())
    if further:
        causes.append(f"it read {', '.join(further[:3])}, which the reference did not")
    return causes + [blamed[name] for name in sorted(_step(new).reads) if name in blamed][:3]


def _chance(cell: CellRun) -> str:
    read = sorted(_step(cell).reads)
    same = f": what it read ({', '.join(read[:5])}) is the same" if read else ""
    return f"the clock, random numbers without a seed, or the order of threads{same}"


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
