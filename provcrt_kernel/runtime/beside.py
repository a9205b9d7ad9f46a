"""Two executions side by side: every cell with its source and outputs, and whatever else is not the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from nbformat import NotebookNode

from provcrt_kernel.provenance.compare import difference
from provcrt_kernel.runtime.compared import Change
from provcrt_kernel.runtime.execution import Execution


class Side(msgspec.Struct, frozen=True):
    """A code cell in one of them; outputs are nbformat's."""

    source: str
    outputs: tuple[dict[str, Any], ...]
    execution_count: int | None


class Pair(msgspec.Struct, frozen=True):
    """A code cell in both; `number` is the one that it has in the first, or else in the second."""

    id: str
    number: int
    a: Side | None
    b: Side | None
    differs: tuple[Literal["source", "outputs", "missing"], ...]


class Value(msgspec.Struct, frozen=True):
    """Something with a name that is not the same; None where it is not there."""

    name: str
    a: str | None
    b: str | None


class FileValue(msgspec.Struct, frozen=True):
    """A file that is not the same, by digest."""

    path: str
    role: Literal["read", "written"]
    a: str | None
    b: str | None


class Beside(msgspec.Struct, frozen=True):
    """Two executions: all cells; of the rest what differs. `changes` tells how two commands differ."""

    cells: tuple[Pair, ...]
    parameters: tuple[Value, ...]
    files: tuple[FileValue, ...]
    environment: tuple[Value, ...]
    changes: tuple[Change, ...] = ()


def notebooks(a: Execution, b: Execution, books: tuple[NotebookNode, NotebookNode]) -> Beside:
    """Lay two executions of notebooks side by side."""
    sides = [{c["id"]: (n, c) for n, c in enumerate(_code(book), 1)} for book in books]
    pairs = []
    for id in _in_order(list(sides[0]), list(sides[1])):
        (number, one), (other, two) = (side.get(id, (0, None)) for side in sides)
        differs: list[Literal["source", "outputs", "missing"]] = []
        if one is None or two is None:
            differs.append("missing")
        else:
            differs += ["source"] if one.source != two.source else []
            differs += ["outputs"] if difference(one.outputs, two.outputs) else []
        pairs.append(Pair(id, number or other, _side(one), _side(two), tuple(differs)))
    return Beside(
        tuple(pairs),
        tuple(_values(a.parameters, b.parameters)),
        tuple(_files(a, b)),
        tuple(_values(_environment(a), _environment(b))),
    )


def commands(a: Execution, b: Execution, changes: tuple[Change, ...]) -> Beside:
    """Lay two executions of commands side by side."""
    return Beside((), (), (), tuple(_values(_environment(a), _environment(b))), changes)


def _code(book: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in book.cells if cell.cell_type == "code" and cell.source.strip()]


def _in_order(first: list[str], second: list[str]) -> list[str]:
    """Return all ids: those of the first, and behind the one that it stands behind each that only the second has."""
    found = list(first)
    for place, id in enumerate(second):
        if id not in first:
            before = second[place - 1] if place else None
            found.insert(found.index(before) + 1 if before is not None else 0, id)
    return found


def _side(cell: NotebookNode | None) -> Side | None:
    return None if cell is None else Side(cell.source, tuple(cell.outputs), cell.get("execution_count"))


def _values(a: Mapping[str, str], b: Mapping[str, str]) -> list[Value]:
    return [Value(n, a.get(n), b.get(n)) for n in dict.fromkeys((*a, *b)) if a.get(n) != b.get(n)]


def _environment(execution: Execution) -> dict[str, str]:
    here = execution.environment
    return {"python": here.python, "platform": here.platform, **dict(sorted(here.packages.items()))}


def _files(a: Execution, b: Execution) -> list[FileValue]:
    found = []
    roles: tuple[Literal["read", "written"], ...] = ("read", "written")
    for role in roles:
        sides = [
            {
                file.path: file.digest or "unknown"
                for cell in each.cells
                for file in (cell.files_read if role == "read" else cell.files_written)
            }
            for each in (a, b)
        ]
        found += [
            FileValue(v.name, role, v.a and v.a[:12], v.b and v.b[:12]) for v in _values(sides[0], sides[1])
        ]
    return found
