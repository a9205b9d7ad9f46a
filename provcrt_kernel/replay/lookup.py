"""The one place where a skip is decided: does a record hold now, and if none does, what made the cell run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from provcrt_kernel.replay.files import Files, clears_folders, unrepeatable
from provcrt_kernel.replay.record import NUMBERED, FileOutput, Record, decode, movable
from provcrt_kernel.session import environ, machine
from provcrt_kernel.session.places import here
from provcrt_kernel.session.slots import Slots, ambient, shown
from provcrt_kernel.session.source import Source
from provcrt_kernel.store import Store

#: The reason of a cell that has no record, neither under its source nor under the one that stood in its place before.
NEVER_RUN = "never run here"


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
    rootless
        Tells which of the slots that a record read nothing could bring back.
    environ
        The environment variables.
    left
        What paths will be by the time that the cell is asked for, where they are something else now.
    spent
        Tells what a record changes in place that could not be had again without changing a module twice.
    parts
        Tells which result that was shown a replay would part from the variable that it is.
    """

    store: Store
    slots: Slots
    files: Files
    maker: Callable[[str], int | None]
    rootless: Callable[[Mapping[str, str]], str | None]
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    left: Mapping[str, FileOutput] = field(default_factory=dict)
    spent: Callable[[Record], str | None] = lambda _: None
    parts: Callable[[Record], str | None] = lambda _: None

    def decide(
        self,
        source: Source,
        cell: str,
        count: int | None,
        ran: Iterable[str],
        *,
        strict: bool = False,
        numbered: str | None = None,
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
        numbered
            Which inputs and results there are, by their numbers; None: that is not known yet.
        """
        if source.error:
            return Decision(None, "does not parse")
        if source.earlier:
            return Decision(None, "uses earlier results")
        if source.annotations:
            return Decision(None, "uses the notebook's annotations")
        if source.last_error:
            return Decision(None, "uses the last error")
        again = set(ran)
        first: str | None = None
        for record in self.candidates(source.key):
            if record.volatile and (strict or source.key in again):
                return Decision(None, f"{'strict' if strict else 'run again'}: it uses {record.volatile[0]}")
            if record.error is not None and record.text != source.text:
                continue
            if (record.error or record.cells) and record.count != count and not movable(record):
                first = first or "its traceback shows numbers of cells"
                continue
            if record.numbered is not None and numbered not in (None, record.numbered):
                first = first or f"{NUMBERED} are others, and it may list them"
                continue
            if record.lines and record.text != source.text:
                first = first or "its layout changed, and it looks at lines"
                continue
            reason = self.differs(record)
            if reason is None:
                reason = _must_run(record) or self._would_lose(record)
                return Decision(None, reason) if reason else Decision(record, "unchanged")
            if first is None or record.cell == cell:
                first = reason
        if first is not None:
            return Decision(None, first)
        return Decision(None, NEVER_RUN if self.last_key(cell) is None else "source changed")

    def _would_lose(self, record: Record) -> str | None:
        """Why a record that holds cannot stand for its cell: what it left could never be had again."""
        if name := self.spent(record):
            return f"it changes {name}, which is not stored and cannot be made a second time"
        if name := self.parts(record):
            return f"it changes {name}, which was shown as a result"
        unkept = next((n for n, s in record.writes.items() if s.kept is None and not ambient(n)), None)
        # a pinned cell is run again later, and needs its inputs then
        unstored = unkept or ("what it sets" if record.pinned else None)
        lost = None if unstored is None else self.rootless(record.reads)
        return (
            lost
            and f"{unstored} is not stored, and {lost}, which it is made of, comes from a cell that could not be recorded"
        )

    def candidates(self, key: str) -> Iterator[Record]:
        """Yield the records under a source key, newest first."""
        for _, data in self.store.candidates(key):
            record = decode(data)
            if record is not None:
                yield record

    def last_key(self, cell: str) -> str | None:
        """The source key that the cell at a place in a notebook last had, in whichever session."""
        noted = self.store.noted(f"cell:{cell}") if cell else None
        return None if noted is None else noted.decode(errors="replace")

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
        former = slots.former(record.reads, record.classes)
        for name in former.keys() | record.former.keys():
            if former.get(name) != record.former.get(name):
                return f"variable {name} is of another class than the name is bound to now"
        for name, version in record.environ.items():
            if name == environ.ALL:
                if environ.names_version(self.environ) != version:
                    return "the environment has other variables"
            elif environ.version(self.environ.get(name)) != version:
                return f"environment variable {name} changed"
        for fact, version in record.machine.items():
            if machine.version(fact) != version:
                return f"it asks for the {fact}, which differs here"
        if reason := self.files.differs(record, self.left):
            return reason
        if here.differ(record.cells):
            return "its traceback shows other cells now"
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


def _must_run(record: Record) -> str | None:
    """Why a record that holds cannot stand for its cell: only running it gives what it left, once."""
    if record.pinned and record.passing:
        return f"it uses {record.passing[0]}, and {record.pinned}"
    unkept = [s for n, s in record.writes.items() if not s.kept and not ambient(n)]
    if record.pinned is None and not unkept:
        return None
    equal = record.pinned is None and not any(s.opaque for s in unkept)
    if clears_folders(record):
        return "it removes folders, and what it leaves cannot be stored"
    path = unrepeatable(record.inputs, record.outputs, undone=equal)
    if path is None:
        return None
    return f"it changes {os.path.basename(path)}, and what it leaves cannot be stored"
