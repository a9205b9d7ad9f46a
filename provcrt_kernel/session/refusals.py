"""Why a value was not kept or not brought back; each says in one line what happened and what follows."""

from __future__ import annotations


class Unstorable(Exception):
    """A value that no stream can keep as it is."""

    @classmethod
    def kind(cls, what: str) -> Unstorable:
        """An object of a kind that cannot be brought back."""
        return cls(f"{what} cannot be stored: its cell runs again when it is needed")

    @classmethod
    def refused(cls, error: BaseException) -> Unstorable:
        """Pickle, or a reducer, raised `error`."""
        return cls(f"pickle refused ({_line(error)}): its cell runs again when it is needed")

    @classmethod
    def too_big(cls, limit: int) -> Unstorable:
        """The snapshot would have more than `limit` bytes."""
        return cls(f"more than {limit:,} bytes to store: its cell runs again when it is needed")


class Unloadable(Exception):
    """A snapshot that cannot be brought back here."""

    @classmethod
    def failed(cls, error: BaseException) -> Unloadable:
        """Reading the stream raised `error`."""
        return cls(f"stored value cannot be loaded ({_line(error)}): run its cell again")

    @classmethod
    def damaged(cls) -> Unloadable:
        """The bytes are no snapshot."""
        return cls("stored value is no snapshot of this version: run its cell again")


def _line(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())[:200]
    except Exception:  # an exception of the notebook whose __str__ fails
        text = "no message"
    return f"{type(error).__name__}: {text}"
