"""What a replayed cell made from files and cannot be stored is made at once: later the files may be others, or gone.

A file that is open is that file, whatever becomes of its name; and a lock or an iterator stays what it is, though a file that its
cell looked at is edited, after which the cell cannot be run again as it ran. So such values are made when their cell is replayed,
by running it again, as long as that takes but a moment; else they wait as any other value that cannot be stored.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from provcrt_kernel.replay.rebuild import CannotRebuild, Rebuild
from provcrt_kernel.replay.record import Record
from provcrt_kernel.session.modules import MODULE
from provcrt_kernel.session.slots import Slots, ambient

#: Slots of what is imported.
_IMPORTED = ("~package:", MODULE)
#: Seconds that opening files again may take: they are often moved on, and then nothing brings them back.
_MOMENT = 0.25
#: Seconds that making again may take what holds no file: few files are edited between a replay and the next cell that runs.
_INSTANT = 0.1
_DELETED = " (deleted)"


def left_open(paths: Iterable[str]) -> bool:
    """Whether this process has any of these files open, under the name that it has or had."""
    wanted = set(paths)
    for number in os.listdir("/proc/self/fd") if wanted else ():
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{number}").removesuffix(_DELETED) in wanted:
                return True
    return False


def _lasting(record: Record) -> list[str]:
    """Variables that a cell made, or changed, and that are not stored."""
    return [n for n, s in record.writes.items() if not ambient(n) and s.kept is None]


@dataclass(slots=True)
class Opened:
    """Makes again what replayed cells of one session made from files, where it cannot be stored."""

    slots: Slots
    rebuild: Rebuild
    #: Names and versions of variables that were made from files → seconds that making them may take.
    _made: dict[tuple[str, str], float] = field(default_factory=dict)

    def again(self, record: Record) -> None:
        """A record was replayed: make live what later, when its files are others, may be had no longer."""
        names = _lasting(record)
        limit = self._limit(record) if names else 0.0
        if not limit:
            return
        self._made.update(((n, record.writes[n].version), limit) for n in names)
        modules = self.rebuild.pinned or not self._at_hand(record)
        imports = self.rebuild.imported.seconds() if modules else 0.0
        plan = self.rebuild.plan(names, modules=modules)
        if not plan.lost and imports + plan.seconds <= limit:
            with contextlib.suppress(CannotRebuild):
                self.rebuild.ready(names, (), modules=modules)

    def _limit(self, record: Record) -> float:
        """Seconds that it may take; 0 if there is no hurry."""
        if record.opened:
            return _MOMENT
        earlier = max((self._made.get(read, 0.0) for read in record.reads.items()), default=0.0)
        made = (s for n, s in record.writes.items() if record.inputs and not ambient(n))
        return max(earlier, _INSTANT if any(map(self.rebuild.unstorable, made)) else 0.0)

    def _at_hand(self, record: Record) -> bool:
        """Whether all packages and modules of others that a cell can call into have been imported."""
        tops = (
            n.partition(":")[2].partition(".")[0]
            for n, v in record.reads.items()
            if v and n.startswith(_IMPORTED)
        )
        return all(top in sys.modules for top in tops)
