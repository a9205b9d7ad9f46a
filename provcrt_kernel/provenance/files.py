"""Versions of files, and what part a file plays in a run: input, output, or something in between."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

Part = Literal["input", "output", "intermediate"]


class FileVersion(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file with one content.

    Attributes
    ----------
    path : str
        Absolute.
    digest : str or None
        Of its content; None where nobody knows it.
    """

    path: str
    digest: str | None = None


def parts(
    steps: Iterable[tuple[Iterable[FileVersion], Iterable[FileVersion]]],
) -> dict[str, Part]:
    """Tell what part each file of a run plays.

    Parameters
    ----------
    steps : iterable of (read, written)
        What each step read and wrote, in the order in which they ran.

    Returns
    -------
    dict of str to {"input", "output", "intermediate"}
        By path: an input was there before the run wrote it, an output was left behind by it, and an
        intermediate file was written by one step for a later one to read.
    """
    found: dict[str, Part] = {}
    for read, written in steps:
        for file in read:
            found[file.path] = "input" if found.get(file.path, "input") == "input" else "intermediate"
        for file in written:
            if found.get(file.path) != "intermediate":
                found[file.path] = "output"
    return found
