"""Values of settings as plain data: what msgpack carries, plus a few tagged forms, and a marker for the rest.

Settings are mostly numbers and text. Some hold a class or a function of an installed package, which has a
name, or ``"{:.2f}".format``, which has a text. What has neither (a lambda, a handler with an open file) is
marked *inexpressible*: the marker says why, and it carries a token of its own for every object, so that a
change from one such object to another is still a change, in this process and in the next.
"""

from __future__ import annotations

import enum
import functools
import itertools
import os
import pathlib
import re
import sys
import types
import weakref
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

from provcrt_kernel.provenance.packages import library_folders
from provcrt_kernel.session.objects import instance_dict

#: Found at once: to capture imports nothing.
_FOLDERS = library_folders()

ATOMS = frozenset({type(None), bool, float, str, bytes})
_KEY = "@inexpressible"
_INT64 = range(-(2**63), 2**64)


def plain(value: object) -> object:
    """Return `value` as plain data.

    Parameters
    ----------
    value : object
        Any value of a setting.

    Returns
    -------
    object
        Plain data of which `unplain` makes an equal value, with markers in place of what it cannot express.
    """
    kind = type(value)
    if kind in ATOMS:
        if kind is str and not value.isascii():  # type: ignore[attr-defined]
            return _text(value)  # type: ignore[arg-type]
        return value
    if kind is int:
        return value if value in _INT64 else {"@int": str(value)}
    if kind is list:
        return [plain(item) for item in value]  # type: ignore[attr-defined]
    if kind is tuple:
        return {"@tuple": [plain(item) for item in value]}  # type: ignore[attr-defined]
    if kind is dict:
        return _mapping(value)  # type: ignore[arg-type]
    if kind is set or kind is frozenset:
        items = sorted((plain(item) for item in value), key=repr)  # type: ignore[attr-defined]
        return {"@" + kind.__name__: items}
    if isinstance(value, enum.Enum) and name_of(type(value)):
        return {"@enum": [name_of(type(value)), value.name]}
    if isinstance(value, pathlib.PurePath) and kind.__module__.partition(".")[0] == "pathlib":
        return {"@path": os.fsencode(value)}
    if isinstance(value, re.Pattern) and isinstance(value.pattern, str | bytes):
        return {"@re": [plain(value.pattern), value.flags]}
    return reference(value)


def unplain(value: object) -> Any:
    """Return the value that `plain` made `value` of; a marker comes back as it is.

    Raises
    ------
    ImportError, AttributeError
        If a named class or function is no longer there.
    """
    if type(value) is list:
        return [unplain(item) for item in value]
    if type(value) is not dict:
        return value
    if len(value) == 1:
        ((tag, body),) = value.items()
        if tag.startswith("@") and tag in _DECODERS:
            return _DECODERS[tag](body)
    if _KEY in value:
        return value
    return {key: unplain(item) for key, item in value.items()}


def reference(value: object) -> object:
    """Return a class or function of an installed package, or a partial of one, by name; else a marker."""
    if type(value) is types.BuiltinMethodType and type(value.__self__) is str:
        return {"@method": [plain(value.__self__), value.__name__]}
    if type(value) is functools.partial and not instance_dict(value):
        name = name_of(value.func)
        if name:
            return {"@partial": [name, [plain(item) for item in value.args], plain(dict(value.keywords))]}
    if type(value) is types.MethodType and getattr(value.__self__, value.__func__.__name__, None) == value:
        holder = constant(value.__self__, type(value.__self__))
        if holder:
            return {"@bound": [holder, value.__func__.__name__]}
    name = name_of(value)
    return {"@name": name} if name else Inexpressible.of(value)


def constant(value: object, kind: type) -> str | None:
    """``"module:name"`` of an object that an installed package keeps in the module of a class, or in one above that."""
    module = kind.__module__
    while installed(module):
        for name, held in list(vars(sys.modules[module]).items()):
            if held is value:
                return f"{module}:{name}"
        module = module.rpartition(".")[0]
    return None


def modules_in(value: object) -> set[str]:
    """Modules that `unplain` imports for plain data."""
    if isinstance(value, list):
        return set().union(*map(modules_in, value))
    if not isinstance(value, dict):
        return set()
    named = [
        *([value["@name"]] if "@name" in value else ()),
        *(value["@bound"][:1] if "@bound" in value else ()),
    ]
    return {name.partition(":")[0] for name in named}.union(*map(modules_in, value.values()))


def name_of(value: object) -> str | None:
    """Return ``"module:qualname"`` if an installed module has this very object under that name, else None."""
    module = getattr(value, "__module__", None)
    qualname = getattr(value, "__qualname__", None)
    if type(module) is not str or type(qualname) is not str or not installed(module):
        return None
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return f"{module}:{qualname}" if found is value else None


def named(name: str) -> Any:
    """Return the object that `name_of` gave this name, importing its module."""
    module, _, qualname = name.partition(":")
    return functools.reduce(getattr, qualname.split("."), import_module(module))


@functools.cache
def installed(module: str) -> bool:
    """Tell whether a loaded module is Python's or an installed package's: not the notebook, no local file."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    if module == "__main__" or spec is None:
        return False
    if spec.origin in ("built-in", "frozen"):
        return True
    return bool(spec.origin) and os.path.abspath(spec.origin).startswith(_FOLDERS)


class Inexpressible:
    """Makes the markers: plain data that says why a value cannot be stored.

    A marker is ``{"@inexpressible": reason, "token": text}``; a token is unique to an object and to a
    process.
    """

    _process = os.urandom(8).hex()
    _count = itertools.count()
    _tokens: ClassVar[dict[int, tuple[object, str]]] = {}

    @classmethod
    def of(cls, value: object) -> dict[str, object]:
        """Return the marker of an object, the same for as long as the object lives."""
        if isinstance(value, types.MethodType):
            token = cls._token(value.__self__) + "." + value.__func__.__name__
        else:
            token = cls._token(value)
        return {_KEY: describe(value), "token": token}

    @classmethod
    def unreadable(cls, name: str, error: Exception) -> dict[str, object]:
        """Return a marker that equals no other: nothing is known about the slot."""
        return {_KEY: f"{name} cannot be read ({type(error).__name__}: {error})", "token": cls._fresh()}

    @staticmethod
    def inside(value: object) -> bool:
        """Tell whether plain data holds a marker."""
        return bool(_markers(value))

    @classmethod
    def _fresh(cls) -> str:
        return f"{cls._process}-{next(cls._count)}"

    @classmethod
    def _token(cls, value: object) -> str:
        known = cls._tokens.get(id(value))
        if known is not None:
            return known[1]
        token = cls._fresh()
        try:  # the entry goes when the object goes, before its id can be used again
            keep: object = weakref.ref(value, functools.partial(cls._forget, id(value)))
        except TypeError:
            keep = value  # cannot be weakly referenced: kept alive, so that its id stays its own
        cls._tokens[id(value)] = (keep, token)
        return token

    @classmethod
    def _forget(cls, identity: int, _: object) -> None:
        cls._tokens.pop(identity, None)


def inexpressible(value: object, base: object = None) -> str | None:
    """Return why a captured value cannot be restored, or None if it can.

    Parameters
    ----------
    value : object
        What `Adapter.capture` returned.
    base : object
        An earlier capture: markers that it holds too (the same objects) do not count.

    Returns
    -------
    str or None
        The reasons, joined by commas, in the order in which they appear.
    """
    known = {str(marker) for marker in _markers(base)}
    reasons = dict.fromkeys(str(marker[_KEY]) for marker in _markers(value) if str(marker) not in known)
    return ", ".join(reasons) or None


def _markers(value: object) -> list[dict[str, object]]:
    found = []
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is dict:
            if _KEY in item:
                found.append(item)
            else:
                stack.extend(reversed(item.values()))
        elif type(item) is list:
            stack.extend(reversed(item))
    return found


def describe(value: object) -> str:
    """Return a line for users that says what an object is: its kind and its name, never its address."""
    owner = value if isinstance(value, types.FunctionType | types.MethodType | type) else type(value)
    article = "" if owner is value else "a "
    return f"{article}{getattr(owner, '__module__', '?')}.{getattr(owner, '__qualname__', '?')}"


def _text(value: str) -> object:
    try:
        value.encode()
    except UnicodeEncodeError:  # surrogates, of a file name that is not UTF-8
        return {"@fs": value.encode("utf-8", "surrogatepass")}
    return value


def _mapping(value: Mapping[object, object]) -> object:
    if all(type(key) is str and type(_text(key)) is str and not key.startswith("@") for key in value):
        return {str(key): plain(item) for key, item in value.items()}
    return {"@dict": [[plain(key), plain(item)] for key, item in value.items()]}


def _pattern(body: Sequence[object]) -> object:
    pattern, flags = body
    return re.compile(unplain(pattern), flags)  # type: ignore[call-overload]


_DECODERS: dict[str, Callable[[Any], object]] = {
    "@int": int,
    "@tuple": lambda body: tuple(map(unplain, body)),
    "@set": lambda body: set(map(unplain, body)),
    "@frozenset": lambda body: frozenset(map(unplain, body)),
    "@dict": lambda body: {unplain(key): unplain(item) for key, item in body},
    "@enum": lambda body: named(body[0])[body[1]],
    "@path": lambda body: pathlib.Path(os.fsdecode(body)),
    "@re": _pattern,
    "@method": lambda body: getattr(unplain(body[0]), body[1]),
    "@name": named,
    "@bound": lambda body: getattr(named(body[0]), body[1]),
    "@partial": lambda body: functools.partial(named(body[0]), *unplain(body[1]), **unplain(body[2])),
    "@fs": lambda body: body.decode("utf-8", "surrogatepass"),
}
