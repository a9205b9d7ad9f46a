"""What something came from, and what came of it, as a tree over the steps of a run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True)
class Step:
    """A cell or a command: its name, and the files and variables that it read and wrote."""

    name: str
    reads: Collection[str]
    writes: Collection[str]


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing in a lineage, and those next to it.

    Attributes
    ----------
    what : str
        A path, or the name of a variable.
    step : str
        The step that made it, or, forwards, that used it; empty for what the run began with.
    then : tuple of Origin
        What that step read, or, forwards, wrote.
    """

    what: str
    step: str = ""
    then: tuple[Origin, ...] = ()


def sources(steps: Sequence[Step], target: str) -> Origin | None:
    """Return what `target` came from; None where no step touched it.

    Parameters
    ----------
    steps : sequence of Step
        In the order in which they ran.
    target : str
        A path, or a variable.
    """
    if not any(target in step.reads or target in step.writes for step in steps):
        return None
    return _back(steps, target, len(steps), set())


def _back(steps: Sequence[Step], what: str, before: int, told: set[tuple[str, int]]) -> Origin:
    made = next((n for n in range(before - 1, -1, -1) if what in steps[n].writes), None)
    if made is None:
        return Origin(what)
    if (what, made) in told:
        return Origin(what, f"{steps[made].name} (see above)")
    told.add((what, made))
    then = tuple(_back(steps, each, made, told) for each in sorted(set(steps[made].reads) - {what}))
    if what in steps[made].reads:  # it changed what was there
        then = (_back(steps, what, made, told), *then)
    return Origin(what, steps[made].name, then)


def uses(steps: Sequence[Step], target: str) -> Origin | None:
    """Return what came of `target`; None where no step touched it."""
    if not any(target in step.reads or target in step.writes for step in steps):
        return None
    first = next(
        (n for n, step in enumerate(steps) if target in step.writes and target not in step.reads), -1
    )
    return Origin(target, "", tuple(_forth(steps, target, first, set())))


def _forth(steps: Sequence[Step], what: str, after: int, told: set[tuple[str, int]]) -> list[Origin]:
    found = []
    for number in range(after + 1, len(steps)):
        step = steps[number]
        if what in step.reads:
            for made in sorted(set(step.writes)) or [""]:
                again = (made, number) in told
                told.add((made, number))
                inner = [] if again or not made or made == what else _forth(steps, made, number, told)
                found.append(Origin(made, step.name, tuple(inner)))
        if what in step.writes and what not in step.reads:
            break  # from here on it is another version
    return found
