"""What a cell shows, as it passes: a Jupyter session that can keep the messages of one request, or drop them.

Every output message passes `Session.send`, whichever thread sends it, so this is the one place where outputs are complete.
Chunks of a stream depend on timing and are joined before they are kept.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from jupyter_client.session import Session, extract_header

from provcrt_kernel.replay.record import Shown

#: Messages that are a cell's output.
OUTPUT = frozenset(
    {"stream", "display_data", "update_display_data", "clear_output", "execute_result", "error"}
)
#: Messages that make a cell unrepeatable, and why.
_LIVE = {
    "comm_open": "its widget needs a live model",
    "comm_msg": "its widget needs a live model",
    "input_request": "it asks for input",
}


class Recorder:
    """Messages sent on behalf of one request."""

    def __init__(self, parent: str) -> None:
        self.parent = parent
        self.messages: list[Shown] = []
        self.unrepeatable: list[str] = []
        self._lock = threading.Lock()

    def take(self, kind: str, content: dict[str, Any], metadata: dict[str, Any], buffers: list[Any]) -> None:
        """Keep one message."""
        with self._lock:
            if kind in _LIVE:
                if _LIVE[kind] not in self.unrepeatable:
                    self.unrepeatable.append(_LIVE[kind])
            elif kind in OUTPUT:
                self.messages.append(Shown(kind, content, metadata, tuple(bytes(b) for b in buffers)))

    def shown(self) -> tuple[Shown, ...]:
        """The messages, neighbouring chunks of one stream joined."""
        joined: list[Shown] = []
        texts: list[str] = []
        for message in [*self.messages, Shown("", {})]:
            name = message.content.get("name") if message.type == "stream" else None
            if texts and (joined[-1].content["name"] != name):
                joined[-1] = msgspec.structs.replace(
                    joined[-1], content={"name": joined[-1].content["name"], "text": "".join(texts)}
                )
                texts = []
            if name is not None and texts:
                texts.append(str(message.content["text"]))
                continue
            if name is not None:
                texts = [str(message.content["text"])]
            joined.append(message)
        return tuple(joined[:-1])


class RecordingSession(Session):  # type: ignore[misc]
    """The kernel's session: hands what it sends to a recorder, or drops outputs while state is brought back."""

    recorder: Recorder | None = None
    muted: bool = False

    def send(
        self,
        stream: Any,
        msg_or_type: Any,
        content: Any = None,
        parent: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        if isinstance(msg_or_type, str):
            kind, said, above = msg_or_type, content, parent
        else:
            kind, said, above = (
                msg_or_type.get("msg_type") or msg_or_type["header"]["msg_type"],
                msg_or_type["content"],
                msg_or_type["parent_header"],
            )
        if self.muted and kind in OUTPUT:
            return None
        recorder = self.recorder
        if recorder is not None and (kind in OUTPUT or kind in _LIVE):
            header = extract_header(above) if above else {}
            if header.get("msg_id") == recorder.parent or kind == "input_request":
                metadata = (
                    kwargs.get("metadata")
                    or (msg_or_type.get("metadata") if not isinstance(msg_or_type, str) else None)
                    or {}
                )
                buffers = (
                    kwargs.get("buffers")
                    or (msg_or_type.get("buffers") if not isinstance(msg_or_type, str) else None)
                    or []
                )
                recorder.take(kind, dict(said or {}), dict(metadata), list(buffers))
        return super().send(stream, msg_or_type, content, parent, *args, **kwargs)

    @contextmanager
    def recording(self, parent: str) -> Iterator[Recorder]:
        """Keep what is sent on behalf of the request with id `parent`."""
        self.recorder = Recorder(parent)
        try:
            yield self.recorder
        finally:
            self.recorder = None
