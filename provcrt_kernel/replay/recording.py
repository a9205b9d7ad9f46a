"""The record of a cell that ran, unless something about it is not known; then `Refused` says what."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from provcrt_kernel.replay.cell import Outcome, Running, Seen
from provcrt_kernel.replay.files import unrepeatable
from provcrt_kernel.replay.instruments import Instruments
from provcrt_kernel.replay.observing import DESCRIPTOR, EFFECTS, TEXTS_READ
from provcrt_kernel.replay.opened import left_open
from provcrt_kernel.replay.record import Record, Shown, encode, passing
from provcrt_kernel.session import environ, machine
from provcrt_kernel.session.fingerprint import fingerprint
from provcrt_kernel.session.keep import keep
from provcrt_kernel.session.modules import MODULE, top_level_names
from provcrt_kernel.session.observe import Change
from provcrt_kernel.session.opaque import DRAWN
from provcrt_kernel.session.places import here
from provcrt_kernel.session.slots import State, ambient
from provcrt_kernel.session.snapshot import Unstorable
from provcrt_kernel.session.source import Source
from provcrt_kernel.trace import spelled

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
    "ipykernel.subshell",  # for comms; a cell that runs in one is noticed by itself
    "(run_forever)",  # IPython runs the loop of %%bash and its like so, and waits for what it starts there
)
#: Ambient slots that run code of the notebook before or after each cell.
_AROUND_CELLS = ("~IPython events", "~IPython transformers")
_CELL_NUMBER = re.compile(r"In\[(\d+)\]")
_ELSEWHERE = re.compile(r"ipykernel_\d+[/\\]\d+\.py")
#: Results above this many bytes are not kept.
_LARGE_RESULT = 4 << 20
#: Bytes below which keeping a value costs next to nothing.
_SMALL = 1 << 16
#: The name that a result is kept under.
RESULT = "_"
#: Words by which a cell's own code reads a file's times.
_FILE_TIMES = frozenset("stat lstat fstat getmtime getctime getatime st_mtime mtime scandir".split())


class Refused(Exception):
    """A cell that ran cannot be recorded; the message says why.

    Attributes
    ----------
    restless
        Whether something goes on that may change state behind the cells' backs.
    """

    def __init__(self, why: str, *, restless: bool = False) -> None:
        super().__init__(why)
        self.restless = restless


class Recording:
    """Makes the records of cells that were observed.

    Parameters
    ----------
    rootless
        Tells which of the slots that a cell read nothing could bring back: what is made of it is kept, whatever that takes.
    """

    def __init__(self, tools: Instruments, rootless: Callable[[Mapping[str, str]], str | None]) -> None:
        self._tools = tools
        self._rootless = rootless

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
        times = bool(source.attributes & _FILE_TIMES)
        inputs = tools.files.inputs(seen.span, tools.audit, tools.imports, times=times)
        outputs, lost = tools.files.outputs(seen.span)
        if inputs.problems or lost:
            raise Refused((inputs.problems + lost)[0])
        needed: set[str] = {m.kept for m in outcome.shown if m.kept}
        reads = self._reads(running, outcome, seen)
        fleeting = passing(seen.volatile, running.numbered)
        must = bool(fleeting) or self._rootless(reads) is not None
        must |= unrepeatable(inputs.paths, outputs, undone=True) is not None
        # a module may be changed by the time that its cell runs again
        of_modules = any(n.startswith(MODULE) for n in reads)
        kept = self._keep(seen.change, seen.seconds, needed, must=must, small=of_modules)
        if fleeting and seen.pinned:
            raise Refused(f"it uses {fleeting[0]}, and {seen.pinned[0]}")
        unkept = [n for n, s in kept.items() if s.kept is None]
        if fleeting and unkept:
            raise Refused(f"it uses {fleeting[0]}, and {unkept[0]} cannot be kept")
        result = self._result(outcome, seen.change, needed)
        shown = tools.store.put(msgspec.msgpack.encode(outcome.shown)) if outcome.shown else None
        changed = {
            n for n in {*seen.environ, *running.environ} if seen.environ.get(n) != running.environ.get(n)
        } | {n for n in tools.environ.set if n in seen.environ or n in running.environ}
        asked = sorted(tools.machine.facts | machine.told(p.argv for p in seen.span.processes))
        in_place = [n for n in seen.change.states if n not in source.binds]
        record = Record(
            id=running.lineage.removeprefix("x:"),
            key=source.key,
            cell=running.cell,
            text=source.text,
            created=time.time(),
            seconds=seen.seconds,
            reads=reads,
            everything=seen.everything,
            shares=self._shares(running, seen.change),
            kin={n: made for n in in_place if (made := tools.slots.kin([n]))},
            former=self._former(running, reads, kept),
            environ=self._environ_reads(running, children=bool(seen.span.processes)),
            machine={fact: machine.version(fact) for fact in asked},
            inputs=inputs.paths,
            library=inputs.library,
            resolved=inputs.resolved or {},
            writes={**seen.writes, **kept},
            deletes=seen.change.deleted,
            in_place=seen.in_place,
            set_environ={n: seen.environ.get(n) for n in changed},
            outputs=outputs,
            shown=shown,
            result=result,
            error=outcome.error,
            cells=self._cells(running, outcome),
            count=running.count,
            numbered=running.numbered,
            payload=outcome.payload,
            imports=tuple(dict.fromkeys(_imported(source))),
            processes=tuple(p.argv for p in seen.span.processes),
            endpoints=tuple(spelled(e) for e in seen.span.endpoints),
            lines=seen.lines,
            volatile=seen.volatile,
            pinned="; ".join(seen.pinned) or None,
            opened=bool(unkept) and left_open([*(i.path for i in inputs.paths), *(o.path for o in outputs)]),
            blobs=tuple(sorted(needed)),
        )
        needed |= {b for b in (record.shown, record.library) if b}
        needed |= {o.content for o in outputs if o.kind == "file" and o.content}
        needed.update(inputs.kept)
        tools.store.add(source.key, record.id, encode(record), worth=seen.seconds, blobs=needed)
        return record

    def _refuse(self, running: Running, outcome: Outcome, seen: Seen) -> None:
        if seen.problems:
            raise Refused(seen.problems[0], restless=seen.restless)
        if running.source.earlier:
            raise Refused("it uses earlier results")
        if running.source.last_error:
            raise Refused("it uses the last error")
        if running.source.annotations:
            raise Refused("it uses the notebook's annotations")
        for name in _AROUND_CELLS:
            slot = self._tools.slots.get(name)
            state = seen.moved.get(name) or (slot.state if slot else None)
            if state is not None and state.opaque:
                raise Refused(f"{state.opaque} runs around every cell", restless=True)
        if outcome.error and _ELSEWHERE.search("".join(outcome.error[2])):
            raise Refused("its traceback shows a cell that is not of this session")
        for thread in threading.enumerate():
            if thread.ident not in running.threads and not _of_library(thread):
                raise Refused(f"thread {thread.name} still runs", restless=True)

    def _cells(self, running: Running, outcome: Outcome) -> dict[str, int]:
        """Other cells of the session that the traceback shows."""
        # a cell that ran another one inside shows its error and does not raise
        lines = [line for m in outcome.shown if m.type == "error" for line in _traceback(m)]
        text = "".join((*(outcome.error[2] if outcome.error else ()), *lines))
        numbers = {int(n) for n in _CELL_NUMBER.findall(text)} - {running.count}
        found = here.shown(numbers)
        if numbers - {*found.values()}:
            raise Refused("its traceback shows the text of other cells")
        return found

    def _reads(self, running: Running, outcome: Outcome, seen: Seen) -> dict[str, str]:
        """Versions, as they were before, of all slots that the cell could read."""
        tools, slots = self._tools, self._tools.slots
        reads = dict(running.versions)
        if outcome.error is not None:
            reads |= running.replaced
        ambient_slots = tools.ambience.seen(running.source, seen.packages, seen.moved, seen.seeds)
        reads |= {n: running.ambient_versions[n] for n in ambient_slots - seen.given}
        more = tools.modules.reads(seen.packages, slots.ambient_names())
        if running.source.reads or running.source.imports or running.source.magics or seen.everything:
            more.add(EFFECTS)
        if seen.lines:
            more.add(TEXTS_READ)
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

    def _former(
        self, running: Running, reads: Mapping[str, str], kept: Mapping[str, State]
    ) -> dict[str, tuple[str, ...]]:
        """As `Record.former`."""
        classes = reads.keys() | {k for state in kept.values() for k in state.kin}
        former = {
            n: tuple(k for k in names if k in classes) for n, names in running.former.items() if n in reads
        }
        return {n: names for n, names in former.items() if names}

    def _result(self, outcome: Outcome, change: Change, needed: set[str]) -> State | None:
        """The displayed result: the variable that it is, or a small value of its own; None if it cannot be had back.

        Blobs that are kept are added to `needed`.
        """
        tools = self._tools
        if not outcome.result:
            return None
        value = outcome.result[0]
        found = fingerprint(value, tools.namespace)
        for name, other in tools.namespace.items() if found.objects else ():
            slot = tools.slots.get(name)
            state = change.states.get(name) or (slot.state if slot is not None else None)
            if other is value and state is not None:
                return State(state.version, group=(name,))
        if found.opaque or found.size > _LARGE_RESULT:
            return None
        try:
            kept = keep(tools.store, {RESULT: value}, tools.namespace)
        except Unstorable:
            return None
        needed.update(kept.blobs)
        return State(found.digest or "", kept=kept.manifest)

    def _keep(
        self, change: Change, seconds: float, needed: set[str], *, must: bool, small: bool
    ) -> dict[str, State]:
        """States of variables, with the snapshots that are worth their cost; their blobs are added to `needed`.

        Parameters
        ----------
        must, small
            Whether all that can be are kept, whatever it costs; all small ones.
        """
        tools = self._tools
        final: dict[str, State] = {}
        for group in dict.fromkeys(s.group or (n,) for n, s in change.states.items()):
            manifest = None
            size = sum(change.prints[n].size for n in group)
            owned = any(change.states[n].owned for n in group)
            owned |= any(change.states[n].opaque == DESCRIPTOR for n in group)
            drawn = all(change.states[n].opaque == DRAWN for n in group)
            worth = not drawn and tools.pace.worth_keeping(size, seconds)
            if not owned and (must or worth or (small and size < _SMALL) or not tools.thrifty):
                with contextlib.suppress(Unstorable):
                    started = time.perf_counter()
                    kept = keep(tools.store, {n: tools.namespace[n] for n in group}, tools.namespace)
                    manifest = kept.manifest
                    needed.update(kept.blobs)
                    tools.pace.keeping.note(size, time.perf_counter() - started)
            final |= {n: msgspec.structs.replace(change.states[n], kept=manifest) for n in group}
        return final


def _traceback(message: Shown) -> Iterable[str]:
    lines = message.content.get("traceback")
    return map(str, lines) if isinstance(lines, list | tuple) else ()


def _imported(source: Source) -> Iterable[str]:
    """Modules that a cell imported, and every dotted name in it that is one."""
    yield from (name for name in source.imports if name in sys.modules)
    tops = top_level_names(source.imports)
    yield from (c for c in source.chains if c in sys.modules and c.partition(".")[0] in tops)


def _of_library(thread: threading.Thread) -> bool:
    name = f"{thread.name} {type(thread).__name__} {type(thread).__module__}"
    return any(part in name for part in _LIBRARY_THREADS)
