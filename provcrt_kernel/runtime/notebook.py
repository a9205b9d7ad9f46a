"""Notebooks: read one, or say in one line why it cannot be run."""

from __future__ import annotations

import ast
import keyword
import warnings
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from provcrt_kernel.runtime.errors import ProjectError


def parse(path: Path) -> tuple[bytes, NotebookNode]:
    """Read a notebook.

    Parameters
    ----------
    path : Path
        A file ending in ``.ipynb``.

    Returns
    -------
    bytes
        The file as it is.
    NotebookNode
        In nbformat 4; every cell has an id that is the same whenever the file is read.

    Raises
    ------
    ProjectError
        Where there is no such file, or it is no Python notebook.
    """
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise ProjectError.no_such_file(path) from None
    except IsADirectoryError:
        raise ProjectError.not_a_notebook(path, "it is a folder") from None
    except OSError as cause:
        raise ProjectError.cannot_read(path, cause) from cause
    if path.suffix != ".ipynb":
        raise ProjectError.not_a_notebook(path, "its name does not end in .ipynb")
    return source, from_bytes(source, path)


def from_bytes(source: bytes, path: Path) -> NotebookNode:
    """Return the notebook whose file holds `source`; `path` is for messages.

    Raises
    ------
    ProjectError
        Where it is no Python notebook.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about ids that are missing
            raw = nbformat.reads(source.decode(), as_version=nbformat.NO_CONVERT)
            named = (raw.get("nbformat", 0), raw.get("nbformat_minor", 0)) >= (4, 5)
            notebook = nbformat.convert(raw, 4)
            _name_cells(notebook, named)
            nbformat.validate(notebook)
    except Exception as cause:  # nbformat and jsonschema raise many kinds, and a file can be anything
        raise ProjectError.not_a_notebook(path, str(cause).strip().partition("\n")[0][:100]) from cause
    told = notebook.metadata
    language = told.get("kernelspec", {}).get("language") or told.get("language_info", {}).get(
        "name", "python"
    )
    if language.lower() not in ("python", "ipython"):
        raise ProjectError.not_a_notebook(path, f"its language is {language}")
    return notebook


def _name_cells(notebook: NotebookNode, named: bool) -> None:
    """Give ids to the cells that have none of their own; nbformat's would be others each time."""
    seen: set[str] = set()
    for number, cell in enumerate(notebook.cells):
        if not named or not cell.get("id") or cell["id"] in seen:
            cell["id"] = f"cell-{number}"
        seen.add(cell["id"])
    notebook["nbformat_minor"] = max(5, notebook["nbformat_minor"])  # the first to know ids


def with_parameters(notebook: NotebookNode, parameters: Mapping[str, str]) -> dict[str, str]:
    """Set parameters of a notebook as papermill does: in a cell of their own behind the one tagged ``parameters``.

    Parameters
    ----------
    notebook : NotebookNode
        It gets the cell, in place of one from before; the first cell, where none has the tag.
    parameters : mapping of str to str
        Names, and values as Python writes them; what is no Python literal is a text.

    Returns
    -------
    dict of str to str
        Names, and the expressions that they are set to.

    Raises
    ------
    ProjectError
        Where a name is no Python name.
    """
    found = {}
    for name, value in parameters.items():
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ProjectError.usage(f"{name!r} cannot be the name of a parameter", "write -p name=value")
        try:
            found[name] = repr(ast.literal_eval(value))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            found[name] = repr(value)
    if found:
        cells = [cell for cell in notebook.cells if "injected-parameters" not in _tags(cell)]
        place = next((n for n, cell in enumerate(cells, 1) if "parameters" in _tags(cell)), 0)
        source = "\n".join(["# Parameters", *(f"{name} = {value}" for name, value in found.items())])
        cell = new_code_cell(source, id="injected-parameters", metadata={"tags": ["injected-parameters"]})
        notebook.cells = [*cells[:place], cell, *cells[place:]]
    return found


def _tags(cell: NotebookNode) -> list[str]:
    return list(cell.get("metadata", {}).get("tags", ()))


def title(source: str) -> str:
    """Return a cell's first line that is not empty, shortened to 60 characters."""
    line = next((line.strip() for line in source.splitlines() if line.strip()), "")
    return line if len(line) <= 60 else line[:59] + "…"
