"""Run a notebook from beginning to end in a kernel of its own, and note what the kernel says of each cell."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode
from traitlets import default

from provcrt_kernel.kernel.install import SPEC
from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import CellRun, Status
from provcrt_kernel.runtime.host import Host, hosting
from provcrt_kernel.runtime.notebook import title

_PATIENCE = 60.0  # seconds for the kernel to end, and for what traced it to say what it did
SESSION = "JPY_SESSION_NAME"
KERNEL: tuple[str, ...] = tuple(SPEC["argv"])


@dataclass(frozen=True)
class Ran:
    """A run of a notebook.

    Attributes
    ----------
    cells : tuple of CellRun
        The code cells that ran, in order.
    started, seconds : float
        When, in seconds since the epoch, and for how long, the kernel's start included.
    error : str or None
        The error that ended it early, in one line.
    """

    cells: tuple[CellRun, ...]
    started: float
    seconds: float
    error: str | None


def run(
    notebook: NotebookNode,
    path: Path,
    *,
    kernel: Sequence[str] = KERNEL,
    on_cell: Callable[[CellRun], None] = lambda cell: None,
    host: Host | None = None,
) -> Ran:
    """Run every code cell of `notebook`, until one raises an error that it was not expected to raise.

    Parameters
    ----------
    notebook : NotebookNode
        Its outputs become those of this run.
    path : Path
        Where it lies, or lay: the kernel works in that folder.
    kernel : sequence of str
        The kernel's command line; ours where it is empty. It needs no installed kernelspec.
    on_cell : callable
        Told of each cell when it has run.
    host : Host, optional
        What runs the kernel, in place of the command line.

    Raises
    ------
    ProjectError
        Where the kernel does not start, or dies.
    KeyboardInterrupt
        Where the user interrupts; the kernel is ended first.
    """
    if host is not None:
        return asyncio.run(_Run(notebook, path, host.argv, on_cell, host).whole())
    with hosting() as sockets:
        return asyncio.run(_Run(notebook, path, kernel or KERNEL, on_cell, sockets).whole())


class _Run:
    """One run in progress."""

    def __init__(
        self,
        notebook: NotebookNode,
        path: Path,
        kernel: Sequence[str],
        on_cell: Callable[[CellRun], None],
        host: Host,
    ) -> None:
        self._path = path
        self._on_cell = on_cell
        self._cells: list[CellRun] = []
        self._number = 0
        self._started = self._begun = 0.0
        self._interrupted = False
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None  # what does not run shows nothing
        self._client = NotebookClient(
            notebook,
            timeout=None,
            record_timing=False,
            coalesce_streams=True,
            kernel_manager_class=_manager(kernel, host),
            on_notebook_start=self._ready,
            on_cell_execute=self._begin,
            on_cell_executed=self._end,
        )
        self._client.kernel_name = ""

    async def whole(self) -> Ran:
        """Run it."""
        started, begun = time.time(), time.monotonic()
        # What the kernel's process says itself is no output of a cell; its last line tells why it died.
        with tempfile.TemporaryFile() as said:
            try:
                error = await self._attempt(said)
            except Exception as cause:
                if self._interrupted:
                    raise KeyboardInterrupt from None
                if not self._number:
                    raise ProjectError.kernel_did_not_start(_last_line(said) or str(cause)) from cause
                if isinstance(cause, DeadKernelError):
                    raise ProjectError.kernel_died(self._number, _last_line(said)) from cause
                raise
            except asyncio.CancelledError:
                if self._interrupted:
                    raise KeyboardInterrupt from None
                raise
        return Ran(tuple(self._cells), started, time.monotonic() - begun, error)

    async def _attempt(self, said: IO[bytes]) -> str | None:
        """Start the kernel, run the cells, end the kernel; return the error that a cell ended it with."""
        # The kernel knows a notebook by the variable that Jupyter's server sets.
        environ = {**os.environ, SESSION: str(self._path)}
        folder = str(self._path.parent) if self._path.parent.is_dir() else "/"
        try:
            await self._client.async_execute(cwd=folder, env=environ, stdout=said, stderr=said)
        except CellExecutionError as cause:
            return f"cell {self._number} raised {cause.ename}: {cause.evalue}".splitlines()[0]
        finally:
            atexit.unregister(self._client._cleanup_kernel)  # nbclient forgets it where no kernel starts
        return None

    def _ready(self, **_: Any) -> None:
        """Take over Ctrl-C from nbclient, which would end the kernel and go on waiting for it."""
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def interrupt() -> None:
            self._interrupted = True
            self._client.shutdown_kernel = "immediate"
            if task is not None:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(RuntimeError, ValueError):  # only the main thread may
                loop.add_signal_handler(number, interrupt)

    def _begin(self, cell: NotebookNode, **_: Any) -> None:
        self._number += 1
        self._started, self._begun = time.time(), time.monotonic()
        # nbclient says nothing of cells' ids, and Jupyter's front ends do.
        self._client.kc.session.metadata = {"cellId": cell["id"]}

    def _end(self, cell: NotebookNode, execute_reply: Mapping[str, Any], **_: Any) -> None:
        ran = outcome(self._number, cell, execute_reply, self._started, time.monotonic() - self._begun)
        self._cells.append(ran)
        self._on_cell(ran)


def outcome(
    number: int, cell: NotebookNode, reply: Mapping[str, Any], started: float, seconds: float
) -> CellRun:
    """Return what an execute_reply says of a cell.

    Parameters
    ----------
    number : int
        The cell's number among the code cells, from 1.
    cell : NotebookNode
        The cell.
    reply : mapping
        The message; a kernel that knows nothing of records puts no ``provcrt`` into its metadata.
    started, seconds : float
        When it was asked to run, in seconds since the epoch, and how long it took.
    """
    told: Mapping[str, Any] = reply.get("metadata", {}).get("provcrt") or {}
    failed = reply.get("content", {}).get("status") == "error"
    status: Status = "failed" if failed else "replayed" if told.get("status") == "replayed" else "executed"
    return CellRun(
        number=number,
        cell=cell["id"],
        title=title(cell.source),
        status=status,
        started=started,
        seconds=seconds,
        reason=str(told.get("reason") or "" if told else "this kernel keeps no records"),
        saved_seconds=float(told.get("saved_seconds") or 0.0),
        record=told.get("record"),
        reads=_texts(told.get("reads")),
        writes=_texts(told.get("writes")),
        files_read=tuple(map(FileVersion, _texts(told.get("files_read")))),
        files_written=tuple(map(FileVersion, _texts(told.get("files_written")))),
        volatile=_texts(told.get("volatile")),
        recomputed=_texts(told.get("recomputed")),
        not_recorded=_texts(told.get("not_recorded")),
    )


def _last_line(said: IO[bytes]) -> str:
    """Return the last line that the kernel's process said, or an empty one."""
    size = os.fstat(said.fileno()).st_size
    lines = os.pread(said.fileno(), 4096, max(0, size - 4096)).decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _texts(value: Any) -> tuple[str, ...]:
    """Return what a kernel listed, or the one thing that it said, as texts."""
    if not value:
        return ()
    return tuple(map(str, value)) if isinstance(value, list | tuple) else (str(value),)


def _manager(kernel: Sequence[str], host: Host) -> type[AsyncKernelManager]:
    """Return a kernel manager that starts this command line, and talks to it over sockets in the host's folder."""
    spec = KernelSpec(
        argv=list(kernel),
        display_name="PROV-CRT Python",
        language="python",
        env=SPEC["env"],
    )

    class Manager(AsyncKernelManager):  # type: ignore[misc]
        """A manager of one kind of kernel."""

        @default("transport")  # type: ignore[untyped-decorator]
        def _unix(self) -> str:
            return "ipc"

        @default("ip")  # type: ignore[untyped-decorator]
        def _sockets(self) -> str:
            return host.sockets

        @default("connection_file")  # type: ignore[untyped-decorator]
        def _told(self) -> str:
            return host.connection_file

        @default("shutdown_wait_time")  # type: ignore[untyped-decorator]
        def _patience(self) -> float:
            return _PATIENCE

        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

    return Manager
