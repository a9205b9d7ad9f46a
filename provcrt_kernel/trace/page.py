"""A page of memory whose system calls the filter lets pass unseen, for looks that the kernel process reports itself.

Promise: what is asked through `Page` costs no notice, so whoever asks must say what it asked for. The page lies where
no loader and no allocator of Linux puts code, so another program that is executed later cannot issue calls from it by
accident. A forked child has a copy of the page: the asker must stop using it there, or nobody hears what it says.

The idea is the safe page of rr (O'Callahan et al., *Engineering Record and Replay for Deployability*, USENIX ATC 2017).
"""

from __future__ import annotations

import ctypes
import errno
import io
import os
import stat
import struct
from collections.abc import Iterator

from provcrt_kernel.trace.bpf import PAGE
from provcrt_kernel.trace.calls import AT_FDCWD, AT_SYMLINK_NOFOLLOW, Machine
from provcrt_kernel.trace.notify import libc

#: Between the programs (above 0x5500_0000_0000) and the heaps of runtimes that choose low addresses themselves.
_ADDRESS = 0x2B5A_1D3C_7000
_NAMES = 1 << 15  # bytes of a directory's names taken at a time
_SECOND = 1_000_000_000  # in nanoseconds
_READ_WRITE, _READ_EXECUTE = 3, 5
_PRIVATE_ANONYMOUS_EXACTLY = 0x02 | 0x20 | 0x100000  # MAP_FIXED_NOREPLACE
_FAILED = ctypes.c_void_p(-1).value

#: ``long call(number, a, b, c, d)``: move the arguments to where the kernel wants them, trap, return.
_CODE = {
    "x86_64": bytes.fromhex("4889f8 4889f7 4889d6 4889ca 4d89c2 0f05 c3"),
    "aarch64": struct.pack(
        "<7I", 0xAA0003E8, 0xAA0103E0, 0xAA0203E1, 0xAA0303E2, 0xAA0403E3, 0xD4000001, 0xD65F03C0
    ),
}
#: ``struct stat``: its size, and mode, links, uid, gid, inode, device, bytes and three times within it.
_LAYOUT = {
    "x86_64": struct.Struct("<QQQIIIxxxxQqqq6q24x"),
    "aarch64": struct.Struct("<QQIIIIQQqixxxxq6q8x"),
}


class Page:
    """Calls that nobody is notified of.

    Attributes
    ----------
    address
        Where it lies: of calls issued from there the filter knows that they come from here.
    """

    def __init__(self, machine: Machine, address: int) -> None:
        self.address = address
        signature = ctypes.CFUNCTYPE(
            ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_long
        )
        self._call = signature(address)
        numbers = {call.name: number for number, call in machine.calls.items()}
        self._open, self._stat, self._list = numbers["openat"], numbers["newfstatat"], numbers["getdents64"]
        self._layout, self._arm = _LAYOUT[machine.name], machine.name == "aarch64"

    @classmethod
    def map(cls, machine: Machine) -> Page | None:
        """Map the page; None where the system has no code for it or forbids it."""
        code = _CODE.get(machine.name)
        if code is None:
            return None
        libc.mmap.restype, libc.mmap.argtypes = (
            ctypes.c_void_p,
            (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long),
        )
        libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        found = libc.mmap(_ADDRESS, PAGE, _READ_WRITE, _PRIVATE_ANONYMOUS_EXACTLY, -1, 0)
        if found != _ADDRESS:  # taken, or refused; before Linux 4.17 the wish may be granted elsewhere
            if found not in (None, _FAILED):
                libc.munmap(ctypes.c_void_p(found), ctypes.c_size_t(PAGE))
            return None
        ctypes.memmove(found, code, len(code))
        if libc.mprotect(found, PAGE, _READ_EXECUTE) != 0:
            libc.munmap(ctypes.c_void_p(found), ctypes.c_size_t(PAGE))
            return None
        page = cls(machine, found)
        return page if page.works() else None

    def works(self) -> bool:
        """Whether a call through the page answers as one through libc does."""
        try:
            return self.lstat(os.sep)[:7] == os.lstat(os.sep)[:7]
        except OSError:
            return False

    def lstat(self, path: str) -> os.stat_result:
        """`os.lstat` of a path, unseen.

        Raises
        ------
        OSError
            As from `os.lstat`.
        """
        layout = self._layout
        room = ctypes.create_string_buffer(layout.size)
        result = self._call(
            self._stat, AT_FDCWD, os.fsencode(path), ctypes.addressof(room), AT_SYMLINK_NOFOLLOW
        )
        if result < 0:
            raise OSError(-result, os.strerror(-result), path)
        if self._arm:
            dev, ino, mode, links, uid, gid, rdev, _, size, block, blocks, a, an, m, mn, c, cn = (
                layout.unpack(room)
            )
        else:
            dev, ino, links, mode, uid, gid, rdev, size, block, blocks, a, an, m, mn, c, cn = layout.unpack(
                room
            )
        times = (a, m, c, a + an * 1e-9, m + mn * 1e-9, c + cn * 1e-9)
        nanos = (a * _SECOND + an, m * _SECOND + mn, c * _SECOND + cn)
        return os.stat_result((mode, ino, dev, links, uid, gid, size, *times, *nanos, block, blocks, rdev))

    def listdir(self, path: str) -> list[str]:
        """`os.listdir` of a directory, unseen.

        Raises
        ------
        OSError
            As from `os.listdir`.
        """
        names: list[str] = []
        room = ctypes.create_string_buffer(_NAMES)
        descriptor = self._opened(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            while size := self._call(self._list, descriptor, room, _NAMES, 0):
                if size < 0:
                    raise OSError(-size, os.strerror(-size), path)
                names += _names(room.raw[:size])
        finally:
            os.close(descriptor)
        return names

    def _opened(self, path: str, flags: int) -> int:
        descriptor = int(self._call(self._open, AT_FDCWD, os.fsencode(path), flags, 0))
        if descriptor < 0:
            raise OSError(-descriptor, os.strerror(-descriptor), path)
        return descriptor

    def read(self, path: str) -> bytes:
        """The content of a regular file, its opening unseen.

        Raises
        ------
        OSError
            As from `open`.
        """
        descriptor = self._opened(path, os.O_RDONLY | os.O_CLOEXEC)
        with io.FileIO(descriptor) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            return file.readall()


def _names(entries: bytes) -> Iterator[str]:
    """Names in an array of ``struct linux_dirent64`` (getdents64(2))."""
    at = 0
    while at < len(entries):
        length = int.from_bytes(entries[at + 16 : at + 18], "little")
        name = entries[at + 19 : entries.index(0, at + 19)]
        if name not in (b".", b".."):
            yield os.fsdecode(name)
        at += length
