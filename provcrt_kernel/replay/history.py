"""What a session ran or replayed, in order: which execution made which version of a slot."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from provcrt_kernel.replay.record import Record
from provcrt_kernel.session.slots import ABSENT, State, ambient


@dataclass(slots=True)
class Execution:
    """One cell that was executed or replayed.

    Attributes
    ----------
    count
        IPython's execution count; None for code that no cell holds.
    record
        Its record; None where it could not be recorded.
    status
        ``executed`` or ``replayed``.
    wrote
        Slots that it changed.
    read, left
        Versions of the slots that it could read, as they were before; of those that it changed or deleted, as they were after.
    """

    count: int | None
    cell: str
    record: Record | None
    status: str
    reason: str
    seconds: float
    saved: float = 0.0
    notes: tuple[str, ...] = ()
    recomputed: tuple[int, ...] = ()
    wrote: tuple[str, ...] = ()
    read: Mapping[str, str] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_hit(cls, record: Record, cell: str, count: int) -> Self:
        """A cell that was replayed."""
        return cls(
            count,
            cell,
            record,
            "replayed",
            "unchanged",
            0.0,
            record.seconds,
            read=record.reads,
            left=left_by(record.writes, record.deletes),
        )


def left_by(writes: Mapping[str, State], deleted: Iterable[str]) -> dict[str, str]:
    """Versions of slots after a cell that gave them these states, or deleted them."""
    return {n: s.version for n, s in writes.items()} | dict.fromkeys(deleted, ABSENT)


@dataclass(slots=True)
class History:
    """Executions of a session, oldest first."""

    executions: list[Execution] = field(default_factory=list)
    _makers: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    #: Those that can be run again from what is stored and recorded, whatever becomes of live values.
    _rooted: set[int] = field(default_factory=set)

    def add(self, execution: Execution) -> int:
        """Append one; returns its index."""
        index = len(self.executions)
        if execution.record is not None and self.rootless(execution.record.reads) is None:
            self._rooted.add(index)
        self.executions.append(execution)
        for name, state in execution.record.writes.items() if execution.record is not None else ():
            self._makers.setdefault((name, state.version), []).append(index)
        return index

    def copy(self) -> History:
        """Another history of the same executions."""
        makers = {key: list(made) for key, made in self._makers.items()}
        return History(list(self.executions), makers, set(self._rooted))

    def __getitem__(self, index: int) -> Execution:
        return self.executions[index]

    def __len__(self) -> int:
        return len(self.executions)

    def count(self, index: int | None) -> int | None:
        """Execution count of an index."""
        return None if index is None else self.executions[index].count

    def maker(self, name: str, version: str, before: int | None = None) -> int | None:
        """The latest recorded execution, of those before an index, that gave `name` this version."""
        makers = self._makers.get((name, version), [])
        at = len(makers) if before is None else bisect_left(makers, before)
        return makers[at - 1] if at else None

    def state(self, name: str, version: str, before: int | None = None) -> State | None:
        """The state with which a version of `name` was recorded."""
        index = self.maker(name, version, before)
        record = None if index is None else self.executions[index].record
        return None if record is None else record.writes[name]

    def record(self, index: int) -> Record:
        """The record of an execution; only recorded ones make values."""
        record = self.executions[index].record
        assert record is not None
        return record

    def pinned(self, index: int) -> bool:
        """Whether an execution has effects that only running it again brings back."""
        record = self.executions[index].record
        return record is not None and record.pinned is not None

    def anew_since(self, name: str, index: int) -> bool:
        """Whether a name was bound after an execution, to an object that is another one even where it is equal."""
        later = (e.record for e in self.executions[index + 1 :])
        return any(r is not None and name in r.writes and name not in r.in_place for r in later)

    def rootless(self, reads: Mapping[str, str]) -> str | None:
        """One of the slots with these versions that nothing brings back once its live value is gone; None if there is none.

        Its value comes from an execution that was not recorded, or was made of such a value and is not stored.
        """
        for name, version in reads.items():
            if version == ABSENT or ambient(name):
                continue
            index = self.maker(name, version)
            if index is None:
                return name
            made = self.executions[index].record
            if index not in self._rooted and made is not None and made.writes[name].kept is None:
                return name
        return None
