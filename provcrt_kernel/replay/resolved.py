"""In which folder each imported name was found, and that no folder that comes earlier in ``sys.path`` has one now.

The import system lists directories and tries paths; of that, this alone is an input of a cell.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterable, Mapping

from provcrt_kernel.provenance.packages import is_library


class Names:
    """What can be imported from the folders of ``sys.path``; a folder is listed again when its time has changed."""

    def __init__(self) -> None:
        self._modules: dict[str, tuple[int, frozenset[str]]] = {}

    def differ(self, resolved: Mapping[str, str]) -> str | None:
        """Which of the names of `resolve` would be found elsewhere now, in words; None if none would."""
        if not resolved:
            return None
        names = set(resolved)
        for folder in sys.path:
            place = _real(folder)
            if is_library(place + "/") and "" not in resolved.values():
                continue
            for name in self._importable(place) & names:
                if resolved[name] != place and (not resolved[name] or _before(place, resolved[name])):
                    return f"module {name} is found in {short(place)} now"
        return None

    def _importable(self, folder: str) -> frozenset[str]:
        try:
            when = os.stat(folder).st_mtime_ns
            known = self._modules.get(folder)
            if known and known[0] == when:
                return known[1]
            names = frozenset(_module_names(folder))
        except OSError:
            return frozenset()
        self._modules[folder] = (when, names)
        return names


def resolve(names: Mapping[str, str | None]) -> dict[str, str]:
    """In which folder each top-level name was found; empty for one that was not.

    Parameters
    ----------
    names
        Name → the folder of what was looked for and is not loaded, if there was one.
    """
    found: dict[str, str] = {}
    for name, folder in names.items():
        module = sys.modules.get(name)
        spec = getattr(module, "__spec__", None)
        if module is None:
            found[name] = _real(folder) if folder else ""
        elif spec is not None and spec.origin and os.path.isabs(spec.origin):
            place = os.path.dirname(spec.origin)
            found[name] = _real(os.path.dirname(place) if spec.submodule_search_locations else place)
    return found


def short(path: str) -> str:
    """A path as readers see it: relative where it lies below the working directory."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _real(folder: str) -> str:
    """`os.path.realpath` of a folder to import from; one of the library stays where it is while the process lives."""
    return _real_library(folder) if is_library(f"{folder}/") else os.path.realpath(folder or ".")


@functools.cache
def _real_library(folder: str) -> str:
    return os.path.realpath(folder)


def _before(place: str, other: str) -> bool:
    """Whether `place` is searched earlier than `other`."""
    order = [_real(f) for f in sys.path]
    return other not in order or order.index(place) < order.index(other)


def _module_names(folder: str) -> Iterable[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            stem, dot, rest = entry.name.partition(".")
            if (dot and (rest == "py" or rest.endswith("so"))) or (
                not dot and entry.is_dir() and os.path.exists(f"{entry.path}/__init__.py")
            ):
                yield stem
