"""Who looks at the text of cells: comments and layout are no part of a cell's key, but somebody may show them, or count lines.

Tracebacks, warnings and ``inspect`` ask `linecache`. What looks at lines in other ways mentions one of `codes.LINES`.
"""

from __future__ import annotations

import functools
import linecache
from typing import Any

_getlines = linecache.getlines


class TextReads:
    """Whether lines of a cell were looked at since `looked` was last set to False."""

    def __init__(self) -> None:
        self.looked = False

    def install(self) -> None:
        """Begin to notice."""

        @functools.wraps(_getlines)
        def getlines(filename: str, *more: Any) -> list[str]:
            if text_of(filename) is not None:
                self.looked = True
            return _getlines(filename, *more)

        linecache.getlines = getlines  # type: ignore[assignment]


def lines_at(filename: str) -> list[str]:
    """Lines of a file or of a cell, for our own use: nobody has looked."""
    return _getlines(filename)


def text_of(filename: str) -> str | None:
    """Text of the cell that was compiled under a file name, if linecache holds it as a cell's: without a file behind it."""
    entry = linecache.cache.get(filename)
    if entry is None or len(entry) == 1 or entry[1] is not None:
        return None
    return "".join(entry[2])


def remember_text(filename: str, text: str | None) -> None:
    """Give linecache the text of a cell, unless it knows one for that name."""
    if text is not None and filename not in linecache.cache:
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
