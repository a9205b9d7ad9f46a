"""Installed distributions: which one a module belongs to, its version, and what it requires.

Names and versions come from the names of ``*.dist-info`` folders, so that looking a package up reads nothing but its own
metadata; `importlib.metadata.packages_distributions` would open every distribution's file list.
"""

from __future__ import annotations

import functools
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

    @property
    def metadata(self) -> Path:
        """The distribution's metadata file."""
        return Path(self.folder) / "METADATA"


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


def _modules(distribution: Distribution) -> set[str]:
    """Top-level modules of a distribution, by its list of files."""
    try:
        files = (Path(distribution.folder) / "RECORD").read_text(errors="replace")
    except OSError:
        return set()
    return {name.partition(".")[0] for name in re.findall(r"^([^/,\n]+)", files, re.MULTILINE)}


class Installed:
    """The distributions of this interpreter, as found now."""

    def __init__(self) -> None:
        self._by_name: dict[str, Distribution] = {}
        for folder in site_folders():
            try:
                entries = sorted(Path(folder).glob("*.dist-info"))
            except OSError:
                continue
            for entry in entries:
                name, _, version = entry.name.removesuffix(".dist-info").rpartition("-")
                self._by_name.setdefault(normal(name), Distribution(name, version, str(entry)))
        self._by_module: dict[str, Distribution] = {}
        self._searched = False

    def of_module(self, top: str) -> Distribution | None:
        """The distribution that installed the top-level module `top`; None for the standard library and local modules."""
        if top in sys.stdlib_module_names:
            return None
        found = self._by_name.get(normal(_NAMED_OTHERWISE.get(top, top))) or self._by_module.get(top)
        if found is None and not self._searched:
            self._searched = True
            for distribution in self._by_name.values():
                for module in _modules(distribution):
                    self._by_module.setdefault(module, distribution)
            found = self._by_module.get(top)
        return found

    @functools.cache  # noqa: B019 - one object a session, and it is small
    def requires(self, distribution: Distribution) -> tuple[Distribution, ...]:
        """Distributions that `distribution` asks for and that are installed, extras included."""
        try:
            text = distribution.metadata.read_text(errors="replace")
        except OSError:
            return ()
        names = re.findall(r"^Requires-Dist: ([A-Za-z0-9._-]+)", text.partition("\n\n")[0], re.MULTILINE)
        return tuple(d for n in dict.fromkeys(names) if (d := self._by_name.get(normal(n))))

    def closure(self, tops: Iterable[str]) -> frozenset[Distribution]:
        """The distributions of some top-level modules, and all that those require."""
        todo = [d for t in tops if (d := self.of_module(t))]
        seen: set[Distribution] = set()
        while todo:
            distribution = todo.pop()
            if distribution not in seen:
                seen.add(distribution)
                todo.extend(self.requires(distribution))
        return frozenset(seen)
