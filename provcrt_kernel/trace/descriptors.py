"""Files that stay open or mapped from one span to the next: no call names them again, so they are compared.

Promise: an idle descriptor costs a look and is silent; one that was used in the span is an access of it. Memory
cannot be watched, so a file that was mapped before is read in every span, and changed if it is mapped to be.
Sources: proc_pid_fd(5), proc_pid_fdinfo(5), proc_pid_maps(5).
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from provcrt_kernel.trace.paths import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from provcrt_kernel.trace.ledger import Ledger
    from provcrt_kernel.trace.tasks import Task

_MAPPING = re.compile(rb"^\S+ (....) \S+ \S+ [1-9]\d* +(/.*)$", re.MULTILINE)
_SYSTEM = (b"/usr/", b"/var/cache/")  # locales and fonts lie mapped in every process
_UNKNOWN = "it was open since before the span: its old content is unknown"
_MAPPED = "it is mapped for writing since before the span: whether it changed is unknown"


class _Held(NamedTuple):
    path: bytes
    seen: Seen
    position: int
    flags: int
    by: int


class _Mapped(NamedTuple):
    seen: Seen
    written: bool
    by: int


class Descriptors:
    """What the traced processes held open or mapped when the span began.

    Parameters
    ----------
    quiet : callable
        Says of a real path whether it is nobody's input.
    """

    def __init__(self, quiet: Callable[[bytes], bool]) -> None:
        self._quiet = quiet
        self._held: dict[tuple[int, bytes], _Held] = {}
        self._mapped: dict[bytes, _Mapped] = {}
        self._inherited: set[tuple[int, int]] = set()
        # by pid, the numbers among which there was no file to be held
        self._idle: dict[int, set[bytes]] = {}

    def inherit(self, pid: int) -> None:
        """Tracing begins: what is open for writing is where whoever started us sends our output; others write there too."""
        folder = f"/proc/{pid}/fd/"
        for number in os.listdir(folder):
            with contextlib.suppress(OSError):
                seen = os.stat(folder + number)
                with open(f"/proc/{pid}/fdinfo/{number}", "rb") as file:
                    flags = int(file.read().split(b"\n", 2)[1].split()[1], 8)
                if stat.S_ISREG(seen.st_mode) and flags & os.O_ACCMODE != os.O_RDONLY:
                    self._inherited.add((seen.st_dev, seen.st_ino))

    def begin(self, tasks: Iterable[Task], *, opened: bool) -> None:
        """Remember what is open, and what is mapped.

        Parameters
        ----------
        opened
            Whether anybody may have opened a file since this was asked last.
        """
        tasks = list(tasks)
        if opened or self._held or not all(map(self._still_idle, tasks)):
            self._held = self._scan(tasks)
        self._mapped = {}
        for task in tasks:
            self._maps(task)

    def end(self, ledger: Ledger, tasks: Iterable[Task]) -> None:
        """Report what was open all the time, or was closed in the span, and may have been used."""
        now = self._scan(tasks) if self._held else {}
        for key, before in self._held.items():
            after = now.get(key)
            if after is not None and (after.path, after.seen.st_ino) != (before.path, before.seen.st_ino):
                after = None  # the number was used again
            _report(ledger, before, after)
        for path, mapped in self._mapped.items():
            if mapped.written:
                for entry in ledger.change(path, mapped.seen, mapped.by, reads=True):
                    entry.problems += (_MAPPED,)
            else:
                ledger.read(path, mapped.seen, mapped.by)

    def _still_idle(self, task: Task) -> bool:
        """Whether a process has only descriptors of which none was a file's; to resolve each would take much longer."""
        idle = self._idle.get(task.pid)
        try:
            return idle is not None and idle.issuperset(os.listdir(b"/proc/%d/fd/" % task.pid))
        except OSError:
            return True  # it has ended

    def _maps(self, task: Task) -> None:
        if not task.maps:
            return  # to read a large process's maps takes milliseconds
        task.maps = False
        try:
            with open(b"/proc/%d/maps" % task.pid, "rb") as file:
                rows = _MAPPING.findall(file.read())
        except OSError:
            return
        programs = {path for rights, path in rows if rights[2:3] == b"x"}
        for rights, path in set(rows):
            if path in programs or path.startswith(_SYSTEM) or self._quiet(path):
                continue
            try:
                seen = Seen.of(os.stat(path))
            except OSError:
                continue  # removed: only this process can reach it
            if stat.S_ISREG(seen.st_mode):
                task.maps = True
                before = self._mapped.get(path)
                written = rights[1:2] + rights[3:4] == b"ws" or (before is not None and before.written)
                by = task.by | (before.by if before is not None else 0)
                self._mapped[path] = _Mapped(seen, written, by)

    def _scan(self, tasks: Iterable[Task]) -> dict[tuple[int, bytes], _Held]:
        found = {}
        self._idle = {}
        for task in tasks:
            folder = b"/proc/%d/fd/" % task.pid
            try:
                numbers = os.listdir(folder)
            except OSError:
                continue
            idle = self._idle[task.pid] = set(numbers)
            for number in numbers:
                try:
                    path = os.readlink(folder + number)
                    if not path.startswith(b"/") or self._quiet(path):
                        continue
                    seen = Seen.of(os.stat(folder + number))
                    if not stat.S_ISREG(seen.st_mode) or (seen.st_dev, seen.st_ino) in self._inherited:
                        continue
                    idle.discard(number)
                    with open(b"/proc/%d/fdinfo/%s" % (task.pid, number), "rb") as file:
                        lines = file.read().split(b"\n", 2)
                except OSError:
                    continue  # closed meanwhile
                position, flags = int(lines[0].split()[1]), int(lines[1].split()[1], 8)
                found[task.pid, number] = _Held(path, seen, position, flags, task.by)
        return found


def _report(ledger: Ledger, before: _Held, after: _Held | None) -> None:
    path = before.path.removesuffix(b" (deleted)")
    try:
        now = after.seen if after is not None else Seen.of(os.stat(path))
    except OSError:
        now = None
    same = now is not None and (now.st_size, now.st_mtime_ns) == (
        before.seen.st_size,
        before.seen.st_mtime_ns,
    )
    moved = after is None or after.position != before.position
    if before.flags & os.O_ACCMODE == os.O_RDONLY:
        if moved or not same:
            ledger.read(path, before.seen, before.by)
    elif not same or (after is not None and moved):
        for entry in ledger.change(path, before.seen, before.by, reads=True):
            entry.problems += (_UNKNOWN,)
