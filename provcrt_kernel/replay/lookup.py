"""The one place where a skip is decided: does a record hold now, and if none does, what made the cell run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from provcrt_kernel.replay.files import Files
from provcrt_kernel.replay.record import Record, decode
from provcrt_kernel.session import environ
from provcrt_kernel.session.slots import Slots, shown
from provcrt_kernel.session.source import Source
from provcrt_kernel.store import Store


@dataclass(frozen=True, slots=True)
class Decision:
    """A hit, with its record; or a miss, and why."""

    record: Record | None
    reason: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """Finds the record of a cell that holds in a session.

    Attributes
    ----------
    maker
        The execution count of the cell that made a slot's state, for reasons.
    """

    store: Store
    slots: Slots
    files: Files
    maker: Callable[[str], int | None]

    def decide(
        self, source: Source, cell: str, count: int | None, ran: Iterable[str], *, strict: bool = False
    ) -> Decision:
        """Look for a record that holds.

        Parameters
        ----------
        cell
            Where in the notebook the source stands; only reasons depend on it.
        ran
            Source keys of the volatile cells that this session showed already: their reader wants them afresh.
        strict
            Whether volatile cells always run.
        """
        again = set(ran)
        first: str | None = None
        for _, data in self.store.candidates(source.key):
            record = decode(data)
            if record is None:
                continue
            if record.volatile and (strict or source.key in again):
                return Decision(None, f"{'strict' if strict else 'run again'}: it uses {record.volatile[0]}")
            if record.error is not None and (record.text, record.count) != (source.text, count):
                continue
            reason = self.differs(record)
            if reason is None:
                return Decision(record, "unchanged")
            if first is None or record.cell == cell:
                first = reason
        if first is not None:
            return Decision(None, first)
        last = self.store.noted(f"cell:{cell}") if cell else None
        return Decision(None, "never run here" if last is None else "source changed")

    def differs(self, record: Record) -> str | None:
        """The first input of the record that does not hold now, in words; None if it holds."""
        slots = self.slots
        for name, version in record.reads.items():
            if slots.version(name) != version:
                return self._slot_reason(name, version)
        if record.everything:
            known = record.reads.keys()
            for name in slots.names():
                if name not in known:
                    return f"variable {name} is new"
        for names, joint in record.shares.items():
            group = tuple(names.split(","))
            first = slots.get(group[0])
            if joint == "":
                if any(len(slots.group(n)) > 1 for n in group):
                    return f"variable {group[0]} shares objects with others now"
            elif first is None or first.state.joint != joint or slots.group(group[0]) != group:
                return f"variable {group[0]} shares objects with others now"
        for name, made in record.kin.items():
            if slots.kin([name]) != made:
                return f"variable {name} has other instances now"
        for name, version in record.environ.items():
            if name == environ.ALL:
                if environ.names_version(os.environ) != version:
                    return "the environment has other variables"
            elif environ.version(os.environ.get(name)) != version:
                return f"environment variable {name} changed"
        if reason := self.files.differs(record):
            return reason
        if path := self.files.stored(record.outputs):
            return f"the store no longer has {path}"
        if record.shown is not None and not self.store.has(record.shown):
            return "the store no longer has its output"
        return None

    def _slot_reason(self, name: str, version: str) -> str:
        here = self.slots.version(name)
        what = "is new" if not version else "is gone" if not here else "changed"
        maker = self.maker(name)
        return f"{shown(name)} {what}" + (f" (cell {maker})" if maker is not None and here else "")
