"""Calls as ptrace hands them over, where no listener can be had: the same filter, which stops the caller for us.

Promise: to decoding a stop is what a notice is: it has the same form and the call has not happened yet. Signals, job
control and exit statuses pass as if nobody watched. What differs (see docs/tracing.md): a stop costs more, no other
debugger can be used below, and without its tracer a trapped call would fail with ENOSYS, so that whoever is traced dies
with the tracer (PTRACE_O_EXITKILL) and does not compute on with wrong answers.

One thread does everything, since only the thread that has seized a task may let it go on; it reaps, too, since waiting
anywhere else in this process would take its stops away. Of python-ptrace only the bindings are used.
Sources: ptrace(2), wait(2), seccomp(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import queue
import signal
import struct
import threading
from typing import TYPE_CHECKING, Any

from ptrace import PtraceError
from ptrace.binding import func as binding

from provcrt_kernel.trace import bpf, notify
from provcrt_kernel.trace.tasks import process_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from provcrt_kernel.trace.calls import Machine
    from provcrt_kernel.trace.supervisor import Supervisor

_SEIZE, _LISTEN, _SYSCALL_INFO = 0x4206, 0x4208, 0x420E
_O_TRACESECCOMP, _O_EXITKILL = 0x80, 0x100000
_OPTIONS = (
    binding.PTRACE_O_TRACEFORK
    | binding.PTRACE_O_TRACEVFORK
    | binding.PTRACE_O_TRACECLONE
    | _O_TRACESECCOMP
    | _O_EXITKILL
)
_EVENT_SECCOMP, _EVENT_STOP = 7, 128
_GROUP = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_FAULTS = (
    signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGSYS, signal.SIGABRT
)  # fmt: skip
_SI_USER, _SI_KERNEL, _SIGINFO = 0, 0x80, 128
_WALL = 0x40000000
_TURN = 0.001  # seconds between two looks at the tasks while a call is kept
_INFO = struct.Struct("=B3xIQQQ6Q")  # kind, architecture, instruction, stack, call number, six arguments
_ARGUMENTS = {
    "x86_64": ("orig_rax", "rdi", "rsi", "rdx", "r10", "r8", "r9"),
    "aarch64": ("r8", "r0", "r1", "r2", "r3", "r4", "r5"),
}

Call = tuple[int, ...]


class Stops:
    """Traces one process and all that it starts, until the last of them is gone.

    Parameters
    ----------
    machine : Machine
    on_exit : callable
        Called from our thread with (pid, wait status) of every child of this process that ends, and with (0, 0) once
        there is none left.
    """

    def __init__(self, machine: Machine, on_exit: Callable[[int, int], None]) -> None:
        self._machine = machine
        self._on_exit = on_exit
        self._buffer = ctypes.create_string_buffer(_INFO.size + 8)
        self._address = ctypes.addressof(self._buffer)
        self._call = self._by_info
        self._kept: set[int] = set()
        self._moved: dict[tuple[int, int], ctypes.Array[ctypes.c_char]] = {}
        self._resumed: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._leaving = False

    def start(self, supervisor: Supervisor, pid: int) -> None:
        """Seize every thread of a process, and serve in a thread of our own.

        Raises
        ------
        OSError
            Where it may not be traced.
        """
        answer: queue.SimpleQueue[PtraceError | None] = queue.SimpleQueue()
        arguments = (supervisor, pid, answer)
        threading.Thread(target=self._run, args=arguments, name="stops", daemon=True).start()
        error = answer.get()
        if error is not None:
            raise OSError(error.errno, os.strerror(error.errno or errno.EPERM))

    def resume(self, notice: int) -> None:
        """Let a call that was kept go on."""
        self._resumed.put(notice)

    def let_go(self) -> None:
        """Let tasks go that have no filter after all, each when it stops next; who ends is still reported."""
        self._leaving = True

    # -- the thread

    def _run(self, supervisor: Supervisor, pid: int, answer: queue.SimpleQueue[PtraceError | None]) -> None:
        try:
            self._seize(pid)
        except PtraceError as error:
            self._leaving = True
            answer.put(error)
        else:
            answer.put(None)
        while True:
            try:
                tid, status = self._next()
            except ChildProcessError:
                self._on_exit(0, 0)
                return
            if not os.WIFSTOPPED(status):
                self._on_exit(tid, status)
                continue
            try:
                _ignoring_death(self._stopped, supervisor, tid, os.WSTOPSIG(status), status >> 16)
            except Exception as error:  # whatever it is, the task must not stay stopped
                supervisor.spoil(f"a stop of {tid} was not understood: {error}")
                _ignoring_death(binding.ptrace_cont, tid)

    def _seize(self, pid: int) -> None:
        seized: set[int] = set()
        while fresh := set(_threads(pid)) - seized:
            for tid in fresh:  # one that is born meanwhile may be seized by its birth
                try:
                    binding.ptrace(_SEIZE, tid, 0, _OPTIONS)
                except PtraceError as error:
                    if error.errno != errno.ESRCH and not _traced_by_us(tid):
                        raise
            seized |= fresh

    def _next(self) -> tuple[int, int]:
        """Return the next task that stopped or ended; meanwhile let those go on whose content is hashed."""
        while self._kept:
            pid, status = os.waitpid(-1, _WALL | os.WNOHANG)
            try:
                while True:
                    tid = self._resumed.get(timeout=0 if pid else _TURN)
                    self._kept.discard(tid)
                    _ignoring_death(self._go_on, tid, 0)
            except queue.Empty:
                pass
            if pid:
                return pid, status
        return os.waitpid(-1, _WALL)

    def _stopped(self, supervisor: Supervisor, tid: int, number: int, event: int) -> None:
        if event == _EVENT_SECCOMP:
            if not supervisor.keeps(self._call(tid)):
                self._go_on(tid, 0)
            else:
                self._kept.add(tid)
        elif event == _EVENT_STOP and number in _GROUP:
            if self._leaving:
                self._go_on(tid, 0)
            else:
                binding.ptrace(_LISTEN, tid)  # it stays stopped, and SIGCONT is heard
        elif event:
            self._go_on(tid, 0)  # a birth
        else:
            self._deliver(tid, number)

    def _deliver(self, tid: int, number: int) -> None:
        """Let a task have its signal.

        A signal for a process goes to its first thread, unless that is stopped, as it often is for us; yet Python's
        first thread must have it, or its sleep goes on. So it is sent there, and looks there as it looked here.
        """
        info = ctypes.create_string_buffer(_SIGINFO)
        moved = self._moved.pop((tid, number), None)
        if moved is not None:
            binding.ptrace(binding.PTRACE_SETSIGINFO, tid, 0, ctypes.addressof(moved))
        elif (pid := process_of(tid)[0]) not in (0, tid):
            binding.ptrace(binding.PTRACE_GETSIGINFO, tid, 0, ctypes.addressof(info))
            (code,) = struct.unpack_from("=i", info, 8)
            if _for_process(number, code) and not _blocked(pid, number) and _send(pid, number):
                self._moved[pid, number] = info
                number = 0
        self._go_on(tid, number)

    def _go_on(self, tid: int, number: int) -> None:
        if self._leaving:
            binding.ptrace_detach(tid, number)
        else:
            binding.ptrace_cont(tid, number)

    # -- what a stopped task is about to call

    def _by_info(self, tid: int) -> Call:
        try:
            binding.ptrace(_SYSCALL_INFO, tid, _INFO.size + 8, self._address)
        except PtraceError as error:
            if error.errno != errno.EIO:
                raise
            self._call = self._by_registers  # before Linux 5.3
            return self._call(tid)
        _, audit, instruction, _, number, *arguments = _INFO.unpack_from(self._buffer)
        return (tid, tid, 0, number, audit, instruction, *arguments)

    def _by_registers(self, tid: int) -> Call:
        registers: Any = binding.ptrace_getregs(tid)
        number, *arguments = (getattr(registers, name) for name in _ARGUMENTS[self._machine.name])
        foreign = binding.ptrace_geteventmsg(tid) & bpf.FOREIGN
        audit = self._machine.foreign[0] if foreign else self._machine.audit
        return (tid, tid, 0, number, audit, 0, *arguments)


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _for_process(number: int, code: int) -> bool:
    """Say whether a signal is for a process and not for one thread of it (sigaction(2), si_code).

    Those that stop or continue all threads are as well with any: sent again, they could cross.
    """
    if number in (*_GROUP, signal.SIGCONT):
        return False
    return number == signal.SIGCHLD or (code in (_SI_USER, _SI_KERNEL) and number not in _FAULTS)


def _blocked(pid: int, number: int) -> bool:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            mask = int(file.read().split(b"\nSigBlk:\t", 1)[1][:16], 16)
    except (OSError, IndexError):
        return True
    return bool(mask >> (number - 1) & 1)


def _send(tid: int, number: int) -> bool:
    """Send a signal to the first thread of a process; say whether it is there."""
    return bool(notify.libc.tgkill(tid, tid, number) == 0)


def _traced_by_us(tid: int) -> bool:
    try:
        with open(f"/proc/{tid}/status", "rb") as file:
            return b"\nTracerPid:\t%d\n" % os.getpid() in file.read()
    except OSError:
        return True


def _ignoring_death(act: Callable[..., object], *arguments: object) -> None:
    """Do something to a task; that it was killed meanwhile is no error: its end will be reported."""
    try:
        act(*arguments)
    except PtraceError as error:
        if error.errno != errno.ESRCH:
            raise
