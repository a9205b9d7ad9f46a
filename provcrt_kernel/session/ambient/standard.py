"""Python's standard library: random stream, decimal context, warnings, logging, hooks, event loop policy."""

from __future__ import annotations

import asyncio
import contextlib
import decimal
import logging
import random
import sys
import threading
import warnings
from array import array
from typing import Any

from .adapter import Builtin
from .plain import Inexpressible, constant, installed, plain, reference, unplain

# The kernel's own objects: what they are set to is not the notebook's doing.
OWN = (
    "IPython",
    "ipykernel",
    "ipython_genutils",
    "provcrt_kernel",
    "traitlets",
    "debugpy",
    "_pydevd_bundle",
    "pydevd",
    "tornado",
)
#: The kernel's own; its application's has a handler that owns the descriptor which stderr was started with.
_OWN_LOGGERS = ("IPKernelApp", "ProvcrtApp", "provcrt", "traitlets", "tornado")


def own(module: str | None) -> bool:
    """Tell whether a module belongs to the kernel."""
    return module is not None and module.partition(".")[0] in OWN


# -- random ----------------------------------------------------------------------------------------

_entropy = random.getstate()
# Modules that draw from the global stream when they are imported, and what: rich numbers its hyperlinks.
_IMPORT_DRAWS = {"rich.style": 24}
_drawn = _IMPORT_DRAWS.keys() & sys.modules.keys()


def _begin_random() -> None:
    """Whatever drew from the stream while the kernel started, it is what entropy made it."""
    global _entropy  # noqa: PLW0603
    _entropy = random.getstate()


def _read_random() -> object:
    state = random.getstate()
    if state != _entropy and _IMPORT_DRAWS.keys() & sys.modules.keys() != _drawn:
        _follow_imports(state)
    if state == _entropy:
        return ["entropy"]
    version, words, gauss = state
    return [version, array("I", words).tobytes(), gauss]


def _follow_imports(state: tuple[Any, ...]) -> None:
    """If nothing but the import of a library moved the stream, then it is still what entropy made it."""
    global _entropy  # noqa: PLW0603
    stream = random.Random()
    stream.setstate(_entropy)
    for module in sorted(_IMPORT_DRAWS.keys() & sys.modules.keys() - _drawn):
        stream.getrandbits(_IMPORT_DRAWS[module])
        _drawn.add(module)
    if stream.getstate() == state:
        _entropy = state


def _write_random(value: Any) -> None:
    global _entropy  # noqa: PLW0603 - the state that entropy gave to this process
    if value == ["entropy"]:
        if random.getstate() != _entropy:
            random.seed()
            _entropy = random.getstate()
        return
    version, words, gauss = value
    random.setstate((version, tuple(array("I", words)), gauss))


# -- decimal ---------------------------------------------------------------------------------------


def _read_decimal() -> object:
    here, default = decimal.getcontext(), decimal.DefaultContext
    return [_context(here), _context(default)]


def _context(context: decimal.Context) -> list[object]:
    traps = [signal.__name__ for signal, on in context.traps.items() if on]
    flags = [signal.__name__ for signal, on in context.flags.items() if on]
    return [
        context.prec,
        context.rounding,
        context.Emin,
        context.Emax,
        context.capitals,
        context.clamp,
        sorted(traps),
        sorted(flags),
    ]


def _write_decimal(value: Any) -> None:
    for context, wanted in zip((decimal.getcontext(), decimal.DefaultContext), value, strict=True):
        (
            context.prec,
            context.rounding,
            context.Emin,
            context.Emax,
            context.capitals,
            context.clamp,
            traps,
            flags,
        ) = wanted
        for signal in context.traps:
            context.traps[signal] = signal.__name__ in traps
            context.flags[signal] = signal.__name__ in flags


# -- warnings --------------------------------------------------------------------------------------


def _read_warnings() -> object:
    default = warnings._showwarning_orig  # type: ignore[attr-defined]
    return {
        "filters": [_filter(item) for item in warnings.filters],
        "showwarning": None if warnings.showwarning is default else reference(warnings.showwarning),
        "default action": warnings.defaultaction,  # type: ignore[attr-defined]
    }


_filters: dict[int, tuple[object, Any]] = {}


def _filter(item: Any) -> Any:
    # Filters are tuples that live long and hold names that are slow to find.
    known = _filters.get(id(item))
    if known is None or known[0] is not item:
        action, message, category, module, line = item
        names = category if isinstance(category, tuple) else (category,)
        encoded = [action, plain(message), [reference(name) for name in names], plain(module), line]
        if len(_filters) > 1000:
            _filters.clear()
        known = _filters[id(item)] = (item, encoded)
    return known[1]


def _write_warnings(value: Any) -> None:
    present = {repr(_filter(item)): item for item in warnings.filters}
    wanted = []
    for encoded in value["filters"]:
        action, message, names, module, line = encoded
        categories = [unplain(name) for name in names]
        if repr(encoded) in present:  # the same object, so that a category of the notebook's stays
            wanted.append(present[repr(encoded)])
        elif not any(isinstance(category, dict) for category in categories):
            category = categories[0] if len(categories) == 1 else tuple(categories)
            wanted.append((action, unplain(message), category, unplain(module), line))
    if wanted != warnings.filters:
        warnings.filters[:] = wanted  # type: ignore[index]
        warnings._filters_mutated()  # type: ignore[attr-defined]
    hook = value["showwarning"]
    if hook is None:
        logging.captureWarnings(False)
        warnings.showwarning = warnings._showwarning_orig  # type: ignore[attr-defined]
    elif hook == {"@name": "logging:_showwarning"}:
        logging.captureWarnings(True)
    elif not Inexpressible.inside(hook):
        warnings.showwarning = unplain(hook)
    warnings.defaultaction = value["default action"]  # type: ignore[attr-defined]


# -- logging ---------------------------------------------------------------------------------------

_STREAMS = ("stdout", "stderr", "__stdout__", "__stderr__")
_STYLES = {"PercentStyle": "%", "StrFormatStyle": "{", "StringTemplateStyle": "$"}
_START_LEVELS = dict(logging._levelToName)


def _read_logging() -> object:
    manager = logging.root.manager
    loggers: dict[str, object] = {}
    for name, logger in list(manager.loggerDict.items()):
        if not isinstance(logger, logging.Logger) or name.startswith(_OWN_LOGGERS):
            continue
        if logger.level or logger.disabled or not logger.propagate or logger.handlers or logger.filters:
            loggers[name] = _logger(logger)
    return {
        "disabled": manager.disable,
        "root": _logger(logging.root),
        "loggers": {name: loggers[name] for name in sorted(loggers)},
        "levels": [
            [level, name] for level, name in logging._levelToName.items() if _START_LEVELS.get(level) != name
        ],
        "factories": [
            None if manager.loggerClass is None else reference(manager.loggerClass),
            reference(logging.getLogRecordFactory()),
            reference(logging.getLoggerClass()),
        ],
    }


def _logger(logger: logging.Logger) -> object:
    return {
        "level": logger.level,
        "disabled": bool(logger.disabled),
        "propagate": bool(logger.propagate),
        "handlers": [_handler(handler) for handler in logger.handlers],
        "filters": [Inexpressible.of(item) for item in logger.filters],
    }


def _handler(handler: logging.Handler) -> object:
    kind = type(handler)
    if handler.filters or kind not in (logging.StreamHandler, logging.NullHandler):
        return _of_library(handler)
    stream = getattr(handler, "stream", None)
    where = next((name for name in _STREAMS if stream is getattr(sys, name)), None)
    layout = _layout(handler.formatter)
    if layout is None or (kind is logging.StreamHandler and (where is None or handler.terminator != "\n")):  # type: ignore[attr-defined]
        return _of_library(handler)
    return {"class": kind.__name__, "stream": where, "level": handler.level, "layout": layout}


def _of_library(handler: logging.Handler) -> object:
    """A handler that an installed package keeps in a module, by its name there."""
    name = constant(handler, type(handler)) or constant(handler, type(handler.formatter))
    if name is None or handler.filters:
        return Inexpressible.of(handler)
    return {"class": None, "constant": {"@name": name}, "level": handler.level}


def _layout(formatter: logging.Formatter | None) -> list[object] | None:
    if formatter is None:
        return []
    style = type(formatter._style)
    if type(formatter) is not logging.Formatter or vars(formatter).keys() != {"_style", "_fmt", "datefmt"}:
        return None
    if style.__name__ not in _STYLES or style.__module__ != "logging" or formatter._style._defaults:  # type: ignore[attr-defined]
        return None
    return [formatter._fmt, formatter.datefmt, _STYLES[style.__name__]]


def _write_logging(value: Any) -> None:
    manager = logging.root.manager
    manager.disable = value["disabled"]
    _write_logger(logging.root, value["root"])
    calm = {"level": 0, "disabled": False, "propagate": True, "handlers": [], "filters": []}
    present = _read_logging()["loggers"]  # type: ignore[index]
    for name in present.keys() | value["loggers"].keys():
        if present.get(name) != value["loggers"].get(name):
            _write_logger(logging.getLogger(name), value["loggers"].get(name, calm))
    wanted = _START_LEVELS | dict(map(tuple, value["levels"]))
    if wanted != logging._levelToName:
        logging._levelToName.clear()
        logging._levelToName.update(wanted)
        logging._nameToLevel.clear()
        logging._nameToLevel.update(
            {name: level for level, name in wanted.items()} | {"WARN": 30, "FATAL": 50}
        )
    own_class, factory, general = (unplain(item) for item in value["factories"])
    if not isinstance(own_class, dict):
        manager.loggerClass = own_class
    if not isinstance(factory, dict):
        logging.setLogRecordFactory(factory)
    if not isinstance(general, dict):
        logging.setLoggerClass(general)


def _write_logger(logger: logging.Logger, value: Any) -> None:
    if logger.level != value["level"]:
        logger.setLevel(value["level"])
    logger.disabled, logger.propagate = value["disabled"], value["propagate"]
    spare = [(_handler(handler), handler) for handler in logger.handlers]
    handlers = []
    for wanted in value["handlers"]:
        match = next((pair for pair in spare if pair[0] == wanted), None)
        if match is not None:
            spare.remove(match)
            handlers.append(match[1])
        elif "class" in wanted:
            handlers.append(_make_handler(wanted))
    if any(Inexpressible.inside(wanted) for wanted in value["handlers"]):
        handlers += [handler for known, handler in spare if Inexpressible.inside(known)]
    if handlers != logger.handlers:
        logger.handlers[:] = handlers
    wanted_filters = value["filters"]
    logger.filters[:] = [item for item in logger.filters if Inexpressible.of(item) in wanted_filters]


def _make_handler(value: Any) -> logging.Handler:
    if "constant" in value:
        found: logging.Handler = unplain(value["constant"])
        found.setLevel(value["level"])
        return found
    stream = value["stream"]
    handler = logging.NullHandler() if stream is None else logging.StreamHandler(getattr(sys, stream))
    handler.setLevel(value["level"])
    if value["layout"]:
        text, dates, style = value["layout"]
        handler.setFormatter(logging.Formatter(text, dates, style))
    return handler


# -- hooks -----------------------------------------------------------------------------------------

_HOOKS = (
    (sys, "excepthook"),
    (sys, "displayhook"),
    (sys, "unraisablehook"),
    (sys, "breakpointhook"),
    (sys, "stdin"),
    (sys, "stdout"),
    (sys, "stderr"),
    (threading, "excepthook"),
)
_originals: dict[tuple[str, str], object] = {}


def _read_hooks() -> object:
    changed: dict[str, object] = {}
    for module, name in _HOOKS:
        hook = getattr(module, name)
        if not _ours(module.__name__, name, hook):
            changed[f"{module.__name__}.{name}"] = reference(hook)
    finders = [finder for finder in sys.meta_path if not _installed_finder(finder)]
    if finders:
        changed["sys.meta_path"] = [Inexpressible.of(finder) for finder in finders]
    return changed


def _ours(module: str, name: str, hook: object) -> bool:
    if _originals.get((module, name)) is hook:
        return True
    owner = getattr(hook, "__self__", hook)
    kind = type(owner)
    if hook is getattr(sys, f"__{name}__", None) or own(kind.__module__) or hook is threading.__excepthook__:
        _originals[module, name] = hook
        return True
    return False


def _installed_finder(finder: object) -> bool:
    kind = finder if isinstance(finder, type) else type(finder)
    return kind.__module__ != "__main__" and installed(kind.__module__)


def _write_hooks(value: Any) -> None:
    for module, name in _HOOKS:
        wanted = value.get(f"{module.__name__}.{name}")
        if wanted is None:
            original = _originals.get((module.__name__, name), getattr(sys, f"__{name}__", None))
            if original is not None and getattr(module, name) is not original:
                setattr(module, name, original)
        elif not Inexpressible.inside(wanted):
            setattr(module, name, unplain(wanted))
    finders = value.get("sys.meta_path", [])
    for finder in list(sys.meta_path):
        if not _installed_finder(finder) and Inexpressible.of(finder) not in finders:
            with contextlib.suppress(ValueError):
                sys.meta_path.remove(finder)


# -- asyncio ---------------------------------------------------------------------------------------


def _read_asyncio() -> object:
    policy = asyncio.events._event_loop_policy  # type: ignore[attr-defined]  # asking for it would make one
    if policy is None or type(policy) is asyncio.DefaultEventLoopPolicy:
        return ["default"]
    name = reference(type(policy))
    extra = [key for key in vars(policy) if key not in ("_local", "_watcher")]
    return Inexpressible.of(policy) if extra or "@name" not in name else name  # type: ignore[operator]


def _write_asyncio(value: Any) -> None:
    kind: Any = asyncio.DefaultEventLoopPolicy if value == ["default"] else unplain(value)
    if not isinstance(kind, dict) and type(asyncio.events._event_loop_policy) is not kind:  # type: ignore[attr-defined]
        loop = asyncio._get_running_loop()
        asyncio.set_event_loop_policy(kind())
        if loop is not None:
            asyncio.set_event_loop(loop)


SLOTS = (
    Builtin(
        "random",
        _read_random,
        _write_random,
        kind="rng",
        asks=lambda: frozenset({"getstate", "_inst"}),
        seeds=frozenset({"seed", "setstate"}),
        begin=_begin_random,
    ),
    Builtin("decimal", _read_decimal, _write_decimal),
    Builtin("warnings.filters", _read_warnings, _write_warnings),
    Builtin("logging", _read_logging, _write_logging),
    Builtin("hooks", _read_hooks, _write_hooks),
    Builtin("asyncio policy", _read_asyncio, _write_asyncio),
)
