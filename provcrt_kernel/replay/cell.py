"""One cell while it runs: what it could see before, what its caller saw, and what all instruments saw.

`Running` is made when the cell begins, `Outcome` by the caller when it has ended, `Seen` from both and the drained span.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from provcrt_kernel.provenance.packages import is_library
from provcrt_kernel.replay.record import Shown
from provcrt_kernel.session.ambience import Values
from provcrt_kernel.session.insides import Signature
from provcrt_kernel.session.modules import top_level_names
from provcrt_kernel.session.observe import Change
from provcrt_kernel.session.slots import ANY, Slots, State
from provcrt_kernel.session.source import Source
from provcrt_kernel.trace import Span


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the caller saw of a cell that ran.

    Attributes
    ----------
    shown
        Messages it sent, coalesced.
    error
        ``ename``, ``evalue``, ``traceback``; None if it did not raise.
    unrepeatable
        Why its messages alone cannot stand for it: it asked for input, opened a comm, was interrupted.
    result
        The value that it displayed as its result, in a tuple; empty if there was none.
    """

    shown: tuple[Shown, ...] = ()
    error: tuple[str, str, tuple[str, ...]] | None = None
    unrepeatable: tuple[str, ...] = ()
    result: tuple[object, ...] = ()
    payload: tuple[dict[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Left:
    """How a cell left the session, which is how the next one finds it if nothing came between.

    Attributes
    ----------
    ambient
        The ambient slots' values.
    identities
        Identity of the value of each name of the namespace.
    """

    ambient: Values
    identities: dict[str, int]


@dataclass(slots=True)
class Running:
    """What was so when a cell began.

    Attributes
    ----------
    versions
        Of every slot that it can reach; `ambient_versions` of those outside of the namespace.
    replaced
        Versions of the names that it binds whatever they were before: inputs only of a cell that raised.
    shares
        The co-variable of each variable it can reach, with its joint version.
    former
        Those that are made of former classes, with the names of these.
    numbered
        Which inputs and results there were, by their numbers, if it may list IPython's names for them.
    lineage
        Prefix of the lineage versions that this execution makes.
    before
        What names that it binds whatever they were stood for, where content does not tell; nothing is kept alive.
    descriptors
        Those that were open, of a cell that may open some by number.
    """

    source: Source
    cell: str
    count: int | None
    reason: str
    recomputed: tuple[int, ...]
    numbered: str | None
    lineage: str
    reached: frozenset[str]
    everything: str | None
    versions: dict[str, str]
    ambient_versions: dict[str, str]
    shares: dict[str, tuple[tuple[str, ...], str]]
    former: dict[str, tuple[str, ...]]
    identities: dict[str, int]
    watched: dict[str, tuple[object, Signature]]
    replaced: dict[str, str]
    ambient: Values
    environ: dict[str, str]
    threads: set[int | None]
    before: dict[str, weakref.ref[object]]
    descriptors: set[int] | None
    started: float = 0.0

    def unbound(self, namespace: Mapping[str, object]) -> set[str]:
        """Names of `before` that still stand for what they stood for: a cell that raised did so before it bound them."""
        return {n for n, found in self.before.items() if n in namespace and found() is namespace[n]}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a cell did, as far as all instruments tell.

    Attributes
    ----------
    moved
        Ambient slots with new states; `writes` has them too, and the variables, packages and local modules.
    everything
        Why it could read any name.
    volatile, pinned, in_place
        As in `Record`.
    lines
        Whether it looked at where code of the notebook stands.
    seeds
        Words by which it may have seeded streams of random numbers.
    given
        Streams that it seeded before it did anything else.
    restless
        Whether processes go on that may change state behind the cells' backs.
    """

    span: Span
    seconds: float
    change: Change
    moved: dict[str, State]
    writes: dict[str, State]
    packages: frozenset[str]
    everything: str | None
    volatile: tuple[str, ...]
    pinned: tuple[str, ...]
    in_place: tuple[str, ...]
    left: Left
    environ: dict[str, str]
    problems: tuple[str, ...]
    seeds: frozenset[str]
    given: frozenset[str]
    lines: bool
    restless: bool

    def files_read(self) -> tuple[str, ...]:
        """Paths whose content the cell read, those of installed packages and the system apart."""
        return tuple(a.path for a in self.span.accesses if a.read and not _system(a.path))

    def files_written(self) -> tuple[str, ...]:
        """Paths that the cell wrote."""
        return tuple(a.path for a in self.span.accesses if a.written and not _system(a.path))


def reach(slots: Slots, source: Source) -> frozenset[str]:
    """Every name whose value a cell can read or change, through the functions it can call; not those it certainly rebinds."""
    names = slots.reach(source.reads | (source.binds - source.certain))
    if source.wildcard or ANY in names:
        names = slots.reach(slots.names())
    return names - {ANY}


#: What magics set besides IPython's own state.
_USED_BY_MAGICS = {"precision": "numpy"}


def packages_of(slots: Slots, names: Iterable[str], source: Source) -> frozenset[str]:
    """Top-level packages that a cell can call into."""
    by_magics = {package for magic, package in _USED_BY_MAGICS.items() if magic in source.magics}
    return slots.union(names, "packages") | top_level_names(source.imports) | by_magics


def _system(path: str) -> bool:
    return is_library(path) or path.startswith(("/usr/", "/lib/", "/lib64/"))
