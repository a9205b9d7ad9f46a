"""Deferred state comes back as a run from scratch would have made it, whatever the store lost and whatever the plan prefers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sessions import Session, open_store

from provcrt_kernel.replay import rebuild

NAMES = "abcd"
#: What a cell may do; ``{x}`` and ``{y}`` are names, ``{n}`` is a number.
KINDS = (
    "{x} = [{n}]",
    "{x} = {y}",
    "{x} = [*{y}, {n}]",
    "{x}.append({n})",
    "{x} = {{'{y}': {y}, 'n': len({y})}}",
    "{x} = sorted(str(v) for v in {y}); {y} = [{x}, {x}]",
    "def {x}(): return {y}",
    "del {x}",
    "{x} = iter({y})",
    "import random; random.seed({n}); {x} = [random.random()]",
    "{x} = [random.random(), {n}]",
)
cells = st.lists(
    st.builds(
        lambda kind, x, y, n: kind.format(x=x, y=y, n=n),
        st.sampled_from(KINDS),
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=8,
)


def scratch(texts: list[str]) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for text in texts:
        try:
            exec(text, namespace)
        except Exception:
            continue
    return {n: v for n, v in namespace.items() if not n.startswith("__")}


def structure(variables: dict[str, Any]) -> object:
    """Values as plain data, each mutable object with a number of its own: equal only if aliases are, too."""
    numbers: dict[int, int] = {}
    held: list[object] = []

    def plain(value: Any) -> object:
        if isinstance(value, list | dict) or hasattr(value, "__next__") or callable(value):
            if id(value) in numbers:
                return f"#{numbers[id(value)]}"
            numbers[id(value)] = len(numbers)
            held.append(value)
        if isinstance(value, list):
            return [f"#{numbers[id(value)]}", *map(plain, value)]
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if callable(value):
            return ["function", value.__name__, value.__code__.co_names]
        return repr(value) if not hasattr(value, "__next__") else "iterator"

    return {n: plain(variables[n]) for n in sorted(variables) if type(variables[n]).__name__ != "module"}


@settings(max_examples=100, deadline=None)
@given(cells, st.data())
def test_state_comes_back_from_any_ruin(texts: list[str], data: st.DataObject) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
        open_store(Path(folder)) as store,
    ):
        first = Session(store)
        for text in texts:
            first.run(text)
        assert structure(first.variables()) == structure(scratch(texts))
        later = Session(store)
        for text in texts:
            later.run(text)
        costs = st.sampled_from([0.0, 1e-3, 1.0])
        drawn: dict[int, float] = {}
        patch.setattr(
            type(later.engine.pace),
            "load",
            lambda self, size: (
                drawn.setdefault(size, 0.0) if size in drawn else drawn.setdefault(size, data.draw(costs))
            ),
        )
        lost: dict[str, bool] = {}
        whole = rebuild.bring_back

        def ruined(store: Any, manifest: str, namespace: Any, former: Any) -> Any:
            if manifest not in lost:
                lost[manifest] = data.draw(st.booleans())
            return None if lost[manifest] else whole(store, manifest, namespace, former)

        patch.setattr(rebuild, "bring_back", ruined)
        some = data.draw(st.lists(st.sampled_from(NAMES), max_size=2))
        later.engine.ensure(some)
        more = data.draw(cells)
        for text in more:
            later.run(text)
        assert structure(later.variables()) == structure(scratch([*texts, *more]))
