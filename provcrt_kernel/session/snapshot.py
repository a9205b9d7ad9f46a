"""How a value is kept and brought back: one stream per co-variable, its arrays' memory beside it.

Pickle protocol 5 with out-of-band buffers, so that a store can keep memory that two versions share once. Functions and
classes of the notebook go by value and come back on the live namespace. What would come back as something else than it
was is refused with `Unstorable`: its cell is run again when the value is needed.
"""

from __future__ import annotations

import copyreg
import functools
import io
import json
import pickle
import sys
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import CellType, FunctionType, ModuleType
from typing import Any

import cloudpickle
from cloudpickle.cloudpickle import _dynamic_class_reduce

from . import functions
from .classes import fill_class, loading_into, make_class, runs_code_when_made
from .fingerprint import fingerprint, fingerprint_group
from .homes import class_home, dict_of, function_home, mro_of, qualname_of
from .memory import IN_BAND, Places, Tangled, reduce_alone
from .opaque import full_name, opaque_reason

LIMIT = 1 << 34
"""Bytes that a snapshot may have, buffers included, unless the caller says otherwise."""
_MAGIC = b"provcrt snapshot 1\n"
_HOOKS = (
    "__reduce__",
    "__reduce_ex__",
    "__getstate__",
    "__setstate__",
    "__getnewargs__",
    "__getnewargs_ex__",
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A co-variable's values as bytes."""

    stream: bytes
    """Header and pickle stream."""
    buffers: tuple[memoryview, ...]
    """Memory that the stream refers to, in order. Views of live memory: store them before the next cell runs."""
    suspects: frozenset[str] = frozenset()
    """Classes of the notebook or of local modules that customise pickling: `faithful` must decide."""


class Unstorable(Exception):
    """A value that no stream can keep as it is."""

    @classmethod
    def kind(cls, what: str) -> Unstorable:
        """An object of a kind that cannot be brought back."""
        return cls(f"{what} cannot be stored: its cell runs again when it is needed")

    @classmethod
    def refused(cls, error: BaseException) -> Unstorable:
        """Pickle, or a reducer, raised `error`."""
        text = " ".join(str(error).split())[:200]
        return cls(f"pickle refused ({type(error).__name__}: {text}): its cell runs again when it is needed")

    @classmethod
    def too_big(cls, limit: int) -> Unstorable:
        """The snapshot would have more than `limit` bytes."""
        return cls(f"more than {limit:,} bytes to store: its cell runs again when it is needed")


class Unloadable(Exception):
    """A snapshot that cannot be brought back here."""

    @classmethod
    def failed(cls, error: BaseException) -> Unloadable:
        """Reading the stream raised `error`."""
        text = " ".join(str(error).split())[:200]
        return cls(f"stored value cannot be loaded ({type(error).__name__}: {text}): run its cell again")

    @classmethod
    def damaged(cls) -> Unloadable:
        """The bytes are no snapshot."""
        return cls("stored value is no snapshot of this version: run its cell again")


def dump(values: Mapping[str, object], namespace: dict[str, object], *, limit: int = LIMIT) -> Snapshot:
    """Keep the values of a co-variable together, so that aliases and views stay what they are.

    Parameters
    ----------
    values : Mapping[str, object]
        Names and values.
    namespace : dict[str, object]
        The notebook's globals.
    limit : int, optional
        Bytes that stream and buffers together may have.

    Returns
    -------
    Snapshot

    Raises
    ------
    Unstorable
        With one line that says why; whatever a reducer raises becomes this.
    """
    places = Places()
    pickler, stream = _dump(values, namespace, limit, places, second=False)
    try:
        shared = places.settle()
    except Tangled:
        raise Unstorable.kind("an array on the memory of two tables") from None
    if shared:
        pickler, stream = _dump(values, namespace, limit, places, second=True)
    header = json.dumps({"own": pickler.own, "names": list(values)}).encode()
    return Snapshot(
        stream=b"".join((_MAGIC, len(header).to_bytes(4, "little"), header, stream)),
        buffers=tuple(pickler.buffers),
        suspects=frozenset(pickler.suspects),
    )


def load(
    stream: bytes, buffers: Sequence[bytes | memoryview], namespace: dict[str, object]
) -> dict[str, object]:
    """Bring a snapshot's values back.

    Parameters
    ----------
    stream : bytes
        As `dump` made it.
    buffers : sequence of bytes or memoryview
        In `dump`'s order; they are copied, never adopted.
    namespace : dict[str, object]
        The live globals: loaded functions read them. Nothing is bound in it.

    Returns
    -------
    dict[str, object]
        Names and values.

    Raises
    ------
    Unloadable
        If the stream cannot be read, or names what does not exist here.
    """
    header, at = _header(stream)
    own = frozenset(header["own"])
    given = [data if at in own else bytearray(data) for at, data in enumerate(buffers)]
    try:
        with loading_into(namespace):
            values: dict[str, object] = _Unpickler(io.BytesIO(memoryview(stream)[at:]), buffers=given).load()
    except Exception as error:
        raise Unloadable.failed(error) from error
    return values


def faithful(values: Mapping[str, object], snapshot: Snapshot, namespace: dict[str, object]) -> bool:
    """Whether a snapshot comes back as what it was: load it and compare fingerprints, aliasing included.

    Parameters
    ----------
    values : Mapping[str, object]
        What was dumped, still live.
    snapshot : Snapshot
        Its snapshot.
    namespace : dict[str, object]
        The notebook's globals.

    Returns
    -------
    bool
        False also for what cannot be loaded, or has no fingerprint.
    """
    try:
        back = load(snapshot.stream, snapshot.buffers, namespace)
    except Unloadable:
        return False
    before = fingerprint_group(values, namespace)
    return None not in before and before == fingerprint_group(back, namespace)


def needs_check(snapshot: Snapshot) -> bool:
    """Whether only `faithful` can tell that a snapshot is one."""
    return bool(snapshot.suspects)


def _header(stream: bytes) -> tuple[dict[str, Any], int]:
    start = len(_MAGIC) + 4
    if stream[: len(_MAGIC)] != _MAGIC or len(stream) < start:
        raise Unloadable.damaged()
    end = start + int.from_bytes(stream[len(_MAGIC) : start], "little")
    try:
        header: dict[str, Any] = json.loads(stream[start:end])
    except ValueError as error:
        raise Unloadable.damaged() from error
    return header, end


def _dump(
    values: Mapping[str, object], namespace: dict[str, object], limit: int, places: Places, *, second: bool
) -> tuple[SessionPickler, bytes]:
    file = _Bounded(limit)
    pickler = SessionPickler(file, namespace, places, second=second)
    try:
        pickler.dump(dict(values))
    except Unstorable:
        raise
    except Exception as error:
        cause = error.__cause__ if isinstance(error.__cause__, Unstorable) else None
        raise cause or Unstorable.refused(error) from error
    return pickler, file.getvalue()


class _Bounded(io.BytesIO):
    """Memory for a stream, and an account of everything that a snapshot takes."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = self.left = limit

    def write(self, data: Any) -> int:
        self.spend(len(data))
        return super().write(data)

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise Unstorable.too_big(self.limit)


class SessionPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles values of a session: what the notebook defined by value, everything importable by name."""

    def __init__(
        self, file: _Bounded, namespace: dict[str, object], places: Places, *, second: bool = False
    ) -> None:
        super().__init__(file, protocol=5, buffer_callback=self._buffer)
        self.namespace = namespace
        self.places = places
        self.second = second
        self.account = file
        self.buffers: list[memoryview] = []
        self.own: list[int] = []
        self.suspects: set[str] = set()
        self._own_ids: set[int] = set()
        self._kept: list[object] = []
        self._sources: dict[str, str | None] = {}
        self._digests: dict[int, str | None] = {}
        self._cells: set[int] = set()
        self._checked: set[type] = set()

    def _buffer(self, buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < IN_BAND:
            return True
        self.account.spend(raw.nbytes)
        if id(buffer) in self._own_ids:
            self.own.append(len(self.buffers))
        self.buffers.append(raw)
        return False

    def reducer_override(self, value: Any) -> Any:
        """What pickle asks for each object that it has no fast path for."""
        kind = type(value)
        if kind is FunctionType:
            return self._function(value)
        if issubclass(kind, type):
            return self._class(value)
        if kind is CellType:
            if id(value) in self._cells:
                return functions.make_cell, ()
            return functions.make_cell, (), functions.cell_content(value), None, None, functions.fill_cell
        special = _SPECIAL.get(full_name(kind))
        if special is not None:
            return special(self, value)
        if kind not in self._checked:
            self._check(value, kind)
        return NotImplemented

    def _check(self, value: object, kind: type) -> None:
        """Refuse what pickles but would come back as something else."""
        if isinstance(value, io.IOBase) and value in (sys.stdout, sys.stderr):
            return
        reason = opaque_reason(kind)
        if reason is not None and reason not in _PICKLES_WELL:
            raise Unstorable.kind(f"{reason}")
        if isinstance(value, BaseException):
            if value.__traceback__ or value.__cause__ or value.__context__:
                raise Unstorable.kind("an exception with a traceback or a cause")
            return
        if kind in copyreg.dispatch_table and _by_user(copyreg.dispatch_table[kind], self.namespace):
            self.suspects.add(full_name(kind))
        for base in mro_of(kind):
            if class_home(base) in ("notebook", "local") and any(hook in dict_of(base) for hook in _HOOKS):
                self.suspects.add(full_name(kind))
        self._checked.add(kind)

    def _function(self, function: FunctionType) -> Any:
        home = function_home(function, self.namespace)
        if home not in ("notebook", "unknown"):
            return NotImplemented
        where: str | None = None
        if home == "unknown":
            where = function.__globals__.get("__name__")
            module = sys.modules.get(where) if type(where) is str else None
            if not isinstance(module, ModuleType) or module.__dict__ is not function.__globals__:
                raise Unstorable.kind(f"function {function.__qualname__} with globals of its own")
        code = function.__code__
        if code.co_filename not in self._sources:
            self._sources[code.co_filename] = functions.source_of(code)
        self._cells.update(map(id, function.__closure__ or ()))
        arguments = (code, where, function.__name__, function.__closure__, self._sources[code.co_filename])
        state = functions.function_state(function)
        return functions.make_function, arguments, state, None, None, functions.fill_function

    def _class(self, cls: type) -> Any:
        if class_home(cls) != "notebook" or cls in (type(None), type(Ellipsis), type(NotImplemented)):
            return super().reducer_override(cls)
        if runs_code_when_made(cls):
            raise Unstorable.kind(f"class {qualname_of(cls)}, which runs code when it is made,")
        constructor, arguments, state, _, _, setter = _dynamic_class_reduce(cls)
        arguments = (*arguments[:-2], None, None)  # cloudpickle's own tracking of identities stays out of it
        if id(cls) not in self._digests:
            self._digests[id(cls)] = fingerprint(cls, self.namespace).digest
        made = (self._digests[id(cls)], constructor, arguments)
        return make_class, made, (setter, state), None, None, fill_class

    def array(self, array: Any) -> Any:
        """A plain ndarray: by its place in shared memory, or alone."""
        if not self.second:
            self.places.note(array)
        elif (shared := self.places.reduce_shared(array)) is not None:
            return shared
        return self.owned(reduce_alone(array))

    def owned(self, reduced: Any) -> Any:
        """Note the buffers that are copied when they are loaded."""
        if isinstance(reduced, tuple):
            for part in reduced[1]:
                if type(part) is pickle.PickleBuffer:
                    self._own_ids.add(id(part))
                    self._kept.append(part)
        return reduced


class _Unpickler(pickle.Unpickler):
    """Reads streams; a name of the notebook is never looked up, since values go by value."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("__main__", "__mp_main__"):
            raise pickle.UnpicklingError(f"{name} was stored by its name in the notebook")
        return super().find_class(module, name)


# --- kinds with a way of their own -----------------------------------------------------------------------------------

_PICKLES_WELL = frozenset({"matplotlib figure", "tensor outside of plain memory"})


def _by_user(reducer: object, namespace: dict[str, object]) -> bool:
    return type(reducer) is FunctionType and function_home(reducer, namespace) in (
        "notebook",
        "local",
        "unknown",
    )


def _ndarray(pickler: SessionPickler, value: Any) -> Any:
    return pickler.array(value)


def _hull(pickler: SessionPickler, value: Any) -> Any:
    return pickler.owned(value.__reduce__())


def _block(pickler: SessionPickler, value: Any) -> Any:
    if type(value.values).__name__ == "ndarray":
        pickler.places.guard(value.values)
    return NotImplemented


def _lru_cache(pickler: SessionPickler, value: Any) -> Any:
    if function_home(value.__wrapped__, pickler.namespace) not in ("notebook", "unknown"):
        return NotImplemented
    if value.cache_info().currsize or value.cache_info().hits or value.cache_info().misses:
        raise Unstorable.kind("a cache that was used")
    known = value.cache_parameters()
    own = dict(value.__dict__)
    return functions.make_cache, (value.__wrapped__, known["maxsize"], known["typed"]), own


def _cached_property(pickler: SessionPickler, value: functools.cached_property[Any]) -> Any:
    return functions.make_cached_property, (value.func, value.attrname, value.__doc__)


def _memoryview(pickler: SessionPickler, value: memoryview) -> Any:
    raise Unstorable.kind("a memoryview")


def _new_type(pickler: SessionPickler, value: Any) -> Any:
    return typing.NewType, (value.__name__, value.__supertype__)


_SPECIAL = {
    "numpy.ndarray": _ndarray,
    f"{Places.__module__}.Hull": _hull,
    "pandas._libs.internals.NumpyBlock": _block,
    "pandas._libs.internals.Block": _block,
    "pandas.core.internals.blocks.NumpyBlock": _block,
    "functools._lru_cache_wrapper": _lru_cache,
    "functools.cached_property": _cached_property,
    "builtins.memoryview": _memoryview,
    "typing.NewType": _new_type,
}
