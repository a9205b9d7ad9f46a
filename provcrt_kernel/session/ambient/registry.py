"""Which ambient slots there are, and which of them a piece of code could see."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Iterable
from importlib.metadata import entry_points

from . import ipython, libraries, plots, process, standard
from .adapter import Adapter

GROUP = "provcrt.ambient"

# What a known package calls into. The standard library is left out: it calls no library that has slots. A
# package that is not listed may call anything.
_REACHES: dict[str, frozenset[str]] = {
    name: frozenset(reached.split())
    for name, reached in {
        "numpy": "",
        "scipy": "numpy",
        "joblib": "numpy",
        "threadpoolctl": "",
        "PIL": "numpy",
        "dateutil": "",
        "pytz": "",
        "tzdata": "",
        "cycler": "",
        "contourpy": "numpy",
        "kiwisolver": "",
        "packaging": "",
        "pyparsing": "",
        "pyarrow": "numpy pandas",
        "polars": "numpy pandas pyarrow",
        "matplotlib": "numpy PIL pandas",
        "pandas": "numpy scipy matplotlib pyarrow",
        "sklearn": "numpy scipy joblib pandas matplotlib polars pyarrow",
        "statsmodels": "numpy scipy pandas matplotlib patsy",
        "patsy": "numpy pandas",
        "seaborn": "numpy scipy pandas matplotlib statsmodels patsy",
        "torch": "numpy",
        "plotly": "numpy pandas polars pyarrow narwhals",
        "tqdm": "pandas numpy",
        "requests": "",
        "urllib3": "",
        "yaml": "",
        "bs4": "",
        "lxml": "",
        "msgspec": "",
        "sqlalchemy": "",
        "networkx": "numpy scipy pandas matplotlib",
    }.items()
}


@functools.cache
def adapters() -> tuple[Adapter, ...]:
    """Return the built-in adapters, then those of the entry point group ``provcrt.ambient``.

    Their order is the order in which they are to be restored: an earlier one may decide what a later one
    finds (the     environment the time zone, the matplotlib backend the formatters). An entry point names an
    adapter or an iterable of adapters. One that is broken is skipped with a warning.
    """
    found: list[Adapter] = [*process.SLOTS, *standard.SLOTS, *libraries.SLOTS, *plots.SLOTS, *ipython.SLOTS]
    taken = {adapter.name for adapter in found}
    for point in entry_points(group=GROUP):
        try:
            offered = point.load()
            for adapter in offered if isinstance(offered, Iterable) else (offered,):
                _check(adapter, taken)
                taken.add(adapter.name)
                found.append(adapter)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            line = f"ambient slots of {point.value} are ignored ({why}): update or remove that package"
            warnings.warn(line, RuntimeWarning, stacklevel=2)
    return tuple(found)


def _check(adapter: Adapter, taken: set[str]) -> None:
    if not isinstance(adapter.name, str) or adapter.name in taken:
        raise ValueError(f"the name {adapter.name!r} is taken or not text")
    if adapter.kind not in ("rng", "setting", "identity"):
        raise ValueError(f"{adapter.name} has the unknown kind {adapter.kind!r}")
    if (
        not callable(adapter.capture)
        or not callable(adapter.restore)
        or not isinstance(adapter.packages, frozenset)
    ):
        raise TypeError(f"{adapter.name} is no adapter")


def visible(adapter: Adapter, packages: frozenset[str]) -> bool:
    """Tell whether code that reaches these top-level packages could see a slot.

    Parameters
    ----------
    adapter : Adapter
        The slot.
    packages : frozenset of str
        Top-level names of the modules that the code can call into; the standard library's may be among them.

    Returns
    -------
    bool
        A slot without packages of its own: always True. The slot of a library: True if its library is among
        `packages` or is called by one of them; the standard library calls none, known packages call those in
        this module's table, and any other package may call all.
    """
    if not adapter.packages:
        return True
    for package in packages:
        if package in adapter.packages:
            return True
        if package in sys.stdlib_module_names:
            continue
        reached = _closure(package)
        if reached is None or reached & adapter.packages:
            return True
    return False


@functools.cache
def _closure(package: str) -> frozenset[str] | None:
    """Return all that a package calls, indirectly too, or None if that may be anything."""
    found: set[str] = set()
    todo = [package]
    while todo:
        reached = _REACHES.get(todo.pop())
        if reached is None:
            return None
        todo.extend(reached - found)
        found |= reached
    return frozenset(found)


def asked(adapter: Adapter, words: frozenset[str], moved: frozenset[str] = frozenset()) -> bool:
    """Tell whether code has read a slot that is not read by everybody (kind *rng* or *identity*).

    Parameters
    ----------
    adapter : Adapter
        The slot.
    words : frozenset of str
        Identifiers and string constants of the code that ran.
    moved : frozenset of str
        Names of the slots that it changed. To move *sys.argv* is to depend on what it was.

    Returns
    -------
    bool
        True for every *setting*.
    """
    if adapter.kind == "setting":
        return True
    if adapter.name in moved or (adapter.kind == "identity" and "sys.argv" in moved):
        return True
    asks = getattr(adapter, "asks", None)
    return bool(words & asks()) if callable(asks) else adapter.kind == "identity"
