"""Comparison of a repetition with its reference, cell by cell, and the verdict.

Outputs are the same where a reader could not tell them apart: streams are joined, since where they break is a
matter of timing; execution counts do not count; and an address in memory (``0x7f…``) is nobody's result.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

Word = Literal["reproduced", "volatile", "diverged"]
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,16}\b")


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """One part of a run that is not as in the reference.

    Attributes
    ----------
    number : int
        The cell's number among the code cells, from 1; 0 in a run of a command.
    cell : str
        The cell's id in the notebook.
    what : str
        One line: what differs first.
    volatile : tuple of str
        What it used that nobody can repeat (a clock, unseeded random numbers …); then it is no divergence.
    where : str
        In a run of a command: ``stdout``, a file, a process.
    explained : str
        What has to be overlooked to see no difference: ``timestamps``, ``order of lines`` …; then it is no
        divergence either.
    cause : str
        What is likely to be behind it.
    diff : str
        Both contents, as `diff -u` shows them, shortened.
    process : str
        Of a file that a command left: the program that wrote it.
    read : tuple of str
        What that program read, packages and the system apart.
    """

    number: int
    cell: str
    what: str
    volatile: tuple[str, ...] = ()
    where: str = ""
    explained: str = ""
    cause: str = ""
    diff: str = ""
    process: str = ""
    read: tuple[str, ...] = ()

    @property
    def excuse(self) -> str:
        """Why it is no divergence; empty where it is one."""
        return self.explained or ", ".join(self.volatile)

    @property
    def place(self) -> str:
        """Where it is, for a line of prose."""
        return self.where or f"cell {self.number}"


class Verdict(msgspec.Struct, frozen=True):
    """Whether a repetition reproduced its reference.

    Attributes
    ----------
    word : {"reproduced", "volatile", "diverged"}
        ``volatile`` where only what nobody can repeat differs, or what is explained.
    differences : tuple of Difference
        In order; the first that has no excuse is where it diverged.
    """

    word: Word
    differences: tuple[Difference, ...]

    @classmethod
    def of(cls, differences: Iterable[Difference]) -> Verdict:
        """Return the verdict that these differences lead to."""
        found = tuple(differences)
        if any(not difference.excuse for difference in found):
            return cls("diverged", found)
        return cls("volatile" if found else "reproduced", found)

    @property
    def line(self) -> str:
        """The verdict in one line."""
        if self.word == "reproduced":
            return "reproduced: every output is the same"
        if self.word == "volatile" and any(difference.number for difference in self.differences):
            cells = ", ".join(str(difference.number) for difference in self.differences)
            return f"reproduced, but for what nobody can repeat: cell {cells}"
        if self.word == "volatile":
            parts = "; ".join(f"{each.place} ({each.excuse})" for each in self.differences)
            return f"reproduced except {parts}"
        first = next(difference for difference in self.differences if not difference.excuse)
        by = f", written by {first.process}" if first.process else ""
        return f"diverged at {first.place}{by}: {first.what}"


def difference(reference: Sequence[Mapping[str, Any]], repeated: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what differs first between a cell's outputs and those of its reference, or None.

    Parameters
    ----------
    reference, repeated : sequence of mapping
        Outputs as nbformat keeps them.

    Returns
    -------
    str or None
        One line.
    """
    before, after = _plain(reference), _plain(repeated)
    for (kind, old), (other, new) in zip(before, after, strict=False):
        if kind != other:
            return f"shows {other} where it showed {kind}"
        if old != new:
            return f"{kind} differs{first_line(old, new)}"
    if len(before) > len(after):
        return f"no longer shows {before[len(after)][0]}"
    if len(after) > len(before):
        return f"shows {after[len(before)][0]}, which is new"
    return None


def _plain(outputs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return outputs as (what, content) pairs in which nothing is left that a reader cannot see."""
    streams: dict[str, str] = {}
    rest: list[tuple[str, str]] = []
    for output in outputs:
        kind = output["output_type"]
        if kind == "stream":
            streams[output["name"]] = streams.get(output["name"], "") + _text(output["text"])
        elif kind == "error":
            rest.append(("the error", f"{output['ename']}: {_text(output['evalue'])}"))
        else:
            rest += [(mime, _text(content)) for mime, content in sorted(output["data"].items())]
    return sorted(streams.items()) + rest


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "".join(value)
    if not isinstance(value, str):
        value = msgspec.json.encode(value, order="sorted").decode()
    return _ADDRESS.sub("0x…", value)


def first_line(old: str, new: str) -> str:
    """Return where two texts part, as the end of a line of prose."""
    before, after = old.splitlines(), new.splitlines()
    pairs = enumerate(zip(before, after, strict=False))
    number = next((index for index, (a, b) in pairs if a != b), min(len(before), len(after)))
    lines = [_short(side[number]) if number < len(side) else "nothing" for side in (before, after)]
    return f" in line {number + 1}: {lines[0]} became {lines[1]}"


def _short(line: str) -> str:
    return repr(line if len(line) <= 60 else line[:59] + "…")


@dataclass(frozen=True)
class Step:
    """What a cell used and left, as far as excuses go.

    Attributes
    ----------
    number : int
        The cell's number among the code cells, from 1.
    reads, writes : collection of str
        Slots and paths of files.
    volatile : tuple of str
        What it used that nobody can repeat.
    """

    number: int
    reads: Collection[str]
    writes: Collection[str]
    volatile: tuple[str, ...]


def excuses(steps: Iterable[Step]) -> dict[int, tuple[str, ...]]:
    """Tell which cells may differ through no fault of theirs, and why.

    A cell is excused where it used what nobody can repeat, or read what an excused cell left.

    Parameters
    ----------
    steps : iterable of Step
        In the order in which they ran.

    Returns
    -------
    dict of int to tuple of str
        The reasons, by number.
    """
    found: dict[int, tuple[str, ...]] = {}
    tainted: dict[str, int] = {}  # what an excused cell left → its number
    for step in steps:
        inherited = sorted(f"{name} of cell {tainted[name]}" for name in set(step.reads) & tainted.keys())
        if step.volatile or inherited:
            found[step.number] = (*step.volatile, *inherited)
            tainted |= dict.fromkeys(step.writes, step.number)
        else:
            for name in step.writes:
                tainted.pop(name, None)
    return found
