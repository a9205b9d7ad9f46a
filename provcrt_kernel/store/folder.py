"""The folder of a store: its format version, and how a damaged one is moved out of the way.

::

    <store>/
      v1/                what this version writes; another format gets another folder
        cache.db         diskcache's database
        ab/cd/….val      large values
        leases/          see `lease`
        damaged          there once damage has been met: the next to open moves the folder aside
      damaged-<time>/    what was moved aside
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from provcrt_kernel.store.table import PATIENCE, Table

VERSION = "v1"
LEASES = "leases"
_MARK = "damaged"


def versioned(folder: Path) -> Path:
    """Return the folder in the store `folder` that holds this version's format."""
    return folder / VERSION


def prepare(folder: Path) -> tuple[Table, str | None]:
    """Open the table in the store `folder`, making it if there is none, and moving a damaged one aside.

    Returns
    -------
    Table
        Ready to use.
    str or None
        One line on what was moved aside.

    Raises
    ------
    sqlite3.Error, OSError, diskcache.Timeout
        Where there cannot be one here.
    """
    home = versioned(folder)
    for private in (folder, home):  # the mode is of the last folder that mkdir makes, not of its parents
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
    moved = None
    table = _attempt(home)
    if table is None:
        with _alone(folder):
            table = _attempt(home)  # another process may have been quicker
            if table is None:
                aside = folder / f"damaged-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
                home.rename(aside)
                home.mkdir(mode=0o700)
                table = Table(home)
                moved = f"the store {folder} was damaged and is moved to {aside.name}: a new one is begun"
    return table, moved


def mark(folder: Path, cause: BaseException) -> None:
    """Note for the next to open the store that `cause` was met, if that means damage."""
    if _means_damage(cause):
        with contextlib.suppress(OSError):
            (versioned(folder) / _MARK).write_text(f"{cause}\n")


def root_cause(error: BaseException) -> BaseException:
    """Return the first of the errors behind `error`: a rollback that fails too hides why it was needed."""
    while isinstance(error.__context__, sqlite3.Error | OSError):
        error = error.__context__
    return error


#: What reading a database raises whose pages were overwritten, but not its header.
GARBLED = (ValueError, TypeError, KeyError, AttributeError, EOFError)


def _means_damage(cause: BaseException) -> bool:
    if isinstance(cause, GARBLED):
        return True
    return getattr(cause, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _attempt(home: Path) -> Table | None:
    """Return the table in `home`, or None where it is damaged."""
    if (home / _MARK).exists():
        return None
    try:
        return Table(home)
    except (sqlite3.DatabaseError, *GARBLED) as cause:
        if _means_damage(cause):
            return None
        raise


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of the folder; OSError where one does not let go in time."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)
