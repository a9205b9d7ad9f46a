# ruff: noqa: E501 - cells are quoted as users write them
"""Child processes and what they read and write, modules beside the notebook, clocks and identities."""

import shutil

from .case import OLD, both, case, deletes, does, inserts, moves, removes, same, sets, touches, writes

# -- files and processes ---------------------------------------------------------------------------------------------------

case(
    "a file written by a shell command",
    12,
    """
# %% a
!echo one > out.txt
# %% b
t = open('out.txt').read()
print(t)
""",
    sets(a="!echo two > out.txt"),
    "t",
    rerun="a b",
)

case(
    "a file that a shell command reads",
    12,
    """
# %% a
n = !wc -l < in.txt
# %% b
print(n)
""",
    writes("in.txt", "a\nb\nc\n", OLD),
    "list(n)",
    rerun="a b",
    files={"in.txt": "a\nb\n"},
)

case(
    "a pipeline of commands",
    12,
    """
# %% a
%%bash
sort words.txt | uniq -c | sort -rn | head -1 > top.txt
# %% b
print(open('top.txt').read().split())
""",
    writes("words.txt", "b\na\nb\nb\n"),
    "open('top.txt').read().split()",
    rerun="a b",
    files={"words.txt": "a\nb\na\n"},
    telling=True,
)

case(
    "a variable expanded in a command",
    12,
    """
# %% a
name = 'one.txt'
# %% b
out = !cat {name}
# %% c
print(out)
""",
    sets(a="name = 'two.txt'"),
    "list(out)",
    rerun="a b c",
    files={"one.txt": "1", "two.txt": "2"},
)

case(
    "output of bash in a variable",
    12,
    """
# %% a
%%bash --out text
cat in.txt
# %% b
n = len(text)
print(n)
""",
    writes("in.txt", "longer"),
    "n; text",
    rerun="a b",
    files={"in.txt": "abc"},
)

case(
    "subprocess.run",
    12,
    """
# %% a
import subprocess
# %% b
r = subprocess.run(['sh', '-c', 'cat in.txt; echo done'], capture_output=True, text=True).stdout
# %% c
print(r)
""",
    writes("in.txt", "two ", OLD),
    "r",
    rerun="b c",
    skip="a",
    files={"in.txt": "one "},
)

case(
    "a script run by Python",
    12,
    """
# %% a
import subprocess, sys
r = subprocess.check_output([sys.executable, 'script.py', '3'], text=True)
# %% b
print(r)
""",
    writes("script.py", "import sys\nprint(int(sys.argv[1]) * 3)\n", OLD),
    "r",
    rerun="a b",
    files={"script.py": "import sys\nprint(int(sys.argv[1]) * 2)\n"},
)

case(
    "a script imports a module",
    12,
    """
# %% a
import subprocess, sys
r = subprocess.check_output([sys.executable, 'script.py'], text=True)
# %% b
print(r)
""",
    writes("tools.py", "V = 'two'\n"),
    "r",
    rerun="a b",
    files={"script.py": "import tools\nprint(tools.V)\n", "tools.py": "V = 'one'\n"},
)

case(
    "a script that another command wrote",
    12,
    """
# %% a
%%writefile gen.sh
cp src.txt dst.txt
# %% b
!sh gen.sh
# %% c
t = open('dst.txt').read()
print(t)
""",
    writes("src.txt", "two", OLD),
    "t; open('dst.txt').read()",
    rerun="b c",
    files={"src.txt": "one"},
    left=True,
)

case(
    "the environment given to a child",
    12,
    """
# %% a
import subprocess, os
env = {**os.environ, 'LEVEL': '1'}
# %% b
r = subprocess.run('echo $LEVEL', shell=True, env=env, capture_output=True, text=True).stdout
print(r)
""",
    sets(a="import subprocess, os\nenv = {**os.environ, 'LEVEL': '2'}"),
    "r",
    rerun="a b",
)

case(
    "the environment set, then a child",
    12,
    """
# %% a
%env LEVEL=1
# %% b
!echo level $LEVEL
# %% c
u = 1
""",
    sets(a="%env LEVEL=2"),
    "u",
    rerun="a b",
    skip="c",
)

case(
    "the working folder of a child",
    12,
    """
# %% a
import os
os.chdir('d1')
# %% b
r = !cat a.txt
# %% c
print(r)
""",
    sets(a="import os\nos.chdir('d2')"),
    "list(r)",
    rerun="a b c",
    files={"d1/a.txt": "1", "d2/a.txt": "2"},
)

case(
    "cwd= of a child",
    12,
    """
# %% a
import subprocess
r = subprocess.run(['cat', 'a.txt'], cwd='d1', capture_output=True, text=True).stdout
# %% b
print(r)
""",
    writes("d1/a.txt", "9"),
    "r",
    rerun="a b",
    files={"d1/a.txt": "1"},
)

case(
    "a pool of processes reads files",
    12,
    """
# %% a
from concurrent.futures import ProcessPoolExecutor
import multiprocessing as mp
def size(p): return len(open(p).read())
# %% b
with ProcessPoolExecutor(2, mp_context=mp.get_context('fork')) as pool:
    sizes = list(pool.map(size, ['a.txt', 'b.txt']))
# %% c
print(sizes)
""",
    writes("b.txt", "12345"),
    "sizes",
    rerun="b c",
    skip="a",
    files={"a.txt": "1", "b.txt": "12"},
)

case(
    "joblib writes and reads",
    12,
    """
# %% a
from joblib import Parallel, delayed
def work(i):
    open(f'o{i}.txt', 'w').write(str(i * 2))
    return i
# %% b
r = Parallel(n_jobs=2)(delayed(work)(i) for i in range(3))
# %% c
t = [open(f'o{i}.txt').read() for i in r]
print(t)
""",
    sets(
        a="from joblib import Parallel, delayed\ndef work(i):\n    open(f'o{i}.txt', 'w').write(str(i * 3))\n    return i"
    ),
    "t",
    rerun="a b c",
)

case(
    "joblib.dump and load",
    12,
    """
# %% a
import joblib, numpy as np
joblib.dump(np.arange(5), 'm.pkl')
# %% b
m = joblib.load('m.pkl')
s = int(m.sum())
print(s)
""",
    sets(a="import joblib, numpy as np\njoblib.dump(np.arange(6), 'm.pkl')"),
    "s",
    rerun="a b",
)

case(
    "joblib.Memory",
    12,
    """
# %% a
from joblib import Memory
mem = Memory('cache', verbose=0)
@mem.cache
def f(x): return x * 2
# %% b
r = f(3)
# %% c
print(r)
""",
    sets(a="from joblib import Memory\nmem = Memory('cache', verbose=0)\n@mem.cache\ndef f(x): return x * 5"),
    "r",
    rerun="a b c",
    left=True,
)

case(
    "an output file appended to",
    12,
    """
# %% a
open('log.txt', 'w').write('start\\n')
# %% b
with open('log.txt', 'a') as f: f.write('b\\n')
# %% c
with open('log.txt', 'a') as f: f.write('c\\n')
# %% d
t = open('log.txt').read()
print(t)
""",
    sets(b="with open('log.txt', 'a') as f: f.write('B\\n')"),
    "t; open('log.txt').read()",
    rerun="b c d",
    skip="a",
    left=True,
)

case(
    "an output renamed and a folder removed",
    12,
    """
# %% a
import os, shutil
os.makedirs('tmp/x', exist_ok=True); open('tmp/x/a', 'w').write('1')
# %% b
os.replace('tmp/x/a', 'final.txt'); shutil.rmtree('tmp')
# %% c
r = (open('final.txt').read(), os.path.exists('tmp'))
print(r)
""",
    sets(a="import os, shutil\nos.makedirs('tmp/x', exist_ok=True); open('tmp/x/a', 'w').write('2')"),
    "r; sorted(os.listdir())",
    rerun="a b c",
)

case(
    "all artefacts are deleted",
    12,
    """
# %% a
import pandas as pd
pd.DataFrame({'v': [1, 2]}).to_csv('o/d.csv', index=False) if __import__('os').makedirs('o', exist_ok=True) is None else 0
# %% b
df = pd.read_csv('o/d.csv')
# %% c
s = int(df.v.sum())
""",
    both(does(lambda f: shutil.rmtree(f / "o", ignore_errors=True)), sets(c="s = int(df.v.max())")),
    "s; open('o/d.csv').read()",
    rerun="c",
    skip="b",
)

case(
    "a figure saved",
    12,
    """
# %% a
import matplotlib.pyplot as plt, os
fig, ax = plt.subplots(); ax.plot([1, 2])
# %% b
fig.savefig('f.png')
# %% c
ok = os.path.getsize('f.png') > 100
print(ok)
""",
    removes("f.png"),
    "ok; os.path.exists('f.png')",
    shown="c",
)

case(
    "a symbolic link retargeted by a command",
    12,
    """
# %% a
!ln -sfn v1 current
# %% b
t = open('current/a.txt').read()
print(t)
""",
    sets(a="!ln -sfn v2 current"),
    "t",
    rerun="a b",
    files={"v1/a.txt": "1", "v2/a.txt": "2"},
)

case(
    "a link's target changes",
    12,
    """
# %% a
import os
if not os.path.islink('link'): os.symlink('real.txt', 'link')
# %% b
t = open('link').read()
print(t)
""",
    writes("real.txt", "two", OLD),
    "t",
    rerun="b",
    files={"real.txt": "one"},
    left=True,
)

case(
    "a program in the folder changes",
    12,
    """
# %% a
!chmod +x prog.sh
# %% b
r = !./prog.sh
# %% c
print(r)
""",
    writes("prog.sh", "#!/bin/sh\necho two\n"),
    "list(r)",
    rerun="b c",
    files={"prog.sh": "#!/bin/sh\necho one\n"},
)

case(
    "two commands in one cell, the second fails",
    12,
    """
# %% a
!echo fine; false
# %% b
import subprocess
r = subprocess.run('exit 3', shell=True).returncode
print(r)
""",
    sets(b="import subprocess\nr = subprocess.run('exit 4', shell=True).returncode\nprint(r)"),
    "r",
    rerun="b",
    skip="a",
)

case(
    "a temporary file between two commands",
    12,
    """
# %% a
%%bash
t=$(mktemp -p .); echo hello > $t; cat $t > copy.txt; rm $t
# %% b
s = open('copy.txt').read()
print(s)
""",
    sets(b="s = open('copy.txt').read().upper()\nprint(s)"),
    "s",
    rerun="b",
)

case(
    "git in the folder",
    12,
    """
# %% a
%%bash
git init -q . 2>/dev/null; git -c user.name=n -c user.email=e commit -q --allow-empty -m first --date=2020-01-01T00:00:00 2>/dev/null; git log --format=%s > log.txt
# %% b
t = open('log.txt').read()
print(t)
""",
    same,
    "t",
    left=True,
)

# -- local modules ---------------------------------------------------------------------------------------------------------

case(
    "a package with submodules",
    13,
    """
# %% a
from pkg import api
from pkg.sub.deep import K
# %% b
r = api.run(2) + K
print(r)
""",
    writes("pkg/sub/deep.py", "K = 2000\n", OLD),
    "r",
    rerun="b",
    files={
        "pkg/__init__.py": "",
        "pkg/api.py": "from .core import twice\ndef run(x): return twice(x)\n",
        "pkg/core.py": "def twice(x): return x * 2\n",
        "pkg/sub/__init__.py": "",
        "pkg/sub/deep.py": "K = 1000\n",
    },
    telling=True,
)

case(
    "a helper of a helper",
    13,
    """
# %% a
from pkg import api
# %% b
r = api.run(2)
print(r)
""",
    writes("pkg/core.py", "def twice(x): return x * 22\n", OLD),
    "r",
    rerun="b",
    files={
        "pkg/__init__.py": "",
        "pkg/api.py": "from .core import twice\ndef run(x): return twice(x)\n",
        "pkg/core.py": "def twice(x): return x * 2\n",
    },
)

case(
    "a comment in a module",
    13,
    """
# %% a
import helper
# %% b
r = helper.f(2)
print(r)
""",
    writes("helper.py", "# a comment\ndef f(x):\n    return x * 2\n"),
    "r",
    skip="b",
    files={"helper.py": "def f(x): return x * 2\n"},
)

case(
    "a function of the module that nobody calls",
    13,
    """
# %% a
from helper import f
# %% b
r = f(2)
print(r)
# %% c
s = 1
""",
    writes("helper.py", "def f(x): return x * 2\ndef g(x): return 9\n"),
    "r; s",
    skip="c",
    files={"helper.py": "def f(x): return x * 2\ndef g(x): return 1\n"},
)

case(
    "a star import",
    13,
    """
# %% a
from helper import *
# %% b
r = f(K)
print(r)
""",
    writes("helper.py", "K = 5\ndef f(x): return x * 2\ndef extra(): pass\n"),
    "r; 'extra' in globals()",
    rerun="a b",
    files={"helper.py": "K = 3\ndef f(x): return x * 2\n"},
)

case(
    "a module loses a name",
    13,
    """
# %% a
import helper
# %% b
r = getattr(helper, 'OPTION', 'none')
print(r)
""",
    writes("helper.py", "X = 1\n"),
    "r",
    rerun="b",
    files={"helper.py": "OPTION = 1\n"},
)

case(
    "a module read again after an edit",
    13,
    """
# %% a
import importlib, helper
# %% b
open('helper.py', 'w').write('V = 2\\n'); r0 = helper.V
# %% c
importlib.invalidate_caches(); importlib.reload(helper)
# %% d
r = helper.V
print(r0, r)
""",
    sets(b="open('helper.py', 'w').write('V = 333\\n'); r0 = helper.V"),
    "r; r0",
    files={"helper.py": "V = 1\n"},
    rerun="b d",
    left=True,
    telling=True,
)

case(
    "state kept in a module",
    13,
    """
# %% a
import helper
# %% b
helper.add('one')
# %% c
helper.add('two')
# %% d
r = helper.items
print(r)
""",
    sets(c="helper.add('three')"),
    "list(r); helper.items is r",
    rerun="c d",
    files={"helper.py": "items = []\ndef add(x): items.append(x)\n"},
)

case(
    "a setting of a module",
    13,
    """
# %% a
import helper
# %% b
helper.RATE = 10
# %% c
r = helper.f(1)
print(r)
""",
    sets(b="helper.RATE = 20"),
    "r",
    rerun="b c",
    files={"helper.py": "RATE = 1\ndef f(x): return x * RATE\n"},
)

case(
    "modules that import each other",
    13,
    """
# %% a
import one
# %% b
r = one.f()
print(r)
""",
    writes("two.py", "import one\ndef g(): return one.BASE + 50\n"),
    "r",
    rerun="b",
    files={
        "one.py": "BASE = 1\nimport two\ndef f(): return two.g()\n",
        "two.py": "import one\ndef g(): return one.BASE + 5\n",
    },
    telling=True,
)

case(
    "a module reads a file while it is imported",
    13,
    """
# %% a
import settings
# %% b
r = settings.CFG['v']
print(r)
""",
    writes("cfg.json", '{"v": 2}', OLD),
    "r",
    rerun="b",
    files={"settings.py": "import json\nCFG = json.load(open('cfg.json'))\n", "cfg.json": '{"v": 1}'},
)

case(
    "a module used by a module",
    13,
    """
# %% a
import one
# %% b
r = one.f()
print(r)
""",
    writes("two.py", "def g(): return 55\n", OLD),
    "r",
    rerun="b",
    files={"one.py": "import two\ndef f(): return two.g()\n", "two.py": "def g(): return 5\n"},
    telling=True,
)

case(
    "a module imported late by a module",
    13,
    """
# %% a
import one
# %% b
r = one.f()
print(r)
""",
    writes("two.py", "def g(): return 55\n", OLD),
    "r",
    rerun="b",
    skip="a",
    files={"one.py": "def f():\n    import two\n    return two.g()\n", "two.py": "def g(): return 5\n"},
)

case(
    "a function of a module reads a file",
    13,
    """
# %% a
import loader
# %% b
r = loader.load()
print(r)
""",
    writes("data.txt", "two", OLD),
    "r",
    rerun="b",
    skip="a",
    files={
        "loader.py": "from pathlib import Path\nHERE = Path(__file__).parent\ndef load(): return (HERE / 'data.txt').read_text()\n",
        "data.txt": "one",
    },
)

case(
    "a module shadows an installed one",
    13,
    """
# %% a
import tabnanny
r = tabnanny.__name__
# %% b
s = getattr(tabnanny, 'MINE', 'library')
print(s)
""",
    writes("tabnanny.py", "MINE = 'local'\n"),
    "s",
)

case(
    "an optional module appears",
    13,
    """
# %% a
try:
    import extra
    v = extra.V
except ImportError:
    v = 'none'
# %% b
print(v)
""",
    writes("extra.py", "V = 'there'\n"),
    "v",
    rerun="a b",
)

case(
    "a class from a module, pickled as a value",
    13,
    """
# %% a
from shapes import Sq
# %% b
s = Sq(3)
# %% c
r = s.area()
print(r)
""",
    writes(
        "shapes.py",
        "class Sq:\n    def __init__(self, n): self.n = n\n    def area(self): return self.n ** 3\n",
    ),
    "r; type(s) is Sq",
    rerun="c",
    files={
        "shapes.py": "class Sq:\n    def __init__(self, n): self.n = n\n    def area(self): return self.n ** 2\n"
    },
)

case(
    "a class from a module, its constructor edited",
    13,
    """
# %% a
from shapes import Sq
# %% b
s = Sq(3)
# %% c
r = s.n
print(r)
""",
    writes("shapes.py", "class Sq:\n    def __init__(self, n): self.n = n + 100\n"),
    "r",
    rerun="b c",
    files={"shapes.py": "class Sq:\n    def __init__(self, n): self.n = n\n"},
)

case(
    "autoreload",
    13,
    """
# %% a
%load_ext autoreload
%autoreload 2
import helper
# %% b
r = helper.f(2)
print(r)
""",
    writes("helper.py", "def f(x): return x * 77\n", OLD),
    "r",
    rerun="b",
    files={"helper.py": "def f(x): return x * 2\n"},
)

case(
    "a module on an added path",
    13,
    """
# %% a
import sys
sys.path.insert(0, 'src')
# %% b
import mylib
r = mylib.V
print(r)
""",
    writes("src/mylib.py", "V = 22\n", OLD),
    "r",
    rerun="b",
    skip="a",
    files={"src/mylib.py": "V = 1\n"},
)

case(
    "a module moves to an earlier path",
    13,
    """
# %% a
import sys
sys.path[:0] = ['first', 'second']
# %% b
import mylib
r = mylib.V
print(r)
""",
    writes("first/mylib.py", "V = 'first'\n"),
    "r",
    rerun="b",
    skip="a",
    files={"second/mylib.py": "V = 'second'\n", "first/x.txt": ""},
)

case(
    "a plugin found by listing",
    13,
    """
# %% a
import importlib, pkgutil, plugins
found = sorted(m.name for m in pkgutil.iter_modules(plugins.__path__))
# %% b
r = [importlib.import_module('plugins.' + n).V for n in found]
print(r)
""",
    writes("plugins/b.py", "V = 'b'\n"),
    "r",
    rerun="a b",
    files={"plugins/__init__.py": "", "plugins/a.py": "V = 'a'\n"},
)

case(
    "a module touched",
    13,
    """
# %% a
import helper
# %% b
r = helper.f(2)
print(r)
""",
    touches("helper.py"),
    "r",
    skip="b",
    files={"helper.py": "def f(x): return x * 2\n"},
)

case(
    "a module goes away",
    13,
    """
# %% a
try:
    import helper
    ok = True
except ImportError:
    ok = False
# %% b
print(ok)
""",
    removes("helper.py"),
    "ok",
    rerun="a b",
    files={"helper.py": "V = 1\n"},
)

case(
    "a relative data file of a package",
    13,
    """
# %% a
from importlib import resources
import pkg
# %% b
t = resources.files(pkg).joinpath('t.txt').read_text()
print(t)
""",
    writes("pkg/t.txt", "two", OLD),
    "t",
    rerun="b",
    files={"pkg/__init__.py": "", "pkg/t.txt": "one"},
)

case(
    "a decorator from a module",
    13,
    """
# %% a
from deco import twice
# %% b
@twice
def g(x): return x + 1
# %% c
r = g(1)
print(r)
""",
    writes("deco.py", "def twice(f):\n    return lambda *a: 3 * f(*a)\n", OLD),
    "r",
    rerun="b c",
    files={"deco.py": "def twice(f):\n    return lambda *a: 2 * f(*a)\n"},
)

case(
    "a notebook function that a module calls back",
    13,
    """
# %% a
import engine
def rule(x): return x + K
K = 1
# %% b
r = engine.apply(rule, 5)
print(r)
""",
    sets(a="import engine\ndef rule(x): return x + K\nK = 2"),
    "r",
    rerun="a b",
    files={"engine.py": "def apply(f, x): return f(x)\n"},
)

# -- clocks and identities -----------------------------------------------------------------------------------------------------

case(
    "a time that is kept",
    16,
    """
# %% a
import time
t0 = time.time()
# %% b
t1 = t0 + 60
# %% c
d = t1 - t0
""",
    sets(c="d = round(t1 - t0)"),
    true="round(t1 - t0) == 60; d == 60",
    rerun="c",
    skip="b",
)

case(
    "two times in order",
    16,
    """
# %% a
from datetime import datetime
start = datetime.now()
# %% b
u = 1
# %% c
ok = datetime.now() >= start
""",
    sets(c="ok = (datetime.now() >= start)  and True\nprint(ok)"),
    true="ok",
    rerun="c",
    skip="b",
)

case(
    "a duration measured across cells",
    16,
    """
# %% a
import time
t0 = time.perf_counter()
# %% b
u = sum(range(1000))
# %% c
dt = time.perf_counter() - t0
ok = 0 <= dt < 600
""",
    sets(b="u = sum(range(2000))"),
    true="ok; 0 <= dt < 600; u == sum(range(2000))",
    rerun="b",
)

case(
    "a uuid used twice",
    16,
    """
# %% a
import uuid
run = uuid.uuid4().hex
# %% b
name = f'run-{run}'
# %% c
ok = name.endswith(run)
""",
    sets(c="ok = name == 'run-' + run"),
    true="ok; name == 'run-' + run",
    rerun="c",
    skip="b",
    telling=True,
)

case(
    "a file named by the time",
    16,
    """
# %% a
import time
name = f'out-{time.time_ns()}.txt'
# %% b
open(name, 'w').write('x') and None
# %% c
import os
ok = os.path.exists(name)
""",
    sets(c="import os\nok = os.path.exists(name) and open(name).read() == 'x'"),
    true="ok; os.path.exists(name)",
    rerun="c",
)

case(
    "an id compared",
    16,
    """
# %% a
x = [1]; k = id(x)
# %% b
u = 1
# %% c
same = k == id(x)
""",
    sets(c="same = (k == id(x)) or False"),
    true="same; k == id(x)",
    rerun="c",
    skip="b",
)

case(
    "a dictionary keyed by id",
    16,
    """
# %% a
nodes = [object() for _ in range(3)]
index = {id(n): i for i, n in enumerate(nodes)}
# %% b
u = 1
# %% c
r = [index[id(n)] for n in nodes]
""",
    sets(c="r = sorted(index[id(n)] for n in nodes)"),
    true="r == [0, 1, 2]",
    rerun="c",
    skip="b",
)

case(
    "a hash of a string",
    16,
    """
# %% a
h = hash('text')
# %% b
u = 1
# %% c
ok = h == hash('text')
""",
    sets(c="ok = (h == hash('text')) and True"),
    true="ok",
    rerun="c",
    skip="b",
)

case(
    "sys.argv and the interpreter",
    16,
    """
# %% a
import sys, os, platform
a = (sys.executable, platform.python_version(), os.getppid() > 0)
# %% b
ok = a[0] == sys.executable
""",
    sets(b="ok = a[0] == sys.executable and a[2]"),
    true="ok",
    rerun="b",
)

case(
    "a temporary folder made and used",
    16,
    """
# %% a
import tempfile, os
d = tempfile.mkdtemp(); p = os.path.join(d, 'x')
# %% b
open(p, 'w').write('1') and None
# %% c
r = os.listdir(d)
""",
    sets(c="r = (os.listdir(d), open(p).read())"),
    true="r == (['x'], '1')",
    rerun="c",
)

case(
    "the network, a server of one's own",
    16,
    """
# %% a
import socket, threading
srv = socket.create_server(('127.0.0.1', 0))
def serve():
    while True:
        c, _ = srv.accept(); c.sendall(b'pong'); c.close()
threading.Thread(target=serve, daemon=True).start()
# %% b
port = srv.getsockname()[1]
# %% c
with socket.create_connection(('127.0.0.1', port), 5) as s: r = s.recv(4)
""",
    sets(c="with socket.create_connection(('127.0.0.1', port), 5) as s: r = s.recv(4).upper()"),
    true="r == b'PONG'",
    rerun="c",
)

case(
    "today in a title",
    16,
    """
# %% a
import datetime as dt
stamp = f'{dt.date.today():%Y-%m-%d}'
# %% b
title = 'Report ' + stamp
# %% c
n = len(title)
""",
    sets(c="n = len(title) + 0"),
    true="title == 'Report ' + stamp; n == 17",
    rerun="c",
    skip="b",
)

case(
    "secrets and os.urandom",
    16,
    """
# %% a
import os, secrets
key = os.urandom(8); token = secrets.token_hex(4)
# %% b
pair = (key.hex(), token)
# %% c
ok = pair == (key.hex(), token)
""",
    sets(c="ok = pair[0] == key.hex() and pair[1] == token"),
    true="ok; pair[1] == token",
    rerun="c",
    skip="b",
)

case(
    "a memory limit and the load",
    16,
    """
# %% a
import os, resource
n = os.cpu_count(); use = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
# %% b
ok = use > 0 and n >= 1
""",
    inserts("a", "n", "u = 1"),
    true="ok",
    rerun="n",
)

case(
    "moved around a clock",
    16,
    """
# %% a
import time
# %% b
t = time.monotonic()
# %% c
x = 5
# %% d
ok = t > 0 and x == 5
""",
    moves("a c b d"),
    true="ok",
    skip="c",
)

case(
    "the clock's reader deleted",
    16,
    """
# %% a
import time
t = time.time()
# %% b
s = str(t)
# %% c
x = 1
""",
    deletes("b"),
    true="x == 1; t > 0",
    skip="c",
)


case(
    "a file removed by a later cell",
    12,
    """
# %% a
import os
open("x.txt", "w").write("aaa");
# %% b
text = open("x.txt").read()
# %% c
os.remove("x.txt")
# %% d
u = 1
""",
    sets(d="u = os.path.exists('x.txt')"),
    "text; u",
    rerun="d",
    skip="a b c",
)

case(
    "the number of the process, told by others",
    16,
    """
# %% a
import os, subprocess
told = subprocess.check_output("echo $PPID", shell=True, text=True).strip(), os.readlink("/proc/self")
# %% b
class A: pass
a = A(); where = repr(a)
# %% c
r = told
""",
    sets(c="r = [*told]"),
    true="set(r) == {str(os.getpid())}; where == repr(a)",
    rerun="a b c",
)


# -- modules whose size and time stay as they were ---------------------------------------------------------------------------

#: Python writes byte code, as it does where nobody says otherwise.
_WRITES = {"PYTHONDONTWRITEBYTECODE": ""}


def same_size(name: str, notebook: str, old: str, new: str, **more: object) -> None:
    """A module is edited, and neither its size nor its time changes; in cell b it is used."""
    case(
        name,
        13,
        notebook,
        writes("helper.py", new, OLD),
        "r",
        rerun="b",
        skip="c",
        files={"helper.py": old},
        env_before=_WRITES,
        env_after=_WRITES,
        **more,  # type: ignore[arg-type]
    )


_USED = """
# %% a
from helper import P
# %% b
r = P.get
# %% c
u = 1
"""

same_size(
    "a module of the same size and time",
    """
# %% a
import helper
# %% b
r = helper.f(2)
# %% c
u = 1
""",
    "def f(x): return x * 2\n",
    "def f(x): return x * 3\n",
    telling=True,
)

same_size(
    "a child imports a module of the same size and time",
    """
# %% a
import subprocess, sys
# %% b
r = subprocess.check_output([sys.executable, "-c", "import helper; print(helper.V)"], text=True)
# %% c
u = 1
""",
    "V = 1\n",
    "V = 2\n",
)

same_size(
    "what a class of a module holds",
    _USED.replace("P.get", "P().get"),
    "class P:\n    @property\n    def get(self): return 1\n",
    "class P:\n    @property\n    def get(self): return 2\n",
    telling=True,
)

same_size(
    "a field of a dataclass of a module",
    _USED.replace("P.get", "P().get"),
    "import dataclasses\n@dataclasses.dataclass\nclass P:\n    get: int = 1\n",
    "import dataclasses\n@dataclasses.dataclass\nclass P:\n    get: int = 2\n",
)

same_size(
    "an enumeration of a module",
    _USED.replace("P.get", "P.get.value"),
    "import enum\nclass P(enum.Enum):\n    get = 1\n",
    "import enum\nclass P(enum.Enum):\n    get = 2\n",
)

case(
    "whether there is a module",
    13,
    """
# %% a
import importlib.util
there = importlib.util.find_spec("helper") is not None
# %% b
print(there)
""",
    writes("helper.py", "V = 1\n"),
    "there",
    rerun="a b",
)


case(
    "a setting of a module that is asked for from outside",
    13,
    """
# %% a
import helper
# %% b
r = helper.N
# %% c
helper.N = 5
""",
    same,
    "r; helper.N",
    order="a c b",
    rerun="b",
    skip="a",
    files={"helper.py": "N = 1\n"},
)


case(
    "permissions of a file that is edited",
    12,
    """
# %% a
import os
os.chmod("in.txt", 0o640); os.utime("other.txt", (1, 1))
# %% b
u = 1
""",
    both(writes("in.txt", "new"), writes("other.txt", "new"), sets(b="u = open('in.txt').read()")),
    "u; open('other.txt').read(); oct(os.stat('in.txt').st_mode); os.stat('other.txt').st_mtime",
    rerun="a b",
    files={"in.txt": "old", "other.txt": "old"},
    telling=True,
)
