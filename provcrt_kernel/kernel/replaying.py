"""Showing a hit: the messages of its record under the number of the cell that asked for them, and the reply.

What a cell that ran leaves in the shell besides its namespace is left by a replayed one, too: history and its outputs, the place
of its result among the latest, the last error.
"""

from __future__ import annotations

from typing import Any

from provcrt_kernel.kernel.notices import Notices
from provcrt_kernel.kernel.results import Results
from provcrt_kernel.kernel.signals import uninterrupted
from provcrt_kernel.kernel.standing import Standing
from provcrt_kernel.replay.advance import CannotReplay
from provcrt_kernel.replay.engine import Engine, Report
from provcrt_kernel.replay.record import Record, Shown, renumbered
from provcrt_kernel.session.expressions import names_in
from provcrt_kernel.session.source import Source


class Replayer:
    """Replays records in one kernel."""

    def __init__(self, kernel: Any, results: Results, notices: Notices, standing: Standing) -> None:
        self._kernel = kernel
        self._standing = standing
        self._results = results
        self._notices = notices

    def replay(
        self,
        engine: Engine,
        record: Record,
        source: Source,
        cell: str,
        expressions: dict[str, str],
        history: bool,
    ) -> tuple[dict[str, Any], Report] | None:
        """Show a hit, and advance the session.

        Returns
        -------
        reply, report
            None if its output or a file of it is lost after all; then the session is as it was.
        """
        shell = self._kernel.shell
        count = shell.execution_count
        # without history the count stays, and the cell goes by the number of the one before
        number = count if history else count - 1
        try:
            messages = engine.shown(record)
            if messages is None:
                return None
            with uninterrupted():
                report = engine.replay(record, source, cell, number)
        except CannotReplay as error:
            self._notices.warn(f"{error}; the cell runs")
            return None
        except Exception as error:
            engine.suspect("a record that was replayed in part")
            self._notices.warn(f"a record cannot be replayed: {type(error).__name__}: {error}; the cell runs")
            return None
        self._standing.replayed(record, source.text, number)
        self._notices.of(engine)
        reply: dict[str, Any] = {
            "status": "ok",
            "execution_count": number,
            "payload": list(record.payload),
            "user_expressions": {},
        }
        try:
            if history:
                transformed = self._standing.transformed(source.text)
                shell.history_manager.store_inputs(count, transformed, source.text)
            for kept in messages:
                message = kept.whole(engine.store.get)
                if message is None:
                    self._notices.warn("part of a replayed cell's output is lost: run it again")
                    continue
                self._send(message, number, record.count)
                if message.type == "execute_result":
                    self._results.replayed(len(engine.history) - 1, number)
                    text = dict(message.content["data"]).get("text/plain")  # type: ignore[call-overload]
                    shell.history_manager.output_hist_reprs[count] = text
            if history:
                shell.history_manager.store_output(count)
                shell.execution_count += 1
            engine.open_again(record)
            if record.error is not None:
                name, value, traceback = record.error
                lines = renumbered(traceback, record.count, number)
                reply |= {"status": "error", "ename": name, "evalue": value, "traceback": lines}
            elif expressions:
                engine.ensure(names_in(" ".join(expressions.values())))
                reply["user_expressions"] = shell.user_expressions(expressions)
        except (Exception, KeyboardInterrupt) as error:
            self._notices.warn(f"a replayed cell may be shown incompletely: {type(error).__name__}: {error}")
        return reply, report

    def _send(self, message: Shown, count: int, before: int | None) -> None:
        kernel, content = self._kernel, dict(message.content)
        if message.type == "execute_result":
            content["execution_count"] = count
        elif message.type == "error":
            content["traceback"] = renumbered(content["traceback"], before, count)  # type: ignore[arg-type]
        kernel.session.send(
            kernel.iopub_socket,
            message.type,
            content,
            kernel.get_parent("shell"),
            ident=kernel.topic(message.type),
            buffers=list(message.buffers) or None,
            metadata=dict(message.metadata),
        )
