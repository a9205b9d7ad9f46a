"""Functions of the notebook as streams keep them: rebuilt on the live namespace.

A loaded function's globals are the namespace itself, so it sees later rebinding; two closures over one cell
still share it; ``inspect.getsource`` finds the text of its cell, which travels once per stream.
"""

from __future__ import annotations

import functools
import sys
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

from .classes import live_namespace
from .homes import dict_of, mro_of
from .places import here
from .texts import remember_text


def make_function(
    code: CodeType, home: str | None, name: str, cells: tuple[CellType, ...] | None, source: str | None
) -> FunctionType:
    """Called by a stream: a function on the live namespace, or on the globals of the module called `home`."""
    code, source = here.moved(code, source)
    remember_text(code.co_filename, source)
    if home is None:
        scope = live_namespace()
    else:
        __import__(home)
        scope = sys.modules[home].__dict__
    return FunctionType(code, scope, name, None, cells)


def make_code(filename: str, *arguments: Any) -> CodeType:
    """Called by a stream: code as `CodeType` takes it, under the file name that it was compiled with."""
    return CodeType(*arguments).replace(co_filename=filename)


def make_cell() -> CellType:
    """Called by a stream: an empty cell; its content comes with the state of what closes over it."""
    return CellType()


def fill_cell(cell: CellType, content: tuple[Any, ...]) -> None:
    """Called by a stream: the content of a cell that stands alone; ``()`` leaves it empty."""
    if content:
        cell.cell_contents = content[0]


def function_state(function: FunctionType) -> tuple[dict[str, Any], dict[str, Any], tuple[Any, ...]]:
    """What a function holds besides its code: attributes, ``__dict__`` and the contents of its cells."""
    attributes = {
        "__qualname__": function.__qualname__,
        "__module__": function.__module__,
        "__doc__": function.__doc__,
        "__defaults__": function.__defaults__,
        "__kwdefaults__": function.__kwdefaults__,
        "__annotations__": function.__annotations__,
    }
    cells = tuple((cell, cell_content(cell)) for cell in function.__closure__ or ())
    return attributes, function.__dict__, cells


def cell_content(cell: CellType) -> tuple[Any, ...]:
    """The content of a cell as a tuple of one, or ``()`` for an empty cell."""
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def fill_function(
    function: FunctionType,
    state: tuple[dict[str, Any], dict[str, Any], tuple[tuple[CellType, tuple[Any, ...]], ...]],
) -> None:
    """Called by a stream: what `function_state` told."""
    attributes, own, cells = state
    for name, value in attributes.items():
        setattr(function, name, value)
    function.__dict__.update(own)
    for cell, content in cells:
        fill_cell(cell, content)


def make_cache(function: Any, maxsize: int | None, typed: bool) -> Any:
    """Called by a stream: an empty ``lru_cache`` round `function`."""
    return functools.lru_cache(maxsize, typed)(function)


def find_constant(module: str, name: str) -> Any:
    """Called by a stream: a library's constant, such as ``dataclasses.MISSING``."""
    __import__(module)
    found = getattr(sys.modules[module], name.removesuffix("()"))
    return found() if name.endswith("()") else found


def make_cached_property(function: Any, name: str | None, doc: str | None) -> functools.cached_property[Any]:
    """Called by a stream: a ``cached_property`` with a lock of its own."""
    made = functools.cached_property(function)
    made.attrname, made.__doc__ = name, doc
    return made


def finds_method(owner: object, function: object) -> bool:
    """Whether `function` is what the class of `owner` (or `owner`, a class) has under its name."""
    return type(function) is FunctionType and _method_of(owner, function.__name__) is function


def make_method(owner: object, name: str) -> MethodType:
    """Called by a stream: a method bound again, of the class that is live now."""
    found = _method_of(owner, name)
    if found is None:
        raise LookupError(f"no method {name}")
    return MethodType(found, owner)


def _method_of(owner: object, name: str) -> Any:
    for cls in (type(owner), owner):
        if isinstance(cls, type):
            for base in mro_of(cls):
                found = dict_of(base).get(name)
                if found is not None:
                    return found.__func__ if type(found) is classmethod else found
    return None
