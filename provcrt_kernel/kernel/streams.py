"""stdout and stderr of the kernel, so that what was written past Python can be waited for.

ipykernel reads what children and libraries write to descriptors 1 and 2 in a thread. Between its reading and its passing on, the
text is nowhere; a recorder that stops then loses it. Here the thread takes text only under a lock, so `drain` can tell.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import sys
import termios
import threading
import time
from typing import Any

from ipykernel.iostream import OutStream

_CHUNK = 1000


class DrainedStream(OutStream):  # type: ignore[misc]
    """ipykernel's stream, with `drain`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._taking = threading.Lock()
        self._sending = 0
        super().__init__(*arguments, **options)

    def _watch_pipe_fd(self) -> None:
        try:
            while self._fid is not None:
                select.select([self._fid], [], [])
                with self._taking:
                    taken = os.read(self._fid, _CHUNK)
                    if not taken or not self._should_watch:
                        return
                    self.write(taken.decode(errors="replace"))
                    os.write(self._original_stdstream_copy, taken)
        except Exception:
            self._exc = sys.exc_info()

    def _flush(self) -> None:
        self._sending += 1  # no lock: a child that is forked meanwhile would wait for it for ever
        try:
            super()._flush()
        finally:
            self._sending -= 1

    def drain(self, seconds: float = 1.0) -> None:
        """Wait until everything that lies in the pipe has been passed on and sent; at most for `seconds`."""
        deadline = time.monotonic() + seconds
        while self._fid is not None and self._waiting() and time.monotonic() < deadline:
            time.sleep(0.0005)
        with self._taking:
            pass
        while self._sending and time.monotonic() < deadline:
            time.sleep(0.0002)
        with self._buffer_lock:
            nothing = not self._buffers
        if not nothing:
            self.flush()

    def _waiting(self) -> bool:
        count = array.array("i", [0])
        fcntl.ioctl(self._fid, termios.FIONREAD, count)
        return count[0] > 0
