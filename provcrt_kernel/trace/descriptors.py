"""Files that stay open from one span to the next: no call names them again, so they are compared at the barriers.

Promise: an idle descriptor costs a look and is silent; one that was used in the span is an access of it. Source:
proc_pid_fd(5), proc_pid_fdinfo(5).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provcrt_kernel.trace.ledger import Ledger
    from provcrt_kernel.trace.paths import Quiet
    from provcrt_kernel.trace.tasks import Task


class _Held(NamedTuple):
    path: bytes
    seen: os.stat_result
    position: int
    flags: int
    by: int


class Descriptors:
    """What the traced processes held open when the span began."""

    def __init__(self, quiet: Quiet) -> None:
        self._quiet = quiet
        self._held: dict[tuple[int, bytes], _Held] = {}

    def begin(self, tasks: Iterable[Task]) -> None:
        """Remember what is open."""
        self._held = self._scan(tasks)

    def end(self, ledger: Ledger, tasks: Iterable[Task]) -> None:
        """Report what was open all the time, or was closed in the span, and may have been used."""
        if not self._held:
            return
        now = self._scan(tasks)
        for key, before in self._held.items():
            after = now.get(key)
            if after is not None and (after.path, after.seen.st_ino) != (before.path, before.seen.st_ino):
                after = None  # the number was used again
            _report(ledger, before, after)

    def _scan(self, tasks: Iterable[Task]) -> dict[tuple[int, bytes], _Held]:
        found = {}
        for task in tasks:
            folder = b"/proc/%d/fd/" % task.pid
            try:
                numbers = os.listdir(folder)
            except OSError:
                continue
            for number in numbers:
                try:
                    path = os.readlink(folder + number)
                    if not path.startswith(b"/") or self._quiet(path):
                        continue
                    seen = os.stat(folder + number)
                    if not stat.S_ISREG(seen.st_mode):
                        continue
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
        now = after.seen if after is not None else os.stat(path)
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
            entry.problems += ("it was open since before the span: its old content is unknown",)
