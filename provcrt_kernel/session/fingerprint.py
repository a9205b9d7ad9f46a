"""What a value is: a digest that is equal only if no later reader could tell the values apart.

The digest is the same in another process. A value that nobody can read back (an open file, a generator, a
lock) is *opaque*: it has no digest, and its slot is known by its lineage. Along with the digest the walk
tells what the value shares (objects, memory), which names its code reads, and which packages and local
modules it comes from.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from . import arrays, frames, objects, standard
from .behind import behind
from .opaque import DRAWN
from .walk import ATOMS, Regions, TooLarge, Walker, overlap

LIMIT = 200_000
"""Objects visited before the walk gives up structure for a pickle stream's digest."""
_DEEP = 60_000  # frames of the interpreter; the walk recurses in Python only, which costs no C stack

_SELF_CONTAINED = (DRAWN,)  # huge inside, and nobody else's

_HANDLER_MODULES = (arrays, frames, objects, standard)  # imported for the handlers that they register


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a walk over one value found."""

    digest: str | None
    """xxh3_128 in hex; None for an opaque value."""
    opaque: str | None
    """Why there is no digest, in a few words."""
    objects: frozenset[int]
    """``id()`` of every mutable object reached, `types` included: slots that share one are co-variables."""
    buffers: tuple[tuple[int, int], ...]
    """Memory [start, end) of arrays reached."""
    refs: frozenset[str]
    """Global names that code inside of the value reads; ``*``: it may read any."""
    packages: frozenset[str]
    """Top-level names of installed packages met."""
    modules: frozenset[str]
    """Dotted names of local modules met."""
    clock: frozenset[str]
    """Names in code met that mean entropy, the clock or the process."""
    nodes: int
    """Objects visited."""
    size: int
    """Bytes, roughly."""
    types: frozenset[int] = frozenset()
    """The part of `objects` that are classes of the notebook met only as type or base of something."""
    guarded: tuple[tuple[int, int], ...] = ()
    """Memory [start, end) of owners that copy on write: it matters only against some `buffers`."""


_NONE: frozenset[str] = frozenset()
_NO_IDS: frozenset[int] = frozenset()


def fingerprint(value: object, namespace: Mapping[str, object], *, limit: int = LIMIT) -> Fingerprint:
    """Describe a value; see `walked`, which says on what way, too."""
    return walked(value, namespace, limit=limit)[0]


def walked(
    value: object, namespace: Mapping[str, object], *, limit: int = LIMIT
) -> tuple[Fingerprint, Walker]:
    """Describe a value, and return the walk that can go on to others.

    Parameters
    ----------
    value : object
        Anything; it is not changed, and no code of the notebook is run.
    namespace : Mapping[str, object]
        The notebook's globals.
    limit : int, default 200,000
        Objects to visit before a pickle stream's digest is taken instead.

    Returns
    -------
    Fingerprint
        Opaque, with the reason, where anything goes wrong: nothing is raised.
    Walker
        Where it stands at the end of the value.
    """
    if type(value) in ATOMS:
        walker = Walker(namespace, limit)
        walker.atom(value)
        size = len(walker.out[-1])
        whole = walker.digest()
        clock = frozenset(walker.clock) if walker.clock else _NONE
        return Fingerprint(whole, None, _NO_IDS, (), _NONE, _NONE, _NONE, clock, 1, size), walker
    walker = Walker(namespace, limit)
    digest = _digest(walker, value, {"": value})
    if digest is None and walker.opaque not in _SELF_CONTAINED:
        objects, names = behind(value, namespace)
        walker.objects |= objects
        walker.refs |= names
    found = Fingerprint(
        digest=digest,
        opaque=walker.opaque,
        objects=frozenset(walker.objects),
        buffers=tuple(walker.buffers),
        refs=frozenset(walker.refs) if walker.refs else _NONE,
        packages=frozenset(walker.packages) if walker.packages else _NONE,
        modules=frozenset(walker.modules) if walker.modules else _NONE,
        clock=frozenset(walker.clock) if walker.clock else _NONE,
        nodes=walker.nodes,
        size=walker.buffered + sum(map(len, walker.out)),
        types=frozenset(walker.types) if walker.types else _NO_IDS,
        guarded=tuple(walker.guarded),
    )
    return found, walker


def fingerprint_group(
    values: Mapping[str, object],
    namespace: Mapping[str, object],
    *,
    limit: int = LIMIT,
    first: tuple[str, Walker] | None = None,
) -> tuple[str | None, ...]:
    """Digests of a co-variable's values together: what they share is part of them.

    Parameters
    ----------
    values : Mapping[str, object]
        The co-variable, by name; order counts.
    namespace : Mapping[str, object]
        The notebook's globals.
    limit : int
        As for `fingerprint`, for each value.
    first : tuple of str and Walker, optional
        Digest of the first value and the walk to it, which ended at its end (`Walker.ended`), if they are known.

    Returns
    -------
    tuple of (str or None)
        One digest for each name; None for a value that is opaque. Equal tuples mean equal values with equal
        aliasing. For a group of one it is the digest of `fingerprint`.
    """
    walker = Walker(namespace, limit) if first is None else first[1]
    digests: list[str | None] = [] if first is None else [first[0]]
    for value in islice(values.values(), len(digests), None):
        walker.out = walker.out[:1]
        walker.opaque = None
        walker.nodes = 0
        digests.append(_digest(walker, value, values))
    return tuple(digests)


def share(left: Fingerprint, right: Fingerprint) -> bool:
    """Whether two values share state: a mutable object (types apart), or memory that one can write."""
    if not (left.objects - left.types).isdisjoint(right.objects - right.types):
        return True
    return (
        overlap(left.buffers, right.buffers)
        or overlap(left.buffers, right.guarded)
        or overlap(left.guarded, right.buffers)
    )


def _digest(walker: Walker, value: object, together: Mapping[str, object]) -> str | None:
    """Walk `value`; its digest, or None if it is opaque."""
    written = len(walker.out)
    try:
        walker.walk(value)
    except RecursionError:
        _again_deeper(walker, value, written)
    except TooLarge:
        return _streamed(walker, together)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a library's reducer may raise anything
        _fail(walker, error)
    return None if walker.opaque else walker.digest()


def _fail(walker: Walker, error: BaseException) -> None:
    walker.opaque = walker.opaque or f"{type(error).__name__} while it was read"


def _again_deeper(walker: Walker, value: object, written: int) -> None:
    """Walk a deep structure once more with a higher recursion limit."""
    del walker.out[written:]
    walker.memo.clear()
    walker.numbered = 0
    walker.regions = Regions()
    walker.type_tokens.clear()
    walker.fresh = None
    before = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(max(before, _DEEP))
        walker.walk(value)
    except (RecursionError, TooLarge):
        walker.opaque = walker.opaque or "too deep"
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _fail(walker, error)
    finally:
        sys.setrecursionlimit(before)


def _streamed(walker: Walker, together: Mapping[str, object]) -> str | None:
    """The digest of a pickle stream, for values of too many objects to walk."""
    from .streamed import stream_digest

    try:
        return stream_digest(walker, together)
    except Exception as error:
        walker.opaque = (
            walker.opaque or f"too many objects to visit, and pickle refuses ({type(error).__name__})"
        )
        return None
