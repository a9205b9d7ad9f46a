"""Runs whole notebooks on plain ipykernel and on ours, session after session, and compares what a reader sees.

``python tests/real_notebooks.py PATH… [--edits N]`` takes names of ours, notebooks (.ipynb or .ipy), and folders of them; it
prints which cells ran, why, and what differs. A notebook's world is a copy of the folder it lies in. With ``--table FILE`` a
line for each notebook is added to a file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernels import OURS, PLAIN, install_kernelspecs, running, transcript
from notebooks.edits import Edited, edits

from notebooks import NAMES, Cell, data, read

#: The token that tests mark kernels by differs from kernel to kernel, as no reader's environment does.
_ENVIRONMENT = {"PROVCRT_TEST_KERNEL": ""}
_TESTS = Path(__file__).parent
_VALUES = (
    f"(__import__('sys').path.insert(0, {str(_TESTS)!r}), "
    "__import__('json').dumps(__import__('importlib').import_module('notebooks.values').values(get_ipython().user_ns)))[1]"
)
#: Names that our kernel or this look itself leave behind.
_TREE_NOISE = ("__pycache__", ".ipynb_checkpoints", ".provcrt")


@dataclass(frozen=True)
class Session:
    """One run of cells in a kernel: what each showed, what our kernel says about it, what is there at the end.

    A cell that ran for the nth time is called ``name'n``.
    """

    shown: dict[str, list[Any]]
    reports: dict[str, dict[str, Any]]
    took: dict[str, float]
    values: dict[str, str]
    files: dict[str, str]
    seconds: float = 0.0

    @property
    def ran(self) -> dict[str, str]:
        """Cells that were executed, and why."""
        return {n: r.get("reason", "?") for n, r in self.reports.items() if r.get("status") != "replayed"}


@dataclass
class Outcome:
    """What is to be said about one notebook after one change.

    Attributes
    ----------
    wrong
        Cell, variable or file → what plain ipykernel showed or left, and what ours did.
    needless
        Cells that ran though nobody edited them and they showed what they had shown before, and why they ran.
    """

    what: str
    wrong: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    ran: dict[str, str] = field(default_factory=dict)
    needless: dict[str, str] = field(default_factory=dict)
    cells: int = 0
    session: Session | None = None
    plain: Session | None = None


class Desk:
    """One notebook, the folder that it is worked in, and the store of that folder.

    Parameters
    ----------
    world
        Lays out the files beside the notebook in a folder.
    values
        Whether the variables are compared too.
    """

    def __init__(
        self,
        cells: tuple[Cell, ...],
        world: Callable[[Path], object],
        specs: Path,
        top: Path,
        *,
        values: bool = True,
    ) -> None:
        self.cells, self.specs, self.top = cells, specs, top
        self.ours = top / "ours"
        self.timeout = 180.0
        self._values = values
        world(self.ours / "work")
        self._runs = 0
        self._known: dict[str, Session] = {}
        self.volatile: set[str] = set()

    def run(self, kernel: str, cells: Iterable[Cell], folder: Path) -> Session:
        """Start a kernel and run the cells, failing ones included."""
        shown, reports, took = {}, {}, {}
        values: dict[str, str] = {}
        started = time.perf_counter()
        with running(kernel, self.specs, folder, environment=_ENVIRONMENT) as live:
            live.timeout = self.timeout
            for cell in cells:
                name, times = cell.name, 1
                while name in shown:
                    times += 1
                    name = f"{cell.name}'{times}"
                request = live.cell(cell.text, stop_on_error=False)
                begun = time.perf_counter()
                exchange = live.request("execute_request", request, metadata={"cellId": cell.name})
                took[name] = time.perf_counter() - begun
                shown[name] = [s for s in transcript(exchange, live.folder) if not _around(s)]
                reports[name] = exchange.report or {}
            seconds = time.perf_counter() - started
            files = _tree(folder / "work")
            if self._values:
                asked = live.execute(
                    "", silent=True, store_history=False, user_expressions={"values": _VALUES}
                )
                values = _answer(asked.content["user_expressions"]["values"], live.folder)
        return Session(shown, reports, took, values, files, seconds)

    def plain(self, cells: Sequence[Cell], *, again: bool = False) -> Session:
        """Run them from scratch on plain ipykernel, in the world as it is now (or recall how that went)."""
        world = json.dumps([[(c.name, c.text) for c in cells], _tree(self.ours / "work")])
        if not again and world in self._known:
            return self._known[world]
        self._runs += 1
        folder = self.top / f"plain-{self._runs}"
        shutil.copytree(self.ours / "work", folder / "work", symlinks=True)
        try:
            self._known[world] = self.run(PLAIN, cells, folder)
        finally:
            shutil.rmtree(folder)
        return self._known[world]

    def session(
        self, what: str, cells: tuple[Cell, ...], edited: Iterable[str], before: Session | None
    ) -> Outcome:
        """Run the cells on our kernel, and compare with plain ipykernel from scratch."""
        reference = self.plain(cells)
        kept = self.top / "kept"
        shutil.copytree(self.ours / "work", kept, symlinks=True)
        ours = self.run(OURS, cells, self.ours)
        outcome = Outcome(what, ran=ours.ran, cells=len(cells), session=ours, plain=reference)
        left, right = _all(ours), _all(reference)
        differing = {n for n in {*left, *right} - self.volatile if left.get(n) != right.get(n)}
        if differing:
            done = self.top / "done"
            (self.ours / "work").rename(done)
            kept.rename(self.ours / "work")
            again = _all(self.plain(cells, again=True))
            shutil.rmtree(self.ours / "work")
            done.rename(self.ours / "work")
            self.volatile |= {n for n in {*again, *right} if again.get(n) != right.get(n)}
        shutil.rmtree(kept, ignore_errors=True)
        outcome.wrong = {n: (right.get(n), left.get(n)) for n in sorted(differing - self.volatile)}
        if before is not None:
            outcome.needless = {
                n: why
                for n, why in ours.ran.items()
                if n.partition("'")[0] not in edited
                and n not in self.volatile
                and reference.shown[n] == before.shown.get(n)
            }
        return outcome

    def outcomes(self, count: int) -> Iterator[Outcome]:
        """From scratch, after a restart, out of order, and after `count` edits.

        Every other edit is made while the kernel lives on: all cells run, and then all of the edited notebook.
        """
        first, second = _all(self.plain(self.cells)), _all(self.plain(self.cells, again=True))
        self.volatile = {n for n in {*first, *second} if first.get(n) != second.get(n)}
        cold = self.session("from scratch", self.cells, (), None)
        yield cold
        yield self.session("restart", self.cells, (), cold.session)
        settled = self.session("restart again", self.cells, (), cold.session)
        yield settled
        if not count:
            return
        before = _texts(self.ours / "work")
        draw = random.Random(self.cells[0].text)
        order = (*self.cells, *draw.choices(self.cells, k=4))
        yield self.session("out of order", order, (), settled.session)
        yield self.session("out of order again", order, (), settled.session)
        for number, edit in enumerate(edits(self.cells, self.ours / "work", self.cells[0].text, count)):
            if number % 2 and edit.data is None:
                cells = (*self.cells, *edit.cells)
                yield self.session(f"{edit.what}, in the same kernel", cells, edit.names, settled.session)
            else:
                edit.apply(self.ours / "work")
                yield self.session(edit.what, edit.cells, edit.names, settled.session)
            for name, content in before.items():
                path = self.ours / "work" / name
                if edit.data is not None and edit.data[0] == name and path.read_text() != content:
                    Edited("", (), data=(name, content)).apply(self.ours / "work")


def _all(session: Session) -> dict[str, Any]:
    """Everything that is compared, by name."""
    found: dict[str, Any] = dict(session.shown)
    found |= {f"variable {n}": v for n, v in session.values.items()}
    return found | {f"file {n}": v for n, v in session.files.items()}


def _answer(value: dict[str, Any], folder: Path) -> dict[str, str]:
    if value["status"] != "ok":
        return {"(look)": "\n".join(value.get("traceback", [str(value)]))}
    import ast

    text = ast.literal_eval(value["data"]["text/plain"])
    found: dict[str, str] = json.loads(text.replace(str(folder), "<folder>"))
    return found


def _tree(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and not {*p.parts} & {*_TREE_NOISE})
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()[:16] for p in files}


def _texts(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".csv", ".txt", ".py", ".tsv", ".json") and path.is_file():
            found[str(path.relative_to(folder))] = path.read_text(errors="replace")
    return found


def _around(step: list[Any]) -> bool:
    return step[0] in ("status", "execute_input", "execute_reply")


def _print(outcome: Outcome) -> None:
    seconds = outcome.session.seconds if outcome.session else 0
    plain = outcome.plain.seconds if outcome.plain else 0
    print(
        f"-- {outcome.what}: {len(outcome.ran)} of {outcome.cells} ran, {len(outcome.needless)} needless, "
        f"{seconds:.1f} s (plain {plain:.1f} s)"
    )
    for name, (right, ours) in outcome.wrong.items():
        print(f"   WRONG {name}\n      plain {str(right)[:1500]}\n      ours  {str(ours)[:1500]}")
    for name, why in outcome.ran.items():
        if outcome.what == "from scratch":
            report = outcome.session.reports[name] if outcome.session else {}
            said = {k: report[k] for k in ("not_recorded", "volatile", "remarks") if report.get(k)}
            if said:
                print(f"   {name}: {said}")
        else:
            print(f"   {'needless' if name in outcome.needless else 'ran     '} {name}: {why}")
    if outcome.what == "from scratch" and outcome.session and outcome.plain:
        for name, took in outcome.session.took.items():
            alone = outcome.plain.took.get(name, 0.0)
            if took > 2 * alone + 0.3:
                times = outcome.session.reports[name].get("times")
                print(f"   slow     {name}: {took:.2f} s, plain {alone:.2f} s {times}")
    sys.stdout.flush()


def found(names: Iterable[str]) -> Iterator[tuple[str, tuple[Cell, ...], Callable[[Path], object]]]:
    """The notebooks that are meant: name, cells, and what lays out their world."""
    for name in names:
        path = Path(name)
        if name in NAMES:
            yield name, read(name), data.write
        elif path.is_dir():
            yield from found(str(p) for p in sorted(path.rglob("*")) if p.suffix in (".ipynb", ".ipy"))
        else:
            cells = read(path)
            if cells:
                yield str(path), cells, lambda target, source=path.parent: _world(source, target)


def _world(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.ipynb", "*.ipy", *_TREE_NOISE))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--edits", type=int, default=0)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--timeout", type=float, default=180)
    parser.add_argument("--no-values", action="store_true")
    arguments = parser.parse_args()
    for name, cells, world in found(arguments.names):
        with tempfile.TemporaryDirectory() as top:
            specs = install_kernelspecs(Path(top) / "prefix")
            desk = Desk(cells, world, specs, Path(top), values=not arguments.no_values)
            desk.timeout = arguments.timeout
            print(f"==== {name}", flush=True)
            ran, needless, wrong = [], 0, 0
            try:
                for outcome in desk.outcomes(arguments.edits):
                    _print(outcome)
                    ran.append(len(outcome.ran))
                    needless += len(outcome.needless)
                    wrong += len(outcome.wrong)
            except AssertionError as error:
                print(f"   BROKEN {str(error)[:2000]}")
                wrong += 1
            print(f"   volatile by plain: {sorted(desk.volatile)}", flush=True)
            if arguments.table:
                row = [name, len(cells), *(len(cells) - r for r in ran[1:3]), len(ran), needless, wrong]
                with arguments.table.open("a") as table:
                    table.write(" | ".join(map(str, row)) + "\n")


if __name__ == "__main__":
    main()
