"""A hit takes the session to where the cell would have taken it: files and settings at once, values when they are asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass

from provcrt_kernel.replay.earlier import EarlierResults
from provcrt_kernel.replay.files import Files
from provcrt_kernel.replay.history import Execution, History
from provcrt_kernel.replay.rebuild import Rebuild
from provcrt_kernel.replay.record import Record
from provcrt_kernel.session.ambience import Ambience
from provcrt_kernel.session.kinship import leave
from provcrt_kernel.session.modules import Modules
from provcrt_kernel.session.slots import Slots, State, ambient


class CannotReplay(Exception):
    """A record holds, but what it left cannot be brought about; the cell runs."""


@dataclass(frozen=True, slots=True)
class Advance:
    """Advances one session by records that hold."""

    namespace: dict[str, object]
    slots: Slots
    history: History
    files: Files
    modules: Modules
    ambience: Ambience
    rebuild: Rebuild
    earlier: EarlierResults

    def by(self, record: Record, cell: str, count: int) -> int:
        """Have it be as if the record's cell had run; returns the execution's index in the history.

        Raises
        ------
        CannotReplay
            A file that the cell wrote cannot be put back; the session is as it was.
        """
        if failed := self.files.put_back(record.outputs):
            raise CannotReplay(f"{failed[0]} could not be put back")
        index = self.history.add(Execution.of_hit(record, cell, count))
        self.earlier.before(record.writes, record.deletes, record.in_place)
        kept_live = self._still_live(record)
        self._leave(record, kept_live)
        self.earlier.part(n for n in record.in_place if n not in kept_live)
        gone: list[object] = []
        for name in record.deletes:
            self._unbind(name, gone)
            self.slots.drop(name)
        light: dict[str, State] = {}
        for name, state in record.writes.items():
            if ambient(name):
                if self._defer_ambient(name, state, index):
                    light[name] = state
            elif name in kept_live:
                self.slots.set(name, state, live=True, maker=index)
            else:
                self._unbind(name, gone)
                self.slots.set(name, state, live=False, maker=index)
        if gone:
            # what is said of a file that nobody closes is in the record, or never was
            with self.rebuild.recompute.quiet():
                gone.clear()
        failed_slots = self.ambience.restore(light)
        for name in light:
            if name not in failed_slots:
                self.slots.load(name)
        for variable, value in record.set_environ.items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value
        self.rebuild.imported.defer(record, index)
        if record.pinned:
            self.rebuild.pin(index)
        if record.result is not None:
            self.earlier.add(index, record.result)
        return index

    def _leave(self, record: Record, kept_live: set[str]) -> None:
        """Names that the cell bound anew, or deleted, are bound to their classes no longer."""
        anew = {n for n in record.writes if not ambient(n)} - {*record.in_place}
        self.slots.leave(anew & kept_live, parted=False)
        gone = {*anew, *record.deletes} - kept_live
        for name in gone:
            leave(name, self.namespace)
        self.slots.leave(gone, parted=True)

    def _unbind(self, name: str, gone: list[object]) -> None:
        """A variable has its live value no longer; what may say something when it goes is put aside."""
        value = self.namespace.pop(name, None)
        if value is not None and self.slots.lasting(name):
            gone.append(value)

    def _defer_ambient(self, name: str, state: State, index: int) -> bool:
        """Give an ambient slot its state, live if it is so already; whether it is cheap enough to be restored at once."""
        slot = self.slots.get(name)
        live = slot is not None and slot.live and slot.state.version == state.version
        self.slots.set(name, state, live=live, maker=index)
        self.modules.adopt(name, state)
        return (
            not live and self.ambience.light(name) and state.opaque is None and self.ambience.at_hand(state)
        )

    def _still_live(self, record: Record) -> set[str]:
        """Variables of a record whose live values are what it would bring back, aliases included."""
        same = set()
        for name, state in record.writes.items():
            slot = self.slots.get(name)
            if slot is None or not slot.live or ambient(name) or state.opaque is not None or slot.state.owned:
                continue
            unchanged = slot.state.version == state.version and slot.state.joint == state.joint
            unchanged &= slot.parted == frozenset(state.former)
            if unchanged and self.slots.fresh(name) and self.slots.group(name) == (state.group or (name,)):
                same.add(name)
        return {n for n in same if all(m in same for m in record.writes[n].group)}
