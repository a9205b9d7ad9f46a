"""Long work: executing, repeating and exporting run as processes of the command line, outside of the server's.

Nothing waits for them: each change of a job is an event that pages hear of. A job that is cancelled, or that is running when the
server stops, is interrupted as by Ctrl-C, and leaves an execution whole or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from provcrt_kernel.server.messages import Job
from provcrt_kernel.server.places import Refused

#: Ended jobs that are remembered, and jobs that may run at the same time.
_REMEMBERED, _AT_ONCE = 100, 8
#: Seconds after an interrupt until a job is killed.
_PATIENCE = 10.0


class Jobs:
    """The jobs of one server.

    Parameters
    ----------
    changed : callable
        Told of each job when it has changed.
    """

    def __init__(self, changed: Callable[[Job], None]) -> None:
        self._changed = changed
        self._jobs: dict[str, Job] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def all(self) -> tuple[Job, ...]:
        """Return the jobs, oldest first."""
        return tuple(self._jobs.values())

    def get(self, id: str) -> Job:
        """Return a job; Refused where there is none."""
        if id not in self._jobs:
            raise Refused(
                404, f"there is no job {id[:100]!r}: the server has forgotten it, or was started anew"
            )
        return self._jobs[id]

    async def start(
        self, kind: Any, words: Sequence[str], folder: Path, project: str, execution: str | None
    ) -> Job:
        """Start the command line with some words in a folder; Refused where too many jobs are running."""
        if sum(job.state == "running" for job in self._jobs.values()) >= _AT_ONCE:
            raise Refused(429, f"{_AT_ONCE} jobs are running already: wait for one of them, or cancel it")
        job = Job(uuid.uuid4().hex[:12], kind, "running", time.time(), project, execution)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "provcrt_kernel.cli",
            *words,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        ended = [each for each in self._jobs.values() if each.state != "running"]
        for old in ended[: max(0, len(ended) - _REMEMBERED)]:
            del self._jobs[old.job]
        self._jobs[job.job], self._processes[job.job] = job, process
        self._changed(job)
        self._tasks[job.job] = asyncio.ensure_future(self._watch(job, process))
        return job

    async def _watch(self, job: Job, process: asyncio.subprocess.Process) -> None:
        try:
            said, complaints = await process.communicate()
            lines = complaints.decode(errors="replace").strip().splitlines()
            last = lines[-1].removeprefix("provcrt: ") if lines else ""
            if job.state == "cancelled":
                return
            job.execution, told = _told(job, said)
            failed = process.returncode != 0
            job.state = "failed" if failed else "done"
            job.message = (last or f"it ended with status {process.returncode}") if failed else told
        finally:
            self._processes.pop(job.job, None)
            self._tasks.pop(job.job, None)
            self._changed(job)

    async def cancel(self, id: str) -> Job:
        """Interrupt a job; one that has ended stays as it is."""
        job = self.get(id)
        process = self._processes.get(id)
        if job.state == "running" and process is not None:
            job.state, job.message = "cancelled", "it was cancelled, and nothing was kept"
            task = self._tasks.get(id)
            _signal(process, signal.SIGINT)
            if task is not None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(task), _PATIENCE)
            if process.returncode is None:
                _signal(process, signal.SIGKILL)
        return job

    async def stop(self) -> None:
        """Cancel whatever runs."""
        await asyncio.gather(*(self.cancel(job.job) for job in self.all() if job.state == "running"))


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _told(job: Job, said: bytes) -> tuple[str | None, str]:
    """Return the execution that a job was about, and what came of it, from the JSON that it printed."""
    try:
        told: Any = msgspec.json.decode(said)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return job.execution, ""
    if not isinstance(told, dict):
        return job.execution, ""
    if job.kind == "exec":
        return told.get("id"), f"{told.get('id')} is kept"
    if job.kind == "repeat":
        verdict = told.get("verdict", {})
        return job.execution, f"{job.execution} {verdict.get('word', '')}".strip()
    return job.execution, f"{job.execution} is in {told.get('file')}"
