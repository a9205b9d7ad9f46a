"""A process that has Jupyter, NumPy and pandas imported and forks a session in a moment.

``python -m differential.shell provcrt|python3`` reads requests from stdin, one JSON document a line, and answers each with one.
Each is a session: a forked child runs the real `ProvcrtKernel` (or ipykernel's kernel), with the real store and under the real
supervisor; only the sockets, the threads that serve them, and the start of Python are left out.
"""

from __future__ import annotations

import asyncio
import builtins
import inspect
import io
import json
import logging
import os
import random
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import ptyprocess.ptyprocess
from ipykernel.ipkernel import IPythonKernel
from IPython.core.history import HistoryManager
from jupyter_client.session import Session

from differential.compare import write
from differential.structure import Surroundings, variables
from provcrt_kernel.kernel.capture import RecordingSession
from provcrt_kernel.kernel.cells import RUN_TAG
from provcrt_kernel.kernel.kernel import ProvcrtKernel
from provcrt_kernel.replay import looker
from provcrt_kernel.replay.files import noise
from provcrt_kernel.replay.looker import Looker
from provcrt_kernel.session.ambience import Ambience
from provcrt_kernel.session.ambient import libraries, plain, standard
from provcrt_kernel.session.slots import Slots
from provcrt_kernel.store import Store
from provcrt_kernel.trace import attach
from provcrt_kernel.trace.process import supervise

#: Seconds that a session may take; then it is killed.
_LIMIT = 120
PROBE = "__look__(globals())"


class Wire:
    """A socket's place: keeps the messages that a session sends."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []

    def send_multipart(self, parts: list[bytes], **_: Any) -> None:
        # … delimiter, signature, header, parent, metadata, content
        at = parts.index(b"<IDS|MSG>")
        self.messages.append((json.loads(parts[at + 2])["msg_type"], json.loads(parts[at + 5])))


class Stream(io.TextIOBase):
    """stdout or stderr: what is written is sent when it is flushed."""

    def __init__(self, kernel: Any, name: str) -> None:
        self._kernel, self._name, self._parts = kernel, name, list[str]()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._parts.append(text)
        return len(text)

    def flush(self) -> None:
        if self._parts:
            content = {"name": self._name, "text": "".join(self._parts)}
            self._parts.clear()
            kernel = self._kernel
            kernel.session.send(kernel.iopub_socket, "stream", content, parent=kernel.get_parent("shell"))


def make(kind: str) -> Any:
    """A kernel of one kind, not yet recording."""
    HistoryManager.enabled = False
    ours = kind == "provcrt"
    # a session that was forked says nothing otherwise
    session = (RecordingSession if ours else Session)(key=b"", username="", check_pid=False)
    kernel = (ProvcrtKernel if ours else IPythonKernel)(
        session=session, iopub_socket=Wire(), log=logging.getLogger("kernel")
    )
    kernel.shell_channel_thread = SimpleNamespace(parent_thread=None)
    kernel.shell.colors = "nocolor"
    sys.stdout = Stream(kernel, "stdout")
    sys.stderr = Stream(kernel, "stderr")
    return kernel


class Driver:
    """Runs the steps of one session in the forked child."""

    def __init__(self, kernel: Any, request: dict[str, Any]) -> None:
        self._kernel, self._request = kernel, request
        self._surroundings = Surroundings()
        self._found: dict[str, Any] = {}
        builtins.__look__ = self._look  # type: ignore[attr-defined]

    def _look(self, namespace: dict[str, Any]) -> None:
        self._found = {
            "variables": variables(namespace, self._request["local"]),
            "surroundings": self._surroundings.now(),
        }

    async def run(self) -> list[dict[str, Any]]:
        answers = []
        for step in self._request["steps"]:
            if step[0] == "run":
                answers.append(await self._cell(step[2], step[1]))
            elif step[0] == "write":
                write(Path(step[1]), step[2])
        answers.append(await self._cell(PROBE, "probe", {"tags": [RUN_TAG]}) | self._found)
        return answers

    async def _cell(self, code: str, cell: str, meta: dict[str, Any] | None = None) -> dict[str, Any]:
        kernel = self._kernel
        wire: Wire = kernel.iopub_socket
        wire.messages.clear()
        message = kernel.session.msg("execute_request", {"code": code, "silent": False})
        kernel.set_parent([b"client"], message)
        kernel.shell.set_parent(message)
        reply = await kernel.do_execute(code, False, True, {}, False, cell_meta=meta or {}, cell_id=cell)
        sys.stdout.flush()
        sys.stderr.flush()
        report = getattr(kernel, "_report", {}).pop(message["header"]["msg_id"], None)
        kept = {k: v for k, v in reply.items() if k not in ("engine_info", "user_expressions")}
        return {"cell": cell, "shown": list(wire.messages), "reply": kept, "report": report}


def session(kernel: Any, kind: str, request: dict[str, Any]) -> None:
    """Be one session: answer in the request's file."""
    signal.alarm(_LIMIT)
    os.chdir(request["folder"])
    sys.path[0] = ""  # as in a kernel that Jupyter starts
    entropy(request["entropy"])
    if kind == "provcrt":
        store = Store.open(Path(request["store"]))
        ignore = [request["store"], request["answer"], request["log"], *noise()]
        kernel.begin_recording(store, attach(ignore=ignore), "", Looker.start())
        if kernel.tracer.mechanism == "none":
            raise RuntimeError(kernel.tracer.reason)
    answers = asyncio.run(Driver(kernel, request).run())
    Path(request["answer"]).write_text(json.dumps(answers))
    if kind == "provcrt":
        kernel.tracer.close()


def entropy(seed: int) -> None:
    """Start the streams that nobody seeds: as from the operating system, but the same on both sides."""
    random.seed(f"entropy {seed}")
    standard._entropy = random.getstate()
    sequence = np.random.SeedSequence((1 << 120) + seed)
    np.random.set_bit_generator(np.random.MT19937(sequence))
    libraries._born = None
    plain.Inexpressible._process = os.urandom(8).hex()


def warm_up(kernel: Any) -> None:
    """Import what the first traceback and the first command import, on both sides and seen by nobody."""
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        kernel.shell.InteractiveTB.structured_traceback(*sys.exc_info())
    kernel.shell.system("true")
    _hasten()
    Ambience(Slots()).capture()
    kernel.shell.user_ns.pop("_exit_code", None)


def _hasten() -> None:
    """Spare each session what takes long and comes out the same every time, on both sides."""
    # each frame of a traceback, and a cell's is in none of the 2,000 modules
    modules_of = inspect.getmodule

    def module_of(found: Any, name: str | None = None) -> ModuleType | None:
        code = found.f_code if isinstance(found, FrameType) else found
        cell = "ipykernel_" in str(getattr(code, "co_filename", ""))
        return None if cell else modules_of(found, name)

    inspect.getmodule = module_of
    # a command's terminal is closed a tenth of a second late
    ptyprocess.ptyprocess.time = SimpleNamespace(**vars(time) | {"sleep": lambda _: time.sleep(0.005)})
    # the packages that are installed
    installed = looker.read_index()
    looker.read_index = lambda: installed


def serve(kind: str) -> None:
    """Answer requests until stdin ends."""
    requests, answers = sys.stdin, sys.stdout
    kernel = make(kind)
    warm_up(kernel)
    for line in requests:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _child(kernel, kind, request)
        _, status = os.waitpid(child, 0)
        answers.write(json.dumps({"status": os.waitstatus_to_exitcode(status)}) + "\n")
        answers.flush()


def _child(kernel: Any, kind: str, request: dict[str, Any]) -> None:
    """The forked child: as far from its parent as a process of its own."""
    status = 1
    try:
        log = os.open(request["log"], os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for number, source in ((0, nothing), (1, log), (2, log)):
            os.dup2(source, number)
        os.environ.update(request["environ"])
        if kind == "provcrt":
            supervise(lambda: _in_process(kernel, kind, request))
        _in_process(kernel, kind, request)
    except SystemExit as end:
        status = int(end.code or 0) if not isinstance(end.code, str) else 1
    except BaseException:
        with suppress(OSError):
            os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def _in_process(kernel: Any, kind: str, request: dict[str, Any]) -> None:
    try:
        session(kernel, kind, request)
    except BaseException:
        os.write(2, traceback.format_exc().encode())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
