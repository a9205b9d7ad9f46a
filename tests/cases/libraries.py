"""Libraries as public notebooks use them: what ties cells together through them, and what only seems to."""

from .case import case, replaces, same, sets

case(
    "a query reads what its text names",
    10,
    """
# %% a
import pandas as pd
# %% b
frame = pd.DataFrame({'v': range(6), 'w': 2.0})
# %% c
limit = 2
# %% d
other = 1
# %% e
print(frame.query('v > @limit'), frame.query('w > 1').shape, frame.eval('v + w').sum())
""",
    sets(d="other = 5"),
    "frame.shape; other; limit",
    skip="a b c e",
    telling=True,
)
case(
    "a name in a query's text changes",
    10,
    """
# %% a
import pandas as pd
# %% b
frame = pd.DataFrame({'v': range(6)})
# %% c
limit = 2
# %% d
def above(table): return table.query('v > @limit')
# %% e
print(above(frame), pd.eval('frame.v * limit').sum())
""",
    replaces("limit = 2", "limit = 4"),
    "above(frame).shape",
    rerun="c e",
)
case(
    "a method that is called eval, another called stack",
    10,
    """
# %% a
import numpy as np
class Model:
    def __init__(self): self.stack = [1]
    def eval(self): return np.stack([self.stack, self.stack])
model = Model()
def use(m): return m.eval().tolist()
# %% b
unrelated = 1
# %% c
print(use(model))
""",
    sets(b="unrelated = 2"),
    "use(model); unrelated",
    skip="a c",
)
case(
    "a function that does call eval",
    10,
    """
# %% a
def use(text): return eval(text)
# %% b
x = 1
# %% c
print(use('x + 1'))
""",
    sets(b="x = 2"),
    "use('x')",
    rerun="b c",
)
case(
    "functions of the module's own stream",
    8,
    """
# %% a
from random import randint, shuffle
from numpy.random import randn
import numpy as np, random
cards = list(range(9))
# %% b
hand = {'draw': randint, 'normal': randn}
# %% c
x = 1
# %% d
random.seed(0); np.random.seed(0)
shuffle(cards)
print(x, randint(0, 99), hand['draw'](0, 99), hand['normal'](2), cards)
# %% e
print(randint(0, 99), randn())
""",
    sets(c="x = 2"),
    "cards; hand['draw'](0, 99) == randint(0, 0) or 1; randn()",
    skip="a b e",
)
case(
    "a seeded RandomState is no chance",
    8,
    """
# %% a
import numpy as np
# %% b
rng = np.random.RandomState(42)
drawn = rng.rand(3)
# %% c
print(drawn, rng.randint(9))
""",
    same,
    "drawn.tolist(); rng.rand()",
    skip="a b c",
)
case(
    "a figure that is saved under a new name",
    12,
    """
# %% a
import matplotlib.pyplot as plt
# %% b
plt.plot([1, 2])
plt.savefig('one.png')
# %% c
print('done')
""",
    same,
    "",
    skip="a b c",
    telling=True,
)
case(
    "a figure's file that the cell also asks for",
    12,
    """
# %% a
import os
import matplotlib.pyplot as plt
# %% b
print(os.path.exists('one.png'))
plt.plot([1, 2])
plt.savefig('one.png')
""",
    same,
    "",
    rerun="b",
    left=True,
)
case(
    "a database that is deleted, made and kept open",
    11,
    """
# %% a
import os, sqlite3
# %% b
if os.path.exists('shop.db'): os.remove('shop.db')
conn = sqlite3.connect('shop.db')
# %% c
conn.execute('CREATE TABLE t (x INTEGER)')
conn.executemany('INSERT INTO t VALUES (?)', [(1,), (2,)])
conn.commit()
# %% d
factor = 2
# %% e
print(conn.execute('SELECT SUM(x) FROM t').fetchone()[0] * factor)
""",
    sets(d="factor = 3"),
    "conn.execute('SELECT COUNT(*) FROM t').fetchone(); factor",
    rerun="d e",
    left=True,
)
case(
    "a grid of plots beside its table",
    6,
    """
# %% a
import pandas as pd
import matplotlib.pyplot as plt
class Grid:
    def __init__(self, table): self.table, self.figure = table, plt.figure()
# %% b
table = pd.DataFrame({'v': [1, 2, 3]})
# %% c
grid = Grid(table)
# %% d
print(table.v.sum())
# %% e
print(table.v.mean())
# %% f
table.loc[0, 'v'] = 10
# %% g
print(grid.table.v.tolist())
""",
    sets(d="print('sum', table.v.sum())"),
    "grid.table is table; table.v.tolist()",
    rerun="d",
    skip="e",
)
case(
    "how a number is shown was changed by a cell that is replayed",
    14,
    """
# %% a
def shown(value, printer, cycle): printer.text(f'<{value}>')
get_ipython().display_formatter.formatters['text/plain'].for_type(int, shown);
# %% b
1 + 1
""",
    sets(b="2 + 2"),
    "",
    rerun="b",
)

case(
    "a hook that draws figures is no input of a cell that draws none",
    19,
    """
# %% a
import matplotlib.pyplot as plt
# %% table
rows = [len(word) for word in "a hook draws figures after each cell".split()]
print(rows)
# %% plot
plt.plot([3, 1, 2])
plt.show()
""",
    same,
    "rows; len(get_ipython().events.callbacks['post_execute'])",
    order="a plot table",
    skip="a table",
    telling=True,
)
case(
    "the format of plots is asked for before there are any",
    9,
    """
# %% a
%config InlineBackend.figure_format = "svg"
from matplotlib import rcParams
rcParams["font.size"] = 20
# %% b
import matplotlib.pyplot as plt
# %% c
plt.plot([1, 2]);
""",
    sets(c="plt.plot([1, 3]);"),
    "plt.rcParams['font.size']",
    rerun="c",
    skip="a b",
    telling=True,
)
case(
    "the format of plots is asked for, and what makes the first of them is edited",
    9,
    """
# %% a
%config InlineBackend.figure_format = "svg"
from matplotlib import rcParams
# %% b
import matplotlib.pyplot as plt
x = 1
# %% c
plt.plot([1, 2]);
""",
    sets(b="import matplotlib.pyplot as plt; plt.plot([2, 1])", c="plt.plot([1, 3]);"),
    rerun="b c",
    skip="a",
    telling=True,
)
case(
    "what a module sets when it is imported was set before the notebook set something else",
    9,
    """
# %% a
import warnings
import numpy as np
# %% b
warnings.simplefilter("error", np.exceptions.RankWarning)
# %% c
order = [(f[0], f[2].__name__) for f in warnings.filters]
print(order)
""",
    sets(c="order = [(f[0], f[2].__name__) for f in warnings.filters]\nprint(len(order), order)"),
    "order; [(f[0], f[2].__name__) for f in warnings.filters]",
    rerun="c",
    skip="a b",
    telling=True,
)
case(
    "a cell that imports is run again for what it sets",
    9,
    """
# %% a
import warnings, logging
import numpy as np
logging.getLogger("numpy").fancy = object()
# %% b
import fractions
# %% c
print([(f[0], f[2].__name__) for f in warnings.filters])
""",
    sets(c="print(1, [(f[0], f[2].__name__) for f in warnings.filters])"),
    "[(f[0], f[2].__name__) for f in warnings.filters]",
    rerun="c",
    telling=True,
)
case(
    "two estimators shown, the second edited",
    14,
    """
# %% a
from sklearn.linear_model import LinearRegression, Ridge
X, y = [[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0]
# %% b
LinearRegression().fit(X, y)
# %% c
n = len(X)
# %% d
Ridge().fit(X, y)
""",
    sets(d="Ridge(alpha=2.0).fit(X, y)"),
    "n",
    rerun="d",
    skip="a b c",
    telling=True,
)
