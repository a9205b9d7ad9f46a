"""Runs a case on a kernel, and says what a reader would hold against it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernels import OURS, PLAIN, plain_text, running, transcript

from .case import Case


@dataclass(frozen=True)
class Session:
    """What one session left and showed.

    Attributes
    ----------
    probes
        Expression → the representation of its value, or the error's name.
    shown
        Cell → its messages, without what differs from run to run.
    reports
        Cell → what our kernel says about it; empty for plain ipykernel.
    """

    probes: dict[str, str]
    shown: dict[str, list[Any]]
    reports: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Verdict:
    """What is wrong, and which cells ran."""

    wrong: dict[str, Any]
    replayed: frozenset[str]
    missed: frozenset[str]
    unsaid: frozenset[str]
    why: dict[str, str]


def session(
    kernel: str,
    case: Case,
    cells: Mapping[str, str],
    order: Iterable[str],
    specs: Path,
    folder: Path,
    *,
    first: bool,
) -> Session:
    """Start a kernel in `folder`/work, run cells, evaluate the case's expressions."""
    environment = {"PROVCRT_COST_POLICY": "off", **(case.env_before if first else case.env_after)}
    answers = iter(case.answers_before if first else case.answers)
    shown, reports = {}, {}
    with running(kernel, specs, folder, environment=environment) as live:
        for name in order:
            exchange = live.execute(cells[name], answers=answers, stop_on_error=False)
            shown[name] = [step for step in transcript(exchange, live.folder) if not _reply(step)]
            reports[name] = exchange.report or {}
        expressions = {str(i): f"repr({e})" for i, e in enumerate((*case.probes, *case.true))}
        reply = live.execute("", silent=True, store_history=False, user_expressions=expressions)
        values = reply.content["user_expressions"]
        probes = {e: _text(values[str(i)], live.folder) for i, e in enumerate((*case.probes, *case.true))}
    return Session(probes, shown, reports)


def _reply(step: list[Any]) -> bool:
    return step[0] in ("status", "execute_input", "execute_reply")


def _text(value: dict[str, Any], folder: Path) -> str:
    if value["status"] != "ok":
        return f"raises {value['ename']}"
    return plain_text(value["data"]["text/plain"], folder)


def from_scratch(case: Case, specs: Path, folder: Path) -> Session:
    """What plain ipykernel shows after the change."""
    work = folder / "work"
    work.mkdir(parents=True)
    case.prepare(work)
    cells = dict(case.cells)
    if case.left:
        session(PLAIN, case, cells, case.order or cells, specs, folder, first=True)
    case.edit(cells, work)
    return session(PLAIN, case, cells, cells, specs, folder, first=False)


def replayed(case: Case, specs: Path, folder: Path, *, times: int = 1) -> list[Session]:
    """Our kernel: a first session, the change, and then as many sessions as asked for."""
    work = folder / "work"
    work.mkdir(parents=True)
    case.prepare(work)
    cells = dict(case.cells)
    first = session(OURS, case, cells, case.order or cells, specs, folder, first=True)
    case.edit(cells, work)
    later = [session(OURS, case, cells, cells, specs, folder, first=False) for _ in range(times)]
    for name, report in later[0].reports.items():
        if unrecorded := first.reports.get(name, {}).get("not_recorded"):
            report["reason"] = f"{report.get('reason')} (not recorded at first: {'; '.join(unrecorded)})"
    return later


def differences(case: Case, ours: Session, plain: Session) -> dict[str, Any]:
    """Expressions with other values, and cells that showed something else, than in a run from scratch."""
    wrong: dict[str, Any] = {}
    for expression in case.probes:
        if ours.probes[expression] != plain.probes[expression]:
            wrong[expression] = (ours.probes[expression], plain.probes[expression])
    for expression in case.true:
        if ours.probes[expression] != "'True'":
            wrong[expression] = (ours.probes[expression], "'True'")
    compared = case.shown if case.shown is not None else set() if case.true else plain.shown.keys()
    for name in compared:
        if ours.shown[name] != plain.shown[name]:
            wrong[f"shown by {name}"] = (ours.shown[name], plain.shown[name])
    return wrong


def verdict(case: Case, ours: Session, plain: Session, again: Callable[[], Session]) -> Verdict:
    """Compare what our second session left and showed with a run from scratch.

    Parameters
    ----------
    again
        Runs it from scratch once more. Only called if something differs: what then differs from itself, too, is nobody's fault.
    """
    wrong = differences(case, ours, plain)
    if wrong:
        noise = differences(case, again(), plain)
        wrong = {what: how for what, how in wrong.items() if what not in noise or what in case.true}
    status = {name: report.get("status") for name, report in ours.reports.items()}
    ran = frozenset(name for name, what in status.items() if what != "replayed")
    return Verdict(
        wrong,
        frozenset(status) - ran,
        case.skip & ran,
        case.rerun - ran,
        {name: str(ours.reports[name].get("reason")) for name in ran},
    )


def judge(case: Case, specs: Path, folder: Path) -> Verdict:
    """Run a case on both kernels and compare."""
    ours = replayed(case, specs, folder / "ours")[0]
    plain = from_scratch(case, specs, folder / "plain")
    return verdict(case, ours, plain, lambda: from_scratch(case, specs, folder / "again"))
