"""The filter: a classic BPF program that picks the calls of a table and lets every other one pass at once.

Promise: a pure function from tables to bytes. Calls are found by a binary search over their numbers, so that an
untrapped call costs some eight comparisons, and none where the kernel caches that it is always allowed.
Layout of the data a filter sees: seccomp(2), ``struct seccomp_data``.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from provcrt_kernel.trace import calls as c

if TYPE_CHECKING:
    from collections.abc import Sequence

NOTIFY = 0x7FC00000
TRACE = 0x7FF00000
FOREIGN = 1  # in the low bits of an action: the call is that of a 32-bit program
ALLOW = 0x7FFF0000
ERRNO = 0x00050000
PAGE = 4096

_LOAD, _JA, _JEQ, _JGE, _JSET, _RET = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH = 0, 4
_IP = 8
_X32 = 0x40000000
_OF_THE_PAGE = ("openat", "newfstatat", "getdents64")

Line = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def program(machine: c.Machine, action: int = NOTIFY, unseen: int | None = None) -> bytes:
    """Return the filter for an architecture as an array of ``struct sock_filter`` (8 bytes each).

    Parameters
    ----------
    machine : Machine
    action : int
        What becomes of the calls in its table: `NOTIFY` or `TRACE`.
    unseen : int or None
        Address of the page whose calls pass (see `page`). It is compared only where a notice would be given: a
        filter that looked at it first would cost every call of the process its entry in the kernel's cache.
    """
    own = [(_LOAD, 0, 0, _NR)]
    if machine.name == "x86_64":  # its x32 numbers reach the same calls by another door
        own += [(_JGE, 0, 1, _X32), _ret(ERRNO | errno.ENOSYS)]
    leaves: dict[int, list[Line]] = {}
    for number, call in machine.calls.items():
        leaves[number] = _leaf(call, _ret(action))
        if unseen is not None and call.name in _OF_THE_PAGE:
            leaves[number][-1:] = _unless_from(unseen, _ret(action))
    leaves |= {nr: [_ret(ERRNO | errno.ENOSYS)] for nr in machine.refused}
    own += _search(sorted(leaves.items()))
    lines = [(_LOAD, 0, 0, _ARCH), (_JEQ, 0, 1, machine.audit), (_JA, 0, 0, 0)]
    foreign = _foreign(*machine.foreign, _ret(action | FOREIGN))
    lines[2] = (_JA, 0, 0, len(foreign))
    return b"".join(struct.pack("=HBBI", *line) for line in [*lines, *foreign, *own])


def _ret(action: int) -> Line:
    return (_RET, 0, 0, action)


def _low(argument: int) -> int:
    return 16 + 8 * argument  # little endian: the low word comes first


def _leaf(call: c.Call, notify: Line) -> list[Line]:
    allow = _ret(ALLOW)
    if call.quiet == "plain":
        # children are found at barriers: a notice could make fork fail with EINTR, which no program expects
        names = c.CLONE_NEWNS | c.CLONE_FS
        return [
            (_LOAD, 0, 0, _low(0)),
            (_JSET, 1, 0, c.CLONE_THREAD),
            (_JSET, 1, 0, names),
            allow,
            notify,
        ]
    if (
        call.quiet == "empty_path"
    ):  # the common fstat; relative to the working directory it is a path after all
        assert call.flags is not None
        assert call.dir is not None
        return [
            (_LOAD, 0, 0, _low(call.flags)),
            (_JSET, 0, 3, c.AT_EMPTY_PATH),
            (_LOAD, 0, 0, _low(call.dir)),
            (_JEQ, 1, 0, c.AT_FDCWD),
            allow,
            notify,
        ]
    if (
        call.quiet == "connected"
    ):  # no address: on its way to whoever was connected, unless it may ask a name server
        return [
            (_LOAD, 0, 0, _low(4)),
            (_JEQ, 0, 7, 0),
            (_LOAD, 0, 0, _low(4) + 4),
            (_JEQ, 0, 5, 0),
            (_LOAD, 0, 0, _low(3)),
            (_JSET, 0, 2, c.MSG_NOSIGNAL),
            (_LOAD, 0, 0, _low(2)),
            (_JGE, 0, 1, c.QUESTION + 1),
            allow,
            notify,
        ]
    if call.quiet == "program":  # memory, and what the dynamic linker maps; the data files are left
        own = c.MAP_ANONYMOUS | c.MAP_DENYWRITE
        return [(_LOAD, 0, 0, _low(3)), (_JSET, 0, 1, own), allow, notify]
    if call.quiet == "malloc":  # glibc seeds its allocator in every process: getrandom(…, 8, GRND_NONBLOCK)
        return [
            (_LOAD, 0, 0, _low(1)),
            (_JGE, 3, 0, 9),
            (_LOAD, 0, 0, _low(2)),
            (_JSET, 0, 1, 1),
            allow,
            notify,
        ]
    return [notify]


def _unless_from(page: int, notify: Line) -> list[Line]:
    low, high = page & 0xFFFFFFFF, page >> 32
    return [
        (_LOAD, 0, 0, _IP + 4),
        (_JEQ, 0, 4, high),
        (_LOAD, 0, 0, _IP),
        (_JGE, 0, 2, low),
        (_JGE, 1, 0, low + PAGE),
        _ret(ALLOW),
        notify,
    ]


def _search(leaves: Sequence[tuple[int, list[Line]]]) -> list[Line]:
    if len(leaves) == 1:
        number, leaf = leaves[0]
        return [(_JEQ, 1, 0, number), _ret(ALLOW), *leaf]
    middle = len(leaves) // 2
    left, right = _search(leaves[:middle]), _search(leaves[middle:])
    pivot = leaves[middle][0]
    if len(left) < 256:
        return [(_JGE, len(left), 0, pivot), *left, *right]
    return [(_JGE, 0, 1, pivot), (_JA, 0, 0, len(left)), *left, *right]


def _foreign(audit: int, numbers: Sequence[int], notify: Line) -> list[Line]:
    tests: list[Line] = [(_JEQ, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    # anything else than the 32-bit sibling is not known to exist on this machine
    return [(_JEQ, 1, 0, audit), _ret(ALLOW), (_LOAD, 0, 0, _NR), *tests, _ret(ALLOW), notify]
