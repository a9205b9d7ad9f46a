"""What a span saw, as plain data: accesses, processes, endpoints.

Promise: every struct here is immutable, carries no behaviour, and survives `encode` and `decode` unchanged,
names that are not UTF-8 included (they are `str` with surrogate escapes, as everywhere in Python).
"""

from __future__ import annotations

import os
import stat as st
import struct
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from provcrt_kernel.trace.paths import Seen

Kind = Literal["file", "dir", "link", "other"]


class Stat(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The identity of a file as it was first seen. Of a directory only `kind` counts, so the rest is 0.

    Attributes
    ----------
    kind : {"file", "dir", "link", "other"}
    size : int
        Bytes.
    mtime_ns, ctime_ns : int
        Nanoseconds since the epoch.
    ino, dev, mode : int
        As in `os.stat_result`.
    """

    kind: Kind
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    ino: int = 0
    dev: int = 0
    mode: int = 0

    @classmethod
    def of(cls, raw: Seen) -> Stat:
        """Return the signature of what was seen."""
        mode = raw.st_mode
        if st.S_ISDIR(mode):
            return cls("dir")
        kind: Kind = "file" if st.S_ISREG(mode) else "link" if st.S_ISLNK(mode) else "other"
        return cls(kind, raw.st_size, raw.st_mtime_ns, raw.st_ctime_ns, raw.st_ino, raw.st_dev, mode)


class Access(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One path that a span touched. Input flags count only what came before the span's own first change.

    Attributes
    ----------
    path : str
        Absolute; every directory on the way is resolved, the last name is not.
    first : Stat or None
        As it was when the span first touched it; None where it was absent.
    read : bool
        Its content is an input.
    stated : bool
        Its existence, kind or metadata is an input; with ``first=None`` its absence is.
    asked : int
        How often that was asked for before the span's own first change: never, once, or more often.
    executed : bool
        It was executed, or it interpreted what was executed.
    listed : bool
        Its names are an input; see `listing`.
    written : bool
        It is there at the end and the span may have made or changed it.
    removed : bool
        It was there before, and the span removed it.
    link : str or None
        The target of a symbolic link, as it was first seen.
    before_digest : str or None
        The content before the span's first change (regular files that the span changed or removed).
    before_file : str or None
        A file that holds this content, until the next span begins, where it is an input (`read`).
    before_unkept : str or None
        Why there is no such file.
    listing : str or None
        Digest of the names in the directory before the span, sorted as bytes and joined by NUL.
    listing_except : tuple of str
        Names in the directory that the span itself had made: leave them out before comparing `listing`.
    tolerant : bool
        The span made this directory, but would not have minded finding it (``mkdir -p``).
    by_child, by_kernel : bool
        Whose calls these were: those of child processes, of the kernel process, or both.
    listed_by_child : bool
        Its names were asked for by a child process, whatever the kernel process did with the same directory.
    problems : tuple of str
        Why this access cannot be trusted to be complete.
    readers, writers : tuple of int
        Places in `Span.processes`: who asked for its content, what the span itself wrote included, and who changed it.
    """

    path: str
    first: Stat | None = None
    read: bool = False
    stated: bool = False
    executed: bool = False
    listed: bool = False
    written: bool = False
    removed: bool = False
    link: str | None = None
    before_digest: str | None = None
    before_file: str | None = None
    before_unkept: str | None = None
    listing: str | None = None
    listing_except: tuple[str, ...] = ()
    tolerant: bool = False
    by_child: bool = False
    by_kernel: bool = False
    problems: tuple[str, ...] = ()
    asked: int = 0
    listed_by_child: bool = False
    readers: tuple[int, ...] = ()
    writers: tuple[int, ...] = ()


class Process(msgspec.Struct, frozen=True):
    """One program that a process ran: a process that executes twice gives two of these, with the same pid.

    Attributes
    ----------
    pid, parent : int
        The parent is 0 where it had ended before it could be asked for.
    argv : tuple of str
    cwd, exe : str
        The working directory when it started, and the program's file; empty where unknown.
    started, ended : float
        Seconds since the epoch; `ended` is None where it still ran at the end of the span.
    """

    pid: int
    parent: int
    argv: tuple[str, ...]
    cwd: str
    exe: str
    started: float
    ended: float | None = None


class Endpoint(msgspec.Struct, frozen=True):
    """One address that the span connected to, sent to or listened on.

    Attributes
    ----------
    family : {"inet", "inet6", "unix", "other"}
    address : str
        An IP address, or the path of a Unix socket (abstract names start with ``@``).
    port : int
    own : bool
        Who answers there is itself traced, so this is no outside input.
    names : tuple of str
        Host names: of a name server those that it was asked for; else what the hosts file calls the address, where
        the span read that file.
    pids : tuple of int
        The processes that did so.
    """

    family: str
    address: str
    port: int
    own: bool
    names: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()


class Span(msgspec.Struct, frozen=True):
    """What all traced processes did between two barriers.

    Attributes
    ----------
    name : str
    accesses : tuple of Access
        Sorted by path, one per path.
    processes : tuple of Process
        Programs that started or ran in the span, the kernel process apart, in order of their start.
    endpoints : tuple of Endpoint
    entropy : int
        How often random bytes were asked of the operating system.
    complete : bool
        False where something may have been missed: nothing may be concluded from what is not here.
    problems : tuple of str
        One line for each reason of incompleteness.
    late : tuple of str
        Processes born in the span that were still alive at its end.
    """

    name: str
    accesses: tuple[Access, ...] = ()
    processes: tuple[Process, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    entropy: int = 0
    complete: bool = True
    problems: tuple[str, ...] = ()
    late: tuple[str, ...] = ()


_CHUNK = 1000  # accesses that are encoded at a time
_encoder = msgspec.msgpack.Encoder()
_HEAD = struct.Struct("=cI")  # of a frame: how names are encoded, and its size
T = TypeVar("T")


def encode(span: Span) -> bytes:
    """Return a span as bytes."""
    return b"".join(frames(msgspec.structs.replace(span, accesses=()), span.accesses))


def frames(span: Span, accesses: Iterable[Access]) -> Iterator[bytes]:
    """Encode a span piece by piece, so that its accesses need not be there all at once.

    Parameters
    ----------
    span
        Without its accesses.
    accesses
        They come first, a thousand to a frame; `span` is the last frame.
    """
    waiting = iter(accesses)
    while chunk := list(islice(waiting, _CHUNK)):
        yield _frame(chunk)
    yield _frame(span)


def decode(data: bytes) -> Span:
    """Return the span that `encode` took.

    Raises
    ------
    msgspec.DecodeError
        Where the bytes are not an encoded span, or end too early.
    """
    accesses: list[Access] = []
    rest = memoryview(data)
    while True:
        letter, size = _HEAD.unpack_from(rest) if len(rest) >= _HEAD.size else (b"", 0)
        body, rest = rest[_HEAD.size : _HEAD.size + size], rest[_HEAD.size + size :]
        if len(body) < size or not size:
            raise msgspec.DecodeError("the span ends too early")
        if not rest:
            return msgspec.structs.replace(_decoded(letter, body, Span), accesses=tuple(accesses))
        accesses += _decoded(letter, body, list[Access])


def _frame(value: object) -> bytes:
    """Encode a value: ``U`` and msgpack, or ``L`` where its names are not UTF-8."""
    try:
        letter, body = b"U", _encoder.encode(value)
    except UnicodeEncodeError:  # lone surrogates: carry the bytes of each string as Latin-1
        plain = msgspec.to_builtins(value)
        letter, body = b"L", _encoder.encode(_strings(plain, lambda s: os.fsencode(s).decode("latin-1")))
    return _HEAD.pack(letter, len(body)) + body


def _decoded(letter: bytes, body: memoryview, kind: type[T]) -> T:
    if letter == b"U":
        return msgspec.msgpack.decode(body, type=kind)
    plain = msgspec.msgpack.decode(body)
    return msgspec.convert(_strings(plain, lambda s: os.fsdecode(s.encode("latin-1"))), kind)


def _strings(value: object, change: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _strings(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strings(item, change) for item in value]
    return value
