# ruff: noqa: E501 - cells are quoted as users write them
"""What a notebook is given: its constants, its files, the environment."""

import shutil
import sqlite3
from pathlib import Path

from .case import OLD, both, case, does, removes, replaces, same, sets, touches, writes

# -- unchanged --------------------------------------------------------------------------------------------------------

case(
    "all kinds of values",
    1,
    """
# %% a
import collections, datetime, decimal, fractions, pathlib, re, enum, dataclasses
class Colour(enum.Enum): RED = 1; BLUE = 2
@dataclasses.dataclass
class P:
    x: int
    y: list = dataclasses.field(default_factory=list)
# %% b
values = [1, 2.5, 1j, None, True, 'ž', b'b', (1,), {1, 2}, frozenset([3]), range(3), slice(1, 2), ..., NotImplemented,
  collections.Counter('aab'), collections.OrderedDict(a=1), collections.defaultdict(list, {1: [2]}), collections.deque([1], 3),
  datetime.date(2020, 1, 2), datetime.timedelta(3), decimal.Decimal('1.10'), fractions.Fraction(1, 3), pathlib.Path('a/b'),
  re.compile('a+'), Colour.RED, P(1, [2]), float('nan'), float('inf'), -0.0, int, ValueError('x'), bytearray(b'x'), memoryview(b'y').tobytes()]
values
# %% c
text = '\\n'.join(map(repr, values))
print(text)
""",
    same,
    "text; values[24] is Colour.RED; values[25].y; len(values)",
    skip="a b c",
    telling=True,
)

case(
    "a small analysis",
    1,
    """
# %% a
import numpy as np, pandas as pd
# %% b
df = pd.read_csv('d.csv', parse_dates=['day'])
df.head()
# %% c
df['w'] = df.v * 2
m = df.groupby(df.day.dt.month).w.agg(['mean', 'std', 'count'])
m
# %% d
print(m.loc[1, 'mean'], df.dtypes.to_dict())
# %% e
c = np.corrcoef(df.v, df.w)
c.round(3)
""",
    same,
    "m.to_dict(); df.w.sum(); c.tolist()",
    skip="a b c d e",
    files={"d.csv": "day,v\n2020-01-01,1\n2020-01-03,4\n2020-02-01,9\n"},
    telling=True,
)

case(
    "a loop variable and a comprehension",
    1,
    """
# %% a
total = 0
for i, name in enumerate(['x', 'y']):
    total += i
else:
    done = True
# %% b
squares = {k: k * k for k in range(total + 2)}
print(i, name, done, squares)
""",
    same,
    "i; name; total; squares",
    skip="a b",
)

# -- a constant edited --------------------------------------------------------------------------------------------------

case(
    "an edit that changes nothing",
    2,
    """
# %% a
n = 2 + 2
# %% b
x = n * 10
print(x)
""",
    sets(a="n = 4"),
    "n; x",
    rerun="a",
    skip="b",
)

case(
    "an int becomes a bool",
    2,
    """
# %% a
n = 1
# %% b
x = [n, n + n]
print(x)
""",
    sets(a="n = True"),
    "n; x",
    rerun="a b",
)

case(
    "minus zero",
    2,
    """
# %% a
z = 0.0
# %% b
import math
s = math.copysign(1, z)
""",
    sets(a="z = -0.0"),
    "z; s",
    rerun="a b",
)

case(
    "a list becomes a tuple",
    2,
    """
# %% a
n = [1, 2]
# %% b
x = str(n)
print(x)
""",
    sets(a="n = (1, 2)"),
    "n; x",
    rerun="a b",
)

case(
    "the order of columns",
    2,
    """
# %% a
import pandas as pd
df = pd.DataFrame({'a': [1], 'b': [2]})
# %% b
s = list(df)
df
""",
    sets(a="import pandas as pd\ndf = pd.DataFrame({'b': [2], 'a': [1]})"),
    "s",
    rerun="a b",
)

case(
    "the name of an index",
    2,
    """
# %% a
import pandas as pd
s = pd.Series([1, 2], index=pd.Index(['x', 'y'], name='k'), name='v')
# %% b
r = s.reset_index().columns.tolist()
print(r)
""",
    sets(a="import pandas as pd\ns = pd.Series([1, 2], index=pd.Index(['x', 'y'], name='q'), name='v')"),
    "r",
    rerun="a b",
)

case(
    "attrs and flags of a frame",
    2,
    """
# %% a
import pandas as pd
df = pd.DataFrame({'a': [1]}); df.attrs['unit'] = 'm'
# %% b
u = df.attrs['unit']
print(u)
""",
    sets(a="import pandas as pd\ndf = pd.DataFrame({'a': [1]}); df.attrs['unit'] = 'km'"),
    "u",
    rerun="a b",
)

case(
    "memory order of an array",
    2,
    """
# %% a
import numpy as np
x = np.ones((2, 3), order='C')
# %% b
r = (x.flags['C_CONTIGUOUS'], x.strides)
print(r)
""",
    sets(a="import numpy as np\nx = np.ones((2, 3), order='F')"),
    "r",
    rerun="a b",
)

case(
    "a read-only array",
    2,
    """
# %% a
import numpy as np
x = np.zeros(2)
# %% b
try:
    x[0] = 1; r = 'set'
except ValueError: r = 'refused'
print(r)
""",
    sets(a="import numpy as np\nx = np.zeros(2); x.flags.writeable = False"),
    "r; x.tolist()",
    rerun="a b",
)

case(
    "a string with the same hash key",
    2,
    """
# %% a
d = {1: 'int'}
# %% b
k = type(next(iter(d)))
""",
    sets(a="d = {1.0: 'int'}"),
    "k; d",
    rerun="a b",
)

case(
    "a categorical's order",
    2,
    """
# %% a
import pandas as pd
c = pd.Categorical(['lo', 'hi'], categories=['lo', 'hi'], ordered=True)
# %% b
m = c.max()
print(m, list(c.categories))
""",
    sets(a="import pandas as pd\nc = pd.Categorical(['lo', 'hi'], categories=['hi', 'lo'], ordered=True)"),
    "m",
    rerun="a b",
)

case(
    "a cell loses its semicolon",
    2,
    """
# %% a
x = [1, 2]
# %% b
x;
""",
    sets(b="x"),
    "x",
    rerun="b",
    skip="a",
)

case(
    "a constant in the middle",
    2,
    """
# %% a
import pandas as pd
raw = pd.DataFrame({'v': range(20)})
# %% b
limit = 5
# %% c
small = raw[raw.v < limit]
# %% d
mean = raw.v.mean()
print(mean)
# %% e
n = len(small)
print(n)
""",
    sets(b="limit = 7"),
    "n; mean",
    rerun="b c e",
    skip="a d",
    telling=True,
)

# -- comments and layout -------------------------------------------------------------------------------------------------

case(
    "a docstring edited",
    3,
    """
# %% a
def f():
    '''One.'''
    return 1
# %% b
d = f.__doc__
# %% c
r = f()
""",
    sets(a="def f():\n    '''Two.'''\n    return 1"),
    "d; r",
    rerun="a b",
)

case(
    "quotes and parentheses",
    3,
    """
# %% a
x = "one"
y = (1 + 2)
# %% b
print(x, y)
""",
    sets(a="x = 'one'; y = 1 + 2"),
    "x; y",
    skip="a b",
)

case(
    "a line number that shows",
    3,
    """
# %% a
def f():
    return 1 / 0
# %% b
import traceback
try:
    f()
except ZeroDivisionError as e:
    n = e.__traceback__.tb_next.tb_lineno
print(n)
""",
    sets(a="# moved\n\n\ndef f():\n    return 1 / 0"),
    "n",
    shown="b",
    telling=True,
)

case(
    "a comment in the source that is shown",
    3,
    """
# %% a
def f(x):
    return x  # one
# %% b
import inspect
s = inspect.getsource(f)
print(s)
""",
    sets(a="def f(x):\n    return x  # two"),
    "s",
    telling=True,
)

case(
    "a comment in a shell script",
    3,
    """
# %% a
%%bash
echo hello # one
# %% b
x = 1
""",
    sets(a="%%bash\necho hello # two"),
    "x",
    skip="b",
)

case(
    "a layout edit of everything",
    3,
    """
# %% a
import math
# %% b
def area(r): return math.pi*r**2
# %% c
xs = [area(r) for r in (1,2,3)]
print(xs)
""",
    sets(
        a="import math  # maths",
        b="def area(r):\n    # pi r^2\n    return math.pi * r**2",
        c="xs = [\n    area(r)\n    for r in (1, 2, 3)\n]\nprint(xs)",
    ),
    "xs",
    skip="a b c",
    telling=True,
)

case(
    "a semicolon before a comment",
    3,
    """
# %% a
x = 5
# %% b
x;  # quiet
# %% c
x + 0  # shown;
""",
    sets(b="x  # quiet", c="x + 0"),
    "x",
    rerun="b",
    skip="a c",
    telling=True,
)

case(
    "layout under %%capture and %%time",
    3,
    """
# %% a
x = 5
# %% b
%%capture out
# first
print( x )
# %% c
%%time
y = x+1  # second
# %% d
out.show()
print(y)
""",
    sets(b="%%capture out\nprint(x)  # first", c="%%time\n# second\ny = (x + 1)"),
    "y; out.stdout",
    skip="a b c d",
    shown="d",
    telling=True,
)

case(
    "a semicolon under %%capture",
    3,
    """
# %% a
x = 5
# %% b
%%capture out
x;  # quiet
# %% c
n = len(out.outputs)
print(n)
""",
    sets(b="%%capture out\nx  # quiet"),
    "n",
    rerun="b c",
    skip="a",
)

case(
    "a function under %%capture, its text shown",
    3,
    """
# %% a
%%capture out
def f(): return 1  # one
# %% b
import inspect
print(inspect.getsource(f))
""",
    sets(a="%%capture out\n# one\ndef f(): return 1"),
    rerun="b",
)

case(
    "line numbers of disassembled code",
    3,
    """
# %% a
import dis
def f(x):
    return x
# %% b
dis.dis(f)
""",
    sets(a="import dis\n\n\ndef f(x):\n    return x"),
    rerun="b",
)

case(
    "an earlier input by another way",
    3,
    """
# %% a
x = 1
# %% b
s = get_ipython().user_ns["In"][1]
print(s)
# %% c
t = get_ipython().history_manager.input_hist_raw[1]
print(t)
""",
    sets(a="x = 1  # one"),
    "s; t",
    rerun="b c",
    skip="a",
    telling=True,
)

# -- files ----------------------------------------------------------------------------------------------------------------

case(
    "a file touched",
    4,
    """
# %% a
text = open('a.txt').read()
# %% b
print(text)
""",
    touches("a.txt"),
    "text",
    skip="a b",
    files={"a.txt": "one"},
)

case(
    "same size and time",
    4,
    """
# %% a
text = open('a.txt').read()
# %% b
print(text)
""",
    writes("a.txt", "two", OLD),
    "text",
    rerun="a b",
    files={"a.txt": "one"},
    telling=True,
)

case(
    "a file that the cell does not read",
    4,
    """
# %% a
text = open('a.txt').read()
# %% b
print(text)
""",
    writes("b.txt", "two"),
    "text",
    skip="a b",
    files={"a.txt": "one", "b.txt": "one"},
)

case(
    "a glob finds one more",
    4,
    """
# %% a
import glob
names = sorted(glob.glob('d/*.csv'))
# %% b
n = len(names)
print(names)
""",
    writes("d/c.csv", ""),
    "n; names",
    rerun="a b",
    files={"d/a.csv": "", "d/b.csv": ""},
)

case(
    "a folder listed gets a file of another kind",
    4,
    """
# %% a
import pathlib
names = sorted(p.name for p in pathlib.Path('d').rglob('*.csv'))
# %% b
n = len(names)
print(names)
""",
    writes("d/e/c.csv", ""),
    "n; names",
    rerun="a b",
    files={"d/a.csv": "", "d/e/b.txt": ""},
)

case(
    "a folder walked",
    4,
    """
# %% a
import os
found = sorted((r, tuple(sorted(f))) for r, d, f in os.walk('d'))
# %% b
print(found)
""",
    does(lambda f: shutil.rmtree(f / "d/e")),
    "found",
    rerun="a b",
    files={"d/a": "", "d/e/b": ""},
)

case(
    "a file that was absent",
    4,
    """
# %% a
import os
n = 3 if os.path.exists('flag') else 2
# %% b
print(n)
""",
    writes("flag", ""),
    "n",
    rerun="a b",
)

case(
    "a configuration in the parent folder appears",
    4,
    """
# %% a
import configparser
c = configparser.ConfigParser()
found = c.read(['etc/site.ini', 'local.ini'])
v = c['s']['v']
# %% b
print(v)
""",
    writes("local.ini", "[s]\nv=2\n"),
    "v; found",
    rerun="a b",
    files={"etc/site.ini": "[s]\nv=1\n"},
)


def _sql(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


case(
    "a SQLite database made by a cell",
    4,
    """
# %% a
import sqlite3, contextlib, os
if not os.path.exists('d.db'):
    with contextlib.closing(sqlite3.connect('d.db')) as con, con:
        con.execute('create table t(v)'); con.execute('insert into t values (1)')
# %% b
with contextlib.closing(sqlite3.connect('d.db')) as con:
    rows = con.execute('select v from t order by v').fetchall()
# %% c
print(rows)
""",
    does(lambda f: _sql(f / "d.db", "insert into t values (2)")),
    "rows",
    rerun="b c",
    left=True,
)

case(
    "a connection used by the next cell",
    4,
    """
# %% a
import sqlite3
con = sqlite3.connect('d.db')
con.execute('create table if not exists t(v)')
con.commit()
# %% b
rows = con.execute('select v from t order by v').fetchall()
# %% c
print(rows)
""",
    does(lambda f: _sql(f / "d.db", "insert into t values (2)")),
    "rows",
    rerun="b c",
    left=True,
)

case(
    "pandas reads a file by way of C",
    4,
    """
# %% a
import pandas as pd
# %% b
df = pd.read_csv('d.csv', index_col=0)
# %% c
s = df.v.sum()
print(s)
""",
    writes("d.csv", "k,v\na,1\nb,3\n", OLD),
    "s",
    rerun="b c",
    skip="a",
    files={"d.csv": "k,v\na,1\nb,2\n"},
)

case(
    "an array read and mapped",
    4,
    """
# %% a
import numpy as np
m = np.memmap('m.bin', dtype='u1', mode='r')
# %% b
s = int(m.sum())
print(s)
""",
    writes("m.bin", b"\x01\x02\x05", OLD),
    "s",
    rerun="b",
    files={"m.bin": b"\x01\x02\x03"},
)

case(
    "a file read in a function called later",
    4,
    """
# %% a
def load(name):
    with open(name) as f:
        return f.read()
# %% b
one = load('a.txt')
# %% c
two = load('b.txt')
# %% d
print(one + two)
""",
    writes("b.txt", "z", OLD),
    "one; two",
    rerun="c d",
    skip="a b",
    files={"a.txt": "x", "b.txt": "y"},
)

case(
    "a folder becomes a file",
    4,
    """
# %% a
import os
kind = 'd' if os.path.isdir('x') else 'f' if os.path.isfile('x') else '-'
# %% b
print(kind)
""",
    does(lambda f: (shutil.rmtree(f / "x"), (f / "x").write_text(""))),
    "kind",
    rerun="a b",
    files={"x/y": ""},
)

case(
    "the size of a file",
    4,
    """
# %% a
import os
n = os.path.getsize('a.txt')
# %% b
print(n)
""",
    writes("a.txt", "longer", OLD),
    "n",
    rerun="a b",
    files={"a.txt": "one"},
)

case(
    "whether a file is executable",
    4,
    """
# %% a
import os
x = os.access('run.sh', os.X_OK)
# %% b
print(x)
""",
    does(lambda f: (f / "run.sh").chmod(0o755)),
    "x",
    rerun="a b",
    files={"run.sh": "#!/bin/sh\n"},
    telling=True,
)

case(
    "the time of a file",
    4,
    """
# %% a
import os
t = os.path.getmtime('a.txt')
# %% b
print(int(t))
""",
    touches("a.txt"),
    "t",
    rerun="a b",
    files={"a.txt": "one"},
)

case(
    "the stat of a file through pathlib",
    4,
    """
# %% a
from pathlib import Path
newest = max(Path('d').iterdir(), key=lambda p: p.stat().st_mtime).name
# %% b
print(newest)
""",
    touches("d/a"),
    "newest",
    rerun="a b",
    files={"d/a": "1", "d/b": "2"},
)

case(
    "a compressed file",
    4,
    """
# %% a
import gzip
with gzip.open('a.gz', 'wt') as f: f.write('one')
# %% b
text = gzip.open('a.gz', 'rt').read()
# %% c
print(text)
""",
    removes("a.gz"),
    "text; __import__('gzip').open('a.gz').read()",
    skip="b c",
)


case(
    "json in, json out",
    4,
    """
# %% a
import json
cfg = json.load(open('cfg.json'))
# %% b
out = {k: v * 2 for k, v in cfg.items()}
json.dump(out, open('out.json', 'w'))
# %% c
print(json.load(open('out.json')))
""",
    writes("cfg.json", '{"a": 5}', OLD),
    "open('out.json').read(); out",
    rerun="a b c",
    files={"cfg.json": '{"a": 1}'},
)

case(
    "only one of two outputs changes",
    4,
    """
# %% a
a = open('a.txt').read()
b = open('b.txt').read()
# %% b
open('oa.txt', 'w').write(a.upper())
# %% c
open('ob.txt', 'w').write(b.upper())
# %% d
r = open('oa.txt').read() + open('ob.txt').read()
print(r)
""",
    writes("b.txt", "c", OLD),
    "r; open('oa.txt').read()",
    rerun="a c d",
    skip="b",
    files={"a.txt": "a", "b.txt": "b"},
)

# -- the environment ---------------------------------------------------------------------------------------------------

case(
    "a variable of the environment",
    4,
    """
# %% a
import os
mode = os.environ.get('MODE', 'none')
# %% b
print(mode)
# %% c
x = 1
""",
    same,
    "mode",
    rerun="a b",
    skip="c",
    env_before={"MODE": "one"},
    env_after={"MODE": "two"},
)

case(
    "a variable of the environment goes away",
    4,
    """
# %% a
import os
mode = os.getenv('MODE')
# %% b
print(mode)
""",
    same,
    "mode",
    rerun="a b",
    env_before={"MODE": "one"},
)

case(
    "a variable that a child reads",
    4,
    """
# %% a
out = !echo $MODE
# %% b
print(out)
""",
    same,
    "list(out)",
    rerun="a b",
    env_before={"MODE": "one"},
    env_after={"MODE": "two"},
)

case(
    "a variable that a function reads",
    4,
    """
# %% a
import os
def mode(): return os.environ['MODE']
# %% b
m = mode()
print(m)
""",
    same,
    "m",
    rerun="b",
    skip="a",
    env_before={"MODE": "one"},
    env_after={"MODE": "two"},
)

case(
    "a variable expanded in a path",
    4,
    """
# %% a
import os
p = os.path.expandvars('$PLACE/a.txt')
# %% b
t = open(p).read()
print(t)
""",
    same,
    "t",
    rerun="a b",
    env_before={"PLACE": "d1"},
    env_after={"PLACE": "d2"},
    files={"d1/a.txt": "1", "d2/a.txt": "2"},
)

case(
    "the whole environment",
    4,
    """
# %% a
import os
mine = sorted(k for k in os.environ if k.startswith('MINE_'))
# %% b
print(mine)
""",
    same,
    "mine",
    rerun="a b",
    env_before={"MINE_A": "1"},
    env_after={"MINE_A": "1", "MINE_B": "1"},
    telling=True,
)

case(
    "another variable that nobody reads",
    4,
    """
# %% a
import os
mode = os.environ.get('MODE')
# %% b
print(mode)
""",
    same,
    "mode",
    skip="a b",
    env_before={"MODE": "1", "OTHER": "1"},
    env_after={"MODE": "1", "OTHER": "2"},
)

case(
    "a new variable that a child reads",
    4,
    """
# %% a
out = !echo [$MODE]
# %% b
print(out)
""",
    same,
    "list(out)",
    rerun="a b",
    env_after={"MODE": "two"},
    telling=True,
)

case(
    "whether a variable is there",
    4,
    """
# %% a
import os
debug = 'DEBUG' in os.environ
# %% b
print(debug)
""",
    same,
    "debug",
    rerun="a b",
    env_after={"DEBUG": "1"},
)

case(
    "the time zone",
    4,
    """
# %% a
import time, datetime
t = time.strftime('%H', time.localtime(0)); d = datetime.datetime.fromtimestamp(0).hour
# %% b
print(t, d)
""",
    same,
    "t; d",
    rerun="a b",
    env_before={"TZ": "UTC"},
    env_after={"TZ": "Asia/Tokyo"},
)

case(
    "a constant in two cells",
    2,
    """
# %% a
SIZE = 3
# %% b
def grid(): return [[0] * SIZE for _ in range(SIZE)]
# %% c
g = grid()
# %% d
h = [[1] * 3]
print(g, h)
""",
    replaces("3", "2"),
    "g; h",
    rerun="a c d",
    skip="b",
)

case(
    "a file made, then replaced by its reader",
    4,
    """
# %% a
open('n.txt', 'w').write('1')
# %% b
n = int(open('n.txt').read()) + 1
open('n.txt', 'w').write(str(n))
# %% c
print(open('n.txt').read())
""",
    both(same, sets(c="print('n is', open('n.txt').read())")),
    "n; open('n.txt').read()",
    rerun="c",
    skip="a",
)

case(
    "a text that is taken for a file's name",
    4,
    """
# %% show
from IPython.display import SVG
picture = SVG('<svg xmlns="http://www.w3.org/2000/svg">' + '<g></g>' * 800 + '</svg>')
picture
# %% ask
import os
os.path.exists('x' * 300), os.path.exists('y/' * 3000)
""",
    same,
    skip="show ask",
    telling=True,
)

case(
    "a variable asked for in bytes",
    4,
    """
# %% a
import os
v = os.environb.get(b'QX')
# %% b
print(v)
""",
    same,
    "v",
    rerun="a b",
    env_before={"QX": "1"},
    env_after={"QX": "2"},
)

case(
    "the folder for temporary files",
    4,
    """
# %% a
import tempfile
v = tempfile.gettempdir()
# %% b
print(v)
""",
    same,
    "v",
    rerun="a b",
    env_before={"TMPDIR": "/tmp"},
    env_after={"TMPDIR": "/var/tmp"},
    telling=True,
)
