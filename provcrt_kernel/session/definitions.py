"""How functions, classes and modules are visited.

What can be imported is a name (and a package, or a local module, to be checked elsewhere). What the notebook
defined is its content: code without line numbers, defaults, closures; bases and attributes of a class.
"""

from __future__ import annotations

import abc
import sys
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
)
from typing import Any, ForwardRef, cast

from .codes import ADDRESSES, CLOCK, SETTERS, facts
from .expressions import names_in
from .homes import bases_of, class_home, dict_of, function_home, home_of, module_of, qualname_of
from .opaque import full_name
from .walk import Walker, handles

SKIPPED = frozenset(
    (
        *("__dict__", "__weakref__", "__slotnames__", "__module__", "__qualname__", "__firstlineno__"),
        *("__static_attributes__", "_abc_impl", "__annotations_cache__", "_value2member_map_"),
        # pydantic makes them of fields and annotations, and names the class in them by its address
        *("__pydantic_core_schema__", "__pydantic_validator__", "__pydantic_serializer__"),
        "__pydantic_parent_namespace__",
    )
)
"""Attributes of a class that say nothing of it: caches, and what is written elsewhere."""


_ANY_NAME = (eval, exec, globals, locals, vars, dir, sys._getframe)
"""Functions that read any name of who calls them."""

_FUNCTIONS = (FunctionType, CellType, property, staticmethod, classmethod)

# --- functions --------------------------------------------------------------------------------------------


@handles(FunctionType)
def _function(walker: Walker, value: FunctionType) -> None:
    home = function_home(value, walker.namespace)
    if home not in ("notebook", "unknown"):
        _named(walker, b"f", home, value.__module__, value.__qualname__)
        if home == "local":
            walker.out.append(b"\xffC" + facts(value.__code__).digest)
        else:
            _setter(walker, value)
        return
    if walker.seen(value):
        return
    walker.token(b"F", value.__name__, value.__qualname__, home)
    code(walker, value.__code__, in_notebook=home == "notebook")
    if home == "unknown":
        _scope(walker, value)
    walker.real((value.__defaults__, value.__kwdefaults__, value.__doc__, value.__module__))
    walker.real((value.__annotations__, value.__dict__))
    _annotated(walker, value.__annotations__)
    walker.real(value.__closure__ or ())


def _annotated(walker: Walker, annotations: object) -> None:
    """Names in annotations that are texts: whoever asks for the types looks for them in the notebook."""
    for text in annotations.values() if type(annotations) is dict else ():
        if type(text) is str:
            walker.refs.update(names_in(text))


@handles(ForwardRef)
def _forward(walker: Walker, value: ForwardRef) -> None:
    if not walker.met(value):
        walker.token(b"forward", value.__forward_arg__)
        walker.refs.update(names_in(value.__forward_arg__))


def code(walker: Walker, value: CodeType, *, in_notebook: bool) -> None:
    """Write a code object and note the names it reads."""
    known = facts(value)
    walker.out.append(b"\xffC" + known.digest)
    for name in known.imports:
        note_module(walker, name)
    if not in_notebook:  # what a library's own code does is nobody's reading of the notebook
        return
    walker.clock |= known.clock
    walker.refs |= known.refs
    walker.refs.update(name.partition(".")[0] for name in known.imports)
    if known.wildcard:
        walker.refs.add("*")
    for name in known.clock_globals:
        # `time` is a clock if it is the function, not if it is the module of that name.
        bound = walker.namespace.get(name)
        if type(bound) is not ModuleType and (name not in ADDRESSES or bound is None):
            walker.clock.add(name)


def _scope(walker: Walker, value: FunctionType) -> None:
    """Globals of a function that a library made, or that ``exec`` defined in a dict of its own."""
    scope = value.__globals__
    name = scope.get("__name__")
    module = sys.modules.get(name) if type(name) is str else None
    if module is not None and module.__dict__ is scope:
        note_module(walker, str(name))
        walker.token(b"g", name)
        return
    if walker.seen(scope):
        return
    names = sorted(name for name in facts(value.__code__).refs if name in scope)
    walker.token(b"G", *names)
    walker.real(scope[name] for name in names)


@handles(CellType)
def _cell(walker: Walker, value: CellType) -> None:
    if walker.seen(value):
        return
    walker.token(b"c")
    try:
        content = value.cell_contents
    except ValueError:
        walker.token(b"e")
        return
    walker.walk(content)


@handles(CodeType)
def _code(walker: Walker, value: CodeType) -> None:
    code(walker, value, in_notebook=True)


@handles(BuiltinFunctionType)
def _builtin(walker: Walker, value: Any) -> None:
    owner = value.__self__
    if isinstance(owner, ModuleType) or owner is None:
        note_module(walker, value.__module__)
        walker.token(b"b", value.__module__, value.__qualname__)
        if value in _ANY_NAME:
            walker.refs.add("*")
        if value.__name__ in CLOCK and value.__module__ in ("time", "posix", "_uuid"):
            walker.clock.add(value.__name__)
        _setter(walker, value)
        return
    if walker.met(value):
        return
    walker.token(b"B", value.__name__)
    walker.real((owner,))


def _setter(walker: Walker, value: Any) -> None:
    """Note a library's function that changes a setting, by its dotted name."""
    if value.__qualname__ == value.__name__ and SETTERS.fullmatch(value.__name__):
        walker.clock.add(f"{value.__module__}.{value.__name__}")


def _named(walker: Walker, tag: bytes, home: str, module: object, qualname: object) -> None:
    note_module(walker, module)
    walker.token(tag, home, module if type(module) is str else None, qualname)


def note_module(walker: Walker, name: object) -> None:
    """Add the module called `name` to the packages or local modules met."""
    home = home_of(name)
    if type(name) is not str:
        return
    if home == "local":
        walker.modules.add(name)
    elif home == "package" or (home == "unknown" and name and not name.startswith(".")):
        walker.packages.add(name.partition(".")[0])


@handles(ModuleType)
def _module(walker: Walker, value: ModuleType) -> None:
    name = value.__dict__.get("__name__")
    if type(name) is str and sys.modules.get(name) is value:
        note_module(walker, name)
        if value.__dict__ is walker.namespace:
            walker.refs.add("*")
        walker.token(b"m", name)
    elif not walker.seen(value):
        walker.token(b"M", name)
        walker.real((value.__dict__,))


# --- classes ----------------------------------------------------------------------------------------------


@handles(type)
def visit_class(walker: Walker, value: type) -> None:
    """A class as a value: by name, or by content if the notebook defined it."""
    _class(walker, value)
    if class_home(value) == "notebook":
        own = walker.types.intersection(map(id, dict_of(value).values()))
        walker.objects.add(id(value))
        walker.types -= own | {id(value)}


def class_token(walker: Walker, cls: type) -> None:
    """A class as the type or base of something."""
    token = walker.type_tokens.get(cls)
    if token is not None:
        walker.out.append(token)
        return
    start = len(walker.out)
    if class_home(cls) != "notebook":
        _class(walker, cls)
        walker.type_tokens[cls] = b"".join(walker.out[start:])
        return
    # All that the class holds comes with it: it ties no slots together, but who changes it changes this
    # value.
    before, walker.objects = walker.objects, {id(cls)}
    try:
        _class(walker, cls)
    finally:
        walker.types |= walker.objects - before
        before |= walker.objects
        walker.objects = before


def _class(walker: Walker, cls: type) -> None:
    home = class_home(cls)
    if home != "notebook":
        _named(walker, b"t", home, module_of(cls), qualname_of(cls))
        if home == "local" and not walker.met(cls):
            for name, item in dict_of(cls).items():
                if type(item) is FunctionType:
                    walker.token(b",", name, facts(item.__code__).digest)
        return
    if walker.met(cls):
        return
    start = len(walker.keep)
    walker.token(b"K", type.__dict__["__name__"].__get__(cls), qualname_of(cls), module_of(cls))
    class_token(walker, type(cls))
    bases = bases_of(cls)
    walker.token(b"k", len(bases))
    for base in bases:
        class_token(walker, base)
    attributes = dict_of(cls)
    names = sorted(name for name in attributes if type(name) is str and name not in SKIPPED)
    if (
        type(cls) is type and bases[0] is not tuple
    ):  # whoever asks for a class's attributes gets them in their order
        names = [n for n in names if n.startswith("__") or type(attributes[n]) is MemberDescriptorType]
        names += [n for n in attributes if type(n) is str and n not in names and n not in SKIPPED]
    walker.token(b"k", *names)
    walker.real(attributes[name] for name in names)
    _annotated(walker, attributes.get("__annotations__"))
    if "_abc_impl" in attributes:
        registry = cast(Any, abc)._get_dump(cls)[0]
        walker.token(b"k", *sorted(full_name(sub) for ref in registry if (sub := ref()) is not None))
    # a class that is derived from it may have its functions, or equal ones if it was loaded without it: no reader can tell
    walker.forget(start, _FUNCTIONS)


@handles(
    MemberDescriptorType,
    GetSetDescriptorType,
    type(str.join),
    type(dict.__dict__["fromkeys"]),
    type(str.__add__),
)
def _descriptor(walker: Walker, value: Any) -> None:
    # The class is named, not visited: it may be the one whose attributes are being visited.
    walker.token(b"d", type(value).__name__, full_name(value.__objclass__), value.__name__)


@handles(staticmethod, classmethod)
def _method_kind(walker: Walker, value: Any) -> None:
    if not walker.met(value):
        walker.token(b"s", type(value).__name__)
        walker.real((value.__func__,))


@handles(property)
def _property(walker: Walker, value: property) -> None:
    if not walker.met(value):
        walker.token(b"p")
        walker.real((value.fget, value.fset, value.fdel, value.__doc__))
