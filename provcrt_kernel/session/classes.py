"""One class object per definition: classes of the notebook keep their identity through storing and loading.

A pickled class carries the digest of its definition. When it is loaded and a live class of the same digest is
registered, that one is used, so that ``isinstance`` holds between slots that were stored apart, and between a class
whose cell ran again and instances loaded later. A class that changed since no longer has its digest: it does not match.
"""

from __future__ import annotations

import abc
import enum
import sys
import threading
import weakref
from collections.abc import Mapping
from typing import Any

from .fingerprint import fingerprint
from .homes import class_home, dict_of, mro_of

_live: weakref.WeakValueDictionary[str, type] = weakref.WeakValueDictionary()
_loading = threading.local()


def register_live(value: object, namespace: Mapping[str, object] | None = None) -> None:
    """Make a class of the notebook the one that its digest stands for; the latest wins.

    Parameters
    ----------
    value : object
        A value that a cell bound; anything but a class of the notebook is passed over.
    namespace : Mapping[str, object], optional
        The notebook's globals; those of ``__main__`` by default.
    """
    if isinstance(value, type) and class_home(value) == "notebook":
        scope = sys.modules["__main__"].__dict__ if namespace is None else namespace
        digest = fingerprint(value, scope).digest
        if digest is not None:
            _live[digest] = value


def find_live(digest: str, namespace: Mapping[str, object]) -> type | None:
    """The registered class of this digest, if it still has it."""
    found = _live.get(digest)
    if found is not None and fingerprint(found, namespace).digest == digest:
        return found
    return None


def runs_code_when_made(cls: type) -> bool:
    """Whether making a copy of `cls` would run code: a metaclass's, or ``__init_subclass__`` of a base."""
    if type(cls) not in (type, abc.ABCMeta, enum.EnumMeta) and class_home(type(cls)) in ("notebook", "local"):
        return True
    return any(
        "__init_subclass__" in dict_of(base) and class_home(base) in ("notebook", "local")
        for base in mro_of(cls)[1:]
    )


def make_class(digest: str | None, constructor: Any, arguments: tuple[Any, ...]) -> type:
    """Called by a stream: the live class of `digest`, else a skeleton that `fill_class` fills and registers."""
    namespace = _scope()
    live = find_live(digest, namespace) if digest is not None else None
    if live is not None:
        return live
    made: type = constructor(*arguments)
    _unfinished()[id(made)] = (made, digest)
    return made


def fill_class(cls: type, state: Any) -> None:
    """Called by a stream: set the attributes of a class that `make_class` made; a live class stays as it is."""
    made = _unfinished().pop(id(cls), None)
    if made is None:
        return
    setter, attributes = state
    setter(cls, attributes)
    if made[1] is not None:
        _live[made[1]] = cls


class loading_into:
    """While a stream is read: its functions and classes belong to `namespace`."""

    def __init__(self, namespace: dict[str, object]) -> None:
        self.namespace = namespace

    def __enter__(self) -> None:
        self._before = getattr(_loading, "namespace", None), getattr(_loading, "unfinished", None)
        _loading.namespace, _loading.unfinished = self.namespace, {}

    def __exit__(self, *_: object) -> None:
        _loading.namespace, _loading.unfinished = self._before


def _scope() -> dict[str, object]:
    scope: dict[str, object] | None = getattr(_loading, "namespace", None)
    return sys.modules["__main__"].__dict__ if scope is None else scope


def _unfinished() -> dict[int, tuple[type, str | None]]:
    unfinished: dict[int, tuple[type, str | None]] | None = getattr(_loading, "unfinished", None)
    if unfinished is None:
        unfinished = _loading.unfinished = {}
    return unfinished


def live_namespace() -> dict[str, object]:
    """The namespace that the stream being read is loaded into."""
    return _scope()
