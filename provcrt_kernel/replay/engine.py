"""One session's cells: decide, replay or make ready, observe, record.

```
decide ── hit ──→ replay     outputs are the caller's to send; slots advance, values stay deferred
   └──── miss ──→ prepare    deferred state that the cell can reach becomes live
                  begin      a span opens
                  (the caller runs the cell)
                  finish     the span is drained; what changed is observed, kept and recorded
```

The engine knows nothing of Jupyter: it is handed the namespace, a way to run text silently, and what the cell showed. Nothing
it does raises into the cell: where recording fails the cell has simply not been recorded, and `notices` says why.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import msgspec

from provcrt_kernel.provenance.packages import read_index
from provcrt_kernel.replay.advance import Advance
from provcrt_kernel.replay.bytecode import forget_stale
from provcrt_kernel.replay.cell import Left, Outcome, Running, Seen, packages_of, reach
from provcrt_kernel.replay.earlier import EarlierResults, Given
from provcrt_kernel.replay.files import Files
from provcrt_kernel.replay.history import Execution, History, left_by
from provcrt_kernel.replay.instruments import Instruments
from provcrt_kernel.replay.looker import Looker
from provcrt_kernel.replay.lookup import NEVER_RUN, Decision, Lookup
from provcrt_kernel.replay.observing import TEXTS_READ, Observer
from provcrt_kernel.replay.opened import Opened
from provcrt_kernel.replay.pace import Pace
from provcrt_kernel.replay.plan import Plan
from provcrt_kernel.replay.rebuild import CannotRebuild, Rebuild, Value
from provcrt_kernel.replay.recompute import Recompute
from provcrt_kernel.replay.record import Record, Shown
from provcrt_kernel.replay.recording import RESULT, Recording, Refused
from provcrt_kernel.replay.world import World
from provcrt_kernel.session.ambience import Ambience
from provcrt_kernel.session.audit import Audit
from provcrt_kernel.session.collector import resting
from provcrt_kernel.session.draws import Draws
from provcrt_kernel.session.effects import replaced
from provcrt_kernel.session.environ import EnvironReads
from provcrt_kernel.session.importing import Imports
from provcrt_kernel.session.machine import MachineReads
from provcrt_kernel.session.modules import MODULE, Modules
from provcrt_kernel.session.observe import Change, identities, observe, variables
from provcrt_kernel.session.slots import ANY, Slots, State, ambient
from provcrt_kernel.session.source import Source, annotates
from provcrt_kernel.session.texts import TextReads
from provcrt_kernel.store import Store, StoreError
from provcrt_kernel.store.digest import digest
from provcrt_kernel.trace import Tracer

#: Seconds from which it is said what recording a cell cost.
_NOTICEABLE = 0.5


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one cell, for execute_reply's metadata and for tables.

    Attributes
    ----------
    seconds
        What the cell took; replaying it, if it was replayed.
    times
        What else an executed cell cost, in seconds: ``look`` for comparing and hashing what it could reach, ``record`` for
        keeping values, files and outputs.
    """

    status: str
    reason: str
    record: str | None = None
    seconds: float = 0.0
    saved_seconds: float = 0.0
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    files_read: tuple[str, ...] = ()
    files_written: tuple[str, ...] = ()
    recomputed: tuple[int, ...] = ()
    volatile: tuple[str, ...] = ()
    not_recorded: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    times: dict[str, float] = field(default_factory=dict)


class Engine:
    """Records and replays the cells of one session."""

    def __init__(
        self,
        store: Store,
        tracer: Tracer,
        namespace: dict[str, object],
        hidden: Mapping[str, object],
        run: Callable[[Record], bool],
        *,
        quiet: Callable[[], AbstractContextManager[None]] = nullcontext,
        beside: Looker | None = None,
        thrifty: bool = True,
    ) -> None:
        self.store = store
        self.namespace = namespace
        self._page = tracer.page
        self.hidden = hidden
        self.slots = Slots()
        self.history = History()
        self.files = Files(store, beside)
        self.audit = Audit()
        self.draws = Draws()
        self.texts = TextReads()
        self.environ = EnvironReads()
        self.machine = MachineReads()
        self.imports = Imports()
        self.modules = Modules(store, beside.installed if beside else read_index)
        self.ambience = Ambience(self.slots)
        self.pace = Pace()
        self.world = World(self.files, self.history)
        self.recompute = Recompute(self.slots, self.history, self.world, self.ambience, namespace, run, quiet)
        self.rebuild = Rebuild(
            store, self.slots, self.history, self.ambience, namespace, self.recompute, self.pace
        )
        self.earlier = EarlierResults(store, self.slots, self.rebuild, namespace, RESULT)
        self.lookup = Lookup(
            store,
            self.slots,
            self.files,
            self._maker_count,
            self.history.rootless,
            spent=self.rebuild.spent,
            parts=self.earlier.parts,
        )
        tools = Instruments(
            store,
            tracer,
            namespace,
            hidden,
            self.slots,
            self.files,
            self.audit,
            self.draws,
            self.texts,
            self.environ,
            self.machine,
            self.imports,
            self.modules,
            self.ambience,
            self.pace,
            thrifty,
        )
        self.observer = Observer(tools)
        self.recording = Recording(tools, self.history.rootless)
        self.opened = Opened(self.slots, self.rebuild)
        self.advance = Advance(
            namespace,
            self.slots,
            self.history,
            self.files,
            self.modules,
            self.ambience,
            self.rebuild,
            self.earlier,
        )
        #: What the reader has to act on; and what only cost time.
        self.notices: list[str] = []
        self.remarks: list[str] = []
        #: Source keys of the volatile cells that were shown.
        self.volatile: set[str] = set()
        self._texts: set[str] = set()
        self._leased: set[str] = set()
        # the replayed execution whose error is the last one, if nothing raised since
        self._last_error: int | None = None
        self._running: Running | None = None
        #: Why state may have changed since it was last looked at; None if it cannot have.
        self.suspected: str | None = None
        # drawing randomness is a trapped call: once a session is enough
        self._session, self._made = uuid.uuid4().hex[:20], 0
        # what the last cell left, as long as nothing else can have changed it
        self._left: Left | None = None

    def start(self) -> None:
        """The session begins."""
        self.audit.install()
        self.draws.install()
        self.texts.install()
        self.audit.on_frame_read = self._load_read
        self.environ.install()
        self.machine.install()
        self.imports.install(self._page)
        self.ambience.start()
        names = variables(self.namespace, self.hidden)
        self._take(observe(self.slots, self.namespace, self.hidden, {}, names, self._lineage()))

    # -- hits ---------------------------------------------------------------------------------------------------------

    @resting
    def decide(
        self,
        source: Source,
        cell: str,
        count: int | None,
        *,
        strict: bool = False,
        numbered: str | None = None,
    ) -> Decision:
        """Look for a record of `source` that holds now; a strict cell's must not be volatile."""
        if self.suspected is not None and not (source.error or source.earlier or source.last_error):
            self.refresh(self.suspected)
        return self.lookup.decide(source, cell, count, self.volatile, strict=strict, numbered=numbered)

    def shown(self, record: Record) -> tuple[Shown, ...] | None:
        """Messages of a record; None if the store lost them."""
        if record.shown is None:
            return ()
        data = self.store.get(record.shown)
        try:
            messages = () if data is None else msgspec.msgpack.decode(data, type=tuple[Shown, ...])
        except msgspec.MsgspecError:
            return None
        # one after the other: each is sound, and none is held
        lost = data is None or any(m.kept and self.store.get(m.kept) is None for m in messages)
        return None if lost else messages

    def replay(self, record: Record, source: Source, cell: str, count: int) -> Report:
        """The session advances as if the cell had run. What it showed is the caller's to send.

        Raises
        ------
        CannotReplay
            A file that the cell wrote cannot be put back; the session is as it was.
        """
        started = time.perf_counter()
        index = self.advance.by(record, cell, count)
        self._left = None
        self._note_text(source)
        if record.error is not None:
            self._last_error = index
        if record.volatile:
            self.volatile.add(record.key)
        self._remember(cell, record)
        with contextlib.suppress(StoreError):
            self.store.touch([record.id])
            self._leased.update(record.blobs)
            self.store.lease(self._leased)
        return Report(
            "replayed",
            "unchanged",
            record.id,
            time.perf_counter() - started,
            record.seconds,
            *_names(record),
            volatile=record.volatile,
        )

    def open_again(self, record: Record) -> None:
        """Open what the cell of a replayed record left open, if that takes but a moment: later it may be another file."""
        with self.environ.unread():
            self.opened.again(record)

    # -- misses -------------------------------------------------------------------------------------------------------

    def prepare(self, source: Source) -> tuple[int, ...]:
        """Make live what a cell can reach; returns the executions that were recomputed, by count.

        Raises
        ------
        CannotRebuild
            Some of it cannot be had. The cell can run all the same: a name that is missing will raise as it would for any user.
        """
        if source.last_error and self._last_error is not None:
            self.rebuild.pin(self._last_error)
            self._last_error = None
        if source.annotations:
            for index in range(len(self.history)):
                record = self.history[index].record
                if record is not None and self.history[index].status == "replayed" and annotates(record.text):
                    self.rebuild.pin(index)
        # what imports a module that was edited since shall get it as it is now; who holds the old one keeps it
        local = {n.partition(".")[0] for n in self.modules.local()}
        if "reload" not in source.attributes and local & {n.partition(".")[0] for n in source.imports}:
            for name in self.modules.unload_changed():
                self.slots.drop(MODULE + name)
        names = reached = reach(self.slots, source)
        # what cannot be stored may do something when it is let go of
        names |= {n for n in self.slots.deferred(source.certain) if self.slots.lasting(n)}
        # a class may be changed through what was made with it, and what was made with it changes with the class
        classes = {k for n in names if (slot := self.slots.get(n)) for k in slot.state.kin}
        names |= classes | set(self.slots.kin(names | classes))
        # what it takes out of there, functions that come back would import anew; or they were another's in what it loads anew
        if "sys.modules" in source.chains or "reload" in source.attributes:
            names |= set(self.slots.names())
        packages = packages_of(self.slots, names, source)
        simple = not (source.reads or source.imports or source.magics or source.wildcard)
        simple &= not self.rebuild.pinned  # how a result is shown may be one of the effects
        self.rebuild.former.part(reached)
        with self.environ.unread():
            if self.rebuild.pending(names):
                self._left = None
            seen = self.ambience.seen(source, packages, self._streams())
            indices = self.rebuild.ready(names, seen, modules=not simple)
            tops = replaced(source, self.namespace)
            if known := self.rebuild.perishable.known_by(tops) if tops else ():
                self._left = None
                indices += self.rebuild.ready(known, seen, modules=True)
        if self.recompute.changed:
            what = ", ".join(dict.fromkeys(self.recompute.changed))
            self.remarks.append(f"{what} came out different when recomputed; cells that use it run again")
            self.recompute.changed.clear()
        return tuple(c for i in indices if (c := self.history.count(i)) is not None)

    def _streams(self) -> list[str]:
        """Random streams are read by whoever moves them, which is known only afterwards: make all that are visible ready."""
        return [n for n in self.slots.ambient_names() if self.ambience.knows(n)]

    @resting
    def begin(
        self,
        source: Source,
        cell: str,
        count: int | None,
        reason: str,
        recomputed: tuple[int, ...] = (),
        numbered: str | None = None,
    ) -> None:
        """A cell starts to run: note what it can see."""
        if reason != NEVER_RUN:
            self._forget_stale(source, cell)
        self._running = self.observer.begin(
            source, cell, count, reason, recomputed, numbered, self._lineage(), self._left
        )

    def _forget_stale(self, source: Source, cell: str) -> None:
        """A cell that starts children shall not have them take byte code of what its sources were."""
        for key in dict.fromkeys((source.key, self.lookup.last_key(cell))):
            for record in self.lookup.candidates(key) if key else ():
                if record.processes:
                    forget_stale(self.files, record)

    @resting
    def finish(self, outcome: Outcome) -> Report:
        """The cell has run: observe what it did, record it if everything about it is known."""
        running, self._running = self._running, None
        assert running is not None
        self._left = None
        ended = time.perf_counter()
        seen = self.observer.look(running, outcome)
        looked = time.perf_counter()
        self._left = seen.left
        record, problems = self._record(running, outcome, seen)
        times = {"look": looked - ended, "record": time.perf_counter() - looked}
        if sum(times.values()) > _NOTICEABLE:
            self.remarks.append(
                f"comparing what it could change took {times['look']:.1f} s, keeping it {times['record']:.1f} s"
            )
        self._note_text(running.source)
        writes = record.writes if record is not None else seen.writes
        index = self.history.add(
            Execution(
                count=running.count,
                cell=running.cell,
                record=record,
                status="executed",
                reason=running.reason,
                seconds=seen.seconds,
                notes=problems,
                recomputed=running.recomputed,
                wrote=tuple(writes),
                read=record.reads if record is not None else running.versions,
                left=left_by(writes, seen.change.deleted),
            )
        )
        self.earlier.before(writes, seen.change.deleted, seen.in_place)
        self.slots.leave(seen.change.left, parted=True)
        for name in seen.change.deleted:
            self.slots.drop(name)
        for name, state in writes.items():
            self.slots.set(name, state, live=True, maker=index)
        if outcome.error is not None:
            self._last_error = None
        if record is not None and record.volatile:
            self.volatile.add(record.key)
        return Report(
            "executed",
            running.reason,
            record.id if record is not None else None,
            seen.seconds,
            reads=tuple(sorted(n for n, v in running.versions.items() if v and not ambient(n))),
            writes=tuple(sorted(seen.change.states)),
            files_read=seen.files_read(),
            files_written=seen.files_written(),
            recomputed=running.recomputed,
            volatile=seen.volatile,
            not_recorded=problems,
            remarks=self._said(),
            times=times,
        )

    def _record(
        self, running: Running, outcome: Outcome, seen: Seen
    ) -> tuple[Record | None, tuple[str, ...]]:
        try:
            with self.store.batch():
                record = self.recording.record(running, outcome, seen)
                self._remember(running.cell, record)
                return record, ()
        except Refused as refused:
            # threads and hooks go on changing things behind the cells' backs
            self.suspected = str(refused) if refused.restless else self.suspected
            return None, tuple(dict.fromkeys((str(refused), *seen.problems)))
        except (StoreError, OSError) as error:
            self._off(str(error))
            return None, (str(error),)

    # -- between cells ------------------------------------------------------------------------------------------------

    def ensure(self, names: Iterable[str]) -> None:
        """Make live what `names` and their values' code can reach: for completion, inspection, expressions.

        Raises
        ------
        CannotRebuild
            Some of it cannot be had.
        """
        reached = self.slots.reach(names)
        if ANY in reached:
            reached = self.slots.reach(self.slots.names())
        modules = self.slots.modules(reached) or self.slots.union(reached, "packages")
        if self.slots.deferred(n for n in reached if not ambient(n)) or (modules and self.rebuild.pinned):
            self._left = None
            with self.environ.unread():
                self.rebuild.ready(reached - {ANY}, self._streams(), modules=True)

    def settle(self) -> None:
        """Bring hidden state to where the reader believes it to be, as far as no library of its own is needed for that."""
        self.rebuild.settle()

    def plan(self, names: Iterable[str] | None = None) -> Plan[Value]:
        """What a miss that can reach `names` (default: every variable) would do now to make deferred state live."""
        reached = self.slots.reach(self.slots.names() if names is None else names)
        if ANY in reached:
            reached = self.slots.reach(self.slots.names())
        with self.environ.unread():
            return self.rebuild.plan(reached - {ANY}, modules=True)

    def results(self) -> Given:
        """Results of replayed cells as far as they can be had; each is given once.

        Raises
        ------
        CannotRebuild
            A variable that was a result cannot be had.
        """
        self.ensure(self.earlier.variables())
        with self.environ.unread():
            return self.earlier.results()

    def _load_read(self, read: frozenset[str] | None) -> None:
        """A library is about to read names (None: any) in a frame of the notebook."""
        reached = self.slots.names() if read is None else self.slots.reach(read)
        names = self.slots.deferred(self.slots.names() if ANY in reached else reached)
        if names:
            running, self._running = self._running, None
            before = set(self.namespace)
            try:
                self.ensure(names)
            except CannotRebuild as error:
                self.notices.append(str(error))
            finally:
                self._running = running
                if running is not None:
                    for name in set(self.namespace) - before:
                        running.identities.setdefault(name, id(self.namespace[name]))

    def absorb(self, source: Source, before: dict[str, int]) -> dict[str, str]:
        """Code that is not recorded has run (a silent request, a callback): give new versions to what it changed.

        Returns
        -------
        dict
            Slots that it changed → their versions now.
        """
        self._left = None
        looked = reach(self.slots, source) | source.binds
        if source.wildcard:
            looked |= variables(self.namespace, self.hidden)
        change = observe(self.slots, self.namespace, self.hidden, before, looked, self._lineage())
        self._take(change)
        return left_by(change.states, change.deleted)

    def _take(self, change: Change) -> None:
        self.earlier.before(change.states, change.deleted, ())
        self.slots.leave(change.left, parted=True)
        for name in change.deleted:
            self.slots.drop(name)
        for name, state in change.states.items():
            self.slots.set(name, state, live=True, maker=None)

    def suspect(self, why: str) -> None:
        """Something may change state between cells: look at everything live before the next decision."""
        self.suspected = why

    def refresh(self, why: str) -> None:
        """Look at every live slot again."""
        self.suspected = self._left = None
        bound = identities(self.namespace)
        known = {n: bound.get(n, 0) for n in self.slots.names() if (s := self.slots.get(n)) and s.live}
        live = variables(self.namespace, self.hidden)
        self._take(observe(self.slots, self.namespace, self.hidden, known, live, self._lineage()))

    # -- small things -------------------------------------------------------------------------------------------------

    def _said(self) -> tuple[str, ...]:
        remarks, self.remarks = tuple(self.remarks), []
        return remarks

    def _note_text(self, source: Source) -> None:
        """Code of this session stands in one more text; which ones there are is an input of whoever looks at lines."""
        if source.defines:
            self._texts.add(digest(source.text.encode()))
            version = digest("".join(sorted(self._texts)).encode())
            self.slots.set(TEXTS_READ, State(version), live=True, maker=None)

    def _lineage(self) -> str:
        """A prefix for lineage versions that no other execution anywhere has."""
        self._made += 1
        return f"x:{self._session}.{self._made}"

    def _maker_count(self, name: str) -> int | None:
        slot = self.slots.get(name)
        return self.history.count(slot.maker) if slot else None

    def _remember(self, cell: str, record: Record) -> None:
        if cell:
            try:
                if self.store.noted(f"cell:{cell}") != record.key.encode():
                    self.store.note(f"cell:{cell}", record.key.encode())
            except StoreError as error:
                self._off(str(error))

    def _off(self, why: str) -> None:
        line = f"not recording: {why}"
        if line not in self.notices:
            self.notices.append(line)


def _names(record: Record) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Reads, writes, files read and files written of a record, as a report has them."""
    return (
        tuple(sorted(n for n, v in record.reads.items() if v and not ambient(n))),
        tuple(sorted(n for n in record.writes if not ambient(n))),
        tuple(i.path for i in record.inputs if i.content is not None and i.kind == "file"),
        tuple(o.path for o in record.outputs if o.kind == "file"),
    )
