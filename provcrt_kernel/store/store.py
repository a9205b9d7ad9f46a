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
- Stores below it are only read. What they hold is there as if it were here, unless there is something of that name here; their
  records count as this user's own, and so whoever may write to them is trusted. A store below that is damaged, or that anybody
  may write to, is as if it were not there.

Power failure may lose the latest batches; what it tears is found by its digest or its seal.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import diskcache
import msgspec

from provcrt_kernel.store import collect as collection
from provcrt_kernel.store import folder as layout
from provcrt_kernel.store.batch import PER_KEY, Batch, Batches, Tag, listed
from provcrt_kernel.store.blobs import Blobs
from provcrt_kernel.store.collect import Collected
from provcrt_kernel.store.errors import StoreError
from provcrt_kernel.store.guard import Guard
from provcrt_kernel.store.lease import Lease
from provcrt_kernel.store.place import own_store, user_folder
from provcrt_kernel.store.seal import Seal, Trusted, user_seal
from provcrt_kernel.store.table import DATABASE, Reader, Table

if TYPE_CHECKING:
    from typing_extensions import Buffer

SIZE_LIMIT = 10 << 30  # bytes


class _Body(msgspec.Struct, frozen=True, array_like=True):
    """A record as it is sealed: bound to the source key that it was recorded under."""

    key: str
    record: bytes


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
    size_limit : int
        Bytes; when it is passed, the least worthy records are evicted.
    below : tuple of Store
        Stores below this one, which are only read; the upper ones first.
    damaged : list of str
        One line for each thing that was found damaged, forged or out of reach, for the caller to show once.
    """

    def __init__(
        self, folder: Path, table: Table | Reader, seal: Seal, size_limit: int, below: tuple[Store, ...] = ()
    ) -> None:
        self.folder = folder
        self.below = below
        self.size_limit = size_limit
        self._guard = Guard(folder, table)
        self.damaged = self._guard.damaged
        self._batches = Batches(self._guard)
        self._blobs = Blobs(self._guard, self._batches)
        self._seal = seal
        self._lease = Lease(self._guard.home / layout.LEASES)
        self._checked = 0  # of the bytes written, how many when the limit was last looked at
        self._owner = os.getpid()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        size_limit: int = SIZE_LIMIT,
        readonly: bool = False,
        key: bytes | None = None,
        below: Iterable[Path] = (),
    ) -> Self:
        """Open the store in `folder`, making it if there is none, and moving it aside if it is damaged.

        Parameters
        ----------
        folder : Path
            As `find_store` returns it.
        size_limit : int
            Bytes.
        readonly : bool
            Read a store that nobody may write to, such as one on a read-only mount.
        key : bytes, optional
            32 secret bytes that seal what is written; by default this user's own.
        below : iterable of Path
            Folders of stores to read what this one does not have; the upper ones first.

        Raises
        ------
        StoreError
            Where it cannot be opened or made.
        """
        seal, complaint = (Seal(key), None) if key else user_seal(user_folder())
        try:
            table, moved = (Reader(layout.versioned(folder)), None) if readonly else layout.prepare(folder)
        except (sqlite3.Error, OSError, diskcache.Timeout, *layout.GARBLED) as cause:
            raise StoreError.cannot_open(folder, cause) from cause
        own = own_store()
        layers = [
            _layer(each, seal if each == own else Trusted())
            for each in below
            # a shared one that is not there is worth a word, this user's own may not have been made yet
            if each != own or (layout.versioned(own) / DATABASE).exists()
        ]
        store = cls(
            folder, table, seal, size_limit, tuple(each for each in layers if isinstance(each, Store))
        )
        store.damaged += [line for line in (complaint, moved) if line]
        store.damaged += [each for each in layers if isinstance(each, str)]
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
        with self.batch():
            return self._blobs.put(data)

    def put_file(self, path: str | os.PathLike[str], *, compress: bool = False) -> str:
        """Keep a file's content as a blob, in constant memory, and return its digest.

        Parameters
        ----------
        path : path
            A regular file.
        compress : bool
            Compress it where that pays; for what is read rarely.

        Raises
        ------
        StoreError
            Where it cannot be written.
        OSError
            Where `path` cannot be read.
        """
        with self.batch():
            return self._blobs.put_file(path, compress=compress)

    def get(self, digest: str) -> bytes | None:
        """Return the blob with this digest, or None where there is none, or only a damaged one."""
        found = self._blobs.get(digest)
        for layer in self.below if found is None else ():
            if (found := layer.get(digest)) is not None:
                break
        return found

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
        return self._blobs.restore(digest, path) or any(each.restore(digest, path) for each in self.below)

    def has(self, digest: str) -> bool:
        """Tell whether the blob with this digest is there at its full size; `get` knows if it is sound."""
        return self._blobs.has(digest) or any(each.has(digest) for each in self.below)

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
            Seconds that a hit on it saves; infinite for what stays until it is dropped.
        blobs : collection of str
            Digests of the blobs that it refers to; they stay for as long as it does.

        Raises
        ------
        StoreError
            Where it cannot be written.
        """
        body = msgspec.msgpack.encode(_Body(key, bytes(record)))
        sealed = self._seal.close(f"record:{id}", body)
        with self.batch():
            records = self._batches.current.records
            records.pop(id, None)
            records[id] = (Tag(key, float(worth), sorted(blobs)), sealed)

    def candidates(self, key: str) -> list[tuple[str, bytes]]:
        """Return the records under a source key as (id, record), newest first."""
        pending = [id for id, (tag, _) in self._batches.current.records.items() if tag.key == key][::-1]
        stored = self._guard.reading(lambda: listed(self._guard.table, key)) or []
        ids = [*pending, *(id for id in stored if id not in pending)][:PER_KEY]
        bodies = [(id, self._body(id)) for id in ids]
        found = {id: body.record for id, body in bodies if body is not None and body.key == key}
        for layer in self.below:
            found = {**found, **{id: record for id, record in layer.candidates(key) if id not in found}}
        return list(found.items())

    def record(self, id: str) -> bytes | None:
        """Return the record with this id, or None where there is none, or only a forged or damaged one."""
        body = self._body(id)
        if body is not None:
            return body.record
        return next((found for each in self.below if (found := each.record(id)) is not None), None)

    def ids(self) -> list[str]:
        """Return the ids of all records that are committed."""
        rows = self._guard.reading(lambda: self._guard.table.rows("record:")) or []
        own = [row.key.removeprefix("record:") for row in rows]
        return list(dict.fromkeys((*own, *(id for each in self.below for id in each.ids()))))

    def drop(self, ids: Collection[str]) -> set[str]:
        """Give up records, and leave the blobs that nothing refers to then for `collect`; return those they referred to.

        Raises
        ------
        StoreError
            Where that cannot be written.
        """
        with self._guard.writing() as table, table.transact():
            return collection.drop(table, set(ids))

    def touch(self, ids: Iterable[str]) -> None:
        """Say that these records were used now; it is written with the next batch, or at the end."""
        self._batches.used.update(ids)

    # Notes

    def note(self, name: str, value: bytes) -> None:
        """Keep a small fact under a name, in place of the one before; StoreError where that fails."""
        with self.batch():
            self._batches.current.notes[name] = self._seal.close(f"note:{name}", bytes(value))

    def noted(self, name: str) -> bytes | None:
        """Return the fact under a name, or None."""
        pending = self._batches.current.notes.get(name)
        key = f"note:{name}"
        return self._unsealed(key, pending or self._guard.reading(lambda: self._guard.table.get(key)))

    # The whole

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Commit what this thread writes inside all at once, or, where anything is raised, nothing of it.

        Batches nest; the outermost commits.

        Raises
        ------
        StoreError
            Where it cannot be written.
        """
        with self._batches.batch():
            yield
        if self._batches.written - self._checked > self.size_limit // 20:
            self._checked = self._batches.written
            if self.stats().bytes > self.size_limit:
                with contextlib.suppress(StoreError):  # the batch itself is safe
                    self.collect(self.size_limit * 9 // 10)  # with some room, so as not to be back at once

    def lease(self, digests: Collection[str]) -> None:
        """Keep exactly these blobs from being evicted for as long as this process lives, or until it closes.

        Raises
        ------
        StoreError
            Where the lease cannot be written.
        """
        with self._guard.writing():
            self._lease.hold(digests)

    def collect(
        self, limit: int | None = None, dry: bool = False, given_up: Collection[str] = ()
    ) -> Collected:
        """Free what nothing refers to, and then the least worthy records until `limit` bytes are left.

        Parameters
        ----------
        limit : int, optional
            Bytes to come down to; by default the store's own limit.
        dry : bool
            Only say what would go.
        given_up : collection of str
            Blobs that may go at once, if nothing refers to them; others are kept for as long as somebody may be about to.

        Raises
        ------
        StoreError
            Where it cannot be written.
        """
        most = self.size_limit if limit is None else limit
        return collection.collect(self._guard, most, dry=dry, given_up=given_up)

    def stats(self) -> Stats:
        """Return how full the store is."""
        rows = self._guard.reading(self._guard.table.rows) or []
        kinds = [row.key.partition(":")[0] for row in rows]
        return Stats(
            records=kinds.count("record"),
            blobs=kinds.count("blob"),
            notes=kinds.count("note"),
            bytes=sum(row.size for row in rows),
            limit=self.size_limit,
        )

    def close(self) -> None:
        """Write what is still to be said, drop the lease, and let go of the database."""
        if os.getpid() != self._owner:
            return  # a forked child holds what is its parent's to close
        if isinstance(self._guard.table, Table):
            with contextlib.suppress(StoreError):
                self._batches.commit(Batch())
            self._lease.drop()
        with contextlib.suppress(sqlite3.Error):
            self._guard.table.close()
        for layer in self.below:
            layer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Within

    def _body(self, id: str) -> _Body | None:
        pending = self._batches.current.records.get(id)
        key = f"record:{id}"
        body = self._unsealed(
            key, pending[1] if pending else self._guard.reading(lambda: self._guard.table.get(key))
        )
        try:
            return msgspec.msgpack.decode(body, type=_Body) if body is not None else None
        except (msgspec.MsgspecError, UnicodeDecodeError):  # sealed, so by a writer of a store below
            return None

    def _unsealed(self, name: str, sealed: bytes | None) -> bytes | None:
        if sealed is None:
            return None
        value = self._seal.open(name, sealed)
        if value is None:
            self._guard.found(
                f"the store {self.folder} holds records that were altered, or made by someone else: ignored"
            )
        return value


def _layer(folder: Path, seal: Seal) -> Store | str:
    """Open a store to be laid below another, believing what a seal lets through; or say in a line why not."""
    home = layout.versioned(folder)
    try:
        for path in (folder, home, home / DATABASE):
            if path.stat().st_mode & stat.S_IWOTH:
                return f"the store {folder} is not used: anybody may write to {path}"
        return Store(folder, Reader(home), seal, SIZE_LIMIT)
    except (sqlite3.Error, OSError, *layout.GARBLED) as cause:
        return f"the store {folder} is not used: {cause}"
