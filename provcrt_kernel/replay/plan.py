"""The cheapest way to make deferred values live: which to load, which cells to run again.

A value can be loaded, or made by running its cell again, which makes everything that the cell made and needs the cell's inputs
in turn, down to what is live. Shared cells count once, so this is a minimum over an and-or graph, NP-hard in general (it
contains set cover). Two facts make it small here: inputs are older than the cell that reads them, so cells can be decided from
the latest to the oldest; and a cell is in question only if running it alone takes less than loading all that is wanted of it,
which thrift in what is kept makes rare. The first `SEARCHED` cells in question are searched exactly, by dynamic programming over
the set of values still wanted; each further one is decided by itself, with its inputs counted as if nobody shared them. So a
plan always makes what is wanted, never costs more than loading everything that can be loaded, and is the cheapest one unless
more cells than that are in question.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

#: Cells in question that are decided together; the search takes at most 2 to the power of this many steps.
SEARCHED = 12

V = TypeVar("V", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Source:
    """How a value can be had.

    Attributes
    ----------
    load
        Seconds that loading it takes; None if it is not kept.
    maker
        The execution that made it; None if there is none to run again.
    since
        The execution after which it was there, be it run again or not.
    """

    load: float | None
    maker: int | None
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Step(Generic[V]):
    """Load `value`, or run execution `again`; `seconds` is what that alone is expected to take."""

    seconds: float
    value: V | None = None
    again: int | None = None


@dataclass(frozen=True, slots=True)
class Plan(Generic[V]):
    """What to do, in order: every step comes after those that make its inputs.

    Attributes
    ----------
    lost
        Wanted values that can be had in no way.
    impossible
        Executions that were to run again whatever is wanted, and cannot.
    """

    steps: tuple[Step[V], ...] = ()
    lost: tuple[V, ...] = ()
    impossible: tuple[int, ...] = ()

    @property
    def seconds(self) -> float:
        """What all steps are expected to take."""
        return math.fsum(step.seconds for step in self.steps)


def make_plan(
    wanted: Iterable[V],
    source: Callable[[V], Source],
    seconds: Callable[[int], float],
    inputs: Callable[[int], Iterable[V] | None],
    forced: Iterable[int] = (),
) -> Plan[V]:
    """Plan how to make values live.

    Parameters
    ----------
    wanted
        Values that are not live.
    source
        How a value can be had.
    seconds
        What running an execution again takes by itself.
    inputs
        Values that an execution needs and that are not live, made by older ones; None if it cannot be run again. Asked once, and
        only for those that may have to.
    forced
        Executions that are run again whatever is wanted.
    """
    wanted, forced = list(dict.fromkeys(wanted)), sorted(set(forced))
    problem = _Problem(source, seconds, inputs)
    problem.explore(wanted, forced)
    possible = [v for v in wanted if problem.possible(v)]
    runnable = [i for i in forced if i in problem.alone]
    again = problem.search(frozenset(possible), frozenset(runnable), SEARCHED, {})[1]
    return Plan(
        problem.steps(possible, again),
        tuple(v for v in wanted if not problem.possible(v)),
        tuple(i for i in forced if i not in problem.alone),
    )


@dataclass
class _Problem(Generic[V]):
    """The part of the graph that matters.

    Attributes
    ----------
    needs
        Executions that may have to run again → their inputs; None for those that cannot.
    alone
        Of these, the ones whose inputs can be had → their seconds with inputs that nobody shares.
    """

    source: Callable[[V], Source]
    seconds: Callable[[int], float]
    inputs: Callable[[int], Iterable[V] | None]
    sources: dict[V, Source] = field(default_factory=dict)
    needs: dict[int, tuple[V, ...] | None] = field(default_factory=dict)
    alone: dict[int, float] = field(default_factory=dict)

    def explore(self, wanted: Iterable[V], forced: Iterable[int]) -> None:
        """Ask for whatever a cheapest plan may contain."""
        loads: dict[int, float] = {}
        values, executions = list(wanted), list(forced)
        while values or executions:
            if executions:
                index = executions.pop()
                if index not in self.needs:
                    found = self.inputs(index)
                    self.needs[index] = None if found is None else tuple(found)
                    values += self.needs[index] or ()
                continue
            value = values.pop()
            if value in self.sources:
                continue
            source = self.sources[value] = self.source(value)
            if source.maker is not None:
                load = math.inf if source.load is None else source.load
                loads[source.maker] = loads.get(source.maker, 0.0) + load
                if self.seconds(source.maker) < loads[source.maker]:
                    executions.append(source.maker)
        for index in sorted(self.needs):
            needs = self.needs[index]
            if needs is not None and all(self.possible(v) for v in needs):
                self.alone[index] = self.seconds(index) + math.fsum(self._alone(v) for v in needs)

    def possible(self, value: V) -> bool:
        """Whether a value can be had at all; its maker has been looked at before."""
        found = self.sources[value]
        return found.load is not None or found.maker in self.alone

    def _alone(self, value: V) -> float:
        """Seconds that a value takes if nothing that it needs is shared with others."""
        found = self.sources[value]
        load = math.inf if found.load is None else found.load
        return load if found.maker is None else min(load, self.alone.get(found.maker, math.inf))

    def search(
        self,
        wanted: frozenset[V],
        forced: frozenset[int],
        choices: int,
        known: dict[object, tuple[float, frozenset[int]]],
    ) -> tuple[float, frozenset[int]]:
        """The least seconds for values and forced executions that are all possible, and what to run again for it."""
        if (state := (wanted, forced, choices)) in known:
            return known[state]
        seconds, again = 0.0, frozenset[int]()
        while wanted or forced:
            makers = {m for v in wanted if (m := self.sources[v].maker) is not None}
            index = max(makers | forced, default=None)
            here = [v for v in wanted if self.sources[v].maker == index]
            rest = wanted.difference(here)
            load = math.fsum(math.inf if (s := self.sources[v].load) is None else s for v in here)
            if index is None:
                seconds += load
                break
            after = rest.union(self.needs[index] or ()) if index in self.alone else rest
            if index not in forced and (index not in self.alone or load <= self.seconds(index)):
                seconds, wanted = seconds + load, rest
                continue
            if index not in forced and load < math.inf:
                if choices:
                    loaded = self.search(rest, forced, choices - 1, known)
                    run = self.search(after, forced, choices - 1, known)
                    best, more = min(
                        (load + loaded[0], loaded[1]),
                        (self.seconds(index) + run[0], run[1] | {index}),
                        key=lambda option: option[0],
                    )
                    seconds, again = seconds + best, again | more
                    break
                if load <= self.alone[index]:
                    seconds, wanted = seconds + load, rest
                    continue
            seconds, again = seconds + self.seconds(index), again | {index}
            wanted, forced = after, forced - {index}
        known[state] = seconds, again
        return seconds, again

    def steps(self, wanted: Iterable[V], again: frozenset[int]) -> tuple[Step[V], ...]:
        """Executions oldest first, each after the loads that it is the first to need, and those of older values; then the rest.

        An execution may change what older values come back by, such as a function of a module.
        """
        wanted = list(wanted)
        found: list[Step[V]] = []
        loaded: set[V] = set()

        def load(values: Iterable[V]) -> None:
            for value in values:
                source = self.sources[value]
                if source.maker not in again and value not in loaded:
                    loaded.add(value)
                    found.append(Step(source.load or 0.0, value=value))

        for index in sorted(again):
            load(v for v in wanted if (since := self.sources[v].since) is not None and since < index)
            load(self.needs[index] or ())
            found.append(Step(self.seconds(index), again=index))
        load(wanted)
        return tuple(found)
