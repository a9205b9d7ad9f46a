"""What modules and libraries' classes hold, compared before and after a cell: changes that no slot shows.

Modules whose settings have ambient slots keep caches besides, so only their public names count, and of what their classes
hold what no library wrote.
"""

from __future__ import annotations

import _abc  # type: ignore[import-not-found]
import abc
import collections
import functools
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from provcrt_kernel.provenance.packages import is_library
from provcrt_kernel.session.homes import dict_of, is_a, module_of
from provcrt_kernel.session.names import code_names
from provcrt_kernel.session.objects import instance_dict
from provcrt_kernel.session.source import Source

#: Packages whose settings have ambient slots: what else changes in them is their caches.
KEPT = frozenset(
    "warnings logging random decimal locale asyncio os sys threading re "
    "numpy pandas matplotlib sklearn scipy seaborn torch plotly IPython PIL tqdm".split()
)
#: Public names of theirs that have slots, or that Python itself binds anew, or IPython with the first plot.
_SLOTTED = frozenset(
    "sys.stdin sys.stdout sys.stderr sys.excepthook sys.displayhook sys.unraisablehook sys.breakpointhook sys.path sys.argv "
    "sys.modules sys.meta_path sys.dont_write_bytecode sys.tracebacklimit sys.last_type sys.last_value sys.last_traceback "
    "sys.last_exc threading.excepthook warnings.filters warnings.showwarning os.environ matplotlib.rcParams "
    "matplotlib.pyplot.rcParams matplotlib.pyplot.draw_if_interactive".split()
)
#: What Python itself notes down in modules and classes: warnings shown, names of slots for `copyreg`; and the built-ins, which
#: all modules have alike and IPython puts in another order.
_BOOKKEEPING = frozenset({"__warningregistry__", "__slotnames__", "__builtins__"})
#: Longer lists are not looked through for modules.
SHORT = 50

Signature = dict[str, tuple[int, ...]]


def full_name(value: object) -> str | None:
    """Dotted name of a module or of a library's class; None for anything else."""
    if is_a(value, types.ModuleType):
        return value.__name__
    if is_a(value, type) and value.__module__ != "__main__":
        return f"{value.__module__}.{value.__qualname__}"
    return None


def watched(
    source: Source, namespace: Mapping[str, object], reached: Iterable[str] = ()
) -> dict[str, tuple[object, Signature]]:
    """Modules and library classes that a cell names, with a shallow signature of what they hold.

    Compare with `changed` after the cell. A change deeper inside is not seen.

    Parameters
    ----------
    reached
        Names that the cell's functions can reach: the modules and classes among their values count, what those have loaded, and
        the classes that the functions mention.
    """
    found: dict[str, tuple[object, Signature]] = {}

    def watch(holder: object) -> None:
        name = full_name(holder)
        if name is not None and name not in found:
            found[name] = (holder, _signature(holder))

    reached = list(reached)
    mentions = frozenset().union(*(mentioned(namespace.get(name)) for name in reached))
    todo = list(_holders(namespace, reached))
    while todo:
        holder = todo.pop()
        watch(holder)
        if is_a(holder, types.ModuleType):
            for name in mentions & vars(holder).keys():
                part = vars(holder)[name]
                if is_a(part, (type, types.ModuleType)) and full_name(part) not in found:
                    todo.append(part)
            for part in list(vars(holder).values()) if _top(holder.__name__) not in KEPT else ():
                if type(part) is types.ModuleType and part.__name__.startswith(f"{holder.__name__}."):
                    watch(part)
    for chain in source.chains | source.reads:
        step: object = namespace.get(chain.partition(".")[0])
        for part in [*chain.split(".")[1:], ""]:
            if full_name(step) is None or (is_a(step, type) and step.__module__ == "builtins"):
                break
            watch(step)
            step = vars(step).get(part)
    return found


def changed(before: Mapping[str, tuple[object, Signature]]) -> list[str]:
    """What is different now in watched modules; a submodule that was imported is not."""
    found = []
    for name, (holder, old) in before.items():
        now = _signature(holder)
        for key, signature in now.items():
            if old.get(key) != signature and key not in _BOOKKEEPING:
                if key not in old and _arrived(holder, key):
                    continue
                found.append(f"it changed {name}.{key}")
        found += [f"it removed {name}.{key}" for key in old.keys() - now.keys()]
    return found


def mentioned(value: object) -> frozenset[str]:
    """Every name in the code of a function, or of the functions of a class, or of a value's class, of the notebook."""
    if is_a(value, types.FunctionType):
        return code_names(value.__code__).mentions
    kind = value if is_a(value, type) else type(value)
    if module_of(kind) != "__main__":
        return frozenset()
    functions = (f for v in dict_of(kind).values() for f in _functions_of(v))
    return frozenset().union(*(code_names(f.__code__).mentions for f in functions))


def _top(name: str) -> str:
    return name.partition(".")[0]


def _holders(namespace: Mapping[str, object], names: Iterable[str]) -> Iterator[object]:
    """Modules and libraries' classes among the values of names, modules in a short list or dict, and what functions import."""
    for name in names:
        value = namespace[name] if name in namespace else sys.modules.get(name)
        if type(value) in (list, tuple, dict) and len(value) < SHORT:  # type: ignore[arg-type]
            held = value.values() if is_a(value, dict) else value
            yield from (v for v in held if type(v) is types.ModuleType)  # type: ignore[attr-defined]
        elif is_a(value, type):
            if module_of(value) not in ("__main__", "builtins"):
                yield value
        elif type(value) is types.ModuleType and value.__dict__ is not namespace:
            yield value


def _signature(holder: object) -> Signature:
    name = full_name(holder) or ""
    if _top(name) in KEPT:
        if is_a(holder, types.ModuleType):
            public = [(n, v) for n, v in list(vars(holder).items()) if n[:1] != "_"]
            if holder is sys:
                public += [(f"modules[{n}]", m) for n, m in list(sys.modules.items())]
            return {n: (id(v),) for n, v in public if f"{name}.{n}" not in _SLOTTED}
        return {
            n: (id(v),) if _foreign(v) else ()
            for n, v in list(vars(holder).items())
            if n[:1] != "_" or _foreign(v)
        }
    held = {n: (id(v), *_inside(v, name)) for n, v in list(vars(holder).items())}
    if is_a(holder, abc.ABCMeta):
        held["registered classes"] = (len(_abc._get_dump(holder)[0]),)
    return held


def _inside(value: object, home: str) -> tuple[int, ...]:
    """What a container holds, and what a class or an object of the module itself does."""
    if type(value) in (list, dict, set, collections.deque, collections.OrderedDict, collections.defaultdict):
        items = value.items() if is_a(value, dict) else value
        return (hash(tuple(id(i) for pair in items for i in (pair if type(pair) is tuple else (pair,)))),)  # type: ignore[attr-defined]
    if is_a(value, type):
        attributes = dict_of(value) if _top(module_of(value)) == _top(home) else None
    else:
        attributes = instance_dict(value) if _top(module_of(type(value))) == _top(home) else None
    if not attributes:
        return ()
    return (hash(tuple((n, id(v)) for n, v in list(attributes.items()) if n not in _BOOKKEEPING)),)


def _foreign(value: object) -> bool:
    """Whether it is a function, or a descriptor of one, that no library defines, or a mock."""
    if any(not _in_library(f.__code__.co_filename) for f in _functions_of(value)):
        return True
    return type(value).__module__ == "unittest.mock"


def _functions_of(value: Any) -> Iterator[types.FunctionType]:
    """A function, or those behind a descriptor of the built-in kinds."""
    if is_a(value, types.FunctionType):
        yield value
    elif type(value) in (staticmethod, classmethod):
        yield from _functions_of(value.__func__)
    elif is_a(value, property):
        for part in (value.fget, value.fset, value.fdel):
            yield from _functions_of(part)
    elif is_a(value, functools.cached_property):
        yield from _functions_of(value.func)


def _arrived(holder: object, name: str) -> bool:
    """Whether a new name is what the library itself puts there when it is first asked for: a module, or what is called so."""
    value = vars(holder).get(name)
    if name.startswith("modules["):
        return getattr(sys.modules.get(name[8:-1]), "__spec__", None) is not None
    if is_a(value, types.ModuleType):
        return True
    if _foreign(value) or not is_a(holder, types.ModuleType):
        return False
    home = getattr(value, "__module__", None)
    return is_a(home, str) and _top(home) == _top(holder.__name__) and getattr(value, "__name__", "") == name


_in_library = functools.cache(is_library)
