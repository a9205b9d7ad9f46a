"""Runs whole notebooks on plain ipykernel and on ours, session after session, and compares what a reader sees.

From the command line: ``python tests/real_notebooks.py NAME… [--edits N]`` prints which cells ran, why, and what differs.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernels import OURS, PLAIN, install_kernelspecs, running, transcript
from notebooks.edits import Edited, edits

from notebooks import NAMES, Cell, data, read

#: The token that tests mark kernels by differs from kernel to kernel, as no reader's environment does.
_ENVIRONMENT = {"PROVCRT_TEST_KERNEL": ""}


@dataclass(frozen=True)
class Session:
    """One run from the first cell to the last: what each cell showed, and what our kernel says about it."""

    shown: dict[str, list[Any]]
    reports: dict[str, dict[str, Any]]
    seconds: float = 0.0

    @property
    def ran(self) -> dict[str, str]:
        """Cells that were executed, and why."""
        return {n: r["reason"] for n, r in self.reports.items() if r.get("status") != "replayed"}


@dataclass
class Outcome:
    """What is to be said about one notebook after one change.

    Attributes
    ----------
    wrong
        Cell → what plain ipykernel showed, and what ours did.
    needless
        Cells that ran though nobody edited them and they showed what they had shown before, and why they ran.
    """

    what: str
    wrong: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    ran: dict[str, str] = field(default_factory=dict)
    needless: dict[str, str] = field(default_factory=dict)
    cells: int = 0
    session: Session | None = None


class Desk:
    """One notebook, the folder that it is worked in, and the store of that folder."""

    def __init__(self, name: str, specs: Path, top: Path) -> None:
        self.specs, self.top = specs, top
        self.cells = read(name)
        self.ours = top / "ours"
        data.write(self.ours / "work")
        self._runs = 0
        self.volatile: set[str] = set()

    def run(self, kernel: str, cells: Iterable[Cell], folder: Path) -> Session:
        """Start a kernel and run the cells, failing ones included."""
        shown, reports = {}, {}
        started = time.perf_counter()
        with running(kernel, self.specs, folder, environment=_ENVIRONMENT) as live:
            live.timeout = 180
            for cell in cells:
                request = live.cell(cell.text, stop_on_error=False)
                exchange = live.request("execute_request", request, metadata={"cellId": cell.name})
                shown[cell.name] = [s for s in transcript(exchange, live.folder) if not _around(s)]
                reports[cell.name] = exchange.report or {}
        return Session(shown, reports, time.perf_counter() - started)

    def plain(self, cells: Iterable[Cell]) -> Session:
        """Run them from scratch on plain ipykernel, in the world as it is now."""
        self._runs += 1
        folder = self.top / f"plain-{self._runs}"
        shutil.copytree(self.ours / "work", folder / "work", symlinks=True)
        try:
            return self.run(PLAIN, cells, folder)
        finally:
            shutil.rmtree(folder)

    def session(
        self, what: str, cells: tuple[Cell, ...], edited: Iterable[str], before: Session | None
    ) -> Outcome:
        """Run the cells on our kernel, and compare with plain ipykernel from scratch."""
        reference = self.plain(cells)
        ours = self.run(OURS, cells, self.ours)
        outcome = Outcome(what, ran=ours.ran, cells=len(cells), session=ours)
        differing = {n for n in ours.shown if n not in self.volatile and ours.shown[n] != reference.shown[n]}
        if differing:
            again = self.plain(cells)
            self.volatile |= {n for n in differing if again.shown[n] != reference.shown[n]}
        outcome.wrong = {n: (reference.shown[n], ours.shown[n]) for n in sorted(differing - self.volatile)}
        if before is not None:
            outcome.needless = {
                n: why
                for n, why in ours.ran.items()
                if n not in edited and n not in self.volatile and reference.shown[n] == before.shown.get(n)
            }
        return outcome

    def outcomes(self, count: int) -> Iterator[Outcome]:
        """From scratch, after a restart, and after `count` edits, each followed by the way back."""
        first = self.plain(self.cells)
        second = self.plain(self.cells)
        self.volatile = {n for n in first.shown if first.shown[n] != second.shown[n]}
        cold = self.session("from scratch", self.cells, (), None)
        yield cold
        yield self.session("restart", self.cells, (), cold.session)
        settled = self.session("restart again", self.cells, (), cold.session)
        yield settled
        text = {p.name: p.read_text() for p in (self.ours / "work" / "data").iterdir()}
        for edit in edits(self.cells, self.ours / "work", self.cells[0].text, count):
            edit.apply(self.ours / "work")
            yield self.session(edit.what, edit.cells, edit.names, settled.session)
            for name, content in text.items():
                if (self.ours / "work" / "data" / name).read_text() != content:
                    Edited("", (), data=(f"data/{name}", content)).apply(self.ours / "work")


def _around(step: list[Any]) -> bool:
    return step[0] in ("status", "execute_input", "execute_reply")


def _print(outcome: Outcome) -> None:
    seconds = outcome.session.seconds if outcome.session else 0
    print(
        f"-- {outcome.what}: {len(outcome.ran)} of {outcome.cells} ran, {len(outcome.needless)} needless, {seconds:.1f} s"
    )
    for name, (plain, ours) in outcome.wrong.items():
        print(f"   WRONG {name}\n      plain {str(plain)[:1500]}\n      ours  {str(ours)[:1500]}")
    for name, why in outcome.ran.items():
        if outcome.what == "from scratch":
            report = outcome.session.reports[name] if outcome.session else {}
            said = {k: report[k] for k in ("not_recorded", "volatile", "remarks") if report.get(k)}
            if said:
                print(f"   {name}: {said}")
        else:
            print(f"   {'needless' if name in outcome.needless else 'ran     '} {name}: {why}")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--edits", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.names:
        with tempfile.TemporaryDirectory() as top:
            specs = install_kernelspecs(Path(top) / "prefix")
            desk = Desk(name, specs, Path(top))
            print(f"==== {name}")
            for outcome in desk.outcomes(arguments.edits):
                _print(outcome)
            print(f"   volatile by plain: {sorted(desk.volatile)}")


if __name__ == "__main__":
    main()
