"""What was executed as a whole: the tree of executions, each of them, and the jobs that execute, repeat and export."""

from __future__ import annotations

import asyncio
import os

from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from provcrt_kernel.runtime import Project, ProjectError
from provcrt_kernel.runtime.archive import FOLDER, nearest
from provcrt_kernel.runtime.tree import Fork
from provcrt_kernel.server import messages as m
from provcrt_kernel.server.places import Refused
from provcrt_kernel.server.verb import Handler


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
