"""What cells did: the server's state, records, their history and differences, and the graph of a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from provcrt_kernel import __version__
from provcrt_kernel.replay.graph import Graph, graph
from provcrt_kernel.replay.recall import Difference, Told
from provcrt_kernel.runtime.notebook import title
from provcrt_kernel.server import messages as m
from provcrt_kernel.server.places import Refused
from provcrt_kernel.server.verb import Handler


class StatusHandler(Handler):
    """``status``."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Tell what works."""
        await self.work(self._status)

    def _status(self) -> m.StatusAnswer:
        found = self.services.diagnosis(self.path)
        try:
            project = self.services.told(self.places.project(self.path))
        except Refused:
            project = None
        problems = (found.tracer_problem, found.store_problem, found.isolation_problem)
        return m.StatusAnswer(
            version=__version__,
            store=found.store,
            store_bytes=found.store_bytes,
            store_limit=found.store_limit,
            records=found.store_records,
            mechanism=found.tracer,
            project=project,
            doctor=tuple(each for each in problems if each),
            layers=found.layers,
        )


class RecordHandler(Handler):
    """``records/ID``."""

    @authenticated
    @authorized
    async def get(self, id: str) -> None:
        """Tell a record."""

        def do() -> Told:
            told = self.services.recall(self.path).told(id)
            if told is None:
                raise Refused.no_record(id)
            return told

        await self.work(do)


class HistoryHandler(Handler):
    """``records/ID/history``."""

    @authenticated
    @authorized
    async def get(self, id: str) -> None:
        """Tell the records of a record's cell."""

        def do() -> m.HistoryAnswer:
            found = self.services.recall(self.path).history(id)
            if found is None:
                raise Refused.no_record(id)
            return m.HistoryAnswer(tuple(found))

        await self.work(do)


class DifferenceHandler(Handler):
    """``records/A/diff/B``."""

    @authenticated
    @authorized
    async def get(self, a: str, b: str) -> None:
        """Tell what differs between two records."""

        def do() -> Difference:
            found = self.services.recall(self.path).difference(a, b)
            if found is None:
                raise Refused.no_record(f"{a} or {b}")
            return found

        await self.work(do)


class GraphHandler(Handler):
    """``graph``."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Draw a notebook's graph from the newest record of each cell."""
        await self.work(lambda: self._graph(self.path, None))

    @authenticated
    @authorized("read")
    async def post(self) -> None:
        """Draw it from the records that the page knows."""
        body = self.body(m.GraphBody)
        if body is not None:
            await self.work(lambda: self._graph(body.path, body.records))

    def _graph(self, path: str, records: dict[str, str] | None) -> Graph:
        notebook = self.places.resolve(path)
        cells = _code_cells(notebook, path)
        recall = self.services.recall(path)
        if records is None:
            spellings = self.places.spellings(notebook)
            found = recall.latest({cell: [f"{place}#{cell}" for place in spellings] for cell, _ in cells})
        else:
            found = recall.these(records)
            cells += [(cell, title(record.text)) for cell, record in found.items() if cell not in dict(cells)]
        return graph(cells, found, self.places.placed)


def _code_cells(notebook: Path, path: str) -> list[tuple[str, str]]:
    """Return ids and titles of a notebook's code cells."""
    try:
        book: Any = nbformat.reads(notebook.read_text(), as_version=nbformat.NO_CONVERT)
        cells: Iterable[Any] = book["cells"]
        return [
            (str(cell.get("id", f"cell-{number}")), title("".join(cell["source"])))
            for number, cell in enumerate(cells)
            if cell["cell_type"] == "code"
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, nbformat.reader.NotJSONError) as cause:
        raise Refused(400, f"{path!r} is not a notebook that can be read ({type(cause).__name__})") from None
