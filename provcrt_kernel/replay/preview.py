"""What running cells one after the other would do, without running any: which would be replayed, which would run, and how long.

The session goes ahead on paper. A hit advances a copy of the slots, and what it writes is taken for what the disk will hold. Of a
miss only guesses are known: what it left the last time. Whoever reads that is *unknown*, replayed if it comes out as before. What
the plan for a miss would run again is *recomputed*.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from provcrt_kernel.replay.cell import reach
from provcrt_kernel.replay.engine import Engine
from provcrt_kernel.replay.history import Execution
from provcrt_kernel.replay.lookup import Lookup
from provcrt_kernel.replay.rebuild import Rebuild
from provcrt_kernel.replay.recompute import Recompute
from provcrt_kernel.replay.record import FileOutput, Record
from provcrt_kernel.replay.world import World
from provcrt_kernel.session.slots import ANY, State, shown
from provcrt_kernel.session.source import Source, imported_names

#: Slots that an import leaves as it found them, as long as nobody installs or edits anything.
_INSTALLED = ("~package:", "~module:")


@dataclass(frozen=True, slots=True)
class Asked:
    """A cell that may be run.

    Attributes
    ----------
    place
        Where in which notebook it stands, as records have it.
    must
        Why it runs whatever is recorded; empty where it need not.
    strict
        Whether it runs if it is volatile.
    """

    id: str
    place: str
    source: Source
    must: str = ""
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Expected:
    """What would become of a cell.

    Attributes
    ----------
    verdict
        ``replay``, ``run``, ``recompute`` or ``unknown``.
    seconds
        What it would take, by what it took; None if it has never been run.
    """

    id: str
    verdict: str
    reason: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class _Ahead(Lookup):
    """Looks records up as if whatever is computed anew came out as before."""

    anew: Mapping[str, str] = field(default_factory=dict)

    def differs(self, record: Record) -> str | None:
        return Lookup.differs(self, _without(record, self.anew))


def preview(engine: Engine, cells: Iterable[Asked], count: int) -> list[Expected]:
    """Tell what running cells in this order would do now.

    Parameters
    ----------
    count
        The execution count of the first.
    """
    return _Preview(engine).all(cells, count)


class _Preview:
    """A session that goes ahead on paper."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._slots = engine.slots.copy()
        self._history = engine.history.copy()
        self._environ = dict(os.environ)
        self._left: dict[str, FileOutput] = {}
        # slots, and paths, that a miss makes anew → the cell
        self._anew: dict[str, str] = {}
        self._volatile = set(engine.volatile)
        world = World(engine.files, self._history)
        again = Recompute(
            self._slots, self._history, world, engine.ambience, engine.namespace, lambda record: False
        )
        self._rebuild = Rebuild(
            engine.store,
            self._slots,
            self._history,
            engine.ambience,
            engine.namespace,
            again,
            engine.pace,
            pins=list(engine.rebuild.pins),
        )
        self._lookup = _Ahead(
            engine.store,
            self._slots,
            engine.files,
            self._maker,
            _recorded,
            self._environ,
            self._left,
            self._rebuild.spent,
            anew=self._anew,
        )
        self._cells: dict[int, str] = {}  # of replayed executions on paper
        self._recomputed: dict[str, str] = {}

    def all(self, cells: Iterable[Asked], count: int) -> list[Expected]:
        """Go through the cells."""
        found = [self._one(cell, count + number) for number, cell in enumerate(cells)]
        return [
            replace(each, verdict="recompute", reason=f"cell {self._recomputed[each.id]} needs its values")
            if each.verdict == "replay" and each.id in self._recomputed
            else replace(each, seconds=0.0 if each.verdict == "replay" else each.seconds)
            for each in found
        ]

    def _one(self, cell: Asked, count: int) -> Expected:
        former = self._former(cell)
        seconds = None if former is None else former.seconds
        if cell.must:
            reason = cell.must
        else:
            decision = self._lookup.decide(cell.source, cell.place, count, self._volatile, strict=cell.strict)
            reason = decision.reason
            if (record := decision.record) is not None:
                because = self._reads_anew(record)
                self._replay(cell, record, count, because)
                if because:
                    return Expected(cell.id, "unknown", because, record.seconds)
                return Expected(cell.id, "replay", reason, record.seconds)
        self._run(cell, former, str(count))
        return Expected(cell.id, "run", reason, seconds)

    def _former(self, cell: Asked) -> Record | None:
        """The latest record of this source, or of what stood here before."""
        last = self._lookup.last_key(cell.place)
        for key in dict.fromkeys((cell.source.key, last)):
            for record in self._lookup.candidates(key) if key else ():
                return record
        return None

    def _reads_anew(self, record: Record) -> str:
        """Which of its inputs is computed anew, in words; empty if none is."""
        for name in record.reads:
            if name in self._anew:
                return f"{shown(name)} is computed anew (cell {self._anew[name]})"
        for known in record.inputs:
            if known.path in self._anew:
                return f"{os.path.basename(known.path)} is written anew (cell {self._anew[known.path]})"
        return ""

    def _replay(self, cell: Asked, record: Record, count: int, because: str) -> None:
        index = self._history.add(Execution(count, cell.place, record, "replayed", "", 0.0, record.seconds))
        self._cells[index] = cell.id
        self._slots.leave(record.writes.keys() - {*record.in_place}, parted=False)
        for name in record.deletes:
            self._slots.drop(name)
        for name, state in record.writes.items():
            slot = self._slots.get(name)
            live = slot is not None and slot.live and slot.state.version == state.version
            self._slots.set(name, state, live=live, maker=index)
        for name, value in record.set_environ.items():
            if value is None:
                self._environ.pop(name, None)
            else:
                self._environ[name] = value
        self._left.update((output.path, output) for output in record.outputs)
        if record.pinned:
            self._rebuild.pin(index)
        if record.volatile:
            self._volatile.add(record.key)
        self._becomes((*record.writes, *(o.path for o in record.outputs)), str(count) if because else "")

    def _run(self, cell: Asked, former: Record | None, count: str) -> None:
        """A miss: what it needs is made live first, what it leaves is guessed."""
        names = reach(self._slots, cell.source)
        reached = self._slots.names() if ANY in names else names
        plan = self._rebuild.plan(reached, modules=True)
        for step in plan.steps:
            if step.again is not None and step.again in self._cells:
                self._recomputed.setdefault(self._cells[step.again], count)
        self._rebuild.pins.clear()
        for name in self._slots.deferred(reached):
            self._slots.load(name)
        guessed = dict(former.writes) if former is not None else {}
        for name in cell.source.binds - guessed.keys():
            guessed[name] = State(f"of cell {count}")
        self._slots.leave(guessed, parted=False)
        for name, state in guessed.items():
            self._slots.set(name, state, live=True, maker=None)
        outputs = former.outputs if former is not None else ()
        self._left.update((output.path, output) for output in outputs)
        stays = {n for n in guessed if n.startswith(_INSTALLED)} | imported_names(cell.source.text)
        self._becomes((*(n for n in guessed if n not in stays), *(o.path for o in outputs)), count)

    def _becomes(self, things: Iterable[str], anew: str) -> None:
        """Slots and paths are made anew by the cell with this count; or, where it is empty, are known again."""
        for thing in things:
            if anew:
                self._anew[thing] = anew
            else:
                self._anew.pop(thing, None)

    def _maker(self, name: str) -> int | None:
        slot = self._slots.get(name)
        return self._history.count(slot.maker) if slot else None


def _recorded(reads: Mapping[str, str]) -> None:
    """What is computed anew will be recorded, as far as anybody knows."""


def _without(record: Record, anew: Mapping[str, str]) -> Record:
    """A record that does not ask for what is computed anew."""
    if not anew:
        return record
    return msgspec.structs.replace(
        record,
        reads={n: v for n, v in record.reads.items() if n not in anew},
        shares={
            names: joint for names, joint in record.shares.items() if anew.keys().isdisjoint(names.split(","))
        },
        kin={n: made for n, made in record.kin.items() if n not in anew},
        inputs=tuple(i for i in record.inputs if i.path not in anew),
    )
