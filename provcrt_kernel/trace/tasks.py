"""The traced processes: who they are, where they stand, and what lies in their memory.

Promise: every look at a task goes through here, /proc only. What is cached is dropped when the task may have
changed it. Sources: proc(5), seccomp_unotify(2).
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from provcrt_kernel.trace.spans import Spans

PAGE = 4096
_LONGEST = 4096  # PATH_MAX
_ARGUMENTS = 4096
_LISTED = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
_NAME = 160  # characters


class Image(NamedTuple):
    """One program that a process runs."""

    argv: tuple[bytes, ...]
    cwd: bytes
    exe: bytes
    started: float
    number: int = -1  # in the span in which it started


class Unreadable(Exception):
    """A task's memory cannot be read."""

    @classmethod
    def of(cls, pid: int, why: OSError) -> Unreadable:
        """Say which process, and why."""
        return cls(f"process {pid} cannot be read ({why.strerror}): what it does is unknown")


class Task:
    """One process: all threads of it.

    Attributes
    ----------
    pid, parent : int
    by : int
        `ledger.CHILD` or `ledger.KERNEL`, and a bit for the program that it runs, if that started in the open span.
    born : int
        The serial number of the span it was born in; 0 between spans.
    images : list of (int, Image)
        The programs it ran, each with the number of the span in which it started.
    ended : float or None
    guests : tuple of Spans
        Kernel processes within the family that it belongs to, and that have spans of their own.
    reseeded : int
        Draws of randomness, in the open span, by which Python reseeded `random` after a fork.
    """

    __slots__ = (
        "_cwd",
        "_mem",
        "born",
        "by",
        "ended",
        "foreign",
        "guests",
        "images",
        "maps",
        "parent",
        "pid",
        "reseeded",
        "unsettled",
    )

    def __init__(self, pid: int, parent: int, by: int, born: int) -> None:
        self.pid = pid
        self.parent = parent
        self.by = by
        self.born = born
        self.ended: float | None = None
        self.reseeded = 0
        self.images: list[tuple[int, Image]] = []
        self.guests: tuple[Spans, ...] = ()
        self.foreign = False  # names mean something else for it: another root, other mounts
        self.maps = True  # it may have mapped a data file
        self._mem = -1
        self._cwd: bytes | None = None
        self.unsettled = 0  # the thread that is just changing the working directory; -1: never cache it

    def close(self) -> None:
        """Drop the address space: the process ends, or executes another program."""
        if self._mem >= 0:
            os.close(self._mem)
            self._mem = -1

    def peek(self, address: int, size: int) -> bytes:
        """Return up to `size` bytes of memory; fewer where the mapping ends, none where there is none.

        Raises
        ------
        Unreadable
            Where the process may not be read at all.
        """
        for _ in range(2):
            if self._mem < 0:
                try:
                    self._mem = os.open(b"/proc/%d/mem" % self.pid, os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    return b""
                except OSError as error:
                    raise Unreadable.of(self.pid, error) from error
            try:
                data = os.pread(self._mem, size, address)
            except OSError:
                return b""  # nothing is mapped there: the call itself will say EFAULT
            if data:
                return data
            self.close()  # that address space is gone: another program runs now
        return b""

    def text(self, address: int) -> bytes | None:
        """Return the NUL-terminated string at an address; None where there is none."""
        try:
            data = os.pread(self._mem, 256, address)  # the common case, written out
        except OSError:
            data = b""
        end = data.find(0)
        if end >= 0:
            return data[:end]
        data = self.peek(address, 256)
        end = data.find(0)
        if end >= 0:
            return data[:end]
        if not data:
            return None
        while len(data) < _LONGEST * 32:
            more = self.peek(address + len(data), PAGE)
            if not more:
                return None
            end = more.find(0)
            if end >= 0:
                return data + more[:end]
            data += more
        return data

    def strings(self, address: int) -> tuple[bytes, ...]:
        """Return a NULL-terminated array of strings (an argv)."""
        found: list[bytes] = []
        while address and len(found) < _ARGUMENTS:
            block = self.peek(address, 512)
            for (pointer,) in struct.iter_unpack("=Q", block[: len(block) & ~7]):
                if not pointer:
                    return tuple(found)
                found.append(self.text(pointer) or b"")
            if len(block) < 8:
                break
            address += len(block) & ~7
        return tuple(found)

    def cwd(self, tid: int) -> bytes:
        """Return the working directory of one of its threads."""
        if self._cwd is not None and not self.unsettled:
            return self._cwd
        where = readlink(b"/proc/%d/cwd" % tid)
        if self.unsettled == tid:  # it is back from changing it
            self.unsettled = 0
        if not self.unsettled:
            self._cwd = where
        return where

    def base(self, descriptor: int, tid: int) -> bytes:
        """Return the directory that a descriptor stands for (AT_FDCWD: the working directory)."""
        descriptor &= 0xFFFFFFFF
        return self.cwd(tid) if descriptor == 0xFFFFFF9C else readlink(b"/proc/%d/fd/%d" % (tid, descriptor))

    def moving(self, tid: int) -> None:
        """Note that a thread is about to change the working directory."""
        if self.unsettled != -1:
            self.unsettled = tid
        self._cwd = None

    def alive(self) -> bool:
        """Say whether it runs still (a zombie does not)."""
        if self.ended is not None:
            return False
        return state_of(self.pid)[0] not in ("", "Z", "X")

    def name(self) -> str:
        """Return its pid, the program it runs and the beginning of its arguments, for people."""
        argv = self.images[-1][1].argv if self.images else ()
        return f"{self.pid} {os.fsdecode(b' '.join(argv[:6]))[:_NAME] or '?'}"


def readlink(path: bytes) -> bytes:
    """Return where a link leads, and nothing where there is none."""
    try:
        return os.readlink(path)
    except OSError:
        return b""


def state_of(pid: int) -> tuple[str, int]:
    """Return the state letter and the parent of a process; ``("", 0)`` where it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return "", 0
    return fields[0].decode(), int(fields[1])


def process_of(tid: int) -> tuple[int, int]:
    """Return the process of a thread and that process's parent; zeros where it is gone."""
    try:
        with open(f"/proc/{tid}/status", "rb") as file:
            text = file.read(1024)  # begins with the name, in which a line's end is written as \\n
    except OSError:
        return 0, 0
    return _number(text, b"\nTgid:"), _number(text, b"\nPPid:")


def _number(status: bytes, field: bytes) -> int:
    at = status.find(field)
    return int(status[at + len(field) : status.find(b"\n", at + 1)]) if at >= 0 else 0


def no_new_privileges(pid: int) -> bool:
    """Say whether a process can gain no privileges by executing a program (prctl(2))."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return b"\nNoNewPrivs:\t1\n" in file.read()
    except OSError:
        return False


def image_now(pid: int) -> Image:
    """Return the program that a process runs, as /proc tells it."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read()
    except OSError:
        line = b""
    argv = tuple(line.removesuffix(b"\0").split(b"\0")) if line else ()
    return Image(argv, readlink(b"/proc/%d/cwd" % pid), readlink(b"/proc/%d/exe" % pid), time.time())


def newest_pid() -> int:
    """Return the number of the process or thread that was born last (proc_loadavg(5)); never the same where it is not told."""
    try:
        with open("/proc/loadavg", "rb") as file:
            return int(file.read().split()[4])
    except (OSError, ValueError, IndexError):
        return -time.monotonic_ns()


def unborn(parents: set[int], known: set[int]) -> list[tuple[int, int]]:
    """Return (pid, parent) of the children of some processes, at any depth, that are not known yet."""
    found: list[tuple[int, int]] = []
    waiting = list(parents)
    seen = known | parents
    while waiting:
        parent = waiting.pop()
        for pid in _children(parent):
            if pid not in seen:
                seen.add(pid)
                waiting.append(pid)
                found.append((pid, parent))
    return found


def _children(pid: int) -> list[int]:
    """Return the children of a process (proc_tid_children(5)); where Linux does not list them, all are looked through."""
    if not _LISTED:
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and state_of(int(name))[1] == pid]
    found: list[int] = []
    with contextlib.suppress(OSError):
        for tid in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{tid}/children", "rb") as file:
                found += map(int, file.read().split())
    return found
