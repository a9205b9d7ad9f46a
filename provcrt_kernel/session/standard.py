"""How values of the standard library are visited: by what they hold, their private caches and locks left out."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import fractions
import functools
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

from .objects import HANDLERS_OF_BASES, class_token, state
from .walk import Walker, handles, handles_named, members


@handles(bytearray)
def _bytearray(walker: Walker, value: bytearray) -> None:
    if not walker.seen(value):
        walker.token(b"y")
        walker.content(value, len(value))


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
    if not walker.seen(value):
        walker.token(b"X")
        walker.real((_mapping_behind(value),))


def _mapping_behind(value: types.MappingProxyType[Any, Any]) -> object:
    import gc

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
        walker.real((value.func, value.args, value.keywords, value.__dict__))


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
    walker.real((value.__wrapped__, value.cache_parameters()))
    if any(value.cache_info()[:2]) or value.cache_info().currsize:
        walker.without_value("cache that was used")


@handles(weakref.ReferenceType)
def _weak(walker: Walker, value: weakref.ReferenceType[Any]) -> None:
    walker.token(b"W")
    walker.walk(value())


@handles(itertools.count, itertools.repeat, itertools.cycle)
def _endless(walker: Walker, value: object) -> None:
    if not walker.seen(value):
        walker.without_value("iterator")


@handles(logging.Logger, logging.RootLogger)
def _logger(walker: Walker, value: logging.Logger) -> None:
    walker.token(b"O", value.name, value.level, value.disabled)


@handles(typing.TypeVar)
def _type_variable(walker: Walker, value: Any) -> None:
    if not walker.met(value):
        walker.token(b"V", value.__name__, value.__covariant__, value.__contravariant__)
        walker.real((value.__bound__, value.__constraints__))


@handles_named("open file")
def _stream(walker: Walker, value: object) -> None:
    for name in ("stdin", "stdout", "stderr"):
        if value in (getattr(sys, name), getattr(sys, f"__{name}__")):
            walker.token(b"E", name)
            return
    if not walker.seen(value):
        walker.without_value("open file")


# --- built-in types that classes of the notebook extend: their content, without what the class adds ------------------


def _sequence_content(walker: Walker, value: Any) -> None:
    base = list if isinstance(value, list) else tuple
    items = [base.__getitem__(value, at) for at in range(base.__len__(value))]
    walker.token(b"L", base.__name__, len(items))
    for item in items:
        walker.walk(item)


def _mapping_content(walker: Walker, value: Any) -> None:
    base: Any = collections.OrderedDict if isinstance(value, collections.OrderedDict) else dict
    walker.token(b"D", base.__name__, dict.__len__(value))
    for key, item in list(base.items(value)):
        walker.walk(key)
        walker.walk(item)
    if isinstance(value, collections.defaultdict):
        walker.walk(collections.defaultdict.__dict__["default_factory"].__get__(value))


def _deque_content(walker: Walker, value: Any) -> None:
    walker.token(b"Q", collections.deque.__dict__["maxlen"].__get__(value), collections.deque.__len__(value))
    for item in list(collections.deque.__iter__(value)):
        walker.walk(item)


def _set_content(walker: Walker, value: Any) -> None:
    base: Any = set if isinstance(value, set) else frozenset
    members(walker, b"S" + base.__name__.encode(), list(base.__iter__(value)))


def _scalar_content(walker: Walker, value: Any) -> None:
    kind: Any = next(kind for kind in (int, float, complex, str, bytes) if isinstance(value, kind))
    plain = {
        int: lambda: int.__int__(value),
        float: lambda: float.__float__(value),
        complex: lambda: (
            complex.__complex__(value) if hasattr(complex, "__complex__") else complex.__pos__(value)
        ),
        str: lambda: str.__str__(value),
        bytes: lambda: bytes.__getitem__(value, slice(None)),
    }[kind]()
    walker.token(b"A", plain)


def _bytearray_content(walker: Walker, value: Any) -> None:
    walker.token(b"y")
    walker.content(memoryview(value), bytearray.__len__(value))


def _exception_content(walker: Walker, value: BaseException) -> None:
    parts = BaseException.__dict__
    walker.walk(parts["args"].__get__(value))
    for base in type(value).__mro__:
        if base.__module__ == "builtins" and base not in (BaseException, Exception, object):
            for name, item in base.__dict__.items():
                if isinstance(item, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                    walker.atom(name)
                    try:
                        walker.walk(item.__get__(value))
                    except AttributeError:
                        walker.token(b"0")
    walker.walk(parts["__cause__"].__get__(value))
    walker.walk(parts["__context__"].__get__(value))
    walker.walk(parts["__suppress_context__"].__get__(value))
    if parts["__traceback__"].__get__(value) is not None:
        walker.without_value("exception with a traceback")


def _moment_content(walker: Walker, value: Any) -> None:
    base: Any = next(
        kind for kind in (datetime.datetime, datetime.date, datetime.time) if isinstance(value, kind)
    )
    walker.token(b"h", base.__name__, base.isoformat(value))
    if base is not datetime.date:
        walker.atom(base.__dict__["fold"].__get__(value))
        walker.walk(base.__dict__["tzinfo"].__get__(value))


HANDLERS_OF_BASES.update(dict.fromkeys((list, tuple), _sequence_content))
HANDLERS_OF_BASES.update(
    dict.fromkeys((dict, collections.OrderedDict, collections.defaultdict), _mapping_content)
)
HANDLERS_OF_BASES.update(dict.fromkeys((set, frozenset), _set_content))
HANDLERS_OF_BASES.update(dict.fromkeys((int, float, complex, str, bytes), _scalar_content))
HANDLERS_OF_BASES.update(dict.fromkeys((datetime.datetime, datetime.date, datetime.time), _moment_content))
HANDLERS_OF_BASES[collections.deque] = _deque_content
HANDLERS_OF_BASES[bytearray] = _bytearray_content
HANDLERS_OF_BASES[BaseException] = _exception_content


@handles(collections.OrderedDict, collections.defaultdict, collections.Counter, collections.deque)
def _collection(walker: Walker, value: Any) -> None:
    if walker.seen(value):
        return
    class_token(walker, type(value))
    (_deque_content if isinstance(value, collections.deque) else _mapping_content)(walker, value)
    state(walker, value)


@handles(types.SimpleNamespace)
def _simple_namespace(walker: Walker, value: types.SimpleNamespace) -> None:
    if not walker.seen(value):
        walker.token(b"H")
        walker.real((value.__dict__,))
