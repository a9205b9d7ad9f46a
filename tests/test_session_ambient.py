# ruff: noqa: E501 - cells are quoted as users write them
"""Ambient slots, changed the way users change them, in a fork of a warm process for every case.

Every case runs in both directions: the first state is restored over the change, and the change is restored in
another process that never made it. What counts is not only that the capture is equal but that the library behaves so.
"""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.metadata
import json
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provcrt_kernel.session import ambient
from provcrt_kernel.session.ambient import registry
from provcrt_kernel.session.ambient.plain import Inexpressible, plain, unplain
from provcrt_kernel.session.collector import resting


@dataclass(frozen=True)
class Case:
    """A slot, a cell that changes it, and what holds before and after (cells that assert)."""

    slot: str
    change: str
    after: str = ""
    before: str = ""
    setup: str = ""
    pinned: bool = False


CASES = {
    "random seeded": Case(
        "random",
        "import random; random.seed(5)",
        "assert random.random() == random.Random(5).random()",
        setup="import random",
    ),
    "random drawn": Case(
        "random",
        "expected = [random.random() for _ in range(3)]; random.gauss(0, 1)",
        "import random; random.gauss(0, 1); assert random.getstate()[2] is None",
        "assert [random.random() for _ in range(3)] == [random.Random(3).random()] + expected[1:]",
        setup="import random; random.seed(3)",
    ),
    "numpy seeded": Case(
        "numpy.random",
        "np.random.seed(4); np.random.randn()",
        "r = np.random.RandomState(4); r.randn(); assert np.random.randn() == r.randn()",
        setup="import numpy as np",
    ),
    "numpy goes on": Case(
        "numpy.random",
        "np.random.rand(1000)",
        "r = np.random.RandomState(7); r.rand(1000); assert (np.random.rand(5) == r.rand(5)).all()",
        "assert (np.random.rand(5) == np.random.RandomState(7).rand(5)).all()",
        setup="import numpy as np; np.random.seed(7)",
    ),
    "numpy other generator": Case(
        "numpy.random",
        "np.random.set_bit_generator(np.random.PCG64(3))",
        "a = np.random.rand(); assert a == np.random.Generator(np.random.PCG64(3)).random()",
        "assert np.random.rand() == np.random.RandomState(7).rand()",
        setup="import numpy as np; np.random.seed(7)",
    ),
    "environ": Case(
        "os.environ",
        "os.environ['LANGUAGE_OF_TEST'] = 'de'; os.environ['COLUMNS'] = '7'; del os.environ['HOME']",
        "import subprocess\n"
        "out = subprocess.run('echo $LANGUAGE_OF_TEST $COLUMNS $HOME', shell=True, capture_output=True).stdout\n"
        "assert out == b'de 7\\n'",
        "assert 'LANGUAGE_OF_TEST' not in os.environ and os.environ['HOME'] and os.environ.get('COLUMNS') != '7'",
        setup="import os",
    ),
    "environ by magic": Case(
        "os.environ", "%env LANGUAGE_OF_TEST=fr", "import os; assert os.environ['LANGUAGE_OF_TEST'] == 'fr'"
    ),
    "environ not utf-8": Case(
        "os.environ", "os.environb[b'X'] = b'\\xff'", "assert os.environ['X'] == '\\udcff'", setup="import os"
    ),
    "environ without plumbing": Case(
        "os.environ",
        "del os.environ['SHLVL']",
        "assert 'SHLVL' not in os.environ",
        "assert os.environ['SHLVL'] == '3'",
        "import os; from provcrt_kernel.session.ambient import process\n"
        "os.environ['SHLVL'] = '3'; process._START_PLUMBING[b'SHLVL'] = b'3'",
    ),
    "environ secret": Case("os.environ", "%env SERVICE_API_KEY=abc", pinned=True),
    "cwd": Case(
        "cwd",
        "%cd /tmp",
        "import os; assert os.getcwd() == '/tmp'",
        "import os; assert os.getcwd() != '/tmp'",
    ),
    "umask": Case(
        "umask",
        "os.umask(0o027)",
        "open('/tmp/umask-%d' % os.getpid(), 'w').close(); import os; s = os.stat('/tmp/umask-%d' % os.getpid())\n"
        "os.unlink('/tmp/umask-%d' % os.getpid()); assert s.st_mode & 0o777 == 0o640",
        setup="import os",
    ),
    "sys.path": Case(
        "sys.path",
        "sys.path.insert(0, '/nowhere')",
        "assert sys.path[0] == '/nowhere'",
        "assert '/nowhere' not in sys.path",
        "import sys",
    ),
    "sys.path with a Path": Case(
        "sys.path",
        "import pathlib; sys.path.append(pathlib.Path('/nowhere'))",
        "assert str(sys.path[-1]) == '/nowhere'",
        setup="import sys",
    ),
    "sys.argv": Case(
        "sys.argv",
        "sys.argv[:] = ['a', 'b']",
        "import sys; assert sys.argv == ['a', 'b']",
        setup="import sys",
    ),
    "recursion": Case(
        "interpreter settings",
        "sys.setrecursionlimit(5000)",
        "assert sys.getrecursionlimit() == 5000",
        setup="import sys",
    ),
    "socket timeout": Case(
        "interpreter settings",
        "socket.setdefaulttimeout(3)",
        "assert socket.socket().gettimeout() == 3",
        "assert socket.socket().gettimeout() is None",
        "import socket",
    ),
    "gc": Case(
        "interpreter settings",
        "gc.disable(); gc.set_threshold(5000)",
        "assert not gc.isenabled()",
        "assert gc.isenabled()",
        "import gc",
    ),
    "traceback limit": Case(
        "interpreter settings",
        "sys.tracebacklimit = 0",
        "",
        "assert not hasattr(sys, 'tracebacklimit')",
        "import sys",
    ),
    "cores": Case(
        "resource limits",
        "os.sched_setaffinity(0, {0})",
        "assert os.sched_getaffinity(0) == {0}",
        "assert len(os.sched_getaffinity(0)) > 1",
        "import os",
    ),
    "open files": Case(
        "resource limits",
        "resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))",
        "assert resource.getrlimit(resource.RLIMIT_CORE)[0] == 0",
        setup="import resource; h = resource.getrlimit(resource.RLIMIT_CORE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (h, h))\n"
        "from provcrt_kernel.session.ambient import process; process._START_LIMITS['RLIMIT_CORE'] = (h, h)",
    ),
    "locale": Case(
        "locale",
        "locale.setlocale(locale.LC_CTYPE, 'C')",
        "assert locale.setlocale(locale.LC_CTYPE) == 'C'",
        setup="import locale; locale.setlocale(locale.LC_CTYPE, 'C.UTF-8')",
    ),
    "time zone": Case(
        "time zone",
        "os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()",
        # the session restores os.environ before
        "assert time.localtime(0).tm_hour == 9",
        "assert time.localtime(0).tm_hour == 0",
        "import os, time; os.environ['TZ'] = 'UTC'; time.tzset()",
    ),
    "ignored signal": Case(
        "signal handlers",
        "signal.signal(signal.SIGUSR1, signal.SIG_IGN)",
        "import os; os.kill(os.getpid(), signal.SIGUSR1)",
        "assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL",
        "import signal",
    ),
    "signal handler": Case(
        "signal handlers",
        "signal.signal(signal.SIGALRM, lambda *a: None)",
        before="assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL",
        setup="import signal",
        pinned=True,
    ),
    "alarm": Case(
        "signal handlers",
        "signal.alarm(100)",
        before="assert signal.alarm(0) == 0",
        setup="import signal",
        pinned=True,
    ),
    "decimal": Case(
        "decimal",
        "decimal.getcontext().prec = 5; decimal.getcontext().traps[decimal.Inexact] = True",
        "assert decimal.getcontext().prec == 5 and decimal.getcontext().traps[decimal.Inexact]",
        "assert str(decimal.Decimal(1) / 3) == '0.' + '3' * 28",
        "import decimal",
    ),
    "decimal flags": Case(
        "decimal",
        "decimal.Decimal(1) / 3",
        "assert decimal.getcontext().flags[decimal.Inexact]",
        "",
        "import decimal",
    ),
    "warnings ignored": Case(
        "warnings.filters",
        "warnings.filterwarnings('error', message='odd .* here', category=UserWarning, module='ma.*')",
        "import re\n"
        "try:\n    warnings.warn_explicit('odd thing here', UserWarning, 'f', 1, module='main')\n    assert False\n"
        "except UserWarning: pass",
        "warnings.warn_explicit('odd thing here', UserWarning, 'f', 1, module='main')",
        "import warnings",
    ),
    "warnings of the notebook": Case(
        "warnings.filters",
        "class Mine(UserWarning): pass\nwarnings.simplefilter('error', Mine)",
        before="warnings.warn('no error', Mine)",
        setup="import warnings",
        pinned=True,
    ),
    "showwarning": Case(
        "warnings.filters",
        "warnings.showwarning = lambda *a, **k: None",
        before="assert warnings.showwarning is warnings._showwarning_orig",
        setup="import warnings",
        pinned=True,
    ),
    "warnings captured": Case(
        "warnings.filters",
        "logging.captureWarnings(True)",
        "assert warnings.showwarning is logging._showwarning and logging._warnings_showwarning",
        "assert warnings.showwarning is warnings._showwarning_orig and logging._warnings_showwarning is None",
        "import warnings, logging",
    ),
    "logging level": Case(
        "logging",
        "logging.getLogger('a.b').setLevel('DEBUG'); logging.getLogger('c').propagate = False; logging.disable(10)",
        "assert logging.getLogger('a.b').getEffectiveLevel() == 10 and logging.root.manager.disable == 10",
        "assert logging.getLogger('a.b').getEffectiveLevel() == 30 and logging.getLogger('c').propagate",
        "import logging",
    ),
    "basicConfig": Case(
        "logging",
        "logging.basicConfig(level='INFO', format='{levelname}|{message}', style='{', stream=sys.stdout)",
        "import io\nh, = logging.root.handlers; assert h.stream is sys.stdout; h.setStream(io.StringIO())\n"
        "logging.info('hello'); assert h.stream.getvalue() == 'INFO|hello\\n'",
        "assert not logging.root.handlers and logging.root.level == 30",
        "import logging, sys",
    ),
    "level name": Case(
        "logging",
        "logging.addLevelName(25, 'NOTICE'); logging.addLevelName(10, 'dbg')",
        "assert logging.getLevelName('NOTICE') == 25 and logging.getLevelName(10) == 'dbg'",
        "assert logging.getLevelName(10) == 'DEBUG' and logging.getLevelName('WARN') == 30",
        "import logging",
    ),
    "log file": Case(
        "logging",
        "logging.getLogger('x').addHandler(logging.FileHandler('/dev/null'))",
        before="assert not logging.getLogger('x').handlers",
        setup="import logging",
        pinned=True,
    ),
    "log filter": Case(
        "logging",
        "logging.getLogger('x').addFilter(lambda r: False)",
        before="assert not logging.getLogger('x').filters",
        setup="import logging",
        pinned=True,
    ),
    "unraisable hook": Case("hooks", "import sys; sys.unraisablehook = lambda *a: None", pinned=True),
    "stdout": Case("hooks", "import sys, io; sys.stdout = io.StringIO()", pinned=True),
    "threading excepthook": Case(
        "hooks",
        "import threading; threading.excepthook = print",
        "import threading; assert threading.excepthook is print",
    ),
    "import hook": Case(
        "hooks",
        "import sys\nclass Finder:\n    def find_spec(self, *a): return None\nsys.meta_path.insert(0, Finder())",
        before="assert '__main__.Finder' not in str(sys.meta_path)",
        pinned=True,
    ),
    "asyncio policy": Case(
        "asyncio policy",
        "import asyncio\nclass P(asyncio.DefaultEventLoopPolicy): pass\nasyncio.set_event_loop_policy(P())",
        before="assert type(asyncio.get_event_loop_policy()) is asyncio.DefaultEventLoopPolicy",
        pinned=True,
    ),
    "future": Case(
        "IPython compiler flags",
        "from __future__ import annotations",
        "def f(x: int): pass\nassert f.__annotations__ == {'x': 'int'}",
        "def f(x: int): pass\nassert f.__annotations__ == {'x': int}",
    ),
    "all expressions": Case(
        "IPython settings",
        "get_ipython().ast_node_interactivity = 'all'",
        "assert get_ipython().ast_node_interactivity == 'all'",
        "assert get_ipython().ast_node_interactivity == 'last_expr'",
    ),
    "xmode": Case(
        "IPython settings", "%xmode Minimal", "assert get_ipython().InteractiveTB.mode == 'Minimal'"
    ),
    "pdb": Case(
        "IPython settings", "%pdb on", "assert get_ipython().call_pdb", "assert not get_ipython().call_pdb"
    ),
    "colors": Case("IPython settings", "%colors NoColor", "assert get_ipython().colors.lower() == 'nocolor'"),
    "custom exception": Case(
        "IPython settings",
        "get_ipython().set_custom_exc((ValueError,), lambda *a: None)",
        "assert get_ipython().custom_exceptions == (ValueError,)",
        "assert get_ipython().custom_exceptions == ()",
        pinned=True,
    ),
    "extension": Case(
        "IPython extensions",
        "%load_ext autoreload\n%autoreload 2",
        "r = get_ipython().magics_manager.registry['AutoreloadMagics']._reloader; assert r.enabled and r.check_all",
        "assert 'IPython.extensions.autoreload' not in get_ipython().extension_manager.loaded\n"
        "assert not get_ipython().magics_manager.registry['AutoreloadMagics']._reloader.enabled",
    ),
    "aimport": Case(
        "IPython extensions",
        "%autoreload 1\n%aimport textwrap",
        "r = get_ipython().magics_manager.registry['AutoreloadMagics']._reloader; assert 'textwrap' in r.modules",
        setup="%load_ext autoreload",
    ),
    "own magic": Case(
        "IPython magics",
        "from IPython.core.magic import register_line_magic\n@register_line_magic\ndef shout(line): return line.upper()",
        before="assert get_ipython().find_line_magic('shout') is None",
        pinned=True,
    ),
    "alias": Case(
        "IPython magics",
        "%alias hello echo hello",
        "lines = get_ipython().getoutput('true'); assert ('hello', 'echo hello') in get_ipython().alias_manager.aliases",
        "assert get_ipython().find_line_magic('hello') is None",
    ),
    "alias of a magic": Case(
        "IPython magics", "%alias_magic t time", "%t 1", "assert get_ipython().find_line_magic('t') is None"
    ),
    "precision": Case(
        "IPython formatters",
        "%precision 2",
        "assert get_ipython().display_formatter.format(1.23456)[0]['text/plain'] == '1.23'",
        "assert get_ipython().display_formatter.format(1.23456)[0]['text/plain'] == '1.23456'",
    ),
    "pprint off": Case(
        "IPython formatters",
        "%pprint",
        "assert not get_ipython().display_formatter.formatters['text/plain'].pprint",
        "assert get_ipython().display_formatter.formatters['text/plain'].pprint",
    ),
    "own printer": Case(
        "IPython formatters",
        "get_ipython().display_formatter.formatters['text/html'].for_type(complex, lambda z: '<b>z</b>')",
        before="assert 'text/html' not in get_ipython().display_formatter.format(1j)[0]",
        pinned=True,
    ),
    "library's printer": Case(
        "IPython formatters",
        "import html; get_ipython().display_formatter.formatters['text/html'].for_type(str, html.escape)",
        "assert get_ipython().display_formatter.format('<')[0]['text/html'] == '&lt;'",
        "assert 'text/html' not in get_ipython().display_formatter.format('<')[0]",
    ),
    "event": Case(
        "IPython events",
        "get_ipython().events.register('post_run_cell', lambda r: None)",
        before="assert not get_ipython().events.callbacks['post_run_cell']",
        pinned=True,
    ),
    "ast transformer": Case(
        "IPython transformers",
        "import ast\nget_ipython().ast_transformers.append(ast.NodeTransformer())",
        before="assert not get_ipython().ast_transformers",
        pinned=True,
    ),
    "input transformer": Case(
        "IPython transformers",
        "get_ipython().input_transformers_cleanup.append(lambda lines: lines)",
        before="assert 'lambda' not in str(get_ipython().input_transformers_cleanup)",
        pinned=True,
    ),
    "rcParams": Case(
        "matplotlib.rcParams",
        "plt.rcParams['axes.facecolor'] = 'red'; plt.rcParams['figure.figsize'] = 3, 2; plt.rc('lines', linewidth=7)\n"
        "plt.rcParams['axes.prop_cycle'] = plt.cycler(color=['r', 'g']) + plt.cycler(ls=['-', ':'])\n"
        "plt.rcParams['lines.solid_capstyle'] = 'butt'",
        "fig, ax = plt.subplots(); assert ax.get_facecolor() == (1, 0, 0, 1) and tuple(fig.get_size_inches()) == (3, 2)\n"
        "ax.plot([1]); line, = ax.plot([1]); assert (line.get_color(), line.get_linestyle(), line.get_linewidth()) == ('g', ':', 7)",
        "fig, ax = plt.subplots(); assert ax.get_facecolor() == (1, 1, 1, 1)\n"
        "line, = ax.plot([1]); assert plt.matplotlib.colors.to_hex(line.get_color()) == '#1f77b4'",
        "import matplotlib.pyplot as plt",
    ),
    "style sheet": Case(
        "matplotlib.rcParams",
        "plt.style.use('ggplot')",
        "fig, ax = plt.subplots(); assert ax.xaxis.get_gridlines()[0].get_visible()",
        "fig, ax = plt.subplots(); assert not ax.xaxis.get_gridlines()[0].get_visible()",
        "import matplotlib.pyplot as plt",
    ),
    "seaborn theme": Case(
        "matplotlib.rcParams",
        "sns.set_theme(style='darkgrid', palette='husl', context='talk')",
        "import matplotlib as mpl\n"
        "assert mpl.rcParams['axes.grid'] and len(sns.color_palette()) == 6\n"
        "assert mpl.rcParams['axes.prop_cycle'] == mpl.cycler(color=sns.color_palette('husl'))",
        "import matplotlib as mpl; assert len(mpl.rcParams['axes.prop_cycle']) == 10",
        "import seaborn as sns",
    ),
    "backend": Case(
        "matplotlib.rcParams",
        "plt.switch_backend('svg')",
        "assert plt.get_backend() == 'svg' and type(plt.figure().canvas).__name__ == 'FigureCanvasSVG'",
        "assert type(plt.figure().canvas).__name__ == 'FigureCanvasAgg'",
        "import matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as plt",
    ),
    "interactive": Case(
        "matplotlib.rcParams",
        "plt.ion()",
        "assert plt.isinteractive()",
        "assert not plt.isinteractive()",
        "import matplotlib.pyplot as plt; plt.ioff()",
    ),
    "open figure": Case(
        "matplotlib figures",
        "plt.figure()",
        before="assert not plt.get_fignums()",
        setup="import matplotlib; matplotlib.use('agg'); import matplotlib.pyplot as plt",
        pinned=True,
    ),
    "own colour map": Case(
        "matplotlib.colormaps",
        "mpl.colormaps.register(mpl.colors.ListedColormap(['r', 'g'], name='mine'))",
        before="assert 'mine' not in mpl.colormaps",
        setup="import matplotlib as mpl, matplotlib.pyplot",
        pinned=True,
    ),
    "inline": Case(
        "matplotlib inline",
        "%matplotlib inline\n%config InlineBackend.figure_format = 'svg'\n%config InlineBackend.close_figures = False",
        "from matplotlib.figure import Figure\n"
        "data, _ = get_ipython().display_formatter.format(Figure().subplots().figure); assert set(data) == {'text/plain', 'image/svg+xml'}",
        "from matplotlib.figure import Figure\n"
        "data, _ = get_ipython().display_formatter.format(Figure().subplots().figure); assert set(data) == {'text/plain', 'image/png'}",
        "%matplotlib inline",
    ),
    "inline set up": Case(
        "matplotlib inline",
        "%matplotlib inline",
        "from matplotlib.figure import Figure\n"
        "data, _ = get_ipython().display_formatter.format(Figure().subplots().figure); assert set(data) == {'text/plain', 'image/png'}\n"
        "assert any(f.__name__ == 'flush_figures' for f in get_ipython().events.callbacks['post_execute'])",
        setup="import matplotlib",
    ),
    "format asked for before there is a backend": Case(
        "matplotlib inline",
        "%config InlineBackend.figure_format = 'svg'",
        "import matplotlib.pyplot; get_ipython().run_line_magic('matplotlib', 'inline')\n"
        "from matplotlib.figure import Figure\n"
        "data, _ = get_ipython().display_formatter.format(Figure().subplots().figure); assert set(data) == {'text/plain', 'image/svg+xml'}",
    ),
    "formats by function": Case(
        "matplotlib inline",
        "set_matplotlib_formats('retina', 'pdf', dpi=50)",
        "from matplotlib.figure import Figure\n"
        "data, _ = get_ipython().display_formatter.format(Figure().subplots().figure); assert {'image/png', 'application/pdf'} < set(data)",
        setup="%matplotlib inline\nfrom matplotlib_inline.backend_inline import set_matplotlib_formats",
    ),
    "pandas options": Case(
        "pandas options",
        "pd.options.display.max_rows = 4; pd.set_option('display.float_format', '{:.1f}'.format)",
        "import pandas as pd; assert repr(pd.Series([1.25] * 9)).count('1.2') == 4",
        "assert repr(pd.Series([1.25] * 9)).count('1.25') == 9",
        "import pandas as pd",
    ),
    "pandas callable": Case(
        "pandas options",
        "pd.options.display.float_format = lambda x: 'x'",
        before="assert '1.5' in repr(pd.Series([1.5]))",
        setup="import pandas as pd",
        pinned=True,
    ),
    "pandas accessor": Case(
        "pandas additions",
        "@pd.api.extensions.register_dataframe_accessor('geo')\nclass Geo:\n    def __init__(self, df): pass",
        setup="import pandas as pd",
        pinned=True,
    ),
    "numpy print": Case(
        "numpy settings",
        "np.set_printoptions(precision=2, suppress=True, threshold=5, legacy='1.25')",
        "import numpy as np; assert repr(np.float64(1.0)) == '1.0' and str(np.array([1.23456])) == '[1.23]'",
        "assert repr(np.float64(1.0)) == 'np.float64(1.0)' and str(np.array([1.23456])) == '[1.23456]'",
        "import numpy as np",
    ),
    "numpy formatter": Case(
        "numpy settings",
        "np.set_printoptions(formatter={'float': lambda x: 'x'})",
        setup="import numpy as np",
        pinned=True,
    ),
    "numpy errors": Case(
        "numpy settings",
        "np.seterr(all='raise')",
        "import numpy as np\ntry:\n    np.array(1.0) / 0\n    assert False\nexcept FloatingPointError: pass",
        "assert np.geterr()['divide'] == 'warn'",
        "import numpy as np",
    ),
    "sklearn": Case(
        "sklearn config",
        "sklearn.set_config(transform_output='pandas', display='text')",
        "from sklearn.preprocessing import StandardScaler\n"
        "assert type(StandardScaler().fit_transform([[1.0], [2.0]])).__name__ == 'DataFrame'",
        "from sklearn.preprocessing import StandardScaler\n"
        "assert type(StandardScaler().fit_transform([[1.0], [2.0]])).__name__ == 'ndarray'",
        "import sklearn",
    ),
}

# A pinned change whose first state cannot come back either: only what added it could take it away.
ONE_WAY = {"environ secret", "pandas accessor", "numpy formatter"} & set(CASES)


class Warm:
    """A fork of this process with a shell and every library loaded, which forks again for every task."""

    def __init__(self) -> None:
        asks, self._asks = os.pipe()
        self._answers, answers = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._asks)
            os.close(self._answers)
            serve(asks, answers)
        os.close(asks)
        os.close(answers)

    def run(self, task: Callable[..., object], *arguments: object) -> object:
        """Run a function of this module in a fork; its failure is this test's failure."""
        send(self._asks, [task.__name__, *arguments])
        answer = receive(self._answers)
        if "error" in answer:
            pytest.fail(answer["error"], pytrace=False)
        return answer["value"]

    def stop(self) -> None:
        os.close(self._asks)
        os.close(self._answers)
        os.waitpid(self._pid, 0)


def serve(asks: int, answers: int) -> None:
    try:
        shell = warm_shell()
        while ask := receive(asks):
            name, *arguments = ask
            pid = os.fork()
            if pid == 0:
                try:
                    answer = {"value": globals()[name](shell, *arguments)}
                except BaseException:
                    answer = {"error": traceback.format_exc()}
                send(answers, answer)
                os._exit(0)
            os.waitpid(pid, 0)
    finally:
        os._exit(0)


def send(pipe: int, message: object) -> None:
    content = msgspec.msgpack.encode(message)
    content = len(content).to_bytes(4, "big") + content
    while content:
        content = content[os.write(pipe, content) :]


def receive(pipe: int) -> Any:
    header = os.read(pipe, 4)
    if not header:
        return None
    content, size = b"", int.from_bytes(header, "big")
    while len(content) < size:
        content += os.read(pipe, size - len(content))
    return msgspec.msgpack.decode(content)


def warm_shell() -> Any:
    import matplotlib.pyplot  # noqa: F401
    import pandas  # noqa: F401
    import sklearn.preprocessing  # noqa: F401
    from ipykernel.displayhook import ZMQShellDisplayHook
    from ipykernel.zmqshell import ZMQDisplayPublisher, ZMQInteractiveShell
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    leave_pytest()
    os.environ["MPLBACKEND"] = "agg"
    figure = Figure()
    figure.subplots()
    FigureCanvasAgg(figure).draw()  # finds the fonts, once
    # There is no client: what is shown goes nowhere.
    for owner, names in {
        ZMQDisplayPublisher: ["publish"],
        ZMQShellDisplayHook: [
            "start_displayhook",
            "write_output_prompt",
            "write_format_data",
            "finish_displayhook",
        ],
        ZMQInteractiveShell: ["_showtraceback", "enable_gui"],
    }.items():
        for name in names:
            setattr(owner, name, lambda *args, **kwargs: None)
    shell = ZMQInteractiveShell.instance()
    shell.history_manager.enabled = False
    ambient.adapters()
    return shell


def leave_pytest() -> None:
    """Take off the hooks, handlers and streams that pytest put on this process."""
    logging.root.handlers.clear()
    logging.root.setLevel(logging.WARNING)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.excepthook, sys.unraisablehook = sys.__excepthook__, sys.__unraisablehook__
    threading.excepthook = threading.__excepthook__
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
    sys.meta_path[:] = [finder for finder in sys.meta_path if "pytest" not in type(finder).__module__]
    warnings.resetwarnings()


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    warm = Warm()
    yield warm
    warm.stop()


class Notebook:
    """A shell that runs cells, and one slot's adapter."""

    def __init__(self, shell: Any, slot: str) -> None:
        self.shell = shell
        (self.adapter,) = [adapter for adapter in ambient.adapters() if adapter.name == slot]

    def cell(self, source: str) -> None:
        result = self.shell.run_cell(source)
        result.raise_error()

    def capture(self) -> object:
        value = self.adapter.capture()
        assert through_store(value) == value, "a value that went through the store does not equal its capture"
        assert self.adapter.capture() == value, "capture changes from one time to the next"
        return value


def through_store(value: object) -> object:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value))


@pytest.mark.parametrize("name", CASES)
def test_change_is_seen_and_undone(warm: Warm, name: str) -> None:
    warm.run(change_and_undo, name)


def change_and_undo(shell: Any, name: str) -> None:
    case = CASES[name]
    notebook = Notebook(shell, case.slot)
    notebook.cell(case.setup)
    first = notebook.capture()
    notebook.cell(case.change)
    second = notebook.capture()
    assert second != first
    reason = ambient.inexpressible(second, first)
    assert (reason is not None) == case.pinned, reason
    notebook.cell("" if case.pinned else case.after)
    restore_with_surroundings(notebook, first)
    if name not in ONE_WAY:
        assert notebook.capture() == first
        notebook.cell(case.before)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.pinned])
def test_change_is_restored_in_another_process(warm: Warm, name: str) -> None:
    warm.run(replay_change, name, warm.run(record_change, name))


def record_change(shell: Any, name: str) -> object:
    case = CASES[name]
    notebook = Notebook(shell, case.slot)
    notebook.cell(case.setup)
    notebook.cell(case.change)
    return notebook.capture()


def replay_change(shell: Any, name: str, recorded: object) -> None:
    case = CASES[name]
    notebook = Notebook(shell, case.slot)
    notebook.cell(case.setup)
    if name == "time zone":
        notebook.cell("os.environ['TZ'] = 'Asia/Tokyo'")
    notebook.adapter.restore(recorded)
    assert notebook.capture() == recorded
    notebook.cell(case.after)


def restore_with_surroundings(notebook: Notebook, value: object) -> None:
    if notebook.adapter.name == "time zone":
        notebook.cell("os.environ['TZ'] = 'UTC'")
    notebook.adapter.restore(through_store(value))


def test_two_kernels_start_alike(tmp_path: os.PathLike[str]) -> None:
    """What a kernel finds when it starts must not depend on its connection file, its session or its addresses."""
    from jupyter_client.manager import start_new_kernel

    script = textwrap.dedent(
        """
        import json, numpy.random, pandas, matplotlib.pyplot, sklearn.linear_model, seaborn
        from provcrt_kernel.session import ambient
        print(json.dumps({a.name: repr(a.capture()) for a in ambient.adapters() if a.kind != "identity"}))
        """
    )
    captures = []
    for number in range(2):
        environment = os.environ | {"JPY_SESSION_NAME": f"{number}.ipynb", "SSH_AUTH_SOCK": f"/tmp/{number}"}
        manager, client = start_new_kernel(kernel_name="python3", env=environment, cwd=str(tmp_path))
        try:
            output: list[str] = []
            client.execute_interactive(
                script,
                timeout=60,
                output_hook=lambda m, to=output: to.append(m["content"].get("text", str(m["content"]))),
            )
            captures.append(json.loads("".join(text for text in output if text.startswith('{"'))))
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    first, second = captures
    assert {name for name in first if first[name] != second[name]} == set()
    assert [name for name, value in first.items() if "@inexpressible" in value and name != "os.environ"] == []


def test_capture_imports_nothing() -> None:
    script = (
        "import sys; from provcrt_kernel.session import ambient; ambient.adapters(); before = set(sys.modules)\n"
        "values = [a.capture() for a in ambient.adapters()]\n"
        "assert set(sys.modules) == before, set(sys.modules) - before\n"
        "assert not {'numpy', 'pandas', 'matplotlib', 'IPython', 'torch', 'asyncio.unix'} & before, 'imported a library'"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_backend_that_nobody_chose_stays_unchosen() -> None:
    script = (
        "import matplotlib; from provcrt_kernel.session import ambient\n"
        "a, = [a for a in ambient.adapters() if a.name == 'matplotlib.rcParams']\n"
        "value = a.capture(); assert matplotlib.get_backend(auto_select=False) is None\n"
        "import matplotlib.pyplot as plt; plt.figure(); assert a.capture() != value\n"
        "plt.close(); a.restore(value); assert a.capture() == value; plt.figure()"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


def test_import_of_rich_is_no_draw() -> None:
    script = (
        "from provcrt_kernel.session import ambient; import random, sys\n"
        "a, = [a for a in ambient.adapters() if a.name == 'random']\n"
        "assert a.capture() == ['entropy'] and 'rich.style' not in sys.modules\n"
        "import rich.style; assert a.capture() == ['entropy']\n"
        "random.random(); assert a.capture() != ['entropy']"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("library", ["random", "numpy.random"])
def test_entropy_comes_back_as_fresh_entropy(warm: Warm, library: str) -> None:
    assert warm.run(draw_from_entropy, library) != warm.run(draw_from_entropy, library)


def draw_from_entropy(shell: Any, library: str) -> float:
    notebook = Notebook(shell, library)
    random = importlib.import_module(library)
    notebook.adapter.restore(["entropy"])
    random.seed(1)
    notebook.adapter.restore(["entropy"])
    assert notebook.capture() == ["entropy"]
    number = float(random.random())
    assert notebook.capture() != ["entropy"]
    return number


def test_numpy_seeded_in_the_cell_that_imports_it() -> None:
    script = (
        "from provcrt_kernel.session import ambient\n"
        "a, = [a for a in ambient.adapters() if a.name == 'numpy.random']\n"
        "import numpy as np; assert a.capture() in (None, ['entropy'])\n"
    )
    subprocess.run(
        [sys.executable, "-c", script + "np.random.rand(); assert a.capture() != ['entropy']"], check=True
    )
    subprocess.run(
        [sys.executable, "-c", script + "np.random.seed(1); assert a.capture() != ['entropy']"], check=True
    )
    first = script.replace("assert", "np.random.seed(1); assert not")
    subprocess.run([sys.executable, "-c", first], check=True)


def test_another_object_of_the_same_name_is_a_change() -> None:
    def hooks() -> list[Callable[[], None]]:
        return [lambda: None for _ in range(2)]

    first, second = hooks()
    assert Inexpressible.of(first) == Inexpressible.of(first)
    assert Inexpressible.of(first) != Inexpressible.of(second)
    assert ambient.inexpressible([Inexpressible.of(second)], [Inexpressible.of(first)])
    assert ambient.inexpressible([Inexpressible.of(first)], [Inexpressible.of(first)]) is None
    token = Inexpressible.of(first)
    del first
    assert all(Inexpressible.of(hook) != token for hook in hooks())


def test_unreadable_state_never_equals_itself() -> None:
    def broken() -> object:
        raise RuntimeError("the library has changed")

    slot = ambient.Builtin("some slot", broken, lambda value: None)
    assert slot.capture() != slot.capture()
    assert "the library has changed" in str(ambient.inexpressible(slot.capture()))


@pytest.mark.parametrize(
    ("packages", "seen"),
    [
        ((), set()),
        (("json", "os"), set()),
        (("numpy",), {"numpy settings"}),
        (("scipy", "json"), {"numpy settings"}),
        (("pandas",), {"numpy settings", "pandas options", "matplotlib.rcParams"}),
        (("sklearn",), {"numpy settings", "pandas options", "matplotlib.rcParams", "sklearn config"}),
        (
            ("unheard_of",),
            {"numpy settings", "pandas options", "matplotlib.rcParams", "sklearn config", "torch settings"},
        ),
    ],
)
def test_visible(packages: tuple[str, ...], seen: set[str]) -> None:
    slots = {adapter.name: adapter for adapter in ambient.adapters()}
    interesting = {
        "numpy settings",
        "pandas options",
        "matplotlib.rcParams",
        "sklearn config",
        "torch settings",
    }
    assert {name for name in interesting if ambient.visible(slots[name], frozenset(packages))} == seen
    assert ambient.visible(slots["cwd"], frozenset(packages))


def test_asked() -> None:
    slots = {adapter.name: adapter for adapter in ambient.adapters()}
    assert ambient.asked(slots["cwd"], frozenset())
    assert not ambient.asked(slots["random"], frozenset({"seed"}))
    assert ambient.asked(slots["random"], frozenset({"getstate"}))
    assert ambient.asked(slots["random"], frozenset(), frozenset({"random"}))
    assert not ambient.asked(slots["process"], frozenset({"x"}))
    assert ambient.asked(slots["process"], frozenset(), frozenset({"sys.argv"}))
    assert ambient.asked(slots["process"], frozenset({"argv"}))


def test_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    good = ambient.Builtin("weather", lambda: "rain", lambda value: None)
    clash = ambient.Builtin("cwd", lambda: "rain", lambda value: None)

    class Point:
        def __init__(self, value: object) -> None:
            self.value, self.offered = repr(value), value

        def load(self) -> object:
            if isinstance(self.offered, Exception):
                raise self.offered
            return self.offered

    points = [Point(good), Point(ImportError("no such module")), Point([clash]), Point(object())]
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "provcrt.ambient" else [])
    with pytest.warns(RuntimeWarning, match="ignored") as warned:
        found = registry.adapters.__wrapped__()
    assert found[-1] is good
    assert len(warned) == 3
    assert all("\n" not in str(one.message) for one in warned)
    assert importlib.metadata.entry_points(group="provcrt.nothing") == ()


atoms = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    atoms | st.text(st.characters(categories=["Cs"])),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.text(st.characters()) | st.just("@tuple") | st.just("\udc80") | st.integers(), inner
        )
    ),
    max_leaves=15,
)


@given(values)
def test_plain_data_survives_the_store(value: object) -> None:
    encoded = plain(value)
    assert through_store(encoded) == encoded
    restored = unplain(through_store(encoded))
    assert restored == value
    assert repr(restored) == repr(value)


def test_plain_data_of_other_kinds() -> None:
    kinds = [{1, "a", None}, frozenset({-1, -2}), re.compile("a", re.IGNORECASE), Path("/a"), json.dumps]
    for value in [
        *kinds,
        signal.SIGINT,
        functools.partial(json.dumps, indent=2).keywords,
        UserWarning,
        2**200,
    ]:
        restored = unplain(through_store(plain(value)))
        assert restored == value
        assert type(restored) is type(value)
    assert unplain(through_store(plain("{:.1f}".format)))(1.26) == "1.3"
    partial = unplain(through_store(plain(functools.partial(json.dumps, indent=2))))
    assert (partial.func, partial.args, partial.keywords) == (json.dumps, (), {"indent": 2})


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_that_rests_while_a_cell_is_looked_at_is_no_change_of_its_settings(enabled):
    interpreter = next(a for a in registry.adapters() if a.name == "interpreter settings")
    (gc.enable if enabled else gc.disable)()
    try:
        before = interpreter.capture()
        with resting:
            with resting:
                assert not gc.isenabled()
            assert not gc.isenabled()
            assert interpreter.capture() == before
        assert gc.isenabled() == enabled
        assert interpreter.capture() == before
    finally:
        gc.enable()
