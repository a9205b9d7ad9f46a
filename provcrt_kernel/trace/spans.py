"""The spans of one kernel process: its barriers open and close them.

Promise: what lies between two barriers is in one span and in no other. Decoding is `watch`'s matter; here is what
happens at the barriers: who lives, what stays open, and what all of it adds up to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from provcrt_kernel.trace.barriers import BEGIN, END
from provcrt_kernel.trace.connections import Connections
from provcrt_kernel.trace.descriptors import Descriptors
from provcrt_kernel.trace.family import Family
from provcrt_kernel.trace.network import HOSTS
from provcrt_kernel.trace.paths import Quiet, look
from provcrt_kernel.trace.span import Access, Process, Span, frames
from provcrt_kernel.trace.watch import Notice, Open, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from provcrt_kernel.trace.calls import Machine
    from provcrt_kernel.trace.ledger import Entry


class Spans:
    """The spans of one kernel process.

    Parameters
    ----------
    kernel : int
        Its pid.
    rundir : str
        The directory whose names are barriers.
    ignore : sequence of str
        As `paths.Quiet` takes them.
    keep : str
        As `Ledger` takes it.
    machine : Machine
    deliver : callable
        Called with (notice, spans, span, file) when a span has been closed, to have it written to that file before
        the call of the notice goes on; returns what a handler returns.

    Attributes
    ----------
    family : Family
    watch : Watch
    quiet : Quiet
    kernel : int
    rundir : bytes
        With a slash at the end.
    house : int
        Of a guest: pid of the process that started it and adopts its orphans.
    mend : str
        Why the span that is open now, without being known here, is incomplete.
    """

    def __init__(
        self,
        kernel: int,
        *,
        rundir: str,
        ignore: Sequence[str],
        keep: str,
        machine: Machine,
        deliver: Callable[[Notice, Spans, Open | None, bytes], Sequence[Entry]],
    ) -> None:
        self.kernel = kernel
        self.rundir = os.fsencode(rundir) + b"/"
        self.mend = ""
        self.house = 0
        self._keep = os.fsencode(keep)
        self.quiet = Quiet([*ignore, rundir, *filter(None, [keep])])
        self.family = Family(kernel)
        self.watch = Watch(machine, self.family, self.rundir, self._barrier, self.quiet)
        self._deliver = deliver
        self._descriptors = Descriptors(self.quiet)
        self._connections = Connections()
        with contextlib.suppress(OSError):  # the kernel is gone already
            self._descriptors.inherit(kernel)
        self._count = 0
        self._written = (
            b""  # the file of the last span; the kernel process has read it when it begins another
        )
        self._opened = True  # whether a file may have been opened since the last span began

    def _barrier(self, notice: Notice, text: bytes) -> Sequence[Entry]:
        rest = text[len(self.rundir) :]
        if rest.startswith(BEGIN):
            self._begin(os.fsdecode(unquote_to_bytes(rest.rpartition(b"/")[2])))
        elif rest.startswith(END):
            return self._deliver(notice, self, self.close(), text)
        return ()

    def _begin(self, name: str) -> None:
        self.family.find_children()
        self._count += 1
        if self._written:
            with contextlib.suppress(OSError):
                os.unlink(self._written)
        if self._keep:
            shutil.rmtree(self._keep, ignore_errors=True)  # whoever wanted what was kept has taken it
        span = Open(self._count, name, self.quiet, self._keep)
        if self.watch.span is not None:
            span.problem(f"span {self.watch.span.name!r} was still open when this one began")
        self.family.begin(self._count)
        self.watch.span = span
        if not self.watch.blind:
            self._descriptors.begin(self.family.tasks.values(), opened=self._opened or self.watch.opened)
        self._connections.begin(self.family.tasks)
        self._opened = self.watch.opened = False
        self.mend = ""

    def hide(self, folder: str) -> None:
        """Treat a folder, and what is below it, as nobody's input from the start."""
        self.quiet.add(folder)
        if self.watch.span is not None:
            self.watch.span.files.ledger.drop(os.fsencode(folder))

    def close(self) -> Open | None:
        """Close the span that is open, if one is, and return it."""
        self.family.find_children()
        span, self.watch.span = self.watch.span, None
        self.family.serial = 0
        if span is not None:
            for task in [*self.family.buried, *self.family.tasks.values()]:
                if task.foreign and not (task.ended and task.ended < span.started):
                    span.problem(f"process {task.name()} lives where names mean something else")
            if self.watch.blind:
                span.problem(self.watch.blind)
            else:
                self._descriptors.end(span.files.ledger, self.family.tasks.values())
            self._connections.end(span.network, self.family.tasks)
            self._opened = bool(span.files.ledger.entries)
        return span

    def write(self, span: Open | None, target: bytes) -> None:
        """Write a closed span to a file, which is there until the next span begins."""
        self._written = target
        with open(target, "wb", buffering=0) as file:
            for frame in frames(*self._finish(span)):
                file.write(frame)

    def _finish(self, span: Open | None) -> tuple[Span, Iterable[Access]]:
        if span is None:
            why, self.mend = self.mend or "no span was open", ""
            return Span("", complete=False, problems=(why,)), ()
        span.files.seen.clear()
        endpoints = span.network.close(HOSTS in span.files.ledger.entries)
        processes, late, programs = self._processes(span)
        accesses = () if self.watch.blind else span.files.ledger.close(look, programs)
        told = Span(
            name=span.name,
            processes=processes,
            endpoints=endpoints,
            entropy=span.entropy + span.files.entropy,
            complete=not span.problems,
            problems=tuple(span.problems),
            late=late,
        )
        return told, accesses

    def _processes(self, span: Open) -> tuple[tuple[Process, ...], tuple[str, ...], dict[int, int]]:
        """Return the programs of a span, who lives still, and the place of each program by its number."""
        found: list[tuple[Process, int]] = []
        late: list[str] = []
        for task in [*self.family.buried, *self.family.tasks.values()]:
            if task.born == span.serial and task.alive():
                late.append(task.name())
            images = [image for serial, image in task.images if serial == span.serial]
            ends = [image.started for image in images[1:]] + [task.ended]
            for image, end in zip(images, ends, strict=True) if images else ():
                argv = tuple(map(os.fsdecode, image.argv))
                cwd, exe = os.fsdecode(image.cwd), os.fsdecode(image.exe)
                process = Process(task.pid, task.parent, argv, cwd, exe, image.started, end)
                found.append((process, image.number))
        found.sort(key=lambda each: each[0].started)
        programs = {number: place for place, (_, number) in enumerate(found)}
        return tuple(process for process, _ in found), tuple(late), programs
