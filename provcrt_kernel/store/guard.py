"""Between the store and its table: every failure of a database or a disk becomes harmless, or one line.

A read that fails finds nothing, since unknown makes a cell run; a write that fails is a `StoreError`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import diskcache

from provcrt_kernel.store import folder as layout
from provcrt_kernel.store.errors import StoreError
from provcrt_kernel.store.table import Reader, Table

T = TypeVar("T")


class Guard:
    """The table of the store `folder`, guarded.

    Attributes
    ----------
    folder, home : Path
        The store, and in it the folder of this format's version.
    table : Table or Reader
        To be read through `reading`, and written inside `writing`.
    damaged : list of str
        One line for each thing that was found damaged, forged or out of reach.
    """

    def __init__(self, folder: Path, table: Table | Reader) -> None:
        self.folder = folder
        self.home = layout.versioned(folder)
        self.table = table
        self.damaged: list[str] = []

    def writable(self) -> Table:
        """Return the table for writing; StoreError where the store was opened read-only."""
        if not isinstance(self.table, Table):
            raise StoreError.read_only(self.folder)
        return self.table

    def found(self, line: str) -> None:
        """Note damage, once."""
        if line not in self.damaged:
            self.damaged.append(line)

    def reading(self, read: Callable[[], T]) -> T | None:
        """Return what `read` finds, or None where the database or the disk does not let it."""
        try:
            return read()
        except (sqlite3.Error, OSError, diskcache.Timeout, *layout.GARBLED) as cause:
            if isinstance(self.table, Table):
                layout.mark(self.folder, cause)
            self.found(f"the store {self.folder} cannot be read ({cause}): its results are not used")
            return None

    @contextlib.contextmanager
    def writing(self) -> Iterator[Table]:
        """Yield the table, and turn what a database or a disk may raise inside into a StoreError."""
        table = self.writable()
        try:
            yield table
        except (sqlite3.Error, OSError, diskcache.Timeout) as error:
            table.recover()
            cause = table.diagnose() if isinstance(error, diskcache.Timeout) else layout.root_cause(error)
            layout.mark(self.folder, cause)
            raise StoreError.cannot_write(self.folder, cause) from error
