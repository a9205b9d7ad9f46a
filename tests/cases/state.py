"""What a notebook holds: objects changed in place, objects with several names, cells that run in another order."""

from .case import both, case, deletes, inserts, moves, same, sets

# -- in place ----------------------------------------------------------------------------------------------------------

case(
    "a slice of an array is assigned",
    5,
    """
# %% a
import numpy as np
x = np.zeros(6)
# %% b
x[1:3] = 1
# %% c
s = x.sum()
print(s)
""",
    sets(b="x[1:3] = 2"),
    "s; x.tolist()",
    rerun="b c",
    skip="a",
    telling=True,
)

case(
    "np.put, fill, sort and out=",
    5,
    """
# %% a
import numpy as np
x = np.array([3., 1., 2.]); y = x.copy(); z = np.empty(3)
# %% b
np.put(x, [0], 9); y.sort(); np.add(x, y, out=z)
# %% c
y.fill(7)
# %% d
print(x, y, z)
""",
    sets(c="y.fill(8)"),
    "x.tolist(); y.tolist(); z.tolist()",
    rerun="c d",
    skip="a b",
)

case(
    "df.loc and a new column",
    5,
    """
# %% a
import pandas as pd
df = pd.DataFrame({'v': [1, 2, 3]})
# %% b
df.loc[df.v > 1, 'v'] = 0
# %% c
df['w'] = df.v + 1
# %% d
df
""",
    sets(b="df.loc[df.v > 2, 'v'] = 0"),
    "df.to_dict('list')",
    rerun="b c d",
    skip="a",
)

case(
    "columns renamed, index set",
    5,
    """
# %% a
import pandas as pd
df = pd.DataFrame({'v': [1, 2], 'k': ['x', 'y']})
# %% b
df.columns = ['value', 'key']
# %% c
df.set_index('key', inplace=True)
# %% d
df.drop(columns='value', inplace=True) if 0 else None
r = df.loc['y'].tolist()
print(r)
""",
    sets(d="r = df.loc['x'].tolist()\nprint(r)"),
    "r; list(df.columns)",
    rerun="d",
    skip="a b c",
)

case(
    "list.sort by a key defined earlier",
    5,
    """
# %% a
xs = [3, 1, 2]
def key(x): return -x
# %% b
xs.sort(key=key)
# %% c
first = xs[0]
print(first)
""",
    sets(a="xs = [3, 1, 2]\ndef key(x): return x"),
    "first; xs",
    rerun="a b c",
)

case(
    "dict.update and setdefault",
    5,
    """
# %% a
d = {'a': 1}
# %% b
d.update(b=2); d.setdefault('c', []).append(1)
# %% c
d['c'].append(2)
# %% d
print(d)
""",
    sets(c="d['c'].append(3)"),
    "d",
    rerun="c d",
    skip="a b",
)

case(
    "set.add and discard",
    5,
    """
# %% a
s = {1, 2}
# %% b
s.add(3); s.discard(1)
# %% c
s |= {9}
print(sorted(s))
""",
    sets(b="s.add(4)"),
    "sorted(s)",
    rerun="b c",
    skip="a",
)

case(
    "an attribute of an object",
    5,
    """
# %% a
class Box: pass
b = Box(); b.n = 1
# %% b
b.n += 1
# %% c
setattr(b, 'm', b.n * 10)
# %% d
print(vars(b))
""",
    sets(b="b.n += 2"),
    "vars(b)",
    rerun="b c d",
    skip="a",
)

case(
    "deep inside",
    5,
    """
# %% a
cfg = {'model': {'layers': [{'n': 1}, {'n': 2}]}}
# %% b
cfg['model']['layers'][1]['n'] = 5
# %% c
t = sum(l['n'] for l in cfg['model']['layers'])
print(t)
""",
    sets(b="cfg['model']['layers'][1]['n'] = 6"),
    "t; cfg",
    rerun="b c",
    skip="a",
)

case(
    "changed by a function",
    5,
    """
# %% a
log = []
def note(x): log.append(x)
# %% b
note('one')
# %% c
n = len(log)
print(n, log)
""",
    sets(b="note('one'); note('two')"),
    "n; log",
    rerun="b c",
    skip="a",
)

case(
    "changed by a method through a property",
    5,
    """
# %% a
class C:
    def __init__(self): self._v = [0]
    @property
    def v(self): return self._v
c = C()
# %% b
c.v.append(1)
# %% c
c.v[0] += 1; r = list(c.v)
print(r)
""",
    sets(b="c.v.append(2)"),
    "r",
    rerun="b c",
    skip="a",
)

case(
    "a walk with map and lambda",
    5,
    """
# %% a
rows = [{'v': 1}, {'v': 2}]
# %% b
list(map(lambda r: r.update(v=r['v'] * 2), rows))
# %% c
s = [r['v'] for r in rows]
print(s)
""",
    sets(b="list(map(lambda r: r.update(v=r['v'] * 3), rows))"),
    "s",
    rerun="b c",
    skip="a",
)

case(
    "changed by a default argument",
    5,
    """
# %% a
def collect(x, into=[]):
    into.append(x)
    return list(into)
# %% b
r1 = collect(1)
# %% c
r2 = collect(2)
print(r1, r2)
""",
    sets(c="r2 = collect(3)\nprint(r1, r2)"),
    "r1; r2; collect.__defaults__",
    rerun="c",
    skip="a b",
)

case(
    "a bytearray and an array.array",
    5,
    """
# %% a
import array
b = bytearray(b'abc'); a = array.array('i', [1, 2])
# %% b
b[0] = 0x7a; a.append(3)
# %% c
print(b, a)
""",
    sets(b="b[0] = 0x79; a.append(4)"),
    "b; a",
    rerun="b c",
    skip="a",
)

case(
    "del of an item and of a name",
    5,
    """
# %% a
d = {'a': 1, 'b': 2}; tmp = 5
# %% b
del d['a'], tmp
# %% c
r = (list(d), 'tmp' in globals())
print(r)
""",
    sets(b="del d['b']"),
    "r; d",
    rerun="b c",
    skip="a",
)

case(
    "a counter and a deque",
    5,
    """
# %% a
from collections import Counter, deque
c = Counter(); q = deque(maxlen=2)
# %% b
c.update('aab'); q.append(1)
# %% c
q.extend([2, 3]); r = (c.most_common(1), list(q))
print(r)
""",
    sets(b="c.update('abb'); q.append(1)"),
    "r",
    rerun="b c",
    skip="a",
)

case(
    "fit changes an estimator",
    5,
    """
# %% a
import numpy as np
from sklearn.linear_model import LinearRegression
X = np.arange(6.).reshape(-1, 1); y = X.ravel() * 2
m = LinearRegression()
# %% b
m.fit(X, y)
# %% c
p = m.predict([[10.]]).round(3).tolist()
print(p)
# %% d
m.set_params(fit_intercept=False); q = m.get_params()['fit_intercept']
""",
    sets(c="p = m.predict([[11.]]).round(3).tolist()\nprint(p)"),
    "p; q",
    rerun="c",
    skip="a b d",
)

case(
    "inplace of a series that is a column",
    5,
    """
# %% a
import pandas as pd
df = pd.DataFrame({'v': [1., None]})
s = df['v']
# %% b
s.iloc[0] = 9
# %% c
r = df.v.tolist()
print(r, s.tolist())
""",
    sets(b="s.iloc[0] = 8"),
    "r; s.tolist()",
    rerun="b c",
    skip="a",
)

case(
    "a StringIO written cell by cell",
    5,
    """
# %% a
import io
buf = io.StringIO()
# %% b
buf.write('one ')
# %% c
print('two', file=buf)
# %% d
r = buf.getvalue()
print(r)
""",
    sets(c="print('three', file=buf)"),
    "r; buf.tell()",
    rerun="c d",
    skip="a b",
)

# -- aliases ------------------------------------------------------------------------------------------------------------

case(
    "a view of an array",
    6,
    """
# %% a
import numpy as np
x = np.zeros(4); v = x[1:3]
# %% b
y = x.sum()
# %% c
v[:] = 5
# %% d
t = x.sum()
print(t)
""",
    sets(c="v[:] = 6"),
    "t; y; v.base is x",
    rerun="c d",
    skip="a b",
    telling=True,
)

case(
    "a transposed and reshaped view across cells",
    6,
    """
# %% a
import numpy as np
x = np.arange(6)
# %% b
m = x.reshape(2, 3)
# %% c
t = m.T
# %% d
t[0, 0] = 100
# %% e
r = int(x[0])
print(r)
""",
    sets(d="t[0, 0] = 200"),
    "r; m.base is x; np.shares_memory(t, x)",
    rerun="d e",
    skip="a b c",
)

case(
    "two names for one frame",
    6,
    """
# %% a
import pandas as pd
df = pd.DataFrame({'v': [1, 2]})
# %% b
alias = df
# %% c
alias['w'] = 1
# %% d
cols = list(df.columns)
print(cols)
""",
    sets(c="alias['z'] = 1"),
    "cols; alias is df",
    rerun="c d",
    skip="a b",
    telling=True,
)

case(
    "a copy made instead of an alias",
    6,
    """
# %% a
a = [1]
# %% b
b = a
# %% c
b.append(2)
# %% d
print(a)
""",
    sets(b="b = list(a)"),
    "a; b; a is b",
    rerun="b c d",
    skip="a",
)

case(
    "an alias made instead of a copy",
    6,
    """
# %% a
a = [1]
# %% b
b = list(a)
# %% c
b.append(2)
# %% d
print(a)
""",
    sets(b="b = a"),
    "a; b; a is b",
    rerun="b c d",
    skip="a",
)

case(
    "a closure over a list",
    6,
    """
# %% a
def make():
    items = []
    def add(x): items.append(x); return len(items)
    def get(): return items
    return add, get
add, get = make()
# %% b
add('x')
# %% c
n = add('y')
# %% d
print(get(), n)
""",
    sets(c="n = add('z')"),
    "get(); n",
    rerun="c d",
    skip="a b",
)

case(
    "an attribute of a class",
    6,
    """
# %% a
class Reg:
    items = []
# %% b
r1, r2 = Reg(), Reg()
# %% c
r1.items.append(1)
# %% d
s = (r2.items, Reg.items)
print(s)
""",
    sets(c="r1.items.append(2)"),
    "s; r1.items is r2.items",
    rerun="c d",
    skip="a b",
    telling=True,
)

case(
    "a list that contains itself",
    6,
    """
# %% a
loop = [1]; loop.append(loop)
# %% b
n = 1
# %% c
loop[0] = n + 1
print(loop)
""",
    sets(b="n = 5"),
    "loop[0]; loop[1] is loop",
    rerun="b c",
    skip="a",
)

case(
    "a bound method as an alias",
    6,
    """
# %% a
xs = []
push = xs.append
# %% b
push(1)
# %% c
push(2); r = list(xs)
print(r)
""",
    sets(c="push(3); r = list(xs)\nprint(r)"),
    "r; push.__self__ is xs",
    rerun="c",
    skip="a b",
)

case(
    "the same object in two containers",
    6,
    """
# %% a
p = {'n': 0}
left = [p]
# %% b
right = (p,)
# %% c
left[0]['n'] += 1
# %% d
r = right[0]['n']
print(r)
""",
    sets(c="left[0]['n'] += 2"),
    "r; left[0] is right[0]; p",
    rerun="c d",
    skip="a b",
)

case(
    "an alias dropped before the change",
    6,
    """
# %% a
a = [1]; b = a
# %% b
b = None
# %% c
a.append(2)
# %% d
print(a, b)
""",
    sets(c="a.append(3)"),
    "a; b",
    rerun="c d",
    skip="a b",
)

case(
    "an iterator over a list that grows",
    6,
    """
# %% a
xs = [1, 2]
it = iter(xs)
# %% b
next(it)
# %% c
xs.append(3)
# %% d
rest = list(it)
print(rest)
""",
    sets(c="xs.append(4)"),
    "rest",
    rerun="c d",
)

case(
    "a generator over a list that grows",
    6,
    """
# %% a
xs = [1, 2]
gen = (x * 10 for x in xs)
# %% b
xs.append(3)
# %% c
r = list(gen)
print(r)
""",
    sets(b="xs.append(4)"),
    "r",
    rerun="b c",
    telling=True,
)

case(
    "a weak reference",
    6,
    """
# %% a
import weakref
class T: pass
t = T(); t.v = 1
w = weakref.ref(t)
# %% b
t.v = 2
# %% c
r = w().v
print(r)
""",
    sets(b="t.v = 3"),
    "r; w() is t",
    rerun="b c",
)

case(
    "a variable named like a magic",
    6,
    """
# %% a
config = {}; history = [0]; alias = history
def load(x): return x + 1
# %% b
config['lr'] = 1
# %% c
load(2)
# %% d
history.append(5)
# %% e
print(config, alias)
""",
    sets(b="config['lr'] = 2", c="load(3)", d="history.append(6)"),
    "config; alias",
    rerun="b c d e",
    skip="a",
    telling=True,
)

case(
    "a count of instances on the class",
    6,
    """
# %% a
class C:
    n = 0
    def __init__(self): type(self).n += 1
# %% b
one = C()
# %% c
two = C()
# %% d
r = C.n
print(r)
""",
    sets(c="two = [C(), C()]"),
    "r; C.n",
    rerun="c d",
    skip="a b",
    telling=True,
)

case(
    "a registry filled by subclasses",
    6,
    """
# %% a
class Base:
    registry = {}
    def __init_subclass__(cls, **kw): Base.registry[cls.__name__] = cls
# %% b
class One(Base): pass
# %% c
class Two(Base): pass
# %% d
names = sorted(Base.registry)
print(names)
""",
    sets(c="class Three(Base): pass"),
    "names; sorted(Base.registry); Base.registry['One'] is One",
    rerun="c d",
    skip="a b",
)

case(
    "a registry filled by a decorator",
    6,
    """
# %% a
handlers = {}
def register(f):
    handlers[f.__name__] = f
    return f
# %% b
@register
def one(): return 1
# %% c
@register
def two(): return 2
# %% d
r = {k: h() for k, h in handlers.items()}
print(r)
""",
    sets(b="@register\ndef one(): return 11"),
    "r; handlers['one'] is one",
    rerun="b d",
    skip="a",
)

case(
    "a dictionary's views",
    6,
    """
# %% a
d = {'a': 1}
keys = d.keys()
# %% b
d['b'] = 2
# %% c
r = list(keys)
print(r)
""",
    sets(b="d['c'] = 2"),
    "r",
    rerun="b c",
    telling=True,
)

case(
    "a chain map and a proxy",
    6,
    """
# %% a
from collections import ChainMap
from types import MappingProxyType
base = {'x': 1}
both = ChainMap({}, base); proxy = MappingProxyType(base)
# %% b
base['x'] = 2
# %% c
r = (both['x'], proxy['x'])
print(r)
""",
    sets(b="base['x'] = 3"),
    "r",
    rerun="b c",
    telling=True,
)

case(
    "an alias through a default argument",
    6,
    """
# %% a
cache = {}
def get(k, cache=cache):
    cache[k] = cache.get(k, 0) + 1
    return cache[k]
# %% b
get('a')
# %% c
n = get('a'); m = cache['a']
print(n, m)
""",
    sets(c="n = get('a') + get('a'); m = cache['a']\nprint(n, m)"),
    "n; m; cache",
    rerun="c",
    skip="a b",
)

case(
    "an object that knows its parent",
    6,
    """
# %% a
class Node:
    def __init__(self, parent=None):
        self.parent, self.children = parent, []
        if parent: parent.children.append(self)
root = Node()
# %% b
kid = Node(root)
# %% c
kid.name = 'kid'
# %% d
r = root.children[0].name
print(r)
""",
    sets(c="kid.name = 'son'"),
    "r; kid.parent is root; root.children[0] is kid",
    rerun="c d",
    skip="a b",
)

case(
    "a memoryview",
    6,
    """
# %% a
buf = bytearray(4)
view = memoryview(buf)[1:3]
# %% b
view[0] = 65
# %% c
r = bytes(buf)
print(r)
""",
    sets(b="view[0] = 66"),
    "r",
    rerun="b c",
)

case(
    "a frame and a column taken from it, later changed by a third name",
    6,
    """
# %% a
import pandas as pd
frames = {'x': pd.DataFrame({'v': [1, 2]})}
df = frames['x']
# %% b
total = df.v.sum()
# %% c
frames['x'].loc[0, 'v'] = 10
# %% d
after = int(df.v.sum())
print(total, after)
""",
    sets(c="frames['x'].loc[0, 'v'] = 20"),
    "after; df is frames['x']",
    rerun="c d",
    skip="a b",
)

case(
    "an alias by star assignment and by walrus",
    6,
    """
# %% a
pair = [[0], [1]]
(first, *rest) = pair
# %% b
(last := pair[-1]).append(2)
# %% c
print(rest, first)
""",
    sets(b="(last := pair[-1]).append(3)"),
    "rest; last is rest[0]; pair",
    rerun="b c",
    skip="a",
)

# -- several mutators ------------------------------------------------------------------------------------------------------

case(
    "the second of three mutators is deleted",
    7,
    """
# %% a
d = {}
# %% b
d['b'] = 1
# %% c
d['c'] = 2
# %% d
d['d'] = 3
# %% e
print(d)
""",
    deletes("c"),
    "d",
    rerun="d e",
    skip="a b",
)

case(
    "mutators that commute are swapped",
    7,
    """
# %% a
t = 0; xs = []
# %% b
t += 1; xs.append('b')
# %% c
t += 2; xs.append('c')
# %% d
print(t, xs)
""",
    moves("a c b d"),
    "t; xs",
    rerun="c b d",
    skip="a",
    telling=True,
)

case(
    "mutators of different objects are swapped",
    7,
    """
# %% a
xs, ys = [], []
# %% b
xs.append(1)
# %% c
ys.append(2)
# %% d
print(xs, ys)
""",
    moves("a c b d"),
    "xs; ys",
    skip="a b c d",
)

case(
    "a mutation undone",
    7,
    """
# %% a
xs = [1]
# %% b
xs.append(2)
# %% c
xs.pop()
# %% d
n = sum(xs)
print(n)
""",
    both(sets(b="xs.append(9)"), same),
    "n; xs",
    rerun="b c",
    skip="a d",
)

case(
    "a snapshot before the second change",
    7,
    """
# %% a
import copy
state = {'w': [0, 0]}
# %% b
state['w'][0] = 1
# %% c
saved = copy.deepcopy(state); shallow = dict(state)
# %% d
state['w'][1] = 2
# %% e
print(saved, shallow, state)
""",
    sets(d="state['w'][1] = 3"),
    "saved; shallow; state; shallow['w'] is state['w']",
    rerun="d e",
    skip="a b c",
)

case(
    "a counter in a loop of cells",
    7,
    """
# %% a
i = 0
# %% b
i += 1
# %% c
i += 1
# %% d
i *= 10
print(i)
""",
    inserts("b", "bb", "i += 1"),
    "i",
    rerun="d",
    skip="a b",
)

case(
    "a frame built column by column",
    7,
    """
# %% a
import pandas as pd
df = pd.DataFrame({'a': [1, 2, 3]})
# %% b
df['b'] = df.a * 2
# %% c
df['c'] = df.b + 1
# %% d
df['d'] = df.a + 100
# %% e
df = df.assign(e=lambda t: t.c + t.d)
df
""",
    sets(c="df['c'] = df.b + 2"),
    "df.to_dict('list')",
    rerun="c d e",
    skip="a b",
)

case(
    "one mutator raises halfway",
    7,
    """
# %% a
xs = [1]
# %% b
xs.append(2); xs.append(1 / 0)
# %% c
xs.append(3)
print(xs)
""",
    sets(c="xs.append(4)\nprint(xs)"),
    "xs",
    rerun="c",
    skip="a b",
)

# -- inserted, deleted, moved ------------------------------------------------------------------------------------------------

case(
    "a cell inserted that rebinds",
    15,
    """
# %% a
x = 1
# %% b
y = x + 1
# %% c
print(y)
""",
    inserts("a", "n", "x = 10"),
    "x; y",
    rerun="n b c",
    skip="a",
    telling=True,
)

case(
    "a cell inserted that nobody needs",
    15,
    """
# %% a
x = 1
# %% b
y = x + 1
# %% c
print(y)
""",
    inserts("a", "n", "unused = 10"),
    "x; y",
    rerun="n",
    skip="a b c",
)

case(
    "a cell inserted at the top",
    15,
    """
# %% a
x = globals().get('base', 1)
# %% b
print(x)
""",
    inserts(None, "n", "base = 7"),
    "x",
    rerun="n a b",
)

case(
    "an import deleted",
    15,
    """
# %% a
import math
# %% b
r = math.pi
# %% c
s = 1
""",
    deletes("a"),
    "r if 'r' in globals() else None; s",
    rerun="b",
    skip="c",
)

case(
    "a definition deleted",
    15,
    """
# %% a
def f(): return 1
# %% b
def g(): return f()
# %% c
r = g()
# %% d
s = 2
""",
    deletes("a"),
    "'r' in globals(); s",
    rerun="c",
    skip="b d",
    telling=True,
)

case(
    "a redefinition deleted",
    15,
    """
# %% a
def f(): return 1
# %% b
def f(): return 2
# %% c
r = f()
print(r)
""",
    deletes("b"),
    "r",
    rerun="c",
    skip="a",
)

case(
    "a cell moved down",
    15,
    """
# %% a
x = 1
# %% b
x = 2
# %% c
y = x
print(y)
""",
    moves("b a c"),
    "x; y",
    rerun="c",
    skip="a b",
    telling=True,
)

case(
    "a cell duplicated",
    15,
    """
# %% a
x = 1
# %% b
x *= 2
# %% c
print(x)
""",
    inserts("b", "b2", "x *= 2"),
    "x",
    rerun="b2 c",
    skip="a b",
)

case(
    "a cell split in two",
    15,
    """
# %% a
a = 1
b = a + 1
c = b + 1
# %% b
print(a, b, c)
""",
    both(sets(a="a = 1"), inserts("a", "a2", "b = a + 1\nc = b + 1")),
    "a; b; c",
    rerun="a a2",
    skip="b",
)

case(
    "two cells merged",
    15,
    """
# %% a
a = 1
# %% b
b = a + 1
# %% c
print(a, b)
""",
    both(sets(a="a = 1\nb = a + 1"), deletes("b")),
    "a; b",
    rerun="a",
    skip="c",
)

case(
    "a name deleted by a cell that goes away",
    15,
    """
# %% a
x = 1; y = 2
# %% b
del y
# %% c
r = 'y' in globals()
print(r)
""",
    deletes("b"),
    "r; x; 'y' in globals()",
    rerun="c",
    skip="a",
)

case(
    "display cells moved",
    15,
    """
# %% a
x = 1
# %% b
print('b', x)
# %% c
x
# %% d
y = x + 1
""",
    moves("a c b d"),
    "x; y",
    skip="a b c d",
)

# -- big ---------------------------------------------------------------------------------------------------------------------

case(
    "a row of a large frame",
    17,
    """
# %% a
import numpy as np, pandas as pd
df = pd.DataFrame({'a': np.arange(300_000), 'b': np.arange(300_000) * .5})
# %% b
df.loc[299_999, 'b'] = -1
# %% c
s = float(df.b.sum())
print(s)
""",
    sets(b="df.loc[299_999, 'b'] = -2"),
    "s",
    rerun="b c",
    skip="a",
)

case(
    "a large array and its slice",
    17,
    """
# %% a
import numpy as np
big = np.zeros(2_000_000); tail = big[-10:]
# %% b
tail[:] = 1
# %% c
s = float(big.sum())
print(s)
""",
    sets(b="tail[:] = 2"),
    "s; tail.base is big",
    rerun="b c",
    skip="a",
    telling=True,
)

case(
    "one of many lists",
    17,
    """
# %% a
table = {i: [i] * 5 for i in range(20_000)}
# %% b
table[19_999][4] = 'x'
# %% c
r = table[19_999]
print(r)
""",
    sets(b="table[19_999][4] = 'y'"),
    "r; len(table)",
    rerun="b c",
    skip="a",
)

case(
    "many strings",
    17,
    """
# %% a
words = [f'word{i}' for i in range(100_000)]
# %% b
words[50_000] = 'changed'
# %% c
n = sum(map(len, words))
print(n)
""",
    sets(b="words[50_000] = 'changed again'"),
    "n",
    rerun="b c",
    skip="a",
)

case(
    "a deep nest",
    17,
    """
# %% a
nest = []
for _ in range(500): nest = [nest]
# %% b
depth = 0; n = nest
while n: n, depth = n[0], depth + 1
print(depth)
# %% c
u = 1
""",
    sets(c="u = 2"),
    "depth; u",
    rerun="c",
    skip="a b",
)

case(
    "an object array and a column of lists",
    17,
    """
# %% a
import numpy as np, pandas as pd
o = np.array([[1], {'a': 2}, None], dtype=object)
df = pd.DataFrame({'l': [[1], [2, 3]]})
# %% b
o[1]['a'] = 5; df.l[0].append(9)
# %% c
r = (o[1], df.l.tolist())
print(r)
""",
    sets(b="o[1]['a'] = 6; df.l[0].append(8)"),
    "r",
    rerun="b c",
    skip="a",
)

case(
    "a sparse matrix",
    17,
    """
# %% a
import scipy.sparse as sp
m = sp.eye(500, format='lil')
# %% b
m[3, 4] = 2
# %% c
s = float(m.tocsr().sum())
print(s)
""",
    sets(b="m[3, 4] = 3"),
    "s",
    rerun="b c",
    skip="a",
)

# -- out of order ---------------------------------------------------------------------------------------------------------------

case(
    "the definition stood below its use",
    19,
    """
# %% use
r = f(2)
print(r)
# %% define
def f(x): return x * 2
""",
    moves("define use"),
    "r",
    order="define use",
    skip="define use",
)

case(
    "a cell run twice",
    19,
    """
# %% a
n = 0
# %% b
n += 1
# %% c
print(n)
""",
    same,
    "n",
    order="a b b c",
    skip="a b",
)

case(
    "a cell run twice, then others",
    19,
    """
# %% a
xs = []
# %% b
xs.append(len(xs))
# %% c
r = sum(xs)
print(r, xs)
""",
    same,
    "r; xs",
    order="a b b b c",
    rerun="c",
    skip="a b",
    telling=True,
)

case(
    "the first cell run again at the end",
    19,
    """
# %% a
import collections
c = collections.Counter()
# %% b
c['x'] += 1
# %% c
r = dict(c)
print(r)
""",
    same,
    "r; c",
    order="a b c a",
    skip="a b c",
)

case(
    "backwards",
    19,
    """
# %% a
try: x = y
except NameError: x = 'none'
# %% b
try: y = z
except NameError: y = 'none'
# %% c
z = 3
""",
    same,
    "x; y; z",
    order="c b a",
    rerun="a b",
    skip="c",
)

case(
    "only the last cell had been run",
    19,
    """
# %% a
x = 1
# %% b
y = x + 1 if 'x' in dir() else 0
# %% c
print(globals().get('y'))
""",
    same,
    "x; y",
    order="c",
    rerun="a b c",
)

case(
    "an old version of a function was used",
    19,
    """
# %% a
def f(): return 1
# %% b
r = f()
# %% c
def f(): return 2
# %% d
s = f() + r
print(s)
""",
    same,
    "r; s",
    order="a c b d",
    rerun="b d",
    skip="a c",
)

case(
    "edited back and forth",
    19,
    """
# %% a
k = 1
# %% b
r = [k] * 3
# %% c
print(r)
""",
    sets(a="k = 1  # as before"),
    "r",
    order="a b c b a",
    skip="a b c",
)


# -- what is open, and what was -----------------------------------------------------------------------------------------

case(
    "a descriptor known by its number",
    11,
    """
# %% a
import os
fd = os.open("text.txt", os.O_RDONLY)
# %% b
first = os.read(fd, 2)
# %% c
u = 1
# %% d
rest = os.read(fd, 2)
""",
    sets(d="rest = os.read(fd, 10); os.close(fd)"),
    "first; rest",
    rerun="d",
    skip="b c",
    files={"text.txt": "abcdef"},
    telling=True,
)

case(
    "both ends of a pipe",
    11,
    """
# %% a
import os
out, into = os.pipe()
# %% b
os.write(into, b"hello");
# %% c
first = os.read(out, 2)
# %% d
rest = os.read(out, 2)
""",
    sets(d="rest = os.read(out, 10); os.close(out); os.close(into)"),
    "first; rest",
    rerun="d",
    skip="b c",
)

case(
    "an asynchronous generator half consumed",
    11,
    """
# %% a
async def numbers():
    for n in range(5): yield n
# %% b
g = numbers(); first = await anext(g)
# %% c
rest = await anext(g)
""",
    sets(c="rest = [n async for n in g]"),
    "first; rest",
    rerun="c",
    skip="a b",
    telling=True,
)

case(
    "an archive that is open for writing",
    11,
    """
# %% a
import zipfile, itertools
z = zipfile.ZipFile("z.zip", "w"); z.writestr("a", "x")
# %% b
z.close(); names = zipfile.ZipFile("z.zip").namelist()
""",
    sets(b="z.writestr('b', 'y'); z.close(); names = zipfile.ZipFile('z.zip').namelist()"),
    "names",
    rerun="b",
)

case(
    "files that were closed",
    11,
    """
# %% a
open("log.txt", "w").write("1");
# %% b
with open("log.txt", "a") as f: f.write("2")
# %% c
with open("log.txt") as f: text = f.read()
# %% d
r = (f.closed, f.name, f.mode)
""",
    sets(
        d="r = (f.closed, f.name, f.mode, f.encoding, f.newlines)\ntry: f.read()\nexcept ValueError as e: why = str(e)"
    ),
    "text; r; why; open('log.txt').read()",
    rerun="d",
    skip="a b c",
    telling=True,
)

case(
    "a weak dictionary's value, kept by another name",
    6,
    """
# %% a
import weakref
class N: pass
wv = weakref.WeakValueDictionary(); n1 = N(); wv['a'] = n1
# %% b
del n1
# %% c
k0 = list(wv)
print(k0)
""",
    sets(b="n2 = n1; del n1"),
    "k0; list(wv)",
    rerun="b c",
    telling=True,
)


case(
    "thirty thousand objects of a class",
    17,
    """
# %% a
class P:
    def __init__(self, x): self.x = x
points = [P(n) for n in range(30_000)]
# %% b
points[9].x = -1
# %% c
total = sum(p.x for p in points[:20])
""",
    sets(b="points[9].x = -5"),
    "total; type(points[0]) is P",
    rerun="b c",
    skip="a",
)
