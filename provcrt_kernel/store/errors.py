"""What can go wrong with a store, in one line each: what happened, to what, and what to do."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Self


class StoreError(Exception):
    """The store cannot be opened or written; the work that wanted it can go on without it."""

    @classmethod
    def cannot_open(cls, folder: Path, cause: BaseException) -> Self:
        """The store in `folder` could not be opened or created."""
        return cls(f"the store {folder} cannot be opened ({_reason(cause)}): {_advice(cause)}")

    @classmethod
    def cannot_write(cls, folder: Path, cause: BaseException) -> Self:
        """A write to the store in `folder` failed; nothing of it is visible."""
        return cls(f"the store {folder} cannot be written ({_reason(cause)}): {_advice(cause)}")

    @classmethod
    def read_only(cls, folder: Path) -> Self:
        """Something was to be written into a store that was opened for reading."""
        return cls(f"the store {folder} was opened read-only: open it for writing, or write to another store")


def _reason(cause: BaseException) -> str:
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return str(cause) or type(cause).__name__


def _advice(cause: BaseException) -> str:
    text = str(cause)
    if "full" in text or (isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)):
        return "free some disk space or run `provcrt gc`"
    if "locked" in text:
        return "another process keeps it locked; try again, or end that process"
    if "malformed" in text or "not a database" in text:
        return "it is damaged and will be moved aside when it is next opened"
    return "check that you can write to its folder, or set PROVCRT_STORE to another"
