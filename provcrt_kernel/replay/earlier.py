"""Results that replayed cells displayed, until a cell asks for them: ``_``, ``Out``.

A result that is a variable is that very object as long as there is one: what changes it in place changes the result. Where
the name is bound anew, the result is the value that was kept for it, if nothing else holds that. What can be had in neither way
is lost; a copy that nobody else knows would be a wrong result.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace

from provcrt_kernel.session.keep import bring_back
from provcrt_kernel.session.slots import Slots, State
from provcrt_kernel.store import Store


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A result that has not been asked for.

    Attributes
    ----------
    name
        The variable that it is, or was when its value was kept.
    version
        Of the variable; None if it is no variable any more.
    kept
        Manifest of the value that it was.
    """

    name: str
    version: str | None = None
    kept: str | None = None


class EarlierResults:
    """Results of one session's replayed cells, by index in its history.

    Parameters
    ----------
    unbound
        The name under which a result is kept that was no variable.
    """

    def __init__(self, store: Store, slots: Slots, namespace: dict[str, object], unbound: str) -> None:
        self._store = store
        self._slots = slots
        self._namespace = namespace
        self._unbound = unbound
        self._waiting: dict[int, _Waiting] = {}
        self._taken: dict[int, object] = {}

    def add(self, index: int, state: State) -> None:
        """A replayed cell displayed a value with this state, which its group names if it is a variable."""
        if state.group:
            self._waiting[index] = _Waiting(state.group[0], state.version)
            self.take()
        elif state.kept is not None:
            self._waiting[index] = _Waiting(self._unbound, kept=state.kept)

    def variables(self) -> set[str]:
        """Names of the variables that some of them are."""
        return {w.name for w in self._waiting.values() if w.version is not None}

    def before(self, writes: Mapping[str, State], deleted: Iterable[str], in_place: Container[str]) -> None:
        """The table is about to get these states of a cell: what it changed in place changes with them, the rest parts."""
        self.take()
        if self._waiting:
            for name in deleted:
                self._changing(name, None)
            for name, state in writes.items():
                self._changing(name, state.version if name in in_place else None)

    def _changing(self, name: str, version: str | None) -> None:
        for index, waiting in list(self._waiting.items()):
            if waiting.name != name or waiting.version is None:
                continue
            slot = self._slots.get(name)
            if slot is None or slot.state.version != waiting.version:
                del self._waiting[index]
            elif version is not None:
                self._waiting[index] = replace(waiting, version=version)
            elif slot.state.kept is not None and slot.state.group in ((), (name,)):
                self._waiting[index] = _Waiting(name, kept=slot.state.kept)
            else:
                del self._waiting[index]

    def take(self) -> None:
        """Variables that are live now may be changed: hold on to those that are results."""
        for index, waiting in list(self._waiting.items()):
            if waiting.version is None:
                continue
            slot = self._slots.get(waiting.name)
            there = slot is not None and slot.live and slot.state.version == waiting.version
            if there and waiting.name in self._namespace:
                self._taken[index] = self._namespace[waiting.name]
                del self._waiting[index]

    def results(self) -> Mapping[int, object]:
        """Those that can be had, each given once; variables as far as they are live."""
        self.take()
        found, self._taken = self._taken, {}
        values: dict[str, dict[str, object]] = {}
        for index, waiting in self._waiting.items():
            if waiting.kept is None:
                continue
            if waiting.kept not in values:
                values[waiting.kept] = bring_back(self._store, waiting.kept, self._namespace) or {}
            if waiting.name in values[waiting.kept]:
                found[index] = values[waiting.kept][waiting.name]
        self._waiting.clear()
        return found
