# ruff: noqa: E501 - cells are quoted as users write them
"""Functions and classes that a notebook defines, and values that no pickle can hold."""

from .case import both, case, deletes, inserts, same, sets, writes

# -- functions -------------------------------------------------------------------------------------------------------------

case(
    "a function three levels down",
    10,
    """
# %% a
def base(x): return x + 1
# %% b
def middle(x): return base(x) * 2
# %% c
def top(x): return middle(x) - 1
# %% d
r = top(3)
print(r)
# %% e
other = [1, 2]
""",
    sets(a="def base(x): return x + 10"),
    "r",
    rerun="a d",
    skip="b c e",
    telling=True,
)

case(
    "a decorator edited",
    10,
    """
# %% a
import functools
def twice(f):
    @functools.wraps(f)
    def inner(*a): return 2 * f(*a)
    return inner
# %% b
@twice
def g(x): return x + 1
# %% c
r = g(1)
print(r, g.__name__)
""",
    sets(
        a="import functools\ndef twice(f):\n    @functools.wraps(f)\n    def inner(*a): return 3 * f(*a)\n    return inner"
    ),
    "r",
    rerun="a b c",
)

case(
    "a default argument from a global",
    10,
    """
# %% a
K = 2
# %% b
def f(x, k=K): return x * k
# %% c
r = f(10)
print(r)
""",
    sets(a="K = 3"),
    "r; f.__defaults__",
    rerun="a b c",
)

case(
    "closures over a loop variable",
    10,
    """
# %% a
fs = [lambda x: x * i for i in range(3)]
gs = []
for j in range(3):
    gs.append(lambda x: x * j)
# %% b
r = [f(10) for f in fs] + [g(10) for g in gs]
print(r)
# %% c
j = 7
s = gs[0](1)
print(s)
""",
    sets(c="j = 8\ns = gs[0](1)\nprint(s)"),
    "r; s",
    rerun="c",
    skip="a b",
)

case(
    "nested functions and nonlocal",
    10,
    """
# %% a
def counter():
    n = 0
    def step(k=1):
        nonlocal n
        n += k
        return n
    return step
step = counter()
# %% b
step(); step(5)
# %% c
r = step()
print(r)
""",
    sets(b="step(); step(6)"),
    "r; step()",
    rerun="b c",
    skip="a",
)

case(
    "two closures share a cell variable",
    10,
    """
# %% a
def pair():
    n = 0
    def inc():
        nonlocal n
        n += 1
    def get(): return n
    return inc, get
inc, get = pair()
# %% b
inc()
# %% c
inc(); inc()
# %% d
r = get()
print(r)
""",
    sets(c="inc()"),
    "r; get()",
    rerun="c d",
    skip="a b",
)

case(
    "static, class method and property",
    10,
    """
# %% a
class C:
    k = 1
    @staticmethod
    def s(x): return x + 1
    @classmethod
    def c(cls): return cls.k
    @property
    def p(self): return self.k * 100
# %% b
o = C()
# %% c
r = (C.s(1), C.c(), o.p)
print(r)
""",
    sets(
        a="class C:\n    k = 1\n    @staticmethod\n    def s(x): return x + 1\n    @classmethod\n    def c(cls): return cls.k\n    @property\n    def p(self): return self.k * 200"
    ),
    "r; type(o) is C",
    rerun="a b c",
)

case(
    "a dataclass edited",
    10,
    """
# %% a
from dataclasses import dataclass, field, asdict
@dataclass(order=True)
class P:
    x: int
    tags: list = field(default_factory=list)
# %% b
ps = [P(2, ['b']), P(1)]
# %% c
s = sorted(ps)
print(s, asdict(s[0]))
""",
    sets(
        a="from dataclasses import dataclass, field, asdict\n@dataclass(order=True)\nclass P:\n    x: int\n    tags: list = field(default_factory=lambda: ['z'])"
    ),
    "str(s)",
    rerun="a b c",
)

case(
    "a dataclass used by an edited cell",
    10,
    """
# %% a
from dataclasses import dataclass, replace
@dataclass(frozen=True, slots=True)
class P:
    x: int
    y: float = 0.5
# %% b
ps = {P(1), P(2)}
# %% c
q = replace(next(iter(sorted(ps, key=lambda p: p.x))), y=2)
""",
    sets(c="q = replace(max(ps, key=lambda p: p.x), y=3); ok = P(1) in ps\nprint(q)"),
    "str(q); ok; type(q) is P",
    rerun="c",
    skip="a b",
)

case(
    "an enum",
    10,
    """
# %% a
from enum import Enum, auto, Flag
class Colour(Enum):
    RED = auto(); BLUE = auto()
class F(Flag):
    A = 1; B = 2
# %% b
c = Colour.BLUE; f = F.A | F.B; table = {Colour.RED: 'r'}
# %% c
r = (c is Colour.BLUE, f == F(3), table[Colour.RED], c.value)
print(r)
""",
    sets(c="r = (c is Colour.BLUE, f == F(3), table[Colour(1)], c.name)\nprint(r)"),
    "r",
    rerun="c",
    skip="a b",
)

case(
    "an enum member added before",
    10,
    """
# %% a
from enum import Enum, auto
class Colour(Enum):
    RED = auto(); BLUE = auto()
# %% b
c = Colour.BLUE
# %% c
v = c.value
print(v)
""",
    sets(
        a="from enum import Enum, auto\nclass Colour(Enum):\n    GREEN = auto(); RED = auto(); BLUE = auto()"
    ),
    "v; c is Colour.BLUE",
    rerun="a b c",
)

case(
    "a metaclass",
    10,
    """
# %% a
class Meta(type):
    def __call__(cls, *a):
        o = super().__call__(*a); o.made = cls.tag
        return o
class C(metaclass=Meta):
    tag = 'one'
# %% b
c = C()
# %% c
r = (c.made, type(type(c)) is Meta)
print(r)
""",
    sets(
        a="class Meta(type):\n    def __call__(cls, *a):\n        o = super().__call__(*a); o.made = cls.tag * 2\n        return o\nclass C(metaclass=Meta):\n    tag = 'one'"
    ),
    "r",
    rerun="a b c",
)

case(
    "super and several bases",
    10,
    """
# %% a
class A:
    def who(self): return ['A']
# %% b
class B(A):
    def who(self): return ['B'] + super().who()
class C(A):
    def who(self): return ['C'] + super().who()
# %% c
class D(B, C):
    def who(self): return ['D'] + super().who()
# %% d
r = D().who()
print(r)
""",
    sets(
        b="class B(A):\n    def who(self): return ['B!'] + super().who()\nclass C(A):\n    def who(self): return ['C'] + super().who()"
    ),
    "r; issubclass(D, C)",
    rerun="b c d",
    skip="a",
)

case(
    "a method replaced on the class",
    10,
    """
# %% a
class C:
    def f(self): return 1
# %% b
c = C()
# %% c
C.f = lambda self: 2
# %% d
r = c.f()
print(r)
""",
    sets(c="C.f = lambda self: 3"),
    "r; c.f()",
    rerun="c d",
    skip="a b",
)

case(
    "a method replaced on an instance",
    10,
    """
# %% a
class C:
    def f(self): return 1
c, d = C(), C()
# %% b
import types
c.f = types.MethodType(lambda self: 'own', c)
# %% c
r = (c.f(), d.f())
print(r)
""",
    sets(b="import types\nc.f = types.MethodType(lambda self: 'other', c)"),
    "r",
    rerun="b c",
    skip="a",
)

case(
    "an attribute of the class set later",
    10,
    """
# %% a
class Config: rate = 1
# %% b
Config.rate = 5; Config.extra = 'x'
# %% c
r = (Config().rate, Config.extra)
print(r)
""",
    sets(b="Config.rate = 6; Config.extra = 'x'"),
    "r",
    rerun="b c",
    skip="a",
)

case(
    "recursion and mutual recursion",
    10,
    """
# %% a
def even(n): return True if n == 0 else odd(n - 1)
# %% b
def odd(n): return False if n == 0 else even(n - 1)
# %% c
r = [even(i) for i in range(4)]
print(r)
""",
    sets(b="def odd(n): return None if n == 0 else even(n - 1)"),
    "r",
    rerun="b c",
    skip="a",
)

case(
    "lambdas in a dictionary",
    10,
    """
# %% a
scale = 2
ops = {'mul': lambda x: x * scale, 'neg': lambda x: -x}
# %% b
r1 = ops['neg'](1)
# %% c
scale = 3
# %% d
r2 = ops['mul'](1)
print(r1, r2)
""",
    sets(c="scale = 4"),
    "r1; r2",
    rerun="c d",
    skip="a b",
)

case(
    "an attribute on a function",
    10,
    """
# %% a
def f():
    f.calls += 1
    return f.calls
f.calls = 0
# %% b
f()
# %% c
r = f()
print(r)
""",
    sets(b="f(); f()"),
    "r; f.calls",
    rerun="b c",
    skip="a",
)

case(
    "a global declared in a function",
    10,
    """
# %% a
total = 0
def add(n):
    global total, last
    total += n; last = n
# %% b
add(1)
# %% c
add(2)
# %% d
print(total, last)
""",
    sets(c="add(3)"),
    "total; last",
    rerun="c d",
    skip="a b",
)

case(
    "a generator function that reads globals late",
    10,
    """
# %% a
def gen():
    for i in range(2): yield i + START
START = 1
# %% b
first = list(gen())
# %% c
START = 100
# %% d
second = list(gen())
print(first, second)
""",
    sets(c="START = 200"),
    "first; second",
    rerun="c d",
    skip="a b",
)

case(
    "functools: partial, reduce, cache",
    10,
    """
# %% a
from functools import partial, reduce, cache
@cache
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
add5 = partial(lambda a, b: a + b, 5)
# %% b
x = fib(20)
# %% c
r = (reduce(add5.func, [1, 2, 3]), add5(1), fib(10))
print(r)
""",
    sets(c="r = (reduce(add5.func, [1, 2, 4]), add5(2), fib(11))\nprint(r)"),
    "x; r",
    rerun="c",
    skip="a",
)

case(
    "a cached function whose global changes",
    10,
    """
# %% a
from functools import lru_cache
RATE = 2
@lru_cache(None)
def f(x): return x * RATE
# %% b
a = f(1)
# %% c
RATE = 3
# %% d
b = (f(1), f(2))
print(a, b)
""",
    sets(c="RATE = 4"),
    "a; b",
    rerun="c d",
    skip="a b",
)

case(
    "a context manager of one's own",
    10,
    """
# %% a
from contextlib import contextmanager
events = []
@contextmanager
def step(name):
    events.append('in ' + name)
    yield name
    events.append('out ' + name)
# %% b
with step('one') as s: events.append(s)
# %% c
print(events)
""",
    sets(b="with step('two') as s: events.append(s)"),
    "events; s",
    rerun="b c",
    skip="a",
)

case(
    "type hints, annotations and a protocol",
    10,
    """
# %% a
from typing import Protocol, runtime_checkable, TypedDict, NamedTuple
@runtime_checkable
class HasArea(Protocol):
    def area(self) -> float: ...
class Row(TypedDict):
    k: str
class Sq(NamedTuple):
    side: float
    def area(self) -> float: return self.side ** 2
# %% b
sq = Sq(3); row: Row = {'k': 'a'}
# %% c
r = (isinstance(sq, HasArea), sq.area(), row)
print(r)
""",
    sets(c="r = (isinstance(sq, HasArea), sq._replace(side=4).area(), row)\nprint(r)"),
    "r; type(sq) is Sq",
    rerun="c",
    skip="a b",
)

case(
    "operators of one's own",
    10,
    """
# %% a
class V:
    def __init__(self, *x): self.x = x
    def __add__(self, o): return V(*(a + b for a, b in zip(self.x, o.x)))
    def __eq__(self, o): return self.x == o.x
    def __hash__(self): return hash(self.x)
    def __repr__(self): return f'V{self.x}'
    def __getattr__(self, n):
        if n.startswith('_'): raise AttributeError(n)
        return n.upper()
# %% b
v = V(1, 2); known = {v: 'first'}
# %% c
r = (v + v, known[V(1, 2)], v.name)
print(r)
""",
    sets(c="r = (v + V(1, 1), known[V(1, 2)], v.other)\nprint(r)"),
    "str(r)",
    rerun="c",
    skip="a b",
)

case(
    "a class redefined under living instances",
    10,
    """
# %% a
class C:
    def f(self): return 'old'
# %% b
c = C()
# %% c
class C:
    def f(self): return 'new'
# %% d
r = (c.f(), C().f(), isinstance(c, C))
print(r)
""",
    sets(d="r = [c.f(), C().f(), isinstance(c, C)]\nprint(r)"),
    "r",
    rerun="d",
    skip="a b c",
)

case(
    "an exception class of one's own",
    10,
    """
# %% a
class Oops(ValueError):
    def __init__(self, code): super().__init__(f'code {code}'); self.code = code
# %% b
try: raise Oops(3)
except Oops as e: kept = e
# %% c
r = (kept.code, str(kept), isinstance(kept, Oops))
print(r)
""",
    sets(c="r = [kept.code, str(kept), isinstance(kept, Oops)]\nprint(r)"),
    "r",
    rerun="c",
    skip="a b",
)

case(
    "an abstract base class",
    10,
    """
# %% a
from abc import ABC, abstractmethod
class Shape(ABC):
    @abstractmethod
    def area(self): ...
# %% b
class Sq(Shape):
    def __init__(self, s): self.s = s
    def area(self): return self.s ** 2
# %% c
shapes = [Sq(2), Sq(3)]
# %% d
t = sum(s.area() for s in shapes)
print(t)
""",
    sets(b="class Sq(Shape):\n    def __init__(self, s): self.s = s\n    def area(self): return self.s ** 3"),
    "t; isinstance(shapes[0], Shape)",
    rerun="b c d",
    skip="a",
)

case(
    "a descriptor and __slots__",
    10,
    """
# %% a
class Pos:
    def __set_name__(self, o, n): self.n = '_' + n
    def __get__(self, o, t=None): return getattr(o, self.n) if o else self
    def __set__(self, o, v):
        if v < 0: raise ValueError('negative')
        setattr(o, self.n, v)
class P:
    __slots__ = ('_x',)
    x = Pos()
# %% b
p = P(); p.x = 4
# %% c
try: p.x = -1; r = 'set'
except ValueError as e: r = str(e)
print(r, p.x)
""",
    sets(c="try: p.x = -2; r = 'set'\nexcept ValueError as e: r = str(e) + '!'\nprint(r, p.x)"),
    "r; p.x",
    rerun="c",
    skip="a b",
)

case(
    "code made from text",
    10,
    """
# %% a
src = 'def made(x): return x + 1'
# %% b
exec(src)
# %% c
r = made(1)
print(r)
""",
    sets(a="src = 'def made(x): return x + 2'"),
    "r",
    rerun="a b c",
)

case(
    "a function picked by name",
    10,
    """
# %% a
def f_one(): return 1
def f_two(): return 2
# %% b
which = 'one'
# %% c
r = globals()['f_' + which]()
print(r)
""",
    sets(a="def f_one(): return 11\ndef f_two(): return 2"),
    "r",
    rerun="a c",
    skip="b",
)

case(
    "a function passed to a library",
    10,
    """
# %% a
import pandas as pd
def clean(s): return s.strip().lower()
# %% b
df = pd.DataFrame({'t': [' A', 'b ']})
# %% c
df['c'] = df.t.map(clean)
df
""",
    sets(a="import pandas as pd\ndef clean(s): return s.strip().upper()"),
    "df.to_dict('list')",
    rerun="a c",
    skip="b",
)

case(
    "query and eval of a frame read names",
    10,
    """
# %% a
import pandas as pd
df = pd.DataFrame({'v': [1, 2, 3]})
# %% b
limit = 2
# %% c
n = len(df.query('v >= @limit'))
print(n)
""",
    sets(b="limit = 3"),
    "n",
    rerun="b c",
    skip="a",
)

case(
    "an async function defined and awaited",
    10,
    """
# %% a
import asyncio
K = 1
async def work(x):
    await asyncio.sleep(0)
    return x + K
# %% b
r = await asyncio.gather(work(1), work(2))
print(r)
""",
    sets(a="import asyncio\nK = 10\nasync def work(x):\n    await asyncio.sleep(0)\n    return x + K"),
    "r",
    rerun="a b",
)

case(
    "a lambda equal in code, different in default",
    10,
    """
# %% a
f = lambda x, k=1: x + k
# %% b
r = f(1)
print(r)
""",
    sets(a="f = lambda x, k=2: x + k"),
    "r",
    rerun="a b",
)

case(
    "a function moved to another global of the same name",
    10,
    """
# %% a
def scale(x): return x * 2
# %% b
def run(x, f=scale): return f(x)
# %% c
def scale(x): return x * 3
# %% d
r = (run(1), scale(1))
print(r)
""",
    sets(c="def scale(x): return x * 4"),
    "r",
    rerun="c d",
    skip="a b",
)

# -- values without a pickle --------------------------------------------------------------------------------------------------


def lives(
    name: str, make: str, use: str, other: str, probes: str, setup: str = "u0 = 0", **more: object
) -> None:
    """A value that cannot be pickled is made in a cell that is skipped, and used in a cell that is edited."""
    cells = f"\n# %% a\n{setup}\n# %% b\n{make}\n# %% c\nu = 1\n# %% d\n{use}\n"
    case(name, 11, cells, sets(d=other), probes, rerun="d", skip="c", **more)  # type: ignore[arg-type]


lives(
    "a generator half consumed",
    "g = (i * i for i in range(5)); next(g)",
    "r = next(g)",
    "r = [next(g), next(g)]",
    "r; list(g)",
)
lives(
    "a generator consumed by the edited cell",
    "def gen():\n    while True:\n        got = yield\n        seen.append(got)\nseen = []\ng = gen(); next(g)",
    "g.send(1)",
    "g.send(2); g.send(3)",
    "seen",
)
lives(
    "a lock that is held",
    "import threading\nlock = threading.Lock(); lock.acquire()",
    "r = lock.locked()",
    "r = (lock.locked(), lock.acquire(blocking=False))",
    "r",
)
lives(
    "an open file and its position",
    "f = open('a.txt'); first = f.readline()",
    "r = f.readline()",
    "r = f.readline().upper()",
    "first; r; f.tell() if not f.closed else None",
    files={"a.txt": "one\ntwo\nthree\n"},
    telling=True,
)
lives(
    "an open file, iterated",
    "f = open('a.txt'); first = next(f)",
    "r = list(f)",
    "r = [x.strip() for x in f]",
    "first; r",
    files={"a.txt": "one\ntwo\nthree\n"},
)
lives(
    "a csv reader",
    "import csv\nrows = csv.reader(open('a.csv')); head = next(rows)",
    "r = list(rows)",
    "r = list(rows)[1:]",
    "head; r",
    files={"a.csv": "h\n1\n2\n"},
)
lives(
    "an in-memory database",
    "import sqlite3\ncon = sqlite3.connect(':memory:'); con.execute('create table t(v)'); _ = con.execute('insert into t values (1)')",
    "r = con.execute('select * from t').fetchall()",
    "con.execute('insert into t values (2)'); r = con.execute('select sum(v) from t').fetchone()",
    "r",
)
lives(
    "a database changed by two cells",
    "import sqlite3\ncon = sqlite3.connect(':memory:'); _ = con.execute('create table t(v)')",
    "con.execute('insert into t values (5)'); r = con.execute('select * from t').fetchall()",
    "con.execute('insert into t values (6)'); r = con.execute('select * from t').fetchall()",
    "r; con.execute('select count(*) from t').fetchone()",
)
lives(
    "a thread and its queue",
    "import threading, queue\nq = queue.Queue(); out = []\ndef work():\n    while True: out.append(q.get() * 2); q.task_done()\nt = threading.Thread(target=work, daemon=True); t.start()",
    "q.put(1); q.join(); r = list(out)",
    "q.put(2); q.join(); r = list(out)",
    "r",
)
lives(
    "a pool of threads",
    "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(2)",
    "r = list(pool.map(abs, [-1, -2]))",
    "r = list(pool.map(abs, [-1, -3]))",
    "r",
)
lives(
    "a socket pair",
    "import socket\na, b = socket.socketpair(); a.sendall(b'hi')",
    "r = b.recv(2)",
    "r = b.recv(2).upper()",
    "r",
)
lives(
    "a lambda in a partial",
    "from functools import partial\np = partial(lambda k, x: k * x, 3)",
    "r = p(2)",
    "r = p(4)",
    "r",
)
lives(
    "a module as a value",
    "import math as m\nbox = {'m': m}",
    "r = box['m'].sqrt(4)",
    "r = box['m'].sqrt(9)",
    "r; box['m'] is m",
)
lives(
    "a weak dictionary",
    "import weakref\nclass K: pass\nk = K(); wd = weakref.WeakValueDictionary(k=k)",
    "r = len(wd)",
    "r = [wd['k'] is k, len(wd)]",
    "r",
    telling=True,
)
lives(
    "a zip, a map and an enumerate",
    "z = zip('abc', [1, 2, 3]); m = map(str.upper, 'xyz'); e = enumerate('pq'); next(z), next(m), next(e)",
    "r = (next(z), next(m), next(e))",
    "r = (list(z), list(m), list(e))",
    "r",
)
lives(
    "itertools in the middle",
    "import itertools as it\nc = it.count(5); cy = it.cycle('ab'); ch = it.chain([1], [2, 3]); next(c), next(cy), next(ch)",
    "r = (next(c), next(cy), next(ch))",
    "r = [next(c), next(cy), list(ch)]",
    "r",
)
lives(
    "tee'd iterators",
    "import itertools\nx, y = itertools.tee(iter(range(4))); next(x)",
    "r = (next(x), next(y))",
    "r = (list(x), list(y))",
    "r",
)
lives(
    "a class instance with a lock inside",
    "import threading\nclass Safe:\n    def __init__(self): self.lock = threading.Lock(); self.n = 0\n    def inc(self):\n        with self.lock: self.n += 1\n        return self.n\ns = Safe(); s.inc()",
    "r = s.inc()",
    "r = (s.inc(), s.inc())",
    "r; s.n",
)
lives(
    "a reduce that raises",
    "class No:\n    v = 3\n    def __reduce__(self): raise TypeError('never')\nn = No()",
    "r = n.v",
    "r = n.v + 1",
    "r",
)
lives(
    "a temporary folder object",
    "import tempfile, os\ntd = tempfile.TemporaryDirectory(); open(os.path.join(td.name, 'x'), 'w').write('x') and None",
    "r = os.listdir(td.name)",
    "r = [os.listdir(td.name)]",
    "r",
)
lives(
    "a figure drawn on by two cells",
    "import matplotlib.pyplot as plt\nfig, ax = plt.subplots(); ax.plot([1, 2], label='one')",
    "ax.plot([2, 1]); r = len(ax.lines)",
    "ax.plot([2, 1]); ax.plot([3]); r = [l.get_label() for l in ax.lines]",
    "r; len(ax.lines)",
    shown="d",
)
lives(
    "a compiled struct and a regex match",
    "import re, struct\nm = re.match('(a)(b)', 'ab'); s = struct.Struct('<ih')",
    "r = (m.groups(), s.size)",
    "r = (m.group(2), s.pack(1, 2))",
    "r",
)
lives(
    "a coroutine not yet awaited",
    "async def co(): return 7\nc0 = co()",
    "r = await c0",
    "r = (await c0) + 1",
    "r",
)
lives(
    "an asyncio queue",
    "import asyncio\nq = asyncio.Queue(); q.put_nowait(1); q.put_nowait(2)",
    "r = q.get_nowait()",
    "r = (q.get_nowait(), q.qsize())",
    "r",
)
lives(
    "a bytes reader in the middle",
    "import io\nb = io.BytesIO(b'abcdef'); b.read(2); t = io.TextIOWrapper(io.BytesIO(b'x\\ny\\n')); t.readline()",
    "r = (b.read(2), t.readline())",
    "r = (b.read(), t.read())",
    "r; b.tell()",
)
lives(
    "an iterator over a frame",
    "import pandas as pd\nrows = pd.DataFrame({'v': [1, 2, 3]}).itertuples(index=False); next(rows)",
    "r = next(rows).v",
    "r = [x.v for x in rows]",
    "r",
)
lives(
    "a property of a live object's identity",
    "o = object(); d = {o: 'here'}",
    "r = d[o]",
    "r = d[o].upper()",
    "r",
)

case(
    "a file handle kept, the file edited",
    11,
    """
# %% a
f = open('a.txt')
# %% b
first = f.readline()
# %% c
second = f.readline()
print(first, second)
""",
    writes("a.txt", "uno\ndos\n"),
    "first; second",
    rerun="b c",
    files={"a.txt": "one\ntwo\n"},
)

case(
    "a log file written by three cells",
    11,
    """
# %% a
log = open('log.txt', 'w')
# %% b
print('b', file=log, flush=True)
# %% c
print('c', file=log, flush=True)
# %% d
r = open('log.txt').read()
print(r)
""",
    sets(c="print('C', file=log, flush=True)"),
    "r; open('log.txt').read()",
    rerun="c d",
)

case(
    "a generator read by two cells, the first edited",
    11,
    """
# %% a
g = iter(x for x in range(10))
# %% b
one = next(g)
# %% c
two = next(g)
print(one, two)
""",
    sets(b="one = next(g) + next(g)"),
    "one; two; next(g)",
    rerun="b c",
)

case(
    "an unpicklable value deleted",
    11,
    """
# %% a
import threading
lock = threading.Lock()
# %% b
n = 1
# %% c
del lock
# %% d
r = 'lock' in globals()
""",
    sets(b="n = 2"),
    "n; r",
    rerun="b",
)

case(
    "a cell before an unpicklable value is edited",
    11,
    """
# %% a
n = 3
# %% b
g = (i for i in range(n))
# %% c
r = list(g)
print(r)
""",
    both(sets(a="n = 4"), same),
    "r",
    rerun="a b c",
)

case(
    "a cell that made half of an unpicklable pair goes away",
    11,
    """
# %% a
import queue
q = queue.SimpleQueue()
# %% b
q.put('b')
# %% c
q.put('c')
# %% d
r = [q.get() for _ in range(q.qsize())]
print(r)
""",
    deletes("b"),
    "r",
    rerun="c d",
)

case(
    "a handle inserted between",
    11,
    """
# %% a
f = open('a.txt')
# %% b
r = f.read(3)
print(r)
""",
    inserts("a", "n", "f.read(2)"),
    "r",
    rerun="n b",
    files={"a.txt": "abcdefgh"},
)

# -- where code stands -----------------------------------------------------------------------------------------------------

case(
    "eval under another name",
    10,
    """
# %% a
x = 1
# %% b
f = eval
# %% c
print(f("x + 1"))
""",
    sets(a="x = 5"),
    "x",
    rerun="a c",
    skip="b",
)

case(
    "source text is shown after a comment was edited",
    3,
    """
# %% a
def f(x):
    # first
    return x
# %% b
import inspect
s = inspect.getsource(f)
print(s)
""",
    sets(
        a="""
def f(x):
    # second, other
    return x
"""
    ),
    "s",
)

case(
    "a traceback's lines after a comment was put in",
    3,
    """
# %% a
def f(x):
    return 1 / x
# %% b
import traceback
try:
    f(0)
except ZeroDivisionError:
    t = traceback.format_exc()
n = [int(w) for w in __import__('re').findall(r'line (\\d+)', t)]
print(n)
""",
    sets(
        a="""
# a comment
# and another
def f(x):
    return 1 / x
"""
    ),
    "n",
)

case(
    "the first line of a function after a comment was put in",
    3,
    """
# %% a
def f(x):
    return 1 / x
# %% b
n = f.__code__.co_firstlineno
print(n)
""",
    sets(
        a="""
# a comment

def f(x):
    return 1 / x
"""
    ),
    "n",
)

case(
    "a warning's line after a comment was put in",
    3,
    """
# %% a
import warnings
def g():
    warnings.warn("hey")
# %% b
with warnings.catch_warnings(record=True) as w:
    warnings.simplefilter("always")
    g()
n = w[0].lineno
print(n)
""",
    sets(
        a="""
import warnings
# one
# two
def g():
    warnings.warn("hey")
"""
    ),
    "n",
)

case(
    "a log's line after a comment was put in",
    3,
    """
# %% a
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(lineno)d %(funcName)s %(message)s", stream=sys.stdout, force=True)
def f():
    logging.info("in f")
# %% b
f()
""",
    sets(
        a="""
import logging, sys
# here

logging.basicConfig(level=logging.INFO, format="%(lineno)d %(funcName)s %(message)s", stream=sys.stdout, force=True)
def f():
    logging.info("in f")
"""
    ),
)

case(
    "a finalizer speaks when its object is replaced",
    10,
    """
# %% a
class D:
    def __del__(self): print("gone")
# %% b
d = D()
# %% c
d = None
# %% d
print("end")
""",
    sets(d="print('END')"),
)

_HASHED = """
# %% a
class N: pass
def key(o): return hash(o)
# %% b
n = N(); table = {key(n): 'a'}
# %% c
r = key(n) in table
print(r)
"""
case(
    "a hash of an address, in a function of another cell",
    10,
    _HASHED,
    sets(c="r = (key(n) in table, 1)\nprint(r)"),
    "r",
    rerun="c",
    skip="a",
    telling=True,
)

case(
    "an address in a text that is kept",
    10,
    """
# %% a
class N: pass
n = N(); shown = repr(n)
# %% b
r = shown == repr(n)
print(r)
""",
    sets(b="r = (shown == repr(n), 2)\nprint(r)"),
    "r",
    rerun="b",
    telling=True,
)

case(
    "the order of a set of objects",
    10,
    """
# %% a
class N:
    def __init__(self, v): self.v = v
st = {N(i) for i in range(9)}
# %% b
order = [n.v for n in st]
# %% c
r = order == [n.v for n in st]
print(r)
""",
    sets(c="r = (order == [n.v for n in st], 1)\nprint(r)"),
    "r",
    rerun="c",
    shown="c",
)

case(
    "a dataclass derived from one whose list grows",
    10,
    """
# %% a
from dataclasses import dataclass
@dataclass
class B:
    x: int = 0
    seen = []
    def __post_init__(self): B.seen.append(self.x)
# %% b
@dataclass
class D(B):
    y: int = 1
# %% c
a1 = D(5)
# %% d
b1 = B(6)
# %% e
r = (B.seen, a1 == D(5), type(a1) is D, isinstance(a1, B))
print(r)
""",
    sets(d="b1 = B(7)"),
    "r; B.seen",
    rerun="d e",
    skip="a b c",
    telling=True,
)
