"""Blobs: bytes known by their digest, and checked against it whenever they are read."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import xxhash
import zstandard

from provcrt_kernel.store import frames
from provcrt_kernel.store.batch import Batch, Batches, whole
from provcrt_kernel.store.digest import CHUNK, digest, digest_file, flat
from provcrt_kernel.store.errors import StoreError
from provcrt_kernel.store.guard import Guard
from provcrt_kernel.store.table import Spilled, Table, open_file

if TYPE_CHECKING:
    from typing_extensions import Buffer

INLINE = 1 << 15  # bytes: larger blobs get a file of their own
GRACE = 3600.0  # seconds for which a blob may wait for the record that will refer to it


class Blobs:
    """The blobs of a store; `Store` says what each method promises."""

    def __init__(self, guard: Guard, batches: Batches) -> None:
        self._guard = guard
        self._batches = batches

    def put(self, data: Buffer) -> str:
        """Keep bytes, and return their digest."""
        view = flat(data)
        name = digest(view)
        with self._batches.batch() as batch:
            if not self._settled(name, batch):
                batch.blobs[name] = bytes(view) if len(view) < INLINE else self._spill(iter((view,)))
        return name

    def put_file(self, path: str | os.PathLike[str], *, compress: bool = False) -> str:
        """Keep a file's content, and return its digest."""
        with io.FileIO(path) as file:
            if os.fstat(file.fileno()).st_size < INLINE:
                return self.put(file.readall())
            name = digest_file(path)
            with self._batches.batch() as batch:
                if not self._settled(name, batch):
                    state = xxhash.xxh3_128()
                    head = memoryview(os.pread(file.fileno(), CHUNK, 0)) if compress else memoryview(b"")
                    pieces = _pieces(file.fileno(), state)
                    packed = compress and frames.pays(head)
                    spilled = self._spill(frames.compressed(pieces) if packed else pieces)
                    name = state.hexdigest()  # of what was copied, whoever wrote to the file meanwhile
                    if name in batch.blobs:
                        self._batches.discard([spilled])
                    else:
                        batch.blobs[name] = spilled
            return name

    def get(self, name: str) -> bytes | None:
        """Return the blob whose digest is `name`."""
        held = self._batches.current.blobs.get(name)
        if isinstance(held, bytes):
            return held
        if held is not None:
            data = self._guard.reading((self._guard.home / held.name).read_bytes)
            return data if data is None or digest(data) == name else frames.whole(data)
        for _ in range(2):  # another process may have replaced the file between its row and its opening
            data = self._guard.reading(lambda: self._guard.table.get(f"blob:{name}"))
            if data is not None:
                break
        if data is not None:
            if digest(data) == name:
                return data
            content = frames.whole(data) if frames.is_frame(data) else None
            if content is not None and digest(content) == name:
                return content
        self._drop_damaged(name)
        return None

    def restore(self, name: str, path: str | os.PathLike[str]) -> bool:
        """Write the blob whose digest is `name` to the file `path`."""
        target = Path(path)
        draft = target.with_name(f".{target.name[:200]}.{os.urandom(4).hex()}")
        row = self._guard.reading(lambda: self._guard.table.row(f"blob:{name}"))
        source = open_file(self._guard.home, row) if row else None
        try:
            if source is None:
                data = self.get(name)
                if data is None:
                    return False
                draft.write_bytes(data)
            elif not (_copy(source, draft, name) or _copy(source, draft, name, frame=True)):
                self._drop_damaged(name)
                return False
            draft.replace(target)
            return True
        finally:
            if source is not None:
                os.close(source)
            draft.unlink(missing_ok=True)

    def has(self, name: str) -> bool:
        """Tell whether there is a blob whose digest is `name`, at its full size."""
        if name in self._batches.current.blobs:
            return True
        return self._guard.reading(lambda: whole(self._guard, name)) is not None

    def _settled(self, name: str, batch: Batch) -> bool:
        """Tell whether a blob need not be written, and keep it from looking old and forgotten."""
        if name in batch.blobs:
            return True
        row = self._guard.reading(lambda: whole(self._guard, name))
        if row is not None and time.time() - row.used > GRACE / 2:
            with self._guard.writing() as table, table.transact():
                table.touch_rows([row.key], time.time())
                return table.row(row.key) is not None
        return row is not None

    def _spill(self, pieces: Iterator[memoryview]) -> Spilled:
        with self._guard.writing() as table:
            return table.spill(pieces)

    def _drop_damaged(self, name: str) -> None:
        """Remove a blob that cannot be what its digest says, if it is there at all."""
        guard = self._guard
        row = guard.reading(lambda: guard.table.row(f"blob:{name}"))
        if row is None:
            return
        guard.found(f"the store {guard.folder} held a damaged blob, which is gone now: {name}")
        if isinstance(guard.table, Table):
            with contextlib.suppress(StoreError), guard.writing() as table, table.transact():
                if table.row(row.key) == row:  # not one that another process has put in its place
                    table.delete(row.key)


def _copy(source: int, draft: Path, name: str, *, frame: bool = False) -> bool:
    """Write an open blob, or the content of the frame that it is, to a new file; False where its digest differs."""
    if frame and not frames.is_frame(os.pread(source, 4, 0)):
        return False
    os.lseek(source, 0, os.SEEK_SET)
    state = xxhash.xxh3_128()
    with io.FileIO(draft, "w") as file, io.FileIO(source, closefd=False) as stored:
        try:
            for piece in frames.unpacked(stored) if frame else _pieces(source, xxhash.xxh3_128()):
                state.update(piece)
                frames.write_sparse(file.fileno(), piece)
        except zstandard.ZstdError:
            return False
        frames.seal_sparse(file.fileno())
    return state.hexdigest() == name


def _pieces(descriptor: int, state: xxhash.xxh3_128) -> Iterator[memoryview]:
    """Yield a file's content in chunks, hashing it on the way; each is only good until the next."""
    window = memoryview(bytearray(CHUNK))
    while count := os.readv(descriptor, [window]):
        state.update(window[:count])
        yield window[:count]
