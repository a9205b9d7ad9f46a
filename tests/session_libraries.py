"""Values of libraries for `test_session_libraries`: how each is made, what it must still do, and a change of it.

Run as a script in a process of its own: ``make FOLDER NAMES`` stores snapshots and prints digests; ``check FOLDER NAMES`` makes
the values anew, brings the stored ones back, and prints what is not as it should be.
"""

from __future__ import annotations

import json
import pickle
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from values_notebook import notebook, run

from provcrt_kernel.session.fingerprint import fingerprint_group
from provcrt_kernel.session.snapshot import dump, load


@dataclass(frozen=True)
class Value:
    """Variables of a notebook.

    Attributes
    ----------
    make
        A cell that binds `names`.
    behaves
        Expressions that must have the same `repr` on what comes back; evaluated in this order.
    change
        A cell that changes one element; empty: nothing of it can change.
    needs
        Packages that must be installed.
    same
        Whether what comes back has the fingerprint that it had; if it has not, that costs a run.
    """

    make: str
    names: tuple[str, ...]
    behaves: tuple[str, ...]
    change: str = ""
    needs: tuple[str, ...] = ()
    same: bool = True


def value(
    make: str, names: str, behaves: str, change: str = "", needs: str = "", *, same: bool = True
) -> Value:
    expressions = tuple(line.strip() for line in behaves.strip().splitlines())
    return Value(make, tuple(names.split()), expressions, change, tuple(needs.split()), same)


VALUES: dict[str, Value] = {
    "numpy views": value(
        "import numpy as np\nbase = np.arange(5000.0)\nhead = base[:3]\nback = base[::-1]",
        "base head back",
        "head.__setitem__(0, 99.0)\nbase[0]\nback[-1]\nnp.shares_memory(base, back)",
        "base[4000] = 1.5",
        "numpy",
    ),
    "numpy structured and masked": value(
        "import numpy as np\npeople = np.array([('a', 1), ('b', 2)], dtype=[('name', 'U3'), ('age', 'i4')])\n"
        "masked = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])",
        "people masked",
        "people['age'].sum()\nmasked.mean()\npeople.dtype",
        "people['age'][0] = 9",
        "numpy",
    ),
    "numpy masked, with and without a mask": value(
        "import numpy as np\nplain = np.array([1.123456789012, 2.0])\nbare = np.ma.masked_equal(plain, 0)\nbare.note = 'n'\n"
        "hard = np.ma.array([1, 2], mask=[0, 1], hard_mask=True, fill_value=7)\nview = hard[:1]\n"
        "table = np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[0, 1], [0, 0]], order='F')",
        "plain bare hard view table",
        "print(bare)\nbare.mask is np.ma.nomask\nbare.note\nhard.__setitem__(1, 5)\nhard.filled().tolist()\nrepr(view)\n"
        "view.__setitem__(0, 9)\nhard[0]\nnp.shares_memory(plain, bare)\ntable.sum(axis=0).tolist()\ntable.flags.f_contiguous",
        "bare[0] = 3.0",
        "numpy",
    ),
    "numpy generators": value(
        "import numpy as np\nrng = np.random.default_rng(3)\nrng.random(5)\nold = np.random.RandomState(4)\nold.rand(3)",
        "rng old",
        "rng.random(3).tolist()\nold.rand(2).tolist()\nold.randn()",
        "rng.random()",
        "numpy",
    ),
    "pandas": value(
        "import pandas as pd\nframe = pd.DataFrame({'s': ['a', None, 'b'] * 20, 'n': range(60)},"
        " index=pd.date_range('2024', periods=60))\nframe['c'] = frame['s'].astype('category')\ncolumn = frame['n']\n"
        "deep = frame.set_index(['s', 'n'])",
        "frame column deep",
        "frame.describe(include='all').to_string()\ndeep.index.names\nframe.dtypes.to_string()\ncolumn.sum()\n"
        "frame['c'].cat.categories.tolist()",
        "frame.loc[frame.index[3], 'n'] = -1",
        "pandas",
    ),
    "scipy sparse": value(
        "import scipy.sparse as sp\nm = sp.random(40, 40, 0.1, format='csr', random_state=1)\nt = m.tocoo()",
        "m t",
        "m.nnz\n(m @ m).sum()\nt.row[:5].tolist()\nm.format",
        "m.data[0] += 1",
        "scipy",
    ),
    "scipy interpolation": value(
        "import numpy as np\nfrom scipy.interpolate import CubicSpline\nfrom scipy.stats import norm\n"
        "spline = CubicSpline(np.arange(5.0), [0.0, 1.0, 0.0, 2.0, 1.0])\nfrozen = norm(2, 3)",
        "spline frozen",
        "float(spline(1.3))\nfrozen.cdf(1.0)",
        "spline.c[0, 0] += 1",
        "scipy numpy",
    ),
    "sklearn": value(
        "import numpy as np\nfrom sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import StandardScaler\n"
        "from sklearn.linear_model import LogisticRegression\nfrom sklearn.ensemble import RandomForestClassifier\n"
        "X = np.random.RandomState(0).rand(60, 3)\ny = (X[:, 0] > 0.5).astype(int)\n"
        "pipe = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)\n"
        "forest = RandomForestClassifier(4, random_state=1).fit(X, y)",
        "X y pipe forest",
        "pipe.predict_proba(X[:3]).tolist()\nforest.predict_proba(X[:4]).tolist()\npipe.get_params()['steps'][0][0]",
        "pipe[-1].coef_[0, 0] += 0.5",
        "sklearn",
    ),
    "torch": value(
        "import torch\nfrom torch import nn\ntorch.manual_seed(0)\n"
        "model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 1))\n"
        "optimizer = torch.optim.Adam(model.parameters(), 0.1)\nX = torch.randn(8, 3)\n"
        "def step():\n    loss = model(X).pow(2).mean()\n    optimizer.zero_grad()\n    loss.backward()\n"
        "    optimizer.step()\n    return loss.item()\nstep()",
        "model optimizer X step",
        "step()\nstep()\nnext(model.parameters()).grad.sum().item()\n"
        "optimizer.param_groups[0]['params'][0] is next(model.parameters())",
        "with torch.no_grad():\n    model[0].weight[0, 0] += 1",
        "torch",
    ),
    "torch views": value(
        "import torch\nbase = torch.arange(2000.0)\nview = base[10:20]\nturned = base.reshape(20, 100).T\n"
        "leaf = torch.ones(3, requires_grad=True)\n(leaf * 2).sum().backward()",
        "base view turned leaf",
        "view.fill_(7.0).sum().item()\nbase[12].item()\nturned.stride()\nleaf.grad.tolist()\nleaf.is_leaf",
        "leaf.grad[0] = 5.0",
        "torch",
    ),
    "polars": value(
        "import polars as pl\ntable = pl.DataFrame({'a': [1, None, 3], 's': ['x', 'y', None]})\n"
        "lazy = table.lazy().filter(pl.col('a') > 1)",
        "table lazy",
        "table.sum().rows()\nlazy.collect().rows()\ntable.schema",
        "table = table.with_columns(pl.col('a') + 1)",
        "polars",
    ),
    "pyarrow": value(
        "import pyarrow as pa\ntable = pa.table({'a': [1, None, 3] * 30, 's': ['x', None, 'zz'] * 30})\n"
        "part = table.slice(5, 20)",
        "table part",
        "part.to_pydict()\ntable.schema.to_string()\npart.num_rows",
        "table = table.set_column(0, 'a', pa.array([1, 2, 3] * 30))",
        "pyarrow",
    ),
    "pandas on arrow": value(
        "import pandas as pd\nframe = pd.DataFrame({'s': pd.array(['a', None, 'b'] * 33, dtype='string[pyarrow]')})",
        "frame",
        "frame['s'].isna().sum()\nframe['s'].str.upper().tolist()[:4]",
        "frame.loc[2, 's'] = 'c'",
        "pandas pyarrow",
    ),
    "PIL": value(
        "from PIL import Image, ImageDraw\npicture = Image.new('RGB', (20, 10), 'white')\n"
        "ImageDraw.Draw(picture).line([0, 0, 9, 9], 'red')\ngrey = picture.convert('L')",
        "picture grey",
        "picture.getpixel((3, 3))\ngrey.size\ngrey.tobytes()[:30]",
        "picture.putpixel((1, 1), (1, 2, 3))",
        "PIL",
    ),
    "networkx": value(
        "import networkx as nx\nG = nx.karate_club_graph()\nG.nodes[3]['tag'] = {'deep': [1]}\n"
        "D = nx.DiGraph([('a', 'b'), ('b', 'c')])",
        "G D",
        "sorted(G.degree())[:4]\nG.nodes[3]\nlist(nx.topological_sort(D))\nlist(G.adj[0])[:5]",
        "G.nodes[3]['tag']['deep'].append(2)",
        "networkx",
    ),
    "sympy": value(
        "from sympy import *\nx, y = symbols('x y')\nf = symbols('f', cls=Function)\nexpr = sin(x) ** 2 + y\n"
        "M = Matrix([[x, 1], [0, y]])\nn = Symbol('n', positive=True)",
        "x y f expr M n",
        "expr.diff(x)\nexpr.subs(x, 0) == y\nM.det()\nn.is_positive\nf(x).diff(x)",
        "M[0, 0] = 7",
        "sympy",
    ),
    "lightgbm": value(
        "import numpy as np, lightgbm as lgb\nX = np.random.RandomState(0).rand(80, 3)\n"
        "reg = lgb.LGBMRegressor(n_estimators=3, n_jobs=1, verbosity=-1).fit(X, X[:, 0])\nbooster = reg.booster_",
        "X reg booster",
        "reg.predict(X[:3]).tolist()\nbooster.num_trees()\nbooster.predict(X[:2]).tolist()",
        "reg.set_params(n_estimators=4)",
        "lightgbm",
    ),
    "statsmodels": value(
        "import numpy as np, statsmodels.api as sm\nX = sm.add_constant(np.arange(30.0))\n"
        "fit = sm.OLS(np.arange(30.0) * 2 + 1, X).fit()",
        "X fit",
        "fit.params.round(6).tolist()\nfit.predict([[1.0, 3.0]]).round(6).tolist()\nround(fit.rsquared, 6)",
        "fit.params[0] += 1",
        "statsmodels",
    ),
    "plotly": value(
        "import plotly.graph_objects as go\nfigure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))",
        "figure",
        "figure.to_dict()['data'][0]['y']\nfigure.add_scatter(x=[1], y=[1]) and len(figure.data)",
        "figure.update_layout(title='new')",
        "plotly",
        same=False,  # tuples of its template come back as lists
    ),
    "altair": value(
        "import altair as alt\nchart = alt.Chart(alt.Data(values=[{'a': 1}])).mark_bar().encode(x='a:Q')",
        "chart",
        "chart.to_dict()['encoding']",
        "chart.width = 300",
        "altair",
    ),
    "pydantic": value(
        "from pydantic import BaseModel, Field\nclass Reading(BaseModel):\n    sensor: str\n    value: float = Field(gt=0)\n"
        "    tags: list[str] = []\nreading = Reading(sensor='t', value='2.5', tags=['a'])",
        "Reading reading",
        "reading.model_dump()\ntype(reading) is Reading\nReading(sensor='u', value=1).model_dump_json()",
        "reading.tags.append('b')",
        "pydantic",
    ),
    "dataclasses and enums": value(
        "from dataclasses import dataclass, field, asdict\nfrom enum import Enum, auto, Flag\n"
        "class Colour(Enum):\n    RED = auto()\n    BLUE = 'b'\nclass Right(Flag):\n    READ = 1\n    WRITE = 2\n"
        "@dataclass(order=True)\nclass Point:\n    x: int\n    marks: list = field(default_factory=list, compare=False)\n"
        "point = Point(1, [Colour.RED])\nboth = Right.READ | Right.WRITE",
        "Colour Right Point point both",
        "point < Point(2)\npoint.marks[0] is Colour.RED\nasdict(point)\nRight.READ in both\ntype(point) is Point",
        "point.marks.append(Colour.BLUE)",
    ),
    "cached": value(
        "import functools\n@functools.lru_cache\ndef double(v):\n    return v * 2\nclass Study:\n"
        "    def __init__(self, values):\n        self.values = values\n    @functools.cached_property\n"
        "    def mean(self):\n        return sum(self.values) / len(self.values)\nstudy = Study([1, 2])\nstudy.mean",
        "double Study study",
        "double(4)\nstudy.__dict__['mean']\nStudy([4]).mean\ndouble.cache_info().hits",
        "study.values.append(9)",
    ),
    "standard library": value(
        "import collections, datetime, decimal, fractions, itertools, pathlib, random, re, uuid\n"
        "Pair = collections.namedtuple('Pair', 'a b')\npair = Pair(1, [2])\nqueue = collections.deque([1, 2], maxlen=2)\n"
        "counts = collections.Counter('hello')\ngroups = collections.defaultdict(list, a=[1])\n"
        "when = datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc)\nmoney = decimal.Decimal('1.10')\n"
        "dice = random.Random(5)\ndice.random()\npattern = re.compile('a+')",
        "Pair pair queue counts groups when money dice pattern",
        "queue.append(3) or list(queue)\ncounts.most_common(1)\ngroups['new']\nwhen.isoformat()\nmoney * 2\n"
        "dice.random()\npattern.findall('aab')\nPair._fields",
        "pair.b.append(3)",
    ),
}


def _own(name: str) -> tuple[dict[str, object], dict[str, object]]:
    case = VALUES[name]
    namespace = notebook(case.make)
    return namespace, {n: namespace[n] for n in case.names}


def make(folder: Path, name: str) -> list[str | None]:
    namespace, values = _own(name)
    snapshot = dump(values, namespace)
    (folder / name).write_bytes(pickle.dumps((snapshot.stream, [bytes(b) for b in snapshot.buffers])))
    return list(fingerprint_group(values, namespace))


def check(folder: Path, name: str) -> dict[str, object]:
    case = VALUES[name]
    namespace, values = _own(name)
    here = list(fingerprint_group(values, namespace))
    stream, buffers = pickle.loads((folder / name).read_bytes())
    fresh = notebook()
    fresh.update({n: v for n, v in namespace.items() if n not in case.names})
    back = load(stream, buffers, fresh)
    fresh.update(back)
    brought = list(fingerprint_group(back, fresh))
    behaviour = {e: (_shown(e, namespace), _shown(e, fresh)) for e in case.behaves}
    changed = None
    if case.change:
        again, _ = _own(name)
        run(again, case.change)
        changed = list(fingerprint_group({n: again[n] for n in case.names}, again))
    return {"here": here, "brought": brought, "behaviour": behaviour, "changed": changed}


def _shown(expression: str, namespace: dict[str, object]) -> str:
    try:
        return repr(eval(expression, namespace))
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"


def main() -> None:
    what, folder, *names = sys.argv[1:]
    answers: dict[str, object] = {}
    for name in names:
        try:
            answers[name] = {"make": make, "check": check}[what](Path(folder), name)
        except BaseException:
            answers[name] = {"failed": traceback.format_exc(limit=-6)}
    Path(folder, f"{what}.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
