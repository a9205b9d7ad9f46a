"""Where the cells of this session stand, as tracebacks and ``inspect`` know them: a file name, a text, a number.

A kernel compiles each cell under a file name that is made of its text, in a folder of its own process. Functions that are
loaded were compiled in another process, and perhaps from a cell that was laid out differently then: they get the name and
the lines that their cell has in this session.
"""

from __future__ import annotations

import ast
import functools
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import CodeType

from .codes import facts


@dataclass(frozen=True, slots=True)
class Place:
    """How a cell stands now.

    Attributes
    ----------
    then
        The file name that what is loaded of it was compiled under; the folder does not count.
    name
        The file name that it would be compiled under in this session.
    text
        What would be compiled, where it is not what was compiled then.
    """

    then: str
    name: str
    text: str | None = None


@dataclass(slots=True)
class Places:
    """The replayed cells of a session."""

    numbers: Callable[[], Mapping[str, int]] = dict
    """Tells for each file name the number that tracebacks show."""
    _pending: list[Callable[[], Iterable[Place]]] = field(default_factory=list)
    _known: dict[str, Place] = field(default_factory=dict)

    def replayed(self, places: Callable[[], Iterable[Place]]) -> None:
        """A cell was replayed; `places` is called once it matters where it stands."""
        self._pending.append(places)

    def moved(self, code: CodeType, source: str | None) -> tuple[CodeType, str | None]:
        """Code that is loaded, and the text of its cell, as they are in this session."""
        self.settle()
        own = os.path.basename(code.co_filename)
        place = self._known.get(own)
        if place is None:  # a cell with this very text may have run
            name = next((n for n in self.numbers() if os.path.basename(n) == own), code.co_filename)
            return (code if name == code.co_filename else _renamed(code, name)), source
        if place.text is None:
            return _renamed(code, place.name), source
        found = _counterpart(code, source, place.text)
        return (code, source) if found is None else (_renamed(found, place.name), place.text)

    def shown(self, numbers: Iterable[int]) -> dict[str, int]:
        """Of the cells that tracebacks show under some numbers: file names without folders, and these numbers."""
        wanted = set(numbers)
        if not wanted:
            return {}
        self.settle()
        return {os.path.basename(n): number for n, number in self.numbers().items() if number in wanted}

    def differ(self, shown: Mapping[str, int]) -> bool:
        """Whether tracebacks would show other numbers for these cells."""
        if not shown:
            return False
        self.settle()
        now = {os.path.basename(n): number for n, number in self.numbers().items()}
        return any(now.get(name) != number for name, number in shown.items())

    def settle(self) -> None:
        """Note all cells that were replayed since."""
        pending, self._pending = self._pending, []
        for places in pending:
            self._known |= {os.path.basename(place.then): place for place in places()}


#: Those of this process.
here = Places()


def _renamed(code: CodeType, name: str) -> CodeType:
    constants = tuple(_renamed(c, name) if type(c) is CodeType else c for c in code.co_consts)
    return code.replace(co_filename=name, co_consts=constants)


def _counterpart(code: CodeType, before: str | None, after: str) -> CodeType | None:
    """The same code in a text that differs in comments and layout alone."""
    old, new = (() if before is None else _codes(before)), _codes(after)
    if [facts(c).digest for c in old] != [facts(c).digest for c in new]:
        return None
    same = [n for o, n in zip(old, new, strict=True) if o == code]
    return same[-1] if same else None


@functools.lru_cache(maxsize=16)
def _codes(text: str) -> tuple[CodeType, ...]:
    """All code objects of a text, outermost first; statement by statement as IPython compiles it.

    What a unit imports it calls by other instructions than what it finds.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            units = [ast.Module([node], []) for node in ast.parse(text).body]
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            todo: list[CodeType] = [compile(u, "<cell>", "exec", flags, dont_inherit=True) for u in units]
    except (SyntaxError, ValueError, RecursionError):
        return ()
    found = []
    for code in todo:
        inner = [c for c in code.co_consts if type(c) is CodeType]
        found += inner
        todo += inner
    return tuple(found)
