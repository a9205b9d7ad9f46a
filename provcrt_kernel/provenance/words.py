"""Names as text for people: a name of a file, a command or a user may hold anything, and comes from anybody."""

from __future__ import annotations

import unicodedata


def one_line(text: str) -> str:
    """Return a text as one line for a terminal: what cannot be printed, a control sequence say, is told by its number."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each == "\t" or unicodedata.category(each) == "Zs" else _escaped(each)
        for each in text
    )


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte of a name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
