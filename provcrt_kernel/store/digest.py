"""Content hashes: the one name under which bytes are known everywhere.

A digest is the xxh3_128 of the bytes, as 32 hexadecimal digits. It is fast enough for arrays and says nothing
about who made the bytes: whoever can write into a store could make two blobs collide, so authorship is the
matter of `seal`.
"""

from __future__ import annotations

import io
import os
from pickle import PickleBuffer
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from typing_extensions import Buffer

CHUNK = 1 << 20  # bytes read at a time from a file: large enough that xxhash releases the GIL for each


def flat(data: Buffer) -> memoryview:
    """Return the bytes of `data` as they lie in memory, without copying them.

    Parameters
    ----------
    data : Buffer
        Any contiguous buffer, in C or Fortran order: bytes, memoryview, array, PickleBuffer.

    Returns
    -------
    memoryview
        One dimension of unsigned bytes, ``data``'s size in bytes long.

    Raises
    ------
    BufferError
        Where ``data`` is not contiguous.
    """
    return PickleBuffer(data).raw()


def digest(data: Buffer) -> str:
    """Return the digest of bytes in memory.

    Parameters
    ----------
    data : Buffer
        As in `flat`; only the bytes count, not their shape or type.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    return xxhash.xxh3_128_hexdigest(flat(data))


def digest_file(path: str | os.PathLike[str]) -> str:
    """Return the digest of a file's content, in constant memory.

    Parameters
    ----------
    path : path
        A regular file. It is read as it is while it is read: a writer at work gives the digest of a mixture.

    Returns
    -------
    str
        32 hexadecimal digits, equal to ``digest(path.read_bytes())``.

    Raises
    ------
    OSError
        Where the file cannot be opened or read.
    """
    state = xxhash.xxh3_128()
    with io.FileIO(path) as file:  # `open` may be the notebook's
        # Most files are small, and clearing a large window costs more than hashing them; those of /proc say 0.
        window = memoryview(bytearray(min(os.fstat(file.fileno()).st_size or CHUNK, CHUNK)))
        while count := file.readinto(window):
            state.update(window[:count])
    return state.hexdigest()
