"""Files as inputs and outputs of a cell: from a span's accesses to a record's, and whether a record's still hold.

A file that was read counts by content, one that was only looked at by kind and size; children are believed to compare
times too. What belongs to the interpreter, to installed packages or to the system counts by size and time of each file
touched, kept together in one blob. The import system lists directories and tries paths: of that counts only in which
folder each imported name was found, and that no earlier folder has one now.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import msgspec

from provcrt_kernel.provenance.packages import is_library
from provcrt_kernel.replay import looker
from provcrt_kernel.replay.looker import Looker
from provcrt_kernel.replay.record import FileInput, FileOutput, Record
from provcrt_kernel.replay.resolved import Names, resolve, short
from provcrt_kernel.session.audit import Audit
from provcrt_kernel.session.importing import Imports
from provcrt_kernel.store import Store, StoreError
from provcrt_kernel.store.digest import digest, digest_file
from provcrt_kernel.trace import UNSEEN, Access, Span

#: A file younger than this when it was hashed may change again without its times changing.
_GRAIN_NS = 2_000_000_000
#: Hashes of larger files are remembered across sessions.
_REMEMBER = 4 << 20
#: How the names end that `importlib.metadata` looks for.
_DISTRIBUTIONS = (b".dist-info", b".egg-info", b".egg")
_CLEARS = re.compile(r"\brmtree\b|\brm\s+-\w*[rR]")
_SYSTEM = ("/usr/", "/lib/", "/lib64/", "/lib32/", "/bin/", "/sbin/", "/nix/store/")


def _without_own(paths: list[FileInput]) -> list[FileInput]:
    """Without what is absent because its folder was: one that was absent, and would not have been taken as it is."""
    absent = {i.path for i in paths if i.kind == "absent" and not i.tolerant}

    def own(path: str) -> bool:
        while (path := os.path.dirname(path)) not in ("", "/"):
            if path in absent:
                return True
        return False

    return [i for i in paths if i.kind != "absent" or not own(i.path)] if len(absent) > 1 else paths


def noise() -> tuple[str, ...]:
    """Paths that are nobody's input: caches that programs rebuild, and what Jupyter and IPython keep for themselves."""
    home = os.path.expanduser("~")
    cache = os.environ.get("XDG_CACHE_HOME") or f"{home}/.cache"
    temporary = tempfile.gettempdir()
    return (
        f"{cache}/matplotlib",
        f"{cache}/fontconfig",
        f"{cache}/pip",
        f"{temporary}/ipykernel_*",
        "/dev/shm/sem.*",
        "/dev/shm/loky-*",
        "/dev/shm/joblib_memmapping_folder_*",
        f"{temporary}/joblib_memmapping_folder_*",
        f"{temporary}/loky-*",
    )


def _library(path: str) -> bool:
    return path.startswith(_SYSTEM) or is_library(path) or path.startswith(_prefixes())


@functools.cache
def _prefixes() -> tuple[str, ...]:
    return tuple({f"{os.path.realpath(p)}/" for p in (sys.prefix, sys.base_prefix)} - {"//"})


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a span looked at, ready for a record; `problems` say why that is not all.

    `kept` are the blobs of what the span itself then changed, as it was before.
    """

    paths: tuple[FileInput, ...] = ()
    library: str | None = None
    resolved: dict[str, str] | None = None
    problems: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


class Files:
    """Reads, checks and restores files for the records of one session."""

    def __init__(self, store: Store, beside: Looker | None = None) -> None:
        self._store = store
        self._looker = beside
        self._digests: dict[str, tuple[tuple[int, ...], str]] = {}
        self._names = Names()

    def content(self, path: str) -> str:
        """Digest of a file's content now.

        Raises
        ------
        OSError
            It cannot be read.
        """
        status = os.stat(path)
        identity = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self._digests.get(path)
        if known and known[0] == identity:
            return known[1]
        note = f"file:{path}"
        large = status.st_size >= _REMEMBER
        if large and (kept := self._store.noted(note)):
            numbers, _, content = kept.decode().partition(" ")
            if numbers == ",".join(map(str, identity)):
                self._digests[path] = (identity, content)
                return content
        content = digest_file(path)
        settled = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _GRAIN_NS
        if settled and os.stat(path).st_mtime_ns == status.st_mtime_ns:
            self._digests[path] = (identity, content)
            if large:
                with contextlib.suppress(StoreError):
                    self._store.note(note, f"{','.join(map(str, identity))} {content}".encode())
        return content

    def inputs(self, span: Span, audit: Audit, imports: Imports, *, times: bool) -> Inputs:
        """What the span looked at.

        Parameters
        ----------
        imports
            What the import system looked at unseen, and for.
        times
            Whether the cell's own code may read file times.
        """
        paths: list[FileInput] = []
        library = {path: _look(found) for path, found in imports.looks.items()}
        problems: list[str] = []
        kept: list[str] = []
        for access in span.accesses:
            path = access.path
            if _library(path + "/" if access.listed else path):
                if access.written or access.removed:
                    problems.append(f"{path} was changed")
                elif access.first is None:
                    if access.stated or access.read:
                        library[path] = (looker.ABSENT, 0)
                elif access.first.kind == "dir":
                    library[path] = (looker.DIRECTORY, _listing_time(access, audit))
                else:
                    library[path] = (access.first.size, access.first.mtime_ns)
                continue
            problems += [f"{path}: {p}" for p in access.problems]
            try:
                path.encode()
            except UnicodeEncodeError:
                problems.append(f"{path!r} is not UTF-8")
                continue
            try:
                found = self._input(access, audit, times)
            except OSError as error:
                problems.append(f"{path} cannot be read again: {error.strerror}")
                continue
            if isinstance(found, str):
                problems.append(found)
            elif found is not None:
                paths.append(found)
                if access.before_file is not None and access.read:
                    kept += self._keep_before(access.before_file)
        paths = _without_own(paths)
        looks = [(path, *look) for path, look in sorted(library.items())]
        blob = self._store.put(msgspec.msgpack.encode(looks)) if looks else None
        names = resolve({**dict.fromkeys(audit.imported), **imports.sought})
        return Inputs(tuple(paths), blob, names, tuple(problems), tuple(kept))

    def _keep_before(self, file: str) -> Iterator[str]:
        """Yield the blob of what a file held before the cell changed it, unless it cannot be had any more."""
        with contextlib.suppress(OSError):
            yield self._store.put_file(file)

    def _input(self, access: Access, audit: Audit, times: bool) -> FileInput | str | None:
        path, first = access.path, access.first
        child = access.by_child
        if access.written and not (access.read or child) and access.asked == 1 and path in audit.pictures:
            return None  # it is overwritten whether it was there or not
        asked_names = access.listed_by_child or path in audit.listed or "*" in audit.listed
        if first is None:
            if not (access.stated or access.read):
                return None
            tolerant = (access.tolerant or path in audit.tolerated) and access.written
            # where it looks into a folder that it made, it does mind other files in it than its own
            looked = tolerant and access.listed and asked_names
            return FileInput(
                path,
                "absent",
                listing=access.listing if looked else None,
                without=access.listing_except if looked else (),
                tolerant=tolerant,
                child=child,
            )
        if access.link is not None:
            return FileInput(path, "link", content=access.link, child=child)
        if first.kind == "dir":
            if access.listed and asked_names:
                return FileInput(
                    path, "dir", listing=access.listing, without=access.listing_except, child=child
                )
            if access.listed and path in audit.distributions:
                return FileInput(
                    path, "dir", listing=_listing(path, (), distributions=True), distributions=True
                )
            return FileInput(path, "dir", child=child) if access.stated or access.listed else None
        if first.kind != "file":
            return FileInput(path, first.kind, child=child) if access.stated or access.read else None
        mode = stat.S_IMODE(first.mode)
        if access.read or (access.stated and path.endswith(".py")):
            if access.written or access.removed:
                if access.before_digest is None:
                    return f"{path} was changed before it could be kept"
                return FileInput(path, "file", content=access.before_digest, mode=mode, child=child)
            status = os.stat(path)
            if (status.st_size, status.st_mtime_ns, status.st_ino) != (first.size, first.mtime_ns, first.ino):
                return f"{path} changed while the cell ran"
            return FileInput(
                path, "file", content=self.content(path), size=first.size, mode=mode, child=child
            )
        if access.stated and access.written and self._as_before(access):
            # only its permissions or times were set: what it holds is part of what is left
            return FileInput(path, "file", content=access.before_digest, mode=mode, child=child)
        if access.stated:
            exact = times or child
            return FileInput(
                path,
                "file",
                size=first.size,
                mtime_ns=first.mtime_ns if exact else None,
                mode=mode,
                child=child,
            )
        return None

    def _as_before(self, access: Access) -> bool:
        """Whether a file that was changed holds what it did."""
        try:
            return access.before_digest is not None and self.content(access.path) == access.before_digest
        except OSError:
            return False

    def outputs(self, span: Span) -> tuple[tuple[FileOutput, ...], tuple[str, ...]]:
        """What the span left behind, its files put into the store; and why that is not all.

        Raises
        ------
        StoreError
            The store cannot be written.
        """
        found: list[FileOutput] = []
        problems: list[str] = []
        for access in span.accesses:
            path = access.path
            if not (access.written or access.removed) or _library(path):
                continue
            try:
                status = os.lstat(path)
            except OSError:
                found.append(FileOutput(path, "absent"))
                continue
            mode = stat.S_IMODE(status.st_mode)
            try:
                if stat.S_ISDIR(status.st_mode):
                    found.append(FileOutput(path, "dir", mode=mode))
                elif stat.S_ISLNK(status.st_mode):
                    found.append(FileOutput(path, "link", content=os.readlink(path)))
                elif stat.S_ISREG(status.st_mode):
                    found.append(FileOutput(path, "file", self._store.put_file(path), mode, status.st_size))
                else:
                    problems.append(f"{path} is no regular file")
            except OSError as error:
                problems.append(f"{path} cannot be kept: {error.strerror}")
        return tuple(found), tuple(problems)

    def differs(self, record: Record, left: Mapping[str, FileOutput] = MappingProxyType({})) -> str | None:
        """The first input of the record that does not hold, in words; None if all hold.

        Parameters
        ----------
        left
            Paths that are to be taken for what is said here, not for what they are now.
        """
        for known in record.inputs:
            reason = _unlike(known, left[known.path]) if known.path in left else self._differs(known, left)
            if reason:
                return reason
        return self._library_differs(record.library) or self._names.differ(record.resolved or {})

    def _differs(self, known: FileInput, left: Mapping[str, FileOutput]) -> str | None:
        path = known.path
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None if known.kind == "absent" else f"{short(path)} is gone"
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG and known.kind == "absent":
                return None  # text that a library took for the name of a file, perhaps
            return f"{short(path)} cannot be looked at: {error.strerror}"
        if known.kind == "absent":
            if not (known.tolerant and stat.S_ISDIR(status.st_mode)):
                return f"{short(path)} is there now"
            if known.listing is None:
                return None
        kind = _kind(status.st_mode)
        if known.kind not in (kind, "absent"):
            return f"{short(path)} is a {kind} now"
        if known.mode is not None and stat.S_IMODE(status.st_mode) != known.mode:
            return f"{short(path)} has other permissions"
        try:
            if known.kind == "link":
                return None if os.readlink(path) == known.content else f"{short(path)} points elsewhere"
            if known.listing is not None:
                return (
                    None
                    if _listing(path, known.without, distributions=known.distributions, left=left)
                    == known.listing
                    else f"the names in {short(path)} changed"
                )
            if known.content is not None:
                if known.size is not None and status.st_size != known.size:
                    return f"{short(path)} changed"
                return None if self.content(path) == known.content else f"{short(path)} changed"
        except OSError as error:
            return f"{short(path)} cannot be read: {error.strerror}"
        if known.size is not None and status.st_size != known.size:
            return f"{short(path)} changed"
        if known.mtime_ns is not None and status.st_mtime_ns != known.mtime_ns:
            return f"{short(path)} has another time"
        return None

    def _library_differs(self, blob: str | None) -> str | None:
        if blob is None:
            return None
        data = self._store.get(blob)
        if data is None:
            return "what the store knew of the installed packages is lost"
        if self._looker is not None:
            return self._looker.differs(data)
        return looker.differs(msgspec.msgpack.decode(data, type=list[looker.Look]))

    def put_back(self, outputs: Iterable[FileOutput]) -> list[str]:
        """Make paths be what a cell left behind, where they are not; returns those that could not be."""
        outputs = sorted(outputs, key=lambda o: o.path)
        gone = [o for o in reversed(outputs) if o.kind == "absent"]  # what is in a folder goes first
        removed = {o.path for o in gone}
        if stay := [path for path in removed if not _holds_only(path, removed)]:
            return stay
        failed = []
        for output in (*gone, *(o for o in outputs if o.kind != "absent")):
            try:
                if not self._put_back(output):
                    failed.append(output.path)
            except OSError:
                failed.append(output.path)
        return failed

    def stored(self, outputs: Sequence[FileOutput]) -> str | None:
        """The first output whose content the store no longer has, unless it is in place already."""
        for output in outputs:
            if (
                output.kind == "file"
                and output.content
                and not self._store.has(output.content)
                and not self.in_place(output)
            ):
                return output.path
        return None

    def in_place(self, output: FileOutput) -> bool:
        """Whether a path is what a cell left behind: a file with its content, or nothing where it removed one."""
        if output.kind == "absent":
            return not os.path.lexists(output.path)
        try:
            status = os.lstat(output.path)
            return (
                stat.S_ISREG(status.st_mode)
                and status.st_size == output.size
                and self.content(output.path) == output.content
            )
        except OSError:
            return False

    def _put_back(self, output: FileOutput) -> bool:
        path = Path(output.path)
        if output.kind == "absent":
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink(missing_ok=True)
        elif output.kind == "dir":
            path.mkdir(parents=True, exist_ok=True)
        elif output.kind == "link":
            if not (path.is_symlink() and os.readlink(path) == output.content):
                path.unlink(missing_ok=True)
                path.symlink_to(output.content or "")
        elif not self.in_place(output):
            path.parent.mkdir(parents=True, exist_ok=True)
            if output.content is None or not self._store.restore(output.content, path):
                return False
            path.chmod(output.mode)
        return True


def _holds_only(path: str, removed: Container[str]) -> bool:
    """Whether a path is no folder, or one in which everything is to be removed."""
    if not os.path.isdir(path) or os.path.islink(path):
        return True
    with contextlib.suppress(OSError):
        return all(os.path.join(path, name) in removed for name in os.listdir(path))
    return False


def clears_folders(record: Record) -> bool:
    """Whether a cell removes folders with all that is in them: run again, it would take what later cells put there."""
    return _CLEARS.search(record.text) is not None


def unrepeatable(
    inputs: Iterable[FileInput], outputs: Iterable[FileOutput], *, undone: bool = False
) -> str | None:
    """The first path that a cell looked at and left otherwise: it cannot be run again as it ran.

    Parameters
    ----------
    undone
        Whether what it left may be undone first; then only those count of which nobody knows what they held.
    """
    left = {o.path: o for o in outputs}
    for known in inputs:
        output = left.get(known.path)
        if output is None or known.tolerant or known.listing is not None:
            continue
        same_kind = known.kind == output.kind
        same = (
            known.content == output.content
            if known.content is not None
            else known.size in (None, output.size)
        )
        if not (same_kind and same) and not (
            undone and (known.kind == "absent" or known.content is not None)
        ):
            return known.path
    return None


def _unlike(known: FileInput, left: FileOutput) -> str | None:
    """Why a path will not be what a cell found there, once another has left it so."""
    path = short(known.path)
    if known.kind != left.kind:
        tolerated = known.kind == "absent" and known.tolerant and left.kind == "dir"
        return None if tolerated else f"{path} is gone" if left.kind == "absent" else f"{path} is there now"
    if known.mtime_ns is not None:
        return f"{path} has another time"
    if known.mode is not None and left.mode != known.mode:
        return f"{path} has other permissions"
    same = known.content == left.content if known.content is not None else known.size in (None, left.size)
    return None if same else f"{path} changed"


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    return "dir" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "other"


def _listing(
    path: str,
    without: Iterable[str],
    *,
    distributions: bool = False,
    left: Mapping[str, FileOutput] = MappingProxyType({}),
) -> str:
    found = set(os.listdir(path))
    for output in left.values():
        if os.path.dirname(output.path) == path:
            (found.discard if output.kind == "absent" else found.add)(os.path.basename(output.path))
    names = {os.fsencode(n) for n in found} - {os.fsencode(n) for n in without} - UNSEEN
    if distributions:
        names = {n for n in names if n.lower().endswith(_DISTRIBUTIONS)}
    return digest(b"\0".join(sorted(names)))


def _look(found: os.stat_result | None) -> tuple[int, int]:
    if found is None:
        return looker.ABSENT, 0
    return (looker.DIRECTORY, 0) if stat.S_ISDIR(found.st_mode) else (found.st_size, found.st_mtime_ns)


def _listing_time(access: Access, audit: Audit) -> int:
    """A library folder's time where something other than the import system listed it, else 0."""
    if not (access.listed_by_child or (access.listed and access.path in audit.listed)):
        return 0
    try:
        return os.stat(access.path).st_mtime_ns
    except OSError:
        return 0
