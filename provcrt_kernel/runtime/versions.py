"""Which content each file had that a cell read or wrote, as the cell's record knows it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

import msgspec

from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.replay.record import FileInput, FileOutput, decode
from provcrt_kernel.runtime.execution import CellRun
from provcrt_kernel.runtime.records import Records
from provcrt_kernel.store import Store, StoreError, digest_file


def with_versions(
    cells: Sequence[CellRun], records: Records, place: Callable[[str], str] = str
) -> tuple[CellRun, ...]:
    """Return the cells of a run that has just ended, with the contents of their files.

    Contents come from the records that the kernel made. Where there is none, a file that was written has the
    content that it has now, if no later cell wrote it; of one that was only read nobody can say what it was.

    Parameters
    ----------
    cells : sequence of CellRun
    records : Records
        Where the kernel kept its records.
    place : callable
        Where a path of the run is to be found here.
    """
    last = {file.path: cell.number for cell in cells for file in cell.files_written}
    try:
        with records.open() as store:
            return tuple(_versioned(cell, store, last, place) for cell in cells)
    except StoreError:
        return tuple(_versioned(cell, None, last, place) for cell in cells)


def _versioned(
    cell: CellRun, store: Store | None, last: dict[str, int], place: Callable[[str], str]
) -> CellRun:
    data = store.record(cell.record) if store is not None and cell.record else None
    record = decode(data) if data else None
    read = _contents(record.inputs) if record else {}
    written = _contents(record.outputs) if record else {}
    now = {file.path for file in cell.files_written if last[file.path] == cell.number}
    return msgspec.structs.replace(
        cell,
        files_read=tuple(FileVersion(file.path, read.get(file.path)) for file in cell.files_read),
        files_written=tuple(
            FileVersion(
                file.path,
                written.get(file.path) or (_now(place(file.path)) if file.path in now else None),
            )
            for file in cell.files_written
        ),
    )


def _contents(files: Iterable[FileInput | FileOutput]) -> dict[str, str]:
    return {file.path: file.content for file in files if file.kind == "file" and file.content}


def _now(path: str) -> str | None:
    try:
        return digest_file(path) if os.path.isfile(path) else None
    except OSError:
        return None
