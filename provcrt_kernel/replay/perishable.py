"""What a session has that could not be had once more: cells that run again may change what it comes back by.

A pinned cell that sets something in a module changes what functions by its names are; a cell that changes a module must not run
twice; a file may be another one by now.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Set
from dataclasses import dataclass

from provcrt_kernel.replay.history import History
from provcrt_kernel.replay.record import Record
from provcrt_kernel.replay.world import World
from provcrt_kernel.session.modules import MODULE
from provcrt_kernel.session.slots import Slot, Slots, State, ambient

#: What stands in the text of a cell that may put other modules in their place.
_ANEW = re.compile(r"\bsys\.modules\b|\breload\b")
#: Bytes below which a value may be little more than names of functions and classes.
_SMALL = 1 << 16
#: What a cell is pinned for that has changed a module.
_CHANGED = re.compile(r"\bit (?:changed|removed) (?:module )?([\w.]+)")


@dataclass(frozen=True, slots=True)
class Perishable:
    """Tells what of one session perishes."""

    slots: Slots
    history: History
    world: World

    def before(self, pins: Collection[int]) -> list[str]:
        """Deferred variables that cannot be had as they were once pinned executions have run again.

        They are a module's own state; or come back by names in a module that is about to be changed, or made anew; or are made by
        cells that are about to change a module, and not stored: to run these a second time for them would change it twice.
        """
        changing = {i for i in pins if self._sets_module(i)}
        changed = {top for i in pins for top in _modules_changed(self.history.record(i))}
        anew = max((i for i in pins if renews_modules(self.history.record(i))), default=-1)

        def perishes(name: str, slot: Slot) -> bool:
            state = slot.state
            return (
                state.owned
                or (slot.maker is not None and slot.maker < anew)
                or (bool(changed) and state.size < _SMALL)  # what is of Python's own library is not noted
                or _names_in(state, changed)
                or self._comes_of(name, state, changing)
            )

        deferred = self.slots.deferred(self.slots.names())
        return [n for n in deferred if (slot := self.slots.get(n)) and perishes(n, slot)]

    def known_by(self, tops: Set[str]) -> list[str]:
        """Deferred variables that come back by names in these top-level modules, or are their own state."""
        # what is of Python's own library is not noted
        short = not tops.isdisjoint(sys.stdlib_module_names)
        return [
            n
            for n in self.slots.deferred(self.slots.names())
            if (slot := self.slots.get(n)) is not None
            and (_names_in(slot.state, tops) or (short and slot.state.size < _SMALL))
        ]

    def spent(self, record: Record, pins: Collection[int]) -> str | None:
        """What a cell reads and takes the place of, and would need to run again, where only changing a module twice gives it.

        Or what it changes that is live, and that files which are others now could not give once more.
        """
        if record.pinned is None and all(s.kept or ambient(n) for n, s in record.writes.items()):
            return None
        replaced = record.reads.keys() & {*record.writes, *record.deletes}
        needed = [(n, slot) for n in replaced if not ambient(n) and (slot := self.slots.get(n)) is not None]
        if not needed:
            return None
        changed = {
            i
            for i in range(len(self.history))
            if i not in pins and self.history.pinned(i) and self._sets_module(i)
        }
        live = [n for n, slot in needed if slot.live and (s := record.writes.get(n)) and s.kept is None]
        lost = {i for i in range(len(self.history)) if self._lost_files(i)} if live else set()
        return next(
            (
                n
                for n, slot in needed
                if self._comes_of(n, slot.state, changed | lost if n in live else changed)
            ),
            None,
        )

    def _lost_files(self, index: int) -> bool:
        return self.history[index].record is not None and self.world.may_be(index) is not None

    def _sets_module(self, index: int) -> bool:
        return any(n.startswith(MODULE) for n in self.history.record(index).writes)

    def _comes_of(self, name: str, state: State, executions: set[int]) -> bool:
        """Whether making a value again would run one of these executions again: nothing on the way is stored."""
        pending, seen = [(name, state, len(self.history))], set[int]()
        while pending and executions:
            name, state, before = pending.pop()
            if state.kept is not None:
                continue
            index = self.history.maker(name, state.version, before)
            if index in executions:
                return True
            if index is None or index in seen:
                continue
            seen.add(index)
            for read, version in self.history.record(index).reads.items():
                if not ambient(read) and (earlier := self.history.state(read, version, index)) is not None:
                    pending.append((read, earlier, index))
        return False


def renews_modules(record: Record) -> bool:
    """Whether a cell may put other modules, or functions, in the place of those that values come back by the names of."""
    return _ANEW.search(record.text) is not None


def _modules_changed(record: Record) -> set[str]:
    """Top-level names of modules in which a pinned cell has set something."""
    names = [n[len(MODULE) :] for n in record.writes if n.startswith(MODULE)]
    names += _CHANGED.findall(record.pinned or "")
    return {n.partition(".")[0] for n in names}


def _names_in(state: State, tops: Set[str]) -> bool:
    """Whether something in a value is known by a name in one of these top-level modules."""
    return any(m.partition(".")[0] in tops for m in (*state.modules, *state.packages, state.owner or ""))
