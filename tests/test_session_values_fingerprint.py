"""Fingerprints: equal exactly for what a later reader cannot tell apart."""

import collections
import datetime
import decimal
import sys
import threading
import types

import numpy as np
import pandas as pd
import pytest
from values_notebook import elsewhere, notebook, run

from provcrt_kernel.session.fingerprint import fingerprint, fingerprint_group, share


def digest(value, namespace=None):
    seen = fingerprint(value, namespace if namespace is not None else {})
    assert seen.opaque is None, seen.opaque
    return seen.digest


DISTINCT = {
    "numbers": [1, True, 1.0, 1 + 0j, "1", b"1", decimal.Decimal(1), np.int64(1), np.int32(1), np.float64(1)],
    "zeros": [0, -0.0, 0.0, False, None, "", b"", (), [], {}, set(), frozenset(), bytearray()],
    "containers": [[1, 2], (1, 2), {1, 2}, {1: 2}, collections.deque([1, 2]), range(1, 3), np.array([1, 2])],
    "nesting": [[[1], 2], [[1, 2]], [1, [2]], [[1], [2]], [[], [1, 2]], [(1,), (2,)]],
    "order": [{"a": 1, "b": 2}, {"b": 2, "a": 1}, collections.OrderedDict(a=1, b=2)],
    "text": ["a", "b", "ab", ["a", "b"], ["ab", ""], ["", "ab"]],
    "times": [
        datetime.date(2020, 1, 1),
        datetime.datetime(2020, 1, 1),
        datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
        datetime.datetime(2020, 1, 1, fold=1),
        pd.Timestamp("2020-01-01"),
        np.datetime64("2020-01-01"),
        np.datetime64("2020-01-01", "ns"),
    ],
    "decimals": [decimal.Decimal("1.0"), decimal.Decimal("1.00"), decimal.Decimal("-1.0")],
    "limits": [collections.deque([1], 5), collections.deque([1]), collections.deque([1], 6)],
    "defaults": [collections.defaultdict(list, a=1), collections.defaultdict(int, a=1), {"a": 1}],
}


@pytest.mark.parametrize("values", DISTINCT.values(), ids=DISTINCT)
def test_what_differs_has_another_digest(values):
    assert len({digest(value) for value in values}) == len(values)


def test_string_identity_does_not_count():
    parts = ["".join(["a", "b"]), "".join(["a", "b"])]
    assert digest(parts) == digest([parts[0], parts[0]]) == digest(["ab", sys.intern("ab")])


def test_aliasing_counts():
    shared = [1]
    assert digest([shared, shared]) != digest([[1], [1]])
    assert digest({"a": shared, "b": shared}) != digest({"a": [1], "b": [1]})


def test_order_of_a_set_counts_where_a_reader_sees_it():
    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other)
    assert digest(one) != digest(other)
    assert digest({"a", "b"}) == digest({chr(97), chr(98)})


def test_recursion_ends():
    loop = []
    loop.append(loop)
    assert digest(loop) != digest([[]])
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert fingerprint(deep, {}).opaque == "too deep"
    chain = None
    for at in range(5_000):
        chain = {"next": chain, "at": [at]}
    assert digest(chain)


def test_comments_and_layout_do_not_count_but_constants_do():
    source = "def f(x):\n    return (1, 2.0), x\n"
    same = "\n\n# a comment\ndef f(x):\n\n    # another\n    return ((1, 2.0),\n            x)\n"
    other = "def f(x):\n    return (1, 2), x\n"
    one, two, three = (notebook(text) for text in (source, same, other))
    assert digest(one["f"], one) == digest(two["f"], two) != digest(three["f"], three)


@pytest.mark.parametrize(
    "change",
    [
        "f.__defaults__ = (5,)",
        "f.extra = 1",
        "f.__doc__ = 'other'",
        "f.__kwdefaults__ = {'k': 3}",
        "f.__annotations__['x'] = str",
        "inner.append(2)",
    ],
)
def test_all_that_a_function_holds_counts(change):
    space = notebook(
        """
        inner = []
        def make():
            kept = inner
            def f(x: int = 1, *, k=2):
                "doc"
                return x, kept, k
            return f
        f = make()
        """
    )
    before = digest(space["f"], space)
    run(space, change)
    assert digest(space["f"], space) != before


def test_refs_are_the_globals_that_code_can_read():
    space = notebook(
        """
        import time
        def f(): return g() + [h(i) for i in range(3)][0]
        class C:
            field = 1
            def method(self): return k.attr
            @property
            def prop(self): return (lambda: deep)()
        def anything(): return eval("x")
        def query(df): return df.query("a > @x")
        def clock(): return time.perf_counter()
        def sleeper(): time.sleep(1)
        items = [C(), {"f": f}]
        """
    )
    assert {"g", "h"} <= fingerprint(space["f"], space).refs
    assert {"k", "deep"} <= fingerprint(space["C"], space).refs
    assert {"g", "h", "k", "deep"} <= fingerprint(space["items"], space).refs
    assert "attr" not in fingerprint(space["C"], space).refs
    assert "*" in fingerprint(space["anything"], space).refs
    assert "*" in fingerprint(space["query"], space).refs
    assert fingerprint(space["clock"], space).clock == {"perf_counter"}
    assert not fingerprint(space["sleeper"], space).clock


def test_a_class_counts_in_its_instances():
    cells = "class C:\n    rate = {}\n    def f(self): return {}\nx = C()"
    one, two, three, four = (notebook(cells.format(*p)) for p in ((1, 2), (1, 2), (9, 2), (1, 3)))
    assert digest(one["x"], one) == digest(two["x"], two)
    assert len({digest(space["x"], space) for space in (one, three, four)}) == 3
    before = digest(one["x"], one)
    one["C"].rate = 2
    assert digest(one["x"], one) != before


def test_real_state_counts_not_what_getstate_says():
    space = notebook(
        """
        class Hides:
            def __init__(self): self.shown, self.hidden = 1, 2
            def __getstate__(self): return {"shown": 1}
            def __reduce__(self): return (Hides, ())
        x = Hides()
        class Slots:
            __slots__ = ("a", "__private")
            def __init__(self): self.__private = 1
            def change(self): self.__private = 2
        y = Slots()
        """
    )
    before = digest(space["x"], space), digest(space["y"], space)
    space["x"].hidden = 3
    space["y"].change()
    assert digest(space["x"], space) != before[0]
    assert digest(space["y"], space) != before[1]


def test_no_code_of_the_notebook_runs():
    space = notebook(
        """
        ran = []
        def boom(*a, **k):
            ran.append(a)
            raise SystemExit("must not run")
        class Hostile:
            def __init__(self): pass
            __eq__ = __getattr__ = __getattribute__ = __repr__ = __bool__ = __len__ = __iter__ = boom
            __reduce__ = __reduce_ex__ = __getstate__ = __sizeof__ = boom
            __hash__ = object.__hash__
            __class__ = property(boom)
            __dict__ = property(boom)
        class Dict(dict):
            __getitem__ = __iter__ = items = keys = values = __len__ = boom
        class List(list):
            __getitem__ = __iter__ = __len__ = boom
        class Text(str):
            __str__ = __repr__ = __len__ = boom
        class Meta(type):
            __instancecheck__ = __subclasscheck__ = boom
        class Odd(metaclass=Meta):
            pass
        values = [Hostile(), Dict(a=1), List([1]), Text("x"), {"k": Hostile()}, Odd(), Odd, {Hostile()}]
        """
    )
    for value in space["values"]:
        fingerprint(value, space)
    assert space["ran"] == []


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: (i for i in [1]), "generator"),
        (lambda: open("/dev/null"), "open file"),  # noqa: SIM115
        (threading.Lock, "lock"),
        (lambda: [{"deep": threading.RLock()}], "lock"),
        (lambda: __import__("socket").socket(), "socket"),
        (lambda: __import__("sqlite3").connect(":memory:"), "database connection"),
        (lambda: __import__("contextvars").ContextVar("v"), "context variable"),
        (lambda: __import__("itertools").count(), "iterator"),
        (lambda: __import__("ipywidgets").IntSlider(), "widget"),
        (threading.Thread, "thread"),
        (lambda: np.memmap("/proc/self/exe", mode="r", shape=(10,)), "memory map"),
    ],
)
def test_what_cannot_be_read_back_is_opaque(make, reason):
    seen = fingerprint(make(), {})
    assert seen.digest is None
    assert reason in seen.opaque


def test_opaque_parts_do_not_hide_the_rest():
    shared = [1]
    space = notebook("import numpy\ndef f(): return g")
    seen = fingerprint([threading.Lock(), shared, space["f"], numpy_array := np.ones(3)], space)
    assert seen.digest is None
    assert id(shared) in seen.objects
    assert "g" in seen.refs
    assert id(numpy_array) in seen.objects


def test_figure_and_axes_share_the_figure():
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    other, _ = plt.subplots()
    left, right, apart = (fingerprint(value, {}) for value in (figure, axes, other))
    assert left.opaque == "matplotlib figure"
    assert share(left, right)
    assert not share(left, apart)
    plt.close("all")


def test_arrays_by_content_dtype_order_and_flag():
    base = np.arange(12.0).reshape(3, 4)
    frozen = base.copy()
    frozen.flags.writeable = False
    different = [
        base,
        np.asfortranarray(base),
        base.astype("f4"),
        base.reshape(4, 3),
        frozen,
        np.matrix(base),
        np.ma.array(base),
        np.ma.array(base, mask=base > 3),
        base[::-1],
        base.astype(object),
        base.tolist(),
        base.astype(">f8"),
    ]
    assert len({digest(value) for value in different}) == len(different)
    assert digest(base) == digest(base.copy())
    assert digest(base[:, ::2]) == digest(np.arange(12.0).reshape(3, 4)[:, ::2])


def test_views_in_a_group_differ_from_copies():
    base = np.arange(10.0)
    views = fingerprint_group({"a": base, "b": base[2:5]}, {})
    again = np.arange(10.0)
    assert views == fingerprint_group({"a": again, "b": again[2:5]}, {})
    assert views != fingerprint_group({"a": base, "b": base[2:5].copy()}, {})
    square = np.zeros((4, 4))
    rows = fingerprint_group({"a": square[0], "b": square}, {})
    columns = fingerprint_group({"a": square[:, 0].copy(), "b": square}, {})
    assert rows != columns
    assert fingerprint_group({"a": base}, {}) == (digest(base),)


def test_share_follows_objects_and_memory():
    base = np.arange(10.0)
    seen = {
        name: fingerprint(value, {})
        for name, value in {
            "base": base,
            "view": base[2:5],
            "copy": base[2:5].copy(),
            "tail": base[6:],
        }.items()
    }
    assert share(seen["base"], seen["view"])
    assert share(seen["base"], seen["tail"])
    assert not share(seen["view"], seen["tail"])
    assert not share(seen["base"], seen["copy"])
    inner = [1]
    assert share(fingerprint({"a": inner}, {}), fingerprint((inner, 2), {}))
    assert not share(fingerprint({"a": [1]}, {}), fingerprint({"a": [1]}, {}))


def test_instances_do_not_share_because_of_their_class():
    space = notebook("class C:\n    seen = []\n    def f(self): pass\na, b = C(), C()")
    a, b, cls = (fingerprint(space[name], space) for name in ("a", "b", "C"))
    assert not share(a, b)
    assert not share(a, cls)
    assert a.types & cls.objects  # yet who changes the class changes the instance


def test_classes_of_a_kind_tie_nothing_together():
    source = """
    import abc, collections, dataclasses, enum, functools, typing
    @dataclasses.dataclass
    class D{0}:
        x: int
        y: list = dataclasses.field(default_factory=list)
    class E{0}(enum.Enum):
        A = 1
    class F{0}(enum.Flag):
        A = 1
    N{0} = collections.namedtuple("N", "a")
    class R{0}(typing.NamedTuple):
        a: int = 1
    class A{0}(abc.ABC):
        @abc.abstractmethod
        def f(self): "doc"
    class P{0}(typing.Protocol):
        x: int
    class G{0}(typing.Generic[typing.TypeVar("T")]):
        flag = None
    @functools.total_ordering
    class O{0}:
        def __lt__(self, other): return True
    def f{0}(x: int = 1, *, k: typing.Optional[str] = None): return x
    """
    space = notebook(source.format(1), source.format(2))
    for letter in "DEFNRAPGOf":
        one, two = (fingerprint(space[letter + number], space) for number in "12")
        assert one.opaque is None
        assert not share(one, two), letter


def test_singletons_tie_nothing_together():
    pairs = [
        pd.NaT,
        pd.NA,
        pd.Timestamp(0),
        np.dtype("f8"),
        np.add,
        list[int],
        pd.CategoricalDtype(["a"]),
        len,
    ]
    for value in pairs:
        assert not share(fingerprint([value], {}), fingerprint([value], {})), value


def test_bytearray_shares_with_the_array_on_it():
    raw = bytearray(b"12345678")
    assert share(fingerprint(raw, {}), fingerprint(np.frombuffer(raw, "u1"), {}))


def test_tables_by_column_not_by_block():
    together = pd.DataFrame(np.arange(6.0).reshape(3, 2), columns=["a", "b"])
    apart = pd.DataFrame({"a": [0.0, 2.0, 4.0]})
    apart["b"] = [1.0, 3.0, 5.0]
    assert len(together._mgr.blocks) != len(apart._mgr.blocks)
    assert digest(together) == digest(apart)
    shuffled = apart.iloc[[2, 0, 1]].sort_index()
    assert digest(shuffled.reset_index(drop=True)) == digest(apart)


def test_tables_by_all_that_a_reader_sees():
    table = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    attrs = table.copy()
    attrs.attrs["unit"] = "m"
    flagged = table.set_flags(allows_duplicate_labels=False)
    extra = table.copy()
    object.__setattr__(extra, "note", [1])
    different = [
        table,
        attrs,
        flagged,
        extra,
        table.rename(columns={"a": "A"}),
        table.rename_axis("i"),
        table.set_index("a"),
        table.astype({"a": "float"}),
        table.astype({"b": "category"}),
        table.astype({"b": object}),
        table.astype({"a": "Int64"}),
        table["a"],
        table[["b", "a"]],
    ]
    assert len({digest(value) for value in different}) == len(different)
    masked = pd.array([1, None], dtype="Int64")
    masked._data[1] = 99  # what lies under the mask is nobody's value
    assert digest(masked) == digest(pd.array([1, None], dtype="Int64"))


def test_reads_leave_tables_and_estimators_as_they_were():
    from sklearn.linear_model import LogisticRegression

    table = pd.DataFrame({"g": ["a", "b", "a"], "v": [1.0, 2.0, 3.0]})
    model = LogisticRegression().fit(table[["v"]], table["g"])
    before = digest(table), digest(model)
    repr(table), table.groupby("g").v.mean(), table.describe(), table.to_numpy(), table._repr_html_()
    repr(model), model.predict(table[["v"]])
    assert (digest(table), digest(model)) == before


def test_copy_on_write_tables_do_not_share_but_raw_views_do():
    table = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    seen = fingerprint(table, {})
    assert not share(seen, fingerprint(table.rename(columns={"a": "z"}), {}))
    assert share(seen, fingerprint(table.to_numpy(), {})) == np.shares_memory(
        table.to_numpy(), table["a"].to_numpy()
    )


def test_the_namespace_reads_everything():
    space = notebook("a = [1]\ng = globals()")
    seen = fingerprint(space["g"], space)
    assert seen.digest is None
    assert "*" in seen.refs
    assert id(space["a"]) not in seen.objects


def test_generators_by_state():
    one, two = np.random.default_rng(3), np.random.default_rng(3)
    assert digest(one) == digest(two)
    one.random()
    assert digest(one) != digest(two)
    two.random()
    assert digest(one) == digest(two)
    old = np.random.RandomState(3)
    before = digest(old)
    old.normal()
    assert digest(old) != before


def test_local_modules_and_packages_are_named(tmp_path, monkeypatch):
    (tmp_path / "mylocal.py").write_text(
        "class Thing:\n    def f(self): return 1\ndef work(x):\n    return x\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import mylocal

    for value in (mylocal, mylocal.work, mylocal.Thing, mylocal.Thing(), [mylocal.work]):
        assert fingerprint(value, {}).modules == {"mylocal"}
        assert not fingerprint(value, {}).packages
    before = digest(mylocal.work)
    sys.modules.pop("mylocal")
    (tmp_path / "mylocal.py").write_text("class Thing: pass\ndef work(x):\n    return x + 1\n")
    sys.path_importer_cache.clear()
    import importlib

    importlib.invalidate_caches()
    changed = types.ModuleType("mylocal")
    changed.__file__ = str(tmp_path / "mylocal.py")
    sys.modules["mylocal"] = changed
    exec((tmp_path / "mylocal.py").read_text(), changed.__dict__)
    assert digest(changed.work) != before
    sys.modules.pop("mylocal")
    assert fingerprint(np.ones(1), {}).packages == {"numpy"}
    assert "pandas" in fingerprint(pd.DataFrame({"a": [1]}), {}).packages
    assert not fingerprint(collections.OrderedDict(), {}).packages


def test_beyond_the_limit_a_stream_is_digested():
    space = notebook("def f(): return g")
    value = [[i, [i]] for i in range(300)] + [space["f"], np.arange(3)]
    walked = fingerprint(value, space)
    streamed = fingerprint(value, space, limit=50)
    assert streamed.digest not in (None, walked.digest)
    assert streamed.digest == fingerprint(value, space, limit=50).digest
    assert id(value[7][1]) in streamed.objects
    assert "g" in streamed.refs
    value[7][1].append(0)
    assert fingerprint(value, space, limit=50).digest != streamed.digest
    base = np.arange(4.0)
    filler = [[i] for i in range(60)]
    shared = fingerprint([filler, base, base[1:]], {}, limit=50).digest
    assert shared != fingerprint([filler, base, base[1:].copy()], {}, limit=50).digest


def test_beyond_the_limit_custom_pickling_stays_opaque():
    space = notebook(
        """
        class Hides:
            def __reduce__(self): raise SystemExit("must not run")
        value = [[i] for i in range(100)] + [Hides()]
        """
    )
    assert fingerprint(space["value"], space, limit=50).opaque


VALUES = """
import collections, dataclasses, enum, functools, json, typing
import numpy as np, pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
class Color(enum.Enum):
    RED = 1
    BLUE = "b"
class Perm(enum.Flag):
    R = 1
    W = 2
Point = collections.namedtuple("Point", "x y")
class Named(typing.NamedTuple):
    a: int
    b: str = "x"
@dataclasses.dataclass
class D:
    x: int
    y: list = dataclasses.field(default_factory=list)
class Base:
    registry = {}
    def __init__(self): self.items = {"a", "b", "c"}
    def m(self, k=frozenset({"p", "q", "r"})): return k in {"s", "t", "u"}
class Child(Base):
    __slots__ = ("s",)
    def m(self): return super().m()
def make(n):
    def inner(x): return x + n
    return inner
X = np.random.RandomState(0).rand(60, 3)
y = X[:, 0] > 0.5
values = dict(
    strings={"b", "a", "c"}, frozen=frozenset({"x", "y"}), mixed={1, "a", None, (1, "b")},
    objects={Base, D, Color.RED}, function=make(3), lam=lambda q: q * 2, cls=Child, instance=Child(),
    color=Color.BLUE, perm=Perm.R | Perm.W, colors=Color, point=Point(1, [2]), named=Named(1), points=Point,
    data=D(1, [2]), partial=functools.partial(make, n=3),
    frame=pd.DataFrame({"a": ["x", "y"], "b": [1.5, 2]}),
    cat=pd.Series(["u", "v"], dtype="category"), dates=pd.date_range("2020", periods=3, tz="UTC"),
    forest=RandomForestClassifier(5, random_state=0).fit(X, y),
    pipe=make_pipeline(StandardScaler(), RandomForestClassifier(3, random_state=1)).fit(X, y),
    rng=np.random.default_rng(1), array=X.T,
    structured=np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    method=Child().m, generic=typing.Optional[Base],
)
from provcrt_kernel.session.fingerprint import fingerprint
print(json.dumps({k: fingerprint(v, globals()).digest for k, v in values.items()}))
"""


def test_digests_are_the_same_in_another_process():
    junk = "import threading, numpy.random, email\njunk = [object() for _ in range(999)]\n"
    one, two = elsewhere(VALUES), elsewhere(junk + VALUES)
    assert None not in one.values()
    assert {name for name in one if one[name] != two[name]} == set()


def test_what_is_behind_an_opaque_value_may_be_gone():
    space = notebook(
        """
        import weakref
        class Node: pass
        node = Node()
        held = [(i for i in range(3)), weakref.proxy(node)]
        del node
        """
    )
    assert fingerprint(space["held"], space).opaque
