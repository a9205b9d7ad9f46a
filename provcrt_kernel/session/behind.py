"""What an opaque value refers to: the objects that a change elsewhere would change it by.

A generator, a dict view, a thread pool cannot be read back, but the collector knows what they hold on to (`gc.get_referents`).
Whoever shares that with them is tied to them.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Mapping
from typing import Any, cast

from provcrt_kernel.session.names import code_names

#: Objects looked at; a value that holds on to more is tied to what was found.
_LIMIT = 20_000
_SKIPPED = (
    types.ModuleType,
    type,
    types.CodeType,
    str,
    bytes,
    int,
    float,
    complex,
    types.BuiltinFunctionType,
)


def behind(value: object, namespace: Mapping[str, object]) -> tuple[set[int], set[str]]:
    """Mutable objects behind a value, by ``id()``, and the global names that code behind it reads."""
    if value is namespace:
        return set(), {"*"}
    found: set[int] = set()
    names: set[str] = set()
    seen = {id(namespace), id(value)}
    todo = [value]
    while todo and len(seen) < _LIMIT:
        current = todo.pop()
        code: object = None
        # by type: what `isinstance` asks, an object may answer in its own way, and a dead proxy not at all
        kind = type(current)
        if kind is types.GeneratorType:
            code = cast(Any, current).gi_code
        if kind is types.FunctionType:
            current = cast(types.FunctionType, current)
            if current.__globals__ is not namespace:
                continue
            code = current.__code__
        if isinstance(code, types.CodeType):
            names |= code_names(code).loads
        for other in gc.get_referents(current):
            if id(other) in seen or issubclass(type(other), _SKIPPED):
                continue
            seen.add(id(other))
            todo.append(other)
            found.add(id(other))
    return found, names
