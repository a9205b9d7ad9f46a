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
import dataclasses
import os
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from provcrt_kernel.provenance.packages import is_library
from provcrt_kernel.replay.files import Files
from provcrt_kernel.replay.history import Execution, History
from provcrt_kernel.replay.lookup import Decision, Lookup
from provcrt_kernel.replay.rebuild import CannotRebuild, Rebuild
from provcrt_kernel.replay.record import Record, Shown, encode
from provcrt_kernel.session import entropy, environ
from provcrt_kernel.session.ambience import Ambience, Values
from provcrt_kernel.session.audit import Audit
from provcrt_kernel.session.classes import register_live
from provcrt_kernel.session.effects import hidden_effects, owner
from provcrt_kernel.session.keep import blobs, keep, worth_keeping
from provcrt_kernel.session.modules import MODULE, Modules, top_level_names
from provcrt_kernel.session.observe import Change, is_variable, observe, variables
from provcrt_kernel.session.slots import ANY, Slots, State, ambient
from provcrt_kernel.session.snapshot import Unstorable
from provcrt_kernel.session.source import Source
from provcrt_kernel.store import Store, StoreError
from provcrt_kernel.trace import Span, Tracer

#: Threads that libraries keep for themselves and that run no notebook code.
_LIBRARY_THREADS = (
    "tqdm",
    "loky",
    "joblib",
    "QueueFeederThread",
    "QueueManagerThread",
    "ExecutorManagerThread",
    "IPythonHistorySavingThread",
    "pydevd",
    "debugpy",
    "(run_forever)",
)
#: Children that libraries keep for later cells and that read no data of their own.
_LIBRARY_CHILDREN = ("resource_tracker", "semaphore_tracker", "loky", "multiprocessing.forkserver")  # fmt: skip
#: Why a module's own state has no content digest.
_OWNED = "state of module "
#: Ambient slots that run code of the notebook before or after each cell.
_AROUND_CELLS = ("~IPython events", "~IPython transformers")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the caller saw of a cell that ran.

    Attributes
    ----------
    shown
        Messages it sent, coalesced.
    error
        ``ename``, ``evalue``, ``traceback``; None if it did not raise.
    unrepeatable
        Why its messages alone cannot stand for it: it asked for input, opened a comm, was interrupted.
    result
        Its result's value in a tuple; empty if it displayed none.
    """

    shown: tuple[Shown, ...] = ()
    error: tuple[str, str, tuple[str, ...]] | None = None
    unrepeatable: tuple[str, ...] = ()
    result: tuple[object, ...] = ()
    payload: tuple[dict[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one cell, for execute_reply's metadata and for tables."""

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


@dataclass(slots=True)
class _Running:
    """What was so when a cell began."""

    source: Source
    cell: str
    count: int | None
    reached: frozenset[str]
    everything: str | None
    versions: dict[str, str]
    shares: dict[str, tuple[tuple[str, ...], str]]
    identities: dict[str, int]
    ambient: Values
    environ: dict[str, str]
    threads: set[int | None]
    started: float
    reason: str
    recomputed: tuple[int, ...]
    lineage: str
    problems: list[str] = field(default_factory=list)


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
        thrifty: bool = True,
    ) -> None:
        self.store = store
        self.tracer = tracer
        self.namespace = namespace
        self.hidden = hidden
        self.thrifty = thrifty
        self.slots = Slots()
        self.history = History()
        self.files = Files(store)
        self.audit = Audit()
        self.environ = environ.EnvironReads()
        self.modules = Modules(store)
        self.ambience = Ambience(self.slots)
        self.lookup = Lookup(store, self.slots, self.files, self._maker_count)
        self.rebuild = Rebuild(store, self.slots, self.history, self.files, self.ambience, namespace, run)
        self.notices: list[str] = []
        self._volatile: set[str] = set()
        self._leased: set[str] = set()
        self._running: _Running | None = None
        self._suspect: str | None = None
        # drawing randomness is a trapped call: once a session is enough
        self._session, self._made = uuid.uuid4().hex[:20], 0
        # what the last cell left, as long as nothing else can have changed it
        self._ambient: Values | None = None

    def start(self) -> None:
        """The session begins."""
        self.audit.install()
        self.audit.on_frame_read = self._load_everything
        self.environ.install()
        self.ambience.start()
        for name in variables(self.namespace, self.hidden):
            self._absorb_names([name])

    # -- hits ---------------------------------------------------------------------------------------------------------

    def decide(self, source: Source, cell: str) -> Decision:
        """Look for a record of `source` that holds now."""
        if source.error:
            return Decision(None, "does not parse")
        if source.earlier:
            return Decision(None, "uses earlier results")
        if self._suspect is not None:
            self.refresh(self._suspect)
        decision = self.lookup.decide(source, cell, self._volatile)
        if decision.record is not None and decision.record.pinned and decision.record.volatile:
            return Decision(None, f"it uses {decision.record.volatile[0]}, and {decision.record.pinned}")
        return decision

    def shown(self, record: Record) -> tuple[Shown, ...] | None:
        """Messages of a record; None if the store lost them."""
        if record.shown is None:
            return ()
        data = self.store.get(record.shown)
        try:
            return None if data is None else msgspec.msgpack.decode(data, type=tuple[Shown, ...])
        except msgspec.MsgspecError:
            return None

    def replay(self, record: Record, cell: str, count: int | None) -> Report:
        """The session advances as if the cell had run. What it showed is the caller's to send.

        Raises
        ------
        CannotReplay
            A file that the cell wrote cannot be put back; the session is as it was.
        """
        started = time.perf_counter()
        failed = self.files.put_back(record.outputs)
        if failed:
            raise CannotReplay(f"{failed[0]} could not be put back")
        self._ambient = None
        index = self.history.add(Execution(count, cell, record, "replayed", "unchanged", 0.0, record.seconds))
        for name in record.deletes:
            self.namespace.pop(name, None)
            self.slots.drop(name)
        light = {}
        kept_live = self._still_live(record)
        for name, state in record.writes.items():
            if ambient(name):
                slot = self.slots.get(name)
                live = slot is not None and slot.live and slot.state.version == state.version
                self.slots.set(name, state, live=live, maker=index)
                self.modules.adopt(name, state)
                if not live and self.ambience.light(name) and state.opaque is None:
                    light[name] = state
            elif name in kept_live:
                self.slots.set(name, state, live=True, maker=index)
            else:
                self.namespace.pop(name, None)
                self.slots.set(name, state, live=False, maker=index)
        failed_slots = self.ambience.restore(light)
        for name in light:
            if name not in failed_slots:
                self.slots.load(name)
        for variable, value in record.set_environ.items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value
        self.rebuild.defer_import(record.imports)
        if record.pinned:
            self.rebuild.pin(index)
        if record.volatile:
            self._volatile.add(record.key)
        self._remember(cell, record)
        with contextlib.suppress(StoreError):
            self.store.touch([record.id])
            self._leased |= {b for s in record.writes.values() if s.kept for b in blobs(self.store, s.kept)}
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

    def _still_live(self, record: Record) -> set[str]:
        """Variables of a record whose live values are what it would bring back, aliases included."""
        same = set()
        for name, state in record.writes.items():
            slot = self.slots.get(name)
            if slot is None or not slot.live or ambient(name) or state.opaque is not None:
                continue
            unchanged = slot.state.version == state.version and slot.state.joint == state.joint
            if unchanged and self.slots.fresh(name) and self.slots.group(name) == (state.group or (name,)):
                same.add(name)
        return {n for n in same if all(m in same for m in record.writes[n].group)}

    # -- misses -------------------------------------------------------------------------------------------------------

    def prepare(self, source: Source) -> tuple[int, ...]:
        """Make live what a cell can reach; returns the executions that were recomputed, by count.

        Raises
        ------
        CannotRebuild
            Some of it cannot be had. The cell can run all the same: a name that is missing will raise as it would for any user.
        """
        for name in self.modules.unload_changed():
            self.slots.drop(MODULE + name)
        names = self._reach(source)
        names |= set(self.slots.kin(names))
        packages = self._packages(names, source)
        simple = (
            not packages
            and not source.imports
            and not source.wildcard
            and not source.magics
            and not self._modules_of(names)
        )
        simple = simple and not self.slots.deferred(n for n in names if not ambient(n))
        with self._quietly():
            if self.rebuild.pending(names):
                self._ambient = None
            indices = self.rebuild.ready(
                names, self.ambience.seen(source, packages, self._streams()), modules=not simple
            )
        if self.rebuild.changed:
            what = ", ".join(dict.fromkeys(self.rebuild.changed))
            self.notices.append(f"{what} came out different when recomputed; cells that use it run again")
            self.rebuild.changed.clear()
        return tuple(c for i in indices if (c := self.history.count(i)) is not None)

    def _streams(self) -> list[str]:
        """Random streams are read by whoever moves them, which is known only afterwards: make all that are visible ready."""
        return [n for n in self.slots if self.ambience.knows(n)]

    def _reach(self, source: Source) -> frozenset[str]:
        names = self.slots.reach(source.reads | source.binds)
        if source.wildcard or ANY in names:
            names = self.slots.reach(self.slots.names())
        return names - {ANY}

    def _modules_of(self, names: Iterable[str]) -> frozenset[str]:
        return self.slots.union(names, "modules")

    def _packages(self, names: Iterable[str], source: Source) -> frozenset[str]:
        return self.slots.union(names, "packages") | frozenset(top_level_names(source.imports))

    def begin(
        self, source: Source, cell: str, count: int | None, reason: str, recomputed: tuple[int, ...] = ()
    ) -> None:
        """A cell starts to run: note what it could see."""
        reached = self._reach(source)
        everything = source.wildcard or (
            "its functions may read any name" if ANY in self.slots.reach(source.reads) else None
        )
        names = set(reached) | set(source.reads)
        if everything:
            names |= set(self.slots.names())
        versions = {n: self.slots.version(n) for n in names}
        for module in self._modules_of(reached) | set(source.imports):
            if module in self.modules.local() or MODULE + module in self.slots:
                versions[MODULE + module] = self.slots.version(MODULE + module)
        shares = {
            n: (self.slots.group(n), slot.state.joint or "")
            for n in names
            if (slot := self.slots.get(n)) and not ambient(n)
        }
        self.environ.clear()
        self._running = _Running(
            source=source,
            cell=cell,
            count=count,
            reached=reached,
            everything=everything,
            versions=versions,
            shares=shares,
            identities=variables(self.namespace, self.hidden),
            ambient=self._ambient if self._ambient is not None else self.ambience.capture(),
            environ=self.environ.snapshot(),
            threads={t.ident for t in threading.enumerate()},
            started=0.0,
            reason=reason,
            recomputed=recomputed,
            lineage=self._lineage(),
        )
        self._ambient_before = {n: self.slots.version(n) for n in self._running.ambient}
        self.audit.clear()
        self.tracer.begin(cell or "cell")
        self._running.started = time.perf_counter()

    def finish(self, outcome: Outcome) -> Report:
        """The cell has run: observe what it did, record it if everything about it is known."""
        running = self._running
        assert running is not None
        self._running = None
        seconds = time.perf_counter() - running.started
        self.audit.rest()
        span = self.tracer.end()
        problems = [*running.problems, *outcome.unrepeatable, *self._span_problems(span)]
        after = self._ambient = self.ambience.capture()
        environ_now = self.environ.snapshot()
        everything = running.everything or (
            f"{self.audit.frame_reader} looks at its frame" if self.audit.frame_reader else None
        )
        change = self._owned(self._observe(running, everything), running)
        arrived = self.modules.arrivals()
        source = running.source

        reached = running.reached | change.states.keys()
        clock = self.slots.union(running.reached, "clock") | {
            c for s in change.states.values() for c in s.clock
        }
        volatile = entropy.clocks(source, clock, self.namespace) + entropy.commands(
            p.argv for p in span.processes
        )
        volatile += entropy.randomness(span.entropy, span.complete, source, clock, arrived)
        volatile += [
            f"network {e.address}:{e.port}" for e in span.endpoints if e.family != "unix" and not e.own
        ]
        problems += [f"{n} shows source text" for n in entropy.shows_source(source)]
        problems += [f"{n} holds in this process only" for n in entropy.process_bound(source, clock)]

        moved, pinned, unseeded = self.ambience.changes(running.ambient, after, source)
        volatile += [f"unseeded {name}" for name in unseeded]
        packages = self._packages(reached, source) | {p for s in change.states.values() for p in s.packages}
        packages |= set(top_level_names(arrived))
        writes: dict[str, State] = {**change.states, **moved}
        if arrived:
            files = {
                a.path: (a.first.size, a.first.mtime_ns)
                for a in span.accesses
                if a.first and a.first.kind == "file"
            }
            writes |= self.modules.package_states(arrived, files)
        writes |= self._local_modules(running, arrived, pinned)
        visible = bool(
            change.states
            or change.deleted
            or moved
            or outcome.shown
            or any(a.written or a.removed for a in span.accesses)
        )
        pinned += hidden_effects(
            source, self.namespace, self._explained(moved, environ_now != running.environ), visible=visible
        )

        report = Report(
            "executed",
            running.reason,
            None,
            seconds,
            recomputed=running.recomputed,
            volatile=tuple(dict.fromkeys(volatile)),
            reads=tuple(sorted(n for n, v in running.versions.items() if v and not ambient(n))),
            writes=tuple(sorted(change.states)),
            files_read=tuple(a.path for a in span.accesses if a.read and not _uninteresting(a.path)),
            files_written=tuple(a.path for a in span.accesses if a.written and not _uninteresting(a.path)),
        )
        record = None
        if not problems:
            try:
                with self.store.batch():
                    record = self._record(
                        running,
                        outcome,
                        span,
                        change,
                        writes,
                        packages,
                        moved,
                        everything,
                        pinned,
                        report,
                        environ_now,
                    )
            except (StoreError, OSError) as error:
                self._off(str(error))
                record = None
            except Refused as refused:
                problems.append(str(refused))
            if record is not None:
                writes = {**writes, **record.writes}
        index = self.history.add(
            Execution(
                running.count,
                running.cell,
                record,
                "executed",
                running.reason,
                seconds,
                0.0,
                tuple(problems),
                running.recomputed,
            )
        )
        for name in change.deleted:
            self.slots.drop(name)
        for name, state in writes.items():
            self.slots.set(name, state, live=True, maker=index)
        if record is not None and record.volatile:
            self._volatile.add(record.key)
        return dataclasses.replace(report, record=record.id if record else None, not_recorded=tuple(problems))

    # -- parts of finish ----------------------------------------------------------------------------------------------

    def _observe(self, running: _Running, everything: str | None) -> Change:
        looked = set(running.reached) | running.source.binds
        if everything or "run" in running.source.magics:
            looked |= set(variables(self.namespace, self.hidden))
        change = observe(self.slots, self.namespace, self.hidden, running.identities, looked, running.lineage)
        more = {r for s in change.prints.values() for r in s.refs} - {ANY}
        if any(ANY in s.refs for s in change.prints.values()):
            more |= set(variables(self.namespace, self.hidden))
        more |= set(self.slots.kin(change.states))
        more = (more - looked) & self.namespace.keys()
        if more:
            # a function that this cell made may have been called in it, and may have changed what it refers to
            looked = set(self.slots.reach(looked | more)) - {ANY}
            change = observe(
                self.slots, self.namespace, self.hidden, running.identities, looked, running.lineage
            )
        for name in change.states:
            register_live(self.namespace[name], self.namespace)
        return change

    def _span_problems(self, span: Span) -> list[str]:
        problems = list(span.problems) if not span.complete else []
        if not span.complete and not problems:
            problems.append("what it did was not traced completely")
        problems += [
            f"{name} still runs" for name in span.late if not any(c in name for c in _LIBRARY_CHILDREN)
        ]
        return problems

    def _local_modules(
        self, running: _Running, arrived: Sequence[str], pinned: list[str]
    ) -> dict[str, State]:
        loaded = self.modules.local()
        known = {n[len(MODULE) :] for n in running.versions if n.startswith(MODULE)}
        looked = (known | (set(arrived) & loaded.keys())) & loaded.keys()
        if not looked and not arrived:
            return {}
        states = {}
        for name, state in self.modules.local_states(looked, running.lineage).items():
            old = self.slots.version(name)
            if old != state.version:
                states[name] = state
                if old:
                    pinned.append(f"it changed module {name[len(MODULE) :]}")
        self.modules.note_sources()
        return states

    def _explained(self, moved: Iterable[str], environ_changed: bool) -> set[str]:
        """Top-level modules whose state an ambient slot shows to have changed."""
        found = {"os"} if environ_changed or {"~cwd", "~umask"} & set(moved) else set()
        for name in moved:
            found |= self.ambience.packages(name) | {re.split(r"[. ]", name[1:])[0]}
        return found

    def _owned(self, change: Change, running: _Running) -> Change:
        """Values that are a module's own state cannot be kept as copies: their cell is run again to get at them."""
        states = dict(change.states)
        for name, state in change.states.items():
            value = self.namespace[name]
            old = self.slots.get(name)
            module = owner(value, running.source, self.namespace) if state.opaque is None else None
            if module is None and old and (old.state.opaque or "").startswith(_OWNED):
                module = (
                    (old.state.opaque or "").removeprefix(_OWNED)
                    if running.identities.get(name) == id(value)
                    else None
                )
            if module is not None:
                states[name] = msgspec.structs.replace(
                    state, version=f"{running.lineage}:{name}", opaque=f"{_OWNED}{module}"
                )
        return dataclasses.replace(change, states=states)

    def _record(
        self,
        running: _Running,
        outcome: Outcome,
        span: Span,
        change: Change,
        writes: Mapping[str, State],
        packages: frozenset[str] | set[str],
        moved: Mapping[str, State],
        everything: str | None,
        pinned: list[str],
        report: Report,
        environ_now: dict[str, str],
    ) -> Record:
        source = running.source
        if source.earlier:
            raise Refused("it uses earlier results")
        for name in _AROUND_CELLS:
            state = moved.get(name) or ((slot := self.slots.get(name)) and slot.state)
            if state and state.opaque:
                self._suspect = "a hook"
                raise Refused(f"{state.opaque} runs around every cell")
        new = [t for t in threading.enumerate() if t.ident not in running.threads and not _library_thread(t)]
        if new:
            self._suspect = f"thread {new[0].name}"
            raise Refused(f"thread {new[0].name} still runs")
        times = bool(
            source.attributes
            & {"stat", "lstat", "getmtime", "getctime", "getatime", "st_mtime", "mtime", "scandir", "fstat"}
        )
        inputs = self.files.inputs(span, self.audit, times=times)
        outputs, problems = self.files.outputs(span)
        if inputs.problems or problems:
            raise Refused((inputs.problems + problems)[0])
        reads = dict(running.versions)
        seen = self.ambience.seen(source, frozenset(packages), moved)
        reads |= {n: self._ambient_before[n] for n in seen}
        reads |= {n: self.slots.version(n) for n in self.modules.reads(packages, self.slots)}
        unread = {n for n in change.states if n in self.slots and n not in reads and n not in source.binds}
        reads |= {n: self.slots.version(n) for n in unread}
        if everything and not running.everything:
            reads |= {n: self.slots.version(n) for n in self.slots.names()}
        changed_environ = {
            n: environ_now.get(n)
            for n in {*environ_now, *running.environ}
            if environ_now.get(n) != running.environ.get(n)
        }
        read_environ = self.environ.read(running.environ)
        if span.processes:
            read_environ |= {n for n in running.environ if not environ.noise(n)}
        versions_read = {n: environ.version(running.environ.get(n)) for n in read_environ}
        if span.processes or self.environ.everything:
            versions_read[environ.ALL] = environ.names_version(running.environ)
        volatile = bool(report.volatile)
        kept = self._keep(change, report.seconds, must=volatile)
        final = {**writes, **kept}
        if volatile and (pinned or any(s.kept is None for n, s in kept.items())):
            raise Refused(f"it uses {report.volatile[0]}, and not all that it made can be kept")
        shown = self.store.put(msgspec.msgpack.encode(outcome.shown)) if outcome.shown else None
        record = Record(
            id=running.lineage.removeprefix("x:"),
            key=source.key,
            cell=running.cell,
            text=source.text,
            created=time.time(),
            seconds=report.seconds,
            reads=reads,
            everything=everything,
            shares=self._shares(running, change),
            kin={n: made for n in change.states if n not in source.binds and (made := self.slots.kin([n]))},
            environ=versions_read,
            inputs=inputs.paths,
            library=inputs.library,
            resolved=inputs.resolved or {},
            writes=final,
            deletes=change.deleted,
            set_environ=changed_environ,
            outputs=outputs,
            shown=shown,
            error=outcome.error,
            payload=outcome.payload,
            imports=tuple(dict.fromkeys(self._imports(source))),
            processes=tuple(p.argv for p in span.processes),
            endpoints=tuple(f"{e.address}:{e.port}" for e in span.endpoints),
            volatile=report.volatile,
            pinned="; ".join(pinned) or None,
        )
        needed = {b for s in kept.values() if s.kept for b in blobs(self.store, s.kept)}
        needed |= {b for b in (record.shown, record.library) if b} | {
            o.content for o in outputs if o.kind == "file" and o.content
        }
        self.store.add(source.key, record.id, encode(record), worth=report.seconds, blobs=needed)
        self._remember(running.cell, record)
        return record

    def _imports(self, source: Source) -> Iterable[str]:
        """Modules that a cell imported, and every part of a dotted name that is one."""
        for name in source.imports:
            if name in sys.modules:
                yield name
        for chain in source.chains:
            if chain in sys.modules and chain.partition(".")[0] in top_level_names(source.imports):
                yield chain

    def _shares(self, running: _Running, change: Change) -> dict[str, str]:
        """Co-variables that the cell depended on as such: it read several of their names, or changed or joined them."""
        shares: dict[str, str] = {}
        touched = {m for n, s in change.states.items() for m in (n, *s.group)}
        for name, (group, joint) in running.shares.items():
            several = sum(n in running.shares for n in group) > 1
            if len(group) > 1 and (several or name in touched):
                shares[",".join(group)] = joint
            elif len(group) == 1 and name in touched and name not in running.source.binds:
                shares[name] = ""
        return shares

    def _keep(self, change: Change, seconds: float, *, must: bool) -> dict[str, State]:
        """States with the snapshots that are worth their cost."""
        final: dict[str, State] = {}
        done: set[tuple[str, ...]] = set()
        for name, state in change.states.items():
            group = state.group or (name,)
            if group in done:
                continue
            done.add(group)
            manifest = None
            size = sum(change.prints[n].size for n in group)
            if must or not self.thrifty or worth_keeping(size, seconds):
                try:
                    values = {n: self.namespace[n] for n in group}
                    manifest = keep(self.store, values, self.namespace)
                except Unstorable:
                    manifest = None
            if any((change.states[n].opaque or "").startswith(_OWNED) for n in group):
                manifest = None
            for member in group:
                final[member] = msgspec.structs.replace(change.states[member], kept=manifest)
        return final

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
        if self.slots.deferred(n for n in reached if not ambient(n)):
            self._ambient = None
            with self._quietly():
                self.rebuild.ready(reached - {ANY}, self._streams(), modules=True)

    def _load_everything(self) -> None:
        names = self.slots.deferred(self.slots.names())
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

    def absorb(self, source: Source, before: dict[str, int]) -> None:
        """Code that no cell holds has run (a silent request, a callback): give new versions to what it changed."""
        self._ambient = None
        looked = self._reach(source) | source.binds
        if source.wildcard:
            looked |= set(variables(self.namespace, self.hidden))
        change = observe(self.slots, self.namespace, self.hidden, before, looked, self._lineage())
        self._take(change)

    def _absorb_names(self, names: Iterable[str]) -> None:
        self._take(observe(self.slots, self.namespace, self.hidden, {}, names, self._lineage()))

    def _take(self, change: Change) -> None:
        for name in change.deleted:
            self.slots.drop(name)
        for name, state in change.states.items():
            self.slots.set(name, state, live=True, maker=None)

    def suspect(self, why: str) -> None:
        """Something may change state between cells: look at everything live before the next decision."""
        self._suspect = why

    def refresh(self, why: str) -> None:
        """Look at every live slot again."""
        self._suspect = self._ambient = None
        live = {n: id(v) for n, v in self.namespace.items() if is_variable(n, self.namespace, self.hidden)}
        known = {n: live.get(n, 0) for n in self.slots.names() if (s := self.slots.get(n)) and s.live}
        self._take(observe(self.slots, self.namespace, self.hidden, known, live, self._lineage()))

    # -- small things -------------------------------------------------------------------------------------------------

    def _lineage(self) -> str:
        """A prefix for lineage versions that no other execution anywhere has."""
        self._made += 1
        return f"x:{self._session}.{self._made}"

    def _quietly(self) -> _Quiet:
        return _Quiet(self.audit, self.environ)

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


class CannotReplay(Exception):
    """A record holds, but what it left cannot be brought about; the cell runs."""


class Refused(Exception):
    """A cell that ran cannot be recorded; the message says why."""


class _Quiet:
    """While state is brought back, what Python does is nobody's input."""

    def __init__(self, audit: Audit, reads: environ.EnvironReads) -> None:
        self._audit, self._reads = audit, reads

    def __enter__(self) -> None:
        self._reads.quiet = True

    def __exit__(self, *exception: object) -> None:
        self._reads.quiet = False


def _names(record: Record) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Reads, writes, files read and files written of a record, as a report has them."""
    return (
        tuple(sorted(n for n, v in record.reads.items() if v and not ambient(n))),
        tuple(sorted(n for n in record.writes if not ambient(n))),
        tuple(i.path for i in record.inputs if i.content is not None and i.kind == "file"),
        tuple(o.path for o in record.outputs if o.kind == "file"),
    )


def _library_thread(thread: threading.Thread) -> bool:
    # IPython runs the loop of %%bash and its like in a thread of its own, "(run_forever)", and waits for what it starts there
    name = f"{thread.name} {type(thread).__name__} {type(thread).__module__}"
    return any(part in name for part in _LIBRARY_THREADS)


def _uninteresting(path: str) -> bool:
    return is_library(path) or path.startswith(("/usr/", "/lib/", "/lib64/"))
