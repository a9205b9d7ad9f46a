"""Effects of a cell that no slot shows: what it did to the insides of modules, told by its source.

Nothing here can be restored, so a cell with such an effect is *pinned*: it is run again before any later miss. Over-pinning
costs a run of a cell that mostly sets an option; missing one would be stale.
"""

from __future__ import annotations

import collections
import re
import sys
import types
from collections.abc import Iterable, Mapping

from provcrt_kernel.provenance.packages import is_library
from provcrt_kernel.session.codes import SETTERS
from provcrt_kernel.session.homes import is_a, is_local
from provcrt_kernel.session.insides import KEPT, SHORT, full_name, mentioned
from provcrt_kernel.session.names import code_names
from provcrt_kernel.session.objects import constant_of, has_dict
from provcrt_kernel.session.source import Source
from provcrt_kernel.session.walk import ATOMS

#: Calls that change what they are called on, by the first word of their name.
_VERBS = re.compile(
    r"(?:^|\.)_?(set\w*|register|unregister|use|config|configure|add|remove|enable|disable|install|uninstall|patch|init|initialize|setup|"
    r"activate|deactivate|push|pop|insert|append|extend|clear|update|define|bind|hook|subscribe|attach|detach|reset|mock|monkeypatch|"
    r"declare|switch|turn|filter|simplefilter|captureWarnings|basicConfig)(_\w*|[A-Z]\w*)?$"
)


def _root(chain: str, namespace: Mapping[str, object]) -> str | None:
    """Top-level name of the module that a dotted name starts in; None if it does not start in a module or a library's class."""
    name = full_name(namespace.get(chain.partition(".")[0]))
    return None if name is None else name.partition(".")[0]


#: Setters of state that no slot keeps in modules whose settings have slots.
_BESIDE = frozenset(
    "os.nice os.setpriority os.putenv os.unsetenv os.chroot sys.addaudithook sys.settrace sys.setprofile threading.settrace "
    "threading.setprofile threading.stack_size locale.textdomain locale.bindtextdomain logging.captureWarnings".split()
)
#: Setters of what has a slot, in modules that keep more.
_SLOTTED = frozenset({"gc.enable", "gc.disable", "gc.set_threshold"})
#: Calls whose names are like those of setters, and that change files alone.
_ON_FILES = frozenset({"remove", "removedirs"})
#: Modules without settings, whose functions are called as those that set some are.
_PURE = frozenset(
    "builtins operator _operator functools _functools itertools copy math cmath collections typing types dataclasses contextlib "
    "heapq bisect statistics string enum ast json time shutil subprocess pprint IPython".split()
)


def hidden_effects(
    source: Source,
    namespace: Mapping[str, object],
    explained: Iterable[str],
    reached: Iterable[str] = (),
    words: Iterable[str] = (),
    *,
    visible: bool,
) -> list[str]:
    """What a cell did to modules, as far as its source tells.

    Parameters
    ----------
    explained
        Top-level modules for whose state an ambient slot shows a change.
    reached
        Names that the cell's functions can reach.
    words
        `SETTERS` in the code of these functions.
    visible
        Whether the cell left anything: a slot, a file, an output. If it did not, its calls had another effect.
    """
    known = set(explained)
    modules = [
        m for n in sorted(reached) if is_a(m := namespace.get(n, sys.modules.get(n)), types.ModuleType)
    ]
    others = [m for m in modules if m.__name__.partition(".")[0] not in KEPT | _PURE]
    found = []
    for chain in sorted(source.assigned):
        root = _root(chain, namespace)
        if root is not None and (root not in known or _of_class(chain, namespace)):
            found.append(f"it sets {chain}")
    for call in sorted(source.effects):
        chain, root = _called(call, namespace)
        if root is None and not visible and others and mentioned(namespace.get(chain.partition(".")[0])):
            found.append(f"it calls {chain}, and nothing shows what that did")
        if root is None or root in known or (root in _HARMLESS and call.count(".") < 2):
            continue
        on_files = root in ("os", "posix") and chain.rpartition(".")[2] in _ON_FILES
        if not visible or ("." in chain and _VERBS.search(chain) and not on_files):
            found.append(f"it calls {chain}")
    found += [f"it may call {name}" for name in _setters(source, namespace, modules, words)]
    if source.attributes & {"__enter__", "enter_context"}:
        found.append("it enters a context by hand")
    if source.attributes & {"start", "stop", "stopall"} and "unittest.mock" in sys.modules:
        mocks = (n for n in sorted(source.reads | source.binds) if _of_mock(namespace.get(n)))
        found += [f"{name} may replace what modules hold" for name in mocks]
    return found


def _called(chain: str, namespace: Mapping[str, object]) -> tuple[str, str | None]:
    """What is called, and its top-level module; of a library's function that was imported by its own name, the dotted name."""
    value = namespace.get(chain)
    if is_a(value, types.FunctionType) and is_library(value.__code__.co_filename):
        return f"{value.__module__}.{value.__name__}", value.__module__.partition(".")[0]
    return chain, _root(chain, namespace)


def _setters(
    source: Source, namespace: Mapping[str, object], modules: Iterable[types.ModuleType], words: Iterable[str]
) -> list[str]:
    """Libraries' functions that change a setting and that a cell names, or that its functions may call."""
    found = {word.replace("posix.", "os.") for word in words if "." in word}
    plain = {word for word in words if "." not in word}
    for chain in source.chains:
        holder, _, name = chain.rpartition(".")
        module = _led_to(holder, namespace) if holder else None
        if is_a(module, types.ModuleType) and SETTERS.fullmatch(name) and name in vars(module):
            found.add(f"{module.__name__}.{name}")
    for module in modules if plain else ():
        own = f"{module.__name__}."
        parts = (
            m for m in list(vars(module).values()) if is_a(m, types.ModuleType) and m.__name__.startswith(own)
        )
        for part in (module, *parts):
            found |= {
                f"{part.__name__}.{word}" for word in plain & vars(part).keys() if callable(vars(part)[word])
            }
    found = {name for name in found if name in _BESIDE or name.partition(".")[0] not in KEPT | _PURE}
    return sorted(found - _SLOTTED)


def _of_mock(value: object) -> bool:
    kind = value if is_a(value, (types.ModuleType, types.FunctionType)) else type(value)
    return "unittest.mock" in (kind.__module__ if not is_a(kind, types.ModuleType) else kind.__name__)


def first_used(source: Source, namespace: Mapping[str, object], arrived: Iterable[str]) -> list[str]:
    """What a cell may have done to local modules that it imported itself: how they were before it used them nobody saw.

    Parameters
    ----------
    arrived
        Local modules that the cell loaded.
    """
    new = {id(m.__dict__): m for name in arrived if (m := sys.modules.get(name)) is not None}
    found = []
    for function in _named(source, namespace) if new else ():
        scope = getattr(function, "__globals__", None)
        module = new.get(id(scope))
        if module is not None and _changes_globals(function, module):
            found.append(f"it may have changed module {module.__name__}")
    return list(dict.fromkeys(found))


def mentioned_in_modules(
    source: Source, namespace: Mapping[str, object], modules: Iterable[str]
) -> frozenset[str]:
    """Every name in the code of those functions of local modules that a cell names, and of what these call there."""
    scopes = {id(m.__dict__) for name in modules if (m := sys.modules.get(name)) is not None}
    todo = _named(source, namespace) if scopes else []
    found: set[str] = set()
    seen: set[object] = set()
    while todo:
        one = todo.pop()
        if is_a(one, types.FunctionType) and id(one.__globals__) in scopes and one not in seen:
            seen.add(one)
            names = code_names(one.__code__)
            found |= names.mentions
            todo += (one.__globals__.get(name) for name in names.loads)
    return frozenset(found)


def _changes_globals(function: object, module: types.ModuleType) -> bool:
    """Whether a module's function, or one that it calls there, binds a global or loads one that can be changed in place."""
    todo, seen = [function], set()
    while todo:
        one = todo.pop()
        if not is_a(one, types.FunctionType) or one in seen:
            continue
        seen.add(one)
        names = code_names(one.__code__)
        if names.stores:
            return True
        for name in names.loads:
            value = vars(module).get(name)
            if is_a(value, (list, dict, set, collections.deque)) or (
                getattr(type(value), "__module__", "") == module.__name__
            ):
                return True
            todo.append(value)
    return False


def _of_class(chain: str, namespace: Mapping[str, object]) -> bool:
    """Whether what is set is an attribute of a library's class, which no slot tells of."""
    return is_a(_led_to(chain.rpartition(".")[0], namespace), type)


def _led_to(chain: str, namespace: Mapping[str, object]) -> object:
    """What a dotted name leads to, through modules and classes; None if it does not lead there."""
    first, *steps = chain.split(".")
    holder = namespace.get(first)
    for step in steps:
        holder = vars(holder).get(step) if is_a(holder, (types.ModuleType, type)) else None
    return holder


def _named(source: Source, namespace: Mapping[str, object]) -> list[object]:
    """What the names of a cell lead to; of a class, what it holds."""
    found: list[object] = []
    for chain in sorted(source.chains | source.binds | source.reads):
        value = _led_to(chain, namespace)
        found += vars(value).values() if is_a(value, type) else (value,)
    return found


def replaced(source: Source, namespace: Mapping[str, object]) -> frozenset[str]:
    """Top-level modules in which a cell sets, by its own text, something that values are known by: it names another then."""
    found = set()
    for chain in source.assigned:
        path, _, name = chain.rpartition(".")
        first = chain.partition(".")[0]
        holders = [_led_to(path, namespace), sys.modules.get(path)] if path else []
        if first in source.binds:  # by another name that the cell itself imports it by
            holders += [sys.modules.get(imported) for imported in source.imports]
        for holder in holders:
            if is_a(holder, (types.ModuleType, type)):
                old = vars(holder).get(name)
                local = is_a(holder, types.ModuleType) and is_local(holder)
                if callable(old) or is_a(old, types.ModuleType) or (local and type(old) not in ATOMS):
                    found.add(full_name(holder))
        if is_a(module := namespace.get(chain), types.ModuleType):  # by ``setattr``
            found.add(module.__name__)
    return frozenset(name.partition(".")[0] for name in found if name)


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
    if is_a(value, _COPIED):
        return None
    if is_a(value, types.MethodType) and constant_of(value.__self__) is not None:
        return None  # `random.shuffle` comes back bound to the module's own stream
    if not (has_dict(type(value)) or is_a(value, (dict, list, set, bytearray))):
        return None
    modules = {m for name in source.imports if is_a(m := sys.modules.get(name), types.ModuleType)}
    for chain in source.chains:
        step: object = namespace.get(chain.partition(".")[0])
        for part in chain.split(".")[1:]:
            if not is_a(step, types.ModuleType):
                break
            modules.add(step)
            step = vars(step).get(part)
    for module in modules:
        if any(own is value for own in list(vars(module).values())):
            return module.__name__
    return None


def holds_owned(value: object, source: Source, namespace: Mapping[str, object]) -> str | None:
    """The module whose mutable state a short container holds, one level deep, as far as the cell names it."""
    if type(value) not in (tuple, list, dict) or len(value) > SHORT:  # type: ignore[arg-type]
        return None
    held = value.values() if is_a(value, dict) else value
    return next((m for v in held if (m := owner(v, source, namespace))), None)  # type: ignore[attr-defined]
