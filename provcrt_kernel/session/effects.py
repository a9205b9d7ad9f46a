"""Effects of a cell that no slot shows: what it did to the insides of modules, told by its source.

Nothing here can be restored, so a cell with such an effect is *pinned*: it is run again before any later miss. Over-pinning
costs a run of a cell that mostly sets an option; missing one would be stale.
"""

from __future__ import annotations

import _abc  # type: ignore[import-not-found]
import abc
import collections
import functools
import re
import sys
import types
from collections.abc import Iterable, Mapping

from provcrt_kernel.provenance.packages import is_library
from provcrt_kernel.session.names import code_names
from provcrt_kernel.session.objects import constant_of
from provcrt_kernel.session.source import Source

#: Calls that change what they are called on, by the first word of their name.
_VERBS = re.compile(
    r"(?:^|\.)_?(set\w*|register|unregister|use|config|configure|add|remove|enable|disable|install|uninstall|patch|init|initialize|setup|"
    r"activate|deactivate|push|pop|insert|append|extend|clear|update|define|bind|hook|subscribe|attach|detach|reset|mock|monkeypatch|"
    r"declare|switch|turn|filter|simplefilter|captureWarnings|basicConfig)(_\w*|[A-Z]\w*)?$"
)


def _full_name(value: object) -> str | None:
    """Dotted name of a module or of a library's class; None for anything else."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    if isinstance(value, type) and value.__module__ != "__main__":
        return f"{value.__module__}.{value.__qualname__}"
    return None


def _root(chain: str, namespace: Mapping[str, object]) -> str | None:
    """Top-level name of the module that a dotted name starts in; None if it does not start in a module or a library's class."""
    name = _full_name(namespace.get(chain.partition(".")[0]))
    return None if name is None else name.partition(".")[0]


#: Setters of state in C, which no comparison sees and whose names are ordinary words.
_SETTERS = frozenset(
    "csv.field_size_limit copyreg.pickle copyreg.constructor signal.signal signal.alarm signal.setitimer tracemalloc.start "
    "tracemalloc.stop gc.freeze gc.unfreeze time.tzset threading.stack_size locale.textdomain readline.parse_and_bind".split()
)
#: Calls whose names are like those of setters, and that change files alone.
_ON_FILES = frozenset({"os.remove", "os.removedirs"})
#: Packages whose settings have ambient slots: what else changes in them is their caches.
_KEPT = frozenset(
    "warnings logging random decimal locale asyncio os sys threading re "
    "numpy pandas matplotlib sklearn scipy seaborn torch plotly IPython PIL tqdm".split()
)

#: Those of them whose functions others replace for a test or a trick.
_PATCHED = frozenset("random os re numpy pandas matplotlib sklearn scipy seaborn torch".split())
#: Longer lists are not looked through for modules.
_SHORT = 50

Signature = dict[str, tuple[int, ...]]


def watched(
    source: Source, namespace: Mapping[str, object], reached: Iterable[str] = ()
) -> dict[str, tuple[object, Signature]]:
    """Modules and library classes that a cell names, with a shallow signature of what they hold.

    Compare with `changed` after the cell. A change deeper inside is not seen.

    Parameters
    ----------
    reached
        Names that the cell's functions can reach: the modules among their values count, and what those have loaded.
    """
    found: dict[str, tuple[object, Signature]] = {}

    def watch(holder: object) -> None:
        name = _full_name(holder)
        if name is not None and name not in found:
            top = name.partition(".")[0]
            if top not in _KEPT:
                found[name] = (holder, _signature(holder))
            elif top in _PATCHED:
                found[name] = (holder, _functions(holder))

    for module in _modules_among(namespace, reached):
        watch(module)
        top = module.__name__.partition(".")[0]
        for part in list(vars(module).values()) if top not in _KEPT else ():
            if type(part) is types.ModuleType and part.__name__.startswith(f"{module.__name__}."):
                watch(part)
    for chain in source.chains | source.reads:
        step: object = namespace.get(chain.partition(".")[0])
        for part in [*chain.split(".")[1:], ""]:
            name = _full_name(step)
            if name is None or (isinstance(step, type) and step.__module__ == "builtins"):
                break
            watch(step)
            step = vars(step).get(part)
    return found


def _modules_among(namespace: Mapping[str, object], names: Iterable[str]) -> Iterable[types.ModuleType]:
    """Modules that names are bound to, that a short list or dict of theirs holds, or that functions import by these names."""
    for name in names:
        value = namespace[name] if name in namespace else sys.modules.get(name)
        if type(value) in (list, tuple, dict) and len(value) < _SHORT:  # type: ignore[arg-type]
            held = value.values() if isinstance(value, dict) else value
            yield from (v for v in held if type(v) is types.ModuleType)  # type: ignore[attr-defined]
        elif type(value) is types.ModuleType and value.__dict__ is not namespace:
            yield value


def _functions(holder: object) -> Signature:
    """Signature of what took the places of a module's or class's own functions: those that no library defines, mocks."""
    return {n: (id(v),) for n, v in list(vars(holder).items()) if _foreign(v)}


def _foreign(value: object) -> bool:
    if type(value) is types.FunctionType:
        return not _in_library(value.__code__.co_filename)
    return type(value).__module__ == "unittest.mock"


_in_library = functools.cache(is_library)


def _signature(holder: object) -> Signature:
    held = {name: (id(value), *_inside(value)) for name, value in list(vars(holder).items())}
    if isinstance(holder, abc.ABCMeta):
        held["registered classes"] = (len(_abc._get_dump(holder)[0]),)
    return held


def _inside(value: object) -> tuple[int, ...]:
    if type(value) in (list, dict, set, collections.deque, collections.OrderedDict, collections.defaultdict):
        items = value.items() if isinstance(value, dict) else value
        return (hash(tuple(id(i) for pair in items for i in (pair if type(pair) is tuple else (pair,)))),)  # type: ignore[attr-defined]
    return ()


#: What Python itself notes down in modules and classes: warnings shown, names of slots for `copyreg`.
_BOOKKEEPING = frozenset({"__warningregistry__", "__slotnames__"})


def changed(before: Mapping[str, tuple[object, Signature]]) -> list[str]:
    """What is different now in watched modules; a submodule that was imported is not."""
    found = []
    for name, (holder, old) in before.items():
        top = name.partition(".")[0]
        now = _signature(holder) if top not in _KEPT else _functions(holder)
        for key, signature in now.items():
            if old.get(key) != signature and key not in _BOOKKEEPING:
                if key not in old and isinstance(vars(holder).get(key), types.ModuleType):
                    continue
                found.append(f"it changed {name}.{key}")
        found += [
            f"it removed {name}.{key}" for key in old.keys() - vars(holder).keys() - {"registered classes"}
        ]
    return found


def _dotted(chain: str, namespace: Mapping[str, object]) -> str:
    """A chain by its module's own name: ``s.signal`` after ``import signal as s`` is ``signal.signal``."""
    root, _, rest = chain.partition(".")
    return f"{getattr(namespace.get(root), '__name__', root)}.{rest}"


def hidden_effects(
    source: Source,
    namespace: Mapping[str, object],
    explained: Iterable[str],
    reached: Iterable[str] = (),
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
    visible
        Whether the cell left anything: a slot, a file, an output. If it did not, its calls had another effect.
    """
    known = set(explained)
    found = []
    for chain in sorted(source.assigned):
        root = _root(chain, namespace)
        if root is not None and (root not in known or _of_class(chain, namespace)):
            found.append(f"it sets {chain}")
    for chain in sorted(source.effects):
        root = _root(chain, namespace)
        if root is None or root in known or (root in _HARMLESS and chain.count(".") < 2):
            continue
        called = _dotted(chain, namespace)
        sets = "." in chain and called not in _ON_FILES and (_VERBS.search(chain) or called in _SETTERS)
        if sets or not visible:
            found.append(f"it calls {chain}")
    for name in sorted(reached):
        mentions = _mentions(namespace.get(name))
        for module, setter in (s.split(".") for s in _SETTERS) if mentions else ():
            if setter in mentions and module in mentions and module not in known:
                found.append(f"{name} may call {module}.{setter}")
    if source.attributes & {"start", "stop", "stopall"} and "unittest.mock" in sys.modules:
        mocks = (n for n in sorted(source.reads | source.binds) if _of_mock(namespace.get(n)))
        found += [f"{name} may replace what modules hold" for name in mocks]
    return found


def _mentions(value: object) -> frozenset[str]:
    """Every name in the code of a function, or of the functions of a class, or of a value's class, of the notebook."""
    if isinstance(value, types.FunctionType):
        return code_names(value.__code__).mentions
    kind = value if isinstance(value, type) else type(value)
    if kind.__module__ != "__main__":
        return frozenset()
    functions = (f for f in vars(kind).values() if isinstance(f, types.FunctionType))
    return frozenset().union(*(code_names(f.__code__).mentions for f in functions))


def _of_mock(value: object) -> bool:
    kind = value if isinstance(value, types.ModuleType | types.FunctionType) else type(value)
    return "unittest.mock" in (kind.__module__ if not isinstance(kind, types.ModuleType) else kind.__name__)


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
        if isinstance(one, types.FunctionType) and id(one.__globals__) in scopes and one not in seen:
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
        if not isinstance(one, types.FunctionType) or one in seen:
            continue
        seen.add(one)
        names = code_names(one.__code__)
        if names.stores:
            return True
        for name in names.loads:
            value = vars(module).get(name)
            if isinstance(value, list | dict | set | collections.deque) or (
                getattr(type(value), "__module__", "") == module.__name__
            ):
                return True
            todo.append(value)
    return False


def _of_class(chain: str, namespace: Mapping[str, object]) -> bool:
    """Whether what is set is an attribute of a library's class, which no slot tells of."""
    return isinstance(_led_to(chain.rpartition(".")[0], namespace), type)


def _led_to(chain: str, namespace: Mapping[str, object]) -> object:
    """What a dotted name leads to, through modules and classes; None if it does not lead there."""
    first, *steps = chain.split(".")
    holder = namespace.get(first)
    for step in steps:
        holder = vars(holder).get(step) if isinstance(holder, types.ModuleType | type) else None
    return holder


def _named(source: Source, namespace: Mapping[str, object]) -> list[object]:
    """What the names of a cell lead to; of a class, what it holds."""
    found: list[object] = []
    for chain in sorted(source.chains | source.binds | source.reads):
        value = _led_to(chain, namespace)
        found += vars(value).values() if isinstance(value, type) else (value,)
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
    if isinstance(value, _COPIED):
        return None
    if isinstance(value, types.MethodType) and constant_of(value.__self__) is not None:
        return None  # `random.shuffle` comes back bound to the module's own stream
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


def holds_owned(value: object, source: Source, namespace: Mapping[str, object]) -> str | None:
    """The module whose mutable state a short container holds, one level deep, as far as the cell names it."""
    if type(value) not in (tuple, list, dict) or len(value) > _SHORT:  # type: ignore[arg-type]
        return None
    held = value.values() if isinstance(value, dict) else value
    return next((m for v in held if (m := owner(v, source, namespace))), None)  # type: ignore[attr-defined]
