"""Which verb answers at which address, and how Jupyter's server learns of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import url_path_join
from tornado.web import authenticated

from provcrt_kernel.server import copies, executions, records
from provcrt_kernel.server import messages as m
from provcrt_kernel.server.verb import Handler, Services

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

EVENT = "https://provcrt.github.io/schemas/job/v1"


class SchemaHandler(Handler):
    """``schema``."""

    @authenticated
    @authorized
    async def get(self) -> None:
        """Tell the schema of every body and answer."""
        self.answer(m.schema())


_ID = r"([\w.-]+)"
ROUTES: tuple[tuple[str, type[Handler]], ...] = (
    ("schema", SchemaHandler),
    ("status", records.StatusHandler),
    (rf"records/{_ID}", records.RecordHandler),
    (rf"records/{_ID}/history", records.HistoryHandler),
    (rf"records/{_ID}/diff/{_ID}", records.DifferenceHandler),
    ("graph", records.GraphHandler),
    ("executions", executions.ExecutionsHandler),
    (rf"executions/{_ID}", executions.ExecutionHandler),
    (rf"executions/{_ID}/repeat", executions.RepeatHandler),
    (rf"executions/{_ID}/export", executions.ExportHandler),
    (rf"executions/{_ID}/notebook", copies.NotebookHandler),
    (rf"executions/{_ID}/open", copies.OpenHandler),
    ("compare", copies.CompareHandler),
    ("branch", copies.BranchHandler),
    ("jobs", executions.JobsHandler),
    (rf"jobs/{_ID}", executions.JobHandler),
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
