"""Which classes may lose something when they are pickled: those whose authors, here, took pickling into their
own hands.

Libraries are trusted to pickle what they hold; a notebook is not. The code named here also runs when a stream
is read.
"""

from __future__ import annotations

import collections
import copyreg
import enum
from types import FunctionType

from .homes import class_home, dict_of, home_of, mro_of
from .opaque import full_name

_PICKLING = (
    "__reduce__",
    "__reduce_ex__",
    "__getstate__",
    "__setstate__",
    "__getnewargs__",
    "__getnewargs_ex__",
    "__new__",
    "__getattr__",
    "__getattribute__",
)
_REBUILDING = ("__init__", "__setitem__", "__iter__", "append", "extend", "add", "update", "items")
_WRITTEN_IN_C = frozenset({type(object.__init__), type(str.join), type(len)})
_BUILT_IN = frozenset({list, dict, set, frozenset, bytearray, BaseException})
#: Bases whose own reducers keep what an instance of a subclass holds besides.
_COMPLETE = frozenset(
    {object, set, frozenset, bytearray, BaseException, collections.deque, collections.OrderedDict}
)


def suspect(kind: type) -> str | None:
    """The full name of `kind` if its pickles need comparing with what was pickled, else None.

    Parameters
    ----------
    kind : type
        The exact type of a value.

    Returns
    -------
    str or None
    """
    bases = mro_of(kind)
    hooks = _PICKLING if _BUILT_IN.isdisjoint(bases) else _PICKLING + _REBUILDING
    for base in bases:
        if class_home(base) in ("notebook", "local") and any(
            _ours(dict_of(base).get(hook)) for hook in hooks
        ):
            return full_name(kind)
    reducer = copyreg.dispatch_table.get(kind)
    return full_name(kind) if _ours(reducer) or _forgets(kind) else None


def _forgets(kind: type) -> bool:
    """Whether a class adds to one whose reducer may know nothing of it: a `datetime` with attributes loses them."""
    base = next(
        (b for b in mro_of(kind) if not {"__reduce__", "__reduce_ex__"}.isdisjoint(dict_of(b))), object
    )
    return base not in _COMPLETE and class_home(kind) in ("notebook", "local") and base is not kind


def finalizes(kind: type) -> bool:
    """Whether dropping an instance runs code of the notebook or of a local module: a copy of it would, too."""
    return any(
        "__del__" in dict_of(base) and class_home(base) in ("notebook", "local") for base in mro_of(kind)
    )


def disguises(kind: type) -> bool:
    """Whether instances say by code of the notebook or of a local module which class they are of: pickle asks them."""
    return any(
        "__class__" in dict_of(base) and class_home(base) in ("notebook", "local") for base in mro_of(kind)
    )


def suspect_class(cls: type) -> str | None:
    """The full name of a class whose own copy may differ from it: an enum that computes its members."""
    if issubclass(type(cls), enum.EnumMeta) and any(
        _ours(dict_of(base).get(hook))
        for base in mro_of(cls)
        for hook in ("__init__", "__new__", "_missing_")
    ):
        return full_name(cls)
    return None


def _ours(hook: object) -> bool:
    if isinstance(hook, (staticmethod, classmethod)):
        hook = hook.__func__
    if type(hook) is not FunctionType:
        return hook is not None and type(hook) not in _WRITTEN_IN_C
    return home_of(hook.__globals__.get("__name__")) in ("notebook", "local")
