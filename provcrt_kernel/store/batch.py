"""Batches: what is to be written is gathered first, and committed in one short transaction.

While a batch is filled no lock is held: no other kernel, and no supervisor that traps this one, waits for it.
Small values wait in memory; large blobs go to their files at once, which no row names before the commit.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from provcrt_kernel.store.errors import StoreError
from provcrt_kernel.store.guard import Guard
from provcrt_kernel.store.table import Reader, Row, Spilled, Table

PER_KEY = 16  # records kept under one source key


class Tag(msgspec.Struct, frozen=True, array_like=True):
    """What eviction needs to know of a record: kept beside its row, unsealed, and never believed for more."""

    key: str
    worth: float
    blobs: list[str]


@dataclass
class Batch:
    """What waits for its commit."""

    depth: int = 0
    blobs: dict[str, bytes | Spilled] = field(default_factory=dict)
    records: dict[str, tuple[Tag, bytes]] = field(default_factory=dict)  # by id, sealed; oldest first
    notes: dict[str, bytes] = field(default_factory=dict)  # sealed

    def size(self) -> int:
        """Return how many bytes it will write."""
        blobs = sum(blob.size if isinstance(blob, Spilled) else len(blob) for blob in self.blobs.values())
        return blobs + sum(len(record) for _, record in self.records.values())


class Batches:
    """The open batch of each thread, and how one is committed."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._local = threading.local()
        self.used: set[str] = set()  # ids of records to be marked as used with the next commit
        self.written = 0  # bytes committed so far

    @property
    def current(self) -> Batch:
        """This thread's batch; an empty one where none is open."""
        batch: Batch | None = getattr(self._local, "batch", None)
        if batch is None:
            batch = self._local.batch = Batch()
        return batch

    @contextlib.contextmanager
    def batch(self) -> Iterator[Batch]:
        """Commit what this thread adds inside, or none of it where anything is raised; nests."""
        self._guard.writable()
        batch = self.current
        batch.depth += 1
        try:
            yield batch
        except BaseException:
            if batch.depth == 1:
                self._local.batch = Batch()
                self.discard(batch.blobs.values())
            raise
        else:
            if batch.depth == 1:
                self._local.batch = Batch()
                self.commit(batch)
        finally:
            batch.depth -= 1

    def commit(self, batch: Batch) -> None:
        """Write a batch in one transaction.

        Raises
        ------
        StoreError
            Where it cannot be written; nothing of it is then.
        """
        used, self.used = self.used, set()
        if not (batch.blobs or batch.records or batch.notes or used):
            return
        spare: list[Spilled] = []
        try:
            with self._guard.writing() as table, table.transact():
                for name, blob in batch.blobs.items():
                    if whole(self._guard, name) is None:
                        table.set(f"blob:{name}", blob)
                    elif isinstance(blob, Spilled):
                        spare.append(blob)  # another process was first
                for name, sealed in batch.notes.items():
                    table.set(f"note:{name}", sealed)
                for id, (tag, sealed) in batch.records.items():
                    table.set(f"record:{id}", sealed, tag=msgspec.msgpack.encode(tag))
                    relist(table, tag.key, newest=id)
                if used:
                    table.touch_rows([f"record:{id}" for id in used], time.time())
        except StoreError:  # but no interrupt: after the commit it finds the files in use
            self.discard(batch.blobs.values())
            raise
        self.discard(spare)
        self.written += batch.size()

    def discard(self, blobs: Iterable[bytes | Spilled]) -> None:
        """Remove the files of blobs that will not be committed."""
        for blob in blobs:
            if isinstance(blob, Spilled):
                self._guard.writable().disk.remove(blob.name)


def whole(guard: Guard, digest: str) -> Row | None:
    """Return a blob's row where its file, if it has one, is there at its full size."""
    row = guard.table.row(f"blob:{digest}")
    if row is None or row.file is None:
        return row
    try:
        return row if (guard.home / row.file).stat().st_size == row.size else None
    except OSError:
        return None


def listed(table: Table | Reader, key: str) -> list[str]:
    """Return the ids under a source key, newest first."""
    found = table.get(f"key:{key}")
    try:
        return msgspec.msgpack.decode(found, type=list[str]) if found else []
    except msgspec.MsgspecError:
        return []


def relist(table: Table, key: str, *, newest: str | None = None, without: Collection[str] = ()) -> None:
    """Bring the list of ids under a source key up to date, and drop the records that fall off its end."""
    ids = [id for id in listed(table, key) if id != newest and id not in without]
    if newest is not None:
        ids.insert(0, newest)
    for id in ids[PER_KEY:]:
        table.delete(f"record:{id}")
    if ids:
        table.set(f"key:{key}", msgspec.msgpack.encode(ids[:PER_KEY]))
    else:
        table.delete(f"key:{key}")
