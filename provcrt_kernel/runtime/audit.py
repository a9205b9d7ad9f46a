"""`provcrt audit`: a notebook is run, what did not change is replayed, and then all of it is run from scratch beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from provcrt_kernel.kernel.rerun import Finding
from provcrt_kernel.runtime import notebook as reading
from provcrt_kernel.runtime.archive import SOURCE, Archive
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import CellRun, Execution
from provcrt_kernel.runtime.run import KERNEL, run


def audit_notebook(
    notebook: NotebookNode,
    path: Path,
    *,
    everything: bool = False,
    kernel: Sequence[str] = KERNEL,
    on_cell: Callable[[CellRun], None] = lambda cell: None,
) -> tuple[Finding, ...]:
    """Run a notebook in its folder as `Project.execute` does, and audit that session.

    Parameters
    ----------
    everything
        Whether cells that had to run are judged, too.

    Raises
    ------
    ProjectError
        It cannot be run to its end, or not be audited.
    """
    option = " --all" if everything else ""
    notebook.cells.append(new_code_cell(f"%provcrt audit{option} --json", id="provcrt-audit"))
    ran = run(notebook, path, kernel=kernel, on_cell=on_cell)
    if ran.error:
        raise ProjectError.cannot_audit(path, ran.error)
    outputs = notebook.cells[-1].outputs
    said = "".join(o.text for o in outputs if o.output_type == "stream" and o.name == "stdout")
    try:
        return msgspec.json.decode(said, type=tuple[Finding, ...])
    except msgspec.DecodeError:
        lines = [o.text for o in outputs if o.output_type == "stream"]
        raise ProjectError.cannot_audit(path, "".join(lines).strip() or "the kernel said nothing") from None


def audit_execution(
    archive: Archive,
    root: Path,
    reference: Execution,
    *,
    everything: bool,
    kernel: Sequence[str],
    on_cell: Callable[[CellRun], None],
) -> tuple[Finding, ...]:
    """Audit the recorded notebook of an execution in its folder; the same exceptions."""
    if reference.notebook is None:
        raise ProjectError.cannot_audit(reference.id, "it ran a command, and only notebooks have cells")
    path = root / reference.notebook.path
    if not path.parent.is_dir():
        raise ProjectError.folder_gone(reference.id, path.parent)
    where, source = archive.read(reference.id, SOURCE)
    notebook = reading.from_bytes(source, where)
    return audit_notebook(notebook, path, everything=everything, kernel=kernel, on_cell=on_cell)


def audit_file(
    path: Path, *, everything: bool = False, on_cell: Callable[[CellRun], None] = lambda cell: None
) -> tuple[Finding, ...]:
    """Audit the notebook in a file; the same exceptions."""
    path = path.absolute()
    return audit_notebook(reading.parse(path)[1], path, everything=everything, on_cell=on_cell)
