"""What replayed cells needed: their records name it, though nobody touched it in this run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import msgspec

from provcrt_kernel.provenance.owners import METADATA, Package, owners
from provcrt_kernel.replay.looker import Look
from provcrt_kernel.replay.record import Record, decode
from provcrt_kernel.runtime.execution import CellRun
from provcrt_kernel.store import Store
from provcrt_kernel.trace import Access, Span
from provcrt_kernel.trace.paths import Seen
from provcrt_kernel.trace.span import Stat

_LOOKS = msgspec.msgpack.Decoder(list[Look])


def with_records(span: Span, cells: Sequence[CellRun], store: Store) -> tuple[Span, set[Package]]:
    """Return what a kernel did as if it had run the cells that it replayed.

    Parameters
    ----------
    span : Span
        What it did.
    cells : sequence of CellRun
    store : Store
        With their records.

    Returns
    -------
    Span
        With what the replayed cells read.
    set of Package
        With the packages that they used.
    """
    known = {access.path: access for access in span.accesses}
    library: set[str] = set()
    for cell in cells:
        data = store.record(cell.record) if cell.status != "executed" and cell.record else None
        record = decode(data) if data else None
        if record is not None:
            for access in _reads(record):
                there = known.get(access.path)
                merged = msgspec.structs.replace(
                    there or access,
                    read=access.read or (there is not None and there.read),
                    listed=access.listed or (there is not None and there.listed),
                )
                known[access.path] = merged
            library.update(_library(record, store))
    owned = owners([path for path in library if path not in known and not METADATA.search(path)])
    for path in library - owned.keys() - known.keys():
        known.update((access.path, access) for access in _access(path, read=True))
    accesses = tuple(known[path] for path in sorted(known))
    return msgspec.structs.replace(span, accesses=accesses), set(owned.values())


def _reads(record: Record) -> Iterable[Access]:
    for each in record.inputs:
        if each.kind != "absent":
            yield from _access(each.path, read=each.content is not None, listed=each.listing is not None)


def _access(path: str, *, read: bool, listed: bool = False) -> Iterable[Access]:
    try:
        found = os.lstat(path)
        target = os.readlink(path) if os.path.islink(path) else None
    except OSError:  # it is gone since: what removed it tells of it
        return
    yield Access(path, first=Stat.of(Seen.of(found)), read=read, stated=True, listed=listed, link=target)


def _library(record: Record, store: Store) -> set[str]:
    """Return the files of packages and of the system that a record's cell looked at."""
    data = store.get(record.library) if record.library else None
    if data is None:
        return set()
    return {path for path, size, _ in _LOOKS.decode(data) if size >= 0}
