"""Variables that something outside of the notebook holds: a handler's buffer, the list that a callback fills.

A later cell may change such a variable and never name it. So it is looked at after every cell; and a copy of it would not
be what is held, so it comes back only by its cell being run again.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Iterable, Mapping

from provcrt_kernel.session.fingerprint import Fingerprint

#: What cannot change, or comes back by its name.
_FIXED = (
    *(type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.CodeType),
    *(str, bytes, int, float, complex, tuple, frozenset, type(None)),
)
#: Whoever looks, and what is made for a moment.
_PASSING = (types.FrameType, types.TracebackType, tuple, set)


def held(
    names: Iterable[str], prints: Mapping[str, Fingerprint], namespace: Mapping[str, object]
) -> set[str]:
    """Those of `names` whose objects something refers to that no variable leads to.

    Parameters
    ----------
    names
        Variables.
    prints
        Fingerprints of all variables that may lead to them.

    Notes
    -----
    The collector is asked once, which takes some 10 ms (`gc.get_referrers`). Objects deeper inside are not looked for.
    """
    found: set[str] = set()
    values = {id(namespace[n]): n for n in names if n in namespace and changeable(n, prints, namespace)}
    if not values:
        return found
    inside = {id(namespace), id(namespace.get("_oh")), id(values)}
    for seen in prints.values():
        inside |= seen.objects
    asked = [namespace[n] for n in values.values()]
    others = [r for r in gc.get_referrers(*asked) if r is not asked and not issubclass(type(r), _PASSING)]
    others = [r for r in others if id(r) not in inside]
    # attributes of an instance may lie in a dictionary of their own
    plain = [r for r in others if type(r) is dict]
    owners = gc.get_referrers(*plain) if plain else []
    attributes = {id(d) for o in owners if id(o) in inside for d in gc.get_referents(o) if type(d) is dict}
    for other in others:
        if id(other) not in attributes:
            found |= {n for v in gc.get_referents(other) if (n := values.get(id(v))) is not None}
    return found


def changeable(name: str, prints: Mapping[str, Fingerprint], namespace: Mapping[str, object]) -> bool:
    """Whether a variable's value can be changed in place, and is data."""
    seen = prints.get(name)
    return (
        seen is not None
        and seen.digest is not None
        and bool(seen.objects)
        and not issubclass(type(namespace.get(name)), _FIXED)
    )
