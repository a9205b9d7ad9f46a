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
    ("script.py", "total = sum(map(int, open('data.txt')))\nprint(total)\n"),
)
#: Other contents that an edit may give them.
CONTENTS = {
    "data.txt": ("1\n2\n3\n", "4\n5\n", "1\n2\n7\n", None),
    "table.csv": (FILES[1][1], "k,v\n0,1.0\n2,2.0\n"),
    "helper.py": (
        FILES[2][1],
        FILES[2][1].replace("LIMIT = 2", "LIMIT = 3"),
        FILES[2][1].replace("x * LIMIT", "x + LIMIT"),
        FILES[2][1] + "\ndef __getattr__(name):\n    return name, LIMIT\n",
    ),
    "script.py": (FILES[3][1], "total = 7\nprint(total)\n"),
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
class  | class {new}({class}):#    def __init__(self, x={0}):#        super().__init__(x)#        self.y = {1}
class  | class {new}:#    def __init__(self, x={0}): self.x = x#    @property#    def double(self): return self.x * 2#    @classmethod#    def make(cls): return cls({1})#    @staticmethod#    def one(): return {0}#    def get(self, y={1}): return self.double + y + self.one()
class  | class {new}:#    def __init__(self, x={0}): self.x = x#    @functools.cached_property#    def slow(self): return [self.x, {any}]#    def get(self, y={1}): return self.slow
class  | class {new}:#    def __init__(self, x={0}): self.x = x#    def __getattr__(self, name):#        if name.startswith('_'): raise AttributeError(name)#        return name, {any}#    def get(self, y={1}): return self.missing, y
class  | class {new}:#    def __init__(self, x={0}): self.x = x#    def __init_subclass__(cls): {list}.append(cls.__name__)#    def get(self, y={1}): return y
class  | class {new}(list):#    def __init__(self, x={0}): super().__init__([x]); self.x = x#    def get(self, y={1}): self.append(y); return len(self)
class  | @dataclasses.dataclass(frozen=True, slots=True)#class {new}:#    x: int = {0}#    def get(self, y={1}): return dataclasses.replace(self, x=y)
class  | class {new}:#    def __init__(self, x={0}): self.x = x#    def __eq__(self, other): return isinstance(other, {new}) and self.x == other.x#    def __hash__(self): return {0}#    def get(self, y={1}): return {{self: y}}
enum   | class {new}(enum.Enum):#    A = {0}#    B = {1} + 9#    def get(self): return self.value + {0}
any    | {new} = {enum}.A, {enum}.B.get()
any    | {new} = {class}.make().get()
inst   | {new} = {class}.make()
       | {class}.get = {func}
       | {class}.__repr__ = lambda self: 'new {0}'
       | {inst}.__class__ = {class}
any    | {new} = [t.__name__ for t in {class}.__mro__], len({class}.__subclasses__())
deco   | def {new}(f):#    def inner(x={0}):#        {list}.append(x)#        return f(x), {1}#    return inner
func   | @{deco}#def {new}(x={0}): return x + {1}
func   | @functools.wraps({func})#def {new}(*args): return {func}(*args), {0}
func   | {new} = functools.partial({func})
func   | {new} = functools.reduce(lambda f, g: (lambda x={0}: f(g(x))), [{func}, {func}])
func   | {new} = functools.singledispatch(lambda x={0}: (x, {1}))
func   | @functools.cache#def {new}(x={0}): {list}.append(x); return {any}
func   | def {new}(x={0}):#    for n in {iter}: return n, x
func   | def {new}(x={0}):#    match x:#        case 0 | 1: return {any}#        case _: return {list}
func   | def {new}(x={0}): return [{new2} for {new2} in {list} if {new2} != x]
func   | def {new}(x={0}): return eval('{any}'), x
func   | def {new}(x={0}): return globals().get('{any}')
func   | def {new}(x={0}): globals()['{new2}'] = x
func   | def {new}(x={0}): helper.LIMIT = x; return helper.scale(x)
func   | def {new}(x={0}): helper.SEEN.append(x); return helper.SEEN
func   | def {new}(x={0}): math.extra = x
func   | def {new}(x={0}): os.environ['SWEEP'] = str(x)
func   | def {new}(x={0}): return open('data.txt').read(), x
func   | def {new}(x={0}): open('out.txt', 'a').write(str(x)); return x
func   | def {new}(x={0}): np.random.seed(x); return np.random.rand()
func   | def {new}(x={0}): return random.random() + x
func   | def {new}(x={0}): {class}.size = x; return x
func   | def {new}(x={0}): np.set_printoptions(precision=x); return x
func   | def {new}(x={0}, *, made={{}}): made[x] = {any}; return made
ctx    | @contextlib.contextmanager#def {new}(x={0}):#    {list}.append(x)#    try: yield x#    finally: {list}.append(-x)
       | with {ctx}() as {new}: {list}.append({new})
       | with contextlib.suppress(Exception): {list}.append({0}); {int} / 0
       | with contextlib.suppress(ValueError), {ctx}({0}): raise ValueError
ctx    | {new} = contextlib.ExitStack
       | {list}.append({0}); raise KeyError({0})
       | {new} = {0}; {new} // 0
       | try: {func}({0})#except Exception: {list}.append({0})#else: {new} = {1}
       | while len({list}) < {0}: {list}.append({1})
       | assert {list}, {list}
gen    | def {new}(n={0}):#    got = yield n#    while True: got = yield got, {any}
       | {iter}.send(None)
iter   | {new} = itertools.cycle({list})
iter   | {new} = itertools.chain({list}, {list})
iter   | {new} = itertools.accumulate({list})
iter   | {new} = reversed({list})
iter   | {new} = {frame}.itertuples()
iter   | {new} = filter({func}, {list})
iter   | {new} = csv.reader(open('table.csv'))
coro   | async def {new}(x={0}):#    await asyncio.sleep(0)#    {list}.append(x)#    return x, {1}
any    | {new} = await {coro}({0})
any    | {new} = await asyncio.gather({coro}({0}), {coro}({1}))
any    | {new} = [x async for x in {agen}()]
agen   | async def {new}(x={0}):#    yield x#    yield {any}
       | %run script.py
       | %run -i script.py
any    | {new} = total
       | exec(open('script.py').read())
any    | {new} = runpy.run_path('script.py')['total']
       | from helper import *
       | import helper as {new}, importlib; importlib.reload({new})
any    | {new} = helper.anything
       | helper.scale = lambda x: x - {0}
       | helper.note = {func}
       | vars(helper)['LIMIT'] = {0}
       | setattr(helper, 'LIMIT', {0})
       | del helper.SEEN[:]
       | helper.SEEN = {list}
any    | {new} = helper.LIMIT, helper.SEEN
       | sys.modules.pop('helper', None)#import helper
       | builtins.extra = {any}
any    | {new} = getattr(builtins, 'extra', None)
       | pd.DataFrame.extra = lambda self: {0}
any    | {new} = {frame}.extra()
       | sys.modules['fake'] = types.SimpleNamespace(V={0}, W={list})
any    | import fake#{new} = fake.V
list   | from fake import W as {new}
       | collections.extra = {func}
any    | {new} = getattr(collections, 'extra', None)
series | {new} = {frame}.iloc[:, 0]
series | {new} = {series}[:2]
series | {new} = {frame}['k'].astype('category')
series | {new} = pd.Series({array})
series | {new} = pd.Series({list}, dtype=object)
       | {series}.name = 'n{0}'
frame  | {new} = {frame}.reset_index(drop=True)
frame  | {new} = pd.concat([{frame}, {frame}])
frame  | {new} = {frame}.assign(z={0})
frame  | {new} = {frame}.T
frame  | {new} = pd.DataFrame({{'k': {series}, 'v': {0}}})
       | {frame}.index = range({0}, {0} + len({frame}))
       | {frame}.columns = [f'{{c}}{0}' for c in {frame}.columns]
       | {frame}.attrs['n'] = {list}
       | {frame}.rename(columns={{'v': 'k'}}, inplace=True)
       | {frame}.insert(0, 'z{0}', {1})
       | del {frame}['k']
any    | {new} = {frame}.query('v > @{int}')
any    | {new} = {frame}.eval('v + {0}')
       | {frame}.eval('z = v * {0}', inplace=True)
rec    | {new} = np.zeros(2, dtype=[('x', 'i4'), ('y', 'f8')])
       | {rec}['x'][0] = {0}
array  | {new} = {rec}['y']
obj    | {new} = np.array([None, {0}], dtype=object)
       | {obj}[0] = {list}
       | {obj}[1] = {any}
       | {obj}[0].append({0})
array  | {new} = {array}.T
array  | {new} = {array}.view('i1')
array  | {new} = np.frombuffer(bytearray(8), dtype='i2')
array  | {new} = np.broadcast_to({array}, ({0} + 1, *{array}.shape))
array  | {new} = np.ma.masked_equal({array}, {0})
array  | {new} = np.asarray({list})
array  | {new} = np.where({array} > {0}, {array}, 0)
       | {array}.resize(3, refcheck=False)
       | {array}.fill({0})
       | np.random.shuffle({array})
buf    | {new} = io.StringIO()
       | {buf}.write('{0}')
       | print({any}, file={buf})
any    | {new} = {buf}.getvalue()
       | with contextlib.redirect_stdout({buf}): print({any})
mem    | {new} = bytearray(b'abc{0}')
any    | {new} = memoryview({mem})
       | {mem}[0] = {0}
       | {mem}.extend(b'{0}')
whand  | {new} = open('out.txt', 'w')
whand  | {new} = open('out.txt', 'a+')
handle | {new} = open('data.txt', 'r+')
handle | {new} = iter(open('data.txt'))
       | {whand}.write('{0}')
       | {whand}.flush()
       | {whand}.close()
       | {handle}.seek(0)
       | print({any}, file={whand})
       | print({any}, file=open('out.txt', 'a'))
       | os.replace('out.txt', 'moved.txt')
       | open('tmp.txt', 'w').write('{0}'); os.replace('tmp.txt', 'data.txt')
       | shutil.copy('data.txt', 'copy.txt')
       | shutil.copy('data.txt', 'sub') if os.path.isdir('sub') else os.mkdir('sub')
       | shutil.rmtree('sub', ignore_errors=True)
       | os.truncate('data.txt', {0})
       | os.symlink('data.txt', 'link.txt')
any    | {new} = open('link.txt').read()
       | open('link.txt', 'a').write('{0}')
any    | {new} = sorted(p.name for p in pathlib.Path().glob('*.txt'))
any    | {new} = sum(len(files) for _, _, files in os.walk('.'))
any    | {new} = os.stat('data.txt').st_size
any    | {new} = os.path.getsize('out.txt')
any    | {new} = open(max(glob.glob('*.txt'))).name
       | os.chmod('data.txt', 0o60{0})
any    | {new} = oct(os.stat('data.txt').st_mode)
       | pathlib.Path('deep/er').mkdir(parents=True, exist_ok=True); pathlib.Path('deep/er/x.txt').write_text('{0}')
       | json.dump({{'n': {0}}}, open('out.json', 'w'))
any    | {new} = json.load(open('out.json'))
       | pickle.dump({any}, open('out.pkl', 'wb'))
any    | {new} = pickle.load(open('out.pkl', 'rb'))
list   | {new} = pickle.loads(pickle.dumps({list}))
       | np.save('out.npy', {array})
array  | {new} = np.load('out.npy', mmap_mode='r+')
array  | {new} = np.load('out.npy')
       | with contextlib.closing(sqlite3.connect('d.db')) as {new}, {new}: {new}.execute('create table if not exists t(x)'); {new}.execute('insert into t values({0})')
any    | {new} = sqlite3.connect('d.db').execute('select * from t').fetchall()
       | subprocess.run('cat data.txt >> out.txt', shell=True)
       | subprocess.run(['sed', '-i', 's/{0}/9/', 'data.txt'])
       | subprocess.run('mv out.txt moved.txt; rm -f copy.txt', shell=True)
       | os.system('echo {0} > out.txt')
any    | {new} = os.popen('cat data.txt').read()
any    | {new} = subprocess.check_output(['ls'], text=True)
any    | {new} = subprocess.run('echo {0} | tee out.txt', shell=True, capture_output=True).stdout
child  | {new} = subprocess.Popen('cat data.txt', shell=True, stdout=subprocess.PIPE, text=True)
child  | {new} = subprocess.Popen(['sh', '-c', '> out.txt; echo; exec cat'], stdin=-1, stdout=-1, text=True); {new}.stdout.readline()
any    | {new} = {child}.communicate('{0}')[0]
any    | {new} = !cat data.txt | wc -l
       | !cp data.txt copy{0}.txt
       | !echo {{{any}}} > out.txt
       | {new} = threading.Thread(target={list}.append, args=({0},)); {new}.start(); {new}.join()
any    | with concurrent.futures.ThreadPoolExecutor(1) as pool: {new} = pool.submit({func}, {0}).result()
local  | {new} = threading.local()
       | {local}.x = {any}
any    | {new} = {local}.x
       | logging.getLogger('app').setLevel({0} * 10)
any    | {new} = logging.getLogger('app').level, len(logging.getLogger('app').handlers)
       | logging.getLogger('app').warning('w{0}')
       | logging.getLogger('app').addHandler(logging.StreamHandler({buf}))
       | logging.getLogger('app').handlers.clear()
       | logging.disable({0} * 10)
any    | {new} = logging.getLogger('app')
       | warnings.resetwarnings()
       | with warnings.catch_warnings(record=True) as {new}: warnings.warn('w{0}')
       | decimal.getcontext().prec = {0} + 3
any    | {new} = decimal.getcontext().prec
       | with decimal.localcontext() as {new}: {new}.prec = {0} + 1
       | decimal.setcontext(decimal.Context(prec={0} + 4))
       | gc.disable() if {0} else gc.enable()
any    | {new} = gc.isenabled(), gc.get_threshold()
       | gc.set_threshold({0} + 500, 10, 10)
       | signal.signal(signal.SIGUSR1, lambda *a: {list}.append({0}))
       | callable(signal.getsignal(signal.SIGUSR1)) and signal.raise_signal(signal.SIGUSR1)
cvar   | {new} = contextvars.ContextVar('v', default={0})
       | {cvar}.set({any})
any    | {new} = {cvar}.get()
       | locale.setlocale(locale.LC_NUMERIC, 'C.UTF-8' if {0} else 'C')
any    | {new} = locale.setlocale(locale.LC_NUMERIC)
       | os.umask(0o02{0})
       | sys.setswitchinterval(0.00{0}5)
any    | {new} = round(sys.getswitchinterval(), 4)
       | sys.stdout.flush(); sys.stderr.write('e{0}\n')
       | json.encoder.FLOAT_REPR = {0}; csv.field_size_limit({0} + 1000)
any    | {new} = csv.field_size_limit()
       | time.tzset(); os.environ['TZ'] = 'UTC-{0}'
       | socket.setdefaulttimeout({0} + 1)
any    | {new} = socket.getdefaulttimeout()
       | re.purge(); copyreg.pickle(complex, lambda c: (complex, (c.real, {0})))
any    | {new} = pickle.loads(pickle.dumps(1j))
       | mimetypes.add_type('text/x{0}', '.xyz')
any    | {new} = mimetypes.guess_type('a.xyz')
       | linecache.cache['fake'] = (1, None, ['l{0}'], 'fake')
any    | {new} = linecache.getline('fake', 1)
       | sys.displayhook.extra = {0}
       | abc.ABC.register({class})
       | collections.abc.Sized.register({class})
any    | {new} = isinstance({inst}, collections.abc.Sized)
       | vars()['{new}'] = {0}
       | globals().update({new}={0})
       | globals().pop('{any}', None)
any    | {new} = sorted(n for n in globals() if len(n) == 1)
any    | {new} = sorted(n for n in dir() if len(n) == 1)
list   | {new} = [n for n in 'abcdef' if n in globals()]
list   | {new} = %who_ls int
       | %precision {0}
       | %env SWEEP={0}
       | %cd -q sub
       | %cd -q ..
       | %reset_selective -f ^a$
any    | {new} = {func}.__name__, {func}.__defaults__
any    | {new} = {func}.__code__.co_consts
       | {func}.__defaults__ = ({0},)
any    | {new} = {class}.__dict__.keys()
any    | {new} = repr({any})
any    | {new} = type({any}).__name__
any    | {new} = {any} is {any}
any    | {new} = {any} == {any}
       | weakref.finalize({inst}, {list}.append, {0})
wdict  | {new} = weakref.WeakValueDictionary()
       | {wdict}['k{0}'] = {inst}
any    | {new} = len({wdict})
dict   | {new} = collections.Counter({list})
dict   | {new} = collections.ChainMap({dict}, {dict})
dict   | {new} = types.MappingProxyType({dict})
any    | {new} = {dict} | {dict}
any    | {new} = types.SimpleNamespace(x={list}, y={0})
any    | {new} = {{k: v for k, v in {dict}.items()}}
tuple  | {new} = collections.namedtuple('P', 'x y')({list}, {0})
any    | {new}, *{new2} = {list}
list   | {new} = sorted({list}, key={func})
       | {list}.extend({iter})
       | {list}[:] = {list}[::-1]
       | {list} *= 2
       | del {list}[0]
       | {dict}.clear()
       | del {dict}['k']
       | if {int} > {0}: {new} = {1}
       | print({any}, end=''); print({any}, file=sys.stderr)
       | display({any}, display_id='h')
       | update_display({any}, display_id='h')
       | clear_output()
       | {new} = {new2} = {list}
       | def {new}(): return {new2}
       | print(In[-1][:20], len(Out) * 0)
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
#: Cells of one statement.
_WHOLE = (
    "%%writefile made.txt#{0}",
    "%%bash#cat data.txt >> out.txt#echo {0}",
    "%%sh#exit {0}",
    "%%capture {new}#print({any})#{new2} = {0}",
    "%%script --out {new} cat#{0}",
    "%%python#print(open('data.txt').read())",
    "if {int} > {0}:#    {list}.append({1})#    {new} = {list}#else:#    {new} = {0}#{new}",
    "for {new} in {list}:#    {new2} = {new}#    if {new2} == {0}: break#else:#    {new2} = {1}",
    "def {new}(x={0}):#    return {any}#{any} = {new}()#{new}.__doc__ = '{1}'",
    "{list}.append({0})#{any}.nothing#{list}.append({1})",
)
_IMPORTS = (
    "import abc, asyncio, builtins, collections, concurrent.futures, contextlib, contextvars, copy, copyreg, csv, dataclasses\n"
    "import decimal, enum, functools, gc, glob, importlib, io, itertools, json, linecache, locale, logging, math, mimetypes\n"
    "import os, pathlib, pickle, random, re, runpy, shutil, signal, socket, sqlite3, subprocess, sys, threading, time, types\n"
    "import warnings, weakref\n"
    "import numpy as np, pandas as pd\nimport helper\nfrom IPython.display import clear_output, update_display"
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
        found.append(Statement(makes.strip(), text.strip(), _needs(text)))
    return tuple(found)


def _needs(text: str) -> frozenset[str]:
    return frozenset(n for n in _HOLE.findall(text) if n.isalpha() and n != "new")


STATEMENTS = _table()


class Writer:
    """Writes cells; remembers which name should hold what kind of value by then."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._kinds: dict[str, str] = {}

    def cell(self) -> str:
        """The source of a new cell: one to three statements, and what it shows."""
        if self._random.random() < 0.06:
            whole = self._random.choice(_WHOLE)
            return self._fill(whole) if self._possible(whole) else self.cell()
        lines = [self._statement() for _ in range(self._random.randint(1, 3))]
        end = self._random.choice([e for e in _ENDS if self._possible(e)])
        lines += [self._fill(end)] if end else []
        return "\n".join(lines)

    def _statement(self) -> str:
        choice = self._random.choice([s for s in STATEMENTS if self._known(s.needs)])
        return self._fill(choice.text, choice.makes)

    def _known(self, kinds: frozenset[str]) -> bool:
        return kinds <= ({*self._kinds.values(), "any"} if self._kinds else set())

    def _possible(self, text: str) -> bool:
        return self._known(_needs(text))

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
        if filled.startswith("del ") and filled[4:] in self._kinds:
            del self._kinds[filled[4:]]
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
