"""The digest of values with too many objects to walk: of a pickle stream, written at C speed.

It can never equal a structural digest, and it sees string identity, so it is steady only for values made the
same way. A class of the notebook that customises pickling could hide state from it: such values stay opaque.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, cast

import xxhash

from .definitions import code, note_module
from .homes import class_home, function_home, module_of, mro_of
from .opaque import full_name
from .standard import UNCHANGING
from .walk import ATOMS, Walker

_PLAIN = frozenset({list, dict, set, bytearray})
_NOTED = _PLAIN | ATOMS | {tuple, frozenset}
_SHARED_BY_ALL = frozenset({ModuleType, CodeType, BuiltinFunctionType})


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
    met = [value for _, value in pickler.memo.copy().values()]
    walker.objects.update(id(value) for value in met if type(value) in _PLAIN)
    for value in met:
        if type(value) not in _NOTED:
            _note(walker, value)
    for raw in pickler.buffers:
        sink.hasher.update(xxhash.xxh3_128_digest(raw))
    walker.buffered += sink.size
    return None if walker.opaque else sink.hasher.hexdigest()


def _note(walker: Walker, met: Any) -> None:
    """What one object of the stream says of the value; what all values share ties none together."""
    kind = type(met)
    if kind is FunctionType:
        home = function_home(met, walker.namespace)
        if home not in ("notebook", "unknown"):
            note_module(walker, met.__module__)
            return
        code(walker, met.__code__, in_notebook=home == "notebook")
    elif type in mro_of(kind):
        if class_home(met) != "notebook":
            note_module(walker, module_of(met))
            return
        walker.types.add(id(met))
    elif kind in _SHARED_BY_ALL or _unchanging(kind):
        return
    walker.objects.add(id(met))


def _unchanging(kind: type) -> bool:
    names = {full_name(base) for base in mro_of(kind)}
    return not names.isdisjoint((*UNCHANGING, "numpy.dtype", "enum.Enum"))


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
