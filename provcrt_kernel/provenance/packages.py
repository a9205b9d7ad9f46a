"""Installed distributions: which one a module belongs to, its version, and what it requires.

All of it is read at once into an `Index`, plain data that another process can have ready before it is asked for.
"""

from __future__ import annotations

import functools
import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import msgspec


class Distribution(msgspec.Struct, frozen=True):
    """One installed distribution."""

    name: str
    version: str
    folder: str


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it, with underscores."""
    return re.sub(r"[-_.]+", "_", name).lower()


@functools.cache
def library_folders() -> tuple[str, ...]:
    """Folders whose files belong to the interpreter or to installed packages, longest first, each ending in a slash."""
    paths = sysconfig.get_paths()
    folders = {paths[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {site.getusersitepackages(), *site.getsitepackages()}
    folders |= {f for f in sys.path if f.endswith(("site-packages", "dist-packages"))}
    folders |= {str(Path(f).resolve()) for f in folders}
    return tuple(sorted((f.rstrip("/") + "/" for f in folders), key=len, reverse=True))


def is_library(path: str) -> bool:
    """Whether a file belongs to the interpreter or to an installed package."""
    return path.startswith(library_folders())


def site_folders() -> list[str]:
    """Folders that distributions are installed into."""
    return [f for f in library_folders() if f.rstrip("/").endswith(("site-packages", "dist-packages"))]


#: Modules whose distribution has another name, so that no file list has to be read for the commonest.
_NAMED_OTHERWISE = {
    "sklearn": "scikit-learn", "skimage": "scikit-image", "PIL": "pillow", "dateutil": "python-dateutil", "yaml": "pyyaml",
    "bs4": "beautifulsoup4", "cv2": "opencv-python", "mpl_toolkits": "matplotlib", "pylab": "matplotlib", "zmq": "pyzmq",
    "attr": "attrs", "_cffi_backend": "cffi", "google": "protobuf", "OpenSSL": "pyopenssl", "Crypto": "pycryptodome",
}  # fmt: skip


def _modules(folder: str) -> set[str]:
    """Top-level modules of a distribution, by its list of files."""
    try:
        files = (Path(folder) / "RECORD").read_text(errors="replace")
    except OSError:
        return set()
    return {name.partition(".")[0] for name in re.findall(r"^([^/,\n]+)", files, re.MULTILINE)}


def _required(folder: str) -> list[str]:
    """Names of the distributions that a distribution asks for, extras included."""
    try:
        text = (Path(folder) / "METADATA").read_text(errors="replace")
    except OSError:
        return []
    names = re.findall(r"^Requires-Dist: ([A-Za-z0-9._-]+)", text.partition("\n\n")[0], re.MULTILINE)
    return list(dict.fromkeys(map(normal, names)))


class Index(msgspec.Struct):
    """What is installed, as plain data: by normal name; top-level modules and requirements by distribution."""

    distributions: dict[str, Distribution] = {}
    modules: dict[str, str] = {}
    requires: dict[str, list[str]] = {}


def read_index() -> Index:
    """Read the metadata of every installed distribution: some hundred files."""
    index = Index()
    for folder in site_folders():
        try:
            entries = sorted(e for e in os.listdir(folder) if e.endswith(".dist-info"))
        except OSError:
            continue
        for entry in entries:
            name, _, version = entry.removesuffix(".dist-info").rpartition("-")
            key, place = normal(name), f"{folder}{entry}"
            if key not in index.distributions:
                index.distributions[key] = Distribution(name, version, place)
                index.requires[key] = _required(place)
                for module in sorted(_modules(place)):
                    index.modules.setdefault(module, key)
    return index


class Installed:
    """The distributions of this interpreter, as found when `index` was read."""

    def __init__(self, index: Index | None = None) -> None:
        self._index = read_index() if index is None else index
        self._closures: dict[frozenset[str], frozenset[Distribution]] = {}  # every cell asks, and most alike

    def of_module(self, top: str) -> Distribution | None:
        """The distribution that installed the top-level module `top`; None for the standard library and local modules."""
        key = self._key(top)
        return None if key is None else self._index.distributions[key]

    def _key(self, top: str) -> str | None:
        if top in sys.stdlib_module_names:
            return None
        name = normal(_NAMED_OTHERWISE.get(top, top))
        return name if name in self._index.distributions else self._index.modules.get(top)

    def closure(self, tops: Iterable[str]) -> frozenset[Distribution]:
        """The distributions of some top-level modules, and all that those require."""
        asked = frozenset(tops)
        if asked not in self._closures:
            self._closures[asked] = self._required_by(asked)
        return self._closures[asked]

    def _required_by(self, tops: frozenset[str]) -> frozenset[Distribution]:
        index = self._index
        todo = [key for top in tops if (key := self._key(top))]
        seen: set[str] = set()
        while todo:
            key = todo.pop()
            if key not in seen and key in index.distributions:
                seen.add(key)
                todo.extend(index.requires[key])
        return frozenset(index.distributions[key] for key in seen)
