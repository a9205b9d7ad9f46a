"""The kernel: ipykernel's, with each cell looked up before it runs and recorded after.

`do_execute` never raises: without a reply a client would wait for ever. Whatever goes wrong on our side, the cell runs as it
would under plain ipykernel, and a line on stderr says what is off.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import platform
import random
import sys
import threading
from collections.abc import Iterator
from typing import Any

import ipykernel
import IPython
from ipykernel.ipkernel import IPythonKernel
from traitlets import Bool, Enum, default

from provcrt_kernel.kernel.capture import Recorder, RecordingSession
from provcrt_kernel.kernel.cells import place, wish
from provcrt_kernel.kernel.live import Live
from provcrt_kernel.kernel.magics import ProvcrtMagics
from provcrt_kernel.kernel.nested import run_nested
from provcrt_kernel.kernel.notices import Notices
from provcrt_kernel.kernel.questions import DEBUGGER, complete, wanted_for_completion
from provcrt_kernel.kernel.replaying import Replayer
from provcrt_kernel.kernel.results import Results
from provcrt_kernel.kernel.signals import uninterrupted
from provcrt_kernel.kernel.standing import Standing
from provcrt_kernel.kernel.streams import DrainedStream
from provcrt_kernel.replay.cell import Outcome
from provcrt_kernel.replay.engine import Engine, Report
from provcrt_kernel.replay.looker import Looker
from provcrt_kernel.replay.lookup import Decision
from provcrt_kernel.replay.rebuild import CannotRebuild
from provcrt_kernel.replay.record import FORMAT, Record
from provcrt_kernel.replay.stale import Ran
from provcrt_kernel.session.expressions import names_in
from provcrt_kernel.session.observe import identities
from provcrt_kernel.session.source import Source, read_source
from provcrt_kernel.store import Store
from provcrt_kernel.trace import Tracer

#: The language and environment that a source key is valid in.
CONTEXT = "/".join(
    (
        str(FORMAT),
        sys.version,
        platform.machine(),
        IPython.__version__,
        ipykernel.__version__,
        os.environ.get("PYTHONHASHSEED", ""),
    )
)


class ProvcrtKernel(IPythonKernel):  # type: ignore[misc]
    """PROV-CRT Python."""

    implementation = "provcrt"
    session: RecordingSession

    strict = Bool(
        help="Whether cells that use what nobody can repeat (clock, randomness, network) always run, and are never replayed."
    ).tag(config=True)
    cost_policy = Enum(
        ("on", "off"),
        help="Whether only those values are kept that load faster than their cells run; off: all that can be.",
    ).tag(config=True)

    @default("strict")  # type: ignore[untyped-decorator]
    def _default_strict(self) -> bool:
        return os.environ.get("PROVCRT_STRICT", "").lower() in ("1", "on", "true", "yes")

    @default("cost_policy")  # type: ignore[untyped-decorator]
    def _default_cost_policy(self) -> str:
        return "off" if os.environ.get("PROVCRT_COST_POLICY", "on") == "off" else "on"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.engine: Engine | None = None
        self.tracer: Tracer | None = None
        self.recording = True
        self._report: dict[str, dict[str, Any]] = {}
        self.notices = Notices()
        self.results = Results(self.shell)
        self._standing = Standing(self.shell, self._transform)
        self._replayer = Replayer(self, self.results, self.notices, self._standing)
        self.live = Live(self)
        self._why_off = ""
        self._background: set[Any] = set()

    def begin_recording(
        self, store: Store | None, tracer: Tracer, why_off: str = "", beside: Looker | None = None
    ) -> None:
        """The process is ready: from now on cells are looked up and recorded.

        Parameters
        ----------
        store
            None: it cannot be opened, `why_off` says why; cells run without records.
        beside
            The process that looks at files untraced.
        """
        self.tracer, self._why_off = tracer, why_off
        self.shell.register_magics(ProvcrtMagics(self.shell, self))
        for kind in ("comm_msg", "comm_open", "comm_close"):
            self.shell_handlers[kind] = self._around_callback(kind, self.shell_handlers[kind])
        if store is None:
            return
        try:
            namespace, hidden = self.shell.user_ns, dict(self.shell.user_ns_hidden)
            self.engine = Engine(
                store,
                tracer,
                namespace,
                hidden,
                self._run_again,
                quiet=self._quiet,
                beside=beside,
                thrifty=self.cost_policy == "on",
            )
            self.engine.start()
        except Exception as error:
            self.engine, self._why_off = None, f"{type(error).__name__}: {error}"

    # -- cells --------------------------------------------------------------------------------------------------------

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: dict[str, str] | None = None,
        allow_stdin: bool = False,
        *,
        cell_meta: dict[str, Any] | None = None,
        cell_id: str | None = None,
    ) -> dict[str, Any]:
        asked = (code, silent, store_history, user_expressions, allow_stdin, cell_meta, cell_id)
        if threading.current_thread() is not threading.main_thread():
            return await self._execute(*asked)
        self.live.begin()
        try:
            return await self._execute(*asked)
        finally:
            try:
                with uninterrupted():
                    self.live.end(cell_id)
            except Exception as error:
                self.notices.warn(f"pages are not told: {type(error).__name__}: {error}")

    async def _execute(
        self,
        code: str,
        silent: bool,
        store_history: bool,
        user_expressions: dict[str, str] | None,
        allow_stdin: bool,
        cell_meta: dict[str, Any] | None,
        cell_id: str | None,
    ) -> dict[str, Any]:
        async def run(text: str = code) -> dict[str, Any]:
            reply: dict[str, Any] = await super(ProvcrtKernel, self).do_execute(
                text,
                silent,
                store_history,
                user_expressions,
                allow_stdin,
                cell_meta=cell_meta,
                cell_id=cell_id,
            )
            return reply

        engine = self.engine
        self._say_once()
        if engine is None:
            return await run()
        if threading.current_thread() is not threading.main_thread():
            engine.suspect("a subshell")
            return await run()
        wanted = wish(code, (cell_meta or {}).get("tags") or ())
        # of an empty cell IPython does nothing, not even count
        if wanted.apart or silent or not self.recording:
            return await self._unrecorded(engine, code, user_expressions or {}, silent, run, cell_id)
        code, strict = wanted.code, self.strict or wanted.strict
        forced = wanted.forced or cell_id in self.live.afresh
        decision, source, cell = self._decide(engine, code, cell_id, forced=forced, strict=strict)
        if decision.record is not None:
            replayed = self._replayer.replay(
                engine, decision.record, source, cell, user_expressions or {}, store_history
            )
            if replayed is not None:
                reply, report = replayed
                self._note(report, cell_id)
                return reply
            decision = Decision(None, "the store lost its output")
        return await self._record(engine, code, source, cell, decision.reason, run, cell_id)

    def _decide(
        self, engine: Engine, code: str, cell_id: str | None, *, forced: bool, strict: bool
    ) -> tuple[Decision, Source, str]:
        cell = place(cell_id or str(self.shell.execution_count))
        source = self.read(code)
        if self._background:
            # they change things between cells, and did until they ended
            engine.suspect("a background task")
            self._background = {task for task in self._background if not task.done()}
        if forced:
            return Decision(None, "asked to run"), source, cell
        try:
            count = self.shell.execution_count
            numbered = self.results.numbered(count)
            return engine.decide(source, cell, count, strict=strict, numbered=numbered), source, cell
        except Exception as error:
            self.notices.warn(f"records cannot be looked up: {type(error).__name__}: {error}")
            return Decision(None, "records cannot be looked up"), source, cell

    def read(self, code: str) -> Source:
        """A cell's text, understood; what cannot be read may read anything."""
        try:
            return read_source(code, self._transform, context=CONTEXT)
        except Exception as error:
            return Source(code, "", wildcard=f"{type(error).__name__}", error=True)

    def why_not(self) -> str | None:
        """Why cells are not recorded, or not all; None if they are."""
        if self.engine is None:
            return self._why_off or "the kernel is starting"
        if not self.recording:
            return "recording is off"
        if self.tracer is not None and self.tracer.mechanism == "none":
            return f"processes cannot be traced here, so only cells that touch no file are recorded: {self.tracer.reason}"
        return None

    def _transform(self, text: str) -> str:
        """IPython's transformation; it takes a first word for a magic unless a variable has that name, as deferred ones do."""
        namespace, engine = self.shell.user_ns, self.engine
        names = [] if engine is None else engine.slots.deferred(names_in(text))
        stand_ins = [n for n in names if n not in namespace]
        namespace.update(dict.fromkeys(stand_ins))
        try:
            return str(self.shell.transform_cell(text))
        finally:
            for name in stand_ins:
                namespace.pop(name, None)

    def topic(self, kind: str) -> bytes:
        """The iopub topic of a message type."""
        return bytes(self._topic(kind))

    async def _record(
        self,
        engine: Engine,
        code: str,
        source: Source,
        cell: str,
        reason: str,
        run: Any,
        cell_id: str | None,
    ) -> dict[str, Any]:
        """Run a miss and record it."""
        begun = False
        count = self.shell.execution_count
        try:
            recomputed: tuple[int, ...] = ()
            lost = self._bring_results(engine, code) if source.earlier or source.wildcard else []
            try:
                recomputed = engine.prepare(source)
            except CannotRebuild as error:
                lost.append(str(error))
            for line in dict.fromkeys(lost):
                self.notices.warn(line)
            self.notices.of(engine)
            self._flush()
            numbered = self.results.numbered(count)
            engine.begin(source, cell, count, reason, recomputed, numbered)
            begun = True
        except KeyboardInterrupt:
            return self._interrupted()
        except Exception as error:
            self.notices.warn(f"this cell is not recorded: {type(error).__name__}: {error}")
        parent = self.get_parent("shell")["header"]["msg_id"]
        reply: dict[str, Any] = {}
        failure: BaseException | None = None
        tasks = _tasks()
        with self.session.recording(parent, engine.store.put) as recorder:
            try:
                reply = await run(code)
                self.results.executed(self.shell.execution_count - 1)
                self._flush()
            except BaseException as error:
                failure = error
        if begun:
            try:
                with uninterrupted():
                    report = engine.finish(self._outcome(recorder, reply, failure, tasks))
                self._note(report, cell_id)
            except (Exception, KeyboardInterrupt) as error:
                engine.suspect("a cell that could not be observed")
                self.notices.warn(f"this cell is not recorded: {type(error).__name__}: {error}")
        self.notices.of(engine)
        if failure is not None:
            raise failure
        return reply

    def _outcome(
        self,
        recorder: Recorder,
        reply: dict[str, Any],
        failure: BaseException | None,
        tasks: set[Any],
    ) -> Outcome:
        unrepeatable = list(recorder.unrepeatable)
        error = None
        if failure is not None:
            unrepeatable.append(f"it ended with {type(failure).__name__}")
        elif reply.get("status") == "error":
            error = (
                str(reply.get("ename")),
                str(reply.get("evalue")),
                tuple(map(str, reply.get("traceback", ()))),
            )
            if error[0] in ("KeyboardInterrupt", "CancelledError", "SystemExit", "MemoryError"):
                unrepeatable.append(f"it ended with {error[0]}")
        self._background |= {task for task in _tasks() - tasks if not task.done()}
        if self._background:
            unrepeatable.append("a background task runs")
        results = self.shell.user_ns.get("_oh", {})
        count = self.shell.execution_count - 1  # as IPython counts results, with history or without
        result = (results[count],) if count in results and _displayed(recorder) else ()
        return Outcome(
            recorder.shown(), error, tuple(unrepeatable), result, tuple(reply.get("payload") or ())
        )

    async def _unrecorded(
        self,
        engine: Engine,
        code: str,
        expressions: dict[str, str],
        silent: bool,
        run: Any,
        cell_id: str | None,
    ) -> dict[str, Any]:
        """Code that no record is made of: it sees all state, and what it changes is noticed."""
        source = Source(code, "", wildcard="not recorded")
        try:
            text = "\n".join((code, *expressions.values()))
            if wish(code).apart and code.strip() and not expressions:
                return dict(await run())
            source = read_source(text, self._transform, context=CONTEXT) if text.strip() else Source(text, "")
            names = set(names_in(text)) | source.reads if not source.wildcard else set(engine.slots.names())
            try:
                engine.ensure(names)
                engine.settle()
            finally:
                if source.earlier or source.wildcard or any(n.startswith("_") for n in names_in(text)):
                    for line in self._bring_results(engine, text):
                        self.notices.warn(line)
        except KeyboardInterrupt:
            return self._interrupted()
        except Exception as error:
            self.notices.warn(f"earlier state could not be brought back: {error}")
        self.notices.of(engine)
        before = identities(self.shell.user_ns)
        try:
            reply = dict(await run())
            if code.strip() and not silent:
                self.results.executed(self.shell.execution_count - 1)
            return reply
        finally:
            try:
                left = engine.absorb(source, before)
                if code.strip() and not (silent or self.recording):
                    off = Report("executed", "recording is off", not_recorded=("recording is off",))
                    count = self.shell.execution_count - 1
                    self.live.ran(cell_id, self._said(off), Ran(count, {}, left))
            except Exception as error:
                self.notices.warn(f"what changed is not known: {type(error).__name__}: {error}")

    def _bring_results(self, engine: Engine, text: str) -> list[str]:
        """Results of replayed cells that code may ask for; returns what to say of those that cannot be had."""
        try:
            counts = self.results.bring(engine, frozenset(names_in(text)))
        except CannotRebuild as error:
            return [str(error)]
        return [
            f"the result of cell {count} is not stored, and not there: run that cell again to use it"
            for count in counts
        ]

    def _interrupted(self) -> dict[str, Any]:
        content = {
            "ename": "KeyboardInterrupt",
            "evalue": "while earlier state was brought back",
            "traceback": ["KeyboardInterrupt"],
        }
        self.session.send(
            self.iopub_socket, "error", content, self.get_parent("shell"), ident=self.topic("error")
        )
        self.shell.execution_count += 1
        return {
            "status": "error",
            "execution_count": self.shell.execution_count - 1,
            "payload": [],
            "user_expressions": {},
            **content,
        }

    def _run_again(self, record: Record) -> bool:
        """Run a record's cell for its state alone; whether it ended as it did then."""
        runner, self.shell.loop_runner = self.shell.loop_runner, run_nested
        try:
            with self._quiet(), self._standing.kept(text := self._standing.text(record)):
                result = self.shell.run_cell(text, store_history=False, silent=True)
        finally:
            self.shell.loop_runner = runner
        error = result.error_before_exec or result.error_in_exec
        if isinstance(error, KeyboardInterrupt):
            raise error
        return (type(error).__name__ if error is not None else None) == (
            record.error[0] if record.error else None
        )

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Nothing that is written or displayed is sent."""
        self._flush()
        before, self.session.muted = self.session.muted, True
        try:
            yield
        finally:
            self._flush()
            self.session.muted = before

    # -- what Jupyter asks besides ------------------------------------------------------------------------------------

    def finish_metadata(
        self, parent: dict[str, Any], metadata: dict[str, Any], reply_content: dict[str, Any]
    ) -> dict[str, Any]:
        metadata = super().finish_metadata(parent, metadata, reply_content)
        report = self._report.pop(parent.get("header", {}).get("msg_id", ""), None)
        if report is not None:
            metadata["provcrt"] = report
        return metadata

    def do_complete(self, code: str, cursor_pos: int) -> Any:
        if self.engine is not None:
            self._ensure_quietly(wanted_for_completion(self.engine, code, code[:cursor_pos]))
        reply = super().do_complete(code, cursor_pos)
        if self.engine is not None and isinstance(reply, dict):
            return complete(self.engine, reply, code[:cursor_pos])
        return reply

    def do_inspect(self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()) -> Any:
        self._ensure_quietly(names_in(code))
        return super().do_inspect(code, cursor_pos, detail_level, omit_sections)

    async def do_debug_request(self, msg: dict[str, Any]) -> Any:
        if self.engine is not None and msg.get("command") in DEBUGGER:
            self._ensure_quietly(self.engine.slots.names())
            self.engine.suspect("the debugger")
        return await super().do_debug_request(msg)

    def _around_callback(self, kind: str, handler: Any) -> Any:
        def handle(*args: Any, **kwargs: Any) -> Any:
            if self.live.take(kind, args[-1]):
                return None
            engine = self.engine
            if engine is not None:
                self._ensure_quietly(engine.slots.names())
                engine.suspect("a widget's callback")
            return handler(*args, **kwargs)

        return handle

    def _ensure_quietly(self, names: Any) -> None:
        if self.engine is not None and threading.current_thread() is threading.main_thread():
            try:
                self.engine.ensure(names)
            except Exception as error:
                self.engine.notices.append(str(error))

    def do_shutdown(self, restart: bool) -> Any:
        if self.tracer is not None:
            self.tracer.close()
        return super().do_shutdown(restart)

    @property
    def banner(self) -> str:
        """IPython's, whose tip of the day is drawn from the stream that cells draw from: it goes back to where it was."""
        state = random.getstate()
        try:
            return str(super().banner)
        finally:
            random.setstate(state)

    # -- small things -------------------------------------------------------------------------------------------------

    def _note(self, report: Report, cell_id: str | None) -> None:
        said = self._said(report)
        self._report[self.get_parent("shell")["header"]["msg_id"]] = said
        if self.engine is not None:
            execution = self.engine.history[-1]
            self.live.ran(cell_id, said, Ran(execution.count, execution.read, execution.left))

    def _said(self, report: Report) -> dict[str, Any]:
        content = dataclasses.asdict(report)
        content["mechanism"] = self.tracer.mechanism if self.tracer else "none"
        return content

    def _flush(self) -> None:
        """Everything written so far, by children and past Python too, is sent."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.drain() if isinstance(stream, DrainedStream) else stream.flush()
            except Exception:
                continue  # a stream that a user put there may do anything

    def _say_once(self) -> None:
        if self._why_off:
            self.notices.once(f"cells run, but are not recorded: {self._why_off}")
        if self.tracer is not None and self.tracer.mechanism == "none":
            self.notices.once(
                f"processes cannot be traced here, so only cells that touch no file are recorded: {self.tracer.reason}"
            )


def _displayed(recorder: Recorder) -> bool:
    """Whether a cell displayed a result: without history, ``Out`` may have one under its number that is another cell's."""
    return any(message.type == "execute_result" for message in recorder.messages)


def _tasks() -> set[Any]:
    try:
        return set(asyncio.all_tasks())
    except RuntimeError:
        return set()
