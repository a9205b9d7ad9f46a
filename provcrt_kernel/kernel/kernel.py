"""The kernel: ipykernel's, with each cell looked up before it runs and recorded after.

`do_execute` never raises: without a reply a client would wait for ever. Whatever goes wrong on our side, the cell runs as it
would under plain ipykernel, and a line on stderr says what is off.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import platform
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipykernel
import IPython
from ipykernel.ipkernel import IPythonKernel

from provcrt_kernel.kernel.capture import Recorder, RecordingSession
from provcrt_kernel.kernel.magics import ProvcrtMagics
from provcrt_kernel.kernel.streams import DrainedStream
from provcrt_kernel.replay.cell import Outcome
from provcrt_kernel.replay.engine import CannotReplay, Engine, Report
from provcrt_kernel.replay.looker import Looker
from provcrt_kernel.replay.lookup import Decision
from provcrt_kernel.replay.rebuild import CannotRebuild
from provcrt_kernel.replay.record import FORMAT, Record, Shown
from provcrt_kernel.session.observe import variables
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
#: Bytes up to which a value is loaded for a mere completion.
_LIGHT = 1 << 20
RUN_TAG = "provcrt-run"
_RUN_MAGIC = re.compile(r"\s*%%provcrt\s+run[^\S\n]*\n?")
_OUR_MAGIC = re.compile(r"\s*%provcrt\b[^\n]*\s*\Z")
_NAME = re.compile(r"[^\W\d]\w*")


class ProvcrtKernel(IPythonKernel):  # type: ignore[misc]
    """PROV-CRT Python."""

    implementation = "provcrt"
    session: RecordingSession

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.engine: Engine | None = None
        self.tracer: Tracer | None = None
        self.recording = True
        self._report: dict[str, dict[str, Any]] = {}
        self._said: set[str] = set()
        self._why_off = ""
        self._background: set[Any] = set()
        self._latest: deque[tuple[int, tuple[Any, ...]]] = deque(maxlen=3)

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
        if store is None:
            return
        try:
            thrifty = os.environ.get("PROVCRT_COST_POLICY", "on") != "off"
            namespace, hidden = self.shell.user_ns, dict(self.shell.user_ns_hidden)
            self.engine = Engine(
                store, tracer, namespace, hidden, self._run_again, beside=beside, thrifty=thrifty
            )
            self.engine.start()
        except Exception as error:
            self.engine, self._why_off = None, f"{type(error).__name__}: {error}"
        for kind in ("comm_msg", "comm_open", "comm_close"):
            handler = self.shell_handlers[kind]
            self.shell_handlers[kind] = self._around_callback(handler)

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
        # of an empty cell IPython does nothing, not even count
        if not code.strip() or silent or not self.recording or _OUR_MAGIC.match(code):
            return await self._unrecorded(engine, code, user_expressions or {}, silent, run)
        forced = RUN_TAG in ((cell_meta or {}).get("tags") or ())
        if match := _RUN_MAGIC.match(code):
            forced, code = True, code[match.end() :]
        decision, source, cell = self._decide(engine, code, cell_id, forced)
        if decision.record is not None:
            reply = self._replay(engine, decision.record, code, cell, user_expressions or {}, store_history)
            if reply is not None:
                return reply
            decision = Decision(None, "the store lost its output")
        return await self._record(engine, code, source, cell, decision.reason, run)

    def _decide(
        self, engine: Engine, code: str, cell_id: str | None, forced: bool
    ) -> tuple[Decision, Source, str]:
        cell = f"{os.environ.get('JPY_SESSION_NAME') or os.getcwd()}#{cell_id or self.shell.execution_count}"
        try:
            source = read_source(code, self._transform, context=CONTEXT)
        except Exception as error:
            source = Source(code, "", wildcard=f"{type(error).__name__}", error=True)
        if self._background:
            # they change things between cells, and did until they ended
            engine.suspect("a background task")
            self._background = {task for task in self._background if not task.done()}
        if forced:
            return Decision(None, "asked to run"), source, cell
        try:
            return engine.decide(source, cell, self.shell.execution_count), source, cell
        except Exception as error:
            self._warn(f"records cannot be looked up: {type(error).__name__}: {error}")
            return Decision(None, "records cannot be looked up"), source, cell

    def _transform(self, text: str) -> str:
        """IPython's transformation; it takes a first word for a magic unless a variable has that name, as deferred ones do."""
        namespace, engine = self.shell.user_ns, self.engine
        names = [] if engine is None else engine.slots.deferred(_names(text))
        stand_ins = [n for n in names if n not in namespace]
        namespace.update(dict.fromkeys(stand_ins))
        try:
            return str(self.shell.transform_cell(text))
        finally:
            for name in stand_ins:
                namespace.pop(name, None)

    def _replay(
        self, engine: Engine, record: Record, code: str, cell: str, expressions: dict[str, str], history: bool
    ) -> dict[str, Any] | None:
        """Show a hit; None if its output is lost after all."""
        shell = self.shell
        try:
            messages = engine.shown(record)
            if messages is None:
                return None
            count = shell.execution_count
            # without history the count stays, and the cell goes by the number of the one before
            number = count if history else count - 1
            with _uninterrupted():
                report = engine.replay(record, cell, number)
        except CannotReplay as error:
            self._warn(f"{error}; the cell runs")
            return None
        except Exception as error:
            engine.suspect("a record that was replayed in part")
            self._warn(f"a record cannot be replayed: {type(error).__name__}: {error}; the cell runs")
            return None
        self._say_notices(engine)
        try:
            if history:
                shell.history_manager.store_inputs(count, code, code)
            for message in messages:
                self._send(message, number)
                if message.type == "execute_result":
                    self._note_result(number, replayed=True)
                    text = dict(message.content["data"]).get("text/plain")  # type: ignore[call-overload]
                    shell.history_manager.output_hist_reprs[count] = text
            if history:
                shell.history_manager.store_output(count)
                shell.execution_count += 1
            self._note(report)
            reply: dict[str, Any] = {
                "status": "ok",
                "execution_count": number,
                "payload": list(record.payload),
                "user_expressions": {},
            }
            if record.error is not None:
                name, value, traceback = record.error
                reply |= {"status": "error", "ename": name, "evalue": value, "traceback": list(traceback)}
            elif expressions:
                engine.ensure(_names(" ".join(expressions.values())))
                reply["user_expressions"] = shell.user_expressions(expressions)
        except (Exception, KeyboardInterrupt) as error:
            self._warn(f"a replayed cell may be shown incompletely: {type(error).__name__}: {error}")
            reply = {"status": "ok", "execution_count": count, "payload": [], "user_expressions": {}}
        return reply

    def _send(self, message: Shown, count: int) -> None:
        content = dict(message.content)
        if message.type == "execute_result":
            content["execution_count"] = count
        self.session.send(
            self.iopub_socket,
            message.type,
            content,
            self.get_parent("shell"),
            ident=self.topic(message.type),
            buffers=list(message.buffers) or None,
            metadata=dict(message.metadata),
        )

    def topic(self, kind: str) -> bytes:
        """The iopub topic of a message type."""
        return bytes(self._topic(kind))

    async def _record(
        self, engine: Engine, code: str, source: Source, cell: str, reason: str, run: Any
    ) -> dict[str, Any]:
        """Run a miss and record it."""
        begun = False
        count = self.shell.execution_count
        try:
            recomputed: tuple[int, ...] = ()
            try:
                if source.earlier:
                    self._bring_results(engine)
                recomputed = engine.prepare(source)
            except CannotRebuild as error:
                self._warn(str(error))
            self._say_notices(engine)
            self._flush()
            engine.begin(source, cell, count, reason, recomputed)
            begun = True
        except KeyboardInterrupt:
            return self._interrupted()
        except Exception as error:
            self._warn(f"this cell is not recorded: {type(error).__name__}: {error}")
        parent = self.get_parent("shell")["header"]["msg_id"]
        reply: dict[str, Any] = {}
        failure: BaseException | None = None
        tasks = _tasks()
        with self.session.recording(parent) as recorder:
            try:
                reply = await run(code)
                self._note_result(count)
                self._flush()
            except BaseException as error:
                failure = error
        if begun:
            try:
                with _uninterrupted():
                    report = engine.finish(self._outcome(recorder, reply, failure, tasks, count))
                self._note(report)
            except (Exception, KeyboardInterrupt) as error:
                engine.suspect("a cell that could not be observed")
                self._warn(f"this cell is not recorded: {type(error).__name__}: {error}")
        self._say_notices(engine)
        if failure is not None:
            raise failure
        return reply

    def _outcome(
        self,
        recorder: Recorder,
        reply: dict[str, Any],
        failure: BaseException | None,
        tasks: set[Any],
        count: int,
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
        result = (results[count],) if count in results else ()
        return Outcome(
            recorder.shown(), error, tuple(unrepeatable), result, tuple(reply.get("payload") or ())
        )

    async def _unrecorded(
        self, engine: Engine, code: str, expressions: dict[str, str], silent: bool, run: Any
    ) -> dict[str, Any]:
        """Code that no record is made of: it sees all state, and what it changes is noticed."""
        source = Source(code, "", wildcard="not recorded")
        try:
            text = "\n".join((code, *expressions.values()))
            if _OUR_MAGIC.match(code) and not expressions:
                return dict(await run())
            source = read_source(text, self._transform, context=CONTEXT) if text.strip() else Source(text, "")
            if source.earlier or source.wildcard or any(n.startswith("_") for n in _names(text)):
                self._bring_results(engine)
            names = set(_names(text)) | source.reads if not source.wildcard else set(engine.slots.names())
            engine.ensure(names)
        except KeyboardInterrupt:
            return self._interrupted()
        except Exception as error:
            self._warn(f"earlier state could not be brought back: {error}")
        self._say_notices(engine)
        before = variables(self.shell.user_ns, engine.hidden)
        try:
            count = self.shell.execution_count
            reply = dict(await run())
            if code.strip() and not silent:
                self._note_result(count)
            return reply
        finally:
            try:
                engine.absorb(source, before)
            except Exception as error:
                self._warn(f"what changed is not known: {type(error).__name__}: {error}")

    def _bring_results(self, engine: Engine) -> None:
        """Results of replayed cells come to ``Out``, ``_n`` and ``_``, in the order of their cells."""
        found = engine.results()
        namespace, hook = self.shell.user_ns, self.shell.displayhook
        known = namespace["_oh"]
        for key, value in found.items():
            known[key] = namespace[f"_{key}"] = value
        for name, (key, value) in zip(("_", "__", "___"), reversed(self._latest), strict=False):
            if value or key in known:
                setattr(hook, name, value[0] if value else known[key])
                namespace[name] = getattr(hook, name)

    def _note_result(self, key: int, *, replayed: bool = False) -> None:
        """A cell displayed a result: it is the latest, loaded or not."""
        last = self.shell.last_execution_result
        if replayed:
            self._latest.append((key, ()))
        elif last is not None and last.result is not None:
            self._latest.append((key, (last.result,)))

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
        """Run a record's text for its state alone; whether it ended as it did then."""
        self._flush()
        self.session.muted = True
        try:
            result = self.shell.run_cell(record.text, store_history=False, silent=True)
            error = result.error_before_exec or result.error_in_exec
            return (type(error).__name__ if error is not None else None) == (
                record.error[0] if record.error else None
            )
        finally:
            self._flush()
            self.session.muted = False

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
        self._ensure_quietly(re.findall(r"([^\W\d]\w*)\s*[.\[(]", code))
        self._ensure_quietly(self._light_names(code[:cursor_pos]))
        reply = super().do_complete(code, cursor_pos)
        engine = self.engine
        if engine is not None and isinstance(reply, dict):
            prefix = re.search(r"(?<![\w.])[^\W\d]\w*\Z", code[:cursor_pos])
            if prefix:
                missing = [
                    n for n in engine.slots.deferred(engine.slots.names()) if n.startswith(prefix.group())
                ]
                missing = [n for n in missing if n not in reply["matches"]]
                if missing and (not reply["matches"] or reply["cursor_start"] == prefix.start()):
                    reply["matches"] = [*reply["matches"], *missing]
                    reply["cursor_start"], reply["cursor_end"] = prefix.start(), cursor_pos
        return reply

    def _light_names(self, code: str) -> list[str]:
        """Deferred names that the word before the cursor may become and that are quickly loaded."""
        word, engine = re.search(r"(?<![\w.])[^\W\d]\w*\Z", code), self.engine
        if word is None or engine is None:
            return []
        names = [n for n in engine.slots.deferred(engine.slots.names()) if n.startswith(word.group())]
        return [n for n in names if (s := engine.slots.get(n)) and s.state.kept and s.state.size < _LIGHT]

    def do_inspect(self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()) -> Any:
        self._ensure_quietly(_names(code))
        return super().do_inspect(code, cursor_pos, detail_level, omit_sections)

    async def do_debug_request(self, msg: dict[str, Any]) -> Any:
        if self.engine is not None and msg.get("command") in (
            "evaluate",
            "variables",
            "inspectVariables",
            "richInspectVariables",
            "setVariable",
        ):
            self._ensure_quietly(self.engine.slots.names())
            self.engine.suspect("the debugger")
        return await super().do_debug_request(msg)

    def _around_callback(self, handler: Any) -> Any:
        def handle(*args: Any, **kwargs: Any) -> Any:
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

    # -- small things -------------------------------------------------------------------------------------------------

    def _note(self, report: Report) -> None:
        content = dataclasses.asdict(report)
        content["mechanism"] = self.tracer.mechanism if self.tracer else "none"
        self._report[self.get_parent("shell")["header"]["msg_id"]] = content

    def _flush(self) -> None:
        """Everything written so far, by children and past Python too, is sent."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.drain() if isinstance(stream, DrainedStream) else stream.flush()
            except Exception:
                continue  # a stream that a user put there may do anything

    def _warn(self, line: str) -> None:
        print(f"provcrt: {line}", file=sys.stderr, flush=True)

    def _say_notices(self, engine: Engine) -> None:
        while engine.notices:
            line = engine.notices.pop(0)
            if line not in self._said:
                self._said.add(line)
                self._warn(line)
        while engine.store.damaged:
            self._warn(engine.store.damaged.pop(0))

    def _say_once(self) -> None:
        if self._why_off and self._why_off not in self._said:
            self._said.add(self._why_off)
            self._warn(f"cells run, but are not recorded: {self._why_off}")
        if self.tracer is not None and self.tracer.mechanism == "none" and "none" not in self._said:
            self._said.add("none")
            self._warn(
                f"processes cannot be traced here, so only cells that touch no file are recorded: {self.tracer.reason}"
            )


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold SIGINT back while the tables are in between; it arrives when they are whole."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(_NAME.findall(text)))


def _tasks() -> set[Any]:
    try:
        return set(asyncio.all_tasks())
    except RuntimeError:
        return set()
