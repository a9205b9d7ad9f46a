"""Old content: what a file held that was read and is about to be changed, kept as a file of its own.

Promise: one pass over the content at most. Where the file system can share blocks (reflink) nothing is copied; else a
file up to a limit is copied while it is hashed; a larger one is only hashed, and the answer says so. A full disk is
never the traced program's problem. Source: ioctl_ficlone(2).
"""

from __future__ import annotations

import fcntl
import os
from itertools import count
from typing import NamedTuple

import xxhash

from provcrt_kernel.store.digest import CHUNK

_FICLONE = 0x40049409
LARGEST = 256 << 20  # bytes of a file that is copied: a quarter of a second of the call that waits for it
_SPARE = 8  # times its size must be free where it is copied to
_count = count()


class Preimage(NamedTuple):
    """The digest of a file's content, the file where it is kept, and else why it is not."""

    digest: str
    kept: bytes | None
    problem: str | None


def preserve(path: bytes, folder: bytes, largest: int = LARGEST) -> Preimage:
    """Keep a file's content as a new file in `folder`, which is made if need be.

    Raises
    ------
    OSError
        Where `path` cannot be read.
    """
    with open(path, "rb", buffering=0) as source:
        size = os.fstat(source.fileno()).st_size
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            name = b"%s/%d-%d" % (folder, os.getpid(), next(_count))
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            return Preimage(_copy(source.fileno(), -1)[0], None, f"no place to keep it: {error.strerror}")
        try:
            if _clones(source.fileno(), descriptor):
                return Preimage(_copy(descriptor, -1)[0], name, None)
            if size > largest:
                problem: str | None = f"too large to be copied ({size >> 20} MiB)"
            elif _room(descriptor) < _SPARE * size:
                problem = "too little room to copy it"
            else:
                digest, problem = _copy(source.fileno(), descriptor)
                if problem is None:
                    return Preimage(digest, name, None)
                os.lseek(source.fileno(), 0, os.SEEK_SET)
            os.unlink(name)
            return Preimage(_copy(source.fileno(), -1)[0], None, problem)
        finally:
            os.close(descriptor)


def _clones(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:  # another file system, or one that cannot
        return False
    return True


def _room(descriptor: int) -> int:
    found = os.fstatvfs(descriptor)
    return found.f_bavail * found.f_frsize


def _copy(source: int, target: int) -> tuple[str, str | None]:
    """Return the digest of what is left to read, written to `target` on the way unless that is -1; and why it was not."""
    state = xxhash.xxh3_128()
    window = memoryview(bytearray(CHUNK))
    while count := os.readv(source, [window]):
        state.update(window[:count])
        at = 0
        try:
            while target >= 0 and at < count:
                at += os.write(target, window[at:count])
        except OSError as error:
            return "", f"it could not be copied: {error.strerror}"
    return state.hexdigest(), None
