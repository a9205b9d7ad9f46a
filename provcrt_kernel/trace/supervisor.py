"""The supervisor: takes calls one by one, has them decoded, and says which of them must wait.

Promise: what could not be understood makes the spans incomplete and keeps nobody waiting. Where calls come from is
not known here (see `listener` and `stops`). Old content is hashed by workers, and only the call that waits for it is
kept. Barriers come in band, as calls of the kernel process (see `barriers`).

A kernel process inside the family of another one cannot be watched by a second supervisor; it is a *guest* of this
one: each call below it is decoded for its spans, too.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

from provcrt_kernel.trace import notify
from provcrt_kernel.trace.barriers import ENDED, JOIN, JOINED, LAST, SETUP
from provcrt_kernel.trace.family import Vigil
from provcrt_kernel.trace.hashing import Hashing
from provcrt_kernel.trace.ledger import Entry
from provcrt_kernel.trace.spans import Spans
from provcrt_kernel.trace.tasks import state_of

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Sequence

    from provcrt_kernel.trace.calls import Machine
    from provcrt_kernel.trace.tasks import Task
    from provcrt_kernel.trace.watch import Notice, Open

_KEPT: Sequence[Entry] = [Entry(b"", None)]  # stands for a call that is answered elsewhere
_GARBAGE = 50_000  # objects that are made before garbage is looked for
_SWITCH = 0.0002  # seconds that the receiving thread waits for another one of ours; Python's default is 5 ms


class Supervisor:
    """Watches one kernel process, its descendants, and its guests.

    Parameters
    ----------
    page : mmap
        From `notify.shared_page`, shared with the successor.
    resume : callable
        Lets the call with a number go on that was kept; from any thread.
    kernel : int
        Pid of the kernel process.
    rundir : str
        The directory whose names are barriers.
    ignore : sequence of str
        As `paths.Quiet` takes them.
    keep : str
        As `Ledger` takes it.
    machine : Machine
    """

    def __init__(
        self,
        page: mmap.mmap,
        resume: Callable[[int], None],
        kernel: int,
        *,
        rundir: str,
        ignore: Sequence[str],
        keep: str,
        machine: Machine,
    ) -> None:
        self._page = page
        self._resume = resume
        self._machine = machine
        self._audit = machine.audit
        self._lock = threading.RLock()
        self._hashing = Hashing(page, resume)
        self._vigil = Vigil(self._lock)
        self._own = self._spans(kernel, rundir, ignore, keep)
        self._own.watch.hailed = self._hail
        self._handlers = self._own.watch.table
        self._guests: list[Spans] = []

    def _spans(self, kernel: int, rundir: str, ignore: Sequence[str], keep: str) -> Spans:
        spans = Spans(
            kernel, rundir=rundir, ignore=ignore, keep=keep, machine=self._machine, deliver=self._deliver
        )
        self._vigil.watch(spans.family)
        return spans

    def start(self) -> None:
        """Begin to watch who ends."""
        sys.setswitchinterval(_SWITCH)
        gc.freeze()
        gc.set_threshold(_GARBAGE)  # a span's entries are many, and none of them is garbage before its end
        self._vigil.start()

    def take_over(self, why: str) -> None:
        """Answer what a dead predecessor left unanswered; the span that was open then is incomplete.

        Parameters
        ----------
        why : str
            The line that this span will carry.
        """
        self._own.mend = why
        left = [notify.NOTICE.unpack_from(self._page)[0], *self._hashing.left()]
        for notice in filter(None, left):
            self._resume(notice)
        self._page[:] = bytes(notify.ROOM)

    # -- one call

    def keeps(self, notice: Notice) -> bool:
        """Decode a call; return whether it must be kept, to be resumed later. Never raises."""
        try:
            with self._lock:
                if notice[4] != self._audit:
                    self._problem(f"process {notice[1]} is a 32-bit program: its calls are not watched")
                    return False
                waiting = self._handlers[notice[3]](notice)
                if self._guests:
                    waiting = self._for_guests(notice, waiting)
                if not waiting:
                    return False
                return waiting is _KEPT or self._hashing.before(notice[0], waiting)
        except Exception as error:
            call = self._machine.calls.get(notice[3])
            self.spoil(f"{call.name if call else notice[3]} of {notice[1]}: {type(error).__name__}: {error}")
            return False

    def _for_guests(self, notice: Notice, waiting: Sequence[Entry]) -> Sequence[Entry]:
        task = self._own.family.task(notice[1])
        for guest in task.guests:
            if task.pid == guest.house:
                continue  # it only waits for the guest
            more = guest.watch.table[notice[3]](notice)
            if more is _KEPT:
                return _KEPT
            waiting = [*waiting, *more]
        return waiting

    def spoil(self, line: str) -> None:
        """Note that something was missed now, whoever it belongs to."""
        if os.environ.get("PROVCRT_DEBUG"):
            traceback.print_exc()
        with self._lock:
            self._problem(line)

    def _problem(self, line: str) -> None:
        for spans in (self._own, *self._guests):
            spans.watch.problem(line)

    # -- closed spans

    def _deliver(self, notice: Notice, spans: Spans, span: Open | None, target: bytes) -> Sequence[Entry]:
        if self._hashing.busy():
            # somebody's old content is still being read: wait for it elsewhere, the others go on
            arguments = (notice[0], spans, span, target)
            threading.Thread(target=self._deliver_later, args=arguments, daemon=True).start()
            return _KEPT
        spans.write(span, target)
        return ()

    def _deliver_later(self, notice: int, spans: Spans, span: Open | None, target: bytes) -> None:
        while self._hashing.busy():
            time.sleep(0.001)
        with self._lock:
            spans.write(span, target)
        self._resume(notice)

    def alive(self) -> list[int]:
        """Return the pids of the traced processes."""
        with self._lock:
            return list(self._own.family.tasks)

    def last_span(self) -> str:
        """Close the span in which the kernel process ended; return the file it was written to, or nothing."""
        with self._lock:
            if self._own.watch.span is None:
                return ""
            span = self._own.close()
        while self._hashing.busy():
            time.sleep(0.001)
        target = self._own.rundir + os.fsencode(ENDED)
        with self._lock:
            self._own.write(span, target)
        return os.fsdecode(target)

    # -- guests

    def _hail(self, notice: Notice, text: bytes) -> None:
        """Answer a process that speaks to whoever watches it."""
        task = self._own.family.task(notice[1])
        self._guests = [guest for guest in self._guests if state_of(guest.house)[0]]
        if text.startswith(JOIN):
            self._admit(task, os.fsdecode(text[len(JOIN) :]))
        elif text.startswith(LAST):
            for guest in self._guests:
                if guest in task.guests and guest.rundir == text[len(LAST) :] + b"/":
                    self._last_of(guest)

    def _admit(self, task: Task, rundir: str) -> None:
        """Keep spans for a kernel process inside this family, unless its names mean something else here."""
        if task.foreign or self._own.watch.blind:
            return
        with open(f"{rundir}/{SETUP}", "rb") as file:
            setup = json.load(file)
        guest = self._spans(task.pid, rundir, setup["ignore"], setup["keep"])
        for spans in (self._own, *self._guests):
            spans.hide(rundir)
        house = self._own.family.task(state_of(task.pid)[1])
        guest.house = guest.family.adopter = house.pid
        for member in (task, house):
            member.guests += (guest,)
        self._guests.append(guest)
        with open(f"{rundir}/{JOINED}", "wb"):
            pass

    def _last_of(self, guest: Spans) -> None:
        if guest.watch.span is None:
            return
        span = guest.close()
        while self._hashing.busy():
            time.sleep(0.001)
        guest.write(span, guest.rundir + os.fsencode(ENDED))
