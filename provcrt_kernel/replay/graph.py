"""The graph of a notebook: its cells, the files and variables between them, and who reads and writes what."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from provcrt_kernel.replay.recall import Place
from provcrt_kernel.replay.record import Record
from provcrt_kernel.session.slots import ABSENT, ambient
from provcrt_kernel.session.source import imported_names


class CellNode(msgspec.Struct, frozen=True):
    """A cell; `record` is None where none is known, and then it has no edges."""

    id: str
    cell: str
    title: str
    record: str | None
    seconds: float | None


class FileNode(msgspec.Struct, frozen=True):
    """A file or folder."""

    id: str
    name: str
    path: Place


class VariableNode(msgspec.Struct, frozen=True):
    """The value that a cell gave a variable; `module`: an import statement did."""

    id: str
    name: str
    cell: str
    module: bool


class Edge(msgspec.Struct, frozen=True, rename={"source": "from", "target": "to"}):
    """``reads``: from a file or variable to a cell; ``writes``: from a cell."""

    source: str
    target: str
    kind: Literal["reads", "writes"]


class Graph(msgspec.Struct, frozen=True):
    """Nodes, in the order of the notebook, and edges between their ids."""

    cells: tuple[CellNode, ...]
    files: tuple[FileNode, ...]
    variables: tuple[VariableNode, ...]
    edges: tuple[Edge, ...]


def graph(
    cells: Sequence[tuple[str, str]], records: Mapping[str, Record], placed: Callable[[str], Place] = Place
) -> Graph:
    """Draw up the graph of a notebook.

    Parameters
    ----------
    cells
        Ids and titles of the code cells, in the order of the notebook.
    records
        By cell: what it did.
    placed
        Tells where a file is.
    """
    files: dict[str, FileNode] = {}
    variables: dict[str, VariableNode] = {}
    edges: dict[Edge, None] = {}
    makers: dict[tuple[str, str], list[int]] = {}
    for place, (cell, _) in enumerate(cells):
        for name, state in records[cell].writes.items() if cell in records else ():
            makers.setdefault((name, state.version), []).append(place)

    def file(path: str) -> str:
        return files.setdefault(
            path, FileNode(f"file:{path}", os.path.basename(path) or path, placed(path))
        ).id

    for place, (cell, _) in enumerate(cells):
        record = records.get(cell)
        if record is None:
            continue
        node = f"cell:{cell}"
        for known in record.inputs:
            if known.content is not None or known.listing is not None:
                edges[Edge(file(known.path), node, "reads")] = None
        for output in record.outputs:
            if output.kind != "dir":
                edges[Edge(node, file(output.path), "writes")] = None
        for name, version in record.reads.items():
            if not ambient(name) and version != ABSENT and (made := makers.get((name, version))):
                # the nearest above; where there is none it was made out of order
                maker = cells[max((p for p in made if p < place), default=made[0])][0]
                if maker != cell:
                    edges[Edge(f"variable:{name}@{maker}", node, "reads")] = None
        modules = imported_names(record.text)
        for name in record.writes:
            if not ambient(name):
                id = f"variable:{name}@{cell}"
                variables[id] = VariableNode(id, name, cell, name in modules)
                edges[Edge(node, id, "writes")] = None
    nodes = tuple(
        CellNode(
            f"cell:{cell}", cell, title, r.id if (r := records.get(cell)) else None, r.seconds if r else None
        )
        for cell, title in cells
    )
    there = {f"cell:{cell}" for cell, _ in cells} | variables.keys() | {f.id for f in files.values()}
    return Graph(
        nodes,
        tuple(files.values()),
        tuple(variables.values()),
        tuple(edge for edge in edges if edge.source in there and edge.target in there),
    )
