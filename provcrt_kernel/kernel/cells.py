"""How a cell is asked to run: by its place in a notebook, its tags, and magics at its top."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass

#: Tags of a cell that always runs; that runs whenever it is volatile.
RUN_TAG, STRICT_TAG = "provcrt-run", "provcrt-strict"
_RUN_MAGIC = re.compile(r"\s*%%provcrt\s+run[^\S\n]*\n?")
_OUR_MAGIC = re.compile(r"\s*%provcrt\b[^\n]*\s*\Z")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a cell's text and tags ask for.

    Attributes
    ----------
    code
        The text without ``%%provcrt run``.
    forced
        It runs, whatever is recorded.
    strict
        It runs if it is volatile.
    apart
        It is never recorded: there is nothing in it, or only a question to us.
    """

    code: str
    forced: bool
    strict: bool
    apart: bool


def wish(code: str, tags: Collection[str] = ()) -> Wish:
    """Read what a cell asks for."""
    apart = not code.strip() or _OUR_MAGIC.match(code) is not None
    match = _RUN_MAGIC.match(code)
    return Wish(
        code[match.end() :] if match else code,
        match is not None or RUN_TAG in tags,
        STRICT_TAG in tags,
        apart,
    )


def place(cell: str) -> str:
    """Where a cell stands, as records have it: the notebook (the folder, if nobody named one) and the cell's id."""
    return f"{os.environ.get('JPY_SESSION_NAME') or os.getcwd()}#{cell}"
