"""Where a store lives, and whether its file system can be trusted with SQLite's write-ahead log."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from platformdirs import user_data_path

# The write-ahead log needs memory that all its users share (https://sqlite.org/wal.html): these have it.
_DISKS = ("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "vfat", "xfs", "zfs")
LOCAL = frozenset((*_DISKS, "ramfs", "rootfs", "squashfs", "tmpfs"))


def user_folder() -> Path:
    """Return the folder of this user's own data, which need not exist yet."""
    return user_data_path("provcrt")


def find_store(start: Path, environ: Mapping[str, str]) -> Path:
    """Return the folder of the store that work in `start` uses; it need not exist yet.

    Parameters
    ----------
    start : Path
        The notebook's folder.
    environ : Mapping
        The environment: ``PROVCRT_STORE`` names the folder outright.

    Returns
    -------
    Path
        ``PROVCRT_STORE``, else ``store`` in the nearest ``.provcrt`` of this user's at or above `start`, else
        ``store`` in the user's data folder.
    """
    if named := environ.get("PROVCRT_STORE"):
        return Path(named).expanduser().absolute()
    start = start.absolute()
    for folder in (start, *start.parents):
        project = folder / ".provcrt"
        # Someone else's folder in, say, /tmp must not feed this user's session.
        if project.is_dir() and project.stat().st_uid == os.geteuid():
            return project / "store"
    return own_store()


def own_store() -> Path:
    """Return the folder of the store of this user's work outside of projects, which need not exist yet."""
    return user_folder() / "store"


def stores_below(place: Path, environ: Mapping[str, str], shared: Iterable[Path] | None = None) -> list[Path]:
    """Return the folders of the stores to read what a store does not have.

    A notebook that becomes part of a project, as by its first branch, has been run before: what is recorded in the user's own
    store holds there, too.

    Parameters
    ----------
    place : Path
        The store, as `find_store` returns it.
    environ : Mapping
        The environment.
    shared : iterable of Path, optional
        Shared stores; by default those that `environ` names.
    """
    own = own_store()
    alone = environ.get("PROVCRT_STORE") or place == own
    return [*([] if alone else [own]), *(shared_stores(environ) if shared is None else shared)]


def shared_stores(environ: Mapping[str, str]) -> list[Path]:
    """Return the folders of the stores that lie below the user's own: ``PROVCRT_SHARED`` names them, with colons between."""
    named = environ.get("PROVCRT_SHARED", "").split(os.pathsep)
    return [Path(each).expanduser().absolute() for each in named if each]


def file_system(path: Path) -> str:
    """Return the type of the file system that `path` lies on (``ext4``, ``nfs4`` …), or ``unknown``.

    Read from /proc/self/mountinfo, see proc_pid_mountinfo(5); the last of equal mount points is on top.
    """
    target = os.path.realpath(path)
    best, kind = -1, "unknown"
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return kind
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields.split()[4])
        inside = point in ("/", target) or target.startswith(point + "/")
        if inside and len(point) >= best:
            best, kind = len(point), rest.split()[0]
    return kind


def journal_mode(path: Path) -> str:
    """Return SQLite's journal mode for a database in `path`: ``wal`` where it is safe, else ``delete``."""
    return "wal" if file_system(path) in LOCAL else "delete"
