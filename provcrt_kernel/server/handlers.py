"""The verbs. Each is authenticated and authorized by Jupyter's own decorators, and does its work in a thread."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import nbformat
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.web import authenticated

from provcrt_kernel import __version__
from provcrt_kernel.replay.graph import Graph, graph
from provcrt_kernel.replay.recall import Difference, Recall, Told
from provcrt_kernel.runtime import Project, ProjectError
from provcrt_kernel.runtime.archive import FOLDER, nearest
from provcrt_kernel.runtime.doctor import Diagnosis, examine
from provcrt_kernel.runtime.notebook import title
from provcrt_kernel.runtime.tree import Fork, Tree
from provcrt_kernel.server import messages as m
from provcrt_kernel.server.jobs import Jobs
from provcrt_kernel.server.places import Places, Refused
from provcrt_kernel.store import StoreError

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

T = TypeVar("T")
B = TypeVar("B", bound=m.Body)
EVENT = "https://provcrt.github.io/schemas/job/v1"
#: Seconds for which a diagnosis is believed.
_FRESH = 60.0
_LARGEST = 4 << 20  # bytes of a body


class Services:
    """What the handlers of one server share.

    Parameters
    ----------
    root : Path
        The folder that the server shows.
    changed : callable
        Told of each job when it has changed.
    """

    def __init__(self, root: Path, changed: Callable[[m.Job], None]) -> None:
        self.places = Places(root)
        self.jobs = Jobs(changed)
        self.tree = Tree()
        self._recalls: dict[Path, Recall] = {}
        self._diagnoses: dict[Path, tuple[float, Diagnosis]] = {}
        self._lock = threading.Lock()

    def recall(self, path: str) -> Recall:
        """Return the records that a notebook at a contents path uses."""
        folder = self.places.store(path)
        with self._lock:
            return self._recalls.setdefault(folder, Recall(folder, self.places.placed))

    def diagnosis(self, path: str) -> Diagnosis:
        """Return what works for notebooks at a contents path."""
        store = self.places.store(path)
        known = self._diagnoses.get(store)
        if known is None or time.monotonic() - known[0] > _FRESH:
            found = self.places.resolve(path)
            known = time.monotonic(), examine(found if found.is_dir() else found.parent)
            self._diagnoses[store] = known
        return known[1]

    def told(self, project: Project) -> m.ProjectAnswer:
        """Return what is said of a project."""
        return m.ProjectAnswer(self.places.contents(project.root) or "", project.name)


class Handler(APIHandler):  # type: ignore[misc]
    """What all verbs share."""

    auth_resource = "provcrt"

    @property
    def services(self) -> Services:
        """What the handlers share."""
        found: Services = self.settings["provcrt"]
        return found

    @property
    def places(self) -> Places:
        """Where things are."""
        return self.services.places

    @property
    def path(self) -> str:
        """The contents path that a request is about."""
        return str(self.get_query_argument("path", ""))

    def body(self, kind: type[B]) -> B | None:
        """Return the body of a request; None, and an answer, where it is no such thing."""
        try:
            if len(self.request.body) > _LARGEST:
                raise ValueError("it is too large")
            return msgspec.json.decode(self.request.body or b"{}", type=kind)
        except (msgspec.MsgspecError, ValueError) as error:
            self.answer(m.Failure(f"the body of this request makes no sense: {error}"), 400)
            return None

    def answer(self, answer: object, status: int = 200) -> None:
        """Send a struct as JSON."""
        self.set_status(status)
        self.finish(msgspec.json.encode(answer))

    async def work(self, do: Callable[[], T], status: int = 200) -> None:
        """Answer with what `do` returns, which runs in a thread; or with why it cannot be had."""
        try:
            self.answer(await asyncio.to_thread(do), status)
        except (Refused, ProjectError, StoreError, OSError) as error:
            self.refuse(error)

    def refuse(self, error: Exception) -> None:
        """Answer with why something cannot be had: one sentence."""
        status = error.status if isinstance(error, Refused) else 409 if isinstance(error, StoreError) else 400
        said = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
        self.answer(m.Failure(said.splitlines()[0] if said else type(error).__name__), status)

    def execution(self, id: str) -> tuple[Project, str]:
        """Return the project at the request's path, and an execution's id in it; Refused where there is none."""
        project = self.places.project(self.path)
        if not project.archive.is_id(id) or not (project.archive.folder / id).is_dir():
            raise Refused(404, f"there is no execution {id!r} in {project.root.name!r}")
        return project, self.places.execution(project, id)


class SchemaHandler(Handler):
    """``schema``."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Tell the schema of every body and answer."""
        self.answer(m.schema())


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


class ExecutionsHandler(Handler):
    """``executions``."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """List the executions of a project."""
        await self.work(self._tree)

    def _tree(self) -> m.TreeAnswer:
        try:
            project = self.places.project(self.path)
        except Refused as refused:
            if refused.status != 404 or not self.places.resolve(self.path):
                raise
            return m.TreeAnswer(None, (), ())
        ids = [id for id in project.archive.ids() if not self.places.linked(project.archive.folder / id)]
        nodes = [self.services.tree.node(project.archive, id) for id in ids]
        forks = tuple(map(Fork.of, project.branches()))
        return m.TreeAnswer(self.services.told(project), tuple(nodes), forks)

    @authenticated
    @authorized("execute")
    async def post(self) -> None:
        """Execute a notebook."""
        body = self.body(m.ExecuteBody)
        if body is None:
            return
        try:
            notebook = self.places.resolve(body.notebook)
            root = nearest(notebook.parent)
            if root is not None and not self.places.within(root / FOLDER):
                raise Refused.no_project(body.notebook)
            if notebook.suffix != ".ipynb" or os.access(notebook, os.X_OK):
                raise Refused(400, f"{body.notebook!r} is no notebook, or may be executed as a program")
            words = [word for name, value in body.parameters.items() for word in ("-p", f"{name}={value}")]
            folder = self.places.contents(root or notebook.parent) or ""
            job = await self.services.jobs.start(
                "exec", ["exec", str(notebook), *words, "--json"], notebook.parent, folder, None
            )
            self.answer(job, 202)
        except (Refused, ProjectError, OSError) as error:
            self.refuse(error)


class ExecutionHandler(Handler):
    """``executions/ID``."""

    @authenticated
    @authorized
    async def get(self, id: str) -> None:
        """Tell an execution."""
        await self.work(lambda: self._told(*self.execution(id)))

    @authenticated
    @authorized
    async def patch(self, id: str) -> None:
        """Give it another name, or other tags."""
        body = self.body(m.LabelBody)
        if body is None:
            return

        def do() -> m.ExecutionAnswer:
            project, _ = self.execution(id)
            project.relabel(id, body.name, body.tags)
            return self._told(project, id)

        await self.work(do)

    @authenticated
    @authorized
    async def delete(self, id: str) -> None:
        """Remove it with its repetitions."""

        def do() -> m.FreedAnswer:
            project, _ = self.execution(id)
            return m.FreedAnswer(project.remove(id).bytes)

        await self.work(do)

    def _told(self, project: Project, id: str) -> m.ExecutionAnswer:
        execution, node = project.show(id), self.services.tree.node(project.archive, id)
        repetitions = project.repetitions(id)
        return m.ExecutionAnswer(
            **{name: getattr(node, name) for name in node.__struct_fields__},
            ran=tuple(
                m.RanCell(c.number, c.cell, c.title, c.status, c.reason, c.seconds, c.saved_seconds, c.record)
                for c in execution.cells
            ),
            parameters=execution.parameters,
            user=execution.user,
            python=execution.environment.python,
            platform=execution.environment.platform,
            verdict_line=repetitions[-1].verdict.line if repetitions else None,
        )


class RepeatHandler(Handler):
    """``executions/ID/repeat``."""

    @authenticated
    @authorized("execute")
    async def post(self, id: str) -> None:
        """Repeat an execution."""
        if self.body(m.RepeatBody) is None:
            return
        try:
            project, _ = await asyncio.to_thread(self.execution, id)
            root = self.places.contents(project.root) or ""
            self.answer(
                await self.services.jobs.start("repeat", ["repeat", id, "--json"], project.root, root, id),
                202,
            )
        except (Refused, ProjectError, OSError) as error:
            self.refuse(error)


class ExportHandler(Handler):
    """``executions/ID/export``."""

    @authenticated
    @authorized
    async def post(self, id: str) -> None:
        """Write an execution to a file to share."""
        body = self.body(m.ExportBody)
        if body is None:
            return
        try:
            project, _ = await asyncio.to_thread(self.execution, id)
            target = self.places.resolve(body.file, new=True)
            if target.suffix != ".provcrt" or target.exists():
                raise Refused(400, f"{body.file!r} cannot be written: give a new name that ends in .provcrt")
            root = self.places.contents(project.root) or ""
            words = ["export", id, str(target), "--json"]
            self.answer(await self.services.jobs.start("export", words, project.root, root, id), 202)
        except (Refused, ProjectError, OSError) as error:
            self.refuse(error)


class NotebookHandler(Handler):
    """``executions/ID/notebook``."""

    @authenticated
    @authorized
    async def get(self, id: str) -> None:
        """Return the executed notebook."""

        def do() -> msgspec.Raw:
            project, _ = self.execution(id)
            return msgspec.Raw(project.executed(id)[1])

        await self.work(do)


class OpenHandler(Handler):
    """``executions/ID/open``."""

    @authenticated
    @authorized
    async def post(self, id: str) -> None:
        """Lay the executed notebook beside the original."""
        body = self.body(m.OpenBody)
        if body is None:
            return

        def do() -> m.PathAnswer:
            project, _ = self.execution(id)
            data = project.executed(id)[1]
            notebook = project.show(id).notebook
            assert notebook is not None
            place = (project.root / notebook.path).with_suffix(f".{id}.ipynb")
            if body.file is not None:
                wanted = self.places.resolve(body.file, new=True)
            elif place.parent.is_dir() and self.places.within(place):
                wanted = place
            else:
                wanted = project.root / place.name
            if wanted.suffix != ".ipynb":
                raise Refused(400, f"{body.file!r} cannot be a notebook: give a name that ends in .ipynb")
            if wanted.is_file() and not wanted.is_symlink() and wanted.read_bytes() == data:
                return m.PathAnswer(self.places.contents(wanted) or "")
            target = self.places.free(wanted)
            with open(target, "xb") as file:
                file.write(data)
            return m.PathAnswer(self.places.contents(target) or "")

        await self.work(do, 201)


class CompareHandler(Handler):
    """``compare``."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Lay two executions side by side."""
        a, b = self.get_query_argument("a", ""), self.get_query_argument("b", "")

        def do() -> m.CompareAnswer:
            project = self.execution(a)[0]
            self.execution(b)
            beside, tree = project.beside(a, b), self.services.tree
            return m.CompareAnswer(
                tree.node(project.archive, a),
                tree.node(project.archive, b),
                *(getattr(beside, name) for name in beside.__struct_fields__),
            )

        await self.work(do)


class BranchHandler(Handler):
    """``branch``."""

    @authenticated
    @authorized
    async def post(self) -> None:
        """Copy a notebook up to a cell."""
        body = self.body(m.BranchBody)
        if body is None:
            return

        def do() -> m.BranchAnswer:
            notebook = self.places.resolve(body.path)
            root = nearest(notebook.parent)
            project = Project(notebook.parent) if root is None else self.places.project(body.path)
            output = None if body.file is None else self.places.resolve(body.file, new=True)
            made = project.branch(notebook, body.cell, output)
            path = self.places.contents(project.root / made.notebook)
            return m.BranchAnswer(path or "", made.id, made.parent)

        await self.work(do, 201)


class JobsHandler(Handler):
    """``jobs``."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """List the jobs."""
        self.answer(m.JobsAnswer(self.services.jobs.all()))


class JobHandler(Handler):
    """``jobs/ID``."""

    @authenticated
    @authorized
    async def get(self, id: str) -> None:
        """Tell a job."""
        try:
            self.answer(self.services.jobs.get(id))
        except Refused as error:
            self.refuse(error)

    @authenticated
    @authorized("execute")
    async def delete(self, id: str) -> None:
        """Cancel a job."""
        try:
            self.answer(await self.services.jobs.cancel(id))
        except Refused as error:
            self.refuse(error)


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


_ID = r"([\w.-]+)"
ROUTES: tuple[tuple[str, type[Handler]], ...] = (
    ("schema", SchemaHandler),
    ("status", StatusHandler),
    (rf"records/{_ID}", RecordHandler),
    (rf"records/{_ID}/history", HistoryHandler),
    (rf"records/{_ID}/diff/{_ID}", DifferenceHandler),
    ("graph", GraphHandler),
    ("executions", ExecutionsHandler),
    (rf"executions/{_ID}", ExecutionHandler),
    (rf"executions/{_ID}/repeat", RepeatHandler),
    (rf"executions/{_ID}/export", ExportHandler),
    (rf"executions/{_ID}/notebook", NotebookHandler),
    (rf"executions/{_ID}/open", OpenHandler),
    ("compare", CompareHandler),
    ("branch", BranchHandler),
    ("jobs", JobsHandler),
    (rf"jobs/{_ID}", JobHandler),
)


def load(app: ServerApp) -> None:
    """Add the handlers to a server, and the event that tells of jobs."""
    app.event_logger.register_event_schema(
        {
            "$id": EVENT,
            "version": "1",
            "title": "A job of PROV-CRT changed",
            "personal-data": True,
            "type": "object",
            "properties": {name: {} for name in m.Job.__struct_fields__},
            "required": list(m.Job.__struct_fields__),
        }
    )

    def changed(job: m.Job) -> None:
        app.event_logger.emit(schema_id=EVENT, data=msgspec.to_builtins(job))

    root = getattr(app.contents_manager, "root_dir", "") or app.root_dir
    services = Services(Path(root), changed)
    app.web_app.settings["provcrt"] = services
    base = url_path_join(app.web_app.settings["base_url"], "provcrt", "api")
    app.web_app.add_handlers(".*$", [(url_path_join(base, route), handler) for route, handler in ROUTES])
    app.log.info("PROV-CRT shows its records under %s", base)
