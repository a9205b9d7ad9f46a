"""Recording a cell: what it could see before, what it did, and the record that says so.

```
begin   versions of all that the cell can reach, ambient state, environment; the span opens
finish  the span is drained → Seen: what changed, what it used that cannot be repeated, what pins it
        → Record, unless something about the cell is not known; then `Refused` says what
```
"""

from __future__ import annotations

import dataclasses
import re
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from provcrt_kernel.provenance.packages import is_library
from provcrt_kernel.replay.files import Files
from provcrt_kernel.replay.record import Record, Shown, encode
from provcrt_kernel.session import entropy, environ
from provcrt_kernel.session.ambience import Ambience, Values
from provcrt_kernel.session.audit import Audit
from provcrt_kernel.session.classes import register_live
from provcrt_kernel.session.effects import Signature, changed, hidden_effects, owner, watched
from provcrt_kernel.session.fingerprint import fingerprint
from provcrt_kernel.session.keep import blobs, keep, worth_keeping
from provcrt_kernel.session.modules import MODULE, Modules, top_level_names
from provcrt_kernel.session.observe import Change, observe, variables
from provcrt_kernel.session.slots import ANY, Slots, State, ambient
from provcrt_kernel.session.snapshot import Unstorable
from provcrt_kernel.session.source import Source
from provcrt_kernel.store import Store
from provcrt_kernel.store.digest import digest
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
    "zmq.",
    "(run_forever)",  # IPython runs the loop of %%bash and its like so, and waits for what it starts there
)
#: Children that libraries keep for later cells and that read no data of their own.
_LIBRARY_CHILDREN = ("resource_tracker", "semaphore_tracker", "loky", "multiprocessing.forkserver")
#: Why a module's own state has no content digest.
_OWNED = "state of module "
#: Ambient slots that run code of the notebook before or after each cell.
_AROUND_CELLS = ("~IPython events", "~IPython transformers")
_CELL_NUMBER = re.compile(r"In\[(\d+)\]")
#: Results above this many bytes are not kept.
_LARGE_RESULT = 4 << 20
#: The name that a result is kept under.
RESULT = "_"
#: The slot of effects that have no slot of their own.
EFFECTS = "~effects of earlier cells"
#: Words by which a cell's own code reads a file's times.
_FILE_TIMES = frozenset("stat lstat fstat getmtime getctime getatime st_mtime mtime scandir".split())


class Refused(Exception):
    """A cell that ran cannot be recorded; the message says why."""


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
        The value that it displayed as its result, in a tuple; empty if there was none.
    """

    shown: tuple[Shown, ...] = ()
    error: tuple[str, str, tuple[str, ...]] | None = None
    unrepeatable: tuple[str, ...] = ()
    result: tuple[object, ...] = ()
    payload: tuple[dict[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class Instruments:
    """What a session is observed and kept with."""

    store: Store
    tracer: Tracer
    namespace: dict[str, object]
    hidden: Mapping[str, object]
    slots: Slots
    files: Files
    audit: Audit
    environ: environ.EnvironReads
    modules: Modules
    ambience: Ambience
    thrifty: bool


@dataclass(slots=True)
class Running:
    """What was so when a cell began.

    Attributes
    ----------
    versions
        Of every slot that it can reach; `ambient_versions` of those outside of the namespace.
    replaced
        Versions of the names that it binds whatever they were before: inputs only of a cell that raised.
    shares
        The co-variable of each variable it can reach, with its joint version.
    lineage
        Prefix of the lineage versions that this execution makes.
    """

    source: Source
    cell: str
    count: int | None
    reason: str
    recomputed: tuple[int, ...]
    lineage: str
    reached: frozenset[str]
    everything: str | None
    versions: dict[str, str]
    ambient_versions: dict[str, str]
    shares: dict[str, tuple[tuple[str, ...], str]]
    identities: dict[str, int]
    watched: dict[str, tuple[object, Signature]]
    replaced: dict[str, str]
    ambient: Values
    environ: dict[str, str]
    threads: set[int | None]
    started: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a cell did, as far as all instruments tell.

    Attributes
    ----------
    moved
        Ambient slots with new states; `writes` has them too, and the variables, packages and local modules.
    everything
        Why it could read any name.
    volatile, pinned
        As in `Record`.
    """

    span: Span
    seconds: float
    change: Change
    moved: dict[str, State]
    writes: dict[str, State]
    packages: frozenset[str]
    everything: str | None
    volatile: tuple[str, ...]
    pinned: tuple[str, ...]
    ambient: Values
    environ: dict[str, str]
    problems: tuple[str, ...]

    def files_read(self) -> tuple[str, ...]:
        """Paths whose content the cell read, those of installed packages and the system apart."""
        return tuple(a.path for a in self.span.accesses if a.read and not _system(a.path))

    def files_written(self) -> tuple[str, ...]:
        """Paths that the cell wrote."""
        return tuple(a.path for a in self.span.accesses if a.written and not _system(a.path))


def reach(slots: Slots, source: Source) -> frozenset[str]:
    """Every name whose value a cell can read or change, through the functions it can call; not those it certainly rebinds."""
    names = slots.reach(source.reads | (source.binds - source.certain))
    if source.wildcard or ANY in names:
        names = slots.reach(slots.names())
    return names - {ANY}


def packages_of(slots: Slots, names: Iterable[str], source: Source) -> frozenset[str]:
    """Top-level packages that a cell can call into."""
    return slots.union(names, "packages") | frozenset(top_level_names(source.imports))


class Recording:
    """Observes cells and makes their records."""

    def __init__(self, tools: Instruments) -> None:
        self._tools = tools

    def begin(
        self,
        source: Source,
        cell: str,
        count: int | None,
        reason: str,
        recomputed: tuple[int, ...],
        lineage: str,
        ambient_now: Values | None,
    ) -> Running:
        """A cell starts to run: note what it can see, and open its span.

        Parameters
        ----------
        ambient_now
            Ambient state, if it is known already.
        """
        tools, slots = self._tools, self._tools.slots
        reached = reach(slots, source)
        everything = source.wildcard
        if everything is None and ANY in slots.reach(source.reads):
            everything = "its functions may read any name"
        names = set(reached) | source.reads
        if everything:
            names |= set(slots.names())
        versions = {n: slots.version(n) for n in names}
        for module in slots.modules(reached | set(source.imports)) | set(source.imports):
            if module in tools.modules.local() or MODULE + module in slots:
                versions[MODULE + module] = slots.version(MODULE + module)
        values = ambient_now if ambient_now is not None else tools.ambience.capture()
        tools.environ.clear()
        running = Running(
            source=source,
            cell=cell,
            count=count,
            reason=reason,
            recomputed=recomputed,
            lineage=lineage,
            reached=reached,
            everything=everything,
            versions=versions,
            ambient_versions={n: slots.version(n) for n in values},
            shares={n: (slots.group(n), s.state.joint or "") for n in names if (s := slots.get(n))},
            identities=variables(tools.namespace, tools.hidden),
            watched=watched(source, tools.namespace),
            replaced={n: slots.version(n) for n in source.certain - names},
            ambient=values,
            environ=tools.environ.snapshot(),
            threads={t.ident for t in threading.enumerate()},
        )
        tools.audit.clear()
        tools.tracer.begin(cell or "cell")
        running.started = time.perf_counter()
        return running

    # -- after the cell -----------------------------------------------------------------------------------------------

    def look(self, running: Running, outcome: Outcome) -> Seen:
        """The cell has run: drain its span, and see what became of everything that it could reach."""
        tools, source = self._tools, running.source
        seconds = time.perf_counter() - running.started
        tools.audit.rest()
        span = tools.tracer.end()
        ambient_now = tools.ambience.capture()
        environ_now = tools.environ.snapshot()
        everything = running.everything
        if everything is None and tools.audit.frame_reader:
            everything = f"{tools.audit.frame_reader} looks at its frame"
        if outcome.error is None:
            # bound anew, even where the new object is the old one
            for name in running.replaced:
                running.identities.pop(name, None)
        change = self._owned(self._observe(running, everything), running)
        arrived = tools.modules.arrivals()
        moved, pinned, unseeded = tools.ambience.changes(running.ambient, ambient_now, source)
        modules, changed_modules = self._modules(running, span, arrived)
        pinned += [f"it changed module {name}" for name in changed_modules]
        explained = self._explained(moved, environ_changed=environ_now != running.environ)
        left = (change.states, change.deleted, moved, outcome.shown)
        visible = any(left) or any(a.written or a.removed for a in span.accesses)
        pinned += changed(running.watched)
        pinned += hidden_effects(source, tools.namespace, explained, visible=visible)
        clock = tools.slots.union(running.reached, "clock")
        clock |= {c for s in change.states.values() for c in s.clock}
        problems = [*outcome.unrepeatable, *self._unknown(span, source)]
        problems += [f"{n} shows source text" for n in entropy.shows_source(source)]
        problems += [f"{n} holds in this process only" for n in entropy.process_bound(source, clock)]
        packages = packages_of(tools.slots, running.reached | change.states.keys(), source)
        packages |= {p for s in change.states.values() for p in s.packages} | top_level_names(arrived)
        return Seen(
            span=span,
            seconds=seconds,
            change=change,
            moved=moved,
            writes={**change.states, **moved, **modules, **self._effects(running, pinned)},
            packages=packages,
            everything=everything,
            volatile=tuple(dict.fromkeys(self._volatile(source, clock, span, arrived, unseeded, packages))),
            pinned=tuple(pinned),
            ambient=ambient_now,
            environ=environ_now,
            problems=tuple(problems),
        )

    def _volatile(
        self,
        source: Source,
        clock: Iterable[str],
        span: Span,
        arrived: Iterable[str],
        unseeded: Iterable[str],
        packages: frozenset[str],
    ) -> Iterable[str]:
        yield from entropy.clocks(source, clock, self._tools.namespace)
        yield from entropy.commands(p.argv for p in span.processes)
        yield from entropy.randomness(span.entropy, span.complete, source, clock, arrived, packages)
        yield from (
            f"network {e.address}:{e.port}" for e in span.endpoints if e.family != "unix" and not e.own
        )
        yield from (f"unseeded {name}" for name in unseeded)

    def _observe(self, running: Running, everything: str | None) -> Change:
        tools, slots = self._tools, self._tools.slots
        looked = set(running.reached) | running.source.binds
        if everything or "run" in running.source.magics:
            looked |= variables(tools.namespace, tools.hidden).keys()

        def compare(names: set[str]) -> Change:
            return observe(slots, tools.namespace, tools.hidden, running.identities, names, running.lineage)

        while True:
            change = compare(looked)
            # a function that this cell made may have been called in it, and may have changed what it refers to
            more = {r for s in change.prints.values() for r in s.refs}
            if ANY in more:
                more |= variables(tools.namespace, tools.hidden).keys()
            # a change of a class is a change of what was made with it, and may have come through one of those
            in_place = [n for n in change.states if running.identities.get(n) == id(tools.namespace[n])]
            more |= {*slots.kin(in_place), *(c for n in in_place for c in change.states[n].kin)}
            more = (more - looked - {ANY}) & tools.namespace.keys()
            if not more:
                break
            looked = set(slots.reach(looked | more)) - {ANY}
        for name in change.states:
            register_live(tools.namespace[name], tools.namespace)
        return change

    def _owned(self, change: Change, running: Running) -> Change:
        """Values that are a module's own state cannot be kept as copies: their cell is run again to get at them."""
        tools = self._tools
        states = dict(change.states)
        for name, state in change.states.items():
            value = tools.namespace[name]
            old = tools.slots.get(name)
            why = (old.state.opaque if old and running.identities.get(name) == id(value) else None) or ""
            if state.opaque is None and (module := owner(value, running.source, tools.namespace)):
                why = f"{_OWNED}{module}"
            if why.startswith(_OWNED):
                states[name] = msgspec.structs.replace(state, version=f"{running.lineage}:{name}", opaque=why)
        return dataclasses.replace(change, states=states)

    def _modules(
        self, running: Running, span: Span, arrived: list[str]
    ) -> tuple[dict[str, State], list[str]]:
        """States of packages and local modules that are new or changed; and which of the latter had been loaded before."""
        modules, slots = self._tools.modules, self._tools.slots
        states: dict[str, State] = {}
        if arrived:
            looked_at = (a for a in span.accesses if a.first is not None and a.first.kind == "file")
            files = {a.path: (a.first.size, a.first.mtime_ns) for a in looked_at if a.first is not None}
            states |= modules.package_states(arrived, files)
        known = {n[len(MODULE) :] for n in running.versions if n.startswith(MODULE)}
        looked = (known | set(arrived)) & modules.local().keys()
        changed = []
        for name, state in modules.local_states(looked, running.lineage).items() if looked else ():
            old = slots.version(name)
            if old != state.version:
                states[name] = state
                if old:
                    changed.append(name[len(MODULE) :])
        if arrived:
            modules.note_sources()
        return states, changed

    def _effects(self, running: Running, pinned: list[str]) -> dict[str, State]:
        """The slot that stands for all effects which have no slot of their own: it changes with each pinned cell."""
        if not pinned:
            return {}
        parts = (self._tools.slots.version(EFFECTS), running.source.key, *pinned)
        reads = (f"{n}={v}" for n, v in sorted(running.versions.items()))
        return {EFFECTS: State(digest("\n".join((*parts, *reads)).encode()))}

    def _explained(self, moved: Iterable[str], *, environ_changed: bool) -> set[str]:
        """Top-level modules whose state an ambient slot shows to have changed."""
        found = {"os"} if environ_changed or {"~cwd", "~umask"} & set(moved) else set()
        for name in moved:
            found |= self._tools.ambience.packages(name) | {re.split(r"[. ]", name[1:])[0]}
        return found

    def _unknown(self, span: Span, source: Source) -> list[str]:
        """Why the span does not tell all that the cell's processes did."""
        if self._tools.tracer.mechanism == "none":
            return [] if _touches_no_file(source, self._tools.slots) else ["processes cannot be traced here"]
        problems = [] if span.complete else list(span.problems) or ["it was not traced completely"]
        return problems + [f"{n} still runs" for n in span.late if not any(c in n for c in _LIBRARY_CHILDREN)]

    # -- the record ---------------------------------------------------------------------------------------------------

    def record(self, running: Running, outcome: Outcome, seen: Seen) -> Record:
        """Keep what the cell left, and store its record.

        Raises
        ------
        Refused
            Something about the cell is not known.
        StoreError, OSError
            The store, or a file that the cell wrote, cannot be used.
        """
        tools, source = self._tools, running.source
        self._refuse(running, outcome, seen)
        inputs = tools.files.inputs(seen.span, tools.audit, times=bool(source.attributes & _FILE_TIMES))
        outputs, lost = tools.files.outputs(seen.span)
        if inputs.problems or lost:
            raise Refused((inputs.problems + lost)[0])
        kept = self._keep(seen.change, seen.seconds, must=bool(seen.volatile))
        if seen.volatile and (seen.pinned or any(s.kept is None for s in kept.values())):
            raise Refused(f"it uses {seen.volatile[0]}, and not all that it made can be kept")
        shown = tools.store.put(msgspec.msgpack.encode(outcome.shown)) if outcome.shown else None
        changed = {
            n for n in {*seen.environ, *running.environ} if seen.environ.get(n) != running.environ.get(n)
        }
        in_place = [n for n in seen.change.states if n not in source.binds]
        record = Record(
            id=running.lineage.removeprefix("x:"),
            key=source.key,
            cell=running.cell,
            text=source.text,
            created=time.time(),
            seconds=seen.seconds,
            reads=self._reads(running, outcome, seen),
            everything=seen.everything,
            shares=self._shares(running, seen.change),
            kin={n: made for n in in_place if (made := tools.slots.kin([n]))},
            environ=self._environ_reads(running, children=bool(seen.span.processes)),
            inputs=inputs.paths,
            library=inputs.library,
            resolved=inputs.resolved or {},
            writes={**seen.writes, **kept},
            deletes=seen.change.deleted,
            set_environ={n: seen.environ.get(n) for n in changed},
            outputs=outputs,
            shown=shown,
            result=self._result(outcome, seen.change),
            error=outcome.error,
            count=running.count,
            payload=outcome.payload,
            imports=tuple(dict.fromkeys(_imported(source))),
            processes=tuple(p.argv for p in seen.span.processes),
            endpoints=tuple(f"{e.address}:{e.port}" for e in seen.span.endpoints),
            volatile=seen.volatile,
            pinned="; ".join(seen.pinned) or None,
        )
        needed = {b for s in kept.values() if s.kept for b in blobs(tools.store, s.kept)}
        needed |= {b for b in (record.shown, record.library) if b}
        if record.result is not None and record.result.kept:
            needed |= set(blobs(tools.store, record.result.kept))
        needed |= {o.content for o in outputs if o.kind == "file" and o.content}
        tools.store.add(source.key, record.id, encode(record), worth=seen.seconds, blobs=needed)
        return record

    def _refuse(self, running: Running, outcome: Outcome, seen: Seen) -> None:
        if seen.problems:
            raise Refused(seen.problems[0])
        if running.source.earlier:
            raise Refused("it uses earlier results")
        for name in _AROUND_CELLS:
            slot = self._tools.slots.get(name)
            state = seen.moved.get(name) or (slot.state if slot else None)
            if state is not None and state.opaque:
                raise Refused(f"{state.opaque} runs around every cell")
        own = {
            m for t in ([outcome.error[2]] if outcome.error else []) for m in _CELL_NUMBER.findall("".join(t))
        }
        if own - {str(running.count)}:
            raise Refused("its traceback shows the text of other cells")
        for thread in threading.enumerate():
            if thread.ident not in running.threads and not _of_library(thread):
                raise Refused(f"thread {thread.name} still runs")

    def _reads(self, running: Running, outcome: Outcome, seen: Seen) -> dict[str, str]:
        """Versions, as they were before, of all slots that the cell could read."""
        tools, slots = self._tools, self._tools.slots
        reads = dict(running.versions)
        if outcome.error is not None:
            reads |= running.replaced
        ambient_slots = tools.ambience.seen(running.source, seen.packages, seen.moved)
        reads |= {n: running.ambient_versions[n] for n in ambient_slots}
        more = tools.modules.reads(seen.packages, slots)
        if running.source.reads or running.source.imports or running.source.magics or seen.everything:
            more.add(EFFECTS)
        # what it changed in place without our seeing it beforehand is as much an input
        more |= {
            n for n in seen.change.states if n in slots and n not in reads and n not in running.source.binds
        }
        if seen.everything and not running.everything:
            more |= set(slots.names())
        return {**reads, **{n: slots.version(n) for n in more if n not in reads}}

    def _environ_reads(self, running: Running, *, children: bool) -> dict[str, str]:
        names = self._tools.environ.read(running.environ)
        if children:
            names |= {n for n in running.environ if not environ.noise(n)}
        reads = {n: environ.version(running.environ.get(n)) for n in names}
        if children or self._tools.environ.everything:
            reads[environ.ALL] = environ.names_version(running.environ)
        return reads

    def _shares(self, running: Running, change: Change) -> dict[str, str]:
        """Co-variables that the cell depended on as such: it read several of their names, or changed or joined them."""
        shares: dict[str, str] = {}
        touched = {m for n, s in change.states.items() for m in (n, *s.group)}
        for name, (group, joint) in running.shares.items():
            if len(group) > 1 and (name in touched or sum(n in running.shares for n in group) > 1):
                shares[",".join(group)] = joint
            elif (
                len(group) == 1 and name in touched and name not in running.source.binds and not ambient(name)
            ):
                shares[name] = ""
        return shares

    def _result(self, outcome: Outcome, change: Change) -> State | None:
        """The displayed result: the variable that it is, or a small value of its own; None if it cannot be had back."""
        tools = self._tools
        if not outcome.result:
            return None
        value = outcome.result[0]
        found = fingerprint(value, tools.namespace)
        for name, other in tools.namespace.items() if found.objects else ():
            if other is value and (slot := tools.slots.get(name) or None):
                state = change.states.get(name) or slot.state
                return State(state.version, group=(name,))
        if found.opaque or found.size > _LARGE_RESULT:
            return None
        try:
            kept = keep(tools.store, {RESULT: value}, tools.namespace)
        except Unstorable:
            return None
        return State(found.digest or "", kept=kept)

    def _keep(self, change: Change, seconds: float, *, must: bool) -> dict[str, State]:
        """States of variables, with the snapshots that are worth their cost."""
        tools = self._tools
        final: dict[str, State] = {}
        for group in dict.fromkeys(s.group or (n,) for n, s in change.states.items()):
            manifest = None
            size = sum(change.prints[n].size for n in group)
            owned = any((change.states[n].opaque or "").startswith(_OWNED) for n in group)
            if not owned and (must or not tools.thrifty or worth_keeping(size, seconds)):
                try:
                    manifest = keep(tools.store, {n: tools.namespace[n] for n in group}, tools.namespace)
                except Unstorable:
                    manifest = None
            final |= {n: msgspec.structs.replace(change.states[n], kept=manifest) for n in group}
        return final


def _imported(source: Source) -> Iterable[str]:
    """Modules that a cell imported, and every dotted name in it that is one."""
    yield from (name for name in source.imports if name in sys.modules)
    tops = top_level_names(source.imports)
    yield from (c for c in source.chains if c in sys.modules and c.partition(".")[0] in tops)


def _touches_no_file(source: Source, slots: Slots) -> bool:
    """Whether a cell can reach nothing that opens a file: then nothing is missed where processes cannot be traced."""
    names = reach(slots, source)
    if source.imports or source.magics or source.wildcard or slots.union(names, "modules"):
        return False
    if packages_of(slots, names, source) or source.attributes & {"open", "__import__", "breakpoint", "help"}:
        return False
    return not any((s := slots.get(n)) and s.state.opaque for n in names)


def _of_library(thread: threading.Thread) -> bool:
    name = f"{thread.name} {type(thread).__name__} {type(thread).__module__}"
    return any(part in name for part in _LIBRARY_THREADS)


def _system(path: str) -> bool:
    return is_library(path) or path.startswith(("/usr/", "/lib/", "/lib64/"))
