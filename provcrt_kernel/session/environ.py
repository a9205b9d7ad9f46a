"""Which environment variables a cell reads and changes.

`os.environ` is read by name, so each variable is a slot of its own: a change of one that nobody asked for re-runs nothing.
Reads are seen by wrapping the two methods of `os._Environ` that every access goes through, and `tempfile`, which asks once. A
child process sees the whole environment. Variables that Jupyter and this kernel set for themselves differ from session to session
and are nobody's input unless a cell asks for them by name.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from provcrt_kernel.store.digest import digest

_NOISE = frozenset(
    "IPYTHONDIR _ SHLVL PWD OLDPWD COLUMNS LINES TERM PYTHONHASHSEED FORCE_COLOR CLICOLOR CLICOLOR_FORCE PAGER GIT_PAGER "
    "MPLBACKEND INVOCATION_ID JOURNAL_STREAM DBUS_SESSION_BUS_ADDRESS".split()
)
_NOISE_PREFIXES = (
    "JPY_",
    "JUPYTER",
    "PROVCRT_",
    "KERNEL_",
    "PYTEST_",
    "PYDEVD",
    "DEBUGPY",
    "SSH_",
    "XDG_SESSION",
)


def noise(name: str) -> bool:
    """Whether Jupyter or this kernel sets the variable for itself."""
    return name in _NOISE or name.startswith(_NOISE_PREFIXES)


def version(value: str | None) -> str:
    """Version of one variable's slot; empty if it is not set."""
    return "" if value is None else digest(value.encode("utf-8", "surrogateescape"))


#: Stands for the names of all variables that are not noise.
ALL = "*"


def names_version(environ: Iterable[str]) -> str:
    """Version of which variables there are."""
    return version("\0".join(sorted(n for n in environ if not noise(n))))


class EnvironReads:
    """Names of the environment variables asked for and set since `clear`; `everything` once somebody looked at all of them."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.set: set[str] = set()
        self.everything = False
        self._quiet = False
        self._raw: dict[bytes, bytes] = {}
        self._decoded: dict[str, str] = {}

    def clear(self) -> None:
        """A new span begins."""
        self.names.clear()
        self.set.clear()
        self.everything = False

    def install(self) -> None:
        """Begin to listen. Once per process."""
        kind = type(os.environ)
        item, iterate, put, drop = kind.__getitem__, kind.__iter__, kind.__setitem__, kind.__delitem__

        @functools.wraps(item)
        def getitem(environ: Any, key: str) -> str:
            if not self._quiet and isinstance(key, str | bytes):  # `os.environb` asks in bytes
                self.names.add(os.fsdecode(key))
            return item(environ, key)

        @functools.wraps(iterate)
        def iterator(environ: Any) -> Iterator[str]:
            if not self._quiet:
                self.everything = True
            return iterate(environ)

        # a variable may be set to what it was, which no comparison tells
        @functools.wraps(put)
        def setitem(environ: Any, key: str, value: str) -> None:
            put(environ, key, value)
            if not self._quiet:
                self.set.add(os.fsdecode(key))

        @functools.wraps(drop)
        def delitem(environ: Any, key: str) -> None:
            drop(environ, key)
            if not self._quiet:
                self.set.add(os.fsdecode(key))

        # found once in a process, and by the kernel before any cell
        find = tempfile._gettempdir  # type: ignore[attr-defined]

        @functools.wraps(find)
        def gettempdir() -> Any:
            if not self._quiet:
                self.names.update(("TMPDIR", "TEMP", "TMP"))
            return find()

        tempfile._gettempdir = gettempdir  # type: ignore[attr-defined]
        self._patch(kind, "__getitem__", getitem)
        self._patch(kind, "__iter__", iterator)
        self._patch(kind, "__setitem__", setitem)
        self._patch(kind, "__delitem__", delitem)

    @contextmanager
    def unread(self) -> Iterator[None]:
        """Until the end of the block, what Python asks for is nobody's input."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    @staticmethod
    def _patch(kind: type, name: str, function: Callable[..., Any]) -> None:
        setattr(kind, name, function)

    def snapshot(self) -> dict[str, str]:
        """The environment as it is, without counting as a read."""
        raw = os.environ._data  # type: ignore[attr-defined]  # decoded once for as long as nothing changes
        if raw != self._raw:
            with self.unread():
                self._raw, self._decoded = dict(raw), dict(os.environ)
        return dict(self._decoded)

    def read(self, environ: dict[str, str]) -> set[str]:
        """Variables read in the span, of those in `environ` and absent ones asked for by name."""
        names = set(self.names)
        if self.everything:
            names |= {n for n in environ if not noise(n)}
        return names
