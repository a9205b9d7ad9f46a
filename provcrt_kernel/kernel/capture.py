"""What a cell shows, as it passes: a Jupyter session that can keep the messages of one request, or drop them.

Every output message passes `Session.send`, whichever thread sends it, so this is the one place where outputs are complete.
Chunks of a stream depend on timing and are joined before they are kept; what is large goes to the store as it comes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from jupyter_client.session import Session, extract_header

from provcrt_kernel.replay.record import Shown
from provcrt_kernel.store import StoreError

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


#: Bytes of content from which a message is put into the store at once, so that no cell's output is held in memory as a whole.
_LARGE = 4 << 20


class Recorder:
    """Messages sent on behalf of one request.

    Parameters
    ----------
    keep
        Puts bytes into the store, and returns their digest.
    """

    def __init__(self, parent: str, keep: Callable[[bytes], str]) -> None:
        self.parent = parent
        self.messages: list[Shown] = []
        self.unrepeatable: list[str] = []
        self._keep = keep
        self._lock = threading.Lock()
        # the stream that is being written, chunk by chunk
        self._stream, self._texts, self._length = "", list[str](), 0

    def take(self, kind: str, content: dict[str, Any], metadata: dict[str, Any], buffers: list[Any]) -> None:
        """Keep one message; neighbouring chunks of one stream become one, up to a limit."""
        with self._lock:
            if kind in _LIVE:
                if _LIVE[kind] not in self.unrepeatable:
                    self.unrepeatable.append(_LIVE[kind])
            elif kind == "stream":
                if self._stream != content["name"]:
                    self._end_stream()
                self._stream = content["name"]
                self._texts.append(content["text"])
                self._length += len(content["text"])
                if self._length >= _LARGE:
                    self._end_stream()
            elif kind in OUTPUT:
                self._end_stream()
                self._add(Shown(kind, content, metadata, tuple(bytes(b) for b in buffers)))

    def shown(self) -> tuple[Shown, ...]:
        """The messages so far."""
        with self._lock:
            self._end_stream()
            return tuple(self.messages)

    def _end_stream(self) -> None:
        if self._texts:
            self._add(Shown("stream", {"name": self._stream, "text": "".join(self._texts)}))
        self._stream, self._texts, self._length = "", [], 0

    def _add(self, message: Shown) -> None:
        if _size(message.content) + sum(map(len, message.buffers)) >= _LARGE:
            with suppress(StoreError):
                message = message.aside(self._keep)
        self.messages.append(message)


def _size(value: Any) -> int:
    """Characters in a message's content, roughly."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(_size(v) for v in value.values())
    return sum(map(_size, value)) if isinstance(value, list | tuple) else 8


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
    def recording(self, parent: str, keep: Callable[[bytes], str]) -> Iterator[Recorder]:
        """Keep what is sent on behalf of the request with id `parent`; `keep` puts bytes into the store."""
        self.recorder = Recorder(parent, keep)
        try:
            yield self.recorder
        finally:
            self.recorder = None
