"""What a session ran or replayed, in order: which execution made which version of a slot."""

from __future__ import annotations

from dataclasses import dataclass, field

from provcrt_kernel.replay.record import Record
from provcrt_kernel.session.slots import State


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


@dataclass(slots=True)
class History:
    """Executions of a session, oldest first."""

    executions: list[Execution] = field(default_factory=list)

    def add(self, execution: Execution) -> int:
        """Append one; returns its index."""
        self.executions.append(execution)
        return len(self.executions) - 1

    def __getitem__(self, index: int) -> Execution:
        return self.executions[index]

    def __len__(self) -> int:
        return len(self.executions)

    def count(self, index: int | None) -> int | None:
        """Execution count of an index."""
        return None if index is None else self.executions[index].count

    def maker(self, name: str, version: str, before: int | None = None) -> int | None:
        """The latest recorded execution, of those before an index, that gave `name` this version."""
        end = len(self.executions) if before is None else before
        for index in range(end - 1, -1, -1):
            record = self.executions[index].record
            if record is not None and (state := record.writes.get(name)) and state.version == version:
                return index
        return None

    def state(self, name: str, version: str, before: int | None = None) -> State | None:
        """The state with which a version of `name` was recorded."""
        index = self.maker(name, version, before)
        record = None if index is None else self.executions[index].record
        return None if record is None else record.writes[name]
