"""Branches: a copy of a notebook that shares the past up to a cell, and has a future of its own.

The cells up to there keep their outputs and, unchanged, are replayed; those behind it keep their source alone. The copy
carries its branch's id in its metadata (``provcrt.branch``), so that it may be renamed, and its executions are known
as children of what it came from. ::

    executions/branches/b1.json     `Branch`; ids are never used twice
"""

from __future__ import annotations

import difflib
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from provcrt_kernel.runtime import environment
from provcrt_kernel.runtime import notebook as reading
from provcrt_kernel.runtime.archive import EXECUTED, Archive, write
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import Branch, Execution, to_json

_SHOWN = 40  # lines of a diff


def branch(archive: Archive, root: Path, source: str | Path, cell: str, output: Path | None = None) -> Branch:
    """Copy a notebook up to a cell with its outputs, and what follows without; see `Project.branch`."""
    parent: str | None
    if isinstance(source, str) and archive.is_id(source):
        execution = archive.execution(source)
        if execution.notebook is None:
            raise ProjectError.not_a_notebook_run(source)
        path, parent = root / execution.notebook.path, source
        where, data = archive.read(source, EXECUTED)
        notebook = reading.from_bytes(data, where)
    else:
        path = Path(source).absolute()
        notebook = reading.parse(path)[1]
        parent = _parent(archive, root, path, notebook)
    at = _position(notebook, cell)
    target = _free(path) if output is None else output.absolute()
    if not target.parent.is_dir():
        raise ProjectError.no_such_file(target.parent)
    if target.suffix != ".ipynb" or not target.parent.resolve().is_relative_to(root.resolve()):
        raise ProjectError.usage(
            f"{target} cannot be a branch in this project", f"give a name that ends in .ipynb, within {root}"
        )
    if target.exists():
        raise ProjectError.usage(f"{target} is there already", "give another name with -o")
    for later in notebook.cells[at + 1 :]:
        if later.cell_type == "code":
            later.outputs, later.execution_count = [], None
    archive.prepare()
    folder = archive.folder / "branches"
    with archive.alone():
        folder.mkdir(exist_ok=True)
        last = folder / "last"
        given = [int(each.id[1:]) for each in archive.branches()]
        number = 1 + max([int(last.read_text()) if last.exists() else 0, *given])
        made = Branch(
            id=f"b{number}",
            notebook=os.path.relpath(target, root),
            source=os.path.relpath(path, root),
            cell=notebook.cells[at]["id"],
            number=len(_codes(notebook, at)),
            created=time.time(),
            user=environment.user(),
            parent=parent,
        )
        write(last, b"%d\n" % number)
        notebook.metadata["provcrt"] = {**_told(notebook), "branch": made.id}
        write(folder / f"{made.id}.json", to_json(made))
        try:
            write(target, (nbformat.writes(notebook) + "\n").encode())
        except ProjectError:
            (folder / f"{made.id}.json").unlink(missing_ok=True)
            raise
    return made


def branch_of(archive: Archive, notebook: NotebookNode) -> Branch | None:
    """Return the branch that a notebook says it is, where this project knows it."""
    id = _told(notebook).get("branch")
    return next((each for each in archive.branches() if each.id == id), None) if id else None


def ancestor(archive: Archive, branch: Branch) -> str | None:
    """Return the execution that a branch came from, over branches that nobody executed."""
    known = {each.id: each for each in archive.branches()}
    parent = branch.parent
    while parent is not None and parent in known:
        parent = known[parent].parent
    return parent if parent in archive.ids() else None


def changed_cells(before: NotebookNode, after: NotebookNode) -> tuple[str, ...]:
    """Return which cells are not the same in two notebooks: a line each, behind it the diff of its source."""
    cells = [
        {cell["id"]: cell.source for cell in book.cells if cell.cell_type == "code"}
        for book in (before, after)
    ]
    found = []
    for id in (*cells[1], *(id for id in cells[0] if id not in cells[1])):
        old, new = (side.get(id) for side in cells)
        if old is None:
            found.append(f"cell {id} is new: {reading.title(new or '')}")
        elif new is None:
            found.append(f"cell {id} was removed: {reading.title(old)}")
        elif old != new:
            lines = difflib.unified_diff(
                old.splitlines(), new.splitlines(), "before", "after", n=1, lineterm=""
            )
            found.append("\n".join([f"cell {id} was changed", *list(lines)[:_SHOWN]]))
    return tuple(found)


def _told(notebook: NotebookNode) -> Mapping[str, Any]:
    """Return what a notebook's metadata has of ours."""
    found = notebook.metadata.get("provcrt")
    return found if isinstance(found, Mapping) else {}


def _parent(archive: Archive, root: Path, path: Path, notebook: NotebookNode) -> str | None:
    """Return what a notebook file is the newest state of: its latest execution, else its branch."""
    name = os.path.relpath(path, root)

    def is_it(execution: Execution) -> bool:
        return execution.notebook is not None and execution.notebook.path == name

    found = next((id for id in reversed(archive.ids()) if is_it(archive.execution(id))), None)
    if found is None:
        known = branch_of(archive, notebook)
        found = known.id if known is not None else None
    return found


def _position(notebook: NotebookNode, cell: str) -> int:
    """Return where a cell is, named by its id or by its number among the code cells that are not empty."""
    for index, each in enumerate(notebook.cells):
        if each["id"] == cell:
            return index
    if cell.isdecimal():
        for index in range(len(notebook.cells)):
            if len(_codes(notebook, index)) == int(cell) > 0:
                return index
    codes = [each["id"] for each in _codes(notebook, len(notebook.cells))]
    raise ProjectError.no_such_cell(cell, codes)


def _codes(notebook: NotebookNode, last: int) -> list[NotebookNode]:
    """Return the code cells up to an index that are not empty: those that have a number when all are run."""
    return [each for each in notebook.cells[: last + 1] if each.cell_type == "code" and each.source.strip()]


def _free(path: Path) -> Path:
    """Return a name for a branch beside a notebook that nothing has yet."""
    stem = re.sub(r"-branch\d+$", "", path.stem)
    taken = set(os.listdir(path.parent)) if path.parent.is_dir() else set()
    number = next(n for n in range(1, len(taken) + 2) if f"{stem}-branch{n}.ipynb" not in taken)
    return path.with_name(f"{stem}-branch{number}.ipynb")
