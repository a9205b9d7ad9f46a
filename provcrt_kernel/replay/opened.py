"""Files that a replayed cell left open are opened at once: by the time that somebody asks, they may be other files, or gone.

A file that is open is that file, whatever becomes of its name. So variables that hold one are made when their cell is replayed,
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
#: Seconds that opening files again may take.
_MOMENT = 0.25
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
    """Opens again what replayed cells of one session left open."""

    slots: Slots
    rebuild: Rebuild
    #: Names and versions of variables that may hold an open file.
    _holding: set[tuple[str, str]] = field(default_factory=set)

    def again(self, record: Record) -> None:
        """A record was replayed: make live what may hold a file that its cell left open."""
        names = _lasting(record)
        if not names or not (record.opened or any(read in self._holding for read in record.reads.items())):
            return
        self._holding.update((n, record.writes[n].version) for n in names)
        modules = self.rebuild.pinned or not self._at_hand(record)
        imports = self.rebuild.imported.seconds() if modules else 0.0
        plan = self.rebuild.plan(names, modules=modules)
        if not plan.lost and imports + plan.seconds <= _MOMENT:
            with contextlib.suppress(CannotRebuild):
                self.rebuild.ready(names, (), modules=modules)

    def _at_hand(self, record: Record) -> bool:
        """Whether all packages and modules of others that a cell can call into have been imported."""
        tops = (
            n.partition(":")[2].partition(".")[0]
            for n, v in record.reads.items()
            if v and n.startswith(_IMPORTED)
        )
        return all(top in sys.modules for top in tops)
