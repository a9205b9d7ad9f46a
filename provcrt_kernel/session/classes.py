"""One class object per definition: classes of the notebook keep their identity through storing and loading.

A pickled class carries the name that it was bound to and the digest of its definition (`kinship`). When it is loaded and a
live class of both is known, that one is used, so that ``isinstance`` holds between slots that were stored apart. A class that
changed since no longer has its digest: it does not match.
"""

from __future__ import annotations

import abc
import enum
import sys
import threading
from collections import namedtuple
from collections.abc import Collection, Container, Iterator
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any, cast

from cloudpickle.cloudpickle import _dynamic_class_reduce

from .definitions import SKIPPED
from .homes import bases_of, class_home, dict_of, is_a, module_of, mro_of, qualname_of
from .kinship import find, is_former, loaded, path_of, top, was_replaced
from .refusals import Unstorable
from .walk import ATOMS

_loading = threading.local()

Known = tuple[str, str, bool]
"""In a stream: a class's path and digest, and whether its name was bound to another one by then."""


def reduce_class(cls: type, digest: str | None) -> Any:
    """How a stream keeps a class of the notebook.

    Parameters
    ----------
    cls : type
        A class of the notebook.
    digest : str or None
        Its fingerprint; None: it matches no live class.

    Returns
    -------
    tuple
        What ``__reduce__`` may return.

    Raises
    ------
    Unstorable
        If making a copy of the class would run code of the notebook.
    """
    if _runs_code_when_made(cls):
        raise Unstorable.kind(f"class {qualname_of(cls)}, which runs code when it is made,")
    identity = None if digest is None or was_replaced(cls) else (path_of(cls), digest, is_former(cls))
    if _is_named_tuple(cls):
        fields = cls._fields  # type: ignore[attr-defined]
        known = (cls.__name__, tuple(fields), cls.__new__.__defaults__, module_of(cls), qualname_of(cls))
        made = (identity, make_named_tuple, known)
        return make_class, made, (fill_named_tuple, _beyond_named_tuple(cls)), None, None, fill_class
    constructor, arguments, state, _, _, setter = _dynamic_class_reduce(cls)
    arguments = [*arguments[:-2], None, None]  # cloudpickle's own tracking of identities stays out of it
    attributes = dict_of(cls)
    if enum.EnumMeta in mro_of(type(cls)):
        # other names of a member too, which cloudpickle passes over
        members = cast(dict[str, enum.Enum], attributes["_member_map_"])
        arguments[3] = {name: member.value for name, member in members.items()}
        for name in members:
            state[0].pop(name, None)
    else:  # cloudpickle leaves both out
        arguments[3] = {**arguments[3], "__qualname__": qualname_of(cls)}
        if "__slots__" in attributes:
            arguments[3]["__slots__"] = attributes["__slots__"]
        state[0].pop("__slots__", None)
        for name, item in attributes.items():  # mangled names too
            if type(item) is MemberDescriptorType:
                state[0].pop(name, None)
        # and what a base has as well, which may change there alone
        inherited = {name for base in bases_of(cls) for name in dict_of(base)}
        for name in attributes.keys() & inherited - state[0].keys() - arguments[3].keys() - SKIPPED:
            if type(attributes[name]) is not MemberDescriptorType:
                state[0][name] = attributes[name]
        body = _in_body(cls, state[0].keys() | arguments[3].keys())
        arguments[3] = {**dict.fromkeys(body), **arguments[3]}
    # cloudpickle sorts them, but their order can be seen
    places = {name: place for place, name in enumerate(attributes)}
    own = dict(sorted(state[0].items(), key=lambda item: places.get(item[0], len(places))))
    state = (_borrowed(cls, own), *state[1:])
    order = tuple(attributes) if _hooked(cls) else ()
    return (
        make_class,
        (identity, constructor, tuple(arguments)),
        (setter, state, order),
        None,
        None,
        fill_class,
    )


def _in_body(cls: type, names: Container[str]) -> Iterator[str]:
    """Those of its attributes that the body of a class bound, in order: a class made with them has all attributes in its order.

    What `type` adds itself comes after them, and what was set later after that. Nobody may look at the body but `type`.
    """
    if type(cls) not in (type, abc.ABCMeta) or _hooked(cls):
        return
    for name, item in dict_of(cls).items():
        if type(item) in (GetSetDescriptorType, MemberDescriptorType) or (name == "__doc__" and item is None):
            return
        if name in names:
            yield name


def _hooked(cls: type) -> bool:
    """Whether a base of a class may do something when a class is made of it, with what the body bound."""
    return any("__init_subclass__" in dict_of(base) for base in mro_of(cls) if base is not object)


class Borrowed:
    """In a stream, what a class has from a base of the notebook: it comes from the base that is live then, or it were a copy."""

    def __init__(self, base: type, path: tuple[str, ...]) -> None:
        self._found = base, path

    def __reduce__(self) -> Any:
        return borrow, self._found


def borrow(base: type, path: tuple[str, ...]) -> Any:
    """Called by a stream: an attribute of a class, or an item of a dict that is one."""
    found: Any = dict_of(base)
    for name in path:
        found = found[name]
    return found


def _borrowed(cls: type, own: dict[str, Any]) -> dict[str, Any]:
    """Attributes of a class; what it shares with its bases in the notebook, such as fields of dataclasses, as `Borrowed`."""
    theirs: dict[int, Borrowed] = {}
    for base in mro_of(cls)[:0:-1]:
        if class_home(base) == "notebook":
            for name, item in dict_of(base).items():
                theirs[id(item)] = Borrowed(base, (name,))
                if name == "__dataclass_fields__":
                    theirs |= {id(f): Borrowed(base, (name, field)) for field, f in item.items()}
    if not theirs:
        return own
    found = {n: v if type(v) in ATOMS or is_a(v, type) else theirs.get(id(v), v) for n, v in own.items()}
    if type(fields := found.get("__dataclass_fields__")) is dict:
        found["__dataclass_fields__"] = {n: theirs.get(id(f), f) for n, f in fields.items()}
    return found


def _runs_code_when_made(cls: type) -> bool:
    """Whether making a copy of `cls` would run code: a metaclass's, or ``__init_subclass__`` of a base."""
    if type(cls) not in (type, abc.ABCMeta, enum.EnumMeta) and class_home(type(cls)) in ("notebook", "local"):
        return True
    return any(
        "__init_subclass__" in dict_of(base) and class_home(base) in ("notebook", "local")
        for base in mro_of(cls)[1:]
    )


def _is_named_tuple(cls: type) -> bool:
    make = dict_of(cls).get("__new__")
    make = make.__func__ if type(make) is staticmethod else make
    scope = make.__globals__.get("__name__", "") if type(make) is FunctionType else ""
    return bases_of(cls)[0] is tuple and type(scope) is str and scope.startswith("namedtuple_")


def _beyond_named_tuple(cls: type) -> dict[str, Any]:
    """Attributes that ``collections.namedtuple`` would not give a class of these fields."""
    plain = dict_of(namedtuple(cls.__name__, cls._fields))  # type: ignore[attr-defined]
    own: dict[str, Any] = {}
    for name, item in dict_of(cls).items():
        generated = plain.get(name)
        if name in ("__module__", "__qualname__", "_field_defaults", "__slotnames__"):
            continue
        code = getattr(getattr(item, "__func__", item), "__code__", None)
        made = getattr(getattr(generated, "__func__", generated), "__code__", None)
        if generated is None or (code is not None and code != made):
            own[name] = item
        elif code is None and type(item) is type(generated) and item is not generated:
            same = (
                item == generated
                if type(item) in (str, tuple, dict)
                else _reduced(item) == _reduced(generated)
            )
            if not same:
                own[name] = item
    return own


def _reduced(item: Any) -> Any:
    return item.__reduce__()[1] if type(item).__name__ == "_tuplegetter" else None


def make_named_tuple(
    name: str, fields: tuple[str, ...], defaults: tuple[Any, ...] | None, module: str, qualname: str
) -> type:
    """Called by a stream: a named tuple class."""
    factory: Any = namedtuple
    made = factory(name, fields, defaults=defaults, module=module)
    made.__qualname__ = qualname
    return cast(type, made)


def fill_named_tuple(cls: type, attributes: dict[str, Any]) -> None:
    """Called by a stream: what a named tuple class has beyond its fields."""
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)
    if "__annotations__" in attributes:  # typing.NamedTuple gives both the same
        cls.__new__.__annotations__ = attributes["__annotations__"]


def make_class(identity: Known | None, constructor: Any, arguments: tuple[Any, ...]) -> type:
    """Called by a stream: the live class that is meant, else a skeleton for `fill_class`."""
    if identity is not None:
        path, digest, former = identity
        former |= top(path) in (getattr(_loading, "former", None) or ())
        live = find(path, digest, _scope(), former=former)
        if live is not None:
            return live
        identity = path, digest, former
    made: type = constructor(*arguments)
    _unfinished()[id(made)] = (made, identity)
    return made


def fill_class(cls: type, state: Any) -> None:
    """Called by a stream: fill a class that `make_class` made; a live class stays as it is."""
    made = _unfinished().pop(id(cls), None)
    if made is None:
        return
    setter, attributes, *order = state
    setter(cls, attributes)
    if order:
        _put_in_order(cls, order[0])
    if made[1] is not None:
        path, digest, former = made[1]
        loaded(cls, path, digest, _scope(), former=former)


def _put_in_order(cls: type, names: tuple[str, ...]) -> None:
    """Have a class's attributes in an order, but for what `type` sets itself."""
    for name in names:
        if name in dict_of(cls) and type(type.__dict__.get(name)) is not GetSetDescriptorType:
            item = dict_of(cls)[name]
            type.__delattr__(cls, name)
            type.__setattr__(cls, name, item)


class loading_into:
    """While a stream is read: its functions and classes belong to `namespace`; classes of names in `former` are former ones."""

    def __init__(self, namespace: dict[str, object], former: Collection[str] = ()) -> None:
        self.namespace = namespace
        self.former = former

    def __enter__(self) -> None:
        self._before = {name: getattr(_loading, name, None) for name in ("namespace", "unfinished", "former")}
        _loading.namespace, _loading.unfinished, _loading.former = self.namespace, {}, self.former

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            setattr(_loading, name, value)


def _scope() -> dict[str, object]:
    scope: dict[str, object] | None = getattr(_loading, "namespace", None)
    return sys.modules["__main__"].__dict__ if scope is None else scope


def _unfinished() -> dict[int, tuple[type, Known | None]]:
    unfinished: dict[int, tuple[type, Known | None]] | None = getattr(_loading, "unfinished", None)
    if unfinished is None:
        unfinished = _loading.unfinished = {}
    return unfinished


def live_namespace() -> dict[str, object]:
    """The namespace that the stream being read is loaded into."""
    return _scope()
