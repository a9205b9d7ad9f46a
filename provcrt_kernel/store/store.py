"""The store: content-addressed blobs, records under their source keys, and small notes.

What it promises
----------------
- What `get` returns has the digest that was asked for; what `record`, `candidates` and `noted` return was
  written by this user. Anything damaged or forged is as if it were not there, and `damaged` says so.
- A batch is seen whole or not at all, by every process, whenever anyone is killed. No lock is held while it
  is filled.
- Nothing waits for long: where another process keeps the database locked, writing fails with `StoreError`
  within five seconds, and reading finds nothing.
- A blob that a live session has leased is not evicted.

Power failure may lose the latest batches; what it tears is found by its digest or its seal.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import diskcache
import msgspec
import xxhash

from provcrt_kernel.store import evict
from provcrt_kernel.store import folder as layout
from provcrt_kernel.store.digest import CHUNK, digest, digest_file, flat
from provcrt_kernel.store.errors import StoreError
from provcrt_kernel.store.lease import Lease, leased
from provcrt_kernel.store.place import user_folder
from provcrt_kernel.store.seal import Seal, user_seal
from provcrt_kernel.store.table import Reader, Row, Spilled, Table, loose_files, open_file

if TYPE_CHECKING:
    from typing_extensions import Buffer

SIZE_LIMIT = 10 << 30  # bytes
PER_KEY = 16  # records kept under one source key
INLINE = 1 << 15  # bytes: larger blobs get a file of their own
GRACE = 3600.0  # seconds for which a blob may wait for the record that will refer to it
NOTE_LIFE = 90 * 86400.0  # seconds after which a note that nobody wrote again is dropped

T = TypeVar("T")


class _Tag(msgspec.Struct, frozen=True, array_like=True):
    """What eviction needs to know of a record; kept beside its row, unsealed, and never believed for more."""

    key: str
    worth: float
    blobs: list[str]


class _Body(msgspec.Struct, frozen=True, array_like=True):
    """A record as it is sealed: bound to the source key that it was recorded under."""

    key: str
    record: bytes


@dataclass
class _Batch:
    """What waits for its commit."""

    depth: int = 0
    blobs: dict[str, bytes | Spilled] = field(default_factory=dict)
    records: dict[str, tuple[_Tag, bytes]] = field(default_factory=dict)  # by id; oldest first
    notes: dict[str, bytes] = field(default_factory=dict)

    def size(self) -> int:
        """Return how many bytes it will write."""
        blobs = sum(blob.size if isinstance(blob, Spilled) else len(blob) for blob in self.blobs.values())
        return blobs + sum(len(record) for _, record in self.records.values())


@dataclass(frozen=True)
class Collected:
    """What a collection freed, or would free.

    Attributes
    ----------
    records : list of str
        Ids of the evicted records, the least worthy first.
    blobs, notes, files : int
        How many blobs, notes and files that nothing named went.
    bytes : int
        What they took, in bytes.
    kept : int
        Bytes that are left.
    """

    records: list[str]
    blobs: int
    notes: int
    files: int
    bytes: int
    kept: int


@dataclass(frozen=True)
class Stats:
    """How full a store is: counts, and sizes in bytes."""

    records: int
    blobs: int
    notes: int
    bytes: int
    limit: int


class Store:
    """An open store; see the module for what it promises. Open one with `Store.open`.

    Attributes
    ----------
    folder : Path
        Where it is.
    damaged : list of str
        One line for each thing that was found damaged, forged or out of reach, for the caller to show once.
    """

    def __init__(self, folder: Path, table: Table | Reader, seal: Seal, size_limit: int) -> None:
        self.folder = folder
        self.damaged: list[str] = []
        self.size_limit = size_limit
        self._table = table
        self._home = layout.versioned(folder)
        self._seal = seal
        self._lease = Lease(self._home / layout.LEASES)
        self._local = threading.local()
        self._used: set[str] = set()
        self._written = 0  # bytes since the last look at the limit
        self._owner = os.getpid()

    @classmethod
    def open(
        cls, folder: Path, *, size_limit: int = SIZE_LIMIT, readonly: bool = False, key: bytes | None = None
    ) -> Self:
        """Open the store in `folder`, making it if there is none, and moving it aside if it is damaged.

        Parameters
        ----------
        folder : Path
            As `find_store` returns it.
        size_limit : int
            Bytes; when it is passed, the least worthy records are evicted.
        readonly : bool
            Read a store that nobody may write to, such as one on a read-only mount.
        key : bytes, optional
            32 secret bytes that seal what is written; by default this user's own.

        Raises
        ------
        StoreError
            Where it cannot be opened or made.
        """
        seal, complaint = (Seal(key), None) if key else user_seal(user_folder())
        try:
            table, moved = (Reader(layout.versioned(folder)), None) if readonly else layout.prepare(folder)
        except (sqlite3.Error, OSError, diskcache.Timeout) as cause:
            raise StoreError.cannot_open(folder, cause) from cause
        store = cls(folder, table, seal, size_limit)
        store.damaged += [line for line in (complaint, moved) if line]
        return store

    # Blobs

    def put(self, data: Buffer) -> str:
        """Keep `data` as a blob and return its digest; nothing is written if it is there already.

        Parameters
        ----------
        data : Buffer
            Contiguous; a large one is written from where it lies, without a copy.

        Raises
        ------
        StoreError
            Where it cannot be written.
        """
        view = flat(data)
        name = digest(view)
        with self.batch() as batch:
            if not self._settled(name, batch):
                small = len(view) < INLINE
                batch.blobs[name] = bytes(view) if small else self._spill(iter((view,)))
        return name

    def put_file(self, path: str | os.PathLike[str]) -> str:
        """Keep a file's content as a blob, in constant memory, and return its digest.

        Raises
        ------
        StoreError
            Where it cannot be written.
        OSError
            Where `path` cannot be read.
        """
        with open(path, "rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size < INLINE:
                return self.put(file.read())
            name = digest_file(path)
            with self.batch() as batch:
                if self._settled(name, batch):
                    return name
                state = xxhash.xxh3_128()
                spilled = self._spill(_pieces(file.fileno(), state))
                name = state.hexdigest()  # of what was copied, whoever wrote to the file meanwhile
                if name in batch.blobs:
                    self._discard([spilled])
                else:
                    batch.blobs[name] = spilled
                return name

    def get(self, digest: str) -> bytes | None:
        """Return the blob with this digest, or None where there is none, or only a damaged one."""
        held = self._open_batch.blobs.get(digest)
        if isinstance(held, bytes):
            return held
        if held is not None:
            return self._reading((self._home / held.name).read_bytes)
        for _ in range(2):  # another process may have replaced the file between its row and its opening
            data = self._reading(lambda: self._table.get(f"blob:{digest}"))
            if data is not None:
                break
        if data is not None and _digest(data) == digest:
            return data
        self._damaged_blob(digest)
        return None

    def restore(self, digest: str, path: str | os.PathLike[str]) -> bool:
        """Write the blob with this digest to the file `path`, replacing it at once or not at all.

        Returns
        -------
        bool
            False where there is no such blob, or only a damaged one; `path` is then untouched.

        Raises
        ------
        OSError
            Where `path` cannot be written.
        """
        target = Path(path)
        draft = target.with_name(f".{target.name[:200]}.{os.urandom(4).hex()}")
        row = self._reading(lambda: self._table.row(f"blob:{digest}"))
        source = open_file(self._home, row) if row else None
        try:
            if source is None:
                data = self.get(digest)
                if data is None:
                    return False
                draft.write_bytes(data)
            else:
                state = xxhash.xxh3_128()
                with open(draft, "xb", buffering=0) as file:
                    for piece in _pieces(source, state):
                        file.write(piece)
                if state.hexdigest() != digest:
                    self._damaged_blob(digest)
                    return False
            draft.replace(target)
            return True
        finally:
            if source is not None:
                os.close(source)
            draft.unlink(missing_ok=True)

    def has(self, digest: str) -> bool:
        """Tell whether the blob with this digest is there at its full size; `get` knows if it is sound."""
        return digest in self._open_batch.blobs or self._reading(lambda: self._whole(digest)) is not None

    # Records

    def add(self, key: str, id: str, record: bytes, *, worth: float, blobs: Collection[str]) -> None:
        """Keep a record as the newest under its source key, in place of one with the same id.

        Parameters
        ----------
        key : str
            Its source key. Only the 16 newest records are kept under one.
        id : str
            Unique to the record.
        record : bytes
            Whatever the caller will want back.
        worth : float
            Seconds that a hit on it saves.
        blobs : collection of str
            Digests of the blobs that it refers to; they stay for as long as it does.

        Raises
        ------
        StoreError
            Where it cannot be written.
        """
        body = msgspec.msgpack.encode(_Body(key, bytes(record)))
        sealed = self._seal.close(f"record:{id}", body)
        with self.batch() as batch:
            batch.records.pop(id, None)
            batch.records[id] = (_Tag(key, float(worth), sorted(blobs)), sealed)

    def candidates(self, key: str) -> list[tuple[str, bytes]]:
        """Return the records under a source key as (id, record), newest first."""
        pending = [id for id, (tag, _) in self._open_batch.records.items() if tag.key == key][::-1]
        stored = self._reading(lambda: self._ids(key)) or []
        ids = [*pending, *(id for id in stored if id not in pending)][:PER_KEY]
        bodies = [(id, self._body(id)) for id in ids]
        return [(id, body.record) for id, body in bodies if body is not None and body.key == key]

    def record(self, id: str) -> bytes | None:
        """Return the record with this id, or None where there is none, or only a forged or damaged one."""
        body = self._body(id)
        return body.record if body else None

    def touch(self, ids: Iterable[str]) -> None:
        """Say that these records were used now; it is written with the next batch, or at the end."""
        self._used.update(ids)

    # Notes

    def note(self, name: str, value: bytes) -> None:
        """Keep a small fact under a name, in place of the one before; StoreError where that fails."""
        with self.batch() as batch:
            batch.notes[name] = self._seal.close(f"note:{name}", bytes(value))

    def noted(self, name: str) -> bytes | None:
        """Return the fact under a name, or None."""
        sealed = self._open_batch.notes.get(name) or self._reading(lambda: self._table.get(f"note:{name}"))
        return self._unsealed(f"note:{name}", sealed)

    # The whole

    @contextlib.contextmanager
    def batch(self) -> Iterator[_Batch]:
        """Commit what this thread writes inside all at once, or, where anything is raised, nothing of it.

        Batches nest; the outermost commits.

        Raises
        ------
        StoreError
            Where it cannot be written.
        """
        self._writable()
        batch = self._open_batch
        batch.depth += 1
        try:
            yield batch
        except BaseException:
            if batch.depth == 1:
                self._discard(batch.blobs.values())
                self._local.batch = _Batch()
            raise
        else:
            if batch.depth == 1:
                self._local.batch = _Batch()
                self._commit(batch)
        finally:
            batch.depth -= 1

    def lease(self, digests: Collection[str]) -> None:
        """Keep exactly these blobs from being evicted for as long as this process lives, or until it closes.

        Raises
        ------
        StoreError
            Where the lease cannot be written.
        """
        self._writable()
        try:
            self._lease.hold(digests)
        except OSError as cause:
            raise StoreError.cannot_write(self.folder, cause) from cause

    def collect(self, limit: int | None = None, dry: bool = False) -> Collected:
        """Free what nothing refers to, and then the least worthy records until `limit` bytes are left.

        Parameters
        ----------
        limit : int, optional
            Bytes to come down to; by default the store's own limit.
        dry : bool
            Only say what would go.

        Raises
        ------
        StoreError
            Where it cannot be written.
        """
        table = self._writable()
        limit = self.size_limit if limit is None else limit
        now = time.time()
        with self._writing(), table.transact():
            rows = {row.key: row for row in table.rows()}
            notes = [
                row for row in rows.values() if row.key.startswith("note:") and now - row.used > NOTE_LIFE
            ]
            blobs = {name[5:]: row for name, row in rows.items() if name.startswith("blob:")}
            tags = {name[7:]: _tag(row) for name, row in rows.items() if name.startswith("record:")}
            total = sum(row.size for row in rows.values())
            records, loose = evict.choose(
                [_held(id, tag, rows[f"record:{id}"]) for id, tag in tags.items()],
                {name: row.size for name, row in blobs.items()},
                leased=leased(self._home / layout.LEASES),
                young={name for name, row in blobs.items() if now - row.used < GRACE},
                excess=total - limit - sum(row.size for row in notes),
            )
            gone = [rows[f"record:{held.id}"] for held in records] + [blobs[name] for name in loose] + notes
            if not dry:
                for row in gone:
                    table.delete(row.key)
                for key in {tags[held.id].key for held in records}:
                    self._relist(table, key, without={held.id for held in records})
            named = {row.file for row in rows.values()}
        strays = [
            path
            for path in map(self._home.joinpath, loose_files(self._home))
            if _stray(path, self._home, named, now)
        ]
        freed = sum(row.size for row in gone)
        if not dry:
            for path in strays:
                table.disk.remove(str(path.relative_to(self._home)))
        return Collected(
            [held.id for held in records], len(loose), len(notes), len(strays), freed, total - freed
        )

    def stats(self) -> Stats:
        """Return how full the store is."""
        rows = self._reading(self._table.rows) or []
        counts = [sum(row.key.startswith(kind) for row in rows) for kind in ("record:", "blob:", "note:")]
        return Stats(counts[0], counts[1], counts[2], sum(row.size for row in rows), self.size_limit)

    def close(self) -> None:
        """Write what is still to be said, drop the lease, and let go of the database."""
        if os.getpid() != self._owner:
            return  # a forked child holds what is its parent's to close
        if isinstance(self._table, Table):
            with contextlib.suppress(StoreError):
                self._commit(_Batch())
            self._lease.drop()
        with contextlib.suppress(sqlite3.Error):
            self._table.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Within

    @property
    def _open_batch(self) -> _Batch:
        batch: _Batch | None = getattr(self._local, "batch", None)
        if batch is None:
            batch = self._local.batch = _Batch()
        return batch

    def _writable(self) -> Table:
        if not isinstance(self._table, Table):
            raise StoreError.read_only(self.folder)
        return self._table

    def _commit(self, batch: _Batch) -> None:
        table = self._writable()
        used, self._used = self._used, set()
        if not (batch.blobs or batch.records or batch.notes or used):
            return
        spare: list[Spilled] = []
        try:
            with self._writing(), table.transact():
                for name, blob in batch.blobs.items():
                    if self._whole(name) is None:
                        table.set(f"blob:{name}", blob)
                    elif isinstance(blob, Spilled):
                        spare.append(blob)  # another process was first
                for name, sealed in batch.notes.items():
                    table.set(f"note:{name}", sealed)
                for id, (tag, sealed) in batch.records.items():
                    table.set(f"record:{id}", sealed, tag=msgspec.msgpack.encode(tag))
                    self._relist(table, tag.key, newest=id)
                if used:
                    table.touch_rows([f"record:{id}" for id in used], time.time())
        except BaseException:
            self._discard(batch.blobs.values())
            raise
        self._discard(spare)
        self._written += batch.size()
        if self._written > self.size_limit // 20:
            self._written = 0
            if self.stats().bytes > self.size_limit:
                with contextlib.suppress(StoreError):  # the batch itself is safe
                    self.collect(self.size_limit * 9 // 10)  # with some room, so as not to be back at once

    def _relist(
        self, table: Table, key: str, *, newest: str | None = None, without: Collection[str] = ()
    ) -> None:
        """Bring the list of ids under a source key up to date, and drop the records that fall off its end."""
        ids = [id for id in self._ids(key) if id != newest and id not in without]
        if newest is not None:
            ids.insert(0, newest)
        for id in ids[PER_KEY:]:
            table.delete(f"record:{id}")
        if ids:
            table.set(f"key:{key}", msgspec.msgpack.encode(ids[:PER_KEY]))
        else:
            table.delete(f"key:{key}")

    def _ids(self, key: str) -> list[str]:
        listed = self._table.get(f"key:{key}")
        try:
            return msgspec.msgpack.decode(listed, type=list[str]) if listed else []
        except msgspec.MsgspecError:
            return []

    def _body(self, id: str) -> _Body | None:
        pending = self._open_batch.records.get(id)
        sealed = pending[1] if pending else self._reading(lambda: self._table.get(f"record:{id}"))
        body = self._unsealed(f"record:{id}", sealed)
        return msgspec.msgpack.decode(body, type=_Body) if body is not None else None

    def _unsealed(self, name: str, sealed: bytes | None) -> bytes | None:
        if sealed is None:
            return None
        value = self._seal.open(name, sealed)
        if value is None:
            self._found(
                f"the store {self.folder} holds records that were altered, or made by someone else: ignored"
            )
        return value

    def _whole(self, digest: str) -> Row | None:
        """Return a blob's row where its file, if it has one, is there at its full size."""
        row = self._table.row(f"blob:{digest}")
        if row is None or row.file is None:
            return row
        try:
            return row if (self._home / row.file).stat().st_size == row.size else None
        except OSError:
            return None

    def _settled(self, name: str, batch: _Batch) -> bool:
        """Tell whether a blob need not be written, and keep it from looking old and forgotten."""
        if name in batch.blobs:
            return True
        row = self._reading(lambda: self._whole(name))
        if row is not None and time.time() - row.used > GRACE / 2:
            table = self._writable()
            with self._writing(), table.transact():
                table.touch_rows([row.key], time.time())
                return table.row(row.key) is not None
        return row is not None

    def _spill(self, pieces: Iterator[memoryview]) -> Spilled:
        with self._writing():
            return self._writable().spill(pieces)

    def _discard(self, blobs: Iterable[bytes | Spilled]) -> None:
        for blob in blobs:
            if isinstance(blob, Spilled):
                self._writable().disk.remove(blob.name)

    def _damaged_blob(self, name: str) -> None:
        """Remove a blob that cannot be what its digest says, if it is there at all."""
        row = self._reading(lambda: self._table.row(f"blob:{name}"))
        if row is None:
            return
        self._found(f"the store {self.folder} held a damaged blob, which is gone now: {name}")
        if isinstance(self._table, Table):
            with contextlib.suppress(StoreError), self._writing(), self._table.transact():
                if self._table.row(row.key) == row:  # not one that another process has put in its place
                    self._table.delete(row.key)

    def _found(self, line: str) -> None:
        if line not in self.damaged:
            self.damaged.append(line)

    def _reading(self, read: Callable[[], T]) -> T | None:
        """Return what `read` finds, or None where the database does not let it: unknown makes a cell run."""
        try:
            return read()
        except (sqlite3.Error, OSError, diskcache.Timeout) as cause:
            layout.mark(self.folder, cause)
            self._found(f"the store {self.folder} cannot be read ({cause}): its results are not used")
            return None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what a database or a disk may raise into a StoreError."""
        try:
            yield
        except (sqlite3.Error, OSError, diskcache.Timeout) as error:
            table = self._writable()
            table.recover()
            cause = table.diagnose() if isinstance(error, diskcache.Timeout) else layout.root_cause(error)
            layout.mark(self.folder, cause)
            raise StoreError.cannot_write(self.folder, cause) from error


_digest = digest  # where a parameter has its name


def _pieces(descriptor: int, state: xxhash.xxh3_128) -> Iterator[memoryview]:
    """Yield a file's content in chunks, hashing it on the way; each is only good until the next."""
    window = memoryview(bytearray(CHUNK))
    while count := os.readv(descriptor, [window]):
        state.update(window[:count])
        yield window[:count]


def _tag(row: Row) -> _Tag:
    try:
        return msgspec.msgpack.decode(row.tag or b"", type=_Tag)
    except msgspec.MsgspecError:
        return _Tag("", 0.0, [])


def _held(id: str, tag: _Tag, row: Row) -> evict.Held:
    return evict.Held(id, tag.worth, row.used, row.size, frozenset(tag.blobs))


def _stray(path: Path, home: Path, named: Collection[str | None], now: float) -> bool:
    """Tell whether no row names a file, and it is too old to be on its way to getting one."""
    try:
        return str(path.relative_to(home)) not in named and now - path.stat().st_mtime > GRACE
    except OSError:
        return False
