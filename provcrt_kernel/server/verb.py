"""What all verbs share: the services behind them, bodies that make sense, and answers in one sentence.

Promise: each verb is authenticated and authorized by Jupyter's own decorators, and does its work in a thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from jupyter_server.base.handlers import APIHandler

from provcrt_kernel.replay.recall import Recall
from provcrt_kernel.runtime import Project, ProjectError
from provcrt_kernel.runtime.doctor import Diagnosis, examine
from provcrt_kernel.runtime.tree import Tree
from provcrt_kernel.server import messages as m
from provcrt_kernel.server.jobs import Jobs
from provcrt_kernel.server.places import Places, Refused
from provcrt_kernel.store import StoreError

T = TypeVar("T")
B = TypeVar("B", bound=m.Body)
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
