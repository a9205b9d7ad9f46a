"""How values of the standard library are visited: by what they hold, private caches and locks left out."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import fractions
import functools
import gc
import itertools
import logging
import pathlib
import pickle
import re
import sys
import types
import typing
import uuid
import weakref
from typing import Any

from .closed import described
from .definitions import class_token
from .homes import class_home, dict_of, module_of, mro_of
from .objects import HANDLERS_OF_BASES, instance, instance_dict, state
from .walk import Walker, handles, handles_named, members


@handles(bytearray)
def _bytearray(walker: Walker, value: bytearray) -> None:
    if not walker.seen(value):
        walker.token(b"y")
        _lent(walker, value)
        walker.content(value, len(value))


def _lent(walker: Walker, value: Any) -> None:
    """Note memory on which NumPy may have made arrays."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and len(value) and walker.fresh is None:
        low = numpy.frombuffer(value, numpy.uint8).__array_interface__["data"][0]
        walker.buffers.append((low, low + memoryview(value).nbytes))


@handles(memoryview)
def _memoryview(walker: Walker, value: memoryview) -> None:
    if walker.seen(value):
        return
    walker.token(b"v", value.format, value.shape, value.readonly)
    walker.content(value if value.c_contiguous else value.tobytes(), value.nbytes)
    walker.real((value.obj,))


@handles(pickle.PickleBuffer)
def _pickle_buffer(walker: Walker, value: pickle.PickleBuffer) -> None:
    with value.raw() as raw:
        walker.token(b"P")
        walker.content(raw, raw.nbytes)


@handles(array.array)
def _array(walker: Walker, value: array.array[Any]) -> None:
    if not walker.seen(value):
        walker.token(b"a", value.typecode)
        _lent(walker, value)
        walker.content(value if len(value) else b"", len(value) * value.itemsize)


@handles(range)
def _range(walker: Walker, value: range) -> None:
    walker.token(b"r", value.start, value.stop, value.step)


@handles(slice)
def _slice(walker: Walker, value: slice) -> None:
    walker.token(b"l")
    for part in (value.start, value.stop, value.step):
        walker.walk(part)


@handles(type(Ellipsis), type(NotImplemented))
def _singleton(walker: Walker, value: object) -> None:
    walker.token(b"1", type(value).__name__)


@handles(datetime.date, datetime.time, datetime.datetime)
def _moment(walker: Walker, value: datetime.date | datetime.time) -> None:
    walker.token(b"h", type(value).__name__, value.isoformat(), getattr(value, "fold", 0))
    walker.walk(getattr(value, "tzinfo", None))


@handles(datetime.timedelta)
def _duration(walker: Walker, value: datetime.timedelta) -> None:
    walker.token(b"u", value.days, value.seconds, value.microseconds)


@handles(decimal.Decimal, fractions.Fraction, uuid.UUID)
def _number(walker: Walker, value: object) -> None:
    walker.token(b"N", type(value).__name__, str(value))


@handles(pathlib.PosixPath, pathlib.PurePosixPath, pathlib.PureWindowsPath)
def _path(walker: Walker, value: pathlib.PurePath) -> None:
    walker.token(b"q", type(value).__name__, str(value))


@handles(re.Pattern)
def _pattern(walker: Walker, value: re.Pattern[Any]) -> None:
    walker.token(b"x", value.pattern, value.flags)


@handles(types.MappingProxyType)
def _proxy(walker: Walker, value: types.MappingProxyType[Any, Any]) -> None:
    if not len(value):  # the one that every dataclass shares
        walker.token(b"X", 0)
    elif not walker.met(value):
        walker.token(b"X", len(value))
        walker.real((_mapping_behind(value),))


def _mapping_behind(value: types.MappingProxyType[Any, Any]) -> object:
    held = gc.get_referents(value)
    return held[0] if held else None


@handles(types.MethodType)
def _bound(walker: Walker, value: types.MethodType) -> None:
    if not walker.met(value):
        walker.token(b"e")
        walker.real((value.__func__, value.__self__))


@handles(functools.partial)
def _partial(walker: Walker, value: functools.partial[Any]) -> None:
    if not walker.seen(value):
        walker.token(b"i")
        walker.real((value.func, value.args, value.keywords))
        state(walker, value)


@handles(functools.cached_property)
def _cached_property(walker: Walker, value: functools.cached_property[Any]) -> None:
    if not walker.met(value):  # its lock is nobody's business
        walker.token(b"j", value.attrname, value.__doc__)
        walker.real((value.func,))


@handles(functools._lru_cache_wrapper)
def _lru_cache(walker: Walker, value: Any) -> None:
    if walker.seen(value):
        return
    walker.token(b"w")
    walker.real((value.__wrapped__,))
    walker.temporary(value.cache_parameters())
    if any(value.cache_info()[:2]) or value.cache_info().currsize:
        walker.without_value("cache that was used")


UNCHANGING = (
    *(
        "pandas._libs.missing.C_NAType",
        "pandas._libs.tslibs.nattype.NaTType",
        "pandas._libs.tslibs.nattype._NaT",
    ),
    *("pandas._libs.tslibs.timestamps._Timestamp", "pandas._libs.tslibs.timedeltas._Timedelta"),
    *("pandas._libs.tslibs.period._Period", "pandas._libs.tslibs.offsets.BaseOffset"),
    *("dataclasses._FIELD_BASE", "pyarrow.lib.DataType", "pyarrow.lib.Field", "pyarrow.lib.Schema"),
    *("pandas._libs.interval.Interval", "pandas.Interval", "pandas.api.extensions.ExtensionDtype"),
    *("pandas.core.dtypes.base.ExtensionDtype", "numpy.ufunc", "datetime.tzinfo", "types.GenericAlias"),
    *(
        "numpy.dtype",
        "enum.Enum",
        "types.UnionType",
        "typing._Final",
        "ipaddress._IPAddressBase",
        "ipaddress._BaseNetwork",
    ),
)


"""Full names of base classes whose instances nobody changes."""


@handles_named(*UNCHANGING)
def _unchanging(walker: Walker, value: object) -> None:
    """Objects that nobody changes: slots that hold the same one share nothing."""
    known = id(value) in walker.memo
    instance(walker, value)
    if not known and class_home(type(value)) != "notebook":
        walker.objects.discard(id(value))
        walker.objects.discard(id(instance_dict(value)))


@handles(weakref.ReferenceType)
@handles_named(
    "weakref.ReferenceType"
)  # a WeakValueDictionary holds references of a class of its own, with the key
def _weak(walker: Walker, value: weakref.ReferenceType[Any]) -> None:
    walker.token(b"W", type(value).__name__)
    walker.walk(weakref.ReferenceType.__call__(value))
    if type(value) is not weakref.ReferenceType:
        state(walker, value)


@handles(itertools.count, itertools.repeat, itertools.cycle)
def _endless(walker: Walker, value: object) -> None:
    if not walker.seen(value):
        walker.without_value("iterator")


@handles(logging.Logger, logging.RootLogger)
def _logger(walker: Walker, value: logging.Logger) -> None:
    walker.token(b"O", value.name, value.level, value.disabled)


@handles(typing.NewType)
def _new_type(walker: Walker, value: Any) -> None:
    if not walker.met(value):
        walker.token(b"J", value.__name__, value.__module__)
        walker.real((value.__supertype__,))


@handles(typing.TypeVar)
def _type_variable(walker: Walker, value: Any) -> None:
    if not walker.met(value):
        walker.token(b"V", value.__name__, value.__covariant__, value.__contravariant__)
        walker.real((value.__bound__, value.__constraints__))


@handles_named("open file")
def _stream(walker: Walker, value: object) -> None:
    for name in ("stdin", "stdout", "stderr"):
        if value is getattr(sys, name) or value is getattr(sys, f"__{name}__"):
            walker.token(b"E", name)
            return
    if walker.seen(value):
        return
    description = described(value)
    if description is None:
        walker.without_value("open file")
    else:
        walker.token(b"C", type(value).__name__)
        walker.temporary(description)


# --- built-in types that classes of the notebook extend: their content, without what the class adds -------


# Each takes the base whose content it reads, by that base's own methods: overrides are not called.


def _sequence_content(walker: Walker, value: Any, base: Any) -> None:
    items = [base.__getitem__(value, at) for at in range(base.__len__(value))]
    walker.token(b"L", base.__name__, len(items))
    for item in items:
        walker.walk(item)


def _mapping_content(walker: Walker, value: Any, base: Any) -> None:
    walker.token(b"D", base.__name__, dict.__len__(value))
    for key, item in list(base.items(value)):
        walker.walk(key)
        walker.walk(item)
    if base is collections.defaultdict:
        walker.walk(base.__dict__["default_factory"].__get__(value))


def _deque_content(walker: Walker, value: Any, base: Any) -> None:
    walker.token(b"Q", base.__dict__["maxlen"].__get__(value), base.__len__(value))
    for item in list(base.__iter__(value)):
        walker.walk(item)


def _set_content(walker: Walker, value: Any, base: Any) -> None:
    members(walker, b"S" + base.__name__.encode(), list(base.__iter__(value)))


def _number_content(walker: Walker, value: Any, base: Any) -> None:
    walker.token(b"A", (base.__pos__ if base is complex else base.__dict__[f"__{base.__name__}__"])(value))


def _text_content(walker: Walker, value: Any, base: Any) -> None:
    walker.token(b"A", base.__getitem__(value, slice(None)))


def _bytearray_content(walker: Walker, value: Any, base: Any) -> None:
    walker.token(b"y")
    walker.content(memoryview(value), base.__len__(value))


def _exception_content(walker: Walker, value: BaseException, base: Any) -> None:
    parts = base.__dict__
    walker.walk(parts["args"].__get__(value))
    for kind in mro_of(type(value)):
        if module_of(kind) == "builtins" and kind not in (BaseException, Exception, object):
            for name, item in dict_of(kind).items():
                if type(item) is types.MemberDescriptorType or type(item) is types.GetSetDescriptorType:
                    walker.atom(name)
                    try:
                        walker.walk(item.__get__(value))
                    except AttributeError:
                        walker.token(b"0")
    for name in ("__cause__", "__context__", "__suppress_context__"):
        walker.walk(parts[name].__get__(value))
    if parts["__traceback__"].__get__(value) is not None:
        walker.without_value("exception with a traceback")


def _moment_content(walker: Walker, value: Any, base: Any) -> None:
    walker.token(b"h", base.__name__, base.isoformat(value))
    if base is not datetime.date:
        walker.atom(base.__dict__["fold"].__get__(value))
        walker.walk(base.__dict__["tzinfo"].__get__(value))


for _content, *_bases in (
    (_sequence_content, list, tuple),
    (_mapping_content, collections.OrderedDict, collections.defaultdict, dict),
    (_deque_content, collections.deque),
    (_set_content, set, frozenset),
    (_number_content, int, float, complex),
    (_text_content, str, bytes),
    (_bytearray_content, bytearray),
    (_moment_content, datetime.datetime, datetime.date, datetime.time),
    (_exception_content, BaseException),
):
    HANDLERS_OF_BASES.update(dict.fromkeys(_bases, _content))


@handles(collections.OrderedDict, collections.defaultdict, collections.Counter, collections.deque)
def _collection(walker: Walker, value: Any) -> None:
    if walker.seen(value):
        return
    class_token(walker, type(value))
    base = next(kind for kind in type(value).__mro__ if kind in HANDLERS_OF_BASES)
    HANDLERS_OF_BASES[base](walker, value, base)
    state(walker, value)


@handles(types.SimpleNamespace)
def _simple_namespace(walker: Walker, value: types.SimpleNamespace) -> None:
    if not walker.seen(value):
        walker.token(b"H")
        walker.real((value.__dict__,))
