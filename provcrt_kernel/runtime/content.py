"""What a container holds: files by their content, and how they are laid down under a root of their own.

Content may come from strangers. Whatever it says, `lay` makes nothing outside of the root that it was given: names
are absolute and have no ``..``, folders come first and links last, and nothing is ever written through a link.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import msgspec

from provcrt_kernel.provenance.owners import Package
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.store import Store

Kind = Literal["file", "dir", "link", "hollow"]
_LINKS = 40  # that a path may lead over, as Linux has it
_MODE = 0o777  # no set-user-ID: whoever repeats a run gains no rights by it


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One path of a container.

    Attributes
    ----------
    path : str
        Absolute.
    kind : {"file", "dir", "link", "hollow"}
        A hollow file was seen, in a listing say, and never read: of it only name and size are kept.
    digest : str or None
        Of a file.
    target : str
        Of a link.
    size, mode, mtime_ns : int
        As in `os.stat_result`; `mode` has the permission bits alone.
    """

    path: str
    kind: Kind
    digest: str | None = None
    target: str = ""
    size: int = 0
    mode: int = 0o755
    mtime_ns: int = 0


class Packed(msgspec.Struct, frozen=True):
    """A package in a container, whole: its blob is what `pack` makes of its files; `size` is theirs, in bytes."""

    package: Package
    digest: str
    size: int


class Content(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that a container holds.

    Attributes
    ----------
    entries : tuple of Entry
        What belongs to no package and may be changed by the run: the user's files.
    system : tuple of Entry
        Single files of the system that belong to no package, or of which the package is not known.
    packs : tuple of Packed
        Packages.
    folders : tuple of str
        Folders that must be there and can be written to: where the run worked and wrote.
    owned : dict of str to int
        Of the files that the run touched, those of packages: the number of each one's in `packs`.
    listed : dict of str to str
        Packages that the user asks for, by their name as PEP 503 compares it, and where.
    """

    entries: tuple[Entry, ...] = ()
    system: tuple[Entry, ...] = ()
    packs: tuple[Packed, ...] = ()
    folders: tuple[str, ...] = ()
    owned: dict[str, int] = {}
    listed: dict[str, str] = {}

    @property
    def blobs(self) -> set[str]:
        """The digests that it refers to."""
        files = {entry.digest for entry in (*self.entries, *self.system) if entry.digest}
        return files | {each.digest for each in self.packs}

    @property
    def owners(self) -> dict[str, Package]:
        """The package of each file that the run touched, where it has one."""
        return {path: self.packs[n].package for path, n in self.owned.items() if 0 <= n < len(self.packs)}

    @property
    def size(self) -> int:
        """Bytes of all files, hollow ones apart."""
        files = (entry.size for entry in (*self.entries, *self.system) if entry.kind == "file")
        return sum(files) + sum(each.size for each in self.packs)


def within(root: Path, path: str) -> str:
    """Return where the path of a container is under `root`; ProjectError where it would lead out of it."""
    parts = path.split("/")
    if not path.startswith("/") or ".." in parts or "\0" in path or path == "/":
        raise ProjectError.hostile(f"it names {path!r}")
    return f"{root}{os.path.normpath('/' + path.lstrip('/'))}"


def led(root: Path, path: str) -> str:
    """Return where a path of a container leads under `root`, whose links are taken as inside of it (chroot(2)).

    Whoever laid links there is not to be believed: to the system they may lead anywhere.
    """
    within(root, path)
    done, waiting, links = "", path.split("/")[::-1], 0
    while waiting:
        part = waiting.pop()
        if part in ("", ".", ".."):
            done = done.rpartition("/")[0] if part == ".." else done
            continue
        try:
            target = os.readlink(f"{root}{done}/{part}")
        except OSError:
            done = f"{done}/{part}"
            continue
        links += 1
        if links > _LINKS:
            raise ProjectError.hostile(f"its links lead in a circle at {path!r}")
        done = "" if target.startswith("/") else done
        waiting += target.split("/")[::-1]
    return f"{root}{done}"


def left_at(root: Path, path: str) -> str:
    """Return where a path that a run touched is under `root`; a place that is not there, if a folder became a link since."""
    place = within(root, path)
    head = os.path.dirname(place)
    inside = os.path.realpath(root) + head[len(str(root)) :]
    return place if os.path.realpath(head) == inside else f"{root}/\N{NO-BREAK SPACE}"


def make_folder(root: Path, path: str) -> str:
    """Make a folder of a container, if it is not there, and those above it; return where it is.

    Raises
    ------
    ProjectError
        Where something else is in its place.
    OSError
        Where it cannot be made.
    """
    place = led(root, path)
    _folder(root, place)
    return place


def lay(
    entries: Iterable[Entry], root: Path, fill: Callable[[Entry, str], bool], *, private: bool = False
) -> list[str]:
    """Make files, folders and links under `root`.

    Parameters
    ----------
    entries : iterable of Entry
    root : Path
        A folder of ours.
    fill : callable
        Given an entry and where its file is to be, writes it; returns whether it could.
    private : bool
        Make it all writable for this user.

    Returns
    -------
    list of str
        Paths of files whose content could not be had.

    Raises
    ------
    ProjectError
        Where an entry would lead out of the root.
    OSError
        Where something cannot be written.
    """
    lost = []
    ordered = sorted(entries, key=lambda entry: (entry.kind == "link", entry.path))
    for entry in ordered:
        place = within(root, entry.path)
        _folder(root, os.path.dirname(place))
        if entry.kind == "dir":
            _folder(root, place)
        elif entry.kind == "link":
            if os.path.lexists(place):
                raise ProjectError.hostile(f"it has both a link and something else at {entry.path!r}")
            os.symlink(entry.target, place)
            _date(entry, place)
        else:
            if os.path.lexists(place):
                raise ProjectError.hostile(f"it has two files at {entry.path!r}")
            if entry.kind == "hollow":
                with open(place, "xb") as file:
                    file.truncate(entry.size)
            elif not fill(entry, place):
                lost.append(entry.path)
                continue
            _dress(entry, place, private)
    for entry in reversed(ordered):
        if entry.kind == "dir":
            os.chmod(within(root, entry.path), entry.mode & _MODE | 0o700)
    return lost


def from_store(store: Store) -> Callable[[Entry, str], bool]:
    """Return what fills files from blobs."""
    return lambda entry, place: entry.digest is not None and store.restore(entry.digest, place)


def host_file(path: Path, place: str, store: Store) -> Entry:
    """Keep a file of this machine, and return it as what a container has at `place`; ProjectError where it cannot be read."""
    try:
        found = path.stat()
        digest = store.put_file(path, compress=True)
    except FileNotFoundError:
        raise ProjectError.no_such_file(path) from None
    except OSError as cause:
        raise ProjectError.cannot_read(path, cause) from cause
    mode = stat.S_IMODE(found.st_mode)
    return Entry(place, "file", digest, size=found.st_size, mode=mode, mtime_ns=found.st_mtime_ns)


def _dress(entry: Entry, place: str, private: bool) -> None:
    os.chmod(place, entry.mode & _MODE | (0o200 if private and entry.mode & 0o222 else 0))
    _date(entry, place)


def _date(entry: Entry, place: str) -> None:
    if entry.mtime_ns:
        with contextlib.suppress(OSError, OverflowError):
            os.utime(place, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)


def _folder(root: Path, place: str) -> None:
    """Make a folder and those above it, none of which may be a link."""
    missing = []
    while place != str(root):
        try:
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                raise ProjectError.hostile(f"it uses {place[len(str(root)) :]!r} as a folder")
            break
        except (FileNotFoundError, NotADirectoryError):
            missing.append(place)
            place = os.path.dirname(place)
    for folder in reversed(missing):
        os.mkdir(folder, 0o755)
