"""Properties over random object graphs: digests tell structure and aliasing apart, round trips keep both."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from provcrt_kernel.session.fingerprint import fingerprint, fingerprint_group, share, walked
from provcrt_kernel.session.snapshot import dump, load

ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.just(-0.0),
)
# A graph is a list of nodes; a node's parts are atoms or earlier nodes (by number, modulo what there is), so
# that parts are shared; afterwards some lists are appended to others, which makes cycles.
PART = st.tuples(st.just("atom"), ATOMS) | st.tuples(st.just("node"), st.integers(0, 7))
NODE = st.tuples(st.sampled_from(["list", "tuple", "dict", "object"]), st.lists(PART, max_size=3))
GRAPH = st.tuples(
    st.lists(NODE, min_size=1, max_size=7),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=2),
)
SPACE = {"__name__": "__main__"}
exec("class Thing:\n    pass", SPACE)


def build(graph):
    nodes, loops = graph
    made = []
    for kind, parts in nodes:
        values = [made[part % len(made)] if how == "node" and made else part for how, part in parts]
        if kind == "object":
            thing = SPACE["Thing"]()
            thing.__dict__.update({f"a{at}": value for at, value in enumerate(values)})
            made.append(thing)
        else:
            as_dict = {f"k{at}": value for at, value in enumerate(values)}
            made.append({"list": list(values), "tuple": tuple(values), "dict": as_dict}[kind])
    lists = [value for value in made if type(value) is list]
    for target, item in loops if lists else []:
        lists[target % len(lists)].append(made[item % len(made)])
    return made


def plain(value):
    return type(value) in (type(None), bool, int, float, str, bytes)


def shape(value, seen=None):
    """Structure, types and aliasing as text: written apart from the code under test."""
    seen = {} if seen is None else seen
    if plain(value):
        return f"{type(value).__name__}:{value!r}"
    if type(value) is tuple and all(map(plain, value)):
        return "(" + ",".join(shape(item) for item in value) + ")"
    if id(value) in seen:
        return f"@{seen[id(value)]}"
    seen[id(value)] = len(seen)
    items = (
        value.items() if type(value) is dict else enumerate(value) if type(value) in (list, tuple) else None
    )
    if items is None:
        items = value.__dict__.items()
    return type(value).__name__ + "[" + ",".join(f"{key}={shape(item, seen)}" for key, item in items) + "]"


@settings(max_examples=400, deadline=None)
@given(GRAPH, GRAPH)
def test_digests_are_equal_exactly_for_equal_structure_and_aliasing(one, other):
    left, right, again = build(one), build(other), build(one)
    seen = [fingerprint(value, SPACE).digest for value in (left, right, again)]
    assert None not in seen
    assert seen[0] == seen[2]
    assert (seen[0] == seen[1]) == (shape(left) == shape(right))


@settings(max_examples=300, deadline=None)
@given(GRAPH, st.integers(0, 7), st.integers(0, 7))
def test_digest_tells_a_copied_part_from_a_shared_one(graph, at, of):
    nodes = build(graph)
    lists = [value for value in nodes if type(value) is list]
    if not lists:
        return
    target, part = lists[at % len(lists)], nodes[of % len(nodes)]
    target.append(part)
    before, looked = fingerprint(nodes, SPACE).digest, shape(nodes)
    target[-1] = list(part) if type(part) is list else part
    assert (fingerprint(nodes, SPACE).digest == before) == (shape(nodes) == looked)


@settings(max_examples=300, deadline=None)
@given(GRAPH)
def test_round_trips_keep_structure_and_aliasing(graph):
    made = build(graph)
    values = {f"v{at}": value for at, value in enumerate(made)}
    kept = dump(values, SPACE)
    back = load(bytes(kept.stream), [bytes(part) for part in kept.buffers], SPACE)
    assert shape(list(back.values())).replace("Thing", "T") == shape(made).replace("Thing", "T")
    assert fingerprint_group(back, SPACE) == fingerprint_group(values, SPACE)


@settings(max_examples=200, deadline=None)
@given(GRAPH, st.booleans())
def test_a_walk_that_goes_on_to_the_others_tells_what_one_over_all_of_them_tells(graph, bounded):
    values = {f"v{at}": value for at, value in enumerate(build(graph))}
    first, walk = walked(next(iter(values.values())), SPACE, limit=3 if bounded else 1000)
    if walk.ended and first.digest is not None:
        whole = fingerprint_group(values, SPACE, limit=walk.limit)
        assert fingerprint_group(values, SPACE, limit=walk.limit, first=(first.digest, walk)) == whole


@given(GRAPH)
def test_limits_change_digests_but_not_what_is_equal(graph):
    one, two = (fingerprint(build(graph), SPACE, limit=2) for _ in range(2))
    assert (one.digest is None) == (two.digest is None)


SLICES = st.builds(slice, *[st.none() | st.integers(-6, 6)] * 2, st.sampled_from([None, 1, 2, 3, -1, -2]))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(SLICES, SLICES, st.booleans(), st.booleans()), min_size=1, max_size=4), st.booleans()
)
def test_views_come_back_sharing_the_same_elements(cuts, with_base):
    base = np.arange(30.0).reshape(5, 6).copy()
    arrays = {}
    for at, (rows, columns, turned, copied) in enumerate(cuts):
        view = base[rows, columns]
        view = view.T if turned else view
        arrays[f"v{at}"] = view.copy() if copied else view
    if with_base:
        arrays["base"] = base
    kept = dump(arrays, {})
    back = load(bytes(kept.stream), [bytes(part) for part in kept.buffers], {})
    assert fingerprint_group(back, {}) == fingerprint_group(arrays, {}) or not with_base
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
    # Writing through any of them shows in the others exactly where it did before.
    for number, (name, array) in enumerate(arrays.items()):
        array[...] = back[name][...] = -number
        for other, now in arrays.items():
            np.testing.assert_array_equal(back[other], now)


@settings(max_examples=200, deadline=None)
@given(SLICES, SLICES)
def test_share_is_true_where_memory_is_shared(one, other):
    base = np.arange(12.0)
    left, right = base[one], base[other]
    if np.shares_memory(left, right):
        assert share(fingerprint(left, {}), fingerprint(right, {}))
    if not np.may_share_memory(left, right):
        assert not share(fingerprint(left, {}), fingerprint(right, {}))
