"""Where a name leads: path resolution as the kernel does it, with the symbolic links that were met on the way.

Promise: read-only. The world is looked at before the traced call goes on. Directories are resolved once per
span; whoever changes links or directories must `forget`. Source: path_resolution(7), symlink(7).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DEEPEST = 40  # MAXSYMLINKS
_DOTS = (b"", b".", b"..")
_KIND = 0o170000  # S_IFMT


class Quiet:
    """The paths that are nobody's input: pseudo file systems, byte code, checkpoints, and what the caller names.

    Parameters
    ----------
    ignore : sequence of str
        Prefixes. One that ends in ``*`` matches names that start so; else the path itself and what is below it.
    """

    def __init__(self, ignore: Sequence[str]) -> None:
        exact = [b"/proc", b"/sys", b"/dev", b"/"]
        prefixes = [b"/proc/", b"/sys/"]
        for text in ignore:
            raw = os.fsencode(text)
            for name in {raw, _real(raw)}:
                if name.endswith(b"*"):
                    prefixes.append(name[:-1])
                else:
                    exact.append(name)
                    prefixes.append(name + b"/")
        self._exact = frozenset(exact)
        self._prefixes = tuple(prefixes)
        self._perhaps = (*self._prefixes, b"/dev/")

    def add(self, folder: str) -> None:
        """Drop accesses of a folder, and of what is below it, as well."""
        raw = os.fsencode(folder)
        self._exact |= {raw}
        self._prefixes += (raw + b"/",)
        self._perhaps += (raw + b"/",)

    def __call__(self, path: bytes) -> bool:
        """Say whether accesses of a real path are dropped."""
        if path in self._exact:
            return True
        if path.startswith(self._perhaps) and (
            path.startswith(self._prefixes) or not path.startswith(b"/dev/shm")
        ):
            return True
        if b"/__pycache__" in path:
            rest = path.rpartition(b"/__pycache__")[2]
            if not rest or (rest.startswith(b"/") and b".pyc" in rest):
                return True
        return b"/.ipynb_checkpoints" in path


#: Names in a folder that are nobody's input, nor is what they hold.
UNSEEN = frozenset({b"__pycache__", b".ipynb_checkpoints"})


def _real(raw: bytes) -> bytes:
    star = b"*" if raw.endswith(b"*") else b""
    head, _, name = raw.removesuffix(b"*").rpartition(b"/")
    return os.path.realpath(head or b"/") + b"/" + name + star if name else raw


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What a look at a path tells, under the names that `os.stat_result` has for it, in a quarter of its memory."""

    st_mode: int
    st_ino: int
    st_dev: int
    st_nlink: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int

    @classmethod
    def of(cls, raw: os.stat_result) -> Seen:
        """Return what is needed of the result of a call."""
        return cls(
            raw.st_mode,
            raw.st_ino,
            raw.st_dev,
            raw.st_nlink,
            raw.st_size,
            raw.st_mtime_ns,
            raw.st_ctime_ns,
        )


class Resolver:
    """Resolves names within one span.

    Parameters
    ----------
    on_link : callable
        Called with (path, stat, target) of each symbolic link that a resolution followed.
    known : callable
        Given a real path, what is already known of it, so that it need not be looked at again; else None.
    """

    def __init__(
        self,
        on_link: Callable[[bytes, Seen, bytes], None],
        known: Callable[[bytes], Seen | None],
    ) -> None:
        self._on_link = on_link
        self._known = known
        self._directories: dict[bytes, bytes] = {b"": b""}
        self._through_proc = 0

    def forget(self) -> None:
        """Drop what was resolved: links or directories have changed."""
        self._directories = {b"": b""}

    def resolve(self, text: bytes, follow: bool, tid: int) -> tuple[bytes, Seen | None, bool]:
        """Resolve an absolute name.

        Parameters
        ----------
        text : bytes
            Absolute, not normalised.
        follow : bool
            Whether a symbolic link at the end is followed. It is reported by `on_link` either way.
        tid : int
            The asking thread: what ``/proc/self`` means.

        Returns
        -------
        bytes
            The real path.
        Seen or None
            What is there, not followed; None where it is absent.
        bool
            Whether the answer holds for every task and may be cached by the name.
        """
        mark = self._through_proc
        head, _, name = text.rpartition(b"/")
        parent = self._directories.get(head)
        if parent is None or name in _DOTS:
            path, found = self._leaf(text, follow, tid, 0)
            return path, found, mark == self._through_proc
        path = parent + b"/" + name  # the common case, written out
        found = self._known(path) or look(path)
        if found is not None and found.st_mode & _KIND == stat.S_IFLNK:
            path, found = self._leaf(text, follow, tid, 0)
        return path, found, mark == self._through_proc

    def _leaf(self, text: bytes, follow: bool, tid: int, depth: int) -> tuple[bytes, Seen | None]:
        head, _, name = text.rpartition(b"/")
        if name in _DOTS:  # it can only be a directory
            path = self._directory(text, tid, depth) or b"/"
            return path, look(path)
        parent = self._directory(head, tid, depth)
        path = parent + b"/" + name
        if path.startswith(b"/proc/"):
            path = self._proc(path, tid)
        found = self._known(path) or look(path)
        if found is None or not stat.S_ISLNK(found.st_mode):
            return path, found
        target = _target(path)
        self._on_link(path, found, target)
        if not follow or depth > _DEEPEST:
            return path, found
        return self._leaf(_join(parent, target), True, tid, depth + 1)

    def _directory(self, text: bytes, tid: int, depth: int) -> bytes:
        known = self._directories.get(text)
        if known is not None:
            return known
        mark = self._through_proc
        head, _, name = text.rpartition(b"/")
        parent = self._directory(head, tid, depth)
        if name in (b"", b"."):
            path = parent
        elif name == b"..":
            path = parent.rpartition(b"/")[0]
        else:
            path = parent + b"/" + name
            if path.startswith(b"/proc/"):
                path = self._proc(path, tid)
            found = look(path)
            if found is None:
                return path
            if stat.S_ISLNK(found.st_mode):
                target = _target(path)
                self._on_link(path, found, target)
                if depth > _DEEPEST:
                    return path
                path = self._directory(_join(parent, target), tid, depth + 1)
                if path and not os.path.isdir(path):
                    return path
            elif not stat.S_ISDIR(found.st_mode):
                return path
        if mark == self._through_proc:
            self._directories[text] = path
        return path

    def _proc(self, path: bytes, tid: int) -> bytes:
        self._through_proc += 1  # self, fd, cwd, root, exe: another answer for each task, and at each time
        if path == b"/proc/self":
            return b"/proc/%d" % tid
        if path == b"/proc/thread-self":
            return b"/proc/%d/task/%d" % (tid, tid)
        return path


def _join(directory: bytes, target: bytes) -> bytes:
    return target if target.startswith(b"/") else directory + b"/" + target


def look(path: bytes) -> Seen | None:
    """Return what `os.lstat` says of a path; None where nothing is there."""
    try:
        raw = os.lstat(path)
    except OSError:
        return None
    return Seen(
        raw.st_mode, raw.st_ino, raw.st_dev, raw.st_nlink, raw.st_size, raw.st_mtime_ns, raw.st_ctime_ns
    )


def _target(path: bytes) -> bytes:
    try:
        return os.readlink(path)
    except OSError:
        return b"?"
