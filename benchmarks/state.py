"""What keeping a session's state costs, and how fast it comes back: a notebook of 24 cells with 400 MB of tables.

Recording is measured on plain ipykernel, on PROV-CRT and on the peers that keep state (Kishu, elastic-kernel), in turn, cell
by cell, as the processor seconds of the kernel and all its processes: those do not depend on who else uses the machine. Peers are
installed from PyPI into environments of their own; one that cannot run says why.

    python benchmarks/state.py [--repeat 3] [--peers kishu,elastic] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "notebooks"))
sys.path.insert(0, str(HERE))

import running  # noqa: E402
from frame import Figure, Peer, contenders, prepare, processor_seconds, write  # noqa: E402

from notebooks import machine  # noqa: E402

CELLS = (
    "import numpy as np\nimport pandas as pd",
    "ROWS, SEED = 1_250_000, 7",
    "random = np.random.default_rng(SEED)",
    'sensors = pd.DataFrame(random.normal(size=(ROWS, 10)), columns=[f"s{i}" for i in range(10)])',
    'prices = pd.DataFrame(random.random((ROWS, 10)), columns=[f"p{i}" for i in range(10)])',
    'kinds = pd.Series(random.integers(0, 40, ROWS), name="kind")',
    "sensors.shape, prices.shape",
    "def scaled(table):\n    return (table - table.mean()) / table.std()",
    "normal = scaled(sensors)",
    "normal.describe().round(2)",
    "spread = normal.std(axis=1)",
    "spread.quantile([0.1, 0.5, 0.9])",
    "by_kind = prices.groupby(kinds).mean()",
    "by_kind.head()",
    "ranks = prices.rank()",
    'top = ranks["p0"].nlargest(100)',
    "top.mean()",
    "correlation = sensors.corr()",
    "correlation.abs().to_numpy().max()",
    'monthly = {month: float(prices["p1"].iloc[month::12].sum()) for month in range(12)}',
    "monthly[3]",
    "order = np.argsort(spread.to_numpy())",
    'summary = pd.DataFrame({"mean": prices.mean(), "std": prices.std()})',
    "summary.round(3)",
)
#: Bytes of the values that these cells leave: four tables, two columns, an order, and small ones.
DISTINCT = 1_250_000 * 8 * (10 + 10 + 1 + 10 + 1 + 10 + 1)
EVERYTHING = "sum(float(t.iloc[:, 0].sum()) for t in (sensors, prices, normal, ranks)) + kinds.sum() + spread.sum() + order[0]"
SMALL = "float(summary['mean'].iloc[0])"
LOOP = "total = 0\nfor number in range(10_000_000):\n    total += number"


#: Outside of a Jupyter server Kishu cannot find out which kernel it is in.
_KISHU = """from kishu import init_kishu
from kishu.jupyter.runtime import JupyterRuntimeEnv
JupyterRuntimeEnv.enclosing_kernel_id = staticmethod(lambda: "bench")
init_kishu("state.ipynb")"""
PEERS = (
    Peer(
        "kishu",
        ("kishu==0.3.4", "ipykernel"),
        enable=_KISHU,
    ),
    Peer("elastic", ("elastic-kernel==0.2.3",), ("-m", "elastic_kernel.kernel", "-f", "{connection_file}")),
)


def recording(repeat: int, peers: Sequence[Peer], top: Path) -> list[Figure]:
    """Run the notebook once on each contender, cell by cell in turn; then what it stored, and getting it back."""
    cost, size = Figure("recording, processor seconds", "s"), Figure("store ÷ distinct state", "×")
    whole, small = (
        Figure("restart, then read everything", "s"),
        Figure("restart, then read a small value", "s"),
    )
    disk = Figure("the same bytes read from files", "s")
    for turn in range(repeat):
        field_ = contenders(peers, top)
        lost: set[str] = set()
        with ExitStack() as stack:
            desks = {c.name: (c, stack.enter_context(c.opened(*CELLS))) for c in field_}
            pids = {n: running.pid(d) for n, (_, d) in desks.items()}
            before: dict[str, float] = {}
            for index in range(len(CELLS) + 1):
                if index == 1:
                    before = {n: processor_seconds(p) for n, p in pids.items()}
                order = list(desks)
                for name in order[(turn + index) % len(order) :] + order[: (turn + index) % len(order)]:
                    if name not in lost:
                        try:
                            desks[name][1].run(index)
                        except Exception as error:
                            lost.add(name)
                            print(f"{name}: cell {index}: {str(error).strip().splitlines()[-1]}", flush=True)
            for name, pid in pids.items():
                if name not in lost:
                    cost.add(name, processor_seconds(pid) - before[name])
        for contender in field_:
            if contender.name != "plain" and contender.name not in lost:
                size.add(contender.name, contender.stored() / DISTINCT)
        ours = next(c for c in field_ if c.name == "PROV-CRT")
        for figure, expression in ((small, SMALL), (whole, EVERYTHING)):
            with ours.opened(*CELLS, "pd.__version__, np.__version__", expression) as desk:
                for index in range(len(CELLS) + 2):  # importing the libraries is no part of it
                    desk.run(index)
                last = desk.run(len(CELLS) + 2)
                assert last is not None
                figure.add("PROV-CRT", last.seconds)
        started = time.perf_counter()
        for file in (ours.folder / "store").rglob("*"):
            if file.is_file():
                file.read_bytes()
        disk.add("disk", time.perf_counter() - started)
        for contender in field_:
            shutil.rmtree(contender.folder, ignore_errors=True)
    return [cost, size, small, whole, disk]


def loop(repeat: int, peers: Sequence[Peer], top: Path) -> list[Figure]:
    """A hot loop at the top level of a cell: nothing of ours may stand between Python and its globals."""
    figure = Figure("a loop of ten million, processor seconds", "s")
    for _ in range(repeat):
        with ExitStack() as stack:
            for contender in contenders((), top):
                desk = stack.enter_context(contender.opened(LOOP))
                desk.run(0)
                before = processor_seconds(running.pid(desk))
                desk.run(1)
                figure.add(contender.name, processor_seconds(running.pid(desk)) - before)
    return [figure]


def hashing(repeat: int, peers: Sequence[Peer], top: Path) -> list[Figure]:
    """Fingerprint a gigabyte of floats, in this process."""
    from provcrt_kernel.session.fingerprint import fingerprint

    values = np.random.default_rng(0).random(125_000_000)
    figure = Figure("fingerprint of a gigabyte of floats", "GB/s")
    for _ in range(repeat):
        started = time.perf_counter()
        fingerprint(values, {})
        figure.add("PROV-CRT", values.nbytes / 1e9 / (time.perf_counter() - started))
    return [figure]


SECTIONS: dict[str, Callable[[int, Sequence[Peer], Path], list[Figure]]] = {
    "recording": recording,
    "loop": loop,
    "hashing": hashing,
}


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=3, help="repetitions (default: 3)")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--peers", default=",".join(p.name for p in PEERS), help="peers, separated by commas")
    parser.add_argument(
        "--homes", type=Path, help="folder that keeps the peers' environments for another time"
    )
    parser.add_argument("--json", type=Path, default=HERE / "results" / "state.json")
    arguments = parser.parse_args()
    begun, figures, missing = machine(), [], {}
    with tempfile.TemporaryDirectory(prefix="provcrt-bench-") as folder:
        top = Path(folder)
        os.environ["JUPYTER_PATH"] = os.pathsep.join(
            filter(None, (str(top / "jupyter"), os.environ.get("JUPYTER_PATH")))
        )
        peers = []
        for peer in PEERS:
            if peer.name in arguments.peers.split(","):
                why = prepare(peer, arguments.homes or top / "peers", top)
                if why is None:
                    peers.append(peer)
                else:
                    missing[peer.name] = why
                    print(f"{peer.name} is left out: {why}", flush=True)
        for section in arguments.only.split(","):
            for figure in SECTIONS[section](arguments.repeat, peers, top):
                figures.append(figure)
                print("\n".join(figure.lines()), flush=True)
    write(arguments.json, begun, figures, **{"left out": missing})


if __name__ == "__main__":
    main()
