"""What a reader could find out about every variable, as text: types, values, order, identity and shared memory.

Written apart from the code under test: it shares no walk, no digest and no notion of a co-variable with it.
"""

from __future__ import annotations

import collections
import decimal
import enum
import functools
import io
import logging
import os
import random
import re
import sys
import types
import warnings
import weakref
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from traitlets import HasTraits

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), type(NotImplemented), range)
_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{6,}")
_OF_CLASSES = frozenset(
    {"__doc__", "__dict__", "__weakref__", "__module__", "__firstlineno__", "__static_attributes__"}
    | {"__slotnames__"}  # what copyreg notes when it pickles an instance
)
_ITERATORS = (
    type(iter([])),
    type(reversed([])),
    type(iter(())),
    type(iter("")),
    type(iter(range(0))),
    enumerate,
    zip,
    map,
    filter,
)
_HIDDEN = re.compile(r"_.*|In|Out|exit|quit|get_ipython|open")
_FROM_CELLS = "__main__"
#: Numbers in an array or column that are written out; of more, their checksum.
_LONG = 1000


class Structure:
    """Text of object graphs; what was met before is a reference to its first visit."""

    def __init__(self, local: Iterable[str], indexes: Iterable[pd.Index] = ()) -> None:
        self._indexes = list(indexes)
        self._numbers: dict[int, int] = {}
        self._alive: list[object] = []
        self._arrays: list[tuple[int, int]] = []
        self._local = set(local)

    def of(self, value: Any) -> str:
        """The text of one value."""
        kind = type(value)
        if kind in _ATOMS:
            return f"{kind.__name__} {value!r}"
        if isinstance(
            value, np.generic | np.dtype | pd.Timestamp | pd.Timedelta | re.Pattern | decimal.Decimal
        ):
            return f"{kind.__name__} {value!r}"
        if kind is tuple:
            return f"({', '.join(map(self.of, value))})"
        if kind is frozenset:
            return f"frozenset({', '.join(map(self.of, value))})"
        if isinstance(value, types.CodeType):
            return self._code(value)
        if isinstance(value, types.ModuleType) and value.__name__ not in self._local:
            return f"module {value.__name__}"
        if isinstance(value, type) and value.__module__ not in (_FROM_CELLS, *self._local):
            return f"class {value.__module__}.{value.__qualname__}"
        if isinstance(value, types.BuiltinFunctionType) and isinstance(value.__self__, types.ModuleType):
            return f"builtin {value.__name__}"
        number = self._numbers.get(id(value))
        if number is not None:
            return f"@{number}"
        self._numbers[id(value)] = number = len(self._numbers)
        self._alive.append(value)
        return f"#{number} {self._body(kind, value)}"

    def _body(self, kind: type, value: Any) -> str:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if isinstance(value, np.ndarray):
            return f"{name} {self._array(value)}"
        if isinstance(value, pd.DataFrame):
            columns = ", ".join(self._column(value.iloc[:, i]) for i in range(value.shape[1]))
            return f"frame {self._axis(value.index)} {self._axis(value.columns)} [{columns}] {value.attrs}"
        if isinstance(value, pd.Series):
            return f"series {value.name!r} {self._axis(value.index)} {self._column(value)} {value.attrs}"
        if isinstance(value, pd.Index):
            return f"{name} {value.dtype} {value.names} {list(value)!r}"
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return self._class(value)
        if isinstance(value, types.ModuleType):
            return f"module {value.__name__} {self._own(vars(value))}"
        if isinstance(value, types.GeneratorType):
            frame = value.gi_frame
            at = "finished" if frame is None else f"{frame.f_lasti} {self._own(frame.f_locals)}"
            return f"generator {value.__qualname__} at {at}"
        if isinstance(value, functools._lru_cache_wrapper):
            return f"cached {self.of(value.__wrapped__)} {value.cache_info()}"
        if isinstance(value, random.Random):
            return f"{name} {_short(value.getstate())}"
        if isinstance(value, np.random.Generator):
            return f"{name} {_short(value.bit_generator.state)}"
        if isinstance(value, np.random.RandomState):
            return f"{name} {_short(value.get_state(legacy=False))}"
        if isinstance(value, io.IOBase) and not isinstance(value, io.StringIO | io.BytesIO):
            place = value.closed or (value.tell() if value.seekable() else "at a pipe")
            return f"{name} {getattr(value, 'mode', '')} {place}"
        if isinstance(value, HasTraits):
            return name  # the kernel and its shell, which a thread refers to by ``sys.excepthook``
        if isinstance(value, logging.Logger):
            return f"{name} {value.name} {value.level} {len(value.handlers)} handlers"
        if isinstance(value, weakref.ref):
            return f"{name} {self.of(value())}"
        if isinstance(value, weakref.WeakValueDictionary | weakref.WeakKeyDictionary):
            return f"{name} {self.of(sorted(value.items(), key=repr))}"
        if isinstance(value, _ITERATORS):
            return f"{name} {', '.join(map(self.of, value.__reduce__()[1:]))}"
        return f"{name} {self._content(value)} {self._attributes(value)}"

    def _axis(self, index: pd.Index) -> str:
        """An index of a table; its content alone, where no variable is it: tables hand theirs on as one does immutable things."""
        if id(index) in self._numbers or any(index is other for other in self._indexes):
            return self.of(index)
        return self._body(type(index), index)

    def _content(self, value: Any) -> str:
        if isinstance(value, dict):
            made = getattr(value, "default_factory", None)
            pairs = ", ".join(f"{self.of(k)}: {self.of(v)}" for k, v in dict.items(value))
            return f"{{{pairs}}}" + (f" makes {self.of(made)}" if made else "")
        if isinstance(value, set) and not all(type(v) in (int, str) for v in value):
            return f"{len(value)} members"  # in the order of their addresses
        if isinstance(value, list | tuple | set | frozenset | collections.deque):
            return f"[{', '.join(map(self.of, list(value)))}]"
        if isinstance(value, str | bytes | bytearray | int | float):
            return repr(value)
        if isinstance(value, BaseException):
            return f"{self.of(value.args)} caused by {self.of(value.__cause__)}"
        if isinstance(value, functools.partial):
            return self.of((value.func, value.args, value.keywords))
        if isinstance(value, types.MethodType):
            return f"{value.__func__.__qualname__} of {self.of(value.__self__)}"
        if isinstance(value, property):
            return self.of((value.fget, value.fset))
        if isinstance(value, staticmethod | classmethod):
            return self.of(value.__func__)
        if isinstance(value, types.CellType):
            return self.of(value.cell_contents) if _filled(value) else "empty"
        if isinstance(value, io.StringIO | io.BytesIO):
            return "closed" if value.closed else f"{value.getvalue()!r} at {value.tell()}"
        if type(value).__module__ == _FROM_CELLS or hasattr(value, "__dict__"):
            return ""
        return _ADDRESS.sub("0x…", repr(value))

    def _attributes(self, value: Any) -> str:
        found = dict(getattr(value, "__dict__", None) or {})
        for kind in type(value).__mro__:
            slots = kind.__dict__.get("__slots__", ()) if kind.__module__ == _FROM_CELLS else ()
            for name in [slots] if isinstance(slots, str) else slots:
                if not name.startswith("__") and hasattr(value, name):
                    found[name] = getattr(value, name)
        return self._own(found) if found else ""

    def _own(self, found: Mapping[str, Any]) -> str:
        return ", ".join(f"{n}={self.of(v)}" for n, v in list(found.items()) if not n.startswith("__"))

    def _function(self, value: types.FunctionType) -> str:
        closure = ", ".join(map(self.of, value.__closure__ or ()))
        where = "cells" if value.__globals__ is sys.modules[_FROM_CELLS].__dict__ else value.__module__
        return (
            f"function {value.__qualname__} in {where} {self._code(value.__code__)} "
            f"{self.of(value.__defaults__)} {self.of(value.__kwdefaults__)} [{closure}] "
            f"{value.__doc__!r} {self.of(value.__annotations__)} {self.of(value.__dict__)}"
        )

    def _code(self, code: types.CodeType) -> str:
        names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars)
        return f"code {names} {zlib.crc32(code.co_code)} {', '.join(map(self.of, code.co_consts))}"

    def _class(self, value: type) -> str:
        own = {n: v for n, v in vars(value).items() if n not in _OF_CLASSES}
        # slots are found again in the instances
        own = {n: v for n, v in own.items() if not isinstance(v, types.MemberDescriptorType)}
        if isinstance(value, enum.EnumType) or "__slots__" in own:
            # made in two steps, and a class that comes back in one
            own = dict(sorted(own.items()))
        body = ", ".join(f"{n}={self.of(v)}" for n, v in own.items())
        return f"class {value.__qualname__} {value.__doc__!r} {self.of(value.__bases__)} {body}"

    def _column(self, value: Any) -> str:
        if len(value) > _LONG and value.dtype.kind in "biufcMm":
            return f"{value.dtype} {zlib.crc32(value.to_numpy().tobytes()):08x}"
        return f"{value.dtype} {[self.of(v) for v in value.array]}"

    def _array(self, value: np.ndarray[Any, Any]) -> str:
        low, high = np.lib.array_utils.byte_bounds(value)
        shared = [
            f"{i}{low - start:+}" for i, (start, end) in enumerate(self._arrays) if low < end and start < high
        ]
        self._arrays.append((low, high))
        # nobody steps along an axis of one element
        strides = tuple(
            0 if length == 1 else step for length, step in zip(value.shape, value.strides, strict=True)
        )
        items = self.of(value.tolist()) if value.dtype == object else self._items(value)
        return (
            f"{value.dtype.str} {value.shape} {strides} {value.flags.writeable} {items} "
            f"on {shared} {self._attributes(value)}"
        )

    @staticmethod
    def _items(value: np.ndarray[Any, Any]) -> str:
        return f"{value.tolist()!r}" if value.size <= _LONG else f"{zlib.crc32(value.tobytes()):08x}"


def variables(namespace: Mapping[str, Any], local: Iterable[str] = ()) -> dict[str, str]:
    """The text of every variable of a notebook, in the order of their names."""
    text = Structure(
        local,
        [
            v
            for v in namespace.values()
            if type(v).__module__.startswith("pandas") and isinstance(v, pd.Index)
        ],
    )
    names = sorted(n for n in namespace if not _HIDDEN.fullmatch(n))
    return {name: text.of(namespace[name]) for name in names}


class Surroundings:
    """Settings outside of the namespace, as they differ from when the session began."""

    def __init__(self) -> None:
        self._filters = [repr(f) for f in warnings.filters]
        self._path = list(sys.path)

    def now(self) -> dict[str, str]:
        """Each setting as text."""
        found = {
            "random": _short(random.getstate()),
            "numpy.random": _short(np.random.get_state(legacy=False)),
            "environ": repr(sorted((n, v) for n, v in os.environ.items() if n.startswith("SWEEP"))),
            "cwd": os.getcwd(),
            "numpy": repr(sorted(np.get_printoptions().items())) + repr(np.geterr()),
            "pandas": repr((pd.get_option("display.max_rows"), pd.get_option("display.precision"))),
            "warnings": repr([f for f in map(repr, warnings.filters) if f not in self._filters]),
            "path": repr([p for p in sys.path if p not in self._path]),
            "decimal": repr(decimal.getcontext().prec),
            "recursion": repr(sys.getrecursionlimit()),
        }
        return {name: _ADDRESS.sub("0x…", text) for name, text in found.items()}


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents
    except ValueError:
        return False
    return True


def _short(state: Any) -> str:
    return f"{zlib.crc32(repr(state).encode()):08x}"
