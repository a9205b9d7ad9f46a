"""The digest of values with too many objects to walk: of a pickle stream, written at C speed.

It can never equal a structural digest, and it sees string identity, so it is steady only for values made the
same way. A class of the notebook that customises pickling could hide state from it: such values stay opaque.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any, cast

import xxhash

from .homes import class_home
from .objects import code, note_module
from .walk import ATOMS, Walker

_IMMUTABLE = ATOMS | {tuple, frozenset}


def stream_digest(walker: Walker, values: Mapping[str, object]) -> str | None:
    """Digest `values` by their stream, and note on `walker` what it met.

    Parameters
    ----------
    walker : Walker
        The walk that gave up; its objects, names and packages are added to.
    values : Mapping[str, object]
        Everything that is digested together.

    Returns
    -------
    str or None
        xxh3_128 in hex; None with ``walker.opaque`` set if the stream could hide state.
    """
    from .memory import Places
    from .pickler import SessionPickler

    # The namespace is only compared, never written.
    namespace = cast(dict[str, object], walker.namespace)
    places = Places()
    sink = _Hashing()
    pickler: Any = SessionPickler(sink, namespace, places, strict=True)
    pickler.dump(dict(values))
    if places.settle():  # which arrays share memory is part of the value
        sink = _Hashing()
        pickler = SessionPickler(sink, namespace, places, second=True, strict=True)
        pickler.dump(dict(values))
    for number, (_, met) in pickler.memo.copy().items():
        kind = type(met)
        if kind in _IMMUTABLE:
            continue
        walker.objects.add(number)
        if kind is FunctionType:
            code(walker, met, in_notebook=met.__globals__ is walker.namespace)
        elif isinstance(met, type) and class_home(met) != "notebook":
            note_module(walker, met.__module__)
    for raw in pickler.buffers:
        sink.hasher.update(xxhash.xxh3_128_digest(raw))
    walker.buffered += sink.size
    return None if walker.opaque else sink.hasher.hexdigest()


class _Hashing:
    """A file that keeps nothing but the digest of what is written."""

    def __init__(self) -> None:
        self.hasher = xxhash.xxh3_128(b"provcrt stream 1\n")
        self.size = 0

    def write(self, data: Any) -> int:
        self.hasher.update(data)
        self.size += len(data)
        return len(data)

    def spend(self, size: int) -> None:
        self.size += size
