# ruff: noqa: E501 - cells are quoted as users write them
"""What a reader sees: outputs of every kind, magics, questions, errors."""

from .case import both, case, deletes, inserts, moves, same, sets, writes

# -- displayed ------------------------------------------------------------------------------------------------------------


def displays(name: str, imports: str, show: str, **more: object) -> None:
    """A cell with outputs is skipped while the cell below it is edited."""
    cells = f"\n# %% a\n{imports}\n# %% b\n{show}\n# %% c\nu = 1\n"
    case(name, 14, cells, sets(c="u = 2"), "u", rerun="c", skip="b", **more)  # type: ignore[arg-type]


displays("a frame as html", "import pandas as pd", "pd.DataFrame({'a': [1, 2]}, index=['x', 'y'])")
displays(
    "several displays",
    "from IPython.display import display, HTML, Markdown, Latex",
    "display(HTML('<b>x</b>')); display(Markdown('*y*'), Latex('$z$')); 'end'",
    telling=True,
)
displays(
    "display between prints",
    "import sys\nfrom IPython.display import display",
    "print('one'); display({'k': 1}); print('two', file=sys.stderr); display('three'); print('four')",
)
displays(
    "a progress bar of carriage returns",
    "import sys",
    "for i in range(3):\n    sys.stdout.write(f'\\r{i}%'); sys.stdout.flush()\nprint()",
)
displays(
    "a progress bar on stderr", "import sys", "for i in range(3): print(f'\\r{i}/3', end='', file=sys.stderr)"
)
displays(
    "clear_output",
    "from IPython.display import clear_output",
    "for i in range(3):\n    clear_output(wait=True); print('step', i)",
)
displays(
    "clear_output at once",
    "from IPython.display import clear_output",
    "print('gone'); clear_output(); print('stays')",
)
displays(
    "a display updated in its own cell",
    "from IPython.display import display",
    "h = display('0%', display_id=True)\nfor i in (50, 100): h.update(f'{i}%')",
    shown="c",
)
displays(
    "a rich object of one's own",
    "class R:\n    def _repr_html_(self): return '<i>r</i>'\n    def _repr_png_(self): return None\n    def __repr__(self): return 'R!'",
    "R()",
)
displays(
    "a mime bundle with metadata",
    "class M:\n    def _repr_mimebundle_(self, include=None, exclude=None): return {'text/plain': 'm', 'application/json': {'a': [1]}}, {'application/json': {'expanded': True}}",
    "M()",
)
displays("output to both streams by a child", "u0 = 0", "!echo out; echo err >&2")
displays("output written to descriptor 1", "import os", "r = os.write(1, b'raw\\n')")
displays("a suppressed result", "x = 5", "x;")
displays("a long text", "u0 = 0", "print('x' * 200_000); list(range(2000))", telling=True)
displays(
    "two figures",
    "import matplotlib.pyplot as plt",
    "plt.figure(figsize=(1, 1)); plt.plot([1, 2]); plt.show(); plt.figure(figsize=(1, 1)); plt.bar([1], [2]); plt.show(); print('done')",
)
displays(
    "a figure as the last value",
    "import matplotlib.pyplot as plt",
    "fig, ax = plt.subplots(figsize=(1, 1)); ax.plot([1, 2]); fig",
)
displays("a warning", "import warnings", "warnings.warn('be careful'); print('after')")
displays(
    "a logger's message",
    "import logging; logging.basicConfig(force=True)",
    "logging.warning('low disk'); logging.getLogger('x').error('bad')",
)
displays("print with no newline and unicode", "u0 = 0", "print('žluťoučký 🐎', end=''); print('', end='')")
displays(
    "a styled frame",
    "import pandas as pd",
    "pd.DataFrame({'a': [1.234]}).style.format('{:.1f}').to_html(uuid='x')",
)
displays(
    "a transient javascript",
    "from IPython.display import Javascript, display",
    "display(Javascript('1 + 1'))",
)

case(
    "a display updated by a later cell that is edited",
    14,
    """
# %% a
from IPython.display import display
h = display('start', display_id='one-id')
# %% b
h.update('middle')
# %% c
h.update('end')
""",
    sets(c="h.update('END')"),
    "h.display_id",
    rerun="c",
    skip="a b",
)

case(
    "the updating cell is deleted",
    14,
    """
# %% a
from IPython.display import display, update_display
display('start', display_id='an-id');
# %% b
update_display('changed', display_id='an-id')
# %% c
u = 1
""",
    deletes("b"),
    "u",
    skip="a c",
)

case(
    "captured output",
    14,
    """
# %% a
%%capture cap
print('hidden'); 5
# %% b
t = cap.stdout
print(t)
""",
    sets(b="t = cap.stdout.upper()\nprint(t)"),
    "t; len(cap.outputs)",
    rerun="b",
    skip="a",
)

case(
    "a value shown by its mutable state",
    14,
    """
# %% a
xs = [1]
# %% b
xs
# %% c
xs.append(2)
# %% d
xs
""",
    sets(c="xs.append(3)"),
    "xs",
    rerun="c d",
    skip="a b",
)

case(
    "the shell's display settings",
    14,
    """
# %% a
%precision 3
# %% b
3.14159
# %% c
[2.71828, 'x']
""",
    sets(a="%precision 5"),
    "1",
    rerun="a b c",
)

case(
    "a repr that reads a global",
    14,
    """
# %% a
UNIT = 'm'
class L:
    def __init__(self, v): self.v = v
    def __repr__(self): return f'{self.v} {UNIT}'
# %% b
l = L(3)
# %% c
l
""",
    sets(
        a="UNIT = 'km'\nclass L:\n    def __init__(self, v): self.v = v\n    def __repr__(self): return f'{self.v} {UNIT}'"
    ),
    "str(l)",
    rerun="a c",
)

case(
    "a figure continued in the next cell",
    14,
    """
# %% a
%matplotlib inline
import matplotlib.pyplot as plt
%config InlineBackend.close_figures = False
# %% b
plt.plot([1, 2], label='one'); n1 = len(plt.gca().lines)
# %% c
plt.plot([2, 1]); n2 = len(plt.gca().lines)
print(n1, n2)
""",
    sets(c="plt.plot([2, 2]); n2 = len(plt.gca().lines)\nprint('lines', n1, n2)"),
    "n1; n2",
    rerun="c",
    shown="",
)

case(
    "output of the previous result",
    14,
    """
# %% a
40 + 2
# %% b
r = _ + 1
print(r)
# %% c
u = 1
""",
    sets(a="40 + 3"),
    "r",
    rerun="a b",
    skip="c",
)

case(
    "a result by number",
    14,
    """
# %% a
'first'
# %% b
'second'
# %% c
r = (Out[1], _2)
print(r)
""",
    sets(b="'changed'"),
    "r",
    rerun="b c",
    skip="a",
)

# -- magics, await, input ------------------------------------------------------------------------------------------------------

case(
    "%%time over a cell",
    18,
    """
# %% a
x = 4
# %% b
%%time
y = x * 2
z = y + 1
# %% c
print(y, z)
""",
    sets(a="x = 5"),
    "y; z",
    rerun="a b c",
    shown="c",
    telling=True,
)

case(
    "%timeit with a function",
    18,
    """
# %% a
def f(): return 1
# %% b
t = %timeit -n1 -r1 -o -q f()
# %% c
r = t.repeat
print(r)
""",
    sets(c="r = t.repeat + 1\nprint(r)"),
    "r",
    rerun="c",
)

case(
    "%run of a script",
    18,
    """
# %% a
%run script.py
# %% b
r = V * 2
print(r)
""",
    writes("script.py", "V = 21\nprint('ran')\n"),
    "r; V",
    rerun="a b",
    files={"script.py": "V = 1\nprint('ran')\n"},
)

case(
    "%run -i of a script",
    18,
    """
# %% a
base = 5
# %% b
%run -i script.py
# %% c
print(V)
""",
    sets(a="base = 6"),
    "V",
    rerun="a b c",
    files={"script.py": "V = base * 2\n"},
)

case(
    "%%writefile and %run",
    18,
    """
# %% a
%%writefile s.py
def f(): return 1
# %% b
%run s.py
# %% c
r = f()
print(r)
""",
    sets(a="%%writefile s.py\ndef f(): return 2"),
    "r",
    rerun="a b c",
    shown="b c",
)

case(
    "%%writefile -a",
    18,
    """
# %% a
%%writefile notes.txt
one
# %% b
%%writefile -a notes.txt
two
# %% c
t = open('notes.txt').read()
print(t)
""",
    sets(b="%%writefile -a notes.txt\nthree"),
    "t; open('notes.txt').read()",
    rerun="b c",
    shown="c",
    left=True,
)

case(
    "%cd and back",
    18,
    """
# %% a
%cd -q sub
# %% b
t = open('a.txt').read()
# %% c
%cd -q ..
# %% d
import os
r = os.path.basename(os.getcwd())
print(t, r)
""",
    sets(d="import os\nr = [os.path.basename(os.getcwd())]\nprint(t, r)"),
    "r; t",
    rerun="d",
    skip="b",
    files={"sub/a.txt": "in sub"},
)

case(
    "%env set and read",
    18,
    """
# %% a
%env COLOUR=red
# %% b
import os
c = os.environ['COLOUR']
print(c)
""",
    sets(a="%env COLOUR=blue"),
    "c",
    rerun="a b",
)

case(
    "%%capture with no name",
    18,
    """
# %% a
%%capture
x = 5
print('noise')
# %% b
y = x + 1
print(y)
""",
    sets(a="%%capture\nx = 6\nprint('noise')"),
    "x; y",
    rerun="a b",
)

case(
    "%%bash reads an exported variable",
    18,
    """
# %% a
import os
os.environ['N'] = '3'
# %% b
%%bash
for i in $(seq $N); do echo line $i; done
# %% c
u = 1
""",
    sets(a="import os\nos.environ['N'] = '2'"),
    "u",
    rerun="a b",
    skip="c",
)

case(
    "top-level await",
    18,
    """
# %% a
import asyncio
async def f(x):
    await asyncio.sleep(0)
    return x * 2
# %% b
y = await f(4)
# %% c
zs = await asyncio.gather(*(f(i) for i in range(3)))
print(y, zs)
""",
    sets(c="zs = [await f(i) for i in range(4)]\nprint(y, zs)"),
    "y; zs",
    rerun="c",
    skip="a b",
)

case(
    "async for and async with",
    18,
    """
# %% a
from contextlib import asynccontextmanager
@asynccontextmanager
async def ctx():
    yield 5
async def gen():
    for i in range(3): yield i
# %% b
got = []
async with ctx() as k:
    async for i in gen(): got.append(i * k)
# %% c
print(got)
""",
    sets(c="print(sum(got))"),
    "got",
    rerun="c",
    skip="a b",
)

case(
    "a background task",
    18,
    """
# %% a
import asyncio
done = []
async def work():
    await asyncio.sleep(0.01); done.append(1)
task = asyncio.create_task(work())
# %% b
await task
# %% c
r = len(done)
print(r)
""",
    sets(c="r = len(done) + 10\nprint(r)"),
    "r; done",
    rerun="c",
)

case(
    "a question answered alike",
    18,
    """
# %% a
name = input('name? ')
# %% b
print('hello', name)
""",
    same,
    "name",
    answers_before=("Ann",),
    answers=("Ann", "Ann"),
)

case(
    "a question answered otherwise",
    18,
    """
# %% a
name = input('name? ')
# %% b
print('hello', name)
""",
    same,
    "name",
    answers_before=("Ann",),
    answers=("Bob",),
    rerun="a b",
)

case(
    "help on a function that changes",
    18,
    """
# %% a
def f(x):
    '''One.'''
# %% b
?f
# %% c
d = f.__doc__
""",
    sets(a="def f(x):\n    '''Two.'''"),
    "d",
    rerun="a c",
    shown="a c",
)

case(
    "an alias and a shell assignment",
    18,
    """
# %% a
files = !ls *.txt
# %% b
n = len(files)
print(n, files)
""",
    writes("c.txt", ""),
    "n",
    rerun="a b",
    files={"a.txt": "", "b.txt": ""},
)

case(
    "%who and %whos",
    18,
    """
# %% a
first = 1; second = 'two'
# %% b
names = %who_ls
# %% c
r = sorted(n for n in names if n in ('first', 'second', 'third'))
print(r)
""",
    sets(a="first = 1; third = 'two'"),
    "r",
    rerun="a b c",
)

case(
    "%reset -f",
    18,
    """
# %% a
x = 1
# %% b
%reset -f
# %% c
r = 'x' in globals()
print(r)
""",
    deletes("b"),
    "r",
    rerun="c",
    skip="a",
)

case(
    "%pip and %%html",
    18,
    """
# %% a
%%html
<b>bold</b>
# %% b
u = 1
""",
    sets(b="u = 2"),
    "u",
    rerun="b",
    skip="a",
)

case(
    "a cell magic of one's own",
    18,
    """
# %% a
from IPython.core.magic import register_cell_magic
@register_cell_magic
def shout(line, cell): return cell.upper()
# %% b
%%shout
hello
# %% c
r = _
print(r)
""",
    sets(
        a="from IPython.core.magic import register_cell_magic\n@register_cell_magic\ndef shout(line, cell): return cell.upper() + '!'"
    ),
    "r",
    rerun="a b c",
)

case(
    "an extension in the folder",
    18,
    """
# %% a
%load_ext myext
# %% b
r = %double 4
print(r)
""",
    writes(
        "myext.py",
        "def load_ipython_extension(ip): ip.register_magic_function(lambda line: int(line) * 3, 'line', 'double')\n",
    ),
    "r",
    rerun="a b",
    files={
        "myext.py": "def load_ipython_extension(ip): ip.register_magic_function(lambda line: int(line) * 2, 'line', 'double')\n"
    },
)

case(
    "%store -r and user_ns",
    18,
    """
# %% a
ip = get_ipython()
ip.user_ns['pushed'] = 3; ip.push({'more': 4})
# %% b
r = pushed + more
print(r)
""",
    sets(a="ip = get_ipython()\nip.user_ns['pushed'] = 5; ip.push({'more': 4})"),
    "r",
    rerun="a b",
)

case(
    "run_cell by hand",
    18,
    """
# %% a
res = get_ipython().run_cell('inner = 7', silent=True) and None
# %% b
r = inner + 1
print(r)
""",
    sets(a="res = get_ipython().run_cell('inner = 8', silent=True) and None"),
    "r",
    rerun="a b",
)

case(
    "an automagic word",
    18,
    """
# %% a
x = 3
# %% b
time y = x * 2
# %% c
print(y)
""",
    sets(a="x = 4"),
    "y",
    rerun="a b c",
    shown="c",
)

case(
    "history",
    18,
    """
# %% a
x = 1
# %% b
h = In[1]
print(h)
""",
    sets(a="x = 2"),
    "h; x",
    rerun="a b",
)

# -- cells that raise ---------------------------------------------------------------------------------------------------------

case(
    "an exception replayed",
    20,
    """
# %% a
x = 0
# %% b
y = 1 / x
# %% c
z = 5
""",
    sets(c="z = 6"),
    "z; 'y' in globals()",
    rerun="c",
    skip="a b",
)

case(
    "an exception with state left before it",
    20,
    """
# %% a
xs = []
# %% b
xs.append(1); y = 'set'
raise ValueError('stop')
# %% c
r = (xs, y)
print(r)
""",
    sets(c="r = [xs, y]\nprint(r)"),
    "r; xs",
    rerun="c",
    skip="a b",
    telling=True,
)

case(
    "an exception that goes away",
    20,
    """
# %% a
limit = 1
# %% b
assert limit > 2, 'too small'
ok = True
# %% c
r = globals().get('ok', False)
print(r)
""",
    sets(a="limit = 3"),
    "r",
    rerun="a b c",
)

case(
    "an exception's text depends on state",
    20,
    """
# %% a
name = 'one'
# %% b
raise KeyError(f'no {name}')
# %% c
u = 1
""",
    sets(a="name = 'two'"),
    "u",
    rerun="a b",
    skip="c",
)

case(
    "a chained exception",
    20,
    """
# %% a
def inner(): return {}['k']
# %% b
try: inner()
except KeyError as e: raise RuntimeError('outer') from e
# %% c
u = 1
""",
    sets(c="u = 2"),
    "u",
    rerun="c",
    skip="a b",
    telling=True,
)

case(
    "a syntax error",
    20,
    """
# %% a
x = 1
# %% b
y = = 2
# %% c
z = x + 1
""",
    sets(c="z = x + 2"),
    "z; 'y' in globals()",
    rerun="c",
    skip="a",
)

case(
    "a syntax error put right",
    20,
    """
# %% a
x = 1
# %% b
y = = 2
# %% c
z = globals().get('y', 'none')
print(z)
""",
    sets(b="y = 2"),
    "z; y",
    rerun="b c",
    skip="a",
)

case(
    "output before an error",
    20,
    """
# %% a
import sys
# %% b
print('before'); print('err', file=sys.stderr)
for i in range(3):
    print(i)
    if i == 1: raise StopIteration('at one')
# %% c
r = i
""",
    sets(c="r = i * 10"),
    "r; i",
    rerun="c",
    skip="b",
)

case(
    "a file half written before an error",
    20,
    """
# %% a
with open('o.txt', 'w') as f:
    f.write('half')
    raise OSError('disk')
# %% b
t = open('o.txt').read()
print(t)
""",
    sets(b="t = open('o.txt').read().upper()\nprint(t)"),
    "t",
    rerun="b",
    skip="a",
)

case(
    "a missing file named in the error",
    20,
    """
# %% a
open('nothing.txt').read()
# %% b
u = 1
""",
    both(writes("nothing.txt", "there"), same),
    "u",
    rerun="a",
    skip="b",
)

case(
    "a name error that a new cell cures",
    20,
    """
# %% a
y = x + 1
# %% b
r = globals().get('y', 0)
print(r)
""",
    inserts(None, "n", "x = 4"),
    "r",
    rerun="n a b",
)

case(
    "an error kept in a variable",
    20,
    """
# %% a
try: int('x')
except ValueError as e: err = e
# %% b
t = str(err)
print(t, type(err).__name__)
""",
    sets(b="t = repr(err)\nprint(t)"),
    "t; err.args",
    rerun="b",
    skip="a",
)

case(
    "sys.exc_info and the last error",
    20,
    """
# %% a
1 / 0
# %% b
import sys
r = getattr(sys, 'last_type', None).__name__
print(r)
""",
    sets(b="import sys\nr = [getattr(sys, 'last_type', None).__name__]\nprint(r)"),
    "r",
    rerun="b",
    telling=True,
)

case(
    "a warning turned into an error by an earlier cell",
    20,
    """
# %% a
import warnings
warnings.simplefilter('error')
# %% b
warnings.warn('now an error')
# %% c
u = 1
""",
    sets(a="import warnings\nwarnings.simplefilter('ignore')"),
    "u",
    rerun="a b",
)

case(
    "finally runs",
    20,
    """
# %% a
log = []
# %% b
try: raise ValueError(1)
finally: log.append('finally')
# %% c
print(log)
""",
    sets(c="print(len(log))"),
    "log",
    rerun="c",
    skip="a b",
)

case(
    "an exception group",
    20,
    """
# %% a
u0 = 0
# %% b
raise ExceptionGroup('many', [ValueError(1), TypeError('t')])
# %% c
u = 1
""",
    sets(c="u = 2"),
    "u",
    rerun="c",
    skip="a b",
)

case(
    "an error in a display",
    20,
    """
# %% a
class Bad:
    def __repr__(self): raise TypeError('no repr')
# %% b
Bad()
# %% c
u = 1
""",
    sets(c="u = 2"),
    "u",
    rerun="c",
    skip="a b",
    telling=True,
)

case(
    "a numpy warning printed once",
    20,
    """
# %% a
import numpy as np
# %% b
x = np.array([1., 0.]) / 0
# %% c
y = np.log(np.array([0.]))
print(x, y)
""",
    sets(c="y = np.log(np.array([-1.]))\nprint(x, y)"),
    "x.tolist(); y.tolist()",
    rerun="c",
    skip="a b",
)

case(
    "a library's error through a restored value",
    20,
    """
# %% a
import pandas as pd
df = pd.DataFrame({'v': [1]})
# %% b
df['missing']
# %% c
n = len(df)
""",
    sets(c="n = len(df) * 2"),
    "n",
    rerun="c",
    skip="a b",
)

case(
    "a recursion error",
    20,
    """
# %% a
def f(n): return f(n + 1)
# %% b
try: f(0)
except RecursionError as e: r = type(e).__name__
# %% c
print(r)
""",
    sets(c="print(r, 'it was')"),
    "r",
    rerun="c",
    skip="a b",
)

case(
    "the raising cell is edited to raise otherwise",
    20,
    """
# %% a
xs = [1]
# %% b
xs.append(2); raise ValueError('one')
# %% c
s = sum(xs)
print(s)
""",
    sets(b="xs.append(3); raise ValueError('two')"),
    "s; xs",
    rerun="b c",
    skip="a",
)

case(
    "a bare raise of a class of one's own",
    20,
    """
# %% a
class Stop(Exception):
    def _render_traceback_(self): return ['stopped: ' + str(self)]
# %% b
raise Stop('here')
# %% c
u = 1
""",
    sets(a="class Stop(Exception):\n    def _render_traceback_(self): return ['halted: ' + str(self)]"),
    "u",
    rerun="a b",
    skip="c",
)

case(
    "an error in the function of an earlier cell",
    20,
    """
# %% define
def half(x):
    return whole(x) / 2
def whole(x):
    return 1 / x
# %% call
half(0)
# %% other
print('other')
""",
    sets(other="half(0)"),
    skip="define call",
    rerun="other",
    telling=True,
)

case(
    "an error in a function that is laid out anew",
    20,
    """
# %% define
import functools
def half(x): return (lambda: 1 / x)() / 2
class Part:
    def of(self, x):
        return half(x)
same = [lambda: 1 // 0, lambda: 1 // 0]
# %% method
Part().of(0)
# %% first
same[0]()
# %% last
same[1]()
""",
    sets(
        define="""
        # comments
        import functools


        def half(x):
            # and layout
            return (lambda: 1 / x)() / 2
        class Part:
            def of(self, x):
                return half( x )  # here, too
        same = [lambda: 1 // 0,
                lambda: 1 // 0]
        """
    ),
    rerun="method first last",
    skip="define",
    telling=True,
)

case(
    "an error in a function, and the cells before it moved",
    20,
    """
# %% one
a = 1
# %% define
def whole(x):
    return a / x
# %% call
whole(0)
""",
    moves("define one call"),
    rerun="call",
    skip="one define",
)

case(
    "an error in a function of a captured cell, brought back by running it again",
    20,
    """
# %% define
%%capture shown
import threading
def whole(x):
    return 1 / x
hold = [threading.Lock(), whole]
# %% call
1 + 1
""",
    sets(call="hold[1](0)"),
    rerun="call",
)


# -- results, and what magics keep ----------------------------------------------------------------------------------------

case(
    "a result by another name is changed",
    14,
    """
# %% a
xs = [1]
xs
# %% b
_.append(2)
# %% c
print(xs)
# %% d
same = Out[1] is xs
""",
    sets(b="_.append(5)"),
    "xs; same",
    rerun="b c",
    telling=True,
)

case(
    "the history of a replayed magic",
    18,
    """
# %% a
%precision 3
# %% b
!true
# %% c
print(In[1], _ih[2])
""",
    sets(c="print(In[1], _ih[2], _i1)"),
    rerun="c",
    skip="a b",
)

case(
    "a magic that counts",
    18,
    """
# %% a
from IPython.core.magic import Magics, magics_class, line_magic
@magics_class
class M(Magics):
    n = 0
    @line_magic
    def count(self, line): self.n += 1; return self.n
get_ipython().register_magics(M)
# %% b
x = %count
# %% c
y = %count
""",
    sets(c="y = %count\ny += 10"),
    "x; y",
    rerun="c",
    telling=True,
)

case(
    "an extension that counts",
    18,
    """
# %% a
%load_ext counting
# %% b
x = %count
# %% c
y = %count
""",
    sets(c="y = %count\ny += 10"),
    "x; y",
    rerun="c",
    files={
        "counting.py": """
            n = 0
            def count(line):
                global n
                n += 1
                return n
            def load_ipython_extension(shell): shell.register_magic_function(count, "line")
            """
    },
)

case(
    "a folder to go back to",
    18,
    """
# %% a
import os
os.makedirs("sub", exist_ok=True)
# %% b
%pushd sub
# %% c
%popd
""",
    sets(c="%popd\nback = os.path.basename(os.getcwd()) != 'sub'"),
    "back",
    rerun="c",
    shown="",
)
