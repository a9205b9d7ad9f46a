"""IPython: compiler flags, extensions, magics, formatters, events, settings.

What IPython and ipykernel set up for themselves is left out; what a cell, or an extension that it loaded,
added counts.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from .adapter import Builtin
from .plain import Inexpressible, installed, plain, reference, unplain
from .standard import own


def current_shell() -> Any:
    """Return the IPython shell of this process, or None."""
    ipython = sys.modules.get("IPython.core.getipython")
    return None if ipython is None else ipython.get_ipython()


def _kernels_own(hook: object) -> bool:
    owner = getattr(hook, "__self__", hook)
    module = getattr(owner, "__module__", None)
    return own(module if isinstance(module, str) else type(owner).__module__)


# -- compiler flags --------------------------------------------------------------------------------


def _read_future() -> object | None:
    shell = current_shell()
    return None if shell is None else shell.compile.flags


def _write_future(value: Any) -> None:
    current_shell().compile.flags = value


# -- settings --------------------------------------------------------------------------------------

_TRAITS = (
    "ast_node_interactivity",
    "autoawait",
    "autocall",
    "automagic",
    "cache_size",
    "colors",
    "enable_html_pager",
    "quiet",
    "show_rewritten_input",
    "sphinxify_docstring",
    "system_raise_on_error",
)


def _read_settings() -> object | None:
    shell = current_shell()
    if shell is None:
        return None
    return {
        "traits": {name: plain(getattr(shell, name, None)) for name in _TRAITS},
        "xmode": plain(getattr(shell.InteractiveTB, "mode", None)),
        "pdb": bool(shell.call_pdb),
        "exceptions": [reference(kind) for kind in shell.custom_exceptions],
        "exception handler": reference(shell.CustomTB) if shell.custom_exceptions else None,
        "log": shell.logger.logfname if shell.logger.log_active else None,
        "folders": list(shell.dir_stack),
    }


def _write_settings(value: Any) -> None:
    shell = current_shell()
    for name, wanted in value["traits"].items():
        if plain(getattr(shell, name, None)) != wanted and not Inexpressible.inside(wanted):
            setattr(shell, name, unplain(wanted))
    if value["xmode"] is not None and shell.InteractiveTB.mode != value["xmode"]:
        shell.InteractiveTB.set_mode(mode=value["xmode"])
    if bool(shell.call_pdb) != value["pdb"]:
        shell.call_pdb = value["pdb"]
    if not value["exceptions"] and shell.custom_exceptions:
        shell.set_custom_exc((), None)
    shell.dir_stack[:] = value["folders"]
    if value["log"] is None and shell.logger.log_active:
        shell.logger.logstop()


# -- extensions ------------------------------------------------------------------------------------


def _read_extensions() -> object | None:
    shell = current_shell()
    if shell is None:
        return None
    loaded = {
        name: True if installed(name) else Inexpressible.of(sys.modules.get(name))
        for name in sorted(shell.extension_manager.loaded)
    }
    reloader = getattr(shell.magics_manager.registry.get("AutoreloadMagics"), "_reloader", None)
    if reloader is None:
        return {"loaded": loaded, "autoreload": None}
    mode = [reloader.enabled, reloader.check_all, reloader.autoload_obj]
    state = [*mode, sorted(reloader.modules), sorted(reloader.skip_modules)]
    # Idle is as good as not loaded: it cannot be unloaded.
    return {"loaded": loaded, "autoreload": state if any(state) else None}


def note_sources() -> None:
    """Have autoreload note the files that modules have come from since, as it does after each cell."""
    shell = current_shell()
    magics = None if shell is None else shell.magics_manager.registry.get("AutoreloadMagics")
    if magics is not None:
        magics.post_execute_hook()


def _write_extensions(value: Any) -> None:
    shell = current_shell()
    loaded = set(shell.extension_manager.loaded)
    for name, wanted in value["loaded"].items():
        if name not in loaded and wanted is True:
            shell.extension_manager.load_extension(name)
    for name in loaded - value["loaded"].keys():
        shell.extension_manager.unload_extension(name)
        shell.extension_manager.loaded.discard(name)  # most extensions cannot be unloaded, and are idle
    reloader = getattr(shell.magics_manager.registry.get("AutoreloadMagics"), "_reloader", None)
    if reloader is not None:
        enabled, check_all, objects, modules, skipped = value["autoreload"] or (False, False, False, (), ())
        reloader.enabled, reloader.check_all, reloader.autoload_obj = enabled, check_all, objects
        reloader.modules = dict.fromkeys(modules, True)
        reloader.skip_modules = dict.fromkeys(skipped, True)


# -- magics and aliases ----------------------------------------------------------------------------

_known_magics: dict[tuple[str, str], object] = {}


def _read_magics() -> object | None:
    shell = current_shell()
    if shell is None:
        return None
    added: dict[str, object] = {}
    for kind, table in shell.magics_manager.magics.items():
        for name, magic in table.items():
            if _known_magics.get((kind, name)) is not magic:
                encoded = _magic(magic)
                if encoded is None:
                    _known_magics[kind, name] = magic
                else:
                    added[f"{'%' if kind == 'line' else '%%'}{name}"] = encoded
    return dict(sorted(added.items()))


def keep_state(names: frozenset[str]) -> list[str]:
    """Magics of these names that can keep what nobody sees: neither IPython's own nor plain functions of the notebook."""
    shell = current_shell()
    found = []
    for kind, table in shell.magics_manager.magics.items() if shell is not None and names else ():
        for name in sorted(names & table.keys()):
            magic = table[name]
            plain_function = isinstance(magic, types.FunctionType) and not magic.__closure__
            if _kernels_own(magic) or (plain_function and magic.__globals__ is shell.user_ns):
                continue
            if isinstance(magic, types.FunctionType | types.MethodType):
                found.append(f"{'%' if kind == 'line' else '%%'}{name}")
    return found


def _magic(magic: Any) -> object | None:
    kind = type(magic)
    if kind.__module__ == "IPython.core.alias" and kind.__name__ == "Alias":
        return {"alias": plain(magic.cmd)}
    if kind.__module__ == "IPython.core.magic" and kind.__name__ == "MagicAlias":
        return {"magic alias": [magic.magic_name, magic.magic_kind, plain(magic.magic_params)]}
    if _kernels_own(magic):
        return None
    # An installed extension's magics come with the extension; what it keeps in its object is unknown.
    return reference(magic)


def _write_magics(value: Any) -> None:
    shell = current_shell()
    now: Any = _read_magics()
    for name, wanted in value.items():
        if now.get(name) == wanted:
            continue
        bare, kind = name.lstrip("%"), "cell" if name.startswith("%%") else "line"
        if "alias" in wanted:
            shell.alias_manager.soft_define_alias(bare, unplain(wanted["alias"]))
        elif "magic alias" in wanted:
            target, target_kind, params = wanted["magic alias"]
            shell.magics_manager.register_alias(bare, target, target_kind, unplain(params))
        elif not Inexpressible.inside(wanted):
            shell.magics_manager.register_function(unplain(wanted), kind, bare)
    for name in now.keys() - value.keys():
        kind = "cell" if name.startswith("%%") else "line"
        shell.magics_manager.magics[kind].pop(name.lstrip("%"), None)


# -- formatters ------------------------------------------------------------------------------------

# The class whose printers are the inline backend's, and a slot of their own.
FIGURE = ("matplotlib.figure", "Figure")
_FORMATTER_TRAITS = (
    "enabled",
    "pprint",
    "max_width",
    "max_seq_length",
    "newline",
    "float_precision",
    "float_format",
)
_Printers = dict[str, object]


def formatters(shell: Any) -> dict[str, Any]:
    """Return every formatter of a shell by its MIME type or special name."""
    display = shell.display_formatter
    special = {
        "ipython_display": display.ipython_display_formatter,
        "mimebundle": display.mimebundle_formatter,
    }
    return {**display.formatters, **special}


def _read_formatters() -> object | None:
    shell = current_shell()
    if shell is None:
        return None
    display = shell.display_formatter
    found: dict[str, object] = {"active": sorted(display.active_types)}
    for name, formatter in formatters(shell).items():
        if not formatter.enabled or name == "text/plain":
            found[name] = plain([getattr(formatter, trait, None) for trait in _FORMATTER_TRAITS])
        printers = _printers(formatter)
        if printers:
            found[name + " printers"] = printers
    return found


def _printers(formatter: Any) -> _Printers:
    added: _Printers = {}
    for kind, printer in formatter.type_printers.items():
        if not _kernels_own(printer) and (kind.__module__, kind.__qualname__) != FIGURE:
            added[f"{kind.__module__}.{kind.__qualname__}"] = reference(printer)
    for (module, name), printer in formatter.deferred_printers.items():
        if not _kernels_own(printer) and (module, name) != FIGURE:
            added[f"{module}.{name}"] = reference(printer)
    for printer in formatter.singleton_printers.values():
        if not _kernels_own(printer):
            added["one object"] = Inexpressible.of(printer)
    return added


def _write_formatters(value: Any) -> None:
    display = current_shell().display_formatter
    now: Any = _read_formatters()
    if now["active"] != value["active"]:
        display.active_types = value["active"]
    for name, formatter in formatters(current_shell()).items():
        if now.get(name) != value.get(name):
            traits = value.get(name)
            _write_formatter_traits(formatter, [True] if traits is None else unplain(traits))
        _write_printers(formatter, now.get(name + " printers", {}), value.get(name + " printers", {}))


def _write_formatter_traits(formatter: Any, traits: Any) -> None:
    numpy: Any = sys.modules.get("numpy")
    precision = numpy.get_printoptions()["precision"] if numpy is not None else None
    for trait, wanted in zip(_FORMATTER_TRAITS, traits, strict=False):
        # Setting the precision sets the format as well, so the format comes last.
        if wanted is not None and getattr(formatter, trait, None) != wanted:
            setattr(formatter, trait, wanted)
    if numpy is not None and numpy.get_printoptions()["precision"] != precision:
        numpy.set_printoptions(precision=precision)  # IPython hands its own on; NumPy's has a slot


def _write_printers(formatter: Any, now: _Printers, wanted: _Printers) -> None:
    for name in now.keys() - wanted.keys():
        for kind in [
            kind for kind in formatter.type_printers if f"{kind.__module__}.{kind.__qualname__}" == name
        ]:
            del formatter.type_printers[kind]
        formatter.deferred_printers.pop(tuple(name.rsplit(".", 1)), None)
    for name, printer in wanted.items():
        if now.get(name) != printer and not Inexpressible.inside(printer):
            module, _, kind_name = name.rpartition(".")
            formatter.for_type_by_name(module, kind_name, unplain(printer))


# -- events and transformers -----------------------------------------------------------------------


def _read_events() -> object | None:
    shell = current_shell()
    if shell is None:
        return None
    found = {
        event: [
            reference(callback)
            for callback in callbacks
            if not _kernels_own(callback) and not _inline_hook(callback)
        ]
        for event, callbacks in shell.events.callbacks.items()
    }
    return {event: callbacks for event, callbacks in found.items() if callbacks}


def _inline_hook(hook: object) -> bool:
    """Whether a hook shows or draws figures: it matters to who can reach matplotlib, and is part of a slot of matplotlib's."""
    return getattr(hook, "__module__", None) in ("matplotlib_inline.backend_inline", "matplotlib.pyplot")


def _write_events(value: Any) -> None:
    _write_hooks(current_shell().events.callbacks, value)


def _transformer_lists(shell: Any) -> dict[str, list[Any]]:
    manager = shell.input_transformer_manager
    return {
        "source": shell.ast_transformers,
        "cleanup": manager.cleanup_transforms,
        "line": manager.line_transforms,
        "token": manager.token_transformers,
        "post": shell.input_transformers_post,
    }


def _read_transformers() -> object | None:
    shell = current_shell()
    if shell is None:
        return None
    found = {
        name: [reference(hook) for hook in hooks if name == "source" or not _kernels_own(hook)]
        for name, hooks in _transformer_lists(shell).items()
    }
    return {name: hooks for name, hooks in found.items() if hooks}


def _write_transformers(value: Any) -> None:
    lists = _transformer_lists(current_shell())
    _write_hooks({name: hooks for name, hooks in lists.items() if name != "source"}, value)
    wanted = value.get("source", [])
    lists["source"][:] = [hook for hook in lists["source"] if reference(hook) in wanted]


def _write_hooks(lists: dict[str, list[Any]], value: dict[str, list[Any]]) -> None:
    for name, hooks in lists.items():
        wanted = value.get(name, [])
        hooks[:] = [
            hook for hook in hooks if _kernels_own(hook) or _inline_hook(hook) or reference(hook) in wanted
        ]
        present = [reference(hook) for hook in hooks]
        hooks.extend(
            unplain(hook) for hook in wanted if not Inexpressible.inside(hook) and hook not in present
        )


SLOTS = (
    Builtin("IPython compiler flags", _read_future, _write_future),
    Builtin("IPython settings", _read_settings, _write_settings),
    Builtin("IPython extensions", _read_extensions, _write_extensions),
    Builtin("IPython magics", _read_magics, _write_magics),
    Builtin("IPython formatters", _read_formatters, _write_formatters),
    Builtin("IPython events", _read_events, _write_events),
    Builtin("IPython transformers", _read_transformers, _write_transformers),
)
