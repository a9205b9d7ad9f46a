"""How instances are visited: by their class and their real content.

Nothing is looked up on an instance of the notebook's classes, so its ``__getattr__``, ``__eq__``,
``__reduce__`` never run: the ``__dict__`` and the slots are read where they are. What a library's class holds
its reducer tells.
"""

from __future__ import annotations

import _decimal
import copyreg
import enum
import sys
from collections.abc import Callable
from ctypes import c_void_p
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, cast

from .definitions import class_token, note_module, visit_class
from .homes import class_home, dict_of, module_of, mro_of, qualname_of, resolves
from .opaque import DRAWN
from .walk import FALLBACKS, Walker, handles_named

_CUSTOM = ("__reduce__", "__reduce_ex__", "__getstate__")
_EMPTY = object.__basicsize__ + 16  # room for a __dict__ and weak references, for nothing else
#: Members that tell how a class in C is laid out, and the two that are no slots.
_OF_THE_TYPE = frozenset(
    {"__dict__", "__weakref__"} | {f"__{n}offset__" for n in ("dict", "weaklist", "vectorcall")}
)
_ENUM_CACHES = frozenset({"__objclass__", "_sort_order_", "_inverted_", "_hash_"})


def instance_dict(value: object) -> dict[str, object] | None:
    """The real ``__dict__`` of an object, or None if it has none; properties of that name are passed over.

    An object with fields in C may get its own only when it is asked for. It is not asked here, since that can be seen: an
    empty one is pickled, and a `functools.partial` of a partial that has one is not flattened.
    """
    cls = type(value)
    getter = _dict_getter(cls)
    unborn = cls.__dictoffset__ > 0 and not c_void_p.from_address(id(value) + cls.__dictoffset__).value
    if getter is None or unborn:
        return None
    attributes = getter.__get__(value)
    return attributes if type(attributes) is dict else None


def has_dict(cls: type) -> bool:
    """Whether instances have, or get when they are asked, a ``__dict__``."""
    return _dict_getter(cls) is not None


def _dict_getter(cls: type) -> GetSetDescriptorType | None:
    for base in mro_of(cls):
        found = dict_of(base).get("__dict__")
        if type(found) is GetSetDescriptorType:
            return found
    return None


def slots(value: object) -> list[tuple[str, object]]:
    """Names and contents of the filled slots that Python classes declare, base classes first."""
    found: list[tuple[str, object]] = []
    for base in reversed(mro_of(type(value))):
        if not base.__flags__ & (1 << 9):
            continue
        for name, item in dict_of(base).items():
            if type(item) is MemberDescriptorType and name not in _OF_THE_TYPE:
                try:
                    found.append((f"{qualname_of(base)}.{name}", item.__get__(value)))
                except AttributeError:
                    continue
    return found


def state(walker: Walker, value: object) -> None:
    """Write the ``__dict__`` and slots of an object."""
    fresh, walker.fresh = walker.fresh, None
    attributes = instance_dict(value)
    if attributes is not None:
        walker.walk(attributes)
    elif has_dict(type(value)):  # none yet is as good as an empty one
        walker.temporary({})
    filled = slots(value)
    if filled:
        walker.token(b"o", len(filled))
        for name, item in filled:
            walker.atom(name)
            walker.walk(item)
    walker.fresh = fresh


def _hidden_state(cls: type) -> bool:
    """Whether instances have fields in C besides ``__dict__`` and slots (as ``object.__reduce__`` counts)."""
    known = object.__basicsize__
    known += 8 * (cls.__dictoffset__ > 0) + 8 * (cls.__weakrefoffset__ > 0)
    for base in mro_of(cls):
        known += 8 * sum(type(item) is MemberDescriptorType for item in dict_of(base).values())
    return cls.__itemsize__ != 0 or cls.__basicsize__ > known


def instance(walker: Walker, value: object) -> None:
    """An object by its class and its real content, or by what its library's reducer says."""
    cls = type(value)
    if type in mro_of(cls):
        visit_class(walker, cast(type, value))  # a class with a metaclass
        return
    if enum.EnumMeta in mro_of(type(cls)):
        _enum_member(walker, value)
        return
    constant = constant_of(value)
    if constant is not None:
        note_module(walker, constant[0])
        walker.token(b"n", *constant)
        return
    if walker.seen(value):
        return
    walker.token(b"I")
    class_token(walker, cls)
    by_name = class_home(cls) not in ("notebook", "local")
    own = _builtin_base(cls)
    if own is not None:
        HANDLERS_OF_BASES[own](walker, value, own)
        state(walker, value)
    elif by_name and _is_custom(cls):
        reducer = copyreg.dispatch_table.get(cls)
        _reduced(walker, value, reducer(value) if reducer else cls.__reduce_ex__(value, 4))
    elif not _hidden_state(cls):
        state(walker, value)
    elif (reduce := _reduce_in_c(cls)) is not None:
        _reduced(walker, value, reduce(value))
        state(walker, value)
    else:
        walker.without_value(f"{qualname_of(cls)} holds state in C")
        state(walker, value)


#: Random streams that libraries keep for everybody: what holds one draws from it, and follows when it is seeded.
_STREAMS = (("numpy.random.mtrand", "_rand"), ("random", "_inst"), ("torch", "default_generator"))
_STREAM_TYPES = frozenset({"RandomState", "Random", "Generator"})


def constant_of(value: object) -> tuple[str, str] | None:
    """Module and name of a library's stateless constant, such as ``dataclasses.MISSING``, or of its own random stream.

    It is one object in each process, known by its identity alone; the positions of streams are ambient slots. A name that ends
    in ``()`` is of a function that gives it.
    """
    cls = type(value)
    if cls.__name__ in _STREAM_TYPES:
        for where, name in _STREAMS:
            if value is getattr(sys.modules.get(where), name, None):
                return where, name
    if cls is _decimal.Context and value is _decimal.getcontext():
        return "decimal", "getcontext()"  # what it is set to is an ambient slot
    if instance_dict(value) or cls.__basicsize__ > _EMPTY or class_home(cls) not in ("stdlib", "package"):
        return None
    if _is_custom(cls) or slots(value):
        return None
    name = module_of(cls)
    module = sys.modules.get(name)
    own = vars(module).items() if module is not None else ()
    return next(((name, found) for found, item in list(own) if item is value), None)


def _enum_member(walker: Walker, value: object) -> None:
    """A member of an enum: its class, name and value, and what ``__init__`` gave it; nobody changes it."""
    if walker.met(value):
        return
    walker.token(b"U")
    class_token(walker, type(value))
    attributes = instance_dict(value) or {}
    names = [name for name in sorted(attributes) if name not in _ENUM_CACHES]
    walker.token(b"u", *names)
    walker.real(attributes[name] for name in names)


def _is_custom(cls: type) -> bool:
    if cls in copyreg.dispatch_table:
        return True
    bases = [dict_of(base) for base in mro_of(cls) if base is not object]
    return any(name in attributes for attributes in bases for name in _CUSTOM)


def _reduce_in_c(cls: type) -> Any:
    """The reducer that the C base of a notebook's class brings, called on the base: no override runs."""
    for base in mro_of(cls):
        if base is object or class_home(base) in ("notebook", "local"):
            continue
        reduce = dict_of(base).get("__reduce__")
        if reduce is not None:
            return reduce.__get__(None, base) if isinstance(reduce, staticmethod) else reduce
    return None


def _reduced(walker: Walker, value: object, parts: Any) -> None:
    """Write what a reducer says: how to rebuild the object, and from what."""
    if type(parts) is str:
        names = (getattr(value, "__module__", None), module_of(type(value)))
        places = [name for name in names if type(name) is str]
        places += [name.partition(".")[0] for name in places]
        owner = next((place for place in places if resolves(place, parts, value)), None)
        if owner is None:
            walker.without_value(f"{parts} cannot be found by name")
        else:
            walker.objects.discard(id(value))
        walker.token(b"n", owner, parts)
        note_module(walker, owner)
        return
    constructor, arguments, *rest = parts
    if len(rest) > 1:
        rest[1:3] = [None if part is None else list(part) for part in rest[1:3]]
    walker.token(b"R", len(rest))
    walker.temporary((constructor, arguments, *rest), owner=value)


def _members(walker: Walker, value: object) -> None:
    """What an object without a value refers to is still worth knowing."""
    class_token(walker, type(value))
    attributes = instance_dict(value)
    if attributes is not None:
        walker.real((attributes,))


def _figure(walker: Walker, value: Any) -> None:
    """Artists form one tangle per figure: the figure's identity stands for all of them."""
    if walker.seen(value):
        return
    walker.without_value(DRAWN)
    walker.packages.add("matplotlib")
    try:
        figure = value.get_figure(root=True)
    except Exception:
        figure = getattr(value, "figure", None)
    if figure is not None:
        walker.objects.add(id(figure))
    elif tuple in mro_of(type(value)):  # a container of artists
        walker.real(tuple.__iter__(value))


HANDLERS_OF_BASES: dict[type, Callable[[Walker, Any, type], None]] = {}
"""Content of the built-in types that a notebook's class may extend; filled by the modules that know them."""


def _builtin_base(cls: type) -> type | None:
    return next((base for base in mro_of(cls) if base in HANDLERS_OF_BASES), None)


FALLBACKS[:] = [instance, _members]
handles_named(DRAWN)(_figure)
