"""Results that replayed cells displayed, until a cell asks for them: ``_``, ``Out``.

A result that is a variable is that very object as long as there is one: what changes it in place changes the result. Where
the name is bound anew, the result is the value that was kept for it, or that its cell makes again, if nothing else holds that.
What can be had in no way is lost; a copy that nobody else knows would be a wrong result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from provcrt_kernel.replay.rebuild import CannotRebuild, Rebuild
from provcrt_kernel.replay.record import Record
from provcrt_kernel.session.keep import bring_back
from provcrt_kernel.session.slots import Slots, State
from provcrt_kernel.store import Store


@dataclass(frozen=True, slots=True)
class Given:
    """Results by index in the history; and for objects that were displayed what they are by now, or nothing if that is lost."""

    results: Mapping[int, object]
    parted: tuple[tuple[object, tuple[object, ...]], ...]


class EarlierResults:
    """Results of one session's replayed cells, by index in its history.

    Parameters
    ----------
    unbound
        The name under which a result is kept that was no variable.
    """

    def __init__(
        self, store: Store, slots: Slots, rebuild: Rebuild, namespace: dict[str, object], unbound: str
    ) -> None:
        self._store = store
        self._slots = slots
        self._rebuild = rebuild
        self._namespace = namespace
        self._unbound = unbound
        # by variable, the results that it is: a cell costs what it touches, not what was displayed before
        self._variables: dict[str, list[int]] = {}
        # manifest, and name in it, of those that are no variable, or none any more
        self._kept: dict[int, tuple[str, str]] = {}
        # name, state and maker of those that are no variable any more, and not kept
        self._former: dict[tuple[str, str, int], tuple[State, list[int]]] = {}
        self._taken: dict[int, object] = {}
        # by a number below zero, objects that were displayed and that a replay has parted from the variables they are
        self._parted: dict[int, object] = {}
        slots.on_load = self._loaded

    def add(self, index: int, state: State) -> None:
        """A replayed cell displayed a value with this state, which its group names if it is a variable."""
        if not state.group:
            if state.kept is not None:
                self._kept[index] = state.kept, self._unbound
            return
        name = state.group[0]
        slot = self._slots.get(name)
        if slot is not None and slot.state.version == state.version:
            self._variables.setdefault(name, []).append(index)
            if slot.live:
                self._loaded(name)

    def variables(self) -> list[str]:
        """Names of the variables that some of them are."""
        return list(self._variables)

    def before(self, writes: Iterable[str], deleted: Iterable[str], in_place: Container[str]) -> None:
        """The table is about to get a cell's new states: what it changed in place stays the result, the rest parts."""
        for name in (*deleted, *(n for n in writes if n not in in_place)):
            indices = self._variables.pop(name, ())
            slot = self._slots.get(name) if indices else None
            if slot is None or slot.state.group not in ((), (name,)):
                continue
            if slot.state.kept is not None:
                self._kept.update(dict.fromkeys(indices, (slot.state.kept, name)))
            elif slot.maker is not None:
                self._former[name, slot.state.version, slot.maker] = slot.state, list(indices)

    def parts(self, record: Record) -> str | None:
        """A result that a replay would part from its variable.

        The cell replaces what cannot be stored by what it makes of it, and that may go on using the very object.
        """
        for name in record.reads:
            slot, state = self._slots.get(name), record.writes.get(name)
            if slot is None or (state is None and name not in record.deletes):
                continue
            if state is not None and name in record.in_place:
                continue
            shown = self._is_there(self._namespace.get(name)) if slot.live else name in self._variables
            if shown and not slot.state.owned and self._rebuild.unstorable(slot.state):
                return name
        return None

    def part(self, names: Iterable[str]) -> None:
        """Live variables are about to be deferred, changed in place: a result that one is becomes what it will be."""
        for name in names:
            value = self._namespace.get(name)
            if name not in self._namespace or not self._is_there(value):
                continue
            indices = [index for index, taken in self._taken.items() if taken is value]
            for index in indices:
                del self._taken[index]
            number = -1 - len(self._parted)
            self._parted[number] = value
            self._variables.setdefault(name, []).extend((*indices, number))

    def _is_there(self, value: object) -> bool:
        """Whether a value is a result that was displayed, or would be given."""
        out: Mapping[int, object] = self._namespace.get("_oh", {})  # type: ignore[assignment]
        return any(value is other for other in (*self._taken.values(), *out.values()))

    def _loaded(self, name: str) -> None:
        """A variable is there, and may be changed or bound anew: hold on to it if it is a result."""
        for index in self._variables.pop(name, ()):
            self._taken[index] = self._namespace[name]

    def results(self) -> Given:
        """Those that can be had, each given once; variables as far as they are live."""
        for name in self.variables():
            if (slot := self._slots.get(name)) is not None and slot.live:  # made again, and not as it was
                self._loaded(name)
        found, self._taken = self._taken, {}
        values: dict[str, dict[str, object]] = {}
        for index, (manifest, name) in self._kept.items():
            if manifest not in values:
                values[manifest] = bring_back(self._store, manifest, self._namespace) or {}
            if name in values[manifest]:
                found[index] = values[manifest][name]
        for (name, _, maker), (state, indices) in self._former.items():
            with contextlib.suppress(CannotRebuild):
                found.update(dict.fromkeys(indices, self._rebuild.made_again(name, state, maker)))
        self._variables.clear()
        self._kept.clear()
        self._former.clear()
        parted, self._parted = self._parted, {}
        others = [
            (value, (found.pop(number),) if number in found else ()) for number, value in parted.items()
        ]
        return Given(found, tuple(others))
