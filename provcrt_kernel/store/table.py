"""The rows of a store: named bytes in one SQLite database, the large ones in files beside it.

`Table` writes through diskcache and `Reader` reads a folder that nobody may write to. Both keep bytes as they
are: nothing here is ever pickled or unpickled, and no name found in a database leads out of its folder.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW, UNKNOWN

from provcrt_kernel.store.place import journal_mode

DATABASE = "cache.db"
PATIENCE = 2.0  # seconds to wait for another process's lock: a kernel must not hang on its store
_OWN = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val")
_SELECT = "SELECT key, tag, size, access_time, filename FROM Cache"


class Spilled(NamedTuple):
    """Bytes that are in a file of the folder already and only want a row: its name, its size in bytes."""

    name: str
    size: int


class Row(NamedTuple):
    """What the table knows of one value without reading it."""

    key: str
    tag: bytes | None
    size: int  # bytes of the value
    used: float  # seconds since the epoch: written, or last touched
    file: str | None  # its file in the folder, where it is not in the database


class RawDisk(diskcache.Disk):  # type: ignore[misc]
    """diskcache's serialisation, reduced to text keys and values that are bytes already."""

    def put(self, key: str) -> tuple[str, bool]:
        """Return the key as it is kept."""
        if type(key) is not str:
            raise TypeError(f"a key of the store is text, not {type(key).__name__}")
        return key, True

    def get(self, key: str, raw: int) -> str:
        """Return a kept key as it was."""
        return str(key)

    def store(self, value: bytes | Spilled, read: bool, key: object = UNKNOWN) -> tuple[int, int, Any, Any]:
        """Return size, mode, file name and inline value for a row."""
        if isinstance(value, Spilled):
            return value.size, MODE_BINARY, value.name, None
        if not isinstance(value, bytes):
            raise TypeError(f"a value of the store is bytes, not {type(value).__name__}")
        return len(value), MODE_RAW, None, memoryview(value)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> bytes:
        """Return a row's value; OSError, which diskcache takes for absent, where it is not one of ours."""
        return fetch(Path(self._directory), mode, filename, value)

    def remove(self, file_path: str) -> None:
        """Remove a row's file, and nothing that a doctored database may point at elsewhere."""
        if _OWN.fullmatch(file_path):
            super().remove(file_path)


class Table(diskcache.Cache):  # type: ignore[misc]
    """The rows of a folder that this process may write to, with many processes at it at once.

    Parameters
    ----------
    folder : Path
        Where the database is, or is to be made.

    Raises
    ------
    sqlite3.Error, OSError
        As they come; the store turns them into its own.
    """

    def __init__(self, folder: Path) -> None:
        _probe(folder / DATABASE)
        super().__init__(
            str(folder),
            timeout=PATIENCE,
            disk=RawDisk,
            statistics=0,
            cull_limit=0,  # diskcache would evict by age alone; see `evict`
            eviction_policy="none",
            sqlite_journal_mode=journal_mode(folder),
            sqlite_synchronous=1,
            sqlite_mmap_size=0,  # a mapped database that another process truncates would be a SIGBUS here
        )

    def row(self, key: str, /) -> Row | None:
        """Return the row of `key`, without looking at its value, or None."""
        return select_one(self._con, key)

    def rows(self, prefix: str = "") -> list[Row]:
        """Return the rows whose keys start with `prefix`, in the order of their keys."""
        return select(self._con, prefix)

    def touch_rows(self, keys: list[str], now: float) -> None:
        """Set when the rows of `keys` were last used; call it inside a transaction."""
        self._con.executemany(
            "UPDATE Cache SET access_time = ? WHERE key = ? AND raw = 1", [(now, k) for k in keys]
        )

    def delete_rows(self, keys: list[str]) -> None:
        """Delete rows, and leave their files for after the commit; call it inside a transaction."""
        self._con.executemany("DELETE FROM Cache WHERE key = ? AND raw = 1", [(key,) for key in keys])

    def recover(self) -> None:
        """End a transaction that failed half-way, such as one whose COMMIT found the disk full."""
        if self._con.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._con.execute("ROLLBACK")

    def diagnose(self) -> BaseException:
        """Return why no transaction could be had, which diskcache's Timeout does not say."""
        try:
            _probe(Path(self.directory) / DATABASE)
        except (sqlite3.Error, OSError) as cause:
            return cause
        return sqlite3.OperationalError("database is locked")

    def spill(self, pieces: Iterator[memoryview]) -> Spilled:
        """Write bytes into a new file of the folder, which no row names yet.

        Raises
        ------
        OSError
            Where they could not all be written; no file is left then.
        """
        name, path = self.disk.filename()
        descriptor = _create(path)
        size = 0
        try:
            for piece in pieces:
                while len(piece):
                    count = os.write(descriptor, piece)
                    size += count
                    piece = piece[count:]
        except BaseException:
            self.disk.remove(name)
            raise
        finally:
            os.close(descriptor)
        return Spilled(name, size)


class Reader:
    """The rows of a folder that may be on a read-only mount, as they were when it was opened.

    Parameters
    ----------
    folder : Path
        Where the database is.

    Raises
    ------
    sqlite3.Error
        Where there is none, or it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        place = (folder / DATABASE).absolute().as_uri()
        # A log that a live writer keeps is only seen without `immutable`; a read-only mount can need it.
        for options in ("mode=ro", "mode=ro&immutable=1"):
            self._con = sqlite3.connect(
                f"{place}?{options}", uri=True, timeout=PATIENCE, check_same_thread=False
            )
            try:
                self._con.execute("PRAGMA trusted_schema = OFF")
                kind = self._con.execute("SELECT type FROM sqlite_master WHERE name = 'Cache'").fetchone()
                if kind != ("table",):  # a view could compute for ever
                    raise sqlite3.OperationalError("it is no store")
                return
            except sqlite3.OperationalError as cause:
                self._con.close()
                failure = cause
        raise failure

    def get(self, key: str, /) -> bytes | None:
        """Return the value under `key`, or None."""
        row = self._con.execute(
            "SELECT mode, filename, value FROM Cache WHERE key = ? AND raw = 1", (key,)
        ).fetchone()
        try:
            return row and fetch(self._folder, *row)
        except OSError:
            return None

    def row(self, key: str, /) -> Row | None:
        """Return the row of `key`, without looking at its value, or None."""
        return select_one(self._con, key)

    def rows(self, prefix: str = "") -> list[Row]:
        """Return the rows whose keys start with `prefix`, in the order of their keys."""
        return select(self._con, prefix)

    def close(self) -> None:
        """Let go of the database."""
        self._con.close()


def fetch(folder: Path, mode: int, filename: str | None, value: object) -> bytes:
    """Return the value of one row.

    Raises
    ------
    OSError
        Where its file is gone, or the row is not of a kind that this module writes.
    """
    if mode == MODE_RAW and isinstance(value, bytes):
        return value
    if mode == MODE_BINARY:
        with io.FileIO(_open(folder, filename)) as file:
            return file.readall()
    raise OSError("a row of another kind")


def select(connection: sqlite3.Connection, prefix: str) -> list[Row]:
    """Return the rows whose keys start with `prefix`, in the order of their keys."""
    if not prefix:
        return [Row(*row) for row in connection.execute(f"{_SELECT} ORDER BY key")]
    beyond = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    bounded = f"{_SELECT} WHERE key >= ? AND key < ? ORDER BY key"
    return [Row(*row) for row in connection.execute(bounded, (prefix, beyond))]


def select_one(connection: sqlite3.Connection, key: str) -> Row | None:
    """Return the row of `key`, or None."""
    found = connection.execute(f"{_SELECT} WHERE key = ? AND raw = 1", (key,)).fetchone()
    return found and Row(*found)


def open_file(folder: Path, row: Row) -> int | None:
    """Return a descriptor for reading the file that `row` names, or None where it has none or it is gone."""
    try:
        return _open(folder, row.file)
    except OSError:
        return None


def _open(folder: Path, name: str | None) -> int:
    """Open a value's file; OSError where it is not one of ours: never a link, nor a pipe that would be waited for."""
    if not name or not _OWN.fullmatch(name):
        raise OSError("a row of another kind")
    descriptor = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError("no regular file")


def loose_files(folder: Path) -> Iterator[str]:
    """Yield the names of the value files in `folder`, whether or not a row names them."""
    for path in folder.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*.val"):
        yield str(path.relative_to(folder))


def _create(path: str) -> int:
    """Return a descriptor on a new file, whose empty folder another process may be about to remove."""
    for _ in range(10):
        with contextlib.suppress(FileNotFoundError):
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    raise FileNotFoundError(2, "its folder keeps vanishing", path)


def _probe(path: Path) -> None:
    """Raise what opening would meet: damage, or a lock, on which diskcache would wait for a minute."""
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    try:
        connection.execute("PRAGMA schema_version").fetchone()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    finally:
        connection.close()
