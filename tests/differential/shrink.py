"""Makes a scenario small that shows a mismatch: sessions, cells, steps, lines and statements are left out while it still does.

Hypothesis shrinks the choices a scenario was drawn from; where all cells of all sessions hang together it is quicker to leave out
parts of what was drawn (Zeller, Hildebrandt: *Simplifying and Isolating Failure-Inducing Input*, 2002).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from differential.compare import Scenario


def shrink(scenario: Scenario, fails: Callable[[Scenario], bool], most: int = 400) -> Scenario:
    """The smallest scenario that was found to fail still, after at most so many tries."""
    tries = 0
    again = True
    while again:
        again = False
        for smaller in _smaller(scenario):
            tries += 1
            if tries > most:
                return scenario
            if fails(smaller):
                scenario, again = smaller, True
                break
    return scenario


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    sessions = scenario.sessions
    for at in range(len(sessions)):
        yield _with(scenario, sessions[:at] + sessions[at + 1 :])
    for name in dict.fromkeys(s[1] for steps in sessions for s in steps if s[0] == "run"):
        yield _with(scenario, [tuple(s for s in steps if s[1] != name) for steps in sessions])
    for at, steps in enumerate(sessions):
        for which in range(len(steps)):
            fewer = steps[:which] + steps[which + 1 :]
            yield _with(scenario, [*sessions[:at], fewer, *sessions[at + 1 :]])
    lines = dict.fromkeys(
        line for steps in sessions for s in steps if s[0] == "run" and s[2] for line in s[2].splitlines()
    )
    for line in lines:
        yield _without_line(scenario, line)
        if "; " in line:
            for part in line.split("; "):
                yield _without_line(scenario, line, line.replace(f"{part}; ", "").replace(f"; {part}", ""))
    for at in range(len(scenario.files)):
        yield dataclasses.replace(scenario, files=scenario.files[:at] + scenario.files[at + 1 :])


def _with(scenario: Scenario, sessions: object) -> Scenario:
    kept = tuple(steps for steps in sessions if steps)  # type: ignore[attr-defined]
    return dataclasses.replace(scenario, sessions=kept)


def _without_line(scenario: Scenario, line: str, other: str | None = None) -> Scenario:
    def cut(text: str) -> str:
        lines = [other if text_line == line else text_line for text_line in text.splitlines()]
        return "\n".join(text_line for text_line in lines if text_line is not None)

    return _with(
        scenario,
        [
            tuple(("run", s[1], cut(s[2] or "")) if s[0] == "run" else s for s in steps)
            for steps in scenario.sessions
        ],
    )
