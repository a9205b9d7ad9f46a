"""Bringing deferred state back: load it from the store, or run the cell that made it again, whichever takes less.

`plan` decides that for all that is wanted at once; here its steps are carried out. A step that fails (a blob is damaged, a
file is not what it was) is a fact that the next plan knows; so each failure costs one more plan, and what can be had in any
way is had.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import NoReturn

from provcrt_kernel.replay.former import Former
from provcrt_kernel.replay.history import History
from provcrt_kernel.replay.imported import Imported
from provcrt_kernel.replay.pace import Pace
from provcrt_kernel.replay.perishable import Perishable, renews_modules
from provcrt_kernel.replay.plan import Plan, Source, make_plan
from provcrt_kernel.replay.recompute import Recompute
from provcrt_kernel.replay.record import Record
from provcrt_kernel.replay.world import Unlike
from provcrt_kernel.session.ambience import Ambience
from provcrt_kernel.session.collector import resting
from provcrt_kernel.session.keep import bring_back
from provcrt_kernel.session.kinship import enter
from provcrt_kernel.session.opaque import DRAWN
from provcrt_kernel.session.slots import Slot, Slots, State, ambient
from provcrt_kernel.store import Store

#: Seconds that running a cell again takes besides the cell's own: its files are checked, its values compared.
_AGAIN = 0.005
#: Times that an input which another step has used up is made again.
_TRIES = 3


class CannotRebuild(Exception):
    """Deferred state can be had neither from the store nor by running its cell again."""

    @classmethod
    def lost(cls, name: str, why: str) -> CannotRebuild:
        """Nothing in the session's history makes this version."""
        return cls(f"{name} cannot be brought back: {why}; run the cell that makes it")


class _Failed(Exception):
    """A step could not be done; what was learned from it is noted."""


@dataclass(frozen=True, slots=True)
class Value:
    """A co-variable at a version: what is loaded, or made, in one piece.

    Attributes
    ----------
    version
        The joint version of several names; the version of a single one.
    maker
        The latest execution, of those that its reader could see, that made it.
    kept
        Its snapshot in the store.
    size
        Bytes in memory.
    """

    names: tuple[str, ...]
    version: str
    maker: int | None
    kept: str | None = field(default=None, compare=False)
    size: int = field(default=0, compare=False)


def _key(name: str, state: State) -> tuple[tuple[str, ...], str]:
    """A co-variable's names and version."""
    return state.group or (name,), state.joint or state.version


@dataclass
class Rebuild:
    """Makes deferred slots live."""

    store: Store
    slots: Slots
    history: History
    ambience: Ambience
    namespace: dict[str, object]
    recompute: Recompute
    pace: Pace
    _recomputed: list[int] = field(default_factory=list)
    _have: dict[tuple[tuple[str, ...], str], dict[str, object]] = field(default_factory=dict)
    pins: list[int] = field(default_factory=list)
    #: Snapshots that could not be loaded.
    _lost: set[str] = field(default_factory=set)
    #: Executions that cannot be run again, and why.
    _impossible: dict[int, str] = field(default_factory=dict)
    #: Values that came out different when their cell ran again, and are kept as they were.
    _loaded_only: set[tuple[tuple[str, ...], str]] = field(default_factory=set)
    _missed: dict[int, int] = field(default_factory=dict)
    imported: Imported = field(init=False)
    former: Former = field(init=False)
    perishable: Perishable = field(init=False)

    def __post_init__(self) -> None:
        self.former = Former(self.store, self.slots, self.history, self.namespace)
        self.perishable = Perishable(self.slots, self.history, self.recompute.world)
        self.imported = Imported(self.slots, self.ambience, self.recompute)

    def pin(self, index: int) -> None:
        """A replayed execution has effects that only running it again brings back; it does before the next miss."""
        self.pins.append(index)

    def spent(self, record: Record) -> str | None:
        """See `Perishable.spent`."""
        return self.perishable.spent(record, self.pins)

    @property
    def pinned(self) -> bool:
        """Whether effects of replayed cells are still to be brought about."""
        return bool(self.pins)

    def pending(self, names: Iterable[str]) -> bool:
        """Whether `ready` has anything to do."""
        return bool(
            self.pins
            or self.imported.pending
            or self.slots.deferred(names)
            or any(not s.live for s in self._ambient_slots())
        )

    def _ambient_slots(self) -> Iterable[Slot]:
        return (slot for n in self.slots.ambient_names() if (slot := self.slots.get(n)) is not None)

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
        self._recomputed = []
        wanted = self.former.with_classes(self.slots.deferred(n for n in names if not ambient(n)))
        if not wanted and not modules:
            self.settle()
            return []
        with self.recompute.quiet():  # what is made on the way, and let go of, says nothing
            return self._ready(wanted, ambient_names, modules=modules)

    def _ready(self, wanted: list[str], ambient_names: Iterable[str], *, modules: bool) -> list[int]:
        if modules:
            self.imported.bring()
        self._impossible.clear()
        self._missed.clear()
        beside = self.perishable.before(self.pins) if modules and self.pins else []
        try:
            problems = self._carry_out(wanted, beside, modules=modules) if wanted or self.pins else []
        finally:
            self._have.clear()
            self._restore_ambient(ambient_names)
        if problems:
            raise problems[0]
        return self._recomputed

    def settle(self) -> None:
        """Restore what any code may see."""
        self._restore_ambient(())

    def plan(self, names: Iterable[str], *, modules: bool) -> Plan[Value]:
        """What `ready` would do first, for variables; nothing is done."""
        wanted = [self._wanted(n) for n in self.slots.deferred(n for n in names if not ambient(n))]
        classes = {k for v in wanted for n in v.names if (slot := self.slots.get(n)) for k in slot.state.kin}
        wanted.sort(key=lambda v: (classes.isdisjoint(v.names), -1 if v.maker is None else v.maker, v.names))
        return make_plan(
            [v for v in wanted if (v.names, v.version) not in self._have],
            self._source,
            self._seconds,
            self._needs,
            self.pins if modules else (),
        )

    def unstorable(self, state: State) -> bool:
        """Whether a value cannot be stored; a figure, and what is only cheaper to make than to store, is another matter."""
        if state.kept is not None or state.opaque == DRAWN:
            return False
        return state.opaque is not None or self.pace.worth_keeping(state.size, 0.0)

    def made_again(self, name: str, state: State, maker: int) -> object:
        """Make again what a variable was before it was bound anew; its cell had bound it to that alone, and to this state.

        Raises
        ------
        CannotRebuild
            It cannot be had, or it may be that something goes on using the very object.
        """
        if used := self._goes_on(name, state, maker):
            raise CannotRebuild.lost(name, used)
        value = self._value(name, state, maker + 1)
        self.ready((), (), modules=True)
        with self.recompute.quiet():
            try:
                while (value.names, value.version) not in self._have:
                    plan = make_plan([value], self._source, self._seconds, self._needs)
                    again = [step.again for step in plan.steps if step.again is not None]
                    if plan.lost or any(self.history.pinned(index) for index in again):
                        raise CannotRebuild.lost(name, "its cell cannot run once more")
                    try:
                        self._do(plan)
                    except _Failed:
                        continue
                    break
                made = self._have.get((value.names, value.version), {})
                if name not in made:
                    raise CannotRebuild.lost(name, "its cell did not make it again")
                return made[name]
            finally:
                self._have.clear()
                self._restore_ambient(())

    def _goes_on(self, name: str, state: State, maker: int) -> str | None:
        """Why what a variable was may be in use, or another one by now."""
        later = [r for i in range(maker + 1, len(self.history)) if (r := self.history[i].record) is not None]
        if state.owned:
            if state.owner is None:
                return "something outside of the notebook holds it"
            return "its module was made anew" if any(map(renews_modules, later)) else None
        versions, first, record = {state.version}, maker, self.history[maker].record
        while record is not None and name in record.in_place and name in record.reads:
            versions.add(record.reads[name])
            earlier = self.history.maker(name, record.reads[name], first)
            if earlier is None:
                break
            first, record = earlier, self.history[earlier].record
        for index in range(first + 1, len(self.history)) if self.unstorable(state) else ():
            record = self.history[index].record
            if record is None or record.reads.get(name) not in versions:
                continue
            others = (s for n, s in record.writes.items() if n != name and not ambient(n))
            if record.pinned or any(s.kept is None for s in others):
                return "what was made of it may go on using it"
        return None

    # -- what a plan is made of -----------------------------------------------------------------------------------------

    def _wanted(self, name: str) -> Value:
        slot = self.slots.get(name)
        assert slot is not None
        return self._value(name, slot.state, len(self.history))

    def _value(self, name: str, state: State, before: int) -> Value:
        names = state.group or (name,)
        maker = self.history.maker(name, state.version, before)
        record = None if maker is None else self.history[maker].record
        states = [state] if record is None else [s for n in names if (s := record.writes.get(n))]
        return Value(*_key(name, state), maker, state.kept, sum(s.size for s in states))

    def _source(self, value: Value) -> Source:
        loadable = value.kept is not None and value.kept not in self._lost
        record = None if value.maker is None else self.history[value.maker].record
        # what used the clock would come out different: it is loaded whatever that takes
        other = (value.names, value.version) in self._loaded_only
        other |= record is not None and bool(record.passing)
        maker = None if loadable and other else value.maker
        return Source(self.pace.load(value.size) if loadable else None, maker, value.maker)

    def _seconds(self, index: int) -> float:
        record = self.history[index].record
        return _AGAIN + (record.seconds if record is not None else 0.0)

    def _needs(self, index: int) -> list[Value] | None:
        """Values that an execution needs besides those at hand; None if it cannot be run again."""
        if index in self._impossible:
            return None
        if reason := self.recompute.world.may_be(index):
            self._impossible[index] = reason
            return None
        needs: dict[Value, None] = {}
        record = self.history.record(index)
        for name in self._not_live(record):
            state = self.history.state(name, record.reads[name], index)
            if state is None:
                self._impossible[index] = f"an earlier version of {name} is needed, which was not recorded"
                return None
            value = self._value(name, state, index)
            if (value.names, value.version) not in self._have:
                needs[value] = None
        return list(needs)

    def _not_live(self, record: Record) -> list[str]:
        """Variables that a cell read and for which the session's own objects will not do."""
        shares = {n: joint for names, joint in record.shares.items() for n in names.split(",")}
        found = []
        for name, version in record.reads.items():
            if ambient(name) or version == "":
                continue
            slot = self.slots.get(name)
            group = self.slots.group(name)
            joint = "" if len(group) == 1 or slot is None else slot.state.joint
            if (
                slot is None
                or not slot.live
                or slot.state.version != version
                or shares.get(name, joint) != joint
                # the session goes on using the object that the cell would change
                or any(member in record.writes for member in group)
            ):
                found.append(name)
        return found

    # -- carrying it out ------------------------------------------------------------------------------------------------

    def _carry_out(self, wanted: list[str], beside: list[str], *, modules: bool) -> list[CannotRebuild]:
        """Plan and do until every step has succeeded; returns what cannot be had of `wanted`; `beside` it is had if it can."""
        problems: list[CannotRebuild] = []
        before: tuple[list[str], list[int]] | None = None
        while True:
            left = self.slots.deferred([*wanted, *beside]), list(self.pins) if modules else []
            if left == before or not any(left):
                break
            plan = self.plan(left[0], modules=modules)
            for index in plan.impossible:
                self.pins.remove(index)
                what = f"what cell {self.history.count(index)} set"
                problems.append(CannotRebuild.lost(what, self._why_impossible(index)))
            with contextlib.suppress(_Failed):
                self._do(plan)
                for name in self.slots.deferred(left[0]):
                    self._make_live(name)
                before = left
        for name in wanted:
            slot = self.slots.get(name)
            if slot is None:
                problems.append(CannotRebuild.lost(name, "its cell did not make it again"))
            elif not slot.live:
                problems.append(CannotRebuild.lost(name, self._why_lost(self._wanted(name))))
        return problems

    def _do(self, plan: Plan[Value]) -> None:
        """The steps of a plan, until one fails."""
        for step in plan.steps:
            if step.again is not None:
                self._run_again(step.again)
            elif step.value is not None:
                self._load(step.value)

    def _why_lost(self, value: Value) -> str:
        if value.maker is not None:
            return self._why_impossible(value.maker)
        return "the store lost it" if value.kept else "nothing recorded makes it"

    def _why_impossible(self, index: int) -> str:
        """The first reason, from an execution down to those that make its inputs."""
        pending, seen = [index], set[int]()
        while pending:
            index = pending.pop()
            if index in self._impossible:
                return self._impossible[index]
            seen.add(index)
            record = self.history.record(index)
            makers = [self.history.maker(n, record.reads[n], index) for n in self._not_live(record)]
            pending += [m for m in makers if m is not None and m not in seen]
        return "what it is made of is lost"

    def _load(self, value: Value) -> None:
        assert value.kept is not None
        started = time.perf_counter()
        with resting:
            values = bring_back(
                self.store, value.kept, self.namespace, self.former.of(value.names, value.version)
            )
        if values is None or not values.keys() >= set(value.names):
            self._lost.add(value.kept)
            raise _Failed
        self.pace.loading.note(value.size, time.perf_counter() - started)
        self._have[value.names, value.version] = {n: values[n] for n in value.names}

    def _run_again(self, index: int) -> None:
        record, pinned = self.history.record(index), index in self.pins
        if pinned and index > self.pins[0]:
            # running another again has brought up an earlier one: it comes first in the next plan
            self._try(index, "it would run again and again")
        if pinned:
            self._inputs_live(record, index)
        inputs = self._inputs(record, index) | self.former.classes(record, index)
        try:
            made = self.recompute.again(index, inputs)
        except Unlike as reason:
            self._impossible[index] = str(reason)
            raise _Failed from None
        self._recomputed.append(index)
        self._loaded_only |= {_key(n, s) for n, s in record.writes.items() if s.kept and n not in made}
        self.former.adopt(record, made, index)
        fresh: dict[tuple[tuple[str, ...], str], dict[str, object]] = {}
        for name, value in made.items():
            fresh.setdefault(_key(name, record.writes[name]), {})[name] = value
        self._have |= fresh
        self.pins = [i for i in self.pins if i != index]
        if record.pinned:
            # it has set again what later cells had changed
            later = [i for i in range(index + 1, len(self.history)) if self.history.pinned(i)]
            self.pins = sorted({*self.pins, *later})
        if pinned:
            self._adopt(record, made, index)

    def _try(self, index: int, why: str) -> NoReturn:
        """Leave an execution to the next plan; after some it cannot be run again."""
        self._missed[index] = self._missed.get(index, 0) + 1
        if self._missed[index] > _TRIES:
            self._impossible[index] = why
        raise _Failed

    def _inputs(self, record: Record, index: int) -> dict[str, object]:
        """The objects that an execution gets besides live ones; those that it may change are at hand no longer."""
        inputs: dict[str, object] = {}
        others = self._not_live(record)
        used = []
        for name in others:
            state = self.history.state(name, record.reads[name], index)
            if state is None or name not in self._have.get(_key(name, state), {}):
                # an earlier step has used it up: the next plan makes it once more, if that helps
                self._try(index, f"{name} is not at hand")
            used.append(_key(name, state))
        for key in dict.fromkeys(used):
            for name, value in self._have[key].items():
                if name in others or name not in record.reads:
                    inputs.setdefault(name, value)
            if any(name in record.writes for name in key[0]):
                del self._have[key]
        return inputs

    def _inputs_live(self, record: Record, index: int) -> None:
        """What a pinned cell hands to a module must be the session's own object, not a copy of it."""
        for name, version in record.reads.items():
            slot = self.slots.get(name)
            if slot is None or ambient(name) or slot.live or slot.state.version != version:
                continue
            changes = any(member in record.writes for member in self.slots.group(name))
            if not changes and not self.history.anew_since(name, index) and not self._handed_on(name, index):
                self._make_live(name)

    def _handed_on(self, name: str, index: int) -> bool:
        """Whether another pinned cell is to run that changes the object, or hands it on: no cell gets what is live to change."""
        return any(i > index and name in self.history.record(i).writes for i in self.pins)

    def _adopt(self, record: Record, made: Mapping[str, object], index: int) -> None:
        """Make live what a pinned cell made, where the session still has that version."""
        for name, state in record.writes.items():
            slot = self.slots.get(name)
            if (
                slot is not None
                and not ambient(name)
                and not slot.live
                and slot.state.version == state.version
                and not self.history.anew_since(name, index)
                and not self._handed_on(name, index)
            ):
                self._make_live(name)
            elif slot is not None and slot.maker == index and isinstance(made.get(name), ModuleType):
                # one that it imported anew has the version of the one before
                self.namespace[name] = made[name]

    def _make_live(self, name: str) -> None:
        """Bind the co-variable of a deferred slot, if it is at hand."""
        deferred = self.slots.get(name)
        if deferred is None or name not in self._have.get(_key(name, deferred.state), {}):
            return
        for member, value in self._have.pop(_key(name, deferred.state)).items():
            slot = self.slots.get(member)
            if slot is not None and not slot.live and slot.state.joint == deferred.state.joint:
                self.namespace[member] = value
                enter(member, value, self.namespace)
                self.slots.load(member)

    def _restore_ambient(self, names: Iterable[str]) -> None:
        wanted = {*names, *(n for n in self.slots.ambient_names() if self.ambience.light(n))}
        states = {n: s.state for n in self.slots.deferred(wanted) if (s := self.slots.get(n))}
        self.ambience.restore(states)
        for name in states:
            self.slots.load(name)
