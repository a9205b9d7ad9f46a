# ruff: noqa: E501 - cells are quoted as users write them
"""State that no name of the notebook holds: random streams, settings of libraries, the process itself."""

from .case import both, case, deletes, same, sets

# -- random numbers ----------------------------------------------------------------------------------------------------

case(
    "a RandomState in a variable",
    8,
    """
# %% a
import numpy as np
rs = np.random.RandomState(3)
# %% b
x = rs.rand(2)
# %% c
y = rs.rand(2)
print(y)
""",
    sets(c="y = rs.randint(0, 10**6, 2)\nprint(y)"),
    "x.tolist(); y.tolist(); rs.rand()",
    rerun="c",
    skip="a b",
)

case(
    "a Generator in a variable",
    8,
    """
# %% a
import numpy as np
rng = np.random.default_rng(42)
# %% b
x = rng.normal(size=3)
# %% c
y = rng.integers(0, 10**6)
print(y)
""",
    sets(b="x = rng.normal(size=4)"),
    "x.tolist(); int(y); rng.random()",
    rerun="b c",
    skip="a",
)

case(
    "a random.Random of one's own",
    8,
    """
# %% a
import random
r = random.Random(1)
# %% b
x = r.random()
# %% c
xs = list(range(10)); r.shuffle(xs)
print(xs)
""",
    sets(c="xs = list(range(12)); r.shuffle(xs)\nprint(xs)"),
    "x; xs; r.random()",
    rerun="c",
    skip="a b",
)

case(
    "shuffled in place by the global stream",
    8,
    """
# %% a
import random
random.seed(5)
deck = list(range(8))
# %% b
random.shuffle(deck)
# %% c
top = deck.pop()
# %% d
coin = random.choice('HT'); n = random.randrange(10**6)
print(top, coin, n)
""",
    sets(c="top = deck.pop(0)"),
    "top; deck; coin; n",
    rerun="c d",
    skip="a b",
)

case(
    "a seed in a helper",
    8,
    """
# %% a
import numpy as np, random
def set_seed(s):
    random.seed(s); np.random.seed(s)
# %% b
set_seed(0)
# %% c
x = np.random.rand(); y = random.random()
# %% d
print(x, y)
""",
    sets(b="set_seed(1)"),
    "x; y; np.random.rand()",
    rerun="b c d",
    skip="a",
)

case(
    "seeded again below",
    8,
    """
# %% a
import numpy as np
np.random.seed(0)
# %% b
x = np.random.rand(3)
# %% c
np.random.seed(0)
# %% d
y = np.random.rand(3)
print((x == y).all())
""",
    sets(b="x = np.random.rand(5)[:3]"),
    "x.tolist(); y.tolist()",
    rerun="b",
    skip="a c d",
    telling=True,
)

case(
    "seeded and drawn in one cell",
    8,
    """
# %% a
import random
import numpy as np
SEED = 3
# %% b
x = np.random.rand(3), random.random()
# %% c
random.seed(SEED); np.random.seed(SEED)
y = np.random.randn() + random.gauss(0, 1)
print(y)
# %% d
z = np.random.randn() + random.gauss(0, 1)
print(z)
""",
    sets(b="np.random.seed(1)\nx = np.random.randn()"),
    "x; y; z; np.random.rand(); random.random()",
    rerun="b",
    skip="a c d",
    telling=True,
)

case(
    "seeded after a draw",
    8,
    """
# %% a
import numpy as np
np.random.seed(1)
# %% b
x = np.random.rand(3)
# %% c
np.random.seed(np.random.randint(100))
y = np.random.rand()
print(y)
# %% d
q = np.random.rand(); np.random.seed(2)
print(q)
""",
    sets(b="x = np.random.rand(4)"),
    "x.tolist(); y; q; np.random.rand()",
    rerun="b c d",
    skip="a",
)

case(
    "a seed that finds its own state",
    8,
    """
# %% a
import numpy as np
np.random.seed(1)
# %% b
np.random.seed(1)
# %% c
y = np.random.rand(2)
print(y)
""",
    sets(a="import numpy as np\nnp.random.seed(1)\nx = np.random.rand()"),
    "y.tolist(); np.random.rand()",
    rerun="a",
    skip="b c",
    telling=True,
)

case(
    "another generator under the seed",
    8,
    """
# %% a
import numpy as np
np.random.seed(1)
# %% b
x = 1
# %% c
np.random.seed(2)
y = np.random.rand(2)
print(y)
""",
    sets(b="np.random.set_bit_generator(np.random.PCG64(1))"),
    "y.tolist(); np.random.rand()",
    rerun="b c",
    skip="a",
    telling=True,
)

case(
    "a seed that is patched",
    8,
    """
# %% a
import random
random.seed(1)
# %% b
random.seed = lambda n: None
# %% c
random.seed(2)
y = random.random()
print(y)
""",
    sets(b="x = random.random()"),
    "y",
    rerun="b c",
    skip="a",
)

case(
    "a draw deleted",
    8,
    """
# %% a
import random
random.seed(2)
# %% b
w = random.random()
# %% c
x = random.random()
print(x)
""",
    deletes("b"),
    "x",
    rerun="c",
    skip="a",
)

case(
    "the state saved and restored",
    8,
    """
# %% a
import random
random.seed(11); st = random.getstate()
# %% b
x = random.random()
# %% c
random.setstate(st)
# %% d
y = random.random()
print(x == y)
""",
    sets(b="x = random.random() + random.random()"),
    "x; y",
    rerun="b d",
    skip="a",
)

case(
    "sklearn with a seed",
    8,
    """
# %% a
import numpy as np
from sklearn.datasets import make_blobs
from sklearn.cluster import KMeans
X, _ = make_blobs(60, centers=3, random_state=1)
# %% b
km = KMeans(3, n_init=2, random_state=0).fit(X)
# %% c
i = round(float(km.inertia_), 6)
print(i)
# %% d
c = km.cluster_centers_.round(3).tolist()
""",
    sets(b="km = KMeans(3, n_init=2, random_state=7, max_iter=1).fit(X)"),
    "i; c",
    rerun="b c",
    skip="a",
)

case(
    "pandas samples from the global stream",
    8,
    """
# %% a
import numpy as np, pandas as pd
np.random.seed(4)
df = pd.DataFrame({'v': range(10)})
# %% b
s1 = df.sample(3)
# %% c
s2 = df.sample(3)
print(s2.v.tolist())
""",
    sets(b="s1 = df.sample(4)"),
    "s1.v.tolist(); s2.v.tolist()",
    rerun="b",
    skip="a",
)

case(
    "an unseeded draw that is used",
    8,
    """
# %% a
import random
x = random.random()
# %% b
y = x * 2
# %% c
z = y + x
""",
    sets(c="z = y - x"),
    true="y == x * 2; z == y - x",
    rerun="c",
    skip="b",
)

case(
    "unseeded, then seeded",
    8,
    """
# %% a
import numpy as np
noise = np.random.rand(2)
# %% b
np.random.seed(9)
# %% c
x = np.random.rand(2)
print(x)
""",
    sets(c="x = np.random.rand(3)\nprint(x)"),
    "x.tolist()",
    rerun="c",
)

case(
    "spawned generators",
    8,
    """
# %% a
import numpy as np
ss = np.random.SeedSequence(12)
# %% b
kids = [np.random.default_rng(s) for s in ss.spawn(2)]
# %% c
a, b = (k.random() for k in kids)
print(a, b)
""",
    sets(b="kids = [np.random.default_rng(s) for s in ss.spawn(3)][1:]"),
    "a; b; ss.n_children_spawned",
    rerun="b c",
    skip="a",
)

case(
    "draws inside a function",
    8,
    """
# %% a
import random
random.seed(3)
def roll(): return random.randint(1, 10**6)
# %% b
x = roll()
# %% c
y = roll()
# %% d
z = roll()
print(x, y, z)
""",
    sets(c="y = (roll(), roll())"),
    "x; y; z",
    rerun="c d",
    skip="a b",
    telling=True,
)

case(
    "a generator shared by two names",
    8,
    """
# %% a
import numpy as np
g = np.random.default_rng(0); h = g
# %% b
x = g.random()
# %% c
y = h.random()
print(x, y)
""",
    sets(b="x = g.random() + g.random()"),
    "x; y; g is h",
    rerun="b c",
    skip="a",
)

case(
    "a seed from a hash of a string",
    8,
    """
# %% a
import random
random.seed('text')
# %% b
x = random.getrandbits(40)
# %% c
y = random.gauss(0, 1); z = random.gauss(0, 1)
print(y, z)
""",
    sets(c="y = random.gauss(0, 2); z = random.gauss(0, 1)\nprint(y, z)"),
    "x; y; z; random.random()",
    rerun="c",
    skip="a b",
)


# -- hidden state -------------------------------------------------------------------------------------------------------


def hidden(name: str, imports: str, change: str, look: str, **more: object) -> None:
    """A cell changes hidden state and is skipped; a later cell, edited, looks at it."""
    cells = f"""
# %% a
{imports}
# %% b
{change}
# %% c
u = 1
# %% d
r = {look}
print(r)
"""
    case(name, 9, cells, sets(d=f"v = 1\nr = {look}\nprint(r)"), "r", rerun="d", skip="c", **more)  # type: ignore[arg-type]


hidden(
    "warnings are errors",
    "import warnings\ndef probe():\n    try: warnings.warn('x', UserWarning); return 'quiet'\n    except UserWarning: return 'error'",
    "warnings.simplefilter('error')",
    "probe()",
)
hidden(
    "warnings are ignored",
    "import warnings",
    "warnings.filterwarnings('ignore', category=FutureWarning)",
    "any(f[0] == 'ignore' and f[2] is FutureWarning for f in warnings.filters)",
)
hidden("decimal precision", "import decimal", "decimal.getcontext().prec = 6", "decimal.Decimal(1) / 7")
hidden(
    "decimal traps",
    "import decimal",
    "decimal.getcontext().traps[decimal.Inexact] = True; decimal.getcontext().rounding = 'ROUND_UP'",
    "(decimal.getcontext().traps[decimal.Inexact], decimal.getcontext().rounding)",
)
hidden(
    "the locale",
    "import locale",
    "locale.setlocale(locale.LC_ALL, 'C.UTF-8')",
    "locale.setlocale(locale.LC_ALL)",
)
hidden(
    "the working folder",
    "import os",
    "os.makedirs('sub', exist_ok=True); os.chdir('sub')",
    "os.path.basename(os.getcwd())",
)
hidden(
    "the environment",
    "import os",
    "os.environ['GREETING'] = 'hi'; os.environ.pop('HOME', None)",
    "(os.environ.get('GREETING'), 'HOME' in os.environ)",
)
hidden(
    "os.putenv through setdefault and update",
    "import os",
    "os.environ.setdefault('A1', 'x'); os.environ.update(A2='y')",
    "!echo $A1 $A2",
)
hidden(
    "sys.path",
    "import sys",
    "sys.path.insert(0, 'lib')",
    "__import__('mymod').V",
    files={"lib/mymod.py": "V = 5"},
)
hidden(
    "pandas options",
    "import pandas as pd",
    "pd.set_option('display.max_rows', 7); pd.options.display.precision = 2",
    "(pd.get_option('display.max_rows'), pd.options.display.precision)",
)
hidden(
    "pandas shows a frame by its options",
    "import pandas as pd",
    "pd.set_option('display.float_format', '{:.1f}'.format)",
    "str(pd.DataFrame({'v': [1.2345]}))",
)
hidden(
    "numpy print options",
    "import numpy as np",
    "np.set_printoptions(precision=2, suppress=True)",
    "str(np.array([1.23456, 1e-9]))",
)
hidden(
    "numpy errors",
    "import numpy as np\ndef probe():\n    try: np.float64(1) / 0; return 'fine'\n    except FloatingPointError: return 'raised'",
    "old = np.seterr(all='raise')",
    "probe()",
)
hidden(
    "an item of rcParams",
    "import matplotlib.pyplot as plt",
    "plt.rcParams['lines.linewidth'] = 7",
    "plt.plot([1, 2])[0].get_linewidth()",
)
hidden(
    "rcParams updated",
    "import matplotlib as mpl",
    "mpl.rcParams.update({'font.size': 17}); mpl.rc('axes', titlesize=3)",
    "(mpl.rcParams['font.size'], mpl.rcParams['axes.titlesize'])",
)
hidden(
    "a logging handler",
    "import logging, io\nout = io.StringIO()",
    "log = logging.getLogger('app'); log.addHandler(logging.StreamHandler(out)); log.setLevel('INFO')",
    "(log.info('hello'), out.getvalue())[1]",
    telling=True,
)
hidden(
    "logging.basicConfig",
    "import logging, sys",
    "logging.basicConfig(level=logging.INFO, format='%(message)s', stream=sys.stdout, force=True)",
    "(logging.getLogger().level, len(logging.getLogger().handlers))",
)
hidden(
    "logging disabled",
    "import logging",
    "logging.disable(logging.WARNING)",
    "logging.getLogger('x').isEnabledFor(logging.INFO)",
)
hidden(
    "a library's function replaced",
    "import math",
    "math.tau2 = 12; math.floor = lambda x: 'patched'",
    "(math.floor(1.5), math.tau2)",
)
hidden(
    "a function of the standard library replaced",
    "import textwrap",
    "real = textwrap.dedent\ntextwrap.dedent = lambda text: '<' + real(text) + '>'",
    "textwrap.dedent(' a')",
)
hidden(
    "a default of a module",
    "import csv",
    "csv.field_size_limit(50); csv.register_dialect('mine', delimiter='|')",
    "(csv.field_size_limit(), 'mine' in csv.list_dialects())",
    telling=True,
)
hidden("a module's attribute", "import textwrap", "textwrap.MINE = 3", "getattr(textwrap, 'MINE', None)")
hidden(
    "a module's list",
    "import mimetypes",
    "mimetypes.add_type('text/x-mine', '.mine')",
    "mimetypes.guess_type('a.mine')[0]",
    telling=True,
)
hidden(
    "lru_cache of one's own",
    "import functools\ncalls = []\n@functools.lru_cache\ndef sq(x):\n    calls.append(x)\n    return x * x",
    "sq(3)",
    "(sq(3), calls, sq.cache_info().hits)",
)
hidden("the recursion limit", "import sys", "sys.setrecursionlimit(4321)", "sys.getrecursionlimit()")
hidden(
    "a signal handler",
    "import signal\ndef on(*a): hits.append(1)\nhits = []",
    "signal.signal(signal.SIGUSR1, on)",
    "(signal.raise_signal(signal.SIGUSR1), hits)[1] if signal.getsignal(signal.SIGUSR1) is on else 'none'",
    telling=True,
)
hidden(
    "an encoder patched",
    "import json, datetime",
    "json.JSONEncoder.default = lambda self, o: 'patched'",
    "json.dumps(datetime.date(2020, 1, 1))",
)
hidden(
    "an attribute of a library's class",
    "from collections import Counter",
    "Counter.total2 = lambda self: sum(self.values()) * 2",
    "Counter('aab').total2()",
)
hidden(
    "a method of DataFrame added",
    "import pandas as pd",
    "pd.DataFrame.double = lambda self: self * 2",
    "pd.DataFrame({'a': [1]}).double().a.tolist()",
)
hidden(
    "an accessor registered",
    "import pandas as pd",
    "@pd.api.extensions.register_series_accessor('mine')\nclass Mine:\n    def __init__(self, s): self.s = s\n    def n(self): return len(self.s) * 10",
    "pd.Series([1, 2]).mine.n()",
)
hidden(
    "a codec registered",
    "import codecs",
    "codecs.register(lambda n: codecs.lookup('utf-8') if n == 'mine' else None)",
    "'é'.encode('mine')",
    telling=True,
)
hidden(
    "copyreg and pickle",
    "import copyreg, pickle\nclass T:\n    def __init__(self, v=0): self.v = v",
    "copyreg.pickle(T, lambda t: (T, (t.v + 1,)))",
    "pickle.loads(pickle.dumps(T(1))).v",
    telling=True,
)
hidden(
    "an abstract class registers another",
    "import collections.abc\nclass Odd: pass",
    "collections.abc.Sized.register(Odd)",
    "isinstance(Odd(), collections.abc.Sized)",
    telling=True,
)
hidden(
    "singledispatch",
    "import functools\n@functools.singledispatch\ndef show(x): return 'any'",
    "@show.register\ndef _int(x: int): return 'int'",
    "show(3)",
)
hidden(
    "the random hash of int max digits",
    "import sys",
    "sys.set_int_max_str_digits(700)",
    "sys.get_int_max_str_digits()",
)
hidden(
    "displayhook formatter for a type",
    "class T: pass\nip = get_ipython()",
    "ip.display_formatter.formatters['text/plain'].for_type(T, lambda o, p, c: p.text('T!'))",
    "ip.display_formatter.formatters['text/plain'](T())",
    telling=True,
)
hidden("builtins", "import builtins", "builtins.shout = lambda s: s.upper()", "shout('a')", telling=True)
hidden(
    "sys.modules",
    "import sys, types",
    "m = types.ModuleType('fake'); m.V = 8; sys.modules['fake'] = m",
    "__import__('fake').V",
    telling=True,
)
hidden(
    "stdout replaced",
    "import sys, io",
    "err = sys.stderr; sys.stderr = io.StringIO()",
    "(print('to err', file=sys.stderr), sys.stderr.getvalue())[1]",
)
hidden(
    "threading local and excepthook",
    "import threading\nloc = threading.local()",
    "loc.v = 5",
    "getattr(loc, 'v', None)",
)
hidden(
    "sklearn's configuration",
    "import sklearn",
    "sklearn.set_config(assume_finite=True, display='text')",
    "(sklearn.get_config()['assume_finite'], sklearn.get_config()['display'])",
)
hidden(
    "gc and switch interval",
    "import gc, sys",
    "gc.disable(); sys.setswitchinterval(0.01)",
    "(gc.isenabled(), round(sys.getswitchinterval(), 3))",
)
hidden(
    "socket's default timeout", "import socket", "socket.setdefaulttimeout(3.5)", "socket.getdefaulttimeout()"
)
hidden("the umask by a child of os", "import os", "old = os.umask(0o027)", "[os.umask(0o027)]")
hidden(
    "the interactivity of the shell",
    "u0 = 0",
    "from IPython.core.interactiveshell import InteractiveShell\nInteractiveShell.ast_node_interactivity = 'all'",
    "get_ipython().ast_node_interactivity",
)
hidden(
    "a pandas plotting backend",
    "import pandas as pd",
    "pd.options.mode.copy_on_write = True",
    "pd.options.mode.copy_on_write",
    telling=True,
)
hidden(
    "seaborn's palette",
    "import seaborn as sns",
    "sns.set_palette('pastel'); sns.set_context('talk')",
    "(sns.color_palette()[0], sns.plotting_context()['font.size'])",
)
hidden(
    "calendar and email policies",
    "import calendar",
    "calendar.setfirstweekday(6)",
    "calendar.firstweekday()",
    telling=True,
)
hidden(
    "an open figure",
    "import matplotlib.pyplot as plt",
    "fig = plt.figure(7); plt.title('seven')",
    "(plt.get_fignums(), plt.gcf().axes[0].get_title() if plt.get_fignums() else None)",
)
hidden(
    "rlimit",
    "import resource",
    "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); s = resource.getrlimit(resource.RLIMIT_NOFILE); resource.setrlimit(resource.RLIMIT_NOFILE, (min(500, s[1]), s[1]))",
    "resource.getrlimit(resource.RLIMIT_NOFILE)[0]",
)
hidden(
    "tracemalloc and faulthandler",
    "import tracemalloc",
    "tracemalloc.start()",
    "tracemalloc.is_tracing()",
    telling=True,
)
hidden(
    "an import hook",
    "import sys, types, importlib.abc, importlib.machinery",
    "class F(importlib.abc.MetaPathFinder, importlib.abc.Loader):\n    def find_spec(self, n, p, t=None): return importlib.machinery.ModuleSpec(n, self) if n == 'made_up' else None\n    def create_module(self, s): return None\n    def exec_module(self, m): m.V = 4\nsys.meta_path.append(F())",
    "__import__('made_up').V",
    telling=True,
)

case(
    "hidden state changed by an edit",
    9,
    """
# %% a
import decimal
# %% b
decimal.getcontext().prec = 4
# %% c
x = decimal.Decimal(1) / 3
print(x)
""",
    sets(b="decimal.getcontext().prec = 8"),
    "x",
    rerun="b c",
    skip="a",
)

case(
    "a setting that is taken back",
    9,
    """
# %% a
import pandas as pd
# %% b
pd.set_option('display.max_columns', 3)
# %% c
df = pd.DataFrame([range(6)])
df
# %% d
pd.reset_option('display.max_columns')
# %% e
df
""",
    deletes("d"),
    "pd.get_option('display.max_columns')",
    rerun="e",
    skip="a b c",
)

case(
    "a context manager leaves nothing",
    9,
    """
# %% a
import numpy as np, decimal, warnings
# %% b
with np.errstate(all='raise'), decimal.localcontext() as ctx, warnings.catch_warnings():
    ctx.prec = 2; warnings.simplefilter('error'); x = decimal.Decimal(1) / 3
# %% c
y = decimal.Decimal(1) / 3
print(x, y)
""",
    sets(
        b="with np.errstate(all='ignore'), decimal.localcontext() as ctx, warnings.catch_warnings():\n    ctx.prec = 3; x = decimal.Decimal(1) / 3"
    ),
    "x; y",
    rerun="b",
    skip="a",
)

case(
    "a warning is shown once",
    9,
    """
# %% a
import warnings
def f(): warnings.warn('careful', DeprecationWarning)
warnings.simplefilter('default')
# %% b
f()
# %% c
f(); x = 1
""",
    sets(c="f(); x = 2"),
    "x",
    rerun="c",
)

case(
    "a monkeypatch undone by an edit",
    9,
    """
# %% a
import math
# %% b
math.sqrt = lambda x: 'patched'
# %% c
r = math.sqrt(4)
print(r)
""",
    sets(b="pass"),
    "r",
    rerun="b c",
    skip="a",
    telling=True,
)

case(
    "the folder changes for a reader",
    9,
    """
# %% a
import os
# %% b
os.chdir('one')
# %% c
t = open('a.txt').read()
print(t)
""",
    sets(b="os.chdir('two')"),
    "t; os.path.basename(os.getcwd())",
    rerun="b c",
    skip="a",
    files={"one/a.txt": "1", "two/a.txt": "2"},
)

case(
    "a builtin hidden by a name, which is deleted",
    9,
    """
# %% a
len = lambda x: 'mine'
# %% b
r = len([1])
# %% c
del len
# %% d
s = len([1])
print(r, s)
""",
    both(deletes("a", "c"), same),
    "r; s",
    rerun="b d",
)

case(
    "a style in a helper module of settings",
    9,
    """
# %% a
import matplotlib.pyplot as plt
SETTINGS = {'axes.grid': True}
def apply(): plt.rcParams.update(SETTINGS)
# %% b
apply()
# %% c
fig, ax = plt.subplots()
g = ax.xaxis.get_gridlines()[0].get_visible()
plt.close(fig)
print(g)
""",
    sets(
        a="import matplotlib.pyplot as plt\nSETTINGS = {'axes.grid': False}\ndef apply(): plt.rcParams.update(SETTINGS)"
    ),
    "g",
    rerun="a b c",
)

case(
    "a logger set before stderr's descriptor is used",
    9,
    """
# %% set
import logging
logging.getLogger('library').setLevel(logging.DEBUG)
# %% use
import os, sys
x = 1
""",
    sets(use="import os, sys\nx = os.fstat(sys.stderr.fileno()).st_nlink"),
    "x",
    rerun="use",
    skip="set",
    telling=True,
)

case(
    "a local module that says something, imported again",
    13,
    """
# %% write
from pathlib import Path
Path('talking.py').write_text("print('hello from the module')\\nSIZE = 1\\n")
# %% import
import this, talking
# %% change
Path('talking.py').write_text("print('changed')\\nSIZE = 2\\n")
# %% use
x = 1
""",
    sets(use="x = talking.SIZE\nprint(x)"),
    "x; talking.SIZE",
    rerun="use",
    skip="write import change",
    telling=True,
)

# -- what others hold ---------------------------------------------------------------------------------------------------

_SETTABLE = "LEVEL = 1\nCB = []\ndef f(v):\n    global LEVEL\n    LEVEL = v\ndef get(): return LEVEL\n"

case(
    "a log handler on a buffer of the notebook",
    9,
    """
# %% a
import logging, io
buf = io.StringIO()
lg = logging.getLogger('x'); lg.setLevel('INFO'); lg.addHandler(logging.StreamHandler(buf)); lg.propagate = False
# %% b
logging.getLogger('x').info('one')
# %% c
print(buf.getvalue())
""",
    sets(b="logging.getLogger('x').info('two')"),
    "buf.getvalue()",
    rerun="b c",
    telling=True,
)

case(
    "a log handler's list",
    9,
    """
# %% a
import logging
records = []
class H(logging.Handler):
    def emit(self, r): records.append(r.getMessage())
lg = logging.getLogger('y'); lg.setLevel('INFO'); lg.addHandler(H()); lg.propagate = False
# %% b
logging.getLogger('y').info('one')
# %% c
print(records)
""",
    sets(b="logging.getLogger('y').info('two')"),
    "records",
    rerun="b c",
)

case(
    "a callback for numpy's errors",
    9,
    """
# %% a
import numpy as np
errs = []
np.seterrcall(lambda t, f: errs.append(t)); np.seterr(all='call')
# %% b
np.array([1.]) / 0
# %% c
print(errs)
""",
    sets(b="np.array([1.]) / 0; np.array([2.]) / 0"),
    "errs",
    rerun="b c",
)

case(
    "showwarning fills a list",
    9,
    """
# %% a
import warnings
seen = []
warnings.simplefilter('always')
warnings.showwarning = lambda m, *a, **k: seen.append(str(m))
# %% b
warnings.warn('one')
# %% c
print(seen)
""",
    sets(b="warnings.warn('two')"),
    "seen",
    rerun="b c",
)

case(
    "stdout goes into a buffer over cells",
    9,
    """
# %% a
import sys, io
buf = io.StringIO(); real = sys.stdout
sys.stdout = buf
# %% b
print('one')
# %% c
sys.stdout = real
v = buf.getvalue()
print(v)
""",
    sets(b="print('two')"),
    "v",
    rerun="b c",
)

case(
    "a callback of the collector",
    9,
    """
# %% a
import gc
calls = []
def cb(phase, info): calls.append(phase)
gc.callbacks.append(cb)
# %% b
gc.collect()
# %% c
gc.callbacks.remove(cb)
print(len(calls) >= 2)
""",
    sets(b="gc.collect(); gc.collect()"),
    "len(calls) >= 2",
)

case(
    "a trace function fills a list",
    9,
    """
# %% a
import sys
lines = []
def f(x): return x + 1
def tr(frame, ev, arg):
    if frame.f_code.co_name == 'f': lines.append(ev)
    return None
sys.settrace(tr)
# %% b
f(1)
# %% c
sys.settrace(None)
print(lines)
""",
    sets(b="f(1); f(2)"),
    "lines",
    rerun="b c",
)

case(
    "a finder notes what is asked for",
    13,
    """
# %% a
import sys
asked = []
class F:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.startswith('zz'): asked.append(name)
        return None
sys.meta_path.insert(0, F)
# %% b
try:
    import zzone
except ImportError: pass
# %% c
sys.meta_path.remove(F)
print(asked)
""",
    sets(b="try:\n    import zztwo\nexcept ImportError: pass"),
    "asked",
    rerun="b c",
)

case(
    "a library's method is replaced by one that notes",
    9,
    """
# %% a
import pandas as pd
hits = []
_h = pd.DataFrame.head
def head(self, n=5):
    hits.append(n); return _h(self, n)
pd.DataFrame.head = head
# %% b
r = pd.DataFrame({'x': range(9)}).head(3)
# %% c
pd.DataFrame.head = _h
print(hits)
""",
    sets(b="r = pd.DataFrame({'x': range(9)}).head(4)"),
    "hits",
    rerun="b c",
)

case(
    "a local module keeps a callback",
    9,
    """
# %% a
import helper
got = []
helper.on(got.append)
# %% b
helper.fire(1)
# %% c
print(got)
""",
    sets(b="helper.fire(2)"),
    "got",
    files={"helper.py": "CB = []\ndef on(f): CB.append(f)\ndef fire(v):\n    for f in CB: f(v)\n"},
    rerun="b c",
    telling=True,
)

case(
    "a module is set in the cell that imports it",
    9,
    """
# %% a
import helper
helper.f(5)
# %% b
x = 1
# %% c
print(helper.get() + x)
""",
    sets(b="x = 2"),
    "x",
    files={"helper.py": _SETTABLE},
    rerun="b c",
    skip="a",
    telling=True,
)

case(
    "a module is set by a function of its own",
    9,
    """
# %% a
import helper
# %% b
helper.f(5)
# %% c
x = 1
# %% d
print(helper.get() + x)
""",
    sets(c="x = 2"),
    "x",
    files={"helper.py": _SETTABLE},
    rerun="c d",
    skip="a b",
)

case(
    "a module is set by a function that returns",
    9,
    """
# %% a
import helper
# %% b
r = helper.f(5)
# %% c
x = 1
# %% d
print(helper.get() + x)
""",
    sets(c="x = 2"),
    "x",
    files={"helper.py": _SETTABLE},
    rerun="c d",
    skip="a b",
)

# -- the same, where the source does not say it plainly -------------------------------------------------------------------

hidden(
    "a setting in C, set by a function",
    "import csv\ndef setup(): csv.register_dialect('semi', delimiter=';')",
    "setup()",
    "csv.get_dialect('semi').delimiter",
    telling=True,
)
hidden(
    "a setting in C, set by a method",
    "import csv\nclass Setup:\n    def go(self):\n        csv.register_dialect('semi', delimiter=';')\n        return self",
    "s = Setup().go()",
    "csv.get_dialect('semi').delimiter",
)
hidden(
    "a setter that was imported by its name",
    "import csv\nfrom csv import register_dialect",
    "register_dialect('semi', delimiter=';')",
    "csv.get_dialect('semi').delimiter",
)
hidden(
    "a setter under another name, its value kept",
    "import csv\nlimit = csv.field_size_limit",
    "old = limit(5000)",
    "csv.field_size_limit()",
    telling=True,
)
hidden(
    "a setter by getattr",
    "import csv",
    "getattr(csv, 'register_dialect')('semi', delimiter=';')",
    "csv.get_dialect('semi').delimiter",
)
hidden(
    "an error handler registered by a function",
    "import codecs\ndef go(): codecs.register_error('zed', lambda e: ('Z', e.end))",
    "go()",
    "'é'.encode('ascii', 'zed')",
)
hidden("how nice the process is", "import os", "_ = os.nice(1)", "os.nice(0)")
hidden(
    "an attribute of a module beside a seed",
    "import numpy as np",
    "np.random.seed(1); np.my_const = 5",
    "(np.my_const, np.random.rand())",
    telling=True,
)
hidden(
    "an attribute of a module beside a variable of the environment",
    "import os",
    "os.environ['QQ'] = '1'; os.my_const = 5",
    "(os.my_const, os.environ['QQ'])",
)
hidden(
    "an attribute of a module passed to a function",
    "import random\ndef go(m, n): setattr(m, n, 5)",
    "go(random, 'my_const')",
    "random.my_const",
)
hidden(
    "a library's class changed by a function",
    "import json\ndef patch():\n    def default(self, o): return sorted(o)\n    json.JSONEncoder.default = default",
    "patch()",
    "json.dumps({3, 1})",
)
hidden(
    "a library's object changed by a function",
    "import reprlib\ndef f(n): reprlib.aRepr.maxlist = n",
    "f(2)",
    "reprlib.repr([1, 2, 3, 4])",
)
hidden(
    "a module put in place by a function",
    "import sys, types\ndef go():\n    m = types.ModuleType('fakemod'); m.V = 3\n    sys.modules['fakemod'] = m",
    "go()",
    "__import__('fakemod').V",
)
hidden(
    "an abstract class registers by a function",
    "import collections.abc\nclass Q: pass\ndef go(c): collections.abc.Sized.register(c)",
    "go(Q)",
    "issubclass(Q, collections.abc.Sized)",
)
hidden(
    "the decimal context in a list",
    "import decimal\nheld = {'c': [decimal.getcontext()]}",
    "w = 1",
    "(setattr(held['c'][0], 'prec', 5), decimal.Decimal(1) / 3)",
    telling=True,
)
hidden(
    "a handler that is a variable, too",
    "import logging\nlog = logging.getLogger('q2')",
    "log.setLevel(10); h = logging.NullHandler(); log.addHandler(h)",
    "(log.handlers[0] is h, log.level)",
)
hidden(
    "an attribute of a logger",
    "import logging",
    "logging.getLogger('zz').note = 5",
    "logging.getLogger('zz').note",
)

case(
    "a list that a module holds",
    9,
    """
# %% a
import string
xs = [1]
string.bag = xs
# %% b
xs.append(2)
# %% c
print(string.bag)
""",
    sets(b="xs.append(3)"),
    "xs; string.bag; string.bag is xs",
    rerun="b c",
    telling=True,
)
