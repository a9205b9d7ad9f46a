"""Bringing deferred state back: load it from the store, or run the cell that made it again.

A recomputed cell gets its inputs in the versions it had, on objects of their own; what it shows is dropped, and of what
it leaves only the versions that are asked for are kept. Whether it made the same thing again is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from provcrt_kernel.replay.files import Files
from provcrt_kernel.replay.history import History
from provcrt_kernel.replay.record import Record
from provcrt_kernel.session.ambience import Ambience
from provcrt_kernel.session.fingerprint import fingerprint
from provcrt_kernel.session.keep import bring_back
from provcrt_kernel.session.modules import MODULE, import_again
from provcrt_kernel.session.slots import Slot, Slots, State, ambient
from provcrt_kernel.store import Store

Version = tuple[str, str]


class CannotRebuild(Exception):
    """Deferred state can be had neither from the store nor by running its cell again."""

    @classmethod
    def lost(cls, name: str, why: str) -> CannotRebuild:
        """Nothing in the session's history makes this version."""
        return cls(f"{name} cannot be brought back: {why}; run the cell that makes it")


@dataclass
class Rebuild:
    """Makes deferred slots live.

    Attributes
    ----------
    run
        Runs a cell's text in the namespace without showing anything; returns whether it ended as `Record.error` says.
    """

    store: Store
    slots: Slots
    history: History
    files: Files
    ambience: Ambience
    namespace: dict[str, object]
    run: Callable[[Record], bool]
    recomputed: list[int] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    _have: dict[Version, object] = field(default_factory=dict)
    _imports: dict[str, None] = field(default_factory=dict)
    _pins: list[int] = field(default_factory=list)

    def defer_import(self, names: Iterable[str]) -> None:
        """A replayed cell imported these modules."""
        self._imports.update(dict.fromkeys(names))

    def pin(self, index: int) -> None:
        """A replayed execution has effects that only running it again brings back."""
        self._pins.append(index)

    def pending(self, names: Iterable[str]) -> bool:
        """Whether `ready` has anything to do."""
        return bool(
            self._pins
            or self._imports
            or self.slots.deferred(names)
            or any(not s.live for s in self._ambient_slots())
        )

    def _ambient_slots(self) -> Iterable[Slot]:
        return (slot for name in self.slots if ambient(name) and (slot := self.slots.get(name)) is not None)

    def ready(self, names: Iterable[str], ambient_names: Iterable[str], *, modules: bool) -> list[int]:
        """Make slots live.

        Parameters
        ----------
        names
            Variables; those that do not exist, or are live, are passed over.
        ambient_names
            Ambient slots; the same.
        modules
            Whether what runs next can reach any module: then earlier imports and pinned cells come first.

        Returns
        -------
        list of int
            Indices of the executions that were recomputed.

        Raises
        ------
        CannotRebuild
            Something can be had in no way; all else is live.
        """
        self.recomputed = []
        wanted = self.slots.deferred(n for n in names if not ambient(n))
        if not wanted and not modules:
            return []
        if modules:
            self._import()
        try:
            if modules:
                while self._pins:
                    self._recompute(self._pins.pop(0), keep=True)
            for name in sorted(wanted, key=lambda n: self.slots.get(n).maker or 0):  # type: ignore[union-attr]
                slot = self.slots.get(name)
                if slot is not None and not slot.live:
                    self._make_live(name, slot.state)
        finally:
            self._have.clear()
            self._restore_ambient(ambient_names)
        return self.recomputed

    def _import(self) -> None:
        if self._imports:
            import_again(self._imports)
            self._imports.clear()
        quiet = ("~package:", MODULE, "~effects")
        for name in self.slots.deferred(n for n in list(self.slots) if n.startswith(quiet)):
            self.slots.load(name)

    def _restore_ambient(self, names: Iterable[str]) -> None:
        wanted = {*names, *(n for n in self.slots if self.ambience.light(n))}
        states = {n: s.state for n in self.slots.deferred(wanted) if (s := self.slots.get(n))}
        self.ambience.restore(states)
        for name in states:
            self.slots.load(name)

    def _make_live(self, name: str, state: State) -> None:
        values = self._values(name, state, len(self.history))
        for member in state.group or (name,):
            slot = self.slots.get(member)
            if member in values and slot is not None and not slot.live and slot.state.joint == state.joint:
                self.namespace[member] = values[member]
                self.slots.load(member)

    def _values(self, name: str, state: State, before: int) -> dict[str, object]:
        """The co-variable of `name` at a version, from what is at hand, the store, or by running its cell again."""
        members = state.group or (name,)
        if state.kept is not None:
            values = bring_back(self.store, state.kept, self.namespace)
            if values is not None and name in values:
                return values
        index = self.history.maker(name, state.version, before)
        if index is None:
            raise CannotRebuild.lost(name, "the store lost it" if state.kept else "nothing recorded makes it")
        self._recompute(index)
        values = {m: self._have[key] for m in members if (key := (m, self._version(index, m))) in self._have}
        if name not in values:
            raise CannotRebuild.lost(name, "its cell did not make it again")
        return values

    def _version(self, index: int, name: str) -> str:
        record = self.history[index].record
        assert record is not None
        state = record.writes.get(name)
        return state.version if state else ""

    def _recompute(self, index: int, *, keep: bool = False) -> None:
        """Run one execution again on its own inputs; what it makes is put at hand, or made live with `keep`."""
        record = self.history[index].record
        assert record is not None
        if reason := self.files.differs(record):
            raise CannotRebuild.lost(f"the state of cell {self.history.count(index)}", reason)
        saved: dict[str, object] = {}
        missing = object()
        touched = [n for n in {**record.reads, **record.writes} if not ambient(n)] + list(record.deletes)
        if keep:
            self._inputs_live(record)
        inputs = self._inputs(record, index)
        for name in touched:
            saved[name] = self.namespace.get(name, missing)
        for name, value in inputs.items():
            self.namespace[name] = value
        for name, version in record.reads.items():
            if version == "" and not ambient(name):
                self.namespace.pop(name, None)
        self._enter_ambient(record, index)
        same = self.run(record)
        made: dict[str, object] = {}
        for name, state in record.writes.items():
            if ambient(name):
                if (slot := self.slots.get(name)) is not None:
                    slot.live = slot.state.version == state.version
            elif name in self.namespace:
                made[name] = self.namespace[name]
                self._have[(name, state.version)] = made[name]
        for name, value in saved.items():
            if value is missing:
                self.namespace.pop(name, None)
            else:
                self.namespace[name] = value
        self.recomputed.append(index)
        self._check(record, made, same, index)
        if keep:
            self._adopt(record, made)

    def _inputs_live(self, record: Record) -> None:
        """What a pinned cell hands to a module must be the session's own object, not a copy of it."""
        for name, version in record.reads.items():
            slot = self.slots.get(name)
            if slot is not None and not ambient(name) and not slot.live and slot.state.version == version:
                self._make_live(name, slot.state)

    def _adopt(self, record: Record, made: dict[str, object]) -> None:
        """Make live what a pinned cell made, where the session still has that version."""
        for name, value in made.items():
            slot = self.slots.get(name)
            if slot is None or slot.live or slot.state.version != record.writes[name].version:
                continue
            if all((s := self.slots.get(m)) and s.state.joint == slot.state.joint for m in slot.state.group):
                self.namespace[name] = value
                self.slots.load(name)

    def _inputs(self, record: Record, index: int) -> dict[str, object]:
        inputs: dict[str, object] = {}
        for name, version in record.reads.items():
            if ambient(name) or version == "" or name in inputs:
                continue
            slot = self.slots.get(name)
            if (
                slot is not None
                and slot.live
                and slot.state.version == version
                and not self._would_spoil(name, record)
            ):
                inputs[name] = self.namespace[name]
                continue
            if (key := (name, version)) in self._have:
                inputs[name] = self._have.pop(key) if name in record.writes else self._have[key]
                continue
            state = self.history.state(name, version, index)
            if state is None:
                raise CannotRebuild.lost(name, "an earlier version of it is needed, which was not recorded")
            inputs.update({m: v for m, v in self._values(name, state, index).items() if record.reads.get(m)})
            for member in state.group or (name,):
                self._have.pop((member, self._version_of(member, state, index)), None)
        return inputs

    def _version_of(self, name: str, state: State, before: int) -> str:
        index = self.history.maker(name, state.version, before)
        return self._version(index, name) if index is not None else state.version

    def _would_spoil(self, name: str, record: Record) -> bool:
        """Whether running the record on the live value would change an object that the session goes on using."""
        return any(member in record.writes for member in self.slots.group(name))

    def _enter_ambient(self, record: Record, index: int) -> None:
        """Give the cell the ambient state it ran in, as far as it was recorded."""
        states: dict[str, State] = {}
        for name, version in record.reads.items():
            slot = self.slots.get(name)
            if not self.ambience.knows(name) or (
                slot is not None and slot.live and slot.state.version == version
            ):
                continue
            state = self.history.state(name, version, index)
            if state is not None:
                states[name] = state
        self.ambience.restore(states)
        for name in states:
            if (slot := self.slots.get(name)) is not None:
                slot.live = False

    def _check(self, record: Record, made: dict[str, object], same: bool, index: int) -> None:
        """A recomputed value that differs from the recorded one is a new version: what depends on it runs again."""
        for name, state in record.writes.items():
            if ambient(name) or state.opaque is not None:
                continue
            digest = fingerprint(made[name], self.namespace).digest if name in made else None
            if not same or digest != state.version:
                self.changed.append(name)
                slot = self.slots.get(name)
                if slot is not None and slot.state.version == state.version:
                    fresh = State(
                        digest or f"x:{record.id}:again:{name}",
                        packages=state.packages,
                        refs=state.refs,
                        modules=state.modules,
                    )
                    if name in made:
                        self.namespace[name] = made[name]
                        self.slots.set(name, fresh, live=True, maker=index)
                    else:
                        self.slots.drop(name)
