"""The accesses of one span: a state machine per path, fed with events and what was seen of the world before them.

Promise: it knows no tracer. Feed it what happened in order, then ask `close` for the accesses::

    untouched ──read/state/list──▶ input ──change──▶ changed (input flags are frozen: what follows is its own work)
        └─────────────change─────────────────────────▲

At the end a changed path is compared with the world: written if it is there, removed if it was, and nothing at
all if it was neither there before nor is now and was made so that nothing could be overwritten (a temporary file).
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from provcrt_kernel.store.digest import digest
from provcrt_kernel.trace.paths import UNSEEN, Seen
from provcrt_kernel.trace.span import Access, Stat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

Look = Seen | None
_GRAIN_NS = 20_000_000  # a file's clock ticks every 4 to 10 ms: younger stamps prove nothing

_OTHER_NAMES = "it has other names (hard links), which change with it"


class Entry:
    """What is known of one path; mutable until the span closes. The attributes are those of `Access`, and:

    Attributes
    ----------
    changed : bool
        The span has changed it: what it asks for from now on is its own work.
    created : bool
        It was absent when the span made it, and that mattered.
    spare : bool
        It was absent when the span made it, and would have been left alone otherwise.
    touched : bool
        It was changed otherwise than by an opening that may have written nothing.
    left : bool
        The span itself has removed or renamed it: its absence at the end is no failure to make it.
    asked : int
        How often its existence or metadata was asked for before the span changed it: never, once, or more often.
    pending : bool
        A worker has yet to find `before`.
    by, listed_by : int
        `CHILD`, `KERNEL` or both, and above these a bit for each program: who touched it at all, and who asked for its names.
    readers, writers : int
        Likewise, who asked for its content, what the span itself had written included, and who changed it.
    seen_ns : int
        When it was first changed.
    keep : bytes
        Where its old content is to be kept; empty where nobody read it.
    """

    # defaults of the class: most entries are made to hold three attributes, by the ten thousand
    read = stated = executed = False
    changed = created = touched = left = tolerant = pending = spare = own = False
    link: bytes | None = None
    before: str | None = None
    keep = b""
    kept: bytes | None = None
    unkept: str | None = None
    listing: str | None = None
    excepted: tuple[bytes, ...] = ()
    problems: tuple[str, ...] = ()
    asked = 0
    by = listed_by = readers = writers = 0
    seen_ns = 0

    def __init__(self, path: bytes, first: Look) -> None:
        self.path = path
        self.first = first


CHILD, KERNEL = 1, 2
WHO = CHILD | KERNEL
PROGRAM = 4  # shifted by its number in the span: the program that a process runs


class Ledger:
    """The accesses of one span.

    Parameters
    ----------
    quiet : callable
        Says of a real path whether it is nobody's input.
    keep : bytes
        The folder where content is kept that was read and is about to be changed; empty: nowhere.
    """

    def __init__(self, quiet: Callable[[bytes], bool], keep: bytes = b"") -> None:
        self._quiet = quiet
        self._keep = keep
        self.entries: dict[bytes, Entry] = {}
        self._changed: dict[bytes, dict[bytes, Entry]] = {}  # by directory, then by name
        self._made: set[bytes] = set()  # directories that were absent before
        self._names: dict[tuple[int, int], dict[bytes, None]] = {}  # of files with several names, by inode

    def known(self, path: bytes) -> Look:
        """Return what was seen of an existing path that the span has not changed; else None."""
        entry = self.entries.get(path)
        return None if entry is None or entry.changed else entry.first

    def entry(self, path: bytes, seen: Look, by: int) -> Entry | None:
        """Return the entry of a path, opened with what is seen of it now; None where the path is quiet."""
        entry = self.entries.get(path)
        if entry is None:
            if self._quiet(path):
                return None
            entry = self.entries[path] = Entry(path, seen)
            if seen is None:
                if self._made and path.rpartition(b"/")[0] in self._made:
                    entry.own = True
            elif seen.st_nlink > 1 and stat.S_ISREG(seen.st_mode):
                self._names.setdefault((seen.st_dev, seen.st_ino), {})[path] = None
        entry.by |= by
        return entry

    def state(self, path: bytes, seen: Look, by: int) -> bool:
        """Record that existence, kind or metadata was asked for; says whether asking again would tell nothing new."""
        entry = self.entry(path, seen, by)
        if entry is None or entry.changed:
            return True
        entry.stated = True
        entry.asked += 1
        return entry.asked > 1

    def link(self, path: bytes, seen: Seen, target: bytes, by: int) -> None:
        """Record a symbolic link that was met."""
        entry = self.entry(path, seen, by)
        if entry is not None and not entry.changed:
            entry.stated = True
            entry.link = target

    def read(self, path: bytes, seen: Look, by: int) -> None:
        """Record that content was asked for; of a directory or an absent file only that fact is an input."""
        entry = self.entry(path, seen, by)
        if entry is None:
            return
        entry.readers |= by
        if entry.changed:
            return
        if seen is None or stat.S_ISDIR(seen.st_mode):
            entry.stated = True
        else:
            entry.read = True

    def execute(self, path: bytes, seen: Look, by: int) -> None:
        """Record that a program or its interpreter was loaded."""
        entry = self.entry(path, seen, by)
        if entry is not None:
            entry.executed = True
            entry.readers |= by
            if not entry.changed:
                entry.read = True

    def names(self, path: bytes, seen: Look, names: Iterable[bytes], by: int) -> None:
        """Record that a directory's names were asked for; `names` are those of now."""
        entry = self.entry(path, seen, by)
        if entry is None:
            return
        first, entry.listed_by = not entry.listed_by, entry.listed_by | by
        if not first:
            return
        before = set(names)
        own = []
        for name, change in self._changed.get(path.rstrip(b"/"), {}).items():
            if change.first is not None:
                before.add(name)
            elif name in before:
                before.discard(name)
                own.append(name)
        entry.listing = digest(b"\0".join(sorted(before - UNSEEN)))
        entry.excepted = tuple(sorted(own))

    def same(self, path: bytes, other: bytes, seen: Seen) -> None:
        """Note that two names are about to be one file (a hard link)."""
        names = self._names.setdefault((seen.st_dev, seen.st_ino), {})
        names[path] = names[other] = None

    def change_others(self, path: bytes, seen: Seen, by: int, *, maybe: bool = False) -> None:
        """Record that the other names of a file change with it, as far as the span has met them."""
        if seen.st_nlink < 2:
            return
        names = self._names.get((seen.st_dev, seen.st_ino), {})
        for other in names:
            if other != path:
                self.change(other, seen, by, maybe=maybe)
        entry = self.entry(path, seen, by)
        if entry is not None and len(names.keys() | {path}) < seen.st_nlink:
            entry.problems = (_OTHER_NAMES,)

    def tolerate(self, path: bytes) -> None:
        """Note that making this directory would have minded nothing that was there."""
        entry = self.entries.get(path)
        if entry is not None:
            entry.tolerant = True

    def change(
        self,
        path: bytes,
        seen: Look,
        by: int,
        *,
        reads: bool = False,
        states: bool = False,
        maybe: bool = False,
        directory: bool = False,
        leaves: bool = False,
        spares: bool = False,
    ) -> list[Entry]:
        """Record that a path is about to be made, changed or removed.

        Parameters
        ----------
        path, seen, by
            As everywhere.
        reads : bool
            Its old content matters (update, append, rename); of an absent one its absence.
        states : bool
            That it is there, or is not, matters.
        maybe : bool
            It is only opened: whether anything is written shows at the end.
        directory : bool
            It is about to be a directory.
        leaves : bool
            The name is about to be given up: by a removal, or a rename to another.
        spares : bool
            It would not be made if the name were taken.

        Returns
        -------
        list of Entry
            The entry where its old content must be hashed before the change happens, else nothing.
        """
        entry = self.entry(path, seen, by)
        if entry is None:
            return []
        entry.writers |= by
        if reads:
            entry.readers |= by
        if not maybe:
            entry.touched = True
        if leaves:
            entry.left = True
        if entry.changed:
            if directory and entry.first is None:
                self._made.add(path)
            return [entry] if entry.pending else []
        if seen is None:
            entry.created = states or reads
            entry.spare = spares
            if directory:
                self._made.add(path)
        elif reads and stat.S_ISREG(seen.st_mode):
            entry.read = True
        elif reads or states:
            entry.stated = True
        entry.changed = True
        if entry.read:
            entry.keep = self._keep
        entry.seen_ns = time.time_ns()
        head, _, name = path.rpartition(b"/")
        self._changed.setdefault(head, {})[name] = entry
        return [entry] if seen is not None and stat.S_ISREG(seen.st_mode) else []

    def drop(self, folder: bytes) -> None:
        """Forget a folder and what is below it: it is nobody's input after all."""
        for path in [path for path in self.entries if path == folder or path.startswith(folder + b"/")]:
            head, _, name = path.rpartition(b"/")
            self._changed.get(head, {}).pop(name, None)
            del self.entries[path]

    def close(self, look: Callable[[bytes], Look], programs: Mapping[int, int] = {}) -> Iterator[Access]:
        """Yield the accesses; entries go as accesses come, to save memory.

        Parameters
        ----------
        look : callable
            Says how the world looks now.
        programs : mapping of int to int
            From the number of a program to what accesses call it.
        """
        self._changed.clear()
        # what was absent in a folder that came and went again is no news from outside
        paths = sorted(
            p for p, e in self.entries.items() if not e.own or look(p.rpartition(b"/")[0]) is not None
        )
        for path in paths:
            access = _access(self.entries.pop(path), look, programs)
            if access is not None:
                yield access
        self.entries.clear()


def _access(entry: Entry, look: Callable[[bytes], Look], programs: Mapping[int, int]) -> Access | None:
    written = removed = False
    stated = entry.stated
    if entry.changed:
        now = look(entry.path)
        if now is not None:
            written = entry.touched or not _untouched(entry, now)
            stated |= entry.created
        elif entry.first is not None:
            removed = True
        elif entry.touched and not entry.left:
            stated = True  # it could not be made, so it was but asked for
        elif entry.spare and not (stated or entry.read):
            return None  # made and removed again, by somebody who takes another name where one is taken
        else:
            stated = True  # made and removed again: what was there would be gone
    if not (entry.read or stated or entry.executed or entry.listed_by or written or removed):
        return None
    return Access(
        path=os.fsdecode(entry.path),
        first=None if entry.first is None else Stat.of(entry.first),
        read=entry.read,
        stated=stated,
        asked=entry.asked,
        executed=entry.executed,
        listed=bool(entry.listed_by),
        listed_by_child=bool(entry.listed_by & CHILD),
        written=written,
        removed=removed,
        link=None if entry.link is None else os.fsdecode(entry.link),
        before_digest=entry.before,
        before_file=None if entry.kept is None else os.fsdecode(entry.kept),
        before_unkept=entry.unkept,
        listing=entry.listing,
        listing_except=tuple(map(os.fsdecode, entry.excepted)),
        tolerant=entry.tolerant,
        by_child=bool(entry.by & CHILD),
        by_kernel=bool(entry.by & KERNEL),
        problems=entry.problems,
        readers=_programs(entry.readers, programs) if programs else (),
        writers=_programs(entry.writers, programs) if programs and (written or removed) else (),
    )


def _programs(bits: int, programs: Mapping[int, int]) -> tuple[int, ...]:
    bits //= PROGRAM
    found = []
    while bits:
        lowest = bits & -bits
        bits ^= lowest
        number = programs.get(lowest.bit_length() - 1)
        if number is not None:
            found.append(number)
    return tuple(sorted(found))


def _untouched(entry: Entry, now: Seen) -> bool:
    """Say whether a file that was opened for writing provably was not written."""
    first = entry.first
    return (
        first is not None
        and (first.st_ino, first.st_size, first.st_mtime_ns, first.st_ctime_ns)
        == (now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
        and entry.seen_ns - now.st_ctime_ns > _GRAIN_NS
    )
