"""Files as they are kept: compressed with zstd where that pays, and sparse again where they were.

A compressed blob needs no mark: it is known by the digest of its content, so bytes that do not have it and begin
like a zstd frame (RFC 8878, section 3.1.1) are unpacked and looked at once more.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import zstandard

from provcrt_kernel.store.digest import CHUNK

_MAGIC = b"\x28\xb5\x2f\xfd"
_LEVEL = 3
_PAYS = 0.9  # of the size, in the first chunk
_BLOCK = 4096  # bytes: what a file system may leave out
_ZERO = bytes(_BLOCK)


def pays(head: memoryview) -> bool:
    """Tell from the first chunk of a file whether it is worth compressing."""
    return len(zstandard.ZstdCompressor(level=1).compress(head)) < _PAYS * len(head)


def compressed(pieces: Iterable[memoryview]) -> Iterator[memoryview]:
    """Yield the zstd frame of what `pieces` are, in constant memory."""
    state = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
    for piece in pieces:
        if out := state.compress(piece):
            yield memoryview(out)
    yield memoryview(state.flush())


def is_frame(head: bytes) -> bool:
    """Tell whether bytes begin like a compressed blob."""
    return head.startswith(_MAGIC)


def unpacked(file: BinaryIO) -> Iterator[memoryview]:
    """Yield the content of the frame that `file` is, in chunks.

    Raises
    ------
    zstandard.ZstdError
        Where it is none.
    """
    # A window of a gigabyte is what a hostile frame could ask for; ours need 2 MiB (zstd's level 3).
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(file)
    while piece := reader.read(CHUNK):
        yield memoryview(piece)


def whole(data: bytes) -> bytes | None:
    """Return the content of a frame in memory, or None where it is none."""
    try:
        return b"".join(unpacked(io.BytesIO(data)))
    except zstandard.ZstdError:
        return None


def write_sparse(descriptor: int, piece: memoryview) -> None:
    """Write a piece at the end of a new file, leaving holes where it is zero; `seal_sparse` must follow the last."""
    start, size = 0, len(piece)
    while start < size:
        zero = piece[start : start + _BLOCK] == _ZERO
        end = start + _BLOCK
        while end < size and (piece[end : end + _BLOCK] == _ZERO) == zero:
            end += _BLOCK
        end = min(end, size)
        if zero:
            os.lseek(descriptor, end - start, os.SEEK_CUR)
        else:
            rest = piece[start:end]
            while len(rest):
                rest = rest[os.write(descriptor, rest) :]
        start = end


def seal_sparse(descriptor: int) -> None:
    """Give a file that ends in a hole its size."""
    os.ftruncate(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR))
