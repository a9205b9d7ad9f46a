"""The plan against brute force: it always makes what is wanted, and is the cheapest unless too many cells are in question."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provcrt_kernel.replay import plan as planning
from provcrt_kernel.replay.plan import Plan, Source, make_plan

#: A value: the execution that made it (-1: none), and which of its values it is.
Value = tuple[int, int]
seconds = st.integers(0, 20).map(float)


@dataclass(frozen=True)
class Cell:
    """What running an execution again takes and needs."""

    seconds: float
    inputs: tuple[Value, ...] = ()


def planned(
    sources: dict[Value, Source],
    cells: dict[int, Cell],
    wanted: Iterable[Value],
    forced: Iterable[int] = (),
    asked: list[int] | None = None,
) -> Plan[Value]:
    def inputs(index: int) -> tuple[Value, ...] | None:
        if asked is not None:
            asked.append(index)
        return cells[index].inputs if index in cells else None

    return make_plan(
        wanted,
        sources.__getitem__,
        lambda index: cells[index].seconds if index in cells else 0.0,
        inputs,
        forced,
    )


@st.composite
def graphs(
    draw: st.DrawFn, most: int = 6
) -> tuple[dict[Value, Source], dict[int, Cell], list[Value], list[int]]:
    """Executions with up to two values each, what they read of older ones, what is wanted, what is forced."""
    count = draw(st.integers(1, most))
    sources: dict[Value, Source] = {}
    cells: dict[int, Cell] = {}
    for index in range(count):
        older = sorted(sources)
        inputs = draw(st.lists(st.sampled_from(older), unique=True, max_size=3)) if older else []
        if draw(st.integers(0, 9)):  # some cannot be run again
            cells[index] = Cell(draw(seconds), tuple(inputs))
        for part in range(draw(st.integers(1, 2))):
            sources[index, part] = Source(
                draw(st.none() | seconds), index if draw(st.integers(0, 9)) else None
            )
    wanted = draw(st.lists(st.sampled_from(sorted(sources)), unique=True, min_size=1, max_size=4))
    forced = draw(st.lists(st.integers(0, count - 1), unique=True, max_size=2))
    return sources, cells, wanted, forced


def cost(
    again: frozenset[int],
    sources: dict[Value, Source],
    cells: dict[int, Cell],
    wanted: list[Value],
    forced: list[int],
) -> float:
    """Seconds of running exactly these executions again and loading all else that is needed; infinite if that cannot be."""
    if not again <= cells.keys() or not again.issuperset(forced):
        return math.inf
    needed = {*wanted, *(v for i in again for v in cells[i].inputs)}
    loads = [sources[v].load for v in needed if sources[v].maker not in again]
    return (
        math.inf
        if None in loads
        else sum(cells[i].seconds for i in again) + sum(x for x in loads if x is not None)
    )


def check(plan: Plan[Value], sources: dict[Value, Source], cells: dict[int, Cell]) -> set[Value]:
    """Carry a plan out; returns what is at hand afterwards."""
    made: set[Value] = set()
    for step in plan.steps:
        if step.value is not None:
            assert sources[step.value].load == step.seconds
            assert step.value not in made
            made.add(step.value)
        else:
            assert step.again is not None
            assert made.issuperset(cells[step.again].inputs), "its inputs are not there yet"
            assert cells[step.again].seconds == step.seconds
            made |= {v for v, s in sources.items() if s.maker == step.again}
    return made


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_plan_is_the_cheapest_of_all(
    graph: tuple[dict[Value, Source], dict[int, Cell], list[Value], list[int]],
) -> None:
    sources, cells, wanted, forced = graph
    plan = planned(sources, cells, wanted, forced)
    made = check(plan, sources, cells)
    assert made.issuperset(set(wanted) - set(plan.lost))
    assert {s.again for s in plan.steps}.issuperset(set(forced) - set(plan.impossible))
    possible = [v for v in wanted if v not in plan.lost]
    runnable = [i for i in forced if i not in plan.impossible]
    subsets = [frozenset(c) for n in range(len(cells) + 1) for c in itertools.combinations(cells, n)]
    assert plan.seconds == min(cost(s, sources, cells, possible, runnable) for s in subsets)
    for value in plan.lost:
        assert min(cost(s, sources, cells, [value], []) for s in subsets) == math.inf
    for index in plan.impossible:
        assert min(cost(s, sources, cells, [], [index]) for s in subsets) == math.inf


@settings(max_examples=100, deadline=None)
@given(graphs(most=40), st.integers(0, 3))
def test_plan_beyond_the_search_is_possible_and_no_worse_than_loading(
    graph: tuple[dict[Value, Source], dict[int, Cell], list[Value], list[int]], searched: int
) -> None:
    sources, cells, wanted, _ = graph
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "SEARCHED", searched)
        plan = planned(sources, cells, wanted)
    made = check(plan, sources, cells)
    assert made.issuperset(set(wanted) - set(plan.lost))
    if all(sources[v].load is not None for v in wanted):
        assert plan.seconds <= sum(sources[v].load or 0.0 for v in wanted) + 1e-9


def test_long_chain_needs_no_deep_recursion() -> None:
    """Ten thousand cells of which none was kept."""
    cells = {i: Cell(1.0, ((i - 1, 0),) if i else ()) for i in range(10_000)}
    plan = planned({(i, 0): Source(None, i) for i in cells}, cells, [(9_999, 0)])
    assert [s.again for s in plan.steps] == list(range(10_000))


def test_only_what_may_run_again_is_looked_at() -> None:
    """Whether a cell's files still hold costs time; nobody asks while loading is cheaper anyway."""
    cells = {0: Cell(5.0), 1: Cell(5.0, ((0, 0),)), 2: Cell(0.5, ((1, 0),))}
    asked: list[int] = []
    plan = planned({(i, 0): Source(1.0, i) for i in cells}, cells, [(2, 0)], asked=asked)
    assert [s.value for s in plan.steps] == [(2, 0)]
    assert asked == [2]
