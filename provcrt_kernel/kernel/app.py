"""The kernel's process: ipykernel's application with our kernel, our session, a tracer and a store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from ipykernel.kernelapp import IPKernelApp
from jupyter_core.paths import jupyter_runtime_dir
from traitlets import DottedObjectName, List, Type, Unicode, default

from provcrt_kernel.kernel.capture import RecordingSession
from provcrt_kernel.kernel.kernel import ProvcrtKernel
from provcrt_kernel.replay.files import noise
from provcrt_kernel.replay.looker import Looker
from provcrt_kernel.store import Store, StoreError, find_store, shared_stores, stores_below
from provcrt_kernel.trace import attach


class ProvcrtApp(IPKernelApp):  # type: ignore[misc]
    """`ipykernel` with records: everything else is as it was."""

    name = "provcrt-kernel"
    beside: Looker | None = None
    kernel_class = Type(ProvcrtKernel, klass="ipykernel.kernelbase.Kernel").tag(config=True)

    outstream_class = DottedObjectName("provcrt_kernel.kernel.streams.DrainedStream", allow_none=True).tag(
        config=True
    )

    shared_stores = List(
        Unicode(),
        help="Stores below the user's own, which are only read; whoever may write to them is trusted with all that users may do.",
    ).tag(config=True)

    @default("shared_stores")  # type: ignore[untyped-decorator]
    def _default_shared_stores(self) -> list[str]:
        return list(map(str, shared_stores(os.environ)))

    @default("session")  # type: ignore[untyped-decorator]
    def _default_session(self) -> RecordingSession:
        return RecordingSession(parent=self)

    def init_poller(self) -> None:
        """The process above watches Jupyter, and ends this one with it."""
        self.parent_handle = 1

    def initialize(self, argv: list[str] | None = None) -> None:
        """Start as ipykernel does; then, as the last step, begin to trace."""
        super().initialize(argv)
        if self.subapp is not None or self.kernel is None:
            return
        place = find_store(Path.cwd(), os.environ)
        below = stores_below(place, os.environ, map(Path, self.shared_stores))
        store, why = None, ""
        try:
            store = Store.open(place, below=below)
        except StoreError as error:
            why = str(error)
        except Exception as error:  # whatever it is, the kernel starts
            why = f"{type(error).__name__}: {error}"
        folders = [
            str(self.ipython_dir),
            jupyter_runtime_dir(),
            *(f"{f}/.provcrt" for f in (Path.cwd(), *Path.cwd().parents)),
            *(path for each in below for path in (str(each), os.path.realpath(each))),
        ]
        # a folder that holds the notebook would hide everything the notebook reads
        own = [f for f in folders if not Path.cwd().is_relative_to(os.path.realpath(f))]
        ignore = [self.abs_connection_file, str(place), str(place.resolve()), *own, *noise()]
        keep = str(place.resolve() / f"before-{os.getpid()}-{uuid4().hex[:8]}") if store is not None else ""
        self.kernel.begin_recording(store, attach(ignore=ignore, keep=keep), why, self.beside)


def main(argv: list[str] | None = None) -> None:
    """Run the kernel in this process."""
    app: Any = ProvcrtApp.instance()
    app.beside = Looker.start()
    app.initialize(argv)
    app.start()
