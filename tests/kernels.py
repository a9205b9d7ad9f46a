"""Real kernels for tests: plain ipykernel and ours, started by their kernelspecs, spoken to in messages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

PLAIN, OURS = "python3", "provcrt"
KINDS = (PLAIN, OURS)

Message = dict[str, Any]


def install_kernelspecs(prefix: Path) -> Path:
    """Install both kernelspecs below a prefix by their own installers; returns the kernelspecs' folder."""
    for package in ("ipykernel", "provcrt_kernel"):
        command = [sys.executable, "-m", package, "install", "--prefix", str(prefix)]
        subprocess.run(command, check=True, capture_output=True)
    return prefix / "share" / "jupyter" / "kernels"


@dataclass
class Exchange:
    """One request, its reply, and what the kernel published for it, from busy to idle."""

    reply: Message
    published: list[Message]

    @property
    def content(self) -> Message:
        return self.reply["content"]

    @property
    def report(self) -> Message | None:
        """What our kernel says that it did."""
        return self.reply["metadata"].get("provcrt")

    def of(self, *kinds: str) -> list[Message]:
        """Contents of the published messages of some types."""
        return [message["content"] for message in self.published if message["msg_type"] in kinds]

    def text(self, stream: str = "stdout") -> str:
        return "".join(part["text"] for part in self.of("stream") if part["name"] == stream)

    @property
    def result(self) -> str | None:
        """The text of the execute_result."""
        results = self.of("execute_result")
        return results[0]["data"]["text/plain"] if results else None


@dataclass
class Kernel:
    """A running kernel and one client."""

    name: str
    manager: KernelManager
    client: BlockingKernelClient
    folder: Path
    token: str
    timeout: float = 60
    backlog: list[Message] = field(default_factory=list)

    def send(self, kind: str, content: Message, *, channel: str = "shell", **header: Any) -> str:
        """Send a request without waiting; returns its id."""
        message = self.client.session.msg(kind, content)
        extra = {name: header.pop(name) for name in ("metadata", "buffers") if name in header}
        message["metadata"].update(extra.get("metadata", {}))
        message["header"].update(header)
        socket = getattr(self.client, f"{channel}_channel").socket
        self.client.session.send(socket, message, buffers=extra.get("buffers"))
        return message["header"]["msg_id"]

    def request(
        self, kind: str, content: Message | None = None, *, answers: Iterable[str] = (), **options: Any
    ) -> Exchange:
        """Send a request, answer what it asks on stdin, and wait for its reply and for idle."""
        channel = options.get("channel", "shell")
        identity = self.send(kind, content or {}, **options)
        return self.finish(identity, channel=channel, answers=answers)

    def execute(self, code: str, *, answers: Iterable[str] = (), **options: Any) -> Exchange:
        return self.request("execute_request", self.cell(code, **options), answers=answers)

    @staticmethod
    def cell(code: str, **options: Any) -> Message:
        """The content of an execute_request."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": True,
            "stop_on_error": True,
        }
        return content | options

    def finish(self, identity: str, *, channel: str = "shell", answers: Iterable[str] = ()) -> Exchange:
        """Wait for a request's reply and for its idle."""
        waiting = iter(answers)
        published: list[Message] = []
        reply: Message | None = None
        deadline = time.monotonic() + self.timeout
        while reply is None or not is_idle(published):
            assert time.monotonic() < deadline, (
                f"{self.name}: no {'idle' if reply else 'reply'} after {self.timeout} s: {published}"
            )
            assert self.manager.is_alive() or channel == "control", f"{self.name}: the kernel is gone"
            published += self.published(identity, wait=0.05 if reply is None else 1)
            if reply is None:
                reply = self.take_reply(identity, channel)
            if self.client.stdin_channel.msg_ready():
                question = self.client.stdin_channel.get_msg(timeout=1)
                assert question["parent_header"]["msg_id"] == identity
                self.client.input(next(waiting))
                published.append(question)
        return Exchange(reply, published)

    def published(self, identity: str, *, wait: float) -> list[Message]:
        """What has come on iopub for one request; other messages stay in the backlog."""
        try:
            self.backlog.append(self.client.iopub_channel.get_msg(timeout=wait))
            while self.client.iopub_channel.msg_ready():
                self.backlog.append(self.client.iopub_channel.get_msg(timeout=1))
        except Empty:
            pass
        mine = [message for message in self.backlog if message["parent_header"].get("msg_id") == identity]
        self.backlog = [
            message for message in self.backlog if message["parent_header"].get("msg_id") != identity
        ]
        return mine

    def take_reply(self, identity: str, channel: str = "shell") -> Message | None:
        source = getattr(self.client, f"{channel}_channel")
        while source.msg_ready():
            message = source.get_msg(timeout=1)
            if message["parent_header"].get("msg_id") == identity:
                return message
            self.replies[message["parent_header"]["msg_id"]] = message
        return self.replies.pop(identity, None)

    @property
    def replies(self) -> dict[str, Message]:
        return self.__dict__.setdefault("_replies", {})

    def wait_for(self, identity: str | None, holds: Callable[[Message], bool]) -> Message:
        """Wait until something is published (for a request, or at all), leaving everything for `finish`."""
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            for message in self.backlog:
                if identity in (None, message["parent_header"].get("msg_id")) and holds(message):
                    return message
            with suppress(Empty):
                self.backlog.append(self.client.iopub_channel.get_msg(timeout=0.2))
        raise AssertionError(f"{self.name}: did not come within {self.timeout} s; there was {self.backlog}")

    def wait_for_text(self, identity: str, text: str) -> None:
        self.wait_for(identity, lambda message: text in message["content"].get("text", ""))

    def restart(self) -> None:
        self.manager.restart_kernel()
        self.client.wait_for_ready(timeout=self.timeout)
        self.backlog.clear()

    def processes(self) -> list[int]:
        """Every process that was started for this kernel, whoever its parent is now."""
        return processes_with("PROVCRT_TEST_KERNEL", self.token)


def is_idle(published: list[Message]) -> bool:
    return any(
        message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
        for message in published
    )


def processes_with(variable: str, value: str) -> list[int]:
    """Processes that live (not zombies) and have a variable in the environment they were started with."""
    found = []
    wanted = f"{variable}={value}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@contextmanager
def running(
    name: str,
    specs: Path,
    folder: Path,
    *,
    store: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Kernel]:
    """Start a kernel in a folder, with a store and an IPython folder of its own."""
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex
    variables = os.environ | {
        "PROVCRT_STORE": str(store or folder / "store"),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "PROVCRT_TEST_KERNEL": token,
        "PYTHONHASHSEED": "0",
    }
    # a module edited twice in one second is stale for Python itself, by its compiled file
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    variables |= environment or {}
    variables.pop("PYTEST_CURRENT_TEST", None)  # it makes ipykernel leave descriptors 1 and 2 alone
    # ports may be taken between choosing and binding them, names of sockets cannot; a socket's path must be short
    sockets = tempfile.mkdtemp(prefix="provcrt-", dir="/tmp")
    manager = KernelManager(
        kernel_name=name,
        connection_file=str(folder / f"connection-{token}.json"),
        transport="ipc",
        ip=f"{sockets}/socket",
    )
    manager.kernel_spec_manager = KernelSpecManager(kernel_dirs=[str(specs)], ensure_native_kernel=False)
    manager.start_kernel(cwd=str(work), env=variables)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield Kernel(name, manager, client, work, token)
    finally:
        client.stop_channels()
        if manager.is_alive():
            manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
        shutil.rmtree(sockets, ignore_errors=True)


#: What differs between two runs of the same cell on any kernel.
_NOISE = [
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"0x[0-9a-f]{6,}"), "0x…"),
    (re.compile(r"(?:/[\w.-]+)*/ipykernel_\d+/\d+\.py"), "<cell>"),
    (re.compile(r"(?<=[ :>])\d+(\.\d+)?(e[+-]?\d+)?\s*(ns|μs|µs|ms|s)\b"), "<time>"),
    (re.compile(r"(?<![0-9a-f])[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}(?![0-9a-f])"), "<id>"),
    (re.compile(r"<id>_\d+_\d+"), "<id>"),  # of messages, counted by client and kernel
    (re.compile(r"^provcrt: .*\n", re.MULTILINE), ""),  # what our kernel has to say of itself, on stderr
]


def plain_text(text: str, folder: Path) -> str:
    """Text without colours, addresses, times and the kernel's own folder."""
    text = text.replace(str(folder), "<folder>")
    for pattern, replacement in _NOISE:
        text = pattern.sub(replacement, text)
    return text


def normalised(value: Any, folder: Path) -> Any:
    """A message's content without what differs from run to run."""
    if isinstance(value, str):
        return plain_text(value, folder)
    if isinstance(value, dict):
        return {key: normalised(item, folder) for key, item in value.items() if key not in _VOLATILE}
    if isinstance(value, list | tuple):
        return [normalised(item, folder) for item in value]
    return value


_VOLATILE = {"pid", "comm_id", "model_id", "engine_info"}


def transcript(exchange: Exchange, folder: Path) -> list[Any]:
    """What a client saw of one request: the sequence of types and contents, then the reply.

    Streams are joined up to the next other message, as clients do: their chunks depend on timing. The cell's
    own number is written as ``n``, so that one wrong count is one difference and not a hundred.
    """
    count = exchange.content.get("execution_count")
    steps: list[Any] = []
    streams: dict[str, str] = {}

    def close() -> None:
        texts = {name: plain_text(text, folder) for name, text in sorted(streams.items())}
        steps.extend(["stream", name, text] for name, text in texts.items() if text)
        streams.clear()

    for message in exchange.published:
        content = message["content"]
        if message["msg_type"] == "stream":
            streams[content["name"]] = streams.get(content["name"], "") + content["text"]
            continue
        close()
        steps.append([message["msg_type"], normalised(content, folder), len(message["buffers"])])
        if message["msg_type"] == "comm_open":  # the parts of a widget are opened in the order of a set
            first = len(steps) - 1
            while first and steps[first - 1][0] == "comm_open":
                first -= 1
            steps[first:] = sorted(steps[first:], key=json.dumps)
    close()
    reply = exchange.reply
    steps.append([reply["msg_type"], normalised(reply["content"], folder)])
    text = json.dumps(steps)
    if count is not None:
        text = text.replace(f'"execution_count": {count}', '"execution_count": "n"')
        text = re.sub(rf"\bIn\s*\[{count}\]", "In [n]", text)
    return json.loads(text)
