"""What a call does to files, given the names it was asked with: look at the world, tell the ledger.

Promise: called before the call goes on, so what is seen is what the call will meet. Nothing is changed here;
where old content must be hashed first, its entries are returned and the caller has to wait for them.
Sources: open(2), rename(2), unlink(2), mkdir(2), link(2).
"""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING

from provcrt_kernel.trace import calls as c
from provcrt_kernel.trace.ledger import WHO, Entry, Ledger, Look
from provcrt_kernel.trace.paths import Resolver, Seen, look
from provcrt_kernel.trace.tasks import readlink

if TYPE_CHECKING:
    from collections.abc import Callable

_TMPFILE = 0o20000000
_NOREPLACE, _EXCHANGE = 1, 2
NOBODYS = Entry(b"", None)
_UNUSUAL = (
    os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | os.O_EXCL | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_PATH | _TMPFILE
)
_READABLE = 0o004  # by everybody
_RANDOM = (b"/dev/urandom", b"/dev/random")
_HEAD = 4096  # bytes of a program in which its interpreter is named


class Files:
    """The files of one span.

    Every method takes absolute names as a task gave them, `by` (`ledger.CHILD` or `ledger.KERNEL`) and the thread
    that asks, and returns the entries whose old content must be hashed before the call goes on.

    Parameters
    ----------
    quiet : callable
        Says of a real path whether it is nobody's input.
    keep : bytes
        As `Ledger` takes it.

    Attributes
    ----------
    ledger : Ledger
    entropy : int
        How often a random device was opened.
    seen : dict
        Calls that would tell nothing new if they came again, except of who asks; and what that is to be told of.
    """

    def __init__(self, quiet: Callable[[bytes], bool], keep: bytes = b"") -> None:
        self.ledger = Ledger(quiet, keep)
        self.entropy = 0
        self.seen: dict[object, Entry] = {}
        self._quiet = quiet
        self._resolver = Resolver(self._met, self.ledger.known)
        self._by = 0

    def _met(self, path: bytes, seen: Seen, target: bytes) -> None:
        self.ledger.link(path, seen, target, self._by)

    def _resolve(self, text: bytes, follow: bool, by: int, tid: int) -> tuple[bytes, Look, bool]:
        self._by = by
        return self._resolver.resolve(text, follow, tid)

    def _forget(self) -> None:
        """Links or directories change: what was resolved, and what was seen, is void."""
        self._resolver.forget()
        self.seen.clear()

    # -- asking

    def state(self, text: bytes, follow: bool, by: int, tid: int, key: object = None) -> None:
        """Record stat, access, readlink and their like."""
        path, seen, steady = self._resolve(text, follow, by, tid)
        known = self.ledger.state(path, seen, by)
        if steady and known and key is not None:
            self.seen[key] = NOBODYS

    def names(self, path: bytes, by: int) -> None:
        """Record getdents of an open directory, given its real path."""
        key = ("list", by & WHO, path)
        if key in self.seen or (self._quiet(path) and path != b"/"):
            return
        self.seen[key] = NOBODYS
        try:
            seen, names = Seen.of(os.lstat(path)), os.listdir(path)
        except OSError:
            return  # removed meanwhile: its own work
        self.ledger.names(path, seen, names, by)

    def open(self, text: bytes, flags: int, by: int, tid: int, key: object = None) -> list[Entry]:
        """Record an opening, given open(2)'s flags; `key` is remembered where repeating it tells nothing new."""
        if not flags & _UNUSUAL:
            return self._open_to_read(text, by, tid, key)
        if flags & _TMPFILE == _TMPFILE:
            return []  # it has no name yet, link(2) may give it one
        exclusive = bool(flags & os.O_CREAT and flags & os.O_EXCL)
        path, seen, steady = self._resolve(text, not (flags & os.O_NOFOLLOW or exclusive), by, tid)
        if path in _RANDOM:
            self.entropy += 1
            return []
        if seen is None:
            # an absent name is asked for again each time: somebody outside may have made it meanwhile
            if flags & os.O_CREAT and not flags & os.O_DIRECTORY and self._has_parent(path, by):
                self.ledger.change(
                    path, None, by, states=exclusive or not flags & os.O_TRUNC, spares=exclusive
                )
            else:
                self.ledger.state(path, None, by)
            return []
        entries = self._open_existing(path, seen, flags, exclusive, by)
        if steady and key is not None and not entries:
            self.seen[key] = self.ledger.entries.get(path, NOBODYS)
        return entries

    def _open_to_read(self, text: bytes, by: int, tid: int, key: object) -> list[Entry]:
        self._by = by
        path, seen, steady = self._resolver.resolve(text, True, tid)
        if seen is None:
            self.ledger.state(path, None, by)
            return []
        if seen.st_mode & _READABLE == _READABLE and stat.S_ISREG(seen.st_mode):
            self.ledger.read(path, seen, by)
        elif path in _RANDOM:
            self.entropy += 1
            return []
        else:
            self._open_existing(path, seen, 0, False, by)
        if steady and key is not None:
            self.seen[key] = self.ledger.entries.get(path, NOBODYS)
        return []

    def _open_existing(self, path: bytes, seen: Seen, flags: int, exclusive: bool, by: int) -> list[Entry]:
        kind = stat.S_IFMT(seen.st_mode)
        if flags & (os.O_PATH | os.O_DIRECTORY) or exclusive or kind in (stat.S_IFDIR, stat.S_IFLNK):
            self.ledger.state(path, seen, by)
        elif kind != stat.S_IFREG:
            self.ledger.read(path, seen, by)  # a fifo, a device: whoever reads the span decides
        elif not flags & (os.O_ACCMODE | os.O_TRUNC):
            if seen.st_mode & _READABLE or os.access(path, os.R_OK):
                self.ledger.read(path, seen, by)
            else:
                self.ledger.state(path, seen, by)
        else:
            cut = bool(flags & os.O_TRUNC)
            self._has_parent(path, by)
            self.ledger.change_others(path, seen, by, maybe=not cut)
            return self.ledger.change(
                path, seen, by, reads=not cut, states=not flags & os.O_CREAT, maybe=not cut
            )
        return []

    def _has_parent(self, path: bytes, by: int) -> bool:
        """Say whether a name can be made: that its directory is there, or is not, is an input as well."""
        parent = path.rpartition(b"/")[0] or b"/"
        seen = self.ledger.known(parent) or look(parent)
        self.ledger.state(parent, seen, by)
        return seen is not None and stat.S_ISDIR(seen.st_mode)

    def execute(self, text: bytes, by: int, tid: int) -> tuple[bytes, bool]:
        """Record an execution with all that loads the program; return its real path and whether it can succeed."""
        path, seen, _ = self._resolve(text, True, by, tid)
        if seen is None or not stat.S_ISREG(seen.st_mode) or not seen.st_mode & 0o111:
            self.ledger.state(path, seen, by)
            return path, False
        self.ledger.execute(path, seen, by)
        for name in interpreters(path):
            loader, found, _ = self._resolve(name, True, by, tid)
            self.ledger.execute(loader, found, by)
        return path, True

    def hold(self, pid: int, by: int) -> None:
        """Record whose standard streams are files: a program need not open them to read or write them."""
        for number in range(3):
            entry = self.ledger.entries.get(readlink(b"/proc/%d/fd/%d" % (pid, number)))
            if entry is not None and number == 0:
                entry.readers |= by
            elif entry is not None and entry.changed:
                entry.writers |= by

    # -- changing

    def touch(self, text: bytes, follow: bool, by: int, tid: int, *, reads: bool = False) -> list[Entry]:
        """Record chmod, chown, utime, setxattr; with `reads`, a truncation that leaves some content."""
        path, seen, _ = self._resolve(text, follow, by, tid)
        if seen is None or stat.S_ISDIR(seen.st_mode):
            self.ledger.state(path, seen, by)
            return []
        self.ledger.change_others(path, seen, by)
        return self.ledger.change(path, seen, by, reads=reads, states=True)

    def make(
        self, text: bytes, by: int, tid: int, *, directory: bool = False, tolerant: bool = False
    ) -> bytes:
        """Record mkdir, mknod, symlink, link, bind: each fails where the name exists; return its real path."""
        path, seen, _ = self._resolve(text.rstrip(b"/") or b"/", False, by, tid)
        if seen is None and self._has_parent(path, by):
            self.ledger.change(path, None, by, states=True, directory=directory, spares=True)
        else:
            self.ledger.state(path, seen, by)
        if tolerant:
            self.ledger.tolerate(path)
        return path

    def symlink(self, text: bytes, by: int, tid: int) -> None:
        """Record a new symbolic link."""
        self.make(text, by, tid)
        self._forget()

    def remove(self, text: bytes, directory: bool, by: int, tid: int) -> list[Entry]:
        """Record unlink, or rmdir where `directory`."""
        path, seen, _ = self._resolve(text.rstrip(b"/") or b"/", False, by, tid)
        if seen is None or stat.S_ISDIR(seen.st_mode) != directory:
            self.ledger.state(path, seen, by)  # it will fail
            return []
        if directory and not self._is_empty(path, by):
            self.ledger.state(path, seen, by)
            return []
        if not stat.S_ISREG(seen.st_mode):
            self._forget()
        return self.ledger.change(path, seen, by, states=True, leaves=True)

    def _is_empty(self, path: bytes, by: int) -> bool:
        """Say whether a directory is empty, which thereby becomes an input."""
        self.names(path, by)
        with os.scandir(path) as entries:
            return next(entries, None) is None

    def link(self, source: bytes | None, target: bytes, follow: bool, by: int, tid: int) -> None:
        """Record a hard link; `source` is None where it is an open file without a name."""
        new = self.make(target, by, tid)
        if source is not None:
            old, seen, _ = self._resolve(source, follow, by, tid)
            self.ledger.read(old, seen, by)
            if seen is not None:
                self.ledger.same(old, new, seen)

    def rename(self, source: bytes, target: bytes, flags: int, by: int, tid: int) -> list[Entry]:
        """Record rename, of whole trees where it is a directory; `flags` are those of renameat2."""
        old, seen, _ = self._resolve(source.rstrip(b"/"), False, by, tid)
        new, there, _ = self._resolve(target.rstrip(b"/"), False, by, tid)
        if seen is None or not self._renames(old, seen, new, there, flags, by):
            self.ledger.state(old, seen, by)
            self.ledger.state(new, there, by)
            return []
        waiting = self._move(old, seen, new, by, replaces=not flags & _NOREPLACE)
        if flags & _EXCHANGE and there is not None:
            waiting += self._move(new, there, old, by, replaces=True)
        if not stat.S_ISREG(seen.st_mode) or (there is not None and not stat.S_ISREG(there.st_mode)):
            self._forget()
        return waiting

    def _renames(self, old: bytes, seen: Seen, new: bytes, there: Look, flags: int, by: int) -> bool:
        """Say whether a rename will change anything, as far as names decide it."""
        if not self._has_parent(new, by) or new == old or new.startswith(old + b"/"):
            return False
        if flags & _EXCHANGE:
            return there is not None
        if there is None or flags & _NOREPLACE:
            return there is None
        if stat.S_ISDIR(seen.st_mode) != stat.S_ISDIR(there.st_mode):
            return False
        if (seen.st_dev, seen.st_ino) == (there.st_dev, there.st_ino):
            return False  # two names of one file
        return not stat.S_ISDIR(there.st_mode) or self._is_empty(new, by)

    def _move(self, old: bytes, seen: Seen, new: bytes, by: int, *, replaces: bool) -> list[Entry]:
        waiting: list[Entry] = []
        tree = _tree(old, seen)
        for path, moved in tree:
            if stat.S_ISDIR(moved.st_mode):
                self.names(path, by)
        for path, moved in tree:
            goal = new + path[len(old) :]
            folder = stat.S_ISDIR(moved.st_mode)
            waiting += self.ledger.change(path, moved, by, reads=True, states=True, leaves=True)
            waiting += self.ledger.change(
                goal, look(goal), by, states=folder or not replaces, directory=folder
            )
        return waiting


def _tree(path: bytes, seen: Seen) -> list[tuple[bytes, Seen]]:
    """Return a path and, where it is a directory, all below it."""
    found = [(path, seen)]
    if stat.S_ISDIR(seen.st_mode):
        with os.scandir(path) as entries:
            for entry in entries:
                found += _tree(entry.path, Seen.of(entry.stat(follow_symlinks=False)))
    return found


def interpreters(path: bytes) -> list[bytes]:
    """Return who loads a program: what its ``#!`` line names, or its ELF header (execve(2), elf(5))."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return []
    if head[:2] == b"#!":
        words = head[2:].split(b"\n", 1)[0].split()
        return [words[0], *interpreters(words[0])] if words and words[0].startswith(b"/") else []
    if head[:4] != b"\x7fELF" or len(head) < 64 or head[4] != 2:
        return []
    (offset,) = struct.unpack_from("=Q", head, 32)
    size, count = struct.unpack_from("=HH", head, 54)
    for at in range(offset, min(offset + size * count, len(head) - 56), size or 56):
        kind, _, where, _, _, length = struct.unpack_from("=IIQQQQ", head, at)
        if kind == 3 and where + length <= len(head):  # PT_INTERP
            return [head[where : where + length].rstrip(b"\0")]
    return []


def follows(flags: int) -> bool:
    """Say whether a call with these AT_ flags follows a symbolic link at the end."""
    return not flags & c.AT_SYMLINK_NOFOLLOW
