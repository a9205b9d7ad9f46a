"""What a session has that is made of former classes: a class's cell ran again, what was made of the class before is still there.

A replayed cell that defines a class makes no new object while the one before will do as well: nobody can tell. Who could, a
cell that reaches the class and what was made of the one before, gets two.
"""

from __future__ import annotations

import contextlib
import gc
import types
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from provcrt_kernel.replay.history import History
from provcrt_kernel.replay.record import Record
from provcrt_kernel.session.homes import is_a
from provcrt_kernel.session.keep import bring_back
from provcrt_kernel.session.kinship import enter, leave
from provcrt_kernel.session.slots import Slot, Slots
from provcrt_kernel.store import Store

#: Objects that are looked at inside of what is to be of another class.
_HELD = 200_000
#: What leads to everything.
_NOT_HELD = (type, types.ModuleType, types.FunctionType, types.FrameType)


@dataclass(frozen=True, slots=True)
class Former:
    """The former classes of one session."""

    store: Store
    slots: Slots
    history: History
    namespace: dict[str, object]

    def with_classes(self, names: list[str]) -> list[str]:
        """Deferred names, and those of classes that they are made of: a class comes before its instances, as a whole."""
        found = dict.fromkeys(names)
        pending = list(names)
        while pending:
            slot = self.slots.get(pending.pop())
            assert slot is not None
            more = [n for n in self.slots.deferred(slot.state.kin) if n not in found and n not in slot.former]
            found |= dict.fromkeys(more)
            pending += more
        return list(found)

    def of(self, names: Iterable[str], version: str) -> set[str]:
        """Names that are bound to other classes by now than those that a co-variable of the session is made of."""
        slots = [slot for n in names if (slot := self.slots.get(n))]
        return {k for slot in slots if version in (slot.state.joint, slot.state.version) for k in slot.former}

    def part(self, names: Collection[str]) -> None:
        """Defer live values of which `names`, which a cell reaches, tell that they are not of the classes they seem to be of."""
        for name in self.slots.former(names, names):
            slot = self.slots.get(name)
            if slot is None or not slot.live or slot.former == slot.parted:
                continue
            if slot.state.kept is None or not self._defer(name):
                for cls in slot.former - slot.parted:
                    self._become_another(cls)

    def classes(self, record: Record, index: int) -> dict[str, object]:
        """The classes that an execution read, by name, where the names were bound to others since, as far as these can be had."""
        found: dict[str, object] = {}
        for name in record.reads:
            if name in found or not self.slots.kin([name]) or not self.history.anew_since(name, index):
                continue
            state = self.history.state(name, record.reads[name], index)
            if state is not None and state.kept is not None:
                values = bring_back(self.store, state.kept, self.namespace, {name}) or {}
                found |= {n: value for n, value in values.items() if n in record.reads}
        return found

    def adopt(self, record: Record, made: Mapping[str, object], index: int) -> None:
        """Have what an execution has made again be of the live classes: these are bound to what it made of them.

        Or what it made becomes theirs, where something is made of those that there are that is not made again, too.
        """
        classes = [n for n, value in made.items() if is_a(value, type) and self._is_still(n, record, index)]
        wanted = {n for n in classes if any(not s.live and n not in s.former for s in self._made_of(n))}
        while True:
            live = {k for k in self.slots.kin(wanted) if (s := self.slots.get(k)) and s.live}
            more = {
                k for k in live if (s := self.slots.get(k)) and wanted.intersection(s.state.kin) - s.former
            }
            more |= {member for name in wanted for member in self.slots.group(name)}
            if more <= wanted:
                break
            if not all(n in made and self._is_still(n, record, index) for n in more - wanted):
                become_of(made, {id(made[n]): self.namespace[n] for n in classes})
                return
            wanted |= more
        for name in wanted:
            self.namespace[name] = made[name]
            enter(name, made[name], self.namespace)

    def _is_still(self, name: str, record: Record, index: int) -> bool:
        """Whether a live variable is what an execution left."""
        slot, state = self.slots.get(name), record.writes.get(name)
        if slot is None or state is None or not slot.live or slot.state.version != state.version:
            return False
        return not self.history.anew_since(name, index)

    def _made_of(self, name: str) -> list[Slot]:
        return [slot for n in self.slots.kin([name]) if (slot := self.slots.get(n)) is not None]

    def _become_another(self, name: str) -> None:
        """Defer a class, so that its name will be bound to another object, with what is of that one."""
        slot = self.slots.get(name)
        made = [n for n in self.slots.kin([name]) if (s := self.slots.get(n)) and s.live]
        theirs = [n for n in made if (s := self.slots.get(n)) and name not in s.former]
        if slot is None or not slot.live or slot.state.kept is None:
            return
        if any((s := self.slots.get(n)) is None or s.state.kept is None for n in theirs):
            return
        if not self._defer(name):
            return
        leave(name, self.namespace)
        for other in made:
            if other in theirs:
                self._defer(other)
            else:
                self.slots.part(other, name)

    def _defer(self, name: str) -> bool:
        """Take a stored co-variable's values out of the namespace, if it is whole."""
        slot, group = self.slots.get(name), self.slots.group(name)
        if slot is None or group != (slot.state.group or (name,)):
            return False
        for member in group:
            self.namespace.pop(member, None)
            self.slots.defer(member)
        return True


def become_of(made: Mapping[str, object], classes: Mapping[int, Any]) -> None:
    """Have values, and what they hold, be of other classes that are defined alike: by identity of their own ones."""
    pending, seen = list(made.values()), set[int]()
    while pending and len(seen) < _HELD:
        one = pending.pop()
        if id(one) in seen or is_a(one, _NOT_HELD):
            continue
        seen.add(id(one))
        if (cls := classes.get(id(type(one)))) is not None:
            with contextlib.suppress(TypeError):
                object.__dict__["__class__"].__set__(one, cls)
        pending += gc.get_referents(one)
