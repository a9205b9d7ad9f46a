"""Which class a name of the notebook is bound to, and which it was: two definitions with the same text are two classes.

A class is known by its *path*, the name it was bound to first (``C``; ``C.Inner`` for one that its body defines). It is the
*current* one of its path until the name is bound anew or deleted; from then on it is a *former* one. What is made of a class
is stored with the class's path and digest, and comes back on the live class of both, if it is the one that is meant.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .fingerprint import Fingerprint, fingerprint
from .homes import class_home, dict_of, is_a, qualname_of

_paths: dict[int, tuple[weakref.ref[type], str]] = {}
_current: weakref.WeakValueDictionary[str, type] = weakref.WeakValueDictionary()
_former: weakref.WeakValueDictionary[tuple[str, str | None], type] = weakref.WeakValueDictionary()
# the paths of current classes by the variable that they begin with
_under: dict[str, set[str]] = {}
# classes that came back with another digest than they were stored with: both
_kept_as: dict[int, tuple[weakref.ref[type], str | None, str]] = {}
_by_digest: weakref.WeakValueDictionary[str, type] = weakref.WeakValueDictionary()


def path_of(cls: type) -> str:
    """The path of a class; empty for one that no name was ever bound to."""
    known = _paths.get(id(cls))
    return known[1] if known is not None and known[0]() is cls else ""


def is_former(cls: type) -> bool:
    """Whether the name of a class is bound to it no longer."""
    path = path_of(cls)
    return bool(path) and _current.get(path) is not cls


def was_replaced(cls: type) -> bool:
    """Whether a decorator has put another class in the place of a class before the name was bound: it is part of that one."""
    return not path_of(cls) and _current.get(qualname_of(cls), cls) is not cls


def top(path: str) -> str:
    """The variable that a path begins with."""
    return path.partition(".")[0]


def enter(name: str, value: object, namespace: Mapping[str, object]) -> bool:
    """A name is bound to a value by now.

    Returns
    -------
    bool
        Whether it may have been bound to another class before.
    """
    same = _current.get(name) is value
    if not same:
        leave(name, namespace)
    if not (is_a(value, type) and class_home(value) == "notebook"):
        return True
    for path, cls in _with_inner(name, value):
        _note(path, cls)
        if path_of(cls) == path:
            _become(path, cls)
    digest = fingerprint(value, namespace).digest
    if digest is not None:
        _by_digest[digest] = value
    return not same


def leave(name: str, namespace: Mapping[str, object]) -> None:
    """A name is bound to its class no longer, if it was to one."""
    for path in _under.pop(name, ()):
        cls = _current.pop(path, None)
        if cls is not None:
            _former[path, fingerprint(cls, namespace).digest] = cls


def find(path: str, digest: str, namespace: Mapping[str, object], *, former: bool = False) -> type | None:
    """The live class of a path and digest.

    Parameters
    ----------
    path
        Empty: any class of the digest.
    former
        Whether one is meant that the name was bound to before.
    """
    if not path:
        found = [_by_digest.get(digest)]
    elif former:
        found = [_former.get((path, digest))]
    else:
        nameless = _by_digest.get(digest)
        if nameless is not None and path_of(nameless):
            nameless = None
        current = _current.get(path)
        found = [current, nameless, None if current is None else _former.get((path, digest))]
    return next((c for c in found if c is not None and digest in _digests(c, namespace)), None)


def loaded(cls: type, path: str, digest: str, namespace: Mapping[str, object], *, former: bool) -> None:
    """A class has come from a stream."""
    _by_digest[digest] = cls
    if (now := fingerprint(cls, namespace).digest) != digest:
        _kept_as[id(cls)] = _reference(cls, _kept_as), now, digest
    if not path:
        return
    _note(path, cls)
    if former or path in _current:
        _former[path, digest] = cls
    else:
        _become(path, cls)


def kin(seen: Fingerprint) -> tuple[set[str], set[str]]:
    """Variables whose classes, of now or before, a value is made of; those of them that are bound to another one by now."""
    names, former = set[str](), set[str]()
    for key, (reference, path) in list(_paths.items()):
        if (key in seen.types or key in seen.objects) and (cls := reference()) is not None:
            names.add(top(path))
            if is_former(cls):
                former.add(top(path))
    return names, former


def _digests(cls: type, namespace: Mapping[str, object]) -> tuple[str | None, ...]:
    """The digest of a class, and the one that it was stored with, if it came back with another one and is as it came back."""
    digest = fingerprint(cls, namespace).digest
    known = _kept_as.get(id(cls))
    return (digest,) if known is None or known[0]() is not cls or known[1] != digest else known[1:]


def _note(path: str, cls: type) -> None:
    if not path_of(cls):
        _paths[id(cls)] = _reference(cls, _paths), path


def _reference(cls: type, table: dict[int, Any]) -> weakref.ref[type]:
    """A reference to a class that takes it out of a table by identity when it goes."""
    key = id(cls)
    return weakref.ref(cls, lambda _: table.pop(key, None))


def _become(path: str, cls: type) -> None:
    _current[path] = cls
    _under.setdefault(top(path), set()).add(path)


def _with_inner(path: str, cls: type, seen: Collection[int] = ()) -> Iterator[tuple[str, type]]:
    """A class, and those that its body defines."""
    yield path, cls
    for name, item in list(dict_of(cls).items()):
        if not is_a(item, type) or class_home(item) != "notebook" or id(item) in seen:
            continue
        if qualname_of(item) == f"{qualname_of(cls)}.{name}":
            yield from _with_inner(f"{path}.{name}", item, (*seen, id(cls)))
