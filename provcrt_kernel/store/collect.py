"""Collection: free what nothing refers to, and then what is worth least, down to a limit."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import msgspec

from provcrt_kernel.store import evict
from provcrt_kernel.store import folder as layout
from provcrt_kernel.store.batch import Tag, relist
from provcrt_kernel.store.blobs import GRACE
from provcrt_kernel.store.guard import Guard
from provcrt_kernel.store.lease import leased
from provcrt_kernel.store.table import Row, Table, loose_files

NOTE_LIFE = 90 * 86400.0  # seconds after which a note that nobody wrote again is dropped


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


def collect(guard: Guard, limit: int, *, dry: bool, given_up: Collection[str] = ()) -> Collected:
    """Free what nothing refers to, and then the least worthy records until `limit` bytes are left.

    Blobs that are young stay, since somebody may be about to refer to them; those that are `given_up` do not.

    Raises
    ------
    StoreError
        Where the store cannot be written.
    """
    now = time.time()
    with guard.writing() as table, table.transact():
        rows = {row.key: row for row in table.rows()}
        notes = [row for row in rows.values() if row.key.startswith("note:") and now - row.used > NOTE_LIFE]
        blobs = {key[5:]: row for key, row in rows.items() if key.startswith("blob:")}
        tags = {key[7:]: _tag(row) for key, row in rows.items() if key.startswith("record:")}
        total = sum(row.size for row in rows.values())
        records, loose = evict.choose(
            [_held(id, tag, rows[f"record:{id}"]) for id, tag in tags.items()],
            {name: row.size for name, row in blobs.items()},
            leased=leased(guard.home / layout.LEASES),
            young={name for name, row in blobs.items() if now - row.used < GRACE and name not in given_up},
            excess=total - limit - sum(row.size for row in notes),
        )
        evicted = {held.id for held in records}
        gone = [rows[f"record:{id}"] for id in evicted] + [blobs[name] for name in loose] + notes
        left = total - sum(row.size for row in gone)
        if not dry:
            drop(table, evicted)
            table.delete_rows([row.key for row in gone])
            left = sum(row.size for row in table.rows())
    named = {row.file for row in rows.values()}
    sizes = {name: _stray(guard.home / name, name, named, now) for name in loose_files(guard.home)}
    strays = {name: size for name, size in sizes.items() if size is not None}
    if not dry:
        # Only now that the rows are gone for good: no row may ever name a file that is not there.
        for name in [*strays, *(row.file for row in gone if row.file)]:
            table.disk.remove(name)
    return Collected(
        records=[held.id for held in records],
        blobs=len(loose),
        notes=len(notes),
        files=len(strays),
        bytes=total - left + sum(strays.values()),
        kept=left,
    )


def drop(table: Table, ids: Collection[str]) -> set[str]:
    """Delete records and what lists them, and return the blobs that they referred to; call it inside a transaction."""
    rows = [row for id in ids if (row := table.row(f"record:{id}"))]
    table.delete_rows([row.key for row in rows])
    tags = [_tag(row) for row in rows]
    for key in {tag.key for tag in tags}:
        relist(table, key, without=ids)
    return {blob for tag in tags for blob in tag.blobs}


def _tag(row: Row) -> Tag:
    try:
        return msgspec.msgpack.decode(row.tag or b"", type=Tag)
    except msgspec.MsgspecError:
        return Tag("", 0.0, [])


def _held(id: str, tag: Tag, row: Row) -> evict.Held:
    return evict.Held(id, tag.worth, row.used, row.size, frozenset(tag.blobs))


def _stray(path: Path, name: str, named: Collection[str | None], now: float) -> int | None:
    """Return the size of a file that no row names and that is too old to be about to get one, or None."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size if name not in named and now - state.st_mtime > GRACE else None
