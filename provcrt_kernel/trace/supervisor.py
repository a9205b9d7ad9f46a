"""The supervisor's loop: receive a notice, decode it, let the call go on.

Promise: every call that is received is answered, whatever happens on the way; what could not be understood makes
the span incomplete. One thread receives. Old content is hashed by workers, and only the call that waits for it is
kept. Barriers come in band, as calls of the kernel process (see `tracer`). Source: seccomp_unotify(2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
import threading
import time
import traceback
from fcntl import ioctl
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from provcrt_kernel.trace import notify
from provcrt_kernel.trace.descriptors import Descriptors
from provcrt_kernel.trace.family import Family, Vigil
from provcrt_kernel.trace.hashing import Hashing
from provcrt_kernel.trace.ledger import Entry
from provcrt_kernel.trace.paths import Quiet, look
from provcrt_kernel.trace.span import Process, Span, encode
from provcrt_kernel.trace.watch import Open, Watch

if TYPE_CHECKING:
    import mmap
    from collections.abc import Sequence

    from provcrt_kernel.trace.calls import Machine

_KEPT: Sequence[Entry] = [Entry(b"", None)]  # stands for a call that is answered elsewhere
_SWITCH = 0.0002  # seconds that the receiving thread waits for another one of ours; Python's default is 5 ms


class Supervisor:
    """Serves one listener.

    Parameters
    ----------
    listener : int
        Descriptor of the seccomp listener; it is not closed here.
    page : mmap
        From `notify.shared_page`, shared with the successor.
    kernel : int
        Pid of the kernel process.
    rundir : str
        The directory whose names are barriers.
    ignore : sequence of str
        As `paths.Quiet` takes them.
    machine : Machine
    """

    def __init__(
        self,
        listener: int,
        page: mmap.mmap,
        kernel: int,
        *,
        rundir: str,
        ignore: Sequence[str],
        machine: Machine,
    ) -> None:
        self._listener = listener
        self._page = page
        self._machine = machine
        self._rundir = os.fsencode(rundir) + b"/"
        self._quiet = Quiet([*ignore, rundir])
        self._lock = threading.RLock()
        self._family = Family(kernel)
        self._watch = Watch(machine, self._family, self._rundir, self._barrier)
        self._descriptors = Descriptors(self._quiet)
        with contextlib.suppress(OSError):  # the kernel is gone already
            self._descriptors.inherit(kernel)
        self._hashing = Hashing(listener, page)
        self._spans = 0
        self._mend = ""

    def start(self) -> None:
        """Serve in a thread, until the last traced task is gone."""
        sys.setswitchinterval(_SWITCH)
        Vigil(self._family, self._lock)
        threading.Thread(target=self._serve, name="notices", daemon=True).start()

    def take_over(self, why: str) -> None:
        """Answer what a dead predecessor left unanswered; the span that was open then is incomplete.

        Parameters
        ----------
        why : str
            The line that this span will carry.
        """
        self._mend = why
        left = [notify.NOTICE.unpack_from(self._page)[0], *self._hashing.left()]
        for notice in filter(None, left):
            notify.resume(self._listener, notice)
        self._page[:] = bytes(notify.ROOM)

    # -- the loop

    def _serve(self) -> None:
        notify.wake_in_step(self._listener)
        listener, page, lock, audit = self._listener, self._page, self._lock, self._machine.audit
        unpack, receive = notify.NOTICE.unpack_from, notify.receiver(listener, page)
        answer = bytearray(notify.ANSWER.size)
        pack, send, go_on = notify.ANSWER.pack_into, notify.SEND, notify.CONTINUE
        handlers = self._watch.table
        while True:
            try:
                receive()
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EINTR):
                    self._spoil(f"the listener failed: {error.strerror}")
                    time.sleep(0.01)
                elif self._finished():
                    return
                continue
            notice = unpack(page)
            waiting: Sequence[Entry] = ()
            try:
                with lock:
                    if notice[4] != audit:
                        self._watch.problem(
                            f"process {notice[1]} is a 32-bit program: its calls are not watched"
                        )
                    else:
                        waiting = handlers[notice[3]](notice)
                    if waiting and (waiting is _KEPT or self._hashing.before(notice[0], waiting)):
                        continue
            except Exception as error:
                call = self._machine.calls.get(notice[3])
                self._spoil(
                    f"{call.name if call else notice[3]} of {notice[1]}: {type(error).__name__}: {error}"
                )
            pack(answer, 0, notice[0], 0, 0, go_on)
            try:
                ioctl(listener, send, answer, True)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    self._spoil(f"a call could not be answered: {error.strerror}")

    def _finished(self) -> bool:
        poll = select.poll()
        poll.register(self._listener, 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))

    def _spoil(self, line: str) -> None:
        if os.environ.get("PROVCRT_DEBUG"):
            traceback.print_exc()
        with self._lock:
            self._watch.problem(line)

    # -- barriers

    def _barrier(self, notice: tuple[int, ...], text: bytes) -> Sequence[Entry]:
        rest = text[len(self._rundir) :]
        if rest.startswith(b"begin/"):
            self._begin(os.fsdecode(unquote_to_bytes(rest.rpartition(b"/")[2])))
        elif rest.startswith(b"end-"):
            span = self._close()
            if self._hashing.busy():
                # somebody's old content is still being read: wait for it elsewhere, the others go on
                later = threading.Thread(target=self._finish_later, args=(notice[0], span, text), daemon=True)
                later.start()
                return _KEPT
            self._write(span, text)
        return ()

    def _begin(self, name: str) -> None:
        self._family.find_children()
        self._spans += 1
        span = Open(self._spans, name, self._quiet)
        if self._watch.span is not None:
            span.problem(f"span {self._watch.span.name!r} was still open when this one began")
        self._family.serial = self._spans
        self._family.buried.clear()
        self._watch.span = span
        if not self._watch.blind:
            self._descriptors.begin(self._family.tasks.values())
        self._mend = ""

    def _close(self) -> Open | None:
        self._family.find_children()
        span, self._watch.span = self._watch.span, None
        self._family.serial = 0
        if span is not None:
            for task in [*self._family.buried, *self._family.tasks.values()]:
                if task.foreign:
                    span.problem(f"process {task.name()} lives where names mean something else")
            if self._watch.blind:
                span.problem(self._watch.blind)
            else:
                self._descriptors.end(span.files.ledger, self._family.tasks.values())
        return span

    def _finish_later(self, notice: int, span: Open | None, target: bytes) -> None:
        while self._hashing.busy():
            time.sleep(0.001)
        with self._lock:
            self._write(span, target)
        notify.resume(self._listener, notice)

    def alive(self) -> list[int]:
        """Return the pids of the traced processes."""
        with self._lock:
            return list(self._family.tasks)

    def last_span(self) -> str:
        """Close the span in which the kernel process ended; return the file it was written to, or nothing."""
        with self._lock:
            if self._watch.span is None:
                return ""
            span = self._close()
        while self._hashing.busy():
            time.sleep(0.001)
        target = self._rundir + b"last"
        with self._lock:
            self._write(span, target)
        return os.fsdecode(target)

    def _write(self, span: Open | None, target: bytes) -> None:
        with open(target, "wb", buffering=0) as file:
            file.write(encode(self._finish(span)))

    def _finish(self, span: Open | None) -> Span:
        if span is None:
            why, self._mend = self._mend or "no span was open", ""
            return Span("", complete=False, problems=(why,))
        accesses = [] if self._watch.blind else span.files.ledger.close(look)
        processes, late = self._processes(span)
        return Span(
            name=span.name,
            accesses=tuple(accesses),
            processes=processes,
            endpoints=tuple(span.endpoints),
            entropy=span.entropy + span.files.entropy,
            complete=not span.problems,
            problems=tuple(span.problems),
            late=late,
        )

    def _processes(self, span: Open) -> tuple[tuple[Process, ...], tuple[str, ...]]:
        found: list[Process] = []
        late: list[str] = []
        for task in [*self._family.buried, *self._family.tasks.values()]:
            if task.born == span.serial and task.alive():
                late.append(task.name())
            images = [image for serial, image in task.images if serial == span.serial]
            ends = [image.started for image in images[1:]] + [task.ended]
            for image, end in zip(images, ends, strict=True) if images else ():
                argv = tuple(map(os.fsdecode, image.argv))
                cwd, exe = os.fsdecode(image.cwd), os.fsdecode(image.exe)
                found.append(Process(task.pid, task.parent, argv, cwd, exe, image.started, end))
        found.sort(key=lambda process: process.started)
        return tuple(found), tuple(late)
