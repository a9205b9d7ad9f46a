"""The import system's own looks at installed packages: made past the tracer, and told here.

To import pandas is to look at two thousand paths; each look is a trapped call. All go through three functions of
`importlib._bootstrap_external`, of which one was made separate by CPython "to make it easier to override in
experiments". For paths of installed packages they are asked through the tracer's page, and kept in `Imports.looks`;
every other path is asked as always, and traced. A forked child goes back to that at once.

Byte code of modules beside the notebook is known by the content of its source: Python goes by size and time, and an edit may
leave both as they were.
"""

from __future__ import annotations

import importlib.machinery
import os
import stat
import zlib
from collections.abc import Callable
from importlib import _bootstrap_external
from typing import Any

from provcrt_kernel.provenance.packages import is_library, library_folders
from provcrt_kernel.trace.page import Page

_system: Any = _bootstrap_external
_CACHE = "/__pycache__/"


class Imports:
    """What the import system looked at since `clear`.

    Attributes
    ----------
    looks
        What was there, by path; None where nothing was. Byte code is left out: its source stands for it.
    sought
        Top-level modules that were looked for, and the folder of what was found; empty where nothing was.
    """

    def __init__(self) -> None:
        self.looks: dict[str, os.stat_result | None] = {}
        self.sought: dict[str, str] = {}

    def clear(self) -> None:
        """A span begins."""
        self.looks.clear()
        self.sought.clear()

    def install(self, page: Page | None) -> None:
        """From now on the import system asks through `page`, if there is one."""
        _compiled_by_content()
        self._note_sought()
        if page is None or not (
            hasattr(_system, "_path_stat") and hasattr(_system.FileFinder, "_fill_cache")
        ):
            return
        looks, folders, seen = self.looks, library_folders(), page.lstat
        plain_stat: Callable[[Any], os.stat_result] = _system._path_stat
        loader: Any = importlib.machinery.SourceFileLoader
        finder: Any = importlib.machinery.FileFinder
        plain_read: Callable[[Any, Any], bytes] = loader.get_data
        plain_fill: Callable[[Any], None] = finder._fill_cache

        def path_stat(path: Any) -> os.stat_result:
            if type(path) is not str or not path.startswith(folders):
                return plain_stat(path)
            try:
                found = seen(path)
            except OSError:
                looks[path] = None
                raise
            if stat.S_ISLNK(found.st_mode):
                return plain_stat(path)
            if _CACHE not in path:
                looks[path] = found
            return found

        def get_data(self: Any, path: Any) -> bytes:
            if type(path) is not str or _CACHE not in path or not path.startswith(folders):
                return plain_read(self, path)
            return page.read(path)

        def fill_cache(self: Any) -> None:
            if type(self.path) is not str or not f"{self.path}/".startswith(folders):
                plain_fill(self)
                return
            try:
                self._path_cache = set(page.listdir(self.path))
            except (FileNotFoundError, PermissionError, NotADirectoryError):
                self._path_cache = set()  # as the import system has it: nothing is found there

        def install(stat: object, read: object, fill: object) -> None:
            _system._path_stat, loader.get_data, finder._fill_cache = stat, read, fill

        def undo() -> None:
            install(plain_stat, plain_read, plain_fill)

        install(path_stat, get_data, fill_cache)
        os.register_at_fork(after_in_child=undo)

    def _note_sought(self) -> None:
        """Who only asks whether there is a module does not import it, and depends on it all the same."""
        plain: Callable[..., Any] = importlib.machinery.PathFinder.find_spec
        sought = self.sought

        def find_spec(cls: type, fullname: str, path: Any = None, target: Any = None) -> Any:
            spec = plain(fullname, path, target)
            if path is None:
                origin = spec.origin if spec is not None and spec.has_location else None
                inside = spec is not None and spec.submodule_search_locations is not None
                folder = os.path.dirname(origin) if origin else ""
                sought[fullname] = os.path.dirname(folder) if inside else folder
            return spec

        finder: Any = importlib.machinery.PathFinder
        finder.find_spec = classmethod(find_spec)


def _compiled_by_content() -> None:
    """Let byte code of modules that are not installed be that of a source with this content, whenever it was changed."""
    loader: Any = importlib.machinery.SourceFileLoader
    plain: Callable[[Any, str], dict[str, Any]] = loader.path_stats

    def path_stats(self: Any, path: str) -> dict[str, Any]:
        if is_library(path):
            return plain(self, path)
        data = self.get_data(path)
        return {"mtime": zlib.crc32(data), "size": len(data)}

    loader.path_stats = path_stats
