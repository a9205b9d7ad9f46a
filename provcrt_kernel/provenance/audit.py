"""What one run of a command did to files, as it is kept: each path with its content before and after.

A span tells what was asked for and when; an audit adds the contents, and leaves out what was not there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec

from provcrt_kernel.trace import Endpoint, Process

Kind = Literal["file", "dir", "link", "other"]
T = TypeVar("T")


class Touched(msgspec.Struct, frozen=True, omit_defaults=True):
    """One path that a run touched.

    Attributes
    ----------
    path : str
        Absolute, every directory on the way resolved.
    kind : {"file", "dir", "link", "other"}
        What it was before the run, or what the run made of it.
    before, after : str or None
        Digest of a file's content before and after the run, target of a link; None where it was not there, or
        nobody knows.
    was, is_there : bool
        Whether it was there before, and is after.
    read, executed, listed, written, removed : bool
        As `trace.Access` has them.
    size, mode : int
        Bytes; permission bits. Of what was there before, else of what is now.
    mtime_ns : int
        When it was last changed before the run, in nanoseconds since the epoch.
    readers, writers : tuple of int
        Places in `Audit.processes`: who read or executed it, what the run itself wrote included, and who changed it.
        Whose standard streams were the file is one of them; what else goes through pipes and descriptors is not told.
    """

    path: str
    kind: Kind
    before: str | None = None
    after: str | None = None
    was: bool = False
    is_there: bool = False
    read: bool = False
    executed: bool = False
    listed: bool = False
    written: bool = False
    removed: bool = False
    size: int = 0
    mode: int = 0
    mtime_ns: int = 0
    readers: tuple[int, ...] = ()
    writers: tuple[int, ...] = ()


class Audit(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run did.

    Attributes
    ----------
    files : tuple of Touched
        Sorted by path.
    processes : tuple of Process
        In the order of their start.
    endpoints : tuple of Endpoint
        Whom it talked to.
    entropy : int
        How often it asked for random bytes.
    problems : tuple of str
        Why something may be missing, a line each.
    late : tuple of str
        Processes that outlived the command.
    """

    files: tuple[Touched, ...] = ()
    processes: tuple[Process, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    entropy: int = 0
    problems: tuple[str, ...] = ()
    late: tuple[str, ...] = ()

    @property
    def network(self) -> tuple[Endpoint, ...]:
        """The endpoints on other machines."""
        return tuple(
            each
            for each in self.endpoints
            if each.family.startswith("inet")
            and not each.own
            and not each.address.startswith("127.")
            and each.address not in ("::1", "0.0.0.0", "::")
        )


def pack(value: msgspec.Struct) -> bytes:
    """Return a struct as msgpack behind one letter, names that are not UTF-8 included; see `unpack`."""
    try:
        return b"U" + msgspec.msgpack.encode(value)
    except UnicodeEncodeError:  # lone surrogates: carry the bytes of each text as Latin-1
        plain = msgspec.to_builtins(value)
        return b"L" + msgspec.msgpack.encode(_texts(plain, lambda text: os.fsencode(text).decode("latin-1")))


def unpack(data: bytes, kind: type[T]) -> T:
    """Return the struct that `pack` took.

    Raises
    ------
    msgspec.MsgspecError, UnicodeError
        Where the bytes are none of `kind`.
    """
    if data[:1] == b"U":
        return msgspec.msgpack.decode(data[1:], type=kind)
    plain = msgspec.msgpack.decode(data[1:])
    return msgspec.convert(_texts(plain, lambda text: os.fsdecode(text.encode("latin-1"))), kind)


def _texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {_texts(key, change): _texts(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(item, change) for item in value]
    return value
