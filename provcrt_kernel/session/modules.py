"""Modules as session state: installed packages by version, local modules by what they hold.

An installed package is one slot. Its version is its distribution's, and an *edition* that changes when a file of it that
was loaded has another size or time than in any session before: RECORD does not tell of edits in place.

A local module (a file beside the notebook, an editable install) is one slot whose version is the content of its
namespace, so that state which a function keeps there is seen, and an edit that changes nothing re-runs nothing.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
import types
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from provcrt_kernel.provenance.packages import Index, Installed, is_library, library_folders, read_index
from provcrt_kernel.session.codes import LINES, SEEDS
from provcrt_kernel.session.definitions import SKIPPED
from provcrt_kernel.session.fingerprint import Fingerprint, fingerprint
from provcrt_kernel.session.holdings import Holdings, holdings
from provcrt_kernel.session.slots import State
from provcrt_kernel.store import Store
from provcrt_kernel.store.digest import digest

PACKAGE = "~package:"
MODULE = "~module:"
_OURS = "provcrt_kernel"


class _Edition(msgspec.Struct):
    """Files of a package seen so far, as (size, mtime_ns), and which edition they are."""

    files: dict[str, tuple[int, int]]
    edition: str = ""


def _is_local(name: str, module: object) -> bool:
    """Whether a loaded module's file belongs to no installed package."""
    file = getattr(module, "__file__", None) if isinstance(module, types.ModuleType) else None
    return isinstance(file, str) and not is_library(file) and not name.startswith((_OURS, "__main__"))


class Modules:
    """Versions of packages and local modules in this session."""

    def __init__(self, store: Store | None, index: Callable[[], Index] = read_index) -> None:
        self._store = store
        self._index = index
        self._installed: Installed | None = None
        self._known: set[str] = set(sys.modules)
        self._local: dict[str, types.ModuleType] = {}
        self._judged: frozenset[str] = frozenset()
        self._versions: dict[str, str] = {}
        self._base = {n.partition(".")[0] for n in self._known}
        self._local_files: dict[str, tuple[int, int]] = {}

    @property
    def installed(self) -> Installed:
        """The distributions, asked for when first needed."""
        if self._installed is None:
            self._installed = Installed(self._index())
        return self._installed

    def local(self) -> dict[str, types.ModuleType]:
        """Loaded local modules, by dotted name."""
        if len(sys.modules) != len(self._judged):
            loaded = dict(sys.modules)
            self._local = {n: m for n in self._local if isinstance(m := loaded.get(n), types.ModuleType)}
            for name in loaded.keys() - self._judged:
                if _is_local(name, module := loaded[name]):
                    self._local[name] = module
            self._judged = frozenset(loaded)
        return self._local

    def arrivals(self) -> list[str]:
        """Dotted names of modules loaded since the last call."""
        if len(sys.modules) == len(self._known):
            return []
        new = [n for n in list(sys.modules) if n not in self._known]
        self._known.update(new)
        return new

    def package_states(
        self, arrived: Iterable[str], files: Mapping[str, tuple[int, int]]
    ) -> dict[str, State]:
        """States of the installed packages among newly loaded modules that the session did not have yet.

        Parameters
        ----------
        files
            Size and mtime_ns of the files that were looked at while they were loaded.
        """
        states = {}
        for top in dict.fromkeys(n.partition(".")[0] for n in arrived):
            if top in self._base or top in sys.stdlib_module_names or top == _OURS or top in self._versions:
                continue
            file = getattr(sys.modules.get(top), "__file__", None)
            if file is None or not is_library(file):
                continue
            self._versions[top] = self._package_version(top, files)
            states[PACKAGE + top] = State(version=self._versions[top], packages=(top,))
        return states

    def adopt(self, slot: str, state: State) -> None:
        """A replayed record brought a package's version."""
        if slot.startswith(PACKAGE):
            self._versions.setdefault(slot[len(PACKAGE) :], state.version)

    def _package_version(self, top: str, files: Mapping[str, tuple[int, int]]) -> str:
        distribution = self.installed.of_module(top)
        version = distribution.version if distribution else str(getattr(sys.modules[top], "__version__", ""))
        return f"{top} {version} {self._edition(top, files)}".strip()

    def _edition(self, top: str, files: Mapping[str, tuple[int, int]]) -> str:
        root = os.path.dirname(getattr(sys.modules[top], "__file__", "") or "")
        if root in _roots():
            root = f"{root}/{top}"
        seen = {f: s for f, s in files.items() if f.startswith((f"{root}/", f"{root}."))}
        if self._store is None or not seen:
            return ""
        note = f"package:{root}"
        try:
            old = self._store.noted(note)
            known = msgspec.msgpack.decode(old, type=_Edition) if old else _Edition({})
        except msgspec.DecodeError:
            known = _Edition({})
        changed = {f: s for f, s in seen.items() if f in known.files and known.files[f] != s}
        if changed:
            known.edition = digest(repr((known.edition, sorted(changed.items()))).encode())[:12]
        if changed or not seen.keys() <= known.files.keys():
            known.files.update(seen)
            self._store.note(note, msgspec.msgpack.encode(known))
        return known.edition

    def reads(self, packages: Iterable[str], slots: Iterable[str]) -> set[str]:
        """Package slots, of `slots`, that code of `packages` can call: their own and what they require."""
        existing = [s for s in slots if s.startswith(PACKAGE)]
        if not existing:
            return set()
        reachable = self.installed.closure(packages)
        direct = set(packages)
        return {
            s
            for s in existing
            if s[len(PACKAGE) :] in direct or self.installed.of_module(s[len(PACKAGE) :]) in reachable
        }

    def local_states(self, names: Iterable[str], lineage: str) -> dict[str, tuple[State, Holdings]]:
        """States of loaded local modules and what they hold, by dotted name; `names` limits which."""
        wanted = set(names)
        return {n: local_state(m, lineage) for n, m in self.local().items() if n in wanted}

    def note_sources(self) -> None:
        """Remember the files of the local modules as they are now loaded."""
        for name, module in self.local().items():
            if name not in self._local_files and (status := _source_status(module)):
                self._local_files[name] = status

    def unload_changed(self) -> list[str]:
        """Forget local modules whose file changed since it was loaded, so that the next import runs it anew.

        Every local module goes if one does: they may hold each other's functions.
        """
        modules = self.local()
        changed = [
            n
            for n, m in modules.items()
            if n in self._local_files and _source_status(m) != self._local_files[n]
        ]
        if changed:
            for name in list(modules):
                sys.modules.pop(name, None)
                self._known.discard(name)
            self._local_files.clear()
            importlib.invalidate_caches()
        return changed


def _roots() -> set[str]:
    return {f.rstrip("/") for f in library_folders()}


def _source_status(module: types.ModuleType) -> tuple[int, int] | None:
    try:
        status = os.stat(str(module.__file__))
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


#: What a module's names are asked by.
_ASKED = frozenset({"__getattr__", "__all__", "__dir__"})


def local_state(module: types.ModuleType, lineage: str) -> tuple[State, Holdings]:
    """State of one local module: its functions and classes by their code, its data by content; and what it holds.

    What has no stable content (a logger, a lock, an enumeration) counts by its type and by the file that defines it.
    """
    parts: list[str] = []
    defined = False
    packages: set[str] = set()
    modules: set[str] = set()
    seeds: set[str] = set()
    held: list[tuple[type, Fingerprint]] = []
    for name, value in sorted(vars(module).items()):
        if name.startswith("__") and name.endswith("__") and name not in _ASKED:
            continue
        for where, kind, seen in _held(name, value, module):
            parts.append(f"{where}={seen.digest or kind.__qualname__}")
            held.append((kind, seen))
            defined |= seen.digest is None
            packages |= seen.packages
            modules |= seen.modules - {module.__name__}
            seeds |= seen.clock & (SEEDS | LINES)
            modules |= {r for r in seen.refs if r in sys.modules and _is_local(r, sys.modules[r])}
    if defined:
        parts.append(_source(module))
    state = State(
        version=digest("\n".join(parts).encode()),
        packages=tuple(sorted(packages)),
        modules=tuple(sorted(modules)),
        clock=tuple(sorted(seeds)),
        size=len(parts),
    )
    return state, holdings(module, held)


#: Attributes that stay what they are for as long as the class has them.
_STEADY = (types.FunctionType, property, staticmethod, classmethod, str, int, float, bool, bytes, type(None))
_Looked = list[tuple[str, type, Fingerprint]]
_classes: weakref.WeakKeyDictionary[type, tuple[list[tuple[str, int]], _Looked]] = weakref.WeakKeyDictionary()


def _held(name: str, value: object, module: types.ModuleType) -> _Looked:
    """A value of a module and, of a class that the module defines, all that it holds: elsewhere its name stands for it."""
    found: _Looked = [(name, type(value), fingerprint(value, vars(module)))]
    if isinstance(value, type) and value.__module__ == module.__name__:
        found += _of_class(name, value, module)
    return found


def _of_class(name: str, cls: type, module: types.ModuleType) -> _Looked:
    held = [(k, v) for k, v in sorted(vars(cls).items()) if k not in SKIPPED]
    now = [(key, id(value)) for key, value in held]
    known = _classes.get(cls)
    if known is not None and known[0] == now:
        return known[1]
    found: _Looked = []
    for key, value in held:
        found.append((f"{name}.{key}", type(value), fingerprint(value, vars(module))))
        if isinstance(value, type) and value.__qualname__ == f"{cls.__qualname__}.{key}":
            found += _of_class(f"{name}.{key}", value, module)
    if all(isinstance(value, _STEADY) for _, value in held):
        _classes[cls] = now, found
    return found


#: Digest of the source that a module was loaded from, with the spec that it was loaded by.
_sources: weakref.WeakKeyDictionary[types.ModuleType, tuple[object, str]] = weakref.WeakKeyDictionary()


def _source(module: types.ModuleType) -> str:
    """Digest of a module's source when it was first looked at after it was loaded."""
    known = _sources.get(module)
    if known is None or known[0] is not module.__spec__:
        try:
            found = digest(Path(str(module.__file__)).read_bytes())
        except OSError:
            found = ""
        known = _sources[module] = module.__spec__, found
    return known[1]


def import_again(names: Mapping[str, str]) -> list[str]:
    """Import modules that replayed cells had imported; returns those that could not be.

    Parameters
    ----------
    names
        Dotted name → the folder in which its top-level package was found, wherever the session has gone since; empty: not known.
    """
    failed = []
    for name, folder in names.items():
        if name in sys.modules:
            continue
        first = [folder] if folder and not is_library(f"{folder}/") else []
        sys.path[:0] = first
        try:
            importlib.import_module(name)
        except Exception:
            failed.append(name)
        finally:
            if first and sys.path[:1] == first:
                del sys.path[0]
    return failed


def public_names(module: str) -> list[str]:
    """Names that ``from module import *`` binds, as the module is now; none if it is not loaded."""
    held = getattr(sys.modules.get(module), "__dict__", {})
    listed = held.get("__all__")
    if isinstance(listed, list | tuple):
        return [name for name in listed if isinstance(name, str)]
    return [name for name in list(held) if not name.startswith("_")]


def top_level_names(modules: Iterable[str]) -> set[str]:
    """Top-level packages of dotted names, the standard library's left out."""
    return {top for n in modules if (top := n.partition(".")[0]) not in sys.stdlib_module_names}
