"""Linux's side of user notification: the few system calls that Python does not wrap.

Promise: thin, typed, and nothing decided here. Sources: seccomp(2), seccomp_unotify(2), pidfd_getfd(2), prctl(2).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

from provcrt_kernel.trace import bpf
from provcrt_kernel.trace.calls import PIDFD_GETFD, Machine

RECV, SEND, SET_FLAGS = 0xC0502100, 0xC0182101, 0x40082104
CONTINUE = 1
NOTICE = struct.Struct("=QIIiIQ6Q")  # id, tid, flags, call number, architecture, instruction, six arguments
ANSWER = struct.Struct("=Qqii")  # id, value, error, flags
ROOM = 2048  # bytes of the shared page

_SET_MODE_FILTER = 1
_TSYNC, _SPEC_ALLOW, _NEW_LISTENER, _TSYNC_ESRCH, _WAIT_KILLABLE = 1, 4, 8, 16, 32
_NO_NEW_PRIVS, _CHILD_SUBREAPER = 38, 36

libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def become_subreaper() -> None:
    """Make this process the parent of what its descendants leave orphaned."""
    _check(libc.prctl(_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def install(machine: Machine, unseen: int | None = None) -> int:
    """Install the filter in every thread of this process; return the listener's descriptor."""
    flags = _TSYNC | _NEW_LISTENER | _TSYNC_ESRCH
    try:
        return _install(machine, bpf.NOTIFY, flags | _WAIT_KILLABLE, unseen)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return _install(machine, bpf.NOTIFY, flags, unseen)  # before Linux 5.19


def install_for_ptrace(machine: Machine, unseen: int | None = None) -> None:
    """Install the filter whose calls stop for the tracer that each thread of this process must have already."""
    thread = _install(machine, bpf.TRACE, _TSYNC, unseen)
    if thread:
        raise OSError(errno.ESRCH, f"seccomp: thread {thread} has a filter of its own")


def _install(machine: Machine, action: int, flags: int, unseen: int | None) -> int:
    """Call seccomp(2), and return what it returns.

    Calls from the page at `unseen` pass (see `bpf.program`). The filter guards nothing, so it does not ask for the
    barriers against speculation that older kernels give to every filtered task.

    Privileges are kept where the process may (CAP_SYS_ADMIN), else given up for good (NO_NEW_PRIVS), since
    an unprivileged filter could mislead a setuid program.

    Raises
    ------
    OSError
        EBUSY where a listener is there already, ENOSYS or EINVAL where the kernel has none, EPERM where a
        container forbids it.
    """
    code = bpf.program(machine, action, unseen)
    memory = ctypes.create_string_buffer(code, len(code))
    filter_ = _Program(len(code) // 8, ctypes.addressof(memory))
    flags |= _SPEC_ALLOW

    def seccomp() -> int:
        return int(libc.syscall(machine.seccomp, _SET_MODE_FILTER, flags, ctypes.byref(filter_)))

    result = seccomp()
    if result < 0 and ctypes.get_errno() == errno.EACCES:
        _check(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
        result = seccomp()
    return _check(result, "seccomp")


def take_descriptor(pid: int, number: int) -> int:
    """Return a duplicate of another process's descriptor (pidfd_getfd(2)).

    Raises
    ------
    OSError
        Where the process is gone or may not be read.
    """
    pidfd = os.pidfd_open(pid)
    try:
        return _check(int(libc.syscall(PIDFD_GETFD, pidfd, number, 0)), "pidfd_getfd")
    finally:
        os.close(pidfd)


def shared_page() -> mmap.mmap:
    """Return memory, shared with forked processes, for the notice that is being answered."""
    return mmap.mmap(-1, ROOM)


def wake_in_step(listener: int) -> None:
    """Let the supervisor and the task it answers share a processor (Linux 6.6); harmless elsewhere."""
    try:
        fcntl.ioctl(listener, SET_FLAGS, 1)
    except OSError:
        return


def receiver(listener: int, page: mmap.mmap) -> Callable[[], None]:
    """Return a function that waits for the next notice and leaves it at the start of a page.

    The kernel writes it there at once, so that a successor finds it whenever this process dies. (`fcntl.ioctl`
    would either copy it afterwards or hold the GIL while it waits.)
    """
    zeros, size = bytes(NOTICE.size), NOTICE.size
    call = libc.ioctl
    # converted once, not with each call
    number, wish = ctypes.c_int(listener), ctypes.c_ulong(RECV)
    address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(page)))

    def receive() -> None:
        page[:size] = zeros
        if call(number, wish, address) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    return receive


def resume(listener: int, notice: int) -> None:
    """Let the call of a notice go on; a task that has died meanwhile is no error."""
    answer = bytearray(ANSWER.pack(notice, 0, 0, CONTINUE))
    try:
        fcntl.ioctl(listener, SEND, answer, True)
    except FileNotFoundError:
        return
