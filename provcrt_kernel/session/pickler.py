"""The pickler of session values: what the notebook defined goes by value, everything importable by name.

It refuses what pickles but would come back as something else than it was.
"""

from __future__ import annotations

import copyreg
import functools
import gc
import io
import pickle
import sys
import typing
from collections.abc import Callable
from types import CellType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, Protocol

import cloudpickle

from . import functions, tensors
from .classes import reduce_class
from .closed import closed, described
from .fingerprint import fingerprint
from .frames import copies_on_write
from .homes import class_home, dict_of, function_home, mro_of
from .memory import IN_BAND, Places, reduce_alone, reduce_masked, reduce_with_attributes
from .objects import constant_of, instance_dict, slots
from .opaque import DRAWN, full_name, opaque_reason
from .refusals import Unstorable
from .suspects import disguises, finalizes, suspect, suspect_class
from .tables import owned_arrays, stray_attributes
from .texts import text_of

#: Where `copyreg` notes the names of a class's slots.
_SLOT_NAMES = "__slotnames__"


class Sink(Protocol):
    """Where a stream goes, and an account of the buffers beside it."""

    def write(self, data: Any, /) -> int:
        """Take a piece of the stream."""

    def spend(self, size: int) -> None:
        """Note `size` bytes of buffers."""


class Account(io.BytesIO):
    """Memory for a stream of at most `limit` bytes, its buffers included."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = self.left = limit

    def write(self, data: Any, /) -> int:
        """Keep a piece of the stream."""
        self.spend(len(data))
        return super().write(data)

    def spend(self, size: int) -> None:
        """Note `size` bytes; raises Unstorable beyond the limit."""
        self.left -= size
        if self.left < 0:
            raise Unstorable.too_big(self.limit)


class _Buffers:
    """Where a pickler puts large buffers. It does not know the pickler: in a cycle, all that was pickled would live on."""

    def __init__(self, account: Sink) -> None:
        self.buffers: list[memoryview] = []
        self.own: list[int] = []
        self.own_ids: set[int] = set()
        self._account = account

    def take(self, buffer: pickle.PickleBuffer) -> bool:
        """Take a buffer out of band, unless it is small."""
        raw = buffer.raw()
        if raw.nbytes < IN_BAND:
            return True
        self._account.spend(raw.nbytes)
        if id(buffer) in self.own_ids:
            self.own.append(len(self.buffers))
        self.buffers.append(raw)
        return False


class SessionPickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles the values of one co-variable.

    Parameters
    ----------
    file : Sink
        Takes the stream.
    namespace : dict[str, object]
        The notebook's globals.
    places : Places
        What the arrays of these values share; the first pass fills it, the second uses it.
    second : bool
        Whether this is the second pass.
    strict : bool
        Whether to refuse classes that customise pickling before their code runs.
    """

    def __init__(
        self,
        file: Sink,
        namespace: dict[str, object],
        places: Places,
        *,
        second: bool = False,
        strict: bool = False,
    ) -> None:
        self._out = _Buffers(file)
        super().__init__(file, protocol=5, buffer_callback=self._out.take)
        self.namespace = namespace
        self.places = places
        self.second = second
        self.strict = strict
        self.account = file
        self.suspects: set[str] = set()
        self.kept: list[object] = []
        self._sources: dict[str, str | None] = {}
        self._digests: dict[int, str | None] = {}
        self._cells: set[int] = set()
        self._kinds: dict[type, Callable[[SessionPickler, Any], Any]] = {}
        self._owners: set[int] = set()
        """Arrays that a block of this stream owns already."""
        self._indexed: set[int] = set()
        self._memories: dict[int, tensors.Memory] = {}
        self._unmarked: list[type] = []
        """Classes in which nobody has noted the names of their slots yet; to pickle an instance does."""

    @property
    def buffers(self) -> list[memoryview]:
        """What is kept beside the stream, in order."""
        return self._out.buffers

    @property
    def own(self) -> list[int]:
        """Numbers of the buffers that loading copies, so that they may be given as they are."""
        return self._out.own

    def dump(self, value: object) -> None:
        """Write a value; the notebook's classes are as they were afterwards."""
        try:
            super().dump(value)
        finally:
            for kind in self._unmarked:
                if _SLOT_NAMES in dict_of(kind):
                    type.__delattr__(kind, _SLOT_NAMES)

    def reducer_override(self, value: Any) -> Any:
        """What pickle asks for each object that it has no fast path for."""
        kind = type(value)
        reducer = self._kinds.get(kind)
        if reducer is None:
            reducer = self._kinds[kind] = self._reducer(kind)
        return reducer(self, value)

    def _reducer(self, kind: type) -> Callable[[SessionPickler, Any], Any]:
        """How values of a type are kept; decided once per type and stream."""
        if type in mro_of(kind):
            return SessionPickler._class
        if _SLOT_NAMES not in dict_of(kind) and class_home(kind) == "notebook":
            self._unmarked.append(kind)
        for base in mro_of(kind):
            special = _KINDS.get(full_name(base))
            if special is not None:
                return special
        reason = opaque_reason(kind)
        if reason is not None and reason not in _PICKLES_WELL:
            return _refuse(reason)
        if finalizes(kind):
            raise Unstorable.kind(f"{full_name(kind)}, which has a __del__,")
        if disguises(kind):
            raise Unstorable.kind(f"{full_name(kind)}, which has a __class__ of its own,")
        name = suspect(kind)
        if name is not None:
            if self.strict:
                raise Unstorable.kind(f"{name}, which customises pickling,")
            self.suspects.add(name)
        return _as_pickle_does

    def _class(self, cls: type) -> Any:
        if class_home(cls) != "notebook":
            return super().reducer_override(cls)
        name = suspect_class(cls)
        if name is not None:
            self.suspects.add(name)
        if id(cls) not in self._digests:
            self._digests[id(cls)] = fingerprint(cls, self.namespace).digest
        return reduce_class(cls, self._digests[id(cls)])

    def function(self, function: FunctionType) -> Any:
        """A function: by name, or its code on the live namespace."""
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
            self._sources[code.co_filename] = text_of(code.co_filename)
        self._cells.update(map(id, function.__closure__ or ()))
        arguments = (code, where, function.__name__, function.__closure__, self._sources[code.co_filename])
        state = functions.function_state(function)
        return functions.make_function, arguments, state, None, None, functions.fill_function

    def cell(self, cell: CellType) -> Any:
        """A closure's cell: empty, if a function of the stream brings its content."""
        if id(cell) in self._cells:
            return functions.make_cell, ()
        return functions.make_cell, (), functions.cell_content(cell), None, None, functions.fill_cell

    def array(self, array: Any) -> Any:
        """A plain ndarray: by its place in shared memory, or alone."""
        if type(array.base) in _LENDERS and array.flags.writeable:
            raise Unstorable.kind(f"an array on the memory of a {type(array.base).__name__}")
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
                    self._out.own_ids.add(id(part))
                    self.kept.append(part)
        return reduced

    def memory(self, storage: Any) -> tensors.Memory:
        """What stands for a tensor's storage in this stream."""
        place = storage.data_ptr()
        memory = self._memories.get(place) if place else None
        if memory is None:
            memory = self._memories[place] = tensors.Memory(storage)
            self.kept.append(memory)
            self.places.foreign_range(place, place + storage.nbytes())
        return memory

    def block(self, block: Any) -> Any:
        """A block of a table: with arrays of its own."""
        copy = self._own_values(block.values)
        if copy is None:
            return NotImplemented
        rebuild, (_, *rest) = block.__reduce__()[:2]
        return rebuild, (copy, *rest)

    def series(self, manager: Any) -> Any:
        """What holds a Series' values; it pickles them past their block."""
        copy = self._own_values(manager.blocks[0].values)
        if copy is None:
            return NotImplemented
        axes, _, items, extra = manager.__getstate__()
        extra["0.14.1"]["blocks"][0]["values"] = copy
        return copyreg.__newobj__, (type(manager),), (axes, [copy], items, extra)  # type: ignore[attr-defined]

    def _own_values(self, values: Any) -> Any | None:
        """Guard the arrays of a block's values; a copy of them if another owner of the stream has them."""
        arrays = owned_arrays(values) if copies_on_write() else []
        ids = set(map(id, arrays))
        if not ids.isdisjoint(self._owners | self._indexed):
            copy = values.copy()
            self.kept.append(copy)
            return copy
        self._owners |= ids
        for array in arrays:
            self.places.guard(array)
        return None

    def index(self, index: Any) -> Any:
        """An index: its arrays may serve other indexes, never a block."""
        arrays = owned_arrays(index) if copies_on_write() else []
        ids = set(map(id, arrays))
        if not ids.isdisjoint(self._owners):
            copy = index.copy(deep=True)
            self.kept.append(copy)
            return copy.__reduce__()
        self._indexed |= ids
        for array in arrays:
            self.places.freeze(array)
        return NotImplemented


class SessionUnpickler(pickle.Unpickler):
    """Reads streams; a name of the notebook is never looked up, since its values go by value."""

    def find_class(self, module: str, name: str) -> Any:
        """Import a name, unless it is the notebook's."""
        if module in ("__main__", "__mp_main__"):
            raise pickle.UnpicklingError(f"{name} was stored by its name in the notebook")
        return super().find_class(module, name)


# --- kinds with a way of their own ------------------------------------------------------------------------

_PICKLES_WELL = frozenset({DRAWN, "tensor outside of plain memory"})
_LENDERS = frozenset({bytearray, memoryview})


def _as_pickle_does(pickler: SessionPickler, value: object) -> Any:
    constant = constant_of(value)
    return NotImplemented if constant is None else (functions.find_constant, constant)


def _refuse(reason: str) -> Callable[[SessionPickler, Any], Any]:
    def refuse(pickler: SessionPickler, value: object) -> Any:
        if value is sys.stdout or value is sys.stderr:
            return NotImplemented
        raise Unstorable.kind(f"{'an' if reason[0] in 'aeiou' else 'a'} {reason}")

    return refuse


def _array_kind(pickler: SessionPickler, value: Any) -> Any:
    plain = sys.modules["numpy"].ndarray
    kind = type(value)
    if kind is plain:
        return pickler.array(value)
    if full_name(kind) == "numpy.ma.MaskedArray":
        elements = plain.view(value, plain)
        pickler.kept.append(elements)
        return reduce_masked(value, elements)
    pickler.places.foreign(value)
    if all(
        getattr(kind, hook) == getattr(plain, hook)
        for hook in ("__reduce__", "__reduce_ex__", "__setstate__")
    ):
        if slots(value):
            raise Unstorable.kind(f"{full_name(kind)}, an array with slots,")
        if attributes := instance_dict(value):
            return reduce_with_attributes(value, attributes)
    return _otherwise(pickler, value)


def _module(pickler: SessionPickler, value: ModuleType) -> Any:
    if sys.modules.get(value.__dict__.get("__name__", "")) is not value or value.__name__ == "__main__":
        raise Unstorable.kind("a module that cannot be imported")
    return cloudpickle.Pickler.reducer_override(pickler, value)


def _tensor(pickler: SessionPickler, value: Any) -> Any:
    if value.grad_fn is not None:
        raise Unstorable.kind("a tensor with a gradient graph")
    if tensors.plain(value):
        return tensors.reduce_tensor(value, pickler.memory(value.untyped_storage()))
    if value.device.type == "cpu" and not value.is_sparse:
        low = value.untyped_storage().data_ptr()
        pickler.places.foreign_range(low, low + value.untyped_storage().nbytes())
    return _otherwise(pickler, value)


def _table(pickler: SessionPickler, value: Any) -> Any:
    if strays := stray_attributes(value):
        raise Unstorable.kind(f"a {type(value).__name__} with the attribute {strays[0]!r}")
    return _otherwise(pickler, value)


def _otherwise(pickler: SessionPickler, value: Any) -> Any:
    # A subclass made in the notebook may customise pickling on top of what its base is known for.
    name = suspect(type(value))
    if name is not None:
        pickler.suspects.add(name)
    return NotImplemented


def _exception(pickler: SessionPickler, value: BaseException) -> Any:
    parts = BaseException.__dict__
    if any(parts[name].__get__(value) is not None for name in ("__traceback__", "__cause__", "__context__")):
        raise Unstorable.kind("an exception with a traceback or a cause")
    return _otherwise(pickler, value)


def _method(pickler: SessionPickler, value: MethodType) -> Any:
    if functions.finds_method(value.__self__, value.__func__):
        return functions.make_method, (value.__self__, value.__func__.__name__)
    return MethodType, (value.__func__, value.__self__)


def _lru_cache(pickler: SessionPickler, value: Any) -> Any:
    if function_home(value.__wrapped__, pickler.namespace) not in ("notebook", "unknown"):
        return NotImplemented
    if any(value.cache_info()[:2]) or value.cache_info().currsize:
        raise Unstorable.kind("a cache that was used")
    known = value.cache_parameters()
    return functions.make_cache, (value.__wrapped__, known["maxsize"], known["typed"]), dict(value.__dict__)


def _code(pickler: SessionPickler, value: CodeType) -> Any:
    # cloudpickle leaves out the file name, by which tracebacks and `inspect` find the text
    _, arguments = pickler.dispatch_table[CodeType](value)
    return functions.make_code, (value.co_filename, *arguments)


def _cached_property(pickler: SessionPickler, value: functools.cached_property[Any]) -> Any:
    return functions.make_cached_property, (value.func, value.attrname, value.__doc__)


def _file(pickler: SessionPickler, value: Any) -> Any:
    description = described(value)
    return _refuse("open file")(pickler, value) if description is None else (closed, description)


def _mapping_proxy(pickler: SessionPickler, value: Any) -> Any:
    return MappingProxyType, (gc.get_referents(value)[0],)


_KINDS: dict[str, Callable[[SessionPickler, Any], Any]] = {
    "builtins.function": SessionPickler.function,
    "builtins.cell": SessionPickler.cell,
    "builtins.code": _code,
    "builtins.module": _module,
    "builtins.method": _method,
    "builtins.memoryview": _refuse("memoryview"),
    "builtins.mappingproxy": _mapping_proxy,
    # their reducers make copies of what they are views of
    **{f"builtins.{d}dict_{v}": _refuse("dict view") for d in ("", "o") for v in ("keys", "values", "items")},
    **{
        f"weakref.{kind}": _refuse("weak container")
        for kind in ("WeakValueDictionary", "WeakKeyDictionary", "WeakSet", "finalize", "WeakMethod")
    },
    "_weakrefset.WeakSet": _refuse("weak container"),
    "builtins.BaseException": _exception,
    **{
        f"_io.{kind}": _file
        for kind in ("TextIOWrapper", "BufferedReader", "BufferedWriter", "BufferedRandom")
    },
    "functools._lru_cache_wrapper": _lru_cache,
    "functools.cached_property": _cached_property,
    "typing.NewType": lambda _, value: (
        typing.NewType,
        (value.__name__, value.__supertype__),
        value.__dict__,
    ),
    "numpy.memmap": _refuse("memory map"),
    "numpy.ndarray": _array_kind,
    "provcrt_kernel.session.memory.Hull": lambda pickler, hull: pickler.owned(hull.__reduce__()),
    "provcrt_kernel.session.tensors.Memory": lambda pickler, memory: pickler.owned(memory.__reduce__()),
    "pandas.core.internals.blocks.Block": SessionPickler.block,
    "pandas.core.internals.managers.SingleBlockManager": SessionPickler.series,
    "pandas.Index": SessionPickler.index,
    "pandas.core.indexes.base.Index": SessionPickler.index,
    "pandas.DataFrame": _table,
    "pandas.core.frame.DataFrame": _table,
    "pandas.Series": _table,
    "pandas.core.series.Series": _table,
    "torch.Tensor": _tensor,
}
