"""One notebook on every system that promises not to compute it twice: from scratch, again, edited, and with other data.

A table of a million rows is read, standardised, resampled and factored (some twenty seconds), and the answer is told with a level
of confidence. Each contender uses it as its documentation says: kernels run the cells; Kishu, elastic-kernel and dill bring the
variables back, and their user runs the edited cell and those after it; jupyter-cache runs what changed from the beginning; for
marimo and joblib the notebook is written another way, with every slow step in a cached block or function. All are measured on the
clock from the first process to the last answer, in turn, and every answer is compared with the right one.

    python benchmarks/peers.py [--repeat 3] [--rows 1000000] [--only NAME,NAME] [--homes FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "notebooks"))
sys.path.insert(0, str(HERE))

import running  # noqa: E402
from frame import Figure, Peer, prepare, write  # noqa: E402

from notebooks import machine  # noqa: E402

EDIT = ("LEVEL = 0.95", "LEVEL = 0.99")
EDITED = 6  # the cell that is edited: one in the last third

CELLS = (
    "import numpy as np\nimport pandas as pd",
    "SEED, RESAMPLES = 7, 1000",
    'table = pd.DataFrame(np.load("table.npy"), columns=[f"c{i}" for i in range(8)])',
    "normal = (table - table.mean()) / table.std()",
    "random = np.random.default_rng(SEED)\n"
    "values = normal['c0'].to_numpy()\n"
    "means = np.array([values[random.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)])",
    "ranks = normal.rank()\nfactors = np.linalg.svd(ranks.to_numpy(), full_matrices=False)[1]",
    "LEVEL = 0.95\nlow, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])",
    "share = float(factors[0] / factors.sum())",
    'print(f"answer {low:.9f} {high:.9f} {share:.9f}")',
)

JOBLIB = """import joblib
import numpy as np
import pandas as pd
memory = joblib.Memory("cache", verbose=0)
SEED, RESAMPLES = 7, 1000

@memory.cache
def read():
    return pd.DataFrame(np.load("table.npy"), columns=[f"c{i}" for i in range(8)])

@memory.cache
def standardise(table):
    return (table - table.mean()) / table.std()

@memory.cache
def resample(values):
    random = np.random.default_rng(SEED)
    return np.array([values[random.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)])

@memory.cache
def factor(normal):
    return np.linalg.svd(normal.rank().to_numpy(), full_matrices=False)[1]

normal = standardise(read())
means = resample(normal["c0"].to_numpy())
factors = factor(normal)
LEVEL = 0.95
low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
share = float(factors[0] / factors.sum())
print(f"answer {low:.9f} {high:.9f} {share:.9f}")
"""


def marimo_app() -> str:
    """The notebook as marimo has it: a function for each cell, what takes time within `mo.persistent_cache`."""
    names: list[set[str]] = []
    for source in CELLS:
        found = set(re.findall(r"^(\w+(?:, \w+)*) = ", source, flags=re.MULTILINE))
        names.append({name for group in found for name in group.split(", ")})
    names[0] = {"np", "pd", "mo"}
    lines = ["import marimo", "app = marimo.App()"]
    for index, source in enumerate(CELLS):
        body = source + ("\nimport marimo as mo" if index == 0 else "")
        words = set(re.findall(r"\b\w+\b", body))
        used = sorted(({"mo"} | words) & set().union(*names[:index])) if index else []
        if index in (2, 3, 4, 5):
            body = f'with mo.persistent_cache("c{index}"):\n' + textwrap.indent(body, "    ")
        made = sorted(names[index])
        given = f"return ({', '.join(made)},)" if made else "return"
        lines += [
            "@app.cell",
            f"def _({', '.join(used)}):",
            textwrap.indent(body, "    "),
            f"    {given}",
        ]
    return "\n".join([*lines, 'if __name__ == "__main__":', "    app.run()", ""])


@dataclass
class Place:
    """A contender's folder, with the data, and what it was last asked."""

    folder: Path
    home: Path  # the environment that it is installed in
    spec: str  # the kernel's name
    level: bool = False  # whether the edit was made
    memory: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """Its environment: a home and a store of its own."""
        return {
            **os.environ,
            "HOME": str(self.folder / "home"),
            "PROVCRT_STORE": str(self.folder / "store"),
            "IPYTHONDIR": str(self.folder / "ipython"),
            "JPY_SESSION_NAME": str(self.folder / "work" / "peers.ipynb"),
            "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}",
        }

    def cells(self) -> list[str]:
        """The notebook as it is now."""
        return [cell.replace(*EDIT) if self.level else cell for cell in CELLS]

    def run_cells(self, cells: Sequence[str]) -> str:
        """Run cells in a fresh kernel; what was printed last."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
        nbformat.write(notebook, self.folder / "work" / "peers.ipynb")
        with running.opened(
            notebook, self.folder / "work", kernel=self.spec, env=self.env, timeout=3600
        ) as desk:
            for index in range(len(cells)):
                desk.run(index)
        return answer("".join(out.get("text", "") for cell in notebook.cells for out in cell.outputs))

    def run_program(self, *argv: str) -> str:
        """Run a command; what it printed."""
        done = subprocess.run(
            argv, cwd=self.folder / "work", env=self.env, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["it gives no reason"])[-1])
        return answer(done.stdout)

    def python(self) -> str:
        """The interpreter that it is installed for."""
        return str(self.home / "bin" / "python")


def answer(text: str) -> str:
    """The line that is compared."""
    found = re.findall(r"answer .*", text)
    if not found:
        raise RuntimeError(f"no answer: {text.strip()[-200:]!r}")
    return str(found[-1])


def kernel(place: Place, again: bool) -> str:
    """A kernel that is left to itself: run all."""
    return place.run_cells(place.cells())


def kishu(place: Place, again: bool) -> str:
    """Kishu: check out the state before the edited cell, and run that and the rest."""
    enable = (
        "from kishu import init_kishu\nfrom kishu.jupyter.runtime import JupyterRuntimeEnv\n"
        'JupyterRuntimeEnv.enclosing_kernel_id = staticmethod(lambda: "bench")\ninit_kishu("peers.ipynb")'
    )
    if not again:
        return place.run_cells([enable, *place.cells()])
    back = (
        "from pathlib import Path\nfrom kishu.commands import KishuCommand\n"
        "log = KishuCommand.log_all(Path('peers.ipynb').absolute()).commit_graph\n"
        f"chosen = [each.commit_id for each in log if each.raw_cell == {CELLS[EDITED - 1]!r}][-1]\n"
        "_kishu.checkout(chosen, skip_notebook=True)"
    )
    return place.run_cells([enable, back, *place.cells()[EDITED:]])


def elastic(place: Place, again: bool) -> str:
    """elastic-kernel: it brings the variables back by itself; run the edited cell and those after it."""
    return place.run_cells(place.cells()[EDITED:] if again else place.cells())


def dill(place: Place, again: bool) -> str:
    """`dill.dump_session` in the last cell; loaded, then the edited cell and those after it."""
    if not again:
        return place.run_cells([*place.cells(), "import dill\ndill.dump_session('session.pkl')"])
    return place.run_cells(["import dill\ndill.load_session('session.pkl')", *place.cells()[EDITED:]])


def memory(place: Place, again: bool) -> str:
    """`joblib.Memory`: the steps as cached functions, in one cell of a plain kernel."""
    return place.run_cells([JOBLIB.replace(*EDIT) if place.level else JOBLIB])


def marimo(place: Place, again: bool) -> str:
    """marimo: the notebook as an app, run as a script."""
    app = marimo_app()
    (place.folder / "work" / "app.py").write_text(app.replace(*EDIT) if place.level else app)
    return place.run_program(place.python(), "app.py")


def jupyter_cache(place: Place, again: bool) -> str:
    """jupyter-cache: a project with one notebook, executed if its code is not in the cache."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in place.cells()])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "python3", "language": "python"}
    nbformat.write(notebook, place.folder / "work" / "peers.ipynb")
    program = textwrap.dedent("""
        from pathlib import Path
        import nbformat
        from jupyter_cache import get_cache
        from jupyter_cache.executors import load_executor
        cache = get_cache(".jupyter_cache")
        path = str(Path("peers.ipynb").absolute())
        cache.add_nb_to_project(path)
        load_executor("local-serial", cache=cache).run_and_cache(timeout=3600)
        record = cache.get_cached_project_nb(path)
        book = cache.get_cache_bundle(record.pk).nb
        print("".join(o.get("text", "") for c in book.cells for o in c.get("outputs", ())))
    """)
    return place.run_program(place.python(), "-c", program)


@dataclass(frozen=True)
class Contender:
    """One way to have the notebook computed once.

    Attributes
    ----------
    run
        Runs it in a place; whether it was run there before. Returns the answer.
    installed
        What it needs; None: this environment.
    """

    name: str
    run: Callable[[Place, bool], str]
    installed: Peer | None = None


_KERNEL = ("-m", "ipykernel_launcher", "-f", "{connection_file}")
CONTENDERS = (
    Contender("plain", kernel),
    Contender("PROV-CRT", kernel),
    Contender("kishu", kishu, Peer("kishu", ("kishu==0.3.4", "ipykernel"))),
    Contender(
        "elastic",
        elastic,
        Peer(
            "elastic", ("elastic-kernel==0.2.3",), ("-m", "elastic_kernel.kernel", "-f", "{connection_file}")
        ),
    ),
    Contender("marimo", marimo, Peer("marimo", ("marimo==0.25.2",))),
    Contender("jupyter-cache", jupyter_cache, Peer("cache", ("jupyter-cache==1.0.1", "ipykernel"))),
    Contender("joblib", memory, Peer("byhand", ("joblib", "dill", "ipykernel"))),
    Contender("dill", dill, Peer("byhand", ("joblib", "dill", "ipykernel"))),
)


def data(folder: Path, rows: int, seed: int) -> None:
    """Write the table."""
    np.save(folder / "table.npy", np.random.default_rng(seed).normal(size=(rows, 8)) ** 2)


def stored(place: Place) -> int:
    """Bytes on disk that were kept for another time."""
    own = {
        place.folder / "ipython",
        place.folder / "work" / "table.npy",
        place.folder / "work" / "peers.ipynb",
    }
    files = (f for f in place.folder.rglob("*") if f.is_file() and not any(f.is_relative_to(o) for o in own))
    return sum(f.stat().st_blocks * 512 for f in files)


def measure(
    contender: Contender, place: Place, rows: int, right: Mapping[str, str], figures: Mapping[str, Figure]
) -> dict[str, bool]:
    """Go through one contender's life; which of its answers were right."""
    truth = {}
    for step, again in (
        ("from scratch", False),
        ("again", True),
        ("after an edit", True),
        ("after a change of the data", True),
    ):
        place.level = step in ("after an edit", "after a change of the data")
        if step == "after a change of the data":
            data(place.folder / "work", rows, 1)
        started = time.perf_counter()
        found = contender.run(place, again)
        figures[step].add(contender.name, time.perf_counter() - started)
        truth[step] = found == right[step] if right else True
        place.memory[step] = found
        if not again:
            figures["kept"].add(contender.name, stored(place) / 1e6)
    return truth


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=3, help="repetitions (default: 3)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the table (default: 1,000,000)")
    parser.add_argument("--only", default=",".join(c.name for c in CONTENDERS), help="contenders, by commas")
    parser.add_argument(
        "--homes", type=Path, help="folder that keeps the peers' environments for another time"
    )
    parser.add_argument("--json", type=Path, default=HERE / "results" / "peers.json")
    arguments = parser.parse_args()
    begun, missing, truths = machine(), {}, {}
    steps = ("from scratch", "again", "after an edit", "after a change of the data")
    figures = {step: Figure(step, "s") for step in steps} | {"kept": Figure("kept on disk", "MB")}
    right: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="provcrt-bench-") as folder:
        top = Path(folder)
        os.environ["JUPYTER_PATH"] = os.pathsep.join(
            filter(None, (str(top / "jupyter"), os.environ.get("JUPYTER_PATH")))
        )
        homes = arguments.homes or top / "peers"
        prepared: dict[str, str | None] = {}
        chosen = [c for c in CONTENDERS if c.name in arguments.only.split(",") or c.name == "plain"]
        for turn in range(arguments.repeat):
            for contender in (chosen[0], *chosen[1 + turn :], *chosen[1 : 1 + turn]):
                peer, home, spec = contender.installed, Path(sys.prefix), "python3"
                if peer is not None:
                    if peer.name not in prepared:
                        prepared[peer.name] = prepare(peer, homes, top)
                    if prepared[peer.name] is not None:
                        missing[contender.name] = prepared[peer.name]
                        continue
                    home, spec = homes / peer.name, f"bench-{peer.name}"
                elif contender.name == "PROV-CRT":
                    spec = "provcrt"
                place = Place(Path(tempfile.mkdtemp(dir=top)), home, spec)
                (place.folder / "work").mkdir()
                (place.folder / "home").mkdir()
                data(place.folder / "work", arguments.rows, 0)
                try:
                    truth = measure(contender, place, arguments.rows, right, figures)
                except Exception as error:
                    told = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
                    missing[contender.name] = (told.splitlines() or [repr(error)])[-1]
                    print(f"{contender.name}: {missing[contender.name]}", flush=True)
                    chosen = [c for c in chosen if c is not contender]
                else:
                    if contender.name == "plain":
                        right = dict(place.memory)
                    truths[contender.name] = truth
                shutil.rmtree(place.folder, ignore_errors=True)
    for figure in figures.values():
        print("\n".join(figure.lines()))
    print(json.dumps({name: [s for s, holds in t.items() if not holds] for name, t in truths.items()}))
    write(
        arguments.json,
        begun,
        list(figures.values()),
        **{"left out": missing, "right": truths, "rows": arguments.rows},
    )


if __name__ == "__main__":
    main()
