"""Random notebooks whose cells get in each other's way, and random edits, runs and restarts of them.

All kinds of values share a few names, so that most cells touch what others made. A statement says what it needs and what it
makes; deletions and swaps then break that at will: a cell that raises is as good as any.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from differential.compare import Scenario, Step

NAMES = "abcdef"
#: What stands in the folder at first.
FILES = (
    ("data.txt", "1\n2\n3\n"),
    ("table.csv", "k,v\n0,1.5\n1,2.5\n0,3.5\n"),
    (
        "helper.py",
        "LIMIT = 2\nSEEN = []\n\ndef scale(x):\n    return x * LIMIT\n\ndef note(x):\n    SEEN.append(x)\n    return len(SEEN)\n",
    ),
)
#: Other contents that an edit may give them.
CONTENTS = {
    "data.txt": ("1\n2\n3\n", "4\n5\n", "1\n2\n7\n", None),
    "table.csv": (FILES[1][1], "k,v\n0,1.0\n2,2.0\n"),
    "helper.py": (
        FILES[2][1],
        FILES[2][1].replace("LIMIT = 2", "LIMIT = 3"),
        FILES[2][1].replace("x * LIMIT", "x + LIMIT"),
    ),
}

#: One statement a line: what it makes, and its text. {new} is any name; {list}, {frame}, … a name of that kind;
#: {any} a name of any kind; {0} … a small number.
_STATEMENTS = """
int    | {new} = {0}
int    | {new} = {int} + {0}
int    | {int} += {0}
int    | {new} = len({list})
list   | {new} = [{0}, {1}]
list   | {new} = {list}
list   | {new} = {list}[:]
list   | {new} = [{list}, {list}]
list   | {new} = [{any}, {any}]
list   | {new} = sorted({dict})
list   | {new} = [n * {0} for n in {list}]
list   | {new} = [({new2} := n) for n in range({0})]
list   | {new} = list({set})
       | {list}.append({0})
       | {list}.append({any})
       | {list}[0] = {0}
       | {list} += [{0}]
       | {list}[-1].append({0})
       | {list}.pop()
       | {list}.reverse()
tuple  | {new} = ({list}, {0})
tuple  | {new}, {new2} = {list}, {0}
       | {tuple}[0].append({0})
dict   | {new} = {{'k': {0}, 'l': {1}}}
dict   | {new} = {{'k': {any}}}
dict   | {new} = dict.fromkeys(range({0}), {list})
dict   | {new} = {{n: n + {0} for n in range({1})}}
dict   | {new} = __import__('collections').defaultdict(list)
       | {dict}['k'] = {any}
       | {dict}.update(m={0})
       | {dict}.setdefault('n', []).append({0})
       | {dict}.pop('k', None)
list   | {new} = {dict}.setdefault('n', [])
set    | {new} = {{{0}, {1}, {0} + 8}}
set    | {new} = set({list})
       | {set}.add({0} + 16)
str    | {new} = 'abc'[:{0}] + str({any})
array  | {new} = np.arange({0}, 6)
array  | {new} = {array}[{0}:]
array  | {new} = {array}[::-1]
array  | {new} = {array} * {0}
array  | {new} = {array}.reshape(-1, 1)
array  | {new} = np.array([{0}.5, {1}.0])
array  | {new} = {frame}['v'].to_numpy()
array  | {new} = np.zeros({0} + 1)
       | {array}[0] = {0}
       | {array} += {0}
       | {array}.sort()
       | np.add({array}, {0}, out={array})
       | {array}.flags.writeable = False
frame  | {new} = pd.DataFrame({{'k': [0, 1, 0], 'v': [1.5, {0}, {1}]}})
frame  | {new} = pd.read_csv('table.csv')
frame  | {new} = {frame}[{frame}['v'] > {0}]
frame  | {new} = {frame}.copy()
frame  | {new} = {frame}
frame  | {new} = {frame}.groupby('k').sum()
frame  | {new} = pd.DataFrame({array})
series | {new} = {frame}['v']
series | {new} = {frame}['v'].cumsum()
       | {frame}['v'] = {0}
       | {frame}['w'] = {frame}['v'] * {0}
       | {frame}.loc[0, 'v'] = {0}
       | {frame}.iloc[0, 0] = {0}
       | {frame}.drop(columns='w', inplace=True)
       | {frame}.sort_values('v', inplace=True)
       | {series}.iloc[0] = {0}
func   | def {new}(x={0}): return x + {1}
func   | def {new}(x={0}): return x, {any}
func   | def {new}(x, seen={list}): seen.append(x); return len(seen)
func   | def {new}(x=[]): x.append({0}); return list(x)
func   | def {new}(x={0}): global {new2}; {new2} = x; return x
func   | def {new}(x={0}): return {func}(x)
func   | def {new}(x={0}): {list}.append(x); return {list}
func   | def {new}(x={0}): raise ValueError(x)
func   | {new} = lambda x={0}: (x, {any})
func   | {new} = __import__('functools').partial({func}, {0})
func   | {new} = __import__('functools').lru_cache({func})
func   | {new} = {inst}.get
func   | {new} = {list}.append
func   | {new} = helper.scale
func   | def {new}(n={0}):#    def inner(x={1}):#        nonlocal n#        n += x#        return n#    return inner
func   | {new} = {func}()
func   | def {new}(x={0}, *, y=None):#    'doc'#    try:#        return {func}(x)#    finally:#        {int}
func   | def {new}(x={0}):#    import helper#    return helper.scale(x)
       | {func}({0})
       | {func}()
       | {func}.note = {0}
class  | class {new}:#    size = {0}#    made = []#    def __init__(self, x={1}): self.x = x; self.made.append(x)#    def get(self, y={0}): return self.x + y + self.size
class  | class {new}:#    def __init__(self, x={0}): self.x = {any}#    def get(self, y={0}): return y, self.x#    def __repr__(self): return f'<{{self.x}}>'
class  | class {new}({class}):#    def get(self, y={0}): return [super().get(y)]
class  | @__import__('dataclasses').dataclass#class {new}:#    x: int = {0}#    rest: list = __import__('dataclasses').field(default_factory=list)#    def get(self, y={1}): self.rest.append(y); return self.x + y
class  | class {new}:#    __slots__ = ('x',)#    def __init__(self, x={0}): self.x = x#    def get(self, y={1}): return {func}(self.x)
inst   | {new} = {class}()
inst   | {new} = {class}({0})
inst   | {new} = {inst}
inst   | {new} = {inst}.__class__({0})
       | {inst}.x = {0}
       | {inst}.x = {any}
       | {inst}.x += {0}
       | {inst}.get()
       | {inst}.get({0})
       | {class}.size = {0}
       | {class}.get = lambda self, y={0}: y
list   | {new} = {class}.made
list   | {new} = [{class}(n) for n in range({0})]
func   | {new} = {class}
iter   | {new} = iter({list})
iter   | {new} = (n + {0} for n in {list})
iter   | {new} = map({func}, {list})
iter   | {new} = enumerate({list})
iter   | {new} = __import__('itertools').count({0})
iter   | {new} = zip({list}, {iter})
gen    | def {new}(n={0}):#    for i in range(5): yield i + n, {any}
iter   | {new} = {gen}()
iter   | {new} = {gen}({0})
       | next({iter})
any    | {new} = next({iter})
list   | {new} = list(itertools.islice({iter}, 4))
rng    | {new} = random.Random({0})
rng    | {new} = np.random.default_rng({0})
int    | {new} = {rng}.random()
       | {rng}.random()
       | random.seed({0})
       | np.random.seed({0})
int    | random.seed({0}); {new} = random.random()
any    | {new} = random.randint(0, {0} + 50)
any    | {new} = np.random.rand()
array  | np.random.seed({0}); {new} = np.random.rand({1})
       | random.shuffle({list})
any    | {new} = open('data.txt').read()
any    | {new} = sum(map(int, open('data.txt')))
       | with open('out{0}.txt', 'w') as {new}: {new}.write(str({any}))
       | open('out.txt', 'a').write('{0}')
any    | {new} = open('out.txt').read()
any    | {new} = open('out{0}.txt').read()
       | open('data.txt', 'a').write('{0}\\n')
       | open('data.txt', 'w').write('{0}\\n{1}\\n')
any    | {new} = os.path.exists('out.txt')
any    | {new} = sorted(os.listdir())
       | os.remove('out.txt')
       | os.makedirs('sub', exist_ok=True); os.chdir('sub')
       | os.chdir('..') if os.getcwd().endswith('sub') else None
any    | {new} = os.path.basename(os.getcwd())
handle | {new} = open('data.txt')
any    | {new} = {handle}.readline()
       | {handle}.close()
       | {frame}.to_csv('table.csv', index=False)
       | !echo {0} >> out.txt
       | !cat data.txt
list   | {new} = !cat out.txt
any    | {new} = subprocess.run('cat data.txt | wc -l', shell=True, capture_output=True, text=True).stdout
any    | {new} = subprocess.run('echo $SWEEP', shell=True, capture_output=True, text=True).stdout
       | os.environ['SWEEP'] = '{0}'
       | os.environ.pop('SWEEP', None)
any    | {new} = os.environ.get('SWEEP')
       | pd.set_option('display.precision', {0} + 1)
       | np.set_printoptions(precision={0})
       | pd.options.display.max_rows = {0} + 2
       | np.seterr(divide='raise')
       | warnings.simplefilter('error')
       | warnings.filterwarnings('ignore', message='w{0}')
       | warnings.warn('w{0}')
       | decimal.getcontext().prec = {0} + 2
any    | {new} = decimal.Decimal(1) / {0}
       | sys.path.insert(0, 'sub')
       | sys.setrecursionlimit(2000 + {0})
       | helper.LIMIT = {0}
       | helper.SEEN.append({any})
list   | {new} = helper.SEEN
any    | {new} = helper.note({0})
any    | {new} = helper.scale({0})
       | from helper import scale as {new}, SEEN as {new2}
       | import helper as {new}
       | importlib.reload(helper)
       | math.extra = {any}
any    | {new} = getattr(math, 'extra', None)
       | del {any}
       | raise KeyError({0})
       | {0} / ({int} - {0})
exc    | try: {any}.nothing#except Exception as e: {new} = e
any    | {new} = globals().get('{any}')
       | globals()['{new}'] = {0}
       | exec('{new} = {0}')
any    | {new} = eval('{any}')
any    | {new} = copy.deepcopy({any})
any    | {new} = copy.copy({any})
any    | {new} = {any}
       | {new}, {new2} = {any}, {any}
       | for {new} in range({0}): {list}.append({new})
any    | {new} = isinstance({inst}, {class})
any    | {new} = weakref.ref({inst})
list   | {new} = memoryview(bytearray(b'ab{0}'))
list   | {new} = collections.deque([{0}], maxlen=2)
any    | {new} = In[-1]
any    | {new} = _
"""
#: What a cell ends with: mostly it shows something.
_ENDS = (
    "{any}",
    "print({any})",
    "print({any}, {any})",
    "print({list}, {array})",
    "{any}; {any}",
    "{frame}.head({0})",
    "display({any})",
    "print(*map(str, [{any}, {any}]), sep='/')",
    "",
    "",
)
_IMPORTS = (
    "import collections, copy, decimal, importlib, itertools, math, os, random, subprocess, sys, warnings, weakref\n"
    "import numpy as np, pandas as pd\nimport helper"
)
_HOLE = re.compile(r"\{\{|\}\}|\{(\w+)\}")
_NUMBER = re.compile(r"(?<![\w.])\d(?![\w.])")


@dataclass(frozen=True)
class Statement:
    """One line of the table."""

    makes: str
    text: str
    needs: frozenset[str]


def _table() -> tuple[Statement, ...]:
    found = []
    for line in _STATEMENTS.strip().splitlines():
        makes, _, text = line.partition(" | ")
        needs = {n for n in _HOLE.findall(text) if n.isalpha() and n not in ("new", "any")}
        found.append(Statement(makes.strip(), text.strip(), frozenset(needs)))
    return tuple(found)


STATEMENTS = _table()


class Writer:
    """Writes cells; remembers which name should hold what kind of value by then."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._kinds: dict[str, str] = {}

    def cell(self) -> str:
        """The source of a new cell: one to three statements, and what it shows."""
        lines = [self._statement() for _ in range(self._random.randint(1, 3))]
        end = self._random.choice([e for e in _ENDS if self._possible(e)])
        lines += [self._fill(end)] if end else []
        return "\n".join(lines)

    def _statement(self) -> str:
        choice = self._random.choice([s for s in STATEMENTS if self._known(s.needs)])
        return self._fill(choice.text, choice.makes)

    def _known(self, kinds: frozenset[str]) -> bool:
        return kinds <= {*self._kinds.values()}

    def _possible(self, text: str) -> bool:
        return self._known(frozenset(n for n in _HOLE.findall(text) if n.isalpha() and n != "any"))

    def _fill(self, text: str, makes: str = "") -> str:
        new: dict[str, str] = {}
        pair = [str(self._random.randint(0, 3)), str(self._random.randint(0, 3))]

        def fill(match: re.Match[str]) -> str:
            what = match[1]
            if what is None:
                return match[0][0]
            if what.isdigit():
                return pair[int(what)]
            if what in ("new", "new2"):
                return new.setdefault(what, self._random.choice([n for n in NAMES if n not in new.values()]))
            return self._random.choice(
                [n for n, kind in self._kinds.items() if what in ("any", kind)] or ["a"]
            )

        filled = _HOLE.sub(fill, text).replace("#", "\n")
        for what, name in new.items():
            self._kinds[name] = (makes or "any") if what == "new" else "int"
        return filled


def scenario(random: Random) -> Scenario:
    """A notebook, sessions, and edits of cells and files between and within them; all choices are those of `random`."""
    writer = Writer(random)
    cells: dict[str, str] = {"imports": _IMPORTS}
    names = iter(f"c{i}" for i in range(1, 100))

    for _ in range(random.randint(2, 8)):
        cells[next(names)] = writer.cell()

    def edit(within: bool) -> list[Step]:
        own = [n for n in cells if n != "imports"]
        kind = random.choice(
            ("number", "number", "number", "new", "delete", "swap", "comment", "file", "file", "replace")
        )
        if kind == "file":
            # an edited module is imported anew by us, which is better than what a plain kernel does
            path = random.choice([p for p in CONTENTS if not (within and p.endswith(".py"))])
            return [("write", path, random.choice(CONTENTS[path]))]
        if kind == "new" or not own:
            _insert(cells, random.randint(1, len(cells)), next(names), writer.cell())
            return []
        name = random.choice(own)
        places = list(_NUMBER.finditer(cells[name]))
        if kind == "number" and places:
            at = random.choice(places)
            cells[name] = (
                cells[name][: at.start()]
                + str((int(at[0]) + random.randint(1, 3)) % 5)
                + cells[name][at.end() :]
            )
        elif kind == "delete":
            del cells[name]
        elif kind == "swap":
            text = cells.pop(name)
            _insert(cells, random.randint(1, len(cells)), name, text)
        elif kind == "comment":
            cells[name] = f"# {random.randint(0, 3)}\n{cells[name]}"
        elif kind == "replace":
            cells[name] = writer.cell()
        return []

    sessions: list[tuple[Step, ...]] = []
    for round_number in range(random.randint(2, 4)):
        steps: list[Step] = []
        if round_number:
            for _ in range(random.randint(0, 2)):
                steps += edit(within=False)
        steps += [("run", n, cells[n]) for n in cells]
        for _ in range(random.randint(0, 2)):
            kind = random.choice(("again", "edit", "from"))
            if kind == "edit":
                steps += edit(within=True)
            start = random.randint(0, len(cells) - 1)
            chosen = list(cells)[start:] if kind == "from" else list(cells)[start : start + 1]
            steps += [("run", n, cells[n]) for n in chosen]
        sessions.append(tuple(steps))
    return Scenario(tuple(sessions), FILES)


def _insert(cells: dict[str, str], at: int, name: str, text: str) -> None:
    items = list(cells.items())
    items.insert(at, (name, text))
    cells.clear()
    cells.update(items)
