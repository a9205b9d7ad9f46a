"""Notebooks that come of executions: read, laid beside the original, compared with each other, branched from a cell."""

from __future__ import annotations

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado.web import authenticated

from provcrt_kernel.runtime import Project
from provcrt_kernel.runtime.archive import nearest
from provcrt_kernel.server import messages as m
from provcrt_kernel.server.places import Refused
from provcrt_kernel.server.verb import Handler


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
