"""Effects of a cell that no slot shows: what it did to the insides of modules, told by its source.

Nothing here can be restored, so a cell with such an effect is *pinned*: it is run again before any later miss. Over-pinning
costs a run of a cell that mostly sets an option; missing one would be stale.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterable, Mapping

from provcrt_kernel.session.source import Source

#: Calls that change what they are called on, by the first word of their name.
_VERBS = re.compile(
    r"(?:^|\.)_?(set|register|unregister|use|config|configure|add|remove|enable|disable|install|uninstall|patch|init|initialize|setup|"
    r"activate|deactivate|push|pop|insert|append|extend|clear|update|define|bind|hook|subscribe|attach|detach|reset|mock|monkeypatch|"
    r"declare|switch|turn|filter|simplefilter|captureWarnings|basicConfig)(_\w*|[A-Z]\w*)?$"
)


def _root(chain: str, namespace: Mapping[str, object]) -> str | None:
    """Top-level name of the module that a dotted name starts in; None if it does not start in a module or a library's class."""
    value = namespace.get(chain.partition(".")[0])
    if isinstance(value, types.ModuleType):
        return value.__name__.partition(".")[0]
    if isinstance(value, type) and value.__module__ != "__main__":
        return value.__module__.partition(".")[0]
    return None


def hidden_effects(
    source: Source, namespace: Mapping[str, object], explained: Iterable[str], *, visible: bool
) -> list[str]:
    """What a cell did to modules, as far as its source tells.

    Parameters
    ----------
    explained
        Top-level modules for whose state an ambient slot shows a change.
    visible
        Whether the cell left anything: a slot, a file, an output. If it did not, its calls had another effect.
    """
    known = set(explained)
    found = []
    for chain in sorted(source.assigned):
        root = _root(chain, namespace)
        if root is not None and root not in known:
            found.append(f"it sets {chain}")
    for chain in sorted(source.effects):
        root = _root(chain, namespace)
        if root is None or root in known or root in _HARMLESS:
            continue
        if not visible or ("." in chain and _VERBS.search(chain)):
            found.append(f"it calls {chain}")
    return found


#: Modules whose functions called as statements leave nothing behind in them.
_HARMLESS = frozenset({"time", "gc", "IPython", "builtins", "print", "subprocess", "shutil", "pprint"})


#: What may be copied without anybody telling the difference, or is brought back by name.
_COPIED = (
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    str,
    bytes,
    int,
    float,
    tuple,
)


def owner(value: object, source: Source, namespace: Mapping[str, object]) -> str | None:
    """The module that `value` is mutable state of, among those that the cell names; None: it may be copied."""
    if isinstance(
        value,
        type
        | types.ModuleType
        | types.FunctionType
        | types.BuiltinFunctionType
        | str
        | bytes
        | int
        | float
        | tuple,
    ):
        return None
    if value is None or not (hasattr(value, "__dict__") or isinstance(value, dict | list | set | bytearray)):
        return None
    modules = {m for name in source.imports if isinstance(m := sys.modules.get(name), types.ModuleType)}
    for chain in source.chains:
        step: object = namespace.get(chain.partition(".")[0])
        for part in chain.split(".")[1:]:
            if not isinstance(step, types.ModuleType):
                break
            modules.add(step)
            step = vars(step).get(part)
    for module in modules:
        if any(own is value for own in list(vars(module).values())):
            return module.__name__
    return None
