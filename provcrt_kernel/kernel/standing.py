"""What a replayed cell leaves in IPython's compiler, as one that ran does: the name, the text and the number of its code.

They are made up when a function of the cell is loaded, or when a traceback is to be recalled; most sessions never ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from provcrt_kernel.replay.record import Record
from provcrt_kernel.session.places import Place, here


class Standing:
    """The cells that one kernel replayed."""

    def __init__(self, shell: Any, transform: Callable[[str], str]) -> None:
        self._shell = shell
        self._transform = transform
        self._latest: dict[str, tuple[str, int]] = {}
        here.numbers = self._numbers

    def replayed(self, record: Record, code: str, number: int) -> None:
        """A record stands for a cell with this text and number."""
        self._latest[record.id] = code, number
        here.replayed(lambda: self._places(record, code, number))
        if code in self._shell.history_manager.input_hist_raw[:number]:
            here.settle()  # functions that an earlier run of it made are live, and stand under the latest number

    def transformed(self, code: str) -> str:
        """A cell as IPython's history has it."""
        return self._transform(code)

    def text(self, record: Record) -> str:
        """The text of a record's cell in this session; it may be laid out differently than when it ran."""
        return self._latest.get(record.id, (record.text, 0))[0]

    @contextmanager
    def kept(self, code: str) -> Iterator[None]:
        """A cell runs again: it keeps its number."""
        here.settle()
        compiler = self._shell.compile
        number = self._numbers().get(compiler.get_code_name(code, "", 0))
        try:
            yield
        finally:
            if number is not None:
                compiler.cache(self._transform(code), number, raw_code=code)

    def _places(self, record: Record, code: str, number: int) -> Iterable[Place]:
        yield self._place(record.text, code, number)
        if code.startswith("%%capture"):  # it runs the rest as a cell of its own
            bodies = [text.partition("\n")[2] for text in (record.text, code)]
            yield self._place(bodies[0], bodies[1], number)

    def _place(self, then: str, code: str, number: int) -> Place:
        compiler = self._shell.compile
        text = self._transform(code)
        name = compiler.get_code_name(code, text, number)
        # a cell with the same text may have run since
        compiler.cache(text, max(number, self._numbers().get(name, 0)), raw_code=code)
        if then == code:
            return Place(name, name)
        return Place(compiler.get_code_name(then, "", 0), name, text)

    def _numbers(self) -> Mapping[str, int]:
        numbers: Mapping[str, int] = getattr(self._shell.compile, "_filename_map", {})
        return numbers
