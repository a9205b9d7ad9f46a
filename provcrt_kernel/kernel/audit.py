"""Audit of a session, the session's side: what has run goes to a process of its own (`rerun`), what it finds comes back.

That process runs the cells in a private copy of the notebook's folder. Files that they are known to write elsewhere are put back
when it has ended.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from provcrt_kernel.kernel.rerun import Answer, AuditCell, Finding, Job
from provcrt_kernel.kernel.scratch import CannotAudit
from provcrt_kernel.replay.engine import Engine
from provcrt_kernel.replay.history import Execution
from provcrt_kernel.replay.record import Record, Shown

_OURS = re.compile(r"\s*%provcrt\b[^\n]*\s*\Z")
_RUN = re.compile(r"\s*%%provcrt\s+run[^\S\n]*\n?")


def audit(engine: Engine, inputs: Sequence[str], *, everything: bool) -> tuple[Finding, ...]:
    """Run a session's cells from scratch beside it, and compare what they do with their records.

    Parameters
    ----------
    inputs
        The texts of its cells by execution count; the first, for count 0, is empty.
    everything
        Whether cells that were executed are judged, too, or only those that were replayed.

    Raises
    ------
    CannotAudit
        It cannot be done here; the message says what is missing.
    KeyboardInterrupt
        The reader had enough of it; the process is ended first.
    """
    if not len(engine.history):
        return ()
    outside = {
        output.path
        for execution in engine.history.executions
        if execution.record is not None
        for output in execution.record.outputs
        if not Path(output.path).is_relative_to(engine.world.folder)
    }
    with tempfile.TemporaryDirectory(prefix="provcrt-audit-") as home, engine.world.as_now(outside):
        job, answer, said = Path(home, "job"), Path(home, "answer"), Path(home, "said")
        job.write_bytes(msgspec.msgpack.encode(_job(engine, inputs, everything)))
        with said.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "provcrt_kernel.kernel.rerun", str(job), str(answer)],
                env=engine.world.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                process.wait()
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        if not answer.exists():
            raise CannotAudit.failed(said.read_text(errors="replace"))
        found = msgspec.msgpack.decode(answer.read_bytes(), type=Answer)
    if found.error:
        raise CannotAudit(found.error)
    return found.findings


def _job(engine: Engine, inputs: Sequence[str], everything: bool) -> Job:
    executions: dict[int, list[Execution]] = {}
    for execution in engine.history.executions:
        if execution.count is not None:
            executions.setdefault(execution.count, []).append(execution)
    cells: list[AuditCell] = []
    for count, text in enumerate(inputs):
        if count == 0:
            continue
        known = executions.get(count, [])
        # what asks for records runs as nothing, so that cells keep their numbers
        plain = "pass" if _OURS.match(text) else _RUN.sub("", text, count=1)
        cells.append(_cell(engine, count, plain, known[0] if known else None, everything))
        for execution in known[1:]:
            again = execution.record.text if execution.record is not None else ""
            cells.append(_cell(engine, count, again, execution, everything, history=False))
    return Job(
        str(engine.world.folder),
        engine.world.environ,
        tuple(cells),
        tuple(engine.world.earlier(0)),
        str(engine.store.folder),
    )


def _cell(
    engine: Engine,
    count: int,
    text: str,
    execution: Execution | None,
    everything: bool,
    *,
    history: bool = True,
) -> AuditCell:
    if execution is None:
        return AuditCell(count, text, judged=False, history=history)
    record = execution.record
    return AuditCell(
        count,
        text,
        record,
        None if record is None else _whole(engine, record),
        everything or execution.status == "replayed",
        execution.wrote,
        f"it was not recorded: {execution.notes[0]}" if execution.notes else "",
        history,
    )


def _whole(engine: Engine, record: Record) -> tuple[Shown, ...] | None:
    messages = [m.whole(engine.store.get) for m in engine.shown(record) or ()]
    return tuple(m for m in messages if m is not None) if None not in messages else None


def report(findings: Sequence[Finding]) -> str:
    """What a reader is told: each cell that was wrong or left out, and how many were right."""
    lines = [f"[{f.count}] {f.verdict}: {'; '.join(f.why)}" for f in findings if f.verdict != "right"]
    numbers = {v: sum(f.verdict == v for f in findings) for v in ("right", "wrong", "left out")}
    counts = ", ".join(f"{number} {verdict}" for verdict, number in numbers.items() if number)
    if not findings:
        return "no cell was replayed yet; with --all those that ran are audited, too"
    return "\n".join(
        [
            *lines,
            f"{len(findings)} {'cell' if len(findings) == 1 else 'cells'} audited from scratch: {counts}",
        ]
    )
