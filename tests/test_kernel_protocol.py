# ruff: noqa: E501 - cells are quoted as users write them
"""Both kernels, side by side: what the Jupyter messaging documentation asks of plain ipykernel holds of ours.

The corpus is run three times: by plain ipykernel, by ours, and by ours in a new session with the same store, where
cells are replayed. All must look alike to a client.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kernels import (
    KINDS,
    OURS,
    PLAIN,
    Exchange,
    Kernel,
    install_kernelspecs,
    plain_text,
    processes_with,
    running,
    transcript,
)


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_kernelspecs(tmp_path_factory.mktemp("prefix"))


@pytest.fixture(scope="module", params=KINDS)
def kernel(
    request: pytest.FixtureRequest, specs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kernel]:
    with running(request.param, specs, tmp_path_factory.mktemp(request.param)) as kernel:
        yield kernel


@pytest.fixture(params=KINDS)
def own_kernel(request: pytest.FixtureRequest, specs: Path, tmp_path: Path) -> Iterator[Kernel]:
    """A kernel that the test may end."""
    with running(request.param, specs, tmp_path) as kernel:
        yield kernel


# -- the corpus ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """One step of the corpus."""

    content: dict[str, Any]
    kind: str = "execute_request"
    answers: tuple[str, ...] = ()
    of_reply: Callable[[dict[str, Any]], Any] | None = field(default=None, compare=False)


def cell(code: str, *answers: str, **options: Any) -> Request:
    return Request(Kernel.cell(code, **options), answers=answers)


CORPUS: dict[str, Request] = {
    "print": cell("print('hello')"),
    "print again": cell("print('hello')"),
    "both streams": cell("import sys\nprint('out'); print('err', file=sys.stderr); print('out 2', flush=True)"),
    "carriage return": cell("print('1%\\r2%\\r3%', end='')"),
    "unicode": cell("print('žluťoučký 🐎 \\x00 end')"),
    "result": cell("x = 42\nx"),
    "result of a container": cell("{'a': [1, 2.5, None], 'b': ('c',)}"),
    "semicolon": cell("x;"),
    "nothing": cell(""),
    "comment": cell("# nothing to see"),
    "None": cell("None"),
    "last result": cell("_"),
    "earlier results": cell("(_, __, _6, Out[6], sorted(Out))"),
    "earlier inputs": cell("(_i, _ii, In[1], len(In), _i1)"),
    "names stay": cell("x + 1"),
    "function": cell("def f(a, b=2):\n    '''Add.'''\n    return a + b\n\nf(1)"),
    "class": cell("class Point:\n    def __init__(self, x): self.x = x\n    def __repr__(self): return f'Point({self.x})'\np = Point(3)\np"),
    "use of class": cell("p.x += 1\np, isinstance(p, Point), f(p.x)"),
    "ten lines": cell("total = 0\nfor i in range(10):\n    total += i\n    print(i)\ntotal"),
    "error": cell("1 / 0"),
    "name error": cell("undefined_name"),
    "syntax error": cell("for in x:"),
    "indentation error": cell("if x:\nprint(1)"),
    "error in function": cell("def g(n):\n    if n == 0:\n        raise ValueError('deep')\n    return g(n - 1)\ng(3)"),
    "chained error": cell("try:\n    {}['k']\nexcept KeyError as e:\n    raise RuntimeError('outer') from e"),
    "output before error": cell("print('before'); x = 43; raise KeyError('k')"),
    "state after error": cell("x"),
    "error in repr": cell("class Bad:\n    def __repr__(self): raise TypeError('no repr')\nBad()"),
    "exception object": cell("ValueError('not raised')"),
    "exception group": cell("raise ExceptionGroup('many', [ValueError(1), TypeError(2)])"),
    "assert": cell("assert x == 1, 'x is not 1'"),
    "system exit": cell("import sys; sys.exit(3)"),
    "warning": cell("import warnings; warnings.warn('careful', UserWarning)"),
    "traceback module": cell("import traceback\ntry:\n    1/0\nexcept ZeroDivisionError:\n    traceback.print_exc()"),
    "display": cell("from IPython.display import display, HTML, Markdown, Latex, JSON, Image, SVG, Javascript, Pretty\ndisplay(1, 'two', HTML('<b>3</b>'))"),
    "display kinds": cell("display(Markdown('*m*'), Latex('$x$'), JSON({'a': 1}), Javascript('1'), Pretty('p'))"),
    "display metadata": cell("display({'text/plain': 't', 'application/x': {'k': [1]}}, raw=True, metadata={'application/x': {'m': 1}})"),
    "display between prints": cell("print('a'); display('b'); print('c'); display('d'); 'e'"),
    "own html": cell("class Shown:\n    def _repr_html_(self): return '<i>own</i>'\nShown()"),
    "own mime bundle": cell("class Bundle:\n    def _repr_mimebundle_(self, include=None, exclude=None): return {'text/plain': 'b', 'text/x': 'y'}, {'text/x': {'z': 1}}\nBundle()"),
    "own display": cell("class Self:\n    def _ipython_display_(self): display('myself')\nSelf()"),
    "image": cell("import base64\nImage(data=base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='))"),
    "display id": cell("h = display('first', display_id='an-id')\nh.update('second')"),
    "update from a later cell": cell("h.update('third')"),
    "update by function": cell("from IPython.display import update_display\nupdate_display('fourth', display_id='an-id')"),
    "clear output": cell("from IPython.display import clear_output\nprint('gone'); clear_output(); print('stays')"),
    "clear output later": cell("for i in range(3):\n    clear_output(wait=True)\n    print(i)"),
    "silent": cell("print('silent'); x = 44", silent=True),
    "after silent": cell("x, len(In)"),
    "not in history": cell("x += 1\nx", store_history=False),
    "after not in history": cell("x, _"),
    "user expressions": cell("y = 1", user_expressions={"sum": "x + y", "bad": "1/0", "text": "'t'"}),
    "user expressions only": cell("", user_expressions={"y": "y", "p": "p"}),
    "user expressions after error": cell("1/0", user_expressions={"y": "y"}),
    "input": cell("name = input('who? ')\nprint('hello', name)", "Ada"),
    "input twice": cell("input('a: '), input('b: ')", "1", "2"),
    "getpass": cell("import getpass\nlen(getpass.getpass('secret: '))", "12345"),
    "input in a function": cell("def ask():\n    return int(input())\nask() * 2", "21"),
    "input forbidden": cell("input('no')", allow_stdin=False),
    "magic": cell("%pwd"),
    "line time": cell("%time sum(range(10))"),
    "cell time": cell("%%time\nz = 3\nprint('timed')\nz"),
    "bash": cell("%%bash\necho from bash; echo oops >&2; exit 0"),
    "bash fails": cell("%%bash\nexit 3"),
    "shell": cell("!echo shell; echo wrong >&2"),
    "shell with a variable": cell("!echo {x} $name"),
    "shell to a list": cell("lines = !printf 'a\\nb\\n'\nlines"),
    "os.system": cell("import os, time\nos.system('echo by os.system'); time.sleep(0.4)"),
    "child writes": cell("import subprocess\nsubprocess.run(['echo', 'child']); time.sleep(0.4)"),
    "descriptor 1": cell("import os\nprint('first', flush=True)\nos.write(1, b'raw\\n'); time.sleep(0.4)"),
    "write file": cell("%%writefile script.py\nimport sys\nvalue = 7\nprint('script', sys.argv[1:])"),
    "run": cell("%run script.py a b\nvalue"),
    "read file": cell("open('script.py').read()"),
    "capture": cell("%%capture captured\nprint('caught'); display('also')"),
    "captured": cell("captured.stdout, len(captured.outputs)"),
    "captured shown": cell("captured()"),
    "unknown magic": cell("%no_such_magic"),
    "set next input": cell("get_ipython().set_next_input('next')"),
    "page": cell("f?"),
    "source": cell("f??"),
    "load": cell("%load script.py"),
    "who": cell("%who_ls function"),
    "env": cell("%env PROTOCOL_TEST=1\n!echo $PROTOCOL_TEST"),
    "cd": cell("%mkdir -p sub\n%cd sub\nimport os; os.path.basename(os.getcwd())"),
    "cd back": cell("%cd ..\nos.path.basename(os.getcwd())"),
    "alias": cell("%alias greet echo hi %s\n%greet you"),
    "own magic": cell("from IPython.core.magic import register_cell_magic\n@register_cell_magic\ndef upper(line, cell): print(cell.upper())"),
    "use own magic": cell("%%upper\nshout"),
    "precision": cell("%precision 2\n3.14159"),
    "precision back": cell("%precision\n3.14159"),
    "xmode": cell("%xmode Plain\n1/0"),
    "xmode back": cell("%xmode Context"),
    "all expressions": cell("get_ipython().ast_node_interactivity = 'all'"),
    "all expressions now": cell("1\n2\n'three'"),
    "last expression": cell("get_ipython().ast_node_interactivity = 'last_expr'"),
    "future": cell("from __future__ import annotations\ndef typed(a: Missing): pass\ntyped.__annotations__"),
    "await": cell("import asyncio\nawait asyncio.sleep(0.01, 'slept')"),
    "gather": cell("async def co(n):\n    await asyncio.sleep(0.01 * n)\n    print('co', n)\n    return n\nawait asyncio.gather(co(2), co(1))"),
    "async for": cell("async def gen():\n    for i in range(3):\n        yield i\n[i async for i in gen()]"),
    "thread": cell("import threading\nt = threading.Thread(target=lambda: print('from a thread'))\nt.start(); t.join()"),
    "logging": cell("import logging\nlogging.getLogger('proto').warning('logged')"),
    "random": cell("import random\nrandom.seed(1)\nrandom.random()"),
    "random goes on": cell("random.random(), random.randint(1, 100)"),
    "numpy": cell("import numpy as np\na = np.arange(6).reshape(2, 3)\na"),
    "view": cell("b = a[0]\nb[:] = 9\na"),
    "pandas": cell("import pandas as pd\ndf = pd.DataFrame({'n': [1, 2], 's': list('ab')})\ndf"),
    "in place": cell("df['m'] = df.n * 2\ndf.loc[0, 'n'] = 100\ndf.to_dict('list')"),
    "plot": cell("%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2, 3])"),
    "plot quietly": cell("fig, ax = plt.subplots(figsize=(2, 1))\nax.bar([1, 2], [3, 4]);"),
    "rc": cell("plt.rcParams['axes.facecolor'] = 'yellow'"),
    "plot with rc": cell("plt.figure(figsize=(1, 1)); plt.plot([1, 0]);"),
    "much output": cell("for i in range(3000): print('line', i)"),
    "big string": cell("'x' * 300_000"),
    "many results": cell("for i in range(200): display(i)"),
    "deleted": cell("del x\nx"),
    "error that nobody caught": cell("def deep(n):\n    local = n * 2\n    return 1 / local\ndeep(0)"),
    "the last error": cell("import sys\n(sys.last_type.__name__, str(sys.last_value), sys.last_traceback is not None)"),
    "frames of the last error": cell("import traceback\n[f.name for f in traceback.extract_tb(sys.last_traceback)][-2:]"),
    "progress": cell("import sys\nfor i in range(5):\n    print(f'\\r{i * 25}%', end='', file=sys.stderr)\nprint()\nprint('done')"),
    "a child between": cell("import subprocess\nprint('before'); print(subprocess.run(['echo', 'child'], capture_output=True, text=True).stdout); print('after')"),
    "bytes of an image": cell("display(Image(data=bytes([137, 80, 78, 71, 13, 10, 26, 10]) + bytes(range(256)) * 4, format='png'))"),
    "display to be updated": cell("later = display('at first', display_id='later')"),
    "clear and wait": cell("print('a'); clear_output(wait=True); display('b'); clear_output(); print('c')"),
    "a warning of a line": cell("import warnings\nfor i in range(2): warnings.warn('each time', UserWarning)"),
    "dunder name": cell("__name__, __doc__"),
    "source of function": cell("import inspect\ninspect.getsource(f)"),
    "closure": cell("def counter():\n    n = 0\n    def inc():\n        nonlocal n\n        n += 1\n        return n\n    return inc\nc = counter(); c(); c()"),
    "closure goes on": cell("c()"),
    "generator": cell("numbers = iter(range(10))\nnext(numbers)"),
    "generator goes on": cell("next(numbers), next(numbers)"),
    "atexit": cell("import atexit\natexit.register(print, 'at exit');"),
    "stdin replaced": cell("import io, sys\nkeep = sys.stdout; sys.stdout = io.StringIO(); print('lost'); caught = sys.stdout.getvalue(); sys.stdout = keep\ncaught"),
    "widget": cell("import ipywidgets as w\nslider = w.IntSlider(value=3, description='n')\nslider.value"),
    "complete attribute": Request({"code": "df.to_dic", "cursor_pos": 9}, "complete_request"),
    "complete name": Request({"code": "counte", "cursor_pos": 6}, "complete_request"),
    "complete magic": Request({"code": "%writef", "cursor_pos": 7}, "complete_request"),
    "complete in the middle": Request({"code": "df.colum + 1", "cursor_pos": 8}, "complete_request"),
    "complete nothing": Request({"code": "no_such_thing_", "cursor_pos": 14}, "complete_request"),
    "complete a key": Request({"code": "df['", "cursor_pos": 4}, "complete_request"),
    "inspect": Request({"code": "f(1", "cursor_pos": 1, "detail_level": 0}, "inspect_request"),
    "inspect source": Request({"code": "f", "cursor_pos": 1, "detail_level": 1}, "inspect_request"),
    "inspect a value": Request({"code": "value", "cursor_pos": 5, "detail_level": 0}, "inspect_request"),
    "inspect nothing": Request({"code": "no_such_thing", "cursor_pos": 3, "detail_level": 0}, "inspect_request"),
    "complete code": Request({"code": "a = 1"}, "is_complete_request"),
    "incomplete code": Request({"code": "def h():\n    return 1"}, "is_complete_request"),
    "invalid code": Request({"code": "a = = 1"}, "is_complete_request"),
    "unfinished bracket": Request({"code": "foo("}, "is_complete_request"),
    "history tail": Request({"hist_access_type": "tail", "output": False, "raw": True, "n": 5}, "history_request"),
    "history range": Request({"hist_access_type": "range", "output": False, "raw": True, "session": 0, "start": 1, "stop": 8}, "history_request"),
    "history range with output": Request({"hist_access_type": "range", "output": True, "raw": False, "session": 0, "start": 1, "stop": 20}, "history_request"),
    "history search": Request({"hist_access_type": "search", "output": False, "raw": True, "pattern": "*print*", "n": 4, "unique": True}, "history_request"),
    "comm info": Request({"target_name": "no.such.target"}, "comm_info_request"),
    "last": cell("'the end', len(In)"),
}  # fmt: skip


def run_corpus(kernel: Kernel) -> dict[str, Exchange]:
    return {
        name: kernel.request(
            step.kind,
            step.content,
            answers=step.answers,
            **({"metadata": {"cellId": name}} if step.kind == "execute_request" else {}),
        )
        for name, step in CORPUS.items()
    }


@pytest.fixture(scope="module")
def recorded(specs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Exchange]]:
    """The corpus by every way to run it; and the folder of each run under ``folder``."""
    runs: dict[str, Any] = {"folder": {}}
    store = tmp_path_factory.mktemp("store")
    shared = tmp_path_factory.mktemp("corpus")
    for way in (PLAIN, OURS, "replayed"):
        # the same folder for all: files and paths are inputs
        for leftover in (shared / "work").glob("*"):
            leftover.rmdir() if leftover.is_dir() else leftover.unlink()
        with running(
            PLAIN if way == PLAIN else OURS,
            specs,
            shared,
            store=store,
            environment={"IPYTHONDIR": str(tmp_path_factory.mktemp("ipython"))},
        ) as kernel:
            runs[way] = run_corpus(kernel)
            runs["folder"][way] = kernel.folder
    return runs


@pytest.mark.parametrize("name", CORPUS)
def test_ours_looks_like_plain(recorded: dict[str, Any], name: str) -> None:
    folder = recorded["folder"][PLAIN]
    assert transcript(recorded[OURS][name], folder) == transcript(recorded[PLAIN][name], folder)


@pytest.mark.parametrize("name", CORPUS)
def test_replayed_looks_like_plain(recorded: dict[str, Any], name: str) -> None:
    folder = recorded["folder"][PLAIN]
    assert transcript(recorded["replayed"][name], folder) == transcript(recorded[PLAIN][name], folder)


@pytest.mark.parametrize("way", [OURS, "replayed"])
def test_execution_counts_are_plain_ones(recorded: dict[str, Any], way: str) -> None:
    def counts(exchanges: dict[str, Exchange]) -> dict[str, int | None]:
        return {name: exchange.content.get("execution_count") for name, exchange in exchanges.items()}

    assert counts(recorded[way]) == counts(recorded[PLAIN])


def test_most_of_the_corpus_is_replayed(recorded: dict[str, Any]) -> None:
    reports = {name: exchange.report for name, exchange in recorded["replayed"].items() if exchange.report}
    executed = {name: report["reason"] for name, report in reports.items() if report["status"] == "executed"}
    assert len(executed) < len(reports) / 2, "\n".join(f"{name}: {why}" for name, why in executed.items())


@pytest.mark.parametrize("way", [PLAIN, OURS, "replayed"])
def test_every_request_is_busy_then_idle(recorded: dict[str, Any], way: str) -> None:
    for name, exchange in recorded[way].items():
        states = [content["execution_state"] for content in exchange.of("status")]
        assert states == ["busy", "idle"], name
        kinds = [
            message["msg_type"] for message in exchange.published if message["msg_type"] != "input_request"
        ]
        assert (kinds[0], kinds[-1]) == ("status", "status"), name
        request = CORPUS[name]
        if request.kind == "execute_request" and not request.content["silent"]:
            assert kinds[1] == "execute_input", name
            assert exchange.of("execute_input")[0]["code"] == request.content["code"]
        for message in (*exchange.published, exchange.reply):
            assert message["parent_header"]["session"] == exchange.reply["parent_header"]["session"], name


@pytest.mark.parametrize("way", [PLAIN, OURS, "replayed"])
def test_replies_have_the_documented_fields(recorded: dict[str, Any], way: str) -> None:
    for name, exchange in recorded[way].items():
        request = CORPUS[name]
        assert exchange.reply["msg_type"] == request.kind.replace("_request", "_reply")
        content = exchange.content
        if request.kind != "execute_request":
            continue
        assert isinstance(content["execution_count"], int), name
        assert "status" in exchange.reply["metadata"], name
        if content["status"] == "ok":
            assert isinstance(content["payload"], list), name
            assert isinstance(content["user_expressions"], dict), name
        else:
            assert content["status"] == "error", name
            assert isinstance(content["ename"], str), name
            assert isinstance(content["traceback"], list), name
            assert all(isinstance(line, str) for line in content["traceback"]), name
            # IPython sends no error message for a usage error or a group, and names another one for a repr's
            if name not in ("error in repr", "exception group", "unknown magic"):
                assert exchange.of("error")[0]["ename"] == content["ename"], name


# -- kernel_info, comms, widgets -------------------------------------------------------------------


def test_kernel_info(kernel: Kernel) -> None:
    for channel in ("shell", "control"):
        content = kernel.request("kernel_info_request", channel=channel).content
        assert content["status"] == "ok"
        assert content["protocol_version"].startswith("5.")
        assert content["language_info"]["name"] == "python"
        assert content["language_info"]["version"] == ".".join(map(str, sys.version_info[:3]))
        assert content["implementation"] == ("ipython" if kernel.name == PLAIN else "provcrt")
        assert {"kernel subshells", "debugger"} <= set(content["supported_features"])


def test_comm_from_the_front_end(kernel: Kernel) -> None:
    kernel.execute(
        "seen = []\n"
        "def target(comm, message):\n"
        "    seen.append(('open', message['content']['data']))\n"
        "    comm.on_msg(lambda m: (seen.append(('msg', m['content']['data'], [bytes(b) for b in m['buffers']])), comm.send({'echo': 1}, buffers=[b'back'])))\n"
        "    comm.on_close(lambda m: seen.append(('close',)))\n"
        "get_ipython().kernel.comm_manager.register_target('proto.test', target)"
    )
    identity = "a" * 32
    opened = comm(kernel, "comm_open", {"comm_id": identity, "target_name": "proto.test", "data": {"n": 1}})
    assert [message["msg_type"] for message in opened] == ["status", "status"]
    assert identity in kernel.request("comm_info_request", {"target_name": "proto.test"}).content["comms"]
    answered = comm(
        kernel, "comm_msg", {"comm_id": identity, "data": {"n": 2}}, buffers=[b"\x00\x01", b"two"]
    )
    (echo,) = [message for message in answered if message["msg_type"] == "comm_msg"]
    assert echo["content"]["data"] == {"echo": 1}
    assert [bytes(buffer) for buffer in echo["buffers"]] == [b"back"]
    comm(kernel, "comm_close", {"comm_id": identity, "data": {}})
    seen = kernel.execute("seen").result
    assert seen == "[('open', {'n': 1}), ('msg', {'n': 2}, [b'\\x00\\x01', b'two']), ('close',)]"
    assert kernel.request("comm_info_request").content["comms"].get(identity) is None


def comm(kernel: Kernel, kind: str, content: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    """Send a comm message, which has no reply, and return what it led to up to idle."""
    identity = kernel.send(kind, content, **options)
    return until_idle(kernel, identity)


def until_idle(kernel: Kernel, identity: str) -> list[dict[str, Any]]:
    kernel.wait_for(identity, lambda message: message["content"].get("execution_state") == "idle")
    return kernel.published(identity, wait=0.01)


def test_slider_and_its_callback(kernel: Kernel) -> None:
    shown = kernel.execute(
        "import ipywidgets\n"
        "slider = ipywidgets.IntSlider(value=3, max=50)\n"
        "doubled = []\n"
        "slider.observe(lambda change: (doubled.append(change['new'] * 2), print('moved', change['new'])), 'value')\n"
        "slider"
    )
    opened = shown.of("comm_open")
    model = next(
        content for content in opened if content["data"]["state"].get("_model_name") == "IntSliderModel"
    )
    view = shown.of("execute_result")[0]["data"]["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == model["comm_id"]
    moved = comm(
        kernel,
        "comm_msg",
        {
            "comm_id": model["comm_id"],
            "data": {"method": "update", "state": {"value": 21}, "buffer_paths": []},
        },
    )
    assert "moved 21" in "".join(message["content"].get("text", "") for message in moved)
    assert kernel.execute("slider.value, doubled").result == "(21, [42])"
    # a cell that ran before the callback must not be taken for one that can be replayed after it
    assert kernel.execute("doubled").result == "[42]"
    comm(
        kernel,
        "comm_msg",
        {
            "comm_id": model["comm_id"],
            "data": {"method": "update", "state": {"value": 5}, "buffer_paths": []},
        },
    )
    assert kernel.execute("doubled").result == "[42, 10]"


def test_interact(kernel: Kernel) -> None:
    shown = kernel.execute("@ipywidgets.interact(n=(0, 9))\ndef square(n=3):\n    print('square', n * n)")
    assert shown.content["status"] == "ok"
    models = {
        content["data"]["state"].get("_model_name"): content["comm_id"] for content in shown.of("comm_open")
    }
    assert {"IntSliderModel", "OutputModel"} <= models.keys()


# -- execution: order, queue, interruption ---------------------------------------------------------


def test_queue_is_aborted_after_an_error(kernel: Kernel) -> None:
    first = kernel.send("execute_request", Kernel.cell("import time; time.sleep(0.3); 1/0"))
    second = kernel.send("execute_request", Kernel.cell("print('should not run')"))
    third = kernel.send("execute_request", Kernel.cell("aborted = True"))
    assert kernel.finish(first).content["status"] == "error"
    for identity in (second, third):
        exchange = kernel.finish(identity)
        assert exchange.content["status"] == "aborted"
        assert exchange.text() == ""
    assert kernel.execute("'aborted' in globals()").result == "False"


def test_queue_goes_on_without_stop_on_error(kernel: Kernel) -> None:
    first = kernel.send(
        "execute_request", Kernel.cell("import time; time.sleep(0.3); 1/0", stop_on_error=False)
    )
    second = kernel.send("execute_request", Kernel.cell("print('runs')"))
    assert kernel.finish(first).content["status"] == "error"
    assert kernel.finish(second).text() == "runs\n"


def test_queue_keeps_its_order(kernel: Kernel) -> None:
    identities = [
        kernel.send("execute_request", Kernel.cell(f"order = {n}\nprint(order)")) for n in range(20)
    ]
    counts = []
    for n, identity in enumerate(identities):
        exchange = kernel.finish(identity)
        assert exchange.text() == f"{n}\n"
        counts.append(exchange.content["execution_count"])
    assert counts == list(range(counts[0], counts[0] + 20))


@pytest.mark.parametrize(
    "code",
    [
        "print('started', flush=True)\nwhile True: pass",
        "import time; print('started', flush=True); time.sleep(100)",
        "import subprocess; print('started', flush=True); subprocess.run(['sleep', '100'])",
        "print('started', flush=True)\n!sleep 100",
        "%%bash\necho started; sleep 100",
        # a loop that sleeps for long does not see the signal before it wakes
        "import asyncio; print('started', flush=True)\nfor _ in range(1000): await asyncio.sleep(0.1)",
        "import numpy as np; print('started', flush=True)\nwhile True: np.linalg.svd(np.ones((200, 200)))",
        "import threading; print('started', flush=True); threading.Event().wait(100)",
        "print('started', flush=True); open('fifo-never-written')",
    ],
    ids=["loop", "sleep", "subprocess", "shell", "bash", "await", "numpy", "event", "open of a fifo"],
)
def test_interrupt(kernel: Kernel, code: str) -> None:
    if "fifo" in code and not (kernel.folder / "fifo-never-written").exists():
        os.mkfifo(kernel.folder / "fifo-never-written")
    kernel.execute("before = 'still here'")
    identity = kernel.send("execute_request", Kernel.cell(code))
    kernel.wait_for_text(identity, "started")
    time.sleep(0.2)
    start = time.monotonic()
    kernel.manager.interrupt_kernel()
    exchange = kernel.finish(identity)
    assert time.monotonic() - start < 20
    ends = {"KeyboardInterrupt", "CancelledError"}
    if code.startswith("%%bash"):
        ends.add("CalledProcessError")  # the signal goes to the child as well, which may be the first to end
    if "!sleep" not in code:  # the shell reports the child's end, and the cell goes on
        assert exchange.content["status"] == "error"
        assert exchange.content["ename"] in ends
    assert kernel.execute("before").result == "'still here'"


def test_interrupted_cell_runs_again(kernel: Kernel) -> None:
    # Python does not look for signals between a call that failed and the next: one long sleep could miss the interrupt
    wait = "if not os.path.exists('go'):\n    for _ in range(1000): time.sleep(0.1)"
    code = f"import time, os\nprint('started', flush=True)\n{wait}\nprint('done')"
    identity = kernel.send("execute_request", Kernel.cell(code))
    kernel.wait_for_text(identity, "started")
    kernel.manager.interrupt_kernel()
    assert kernel.finish(identity).content["status"] == "error"
    (kernel.folder / "go").touch()
    assert kernel.execute(code).text() == "started\ndone\n"


def test_interrupt_while_idle_does_no_harm(kernel: Kernel) -> None:
    kernel.manager.interrupt_kernel()
    time.sleep(0.3)
    assert kernel.execute("1 + 1").result == "2"


def test_input_can_be_interrupted(kernel: Kernel) -> None:
    identity = kernel.send("execute_request", Kernel.cell("input('waiting')"))
    question = kernel.client.stdin_channel.get_msg(timeout=30)
    assert question["content"] == {"prompt": "waiting", "password": False}
    kernel.manager.interrupt_kernel()
    assert kernel.finish(identity).content["ename"] == "KeyboardInterrupt"
    assert kernel.execute("2 + 2").result == "4"


def test_password_is_asked_for_as_one(kernel: Kernel) -> None:
    exchange = kernel.execute("import getpass; getpass.getpass('pw') == 'sesame'", answers=["sesame"])
    (question,) = exchange.of("input_request")
    assert question == {"prompt": "pw", "password": True}
    assert exchange.result == "True"
    # asked again, another answer counts
    again = kernel.execute("import getpass; getpass.getpass('pw') == 'sesame'", answers=["wrong"])
    assert again.result == "False"


def test_background_task_prints_later(kernel: Kernel) -> None:
    exchange = kernel.execute(
        "import asyncio\nticks = []\n"
        "async def tick():\n"
        "    for n in range(3):\n"
        "        await asyncio.sleep(0.1)\n"
        "        ticks.append(n)\n"
        "task = asyncio.create_task(tick())\nlen(ticks)"
    )
    assert exchange.result == "0"
    deadline = time.monotonic() + 20
    while kernel.execute("len(ticks)").result != "3":
        assert time.monotonic() < deadline, "a background task's effect is not seen"
        time.sleep(0.1)
    assert kernel.execute("ticks").result == "[0, 1, 2]"
    assert kernel.execute("task.done()").result == "True"


def test_background_thread_counts(kernel: Kernel) -> None:
    kernel.execute(
        "import threading, time\ncount = [0]\nstop = threading.Event()\n"
        "def work():\n    while not stop.wait(0.02): count[0] += 1\n"
        "thread = threading.Thread(target=work, daemon=True); thread.start()"
    )
    values = []
    for _ in range(3):
        values.append(int(kernel.execute("count[0]").result or 0))
        time.sleep(0.2)
    kernel.execute("stop.set(); thread.join()")
    assert values[0] < values[1] < values[2]


def test_binary_buffers_on_display(kernel: Kernel) -> None:
    exchange = kernel.execute(
        "k = get_ipython().kernel\n"
        "k.session.send(k.iopub_socket, 'display_data', {'data': {'text/plain': 'b'}, 'metadata': {}, 'transient': {}},"
        " parent=k.get_parent('shell'), ident=b'display_data', buffers=[b'\\x00' * 1000, b'\\xff'])"
    )
    (message,) = [message for message in exchange.published if message["msg_type"] == "display_data"]
    assert [bytes(buffer) for buffer in message["buffers"]] == [b"\x00" * 1000, b"\xff"]


def test_ten_megabytes_of_output(kernel: Kernel) -> None:
    exchange = kernel.execute("for _ in range(100): print('x' * 100_000)")
    assert len(exchange.text()) == 10_000_100
    assert exchange.content["status"] == "ok"


def test_output_written_past_python_is_replayed(own_kernel: Kernel) -> None:
    """Jupyter reads descriptor 1 in a thread: what a cell wrote at its very end belongs to it all the same."""
    kernel = own_kernel
    cells = [f"import os\nos.write(1, b'raw {n}\\n');" for n in range(10)]
    for code in cells:
        kernel.execute(code)
    kernel.restart()
    kernel.client.wait_for_ready(
        timeout=30
    )  # the new kernel's first messages reach only who is subscribed already
    for n, code in enumerate(cells):
        exchange = kernel.execute(code)
        if exchange.report and exchange.report["status"] == "replayed":
            assert exchange.text() == f"raw {n}\n"


def test_completion_of_a_name_that_is_not_loaded(own_kernel: Kernel) -> None:
    kernel = own_kernel
    kernel.execute("counter_of_things = {'key one': [1, 2]}")
    request = {"code": "y = counter_of", "cursor_pos": 14}
    before = kernel.request("complete_request", request).content
    kernel.restart()
    kernel.execute("counter_of_things = {'key one': [1, 2]}")
    after = kernel.request("complete_request", request).content
    for name in ("matches", "cursor_start", "cursor_end", "status"):
        assert after[name] == before[name], name
    by_key = kernel.request("complete_request", {"code": "counter_of_things['", "cursor_pos": 19}).content
    assert any("key one" in match for match in by_key["matches"])
    inspected = kernel.request(
        "inspect_request", {"code": "counter_of_things", "cursor_pos": 3, "detail_level": 0}
    )
    assert "key one" in inspected.content["data"]["text/plain"]


def test_results_are_remembered_after_a_replay(own_kernel: Kernel) -> None:
    kernel = own_kernel
    cells = ["[1, 2]", "'text'"]
    first = [kernel.execute(code) for code in cells]
    kernel.restart()
    second = [kernel.execute(code) for code in cells]
    assert [exchange.result for exchange in second] == [exchange.result for exchange in first]
    count = second[-1].content["execution_count"]
    assert kernel.execute(f"_, __, Out[{count}], _{count - 1}").result == "('text', [1, 2], 'text', [1, 2])"
    outputs = {
        "hist_access_type": "range",
        "output": True,
        "raw": True,
        "session": 0,
        "start": count - 1,
        "stop": count,
    }
    assert kernel.request("history_request", outputs).content["history"][0][2] == ["[1, 2]", "[1, 2]"]


@pytest.mark.parametrize(
    ("cells", "asked"),
    [
        (["a = [1, 2]\na", "a.append(3)"], "_, Out[COUNT] is a"),
        (["a = open('/dev/null')\na", "e = a"], "_ is e"),
        (["a = [sum(range(5_000_000))]\na", "a = 5"], "_, a"),
        (["a = [sum(range(5_000_000))]\na", "a\n", "a = 5"], "_ is __, _"),
    ],
)
def test_a_result_that_is_a_variable_is_that_object(own_kernel: Kernel, cells: list[str], asked: str) -> None:
    kernel = own_kernel
    first = [kernel.execute(code) for code in cells]
    count = next(e.content["execution_count"] for e in first)
    expected = kernel.execute(asked.replace("COUNT", str(count))).result
    assert expected is not None
    kernel.restart()
    for at, code in enumerate(cells):
        exchange = kernel.execute(code)
        count = exchange.content["execution_count"] if at == 0 else count
    assert kernel.execute(asked.replace("COUNT", str(count))).result == expected


def test_a_result_that_is_lost_is_said_and_is_no_other(own_kernel: Kernel) -> None:
    kernel = own_kernel
    kernel.execute("'before'")
    kernel.execute("(n for n in range(3))")
    kernel.restart()
    kernel.execute("'before'")
    again = kernel.execute("(n for n in range(3))")
    asked = kernel.execute("list(_)")
    if again.report is None or again.report["status"] != "replayed":
        assert asked.result == "[0, 1, 2]"
        return
    assert asked.content["ename"] == "NameError"
    assert "is not stored" in asked.text("stderr")
    kernel.execute("'next'")
    assert kernel.execute("_").result == "'next'"


def test_traceback_shows_the_source_as_it_is_now(own_kernel: Kernel) -> None:
    """Comments and layout do not make another cell, but a traceback shows them."""
    kernel = own_kernel
    kernel.execute("1 / 0")
    exchange = kernel.execute("# why\n\n1/0")
    (error,) = exchange.of("error")
    shown = plain_text("\n".join(error["traceback"]), kernel.folder)
    assert "----> 3 1/0" in shown
    assert f"Cell In[{exchange.content['execution_count']}], line 3" in shown


def test_traceback_shows_the_number_of_now(own_kernel: Kernel) -> None:
    kernel = own_kernel
    kernel.execute("1 / 0")
    kernel.restart()
    kernel.execute("above = 1")
    exchange = kernel.execute("1 / 0")
    if exchange.report is not None:
        assert exchange.report["status"] == "replayed"
    (error,) = exchange.of("error")
    assert error["traceback"] == exchange.content["traceback"]
    shown = plain_text("\n".join(error["traceback"]), kernel.folder)
    assert f"Cell In[{exchange.content['execution_count']}], line 1" in shown


def test_result_of_an_edited_cell(kernel: Kernel) -> None:
    for value in (1, 2, 1):
        kernel.execute(f"base = {value}")
        assert kernel.execute("base * 10").result == str(value * 10)


def test_volatile_values_change(kernel: Kernel) -> None:
    for code in (
        "import time; time.time_ns()",
        "import uuid; str(uuid.uuid4())",
        "import os; os.urandom(8)",
        "object()",
    ):
        first, second = kernel.execute(code).result, kernel.execute(code).result
        if code != "object()":
            assert first != second, code


def test_unknown_request_leaves_the_kernel_alive(kernel: Kernel) -> None:
    kernel.send("no_such_request", {})
    assert kernel.execute("3").result == "3"


def test_request_without_cell_id_and_with_tags(kernel: Kernel) -> None:
    exchange = kernel.request(
        "execute_request", Kernel.cell("5 + 5"), metadata={"tags": ["a"], "cellId": None}
    )
    assert exchange.result == "10"
    exchange = kernel.request("execute_request", {"code": "6 + 6"})
    assert exchange.result == "12"


# -- subshells -------------------------------------------------------------------------------------


def test_subshell_answers_while_the_main_shell_is_busy(kernel: Kernel) -> None:
    subshell = kernel.request("create_subshell_request", channel="control").content["subshell_id"]
    try:
        listed = kernel.request("list_subshell_request", channel="control").content["subshell_id"]
        assert listed == [subshell]
        main = kernel.send(
            "execute_request",
            Kernel.cell("import time\nprint('main', flush=True); time.sleep(1.5); from_main = 1"),
        )
        kernel.wait_for_text(main, "main")
        side = kernel.send(
            "execute_request", Kernel.cell("from_side = 2\nprint('side')"), subshell_id=subshell
        )
        exchange = kernel.finish(side)
        assert exchange.text() == "side\n"
        assert kernel.take_reply(main) is None, "the subshell waited for the main shell"
        assert kernel.finish(main).content["status"] == "ok"
        assert kernel.execute("from_main, from_side").result == "(1, 2)"
        kernel.finish(kernel.send("execute_request", Kernel.cell("from_side = 3"), subshell_id=subshell))
        assert kernel.execute("from_main, from_side").result == "(1, 3)"
    finally:
        deleted = kernel.request("delete_subshell_request", {"subshell_id": subshell}, channel="control")
        assert deleted.content["status"] == "ok"


# -- debugger --------------------------------------------------------------------------------------


def test_debugger(own_kernel: Kernel) -> None:
    kernel = own_kernel
    pytest.importorskip("debugpy")
    numbers = iter(range(1, 1000))

    def debug(command: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        content = {"type": "request", "seq": next(numbers), "command": command, "arguments": arguments or {}}
        reply = kernel.request("debug_request", content, channel="control").content
        assert reply.get("success"), reply
        return reply.get("body", {})

    kernel.execute("outside = 5\nimport sys")
    assert debug("debugInfo")["isStarted"] is False
    debug(
        "initialize",
        {
            "clientID": "test",
            "adapterID": "",
            "pathFormat": "path",
            "linesStartAt1": True,
            "columnsStartAt1": True,
        },
    )
    debug("attach")
    code = "def inner(a):\n    b = a + outside\n    return b\nprint('answer', inner(37))"
    source = debug("dumpCell", {"code": code})["sourcePath"]
    breakpoints = debug(
        "setBreakpoints", {"breakpoints": [{"line": 3}], "source": {"path": source}, "sourceModified": False}
    )["breakpoints"]
    assert breakpoints[0]["verified"]
    debug("configurationDone")
    identity = kernel.send("execute_request", Kernel.cell(code))
    kernel.wait_for(None, lambda message: message["content"].get("event") == "stopped")
    frame = debug("stackTrace", {"threadId": 1})["stackFrames"][0]
    assert (frame["name"], frame["line"]) == ("inner", 3)
    assert debug("evaluate", {"expression": "a + b", "frameId": frame["id"]})["result"] == "79"
    scopes = debug("scopes", {"frameId": frame["id"]})["scopes"]
    variables = debug("variables", {"variablesReference": scopes[0]["variablesReference"]})["variables"]
    assert {item["name"]: item["value"] for item in variables if item["name"] in "ab"} == {
        "a": "37",
        "b": "42",
    }
    debug("continue", {"threadId": 1})
    exchange = kernel.finish(identity)
    assert exchange.text() == "answer 42\n"
    debug("disconnect", {"restart": False, "terminateDebuggee": False})
    assert kernel.execute("outside").result == "5"


# -- restart, end ----------------------------------------------------------------------------------


def test_restart_forgets(own_kernel: Kernel) -> None:
    own_kernel.execute("kept = 1")
    before = own_kernel.processes()
    own_kernel.restart()
    assert own_kernel.execute("'kept' in globals()").result == "False"
    assert own_kernel.execute("1").content["execution_count"] == 2
    assert not set(before) & set(own_kernel.processes()), "processes of the first start are still there"


def test_state_is_back_after_restart(own_kernel: Kernel) -> None:
    """Cells that are run again after a restart show the same, and what they define is there for a new cell."""
    cells = [
        "import math\ndata = [math.sqrt(n) for n in range(5)]",
        "total = sum(data)\ntotal",
        "def scale(k): return [k * d for d in data]",
    ]
    first = [own_kernel.execute(code).result for code in cells]
    own_kernel.restart()
    assert [own_kernel.execute(code).result for code in cells] == first
    assert own_kernel.execute("round(sum(scale(2)) - 2 * total, 6)").result == "0.0"
    completed = own_kernel.request("complete_request", {"code": "tot", "cursor_pos": 3}).content["matches"]
    assert "total" in completed


@pytest.mark.parametrize("now", [False, True])
def test_shutdown_leaves_no_process(own_kernel: Kernel, now: bool) -> None:
    kernel = own_kernel
    kernel.execute("import subprocess; child = subprocess.Popen(['sleep', '1000'])\nprint(child.pid)")
    assert len(kernel.processes()) >= 2
    kernel.manager.shutdown_kernel(now=now)
    wait_until(
        lambda: kernel.processes() == [] or (kernel.name == PLAIN and now),
        lambda: describe(kernel.processes()),
    )
    for pid in kernel.processes():  # plain ipykernel that is killed leaves its children
        os.kill(pid, signal.SIGKILL)


def test_kill_of_the_started_process_leaves_no_kernel(own_kernel: Kernel) -> None:
    kernel = own_kernel
    kernel.execute("1")
    os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)
    wait_until(lambda: kernel.processes() == [], lambda: describe(kernel.processes()))


def test_dead_client_process_takes_the_kernel_with_it(specs: Path, tmp_path: Path) -> None:
    """The process that started the kernel dies without a word: the kernel notices and ends."""
    for name in KINDS:
        token = f"{name}-{os.getpid()}-{time.monotonic_ns()}"
        script = (
            "import os, sys; sys.path.insert(0, sys.argv[1])\n"
            "from pathlib import Path; from kernels import running\n"
            f"with running({name!r}, Path({str(specs)!r}), Path({str(tmp_path / name)!r}), environment={{'PROVCRT_TEST_TOKEN': {token!r}}}) as k:\n"
            "    assert k.execute('1').result == '1'; os._exit(0)"
        )
        subprocess.run([sys.executable, "-c", script, str(Path(__file__).parent)], check=True, timeout=120)
        wait_until(
            lambda token=token: processes_with("PROVCRT_TEST_TOKEN", token) == [],
            lambda token=token, name=name: name + describe(processes_with("PROVCRT_TEST_TOKEN", token)),
        )


def test_quit_from_a_cell(own_kernel: Kernel) -> None:
    exchange = own_kernel.execute("quit()")
    assert exchange.content["payload"] == [{"source": "ask_exit", "keepkernel": False}]
    wait_until(
        lambda: not own_kernel.manager.is_alive() or own_kernel.name == PLAIN,
        lambda: "it is still alive",
        seconds=10,
    )


def test_a_crash_is_a_crash(own_kernel: Kernel) -> None:
    own_kernel.send("execute_request", Kernel.cell("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"))
    wait_until(lambda: not own_kernel.manager.is_alive(), lambda: "the kernel lives on")
    wait_until(lambda: own_kernel.processes() == [], lambda: describe(own_kernel.processes()))
    own_kernel.restart()
    assert own_kernel.execute("1 + 1").result == "2"


def test_shutdown_reply(own_kernel: Kernel) -> None:
    identity = own_kernel.send("shutdown_request", {"restart": False}, channel="control")
    reply = own_kernel.client.control_channel.get_msg(timeout=30)
    assert reply["parent_header"]["msg_id"] == identity
    assert reply["msg_type"] == "shutdown_reply"
    assert reply["content"] == {"status": "ok", "restart": False}
    wait_until(lambda: not own_kernel.manager.is_alive(), lambda: "the kernel lives on")


def describe(pids: list[int]) -> str:
    lines = []
    for pid in pids:
        try:
            lines.append(f"{pid} {Path(f'/proc/{pid}/cmdline').read_text().replace(chr(0), ' ')}")
        except OSError:
            continue
    return "; ".join(lines)


def wait_until(holds: Callable[[], bool], why: Callable[[], str], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, why()
        time.sleep(0.1)


def test_noise_is_removed() -> None:
    """The comparison itself: what it takes for noise, and what not."""
    assert plain_text("<a at 0x7f00aa>\x1b[31m red", Path("/w")) == "<a at 0x…> red"
    assert plain_text("Wall time: 12.3 µs, /w/x", Path("/w")) == "Wall time: <time>, <folder>/x"
    assert plain_text("12 items, 3 s", Path("/w")) == "12 items, <time>"
