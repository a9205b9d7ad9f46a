"""Plots: matplotlib's rcParams, open figures and colour maps, its inline backend, plotly's defaults."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any

from .adapter import Builtin
from .ipython import FIGURE, current_shell, formatters
from .plain import ATOMS, Inexpressible, plain, reference, unplain

# -- matplotlib ------------------------------------------------------------------------------------


def _read_rc() -> object | None:
    matplotlib = sys.modules.get("matplotlib")
    params = getattr(matplotlib, "rcParams", None)
    if params is None:
        return None
    # As a dict: asking the RcParams for "backend" would resolve it, and import a GUI toolkit or pyplot.
    return {key: item if type(item) in ATOMS else _rc_plain(item) for key, item in dict.items(params)}


def _rc_plain(item: Any) -> object:
    kind = type(item)
    if kind is list or kind is tuple:
        items = [one if type(one) in ATOMS else _rc_plain(one) for one in item]
        return items if kind is list else {"@tuple": items}
    if kind.__name__ == "Cycler" and kind.__module__ == "cycler":
        by_key = item.by_key()  # in the order of a set
        return {"@cycler": [[key, _rc_plain(by_key[key])] for key in sorted(by_key, key=str)]}
    if kind is object:
        return {"@auto": True}  # the sentinel of a backend that nobody chose
    return plain(item)


def _write_rc(value: Any) -> None:
    import matplotlib

    now = _read_rc()
    params = matplotlib.rcParams
    for key, wanted in value.items():
        if now[key] == wanted if isinstance(now, dict) and key in now else False:
            continue
        if key == "backend":
            _write_backend(wanted)
        elif not Inexpressible.inside(wanted):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                params[key] = _rc_unplain(wanted)


def _rc_unplain(value: Any) -> Any:
    if isinstance(value, dict) and "@cycler" in value:
        import cycler

        cycle = None
        for key, values in value["@cycler"]:
            one = cycler.cycler(key, _rc_unplain(values))
            cycle = one if cycle is None else cycle + one
        return cycle
    if isinstance(value, list):
        return [_rc_unplain(item) for item in value]
    return unplain(value)


def _write_backend(wanted: Any) -> None:
    import matplotlib.rcsetup

    if wanted == {"@auto": True}:
        dict.__setitem__(matplotlib.rcParams, "backend", matplotlib.rcsetup._auto_backend_sentinel)
    elif "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].switch_backend(wanted)
    else:
        matplotlib.rcParams["backend"] = wanted


def _read_figures() -> object | None:
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    if helpers is None:
        return None
    return [[plain(number), Inexpressible.of(manager)] for number, manager in helpers.Gcf.figs.items()]


def _write_figures(value: Any) -> None:
    helpers: Any = sys.modules.get("matplotlib._pylab_helpers")
    if helpers is None:
        return
    for number, manager in list(helpers.Gcf.figs.items()):
        if [plain(number), Inexpressible.of(manager)] not in value:
            helpers.Gcf.destroy(number)


def _read_colormaps() -> object | None:
    cm = sys.modules.get("matplotlib.cm")
    registry = getattr(cm, "_colormaps", None)
    if registry is None:
        return None
    library = getattr(sys.modules.get("seaborn.cm"), "__dict__", {})
    added = registry._cmaps.keys() - set(registry._builtin_cmaps)
    return {
        name: Inexpressible.of(registry._cmaps[name])
        for name in sorted(added)
        if name not in library and name.removesuffix("_r") not in library
    }


def _write_colormaps(value: Any) -> None:
    import matplotlib

    for name in (_read_colormaps() or {}).keys() - value.keys():  # type: ignore[attr-defined]
        matplotlib.colormaps.unregister(name)


# -- the inline backend ----------------------------------------------------------------------------

_INLINE_DEFAULTS = {"formats": ["png"], "print": {"bbox_inches": "tight"}, "close": True, "rc": {}}
_TRAITS = {"print": "print_figure_kwargs", "close": "close_figures", "rc": "rc"}
_FLUSH = "flush_figures"
_DRAW = "_draw_all_if_interactive"


def _read_inline() -> object | None:
    shell = current_shell()
    if shell is None:
        return None
    asked = shell.config.get("InlineBackend")
    if not (asked or "matplotlib" in sys.modules or "matplotlib_inline.config" in sys.modules):
        return None
    module: Any = sys.modules.get("matplotlib_inline.config")
    backend = None if module is None else module.InlineBackend._instance
    figure = getattr(sys.modules.get("matplotlib.figure"), "Figure", None)
    printers: dict[str, object] = {}
    for name, formatter in formatters(shell).items():
        printer = formatter.type_printers.get(figure) or formatter.deferred_printers.get(FIGURE)
        if printer is not None:
            printers[name] = reference(printer)
    return {
        "config": _inline(backend) if backend is not None else _inline_to_be(asked or {}),
        # noted down by ``%config`` for when it is made
        "asked": plain(dict(asked)) if backend is None and asked else None,
        "printers": printers,
        "flush": _hooked(shell, _FLUSH),
        "draw": _hooked(shell, _DRAW),
    }


def _hooked(shell: Any, name: str) -> bool:
    return any(getattr(hook, "__name__", "") == name for hook in shell.events.callbacks["post_execute"])


def _inline_to_be(asked: Mapping[str, Any]) -> object:
    """What an InlineBackend that nobody has made yet will be, by what is `asked` of it; making one would import pyplot."""
    found: dict[str, object] = {key: plain(asked[name]) for key, name in _TRAITS.items() if name in asked}
    if "figure_formats" in asked:
        found["formats"] = sorted(asked["figure_formats"])
    if asked.get("figure_format"):
        found["formats"] = [plain(asked["figure_format"])]
    return {**_INLINE_DEFAULTS, **found}


def _inline(backend: Any) -> object:
    return {
        "formats": sorted(backend.figure_formats),
        "print": plain(dict(backend.print_figure_kwargs)),
        "close": backend.close_figures,
        "rc": plain(dict(backend.rc)),
    }


def _write_inline(value: Any) -> None:
    now: Any = _read_inline()
    if now == value:
        return
    shell = current_shell()
    if value["asked"]:
        from traitlets.config import Config

        shell.update_config(Config({"InlineBackend": unplain(value["asked"])}))
    if not (value["printers"] or value["flush"] or "matplotlib_inline.config" in sys.modules):
        return  # to import it is to set it up
    from matplotlib_inline.config import InlineBackend

    if value["printers"] or value["flush"]:
        # Its first import sets the shell up, over what is restored here: so it comes first.
        from matplotlib_inline import backend_inline

        if value["flush"] and backend_inline.flush_figures not in shell.events.callbacks["post_execute"]:
            configure: Any = backend_inline.configure_inline_support
            configure(shell, "inline")
    backend = InlineBackend.instance(parent=shell)
    config = value["config"]
    backend.print_figure_kwargs = unplain(config["print"])
    backend.figure_formats = set(config["formats"])
    backend.close_figures = config["close"]
    backend.rc = unplain(config["rc"])
    now = _read_inline()
    for name, formatter in formatters(shell).items():
        wanted = value["printers"].get(name)
        if now["printers"].get(name) != wanted:
            formatter.deferred_printers.pop(FIGURE, None)
            formatter.type_printers.pop(getattr(sys.modules.get("matplotlib.figure"), "Figure", None), None)
            if wanted is not None and not Inexpressible.inside(wanted):
                formatter.for_type_by_name(*FIGURE, unplain(wanted))
    if now["flush"] and not value["flush"]:
        callbacks = shell.events.callbacks["post_execute"]
        callbacks[:] = [hook for hook in callbacks if getattr(hook, "__name__", "") != _FLUSH]
    inline: Any = sys.modules.get("matplotlib_inline.backend_inline")
    if inline is not None and not value["printers"] and not value["flush"]:
        # what sets it up next shall choose the formats, too
        vars(inline.configure_inline_support).pop("current_backend", None)
    if now["draw"] != value["draw"]:
        import matplotlib.pyplot

        pyplot: Any = matplotlib.pyplot
        (pyplot.install_repl_displayhook if value["draw"] else pyplot.uninstall_repl_displayhook)()


# -- plotly -----------------------------------------------------------------------------------------


_TEMPLATES = {"ggplot2", "gridon", "none", "plotly", "plotly_dark", "plotly_white", "presentation"}
_TEMPLATES |= {"seaborn", "simple_white", "xgridoff", "ygridoff"}


def _read_plotly() -> object | None:
    templates: Any = sys.modules.get("plotly.io._templates")
    if templates is None:
        return None
    renderers: Any = sys.modules.get("plotly.io._renderers")
    renderer = None if renderers is None else renderers.renderers._default_name or None
    express: Any = getattr(sys.modules.get("plotly.express._core"), "defaults", None)
    return {
        "template": templates.templates._default,
        "own templates": {
            name: Inexpressible.of(item)
            for name, item in templates.templates._templates.items()
            if name not in _TEMPLATES and item is not templates.Lazy
        },
        # The renderers are loaded when they are first asked for: not loaded is the same as not changed.
        "renderer": None if renderers is None or renderer == renderers.default_renderer else renderer,
        "express": {}
        if express is None
        else {name: plain(getattr(express, name)) for name in express.__slots__},
    }


def _write_plotly(value: Any) -> None:
    import plotly.io

    now: Any = _read_plotly()
    if now["template"] != value["template"]:
        plotly.io.templates.default = value["template"]
    if now["renderer"] != value["renderer"]:
        default = (
            sys.modules["plotly.io._renderers"].default_renderer
            if value["renderer"] is None
            else value["renderer"]
        )
        plotly.io.renderers.default = default
    for name in now["own templates"].keys() - value["own templates"].keys():
        del plotly.io.templates[name]
    if value["express"]:
        import plotly.express

        for name, item in value["express"].items():
            if not Inexpressible.inside(item):
                setattr(plotly.express.defaults, name, unplain(item))


_MATPLOTLIB = frozenset({"matplotlib"})
_INLINE = frozenset({"matplotlib", "matplotlib_inline", "IPython"})

SLOTS = (
    Builtin("matplotlib.rcParams", _read_rc, _write_rc, packages=_MATPLOTLIB),
    Builtin("matplotlib figures", _read_figures, _write_figures, packages=_MATPLOTLIB),
    Builtin("matplotlib.colormaps", _read_colormaps, _write_colormaps, packages=_MATPLOTLIB),
    Builtin("plotly.io", _read_plotly, _write_plotly, packages=frozenset({"plotly"})),
    Builtin("matplotlib inline", _read_inline, _write_inline, packages=_INLINE),
)
