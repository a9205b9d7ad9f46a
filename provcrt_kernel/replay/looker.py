"""A process beside the kernel that looks at thousands of files without being traced.

To replay an import is to look whether a few thousand files of installed packages are still what they were. In the kernel
each look is a trapped call; this process is forked before tracing begins, so there it takes a microsecond. While IPython
starts it reads what is installed, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
from collections.abc import Iterable

import msgspec

from provcrt_kernel.provenance.packages import Index, read_index

#: Path; size in bytes or one of the two below; mtime_ns, 0 where it does not count.
Look = tuple[str, int, int]
ABSENT, DIRECTORY = -1, -2
_LENGTH = struct.Struct("=Q")
_INSTALLED = b""  # a request that is no list of looks


def differs(looks: Iterable[Look]) -> str | None:
    """The first file that is not as it was, in words; None if all are."""
    for path, size, mtime_ns in looks:
        try:
            status = os.stat(path) if size == DIRECTORY else os.lstat(path)
        except OSError:
            if size == ABSENT:
                continue
            return f"{path} is gone"
        if size == ABSENT:
            return f"{path} is there now"
        if size == DIRECTORY:
            if mtime_ns and status.st_mtime_ns != mtime_ns:
                return f"the names in {path} changed"
        elif (status.st_size, status.st_mtime_ns) != (size, mtime_ns):
            return f"{path} changed"
    return None


class Looker:
    """The process. `start` it before tracing begins and before there are threads."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers

    @classmethod
    def start(cls) -> Looker:
        """Fork the process; it ends with this one."""
        their_requests, our_requests = os.pipe()
        our_answers, their_answers = os.pipe()
        between = os.fork()
        if between == 0:
            # a grandchild: the kernel ends its children one by one, and waits for each
            try:
                if os.fork() == 0:
                    _keep_open(their_requests, their_answers)
                    signal.signal(signal.SIGINT, signal.SIG_IGN)
                    _serve(their_requests, their_answers)
            finally:
                os._exit(0)
        os.waitpid(between, 0)
        os.close(their_requests)
        os.close(their_answers)
        return cls(our_requests, our_answers)

    def differs(self, looks: bytes) -> str | None:
        """`differs` of msgpack'd looks; looks by itself if the process is gone."""
        try:
            _write(self._requests, looks)
            answer = _read(self._answers)
        except OSError:
            answer = None
        if answer is None:
            return differs(msgspec.msgpack.decode(looks, type=list[Look]))
        return answer.decode("utf-8", "surrogateescape") or None

    def installed(self) -> Index:
        """What was installed when the process started; read anew if it is gone."""
        try:
            _write(self._requests, _INSTALLED)
            answer = _read(self._answers)
        except OSError:
            answer = None
        return read_index() if answer is None else msgspec.msgpack.decode(answer, type=Index)


def _keep_open(*descriptors: int) -> None:
    """Let go of every other descriptor: whoever waits for this process's parent to close one shall not wait for us."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor not in descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _serve(requests: int, answers: int) -> None:
    installed = msgspec.msgpack.encode(read_index())
    while (looks := _read(requests)) is not None:
        if looks == _INSTALLED:
            _write(answers, installed)
            continue
        found = differs(msgspec.msgpack.decode(looks, type=list[Look])) or ""
        _write(answers, found.encode("utf-8", "surrogateescape"))


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(_LENGTH.pack(len(data)) + data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read(descriptor: int) -> bytes | None:
    """One message; None at the end."""
    head = _exactly(descriptor, _LENGTH.size)
    return None if head is None else _exactly(descriptor, _LENGTH.unpack(head)[0])


def _exactly(descriptor: int, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(descriptor, size - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)
