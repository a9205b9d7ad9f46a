"""A record: one execution of a cell as a constructive trace, inputs to outputs.

Records are msgpack of these structs, readable by any msgpack tool. `Mokhov, Mitchell, Peyton Jones: Build Systems à la
Carte` (ICFP 2018) is where the word constructive trace comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from provcrt_kernel.session.slots import State

FORMAT = 5


class FileInput(msgspec.Struct, frozen=True, omit_defaults=True):
    """A path that the cell looked at, and what it found.

    Attributes
    ----------
    kind
        ``file``, ``dir``, ``link``, ``other`` or ``absent``.
    content
        Digest of a file that was read; target of a link.
    listing
        Digest of a directory's names, without those in `without`.
    size, mtime_ns
        Set where only the file's status was looked at.
    mode
        Permission bits of a file.
    tolerant
        A directory that may be there or not (``mkdir -p``).
    child
        A child process looked.
    distributions
        Of a directory's names only those count that stand for installed distributions.
    """

    path: str
    kind: str
    content: str | None = None
    listing: str | None = None
    without: tuple[str, ...] = ()
    size: int | None = None
    mtime_ns: int | None = None
    mode: int | None = None
    tolerant: bool = False
    child: bool = False
    distributions: bool = False


class FileOutput(msgspec.Struct, frozen=True, omit_defaults=True):
    """A path that the cell left behind.

    Attributes
    ----------
    kind
        ``file``, ``dir``, ``link``, or ``absent`` for one that it removed.
    content
        Blob of the file; target of a link.
    """

    path: str
    kind: str
    content: str | None = None
    mode: int = 0
    size: int = 0


class Shown(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message that the cell sent: stream, display_data, execute_result, error, …

    Attributes
    ----------
    kept
        Blob of content and buffers where they are large; then both are empty here.
    """

    type: str
    content: dict[str, object]
    metadata: dict[str, object] = {}
    buffers: tuple[bytes, ...] = ()
    kept: str | None = None

    def aside(self, keep: Callable[[bytes], str]) -> Shown:
        """The same with content and buffers in a blob; `keep` puts bytes into the store."""
        data = msgspec.msgpack.encode((self.content, self.buffers))
        return Shown(self.type, {}, self.metadata, kept=keep(data))

    def whole(self, get: Callable[[str], bytes | None]) -> Shown | None:
        """The same with content and buffers; None if the store lost them."""
        if self.kept is None:
            return self
        data = get(self.kept)
        try:
            content, buffers = _CONTENT.decode(data) if data is not None else (None, ())
        except msgspec.MsgspecError:
            return None
        return None if content is None else Shown(self.type, content, self.metadata, buffers)


_CONTENT = msgspec.msgpack.Decoder(tuple[dict[str, object], tuple[bytes, ...]])


#: What a cell uses that lists all names.
NUMBERED = "IPython's names for inputs and results"


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One execution of a cell.

    Attributes
    ----------
    reads
        Version of every slot that the cell could read, as it was before; empty for one that did not exist.
    everything
        Why the cell could read any name; then `reads` has them all, and a further variable is a difference.
    shares
        Co-variables that mattered (the cell read several of their names, or changed or joined them): comma-joined names →
        joint version.
    kin
        Classes that the cell changed → the slots made of them then; one more would have changed too.
    former
        Slots that it read, or made something of, whose classes' names were bound to others by then → these names.
    environ
        Environment variables read: name → version; ``*``: which ones there were.
    machine
        Facts about the machine that it asked for → version.
    inputs
        Paths looked at; `library` is the blob with those that belong to installed packages and the system.
    resolved
        Imported top-level names → folder they were found in; empty: found nowhere.
    writes, deletes
        State of every slot that the cell bound or changed; names it unbound.
    in_place
        Variables of `writes` that are the objects that they were before.
    set_environ
        Environment variables changed; None: removed.
    result
        State of the value that the cell displayed as its result; its group names the variable that it is, if it is one.
    error
        ``ename``, ``evalue``, ``traceback`` of a cell that raised. It shows text and number of the cell and of others whose
        functions raised, so it is only replayed where these are the same.
    cells
        Other cells that its traceback shows: names of their compiled files, without folders, and the numbers shown.
    count
        IPython's execution count then.
    numbered
        Which inputs and results there were, by their numbers, if it may have listed IPython's names for them.
    lines
        It looked at where code stands: it is only replayed for the same text.
    volatile
        What it used that nobody can repeat.
    pinned
        Why its effects are not all in the record: it is run again before any later miss runs.
    opened
        It has left a file open that it looked at.
    blobs
        Every blob that the values it made need.
    """

    id: str
    key: str
    cell: str
    text: str
    created: float
    seconds: float
    reads: dict[str, str]
    everything: str | None = None
    shares: dict[str, str] = {}
    kin: dict[str, tuple[str, ...]] = {}
    former: dict[str, tuple[str, ...]] = {}
    environ: dict[str, str] = {}
    machine: dict[str, str] = {}
    inputs: tuple[FileInput, ...] = ()
    library: str | None = None
    resolved: dict[str, str] = {}
    writes: dict[str, State] = {}
    deletes: tuple[str, ...] = ()
    in_place: tuple[str, ...] = ()
    set_environ: dict[str, str | None] = {}
    outputs: tuple[FileOutput, ...] = ()
    shown: str | None = None
    result: State | None = None
    error: tuple[str, str, tuple[str, ...]] | None = None
    cells: dict[str, int] = {}
    count: int | None = None
    numbered: str | None = None
    payload: tuple[dict[str, object], ...] = ()
    imports: tuple[str, ...] = ()
    processes: tuple[tuple[str, ...], ...] = ()
    endpoints: tuple[str, ...] = ()
    lines: bool = False
    volatile: tuple[str, ...] = ()
    pinned: str | None = None
    opened: bool = False
    blobs: tuple[str, ...] = ()
    format: int = FORMAT

    @property
    def classes(self) -> set[str]:
        """Variables for which it mattered whether they were bound to the classes that what it read was made of."""
        return self.reads.keys() | {k for state in self.writes.values() for k in state.kin}

    @property
    def passing(self) -> tuple[str, ...]:
        """What it used that it would find different later in the same session."""
        return passing(self.volatile, self.numbered)


def passing(volatile: tuple[str, ...], numbered: str | None) -> tuple[str, ...]:
    """What a cell used that it would find different later in the same session."""
    return volatile if numbered is None else (*volatile, NUMBERED)


def movable(record: Record) -> bool:
    """Whether a cell that raised can be shown under another number: its traceback shows this cell alone."""
    own = f"In[{record.count}]"
    return record.error is not None and not record.cells and own not in record.text + record.error[1]


def renumbered(lines: Iterable[str], old: int | None, new: int) -> list[str]:
    """Lines of a traceback, with the cell's number of now."""
    return [line.replace(f"In[{old}]", f"In[{new}]") for line in lines]


def encode(record: Record) -> bytes:
    """The record as msgpack."""
    return msgspec.msgpack.encode(record)


def decode(data: bytes) -> Record | None:
    """A record; None if it is of another format."""
    try:
        record = msgspec.msgpack.decode(data, type=Record)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return record if record.format == FORMAT else None
