"""Snapshots: what comes back is what was kept, judged by structure and not by fingerprint."""

import collections
import functools
import gc
import inspect
import json
import threading
import typing

import numpy as np
import pandas as pd
import pytest
from values_notebook import elsewhere, notebook, run

from provcrt_kernel.session.fingerprint import fingerprint
from provcrt_kernel.session.kinship import enter
from provcrt_kernel.session.snapshot import (
    Unloadable,
    Unstorable,
    dump,
    faithful,
    load,
    needs_check,
)


def again(namespace, *names, **values):
    """Values after a round trip, as bytes that a store could have kept."""
    values = values or {name: namespace[name] for name in names}
    kept = dump(values, namespace)
    return load(bytes(kept.stream), [bytes(part) for part in kept.buffers], namespace)


# --- what a subclass adds ------------------------------------------------------------------------------------


def test_arrays_of_a_subclass_keep_their_attributes():
    space = notebook(
        """
        import numpy as np
        class Labelled(np.ndarray):
            def __new__(cls, data, unit):
                made = np.asarray(data).view(cls)
                made.unit = unit
                return made
            def __array_finalize__(self, obj):
                self.unit = getattr(obj, "unit", "none")
        lengths = Labelled([[1.0, 2.0], [3.0, 4.0]], "metres").T
        lengths.history = [lengths]
        """
    )
    back = again(space, "lengths")["lengths"]
    assert type(back).__name__ == "Labelled"
    assert back.unit == "metres"
    assert back.history[0] is back
    assert back.tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert (back * 2).unit == "metres"


def test_what_a_reducer_forgets_is_not_kept():
    space = notebook(
        """
        import datetime
        class Day(datetime.date): pass
        day = Day(2024, 5, 1)
        day.note = "may day"
        """
    )
    kept = dump({"day": space["day"]}, space)
    assert needs_check(kept)
    assert not faithful({"day": space["day"]}, kept, space)


# --- functions -------------------------------------------------------------------------------------------


def test_functions_live_on_the_namespace():
    space = notebook("rate = 2\ndef f(x):\n    # doubles\n    return x * rate")
    back = again(space, "f")["f"]
    assert back is not space["f"]
    assert back.__globals__ is space
    space["rate"] = 10
    assert back(3) == 30
    assert "# doubles" in inspect.getsource(back)


def test_source_travels_to_another_process(tmp_path):
    space = notebook("def f(x):\n    # kept\n    return x")
    kept = dump({"f": space["f"]}, space)
    (tmp_path / "stream").write_bytes(kept.stream)
    code = """
    import inspect, json, sys
    from provcrt_kernel.session.snapshot import load
    f = load(open(sys.argv[1], "rb").read(), [], globals())["f"]
    factor = 5
    print(json.dumps([inspect.getsource(f), f(2), f.__globals__ is globals()]))
    """
    text, value, same = elsewhere(code, tmp_path / "stream")
    assert "# kept" in text
    assert value == 2
    assert same


def test_closures_share_their_cell():
    space = notebook(
        """
        def counter():
            n = 0
            def up():
                nonlocal n
                n += 1
                return n
            def get(): return n
            return up, get
        pair = counter()
        """
    )
    up, get = again(space, "pair")["pair"]
    up(), up()
    assert get() == 2
    assert space["pair"][1]() == 0


def test_recursive_decorated_and_default_functions():
    space = notebook(
        """
        import functools
        def logged(f):
            @functools.wraps(f)
            def wrapper(*a, **k):
                "wrapped"
                return [f.__name__, f(*a, **k)]
            wrapper.calls = 0
            return wrapper
        @logged
        def add(x, y=[1], *, z: int = 3): return x + y[0] + z
        def outer():
            def fact(n): return 1 if n < 2 else n * fact(n - 1)
            return fact
        fact = outer()
        add.me = add
        square = lambda v: v ** 2
        part = functools.partial(add, 1, z=5)
        """
    )
    back = again(space, "add", "fact", "square", "part")
    assert back["add"](1) == ["add", 5]
    assert back["add"].me is back["add"]
    assert back["add"].__name__ == "add"
    assert inspect.signature(back["add"]) == inspect.signature(space["add"])
    assert back["fact"](5) == 120
    assert back["square"](4) == 16
    assert back["part"]() == ["add", 7]
    assert back["part"].func is back["add"]


def test_unused_cache_comes_back_a_used_one_does_not():
    space = notebook("import functools\n@functools.lru_cache(maxsize=4)\ndef f(x): return x")
    back = again(space, "f")["f"]
    assert back(3) == 3
    assert back.cache_info().maxsize == 4
    space["f"](1)
    with pytest.raises(Unstorable, match="cache"):
        dump({"f": space["f"]}, space)


# --- classes ---------------------------------------------------------------------------------------------

CLASSES = """
import abc, collections, dataclasses, enum, functools, typing
T = typing.TypeVar("T")
class Base(abc.ABC):
    made = []
    @abc.abstractmethod
    def area(self): ...
    @property
    def double(self): return 2 * self.area()
    @classmethod
    def unit(cls): return cls(1)
    @staticmethod
    def helper(): return "help"
class Square(Base):
    def __init__(self, side): self.side = side
    def area(self): return self.side ** 2
    def __eq__(self, other): return type(self) is type(other) and self.side == other.side
    __hash__ = None
    @functools.cached_property
    def big(self): return self.side * 100
class Cube(Square):
    def area(self): return super().area() * 6
class Color(enum.Enum):
    RED = 1
    BLUE = 2
    @property
    def warm(self): return self.name == 'RED'
class Perm(enum.Flag):
    R = enum.auto()
    W = enum.auto()
@dataclasses.dataclass(order=True)
class Item:
    name: str
    tags: list = dataclasses.field(default_factory=list)
@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: int
    b: str = "x"
Point = collections.namedtuple("Point", "x y", defaults=[0])
class Row(typing.NamedTuple):
    a: int
    b: str = "z"
    def both(self): return f"{self.a}{self.b}"
class Box(typing.Generic[T]):
    def __init__(self, v: T): self.v = v
class Slotted:
    __slots__ = ("a", "__hidden")
    def __init__(self): self.a, self.__hidden = 1, [2]
    def hidden(self): return self.__hidden
class Names(list):
    extra = 1
class Table(dict):
    def __missing__(self, key): return key * 2
class Trouble(ValueError):
    pass
def local():
    class Inner:
        def f(self): return 7
    return Inner
Inner = local()
"""


@pytest.fixture
def classes():
    space = notebook(CLASSES)
    for name, value in list(space.items()):
        enter(name, value, space)
    return space


INSTANCES = [
    "Square(3)",
    "Cube(2)",
    "Color.RED",
    "Perm.R | Perm.W",
    "Item('a', ['t'])",
    "Frozen(1)",
    "Point(1)",
    "Row(1)",
    "Box([1])",
    "Slotted()",
    "Names([1, [2]])",
    "Table(a=1)",
    "Trouble('why', 2)",
    "Inner()",
]


@pytest.mark.parametrize("made", INSTANCES)
def test_instances_come_back_with_the_live_class(classes, made):
    value = eval(made, classes)
    back = again(classes, value=value)["value"]
    assert type(back) is type(value)
    if "__eq__" in dir(type(value)) and type(value).__eq__ is not object.__eq__:
        assert back == value or isinstance(
            value, (BaseException, classes["Box"], classes["Slotted"], classes["Inner"])
        )


@pytest.mark.parametrize("made", INSTANCES)
def test_classes_are_rebuilt_where_none_is_live(made):
    space = notebook(CLASSES)
    value = eval(made, space)
    back = again(space, value=value, other=value)
    assert back["value"] is back["other"]
    cls = type(back["value"])
    assert cls.__qualname__ == type(value).__qualname__
    kept = dump({"value": value}, space)
    assert faithful({"value": value}, kept, space)
    assert [base.__name__ for base in cls.__mro__] == [base.__name__ for base in type(value).__mro__]


def test_rebuilt_classes_work(tmp_path):
    space = notebook(CLASSES)
    made = ", ".join(INSTANCES)
    values = dict(enumerate(eval(f"[{made}]", space)))
    kept = dump({str(key): value for key, value in values.items()}, space)
    (tmp_path / "stream").write_bytes(kept.stream)
    code = """
    import json, sys, dataclasses, enum, abc
    from provcrt_kernel.session.snapshot import load
    values = list(load(open(sys.argv[1], "rb").read(), [], globals()).values())
    square, cube, red, perm, item, frozen, point, row, box, slotted, names, table, trouble, inner = values
    try:
        frozen.a = 2
    except dataclasses.FrozenInstanceError:
        refused = True
    try:
        slotted.other = 1
    except AttributeError:
        refused = refused and "slots"
    try:
        type(square).__mro__[1]()
    except TypeError as error:
        abstract = "abstract" in str(error)
    print(json.dumps([
        square.area(), square.double, square.big, cube.area(), type(cube).unit().side, square.helper(),
        isinstance(cube, type(square)), red.warm, red is type(red)["RED"], len(list(type(perm))), perm.value,
        type(item)("z") > item, dataclasses.replace(item, name="b").tags,
        hash(frozen) == hash(type(frozen)(1)),
        refused, point.y, point._replace(x=5).x, row.both(), type(row)._field_defaults, box.v,
        slotted.hidden(), names[1], names.extra, table["q"], str(trouble),
        isinstance(trouble, ValueError), abstract, inner.f(),
    ]))
    """
    assert elsewhere(code, tmp_path / "stream") == [
        *(
            9,
            18,
            300,
            24,
            1,
            "help",
            True,
            True,
            True,
            2,
            3,
            True,
            ["t"],
            True,
            "slots",
            0,
            5,
            "1z",
            {"b": "z"},
        ),
        *([1], [2], [2], 1, "qq", "('why', 2)", True, True, 7),
    ]


def test_isinstance_holds_between_slots_stored_apart(tmp_path):
    space = notebook(CLASSES)
    for name, made in {"cls": "Square", "value": "Square(4)", "other": "Cube(2)"}.items():
        kept = dump({name: eval(made, space)}, space)
        (tmp_path / name).write_bytes(kept.stream)
    code = f"""
    import json, sys
    from provcrt_kernel.session.snapshot import load
    from provcrt_kernel.session.kinship import enter
    def bring(name): return load(open(sys.argv[1] + "/" + name, "rb").read(), [], globals())[name]
    value = bring("value")
    cls = bring("cls")
    other = bring("other")
    results = [isinstance(value, cls), type(value) is cls, isinstance(other, cls), cls.__mro__[1].__name__]
    exec(compile({CLASSES!r}, "<cell>", "exec"))
    enter("Square", Square, globals())
    results.append(isinstance(bring("value"), Square))
    results.append(bring("value") == Square(4))
    print(json.dumps(results))
    """
    assert elsewhere(code, tmp_path) == [True, True, True, "Base", True, True]


def test_a_loaded_dataclass_can_be_extended():
    space = notebook(CLASSES)
    space["Item"] = again(space, "Item")["Item"]
    run(space, "@dataclasses.dataclass\nclass More(Item):\n    n: int = 2\nmore = More('a')")
    assert space["more"].tags == []
    assert "default" not in str(inspect.signature(space["More"]).parameters["name"]).lower()
    with pytest.raises(TypeError):
        space["More"]()


def test_a_class_that_changed_is_not_taken_for_the_old_one(classes):
    kept = dump({"x": eval("Square(3)", classes)}, classes)
    old = classes["Square"]
    run(classes, "Square.helper = staticmethod(lambda: 'changed')")
    back = load(kept.stream, kept.buffers, classes)["x"]
    assert type(back) is not old
    assert back.helper() == "help"


_DERIVED = {
    "a field of a dataclass": (
        "from dataclasses import *\n@dataclass\nclass B:\n x: int = 0\n seen = []",
        "@dataclass\nclass D(B):\n y: int = 1",
    ),
    "a default factory": (
        "from dataclasses import *\n@dataclass\nclass B:\n x: list = field(default_factory=lambda: [1], metadata={'a': 1})",
        "@dataclass\nclass D(B):\n z: int = 2",
    ),
    "an equal constant": ("class B: k = 1", "class D(B): k = 1"),
    "a method under another name": ("class B:\n def v(self): return 1", "class D(B): w = B.v"),
    "how it is hashed": (
        "class B:\n def __eq__(self, o): return True\n def __hash__(self): return 1",
        "class D(B):\n def __eq__(self, o): return False\n __hash__ = B.__hash__",
    ),
    "a list": ("class B: xs = []", "class D(B): ys = B.xs"),
    "half a property": (
        "class B:\n @property\n def p(self): return 1",
        "class D(B):\n @B.p.setter\n def p(self, v): pass",
    ),
    "a descriptor": (
        "class F:\n def __get__(self, i, o): return 5\nclass B: f = F()",
        "class D(B): g = B.__dict__['f']",
    ),
    "a partial method": (
        "import functools\nclass B:\n def a(self, x): return x\n a5 = functools.partialmethod(a, 5)",
        "class D(B): a6 = B.__dict__['a5']",
    ),
}


@pytest.mark.parametrize("shared", _DERIVED)
@pytest.mark.parametrize("order", [("B", "D", "d"), ("d", "D", "B"), ("D", "d", "B")], ids="-".join)
def test_a_class_stored_apart_from_its_base_shares_with_it_what_it_did(shared, order):
    space = notebook(*_DERIVED[shared], "d = D()")
    for name in ("B", "D"):
        enter(name, space[name], space)
    before = {name: fingerprint(space[name], space).digest for name in order}
    kept = {name: dump({name: space[name]}, space) for name in order}
    for name in order:
        del space[name]
    gc.collect()
    for name in order:
        space |= load(kept[name].stream, kept[name].buffers, space)
    assert {name: fingerprint(space[name], space).digest for name in order} == before
    assert type(space["d"]) is space["D"]
    assert space["D"].__base__ is space["B"]


def test_methods_stay_bound_to_the_live_class(classes):
    run(classes, "s = Square(3)\nm = s.area")
    back = again(classes, "s", "m")
    assert back["m"].__self__ is back["s"]
    assert back["m"].__func__ is classes["Square"].area
    assert back["m"]() == 9


def test_classes_whose_making_runs_code_are_refused():
    space = notebook(
        """
        made = []
        class Plugin:
            def __init_subclass__(cls): made.append(cls.__name__)
        class One(Plugin): pass
        class Meta(type):
            def __new__(m, *a): made.append(1); return super().__new__(m, *a)
        class Two(metaclass=Meta): pass
        one, two = One(), Two()
        """
    )
    for name in ("one", "two"):
        with pytest.raises(Unstorable, match="runs code"):
            dump({name: space[name]}, space)
    assert space["made"] == ["One", 1]


# --- arrays ----------------------------------------------------------------------------------------------


def _readonly(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def test_views_stay_views_of_one_memory():
    base = np.arange(20.0).reshape(4, 5).copy()
    back = again({}, base=base, row=base[1], column=base[:, 2], flipped=base[::-1, ::2], same=base)
    assert back["same"] is back["base"]
    assert back["row"].base is back["base"]
    back["base"][1, 2] = 99
    assert back["row"][2] == back["column"][1] == back["flipped"][2, 1] == 99
    assert back["flipped"].strides == base[::-1, ::2].strides
    assert back["base"].flags.owndata
    assert base[1, 2] == 7


def test_views_without_their_base_share_too():
    base = np.arange(10_000.0)
    back = again({}, a=base[10:5000], b=base[400:6000:3])
    assert np.shares_memory(back["a"], back["b"])
    np.testing.assert_array_equal(back["a"], base[10:5000])
    np.testing.assert_array_equal(back["b"], base[400:6000:3])
    back["a"][390] = -1
    assert back["b"][0] == -1
    apart = again({}, a=base[:10], b=base[10:20])
    assert not np.shares_memory(apart["a"], apart["b"])


@pytest.mark.parametrize("size", [10, 10_000])  # within the stream and beside it
@pytest.mark.parametrize(
    "shape",
    {
        "C": lambda a: a,
        "F": np.asfortranarray,
        "frozen": lambda a: np.broadcast_to(a[:1], a.shape),
        "rows": lambda a: a[::2],
        "columns": lambda a: a[:, ::2],
        "reversed": lambda a: a[::-1],
        "transposed": lambda a: a[:, ::2].T,
        "empty": lambda a: a[:0],
        "scalar": lambda a: a[0, 0, ...],
        "bytes": lambda a: a.astype(">i4"),
        "structured": lambda a: a.reshape(-1)[:9].astype([("x", "f8")]),
        "times": lambda a: a.astype("M8[s]"),
        "objects": lambda a: a.astype(object),
        "strings": lambda a: a.astype("U5"),
        "readonly": _readonly,
    }.items(),
    ids=lambda item: item[0],
)
def test_lone_arrays_keep_layout_and_flags(size, shape):
    array = shape[1](np.arange(size * 4.0).reshape(size, 4))
    back = again({}, a=array)["a"]
    np.testing.assert_array_equal(back, array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.flags.c_contiguous == array.flags.c_contiguous
    assert back.flags.f_contiguous == array.flags.f_contiguous
    assert back.flags.writeable == array.flags.writeable


def test_buffers_are_out_of_band_and_only_once():
    base = np.arange(100_000.0)
    kept = dump({"a": base, "b": [base, base[5:]]}, {})
    assert [part.nbytes for part in kept.buffers] == [base.nbytes]
    assert len(kept.stream) < 2000


def test_arrays_of_other_classes_on_shared_memory_are_refused():
    base = np.arange(1000.0)
    with pytest.raises(Unstorable):
        dump({"a": base, "m": base.view(np.recarray)}, {})
    raw = bytearray(8000)
    with pytest.raises(Unstorable):
        dump({"raw": raw, "a": np.frombuffer(raw, "f8")}, {})


# --- tables and models -----------------------------------------------------------------------------------


def test_tables_come_back_whole():
    table = pd.DataFrame(
        {
            "n": [1, 2, 3],
            "f": [1.5, None, 3],
            "s": ["x", None, "z"],
            "c": pd.Categorical(["u", "v", "u"]),
            "d": pd.date_range("2020", periods=3, tz="UTC"),
            "i": pd.array([1, None, 3], dtype="Int64"),
            "o": [[1], {"a": 2}, None],
        },
        index=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["k", "j"]),
    )
    table.attrs["unit"] = "m"
    back = again({}, table=table, column=table["n"], cell=table["o"].iloc[0])
    pd.testing.assert_frame_equal(back["table"], table)
    assert back["table"].attrs == {"unit": "m"}
    assert back["table"]["o"].iloc[0] is back["cell"]
    back["table"].loc[("a", 1), "n"] = 77
    assert back["column"].iloc[0] == 1


def test_copy_on_write_survives():
    table = pd.DataFrame({"a": [1.0, 2.0], "d": pd.date_range("2020", periods=2), "s": ["x", "y"]})
    values = {
        "table": table,
        "shallow": table.copy(deep=False),
        "part": table[["a"]],
        "series": table["d"],
        "indexed": table.set_index("a", drop=False),
    }
    before = {name: value.copy(deep=True) for name, value in values.items()}
    back = again({}, **values)
    back["table"].loc[0] = [99.0, pd.Timestamp(0), "changed"]
    for name in ("shallow", "part", "series", "indexed"):
        getattr(pd.testing, f"assert_{'series' if name == 'series' else 'frame'}_equal")(
            back[name], before[name]
        )


def test_raw_view_of_a_table_stays_on_it():
    table = pd.DataFrame(np.arange(6.0).reshape(3, 2), columns=["a", "b"])
    raw = table.to_numpy()
    shared = np.shares_memory(raw, table["a"].to_numpy())
    back = again({}, table=table, raw=raw)
    assert np.shares_memory(back["raw"], back["table"]["a"].to_numpy()) == shared
    assert back["raw"].flags.writeable == raw.flags.writeable
    table.iloc[0, 0], back["table"].iloc[0, 0] = 50.0, 50.0
    np.testing.assert_array_equal(back["raw"], raw)


def test_models_predict_the_same():
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = np.random.RandomState(0).rand(80, 3)
    model = make_pipeline(StandardScaler(), RandomForestClassifier(5)).fit(data, data[:, 0] > 0.5)
    back = again({}, model=model, data=data)
    np.testing.assert_array_equal(back["model"].predict_proba(data), model.predict_proba(data))
    generator = np.random.default_rng(5)
    back = again({}, rng=generator, same=generator)
    assert back["rng"] is back["same"]
    assert back["rng"].random() == generator.random()


# --- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: (i for i in [1]),
        lambda: open("/dev/null"),  # noqa: SIM115
        threading.Lock,
        lambda: memoryview(b"abc"),
        lambda: __import__("ipywidgets").IntSlider(),
        lambda: __import__("types").ModuleType("made"),
        lambda: functools.partial(print, threading.Lock()),
    ],
)
def test_what_would_lie_is_refused(make):
    with pytest.raises(Unstorable) as caught:
        dump({"x": make()}, {})
    assert "\n" not in str(caught.value)


def test_the_namespace_and_finalizers_are_refused():
    space = notebook("class Temp:\n    def __del__(self): dropped.append(1)\ndropped = []\nt = Temp()")
    with pytest.raises(Unstorable, match="__del__"):
        dump({"t": [space["t"]]}, space)
    assert space["dropped"] == []
    del space["t"]
    with pytest.raises(Unstorable, match="namespace"):
        dump({"g": [space]}, space)


def test_views_of_pointers_are_refused():
    for base in (
        np.array([[1], [2], [3]], dtype=object),
        np.array(["a", "b"], dtype=np.dtypes.StringDType()),
    ):
        with pytest.raises(Unstorable):
            dump({"a": base, "b": base[1:]}, {})
        assert list(again({}, a=base[1:])["a"]) == list(base[1:])


def test_errors_of_the_notebook_become_one_line():
    space = notebook(
        """
        class Exits:
            def __reduce__(self): raise SystemExit("no\\nway")
        class Fails:
            def __getstate__(self): raise ValueError("two\\nlines")
        class Loads:
            def __init__(self): self.x = 1
            def __setstate__(self, state): raise SystemExit("not here")
        """
    )
    for name in ("Exits", "Fails"):
        with pytest.raises(Unstorable) as caught:
            dump({"x": space[name]()}, space)
        assert "\n" not in str(caught.value)
    kept = dump({"x": space["Loads"]()}, space)
    with pytest.raises(Unloadable):
        load(kept.stream, kept.buffers, space)


def test_size_is_limited():
    with pytest.raises(Unstorable, match="more than"):
        dump({"x": np.ones(10_000)}, {}, limit=50_000)
    with pytest.raises(Unstorable, match="more than"):
        dump({"x": "y" * 100_000}, {}, limit=50_000)


def test_exceptions_with_a_traceback_are_refused():
    try:
        raise ValueError(1)
    except ValueError as error:
        caught = error
    with pytest.raises(Unstorable, match="traceback"):
        dump({"e": caught}, {})
    assert again({}, e=ValueError(1, 2))["e"].args == (1, 2)


@pytest.mark.parametrize("cut", [0, 5, 30, -1])
def test_damaged_streams_are_unloadable(cut):
    kept = dump({"x": [1, 2, 3]}, {})
    with pytest.raises(Unloadable):
        load(kept.stream[:cut], kept.buffers, {})


# --- faithful or not -------------------------------------------------------------------------------------


def test_lossy_pickles_are_found_out():
    space = notebook(
        """
        class Drops:
            def __init__(self): self.kept, self.cache = 1, [2]
            def __getstate__(self): return {"kept": self.kept}
            def __setstate__(self, state): self.__dict__.update(state, cache=[])
        class Honest:
            def __init__(self): self.kept = [1]
            def __getstate__(self): return dict(self.__dict__)
        class Plain:
            def __init__(self): self.kept = [1]
        class Alias:
            def __init__(self, a): self.a = self.b = a
            def __reduce__(self): return (make, (list(self.a), list(self.b)))
        def make(a, b):
            made = Alias(a)
            made.b = b
            return made
        values = {"drops": Drops(), "honest": Honest(), "alias": Alias([1]), "plain": Plain()}
        """
    )
    verdicts = {}
    for name, value in space["values"].items():
        kept = dump({name: value}, space)
        verdicts[name] = needs_check(kept), faithful({name: value}, kept, space)
    assert verdicts == {
        "drops": (True, False),
        "honest": (True, True),
        "alias": (True, False),
        "plain": (False, True),
    }


def test_header_is_readable():
    kept = dump({"a": 1, "b": np.ones(10_000)}, {})
    start = kept.stream.index(b"{")
    header = json.JSONDecoder().raw_decode(kept.stream[start:].decode("latin-1"))[0]
    assert header == {"own": [0], "names": ["a", "b"]}


def test_collections_keep_their_kind():
    values = {
        "od": collections.OrderedDict(b=1, a=[2]),
        "dd": collections.defaultdict(list, a=[1]),
        "counter": collections.Counter("aab"),
        "deque": collections.deque([1, [2]], maxlen=3),
        "chain": collections.ChainMap({}, {"a": 1}),
        "new": typing.NewType("New", int),
    }
    back = again({}, **values)
    for name, value in values.items():
        assert type(back[name]) is type(value)
        assert name == "new" or back[name] == value
    assert back["deque"].maxlen == 3
    assert back["dd"].default_factory is list


def test_a_class_keeps_the_order_of_its_names():
    space = notebook(
        """
        import dataclasses
        class Plain:
            '''Says something.'''
            size = 2
            def get(self): return self.size
            def __eq__(self, other): return self.size == other.size
        class Slotted:
            __slots__ = ("b", "a")
            made = 3
            def get(self): return 1
        @dataclasses.dataclass
        class Data:
            x: int = 1
            def twice(self): return 2 * self.x
        """
    )
    back = again(space, "Plain", "Slotted", "Data")
    for name, made in back.items():
        assert made is not space[name]
        assert list(vars(made)) == list(vars(space[name]))
    plain = back["Plain"]
    assert (plain().get(), plain() == plain(), plain.__hash__, plain.__doc__) == (
        2,
        True,
        None,
        "Says something.",
    )
    assert back["Data"](2).twice() == 4


def test_an_array_turned_round_has_no_gaps():
    block = np.arange(12).reshape(3, 4)
    for array in (block[0, ::-1], block[::-1], block[:, ::-1], block.T[::-1], block[::-1, ::-1].T):
        back = again({}, array=array)["array"]
        assert back.tolist() == array.tolist()
        assert (back.strides, back.flags.writeable) == (array.strides, array.flags.writeable)


def test_nothing_of_an_array_keeps_its_strides():
    array = np.ones((4, 3))
    for part in (array[4:], array[:, 3:], np.array([]), np.ones(2)[2:]):
        back = again({}, part=part)["part"]
        assert (back.shape, back.strides, back.flags.owndata) == (
            part.shape,
            part.strides,
            part.flags.owndata,
        )


def test_keeping_a_value_leaves_no_mark_on_its_class():
    space = notebook(
        """
        class Point:
            def __init__(self): self.x = 1
        point = Point()
        """
    )
    before = list(vars(space["Point"]))
    assert again(space, "point")["point"].x == 1
    assert list(vars(space["Point"])) == before
