"""Which cells of a session are stale: a slot that they read has changed since they ran, through a cell above them.

Nothing is hashed for it: versions are compared that the session knows anyway. A change that comes from below (`df = df.dropna()`
three cells further down) makes no cell stale, since a run from the top would show it what it saw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from provcrt_kernel.session.slots import shown


@dataclass(frozen=True, slots=True)
class Ran:
    """The last run of a cell in a session.

    Attributes
    ----------
    count
        Its execution count.
    read
        Versions of the slots that it could read, as they were before it.
    left
        Versions of those that it changed, as they were after it; empty for one that it deleted.
    """

    count: int | None
    read: Mapping[str, str]
    left: Mapping[str, str]


def stale(order: Iterable[str], ran: Mapping[str, Ran], version: Callable[[str], str]) -> dict[str, str]:
    """Find the stale cells.

    Parameters
    ----------
    order
        Cells as they stand in the notebook; those that did not run are passed over.
    ran
        The last run of each cell.
    version
        The version that a slot has now.

    Returns
    -------
    dict
        Cells → why.
    """
    found: dict[str, str] = {}
    above: dict[str, tuple[str, int | None]] = {}
    for cell in order:
        run = ran.get(cell)
        if run is None:
            continue
        for name, saw in run.read.items():
            if name in above and above[name][0] != saw and version(name) != run.left.get(name, saw):
                count = above[name][1]
                found[cell] = f"{shown(name)} changed" + ("" if count is None else f" (cell {count})")
                break
        above.update((name, (left, run.count)) for name, left in run.left.items())
    return found
