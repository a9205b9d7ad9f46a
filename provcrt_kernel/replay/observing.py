"""Observing a cell: what it can see when it begins, and what it did when it has ended.

```
begin   versions of all that the cell can reach, ambient state, environment; the span opens → `Running`
look    the span is drained: what changed, what it used that cannot be repeated, what pins it → `Seen`
```
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from stat import S_ISREG

import msgspec

from provcrt_kernel.replay.belonging import Belonging, others
from provcrt_kernel.replay.cell import Left, Outcome, Running, Seen, packages_of, reach
from provcrt_kernel.replay.instruments import Instruments
from provcrt_kernel.session import entropy, kinship
from provcrt_kernel.session.ambient.ipython import keep_state
from provcrt_kernel.session.codes import LINES, SEEDS
from provcrt_kernel.session.effects import first_used, hidden_effects, mentioned_in_modules
from provcrt_kernel.session.holdings import Holdings
from provcrt_kernel.session.homes import is_a
from provcrt_kernel.session.insides import changed, watched
from provcrt_kernel.session.modules import MODULE, public_names, top_level_names
from provcrt_kernel.session.observe import Change, identities, observe, variables
from provcrt_kernel.session.seeded import seeded_first
from provcrt_kernel.session.slots import ANY, Slots, State
from provcrt_kernel.session.source import Source
from provcrt_kernel.store.digest import digest
from provcrt_kernel.trace import Span, spelled

#: Children that libraries keep for later cells and that read no data of their own.
_LIBRARY_CHILDREN = ("resource_tracker", "semaphore_tracker", "loky", "multiprocessing.forkserver")
#: Why a number has no content digest: something in this process is known by it.
DESCRIPTOR = "open descriptor"
#: The slot of effects that have no slot of their own.
EFFECTS = "~effects of earlier cells"
#: The slot of all texts in which code of this session stands.
TEXTS_READ = "~text of earlier cells"


def _streams_of(bound: Mapping[str, int]) -> list[str]:
    """Variables that stand in for the kernel's streams, or that logging writes to: any cell may do so, and name none."""
    streams: list[object] = [
        s for s in (sys.stdout, sys.stderr) if not type(s).__module__.startswith("ipykernel.")
    ]
    if logging := sys.modules.get("logging"):
        for reference in list(logging._handlerList):
            handler = reference()
            streams += [h for h in (handler, getattr(handler, "stream", None)) if h is not None]
    ids = {*map(id, streams), *(id(type(s)) for s in streams)}
    return [] if ids.isdisjoint(bound.values()) else [n for n, i in bound.items() if i in ids]


def _descriptors() -> set[int]:
    return set(filter(_is_open, map(int, os.listdir("/proc/self/fd"))))


def _is_open(number: int) -> bool:
    """Whether a descriptor that was listed is still there: the one that listed them is not."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _stands_for(value: object, numbers: set[int]) -> bool:
    """Whether a value is one of some numbers, or a container of one."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return any(_stands_for(part, numbers) for part in value)
    return type(value) is int and value in numbers


class Observer:
    """Looks at cells as they run."""

    def __init__(self, tools: Instruments) -> None:
        self._tools = tools
        self._belonging = Belonging(tools)
        # what the names of local modules were bound to when they were last looked at
        self._values: dict[str, tuple[int, ...]] = {}

    def begin(
        self,
        source: Source,
        cell: str,
        count: int | None,
        reason: str,
        recomputed: tuple[int, ...],
        numbered: str | None,
        lineage: str,
        left: Left | None,
    ) -> Running:
        """A cell starts to run: note what it can see, and open its span.

        Parameters
        ----------
        numbered
            Which inputs and results there are, by their numbers.
        left
            How the session is, if that is known already.
        """
        tools, slots = self._tools, self._tools.slots
        bound = left.identities if left else identities(tools.namespace)
        reached = reach(slots, source) | slots.reach(_streams_of(bound))
        everything, lists = source.wildcard, source.lists
        if everything is None and ANY in slots.reach(source.reads):
            everything, lists = "its functions may read any name", True
        names = set(reached) | source.reads
        if everything:
            names |= set(slots.names())
        versions = {n: slots.version(n) for n in names}
        for module in slots.modules(reached | set(source.imports)) | set(source.imports):
            if module in tools.modules.local() or MODULE + module in slots:
                versions[MODULE + module] = slots.version(MODULE + module)
        values = left.ambient if left else tools.ambience.capture()
        tools.environ.clear()
        running = Running(
            source=source,
            cell=cell,
            count=count,
            reason=reason,
            recomputed=recomputed,
            numbered=numbered if lists else None,
            lineage=lineage,
            reached=reached,
            everything=everything,
            versions=versions,
            ambient_versions={n: slots.version(n) for n in values},
            shares={n: (slots.group(n), s.state.joint or "") for n in names if (s := slots.get(n))},
            former=slots.former(names, slots.names()),
            identities=bound,
            watched=watched(source, tools.namespace, reached),
            replaced={n: slots.version(n) for n in source.certain - names},
            ambient=values,
            environ=tools.environ.snapshot(),
            threads={t.ident for t in threading.enumerate()},
            before=self._uncertain(source.certain - names),
            descriptors=_descriptors() if entropy.opens_descriptors(source) else None,
        )
        tools.audit.clear()
        tools.machine.clear()
        tools.draws.clear()
        tools.imports.clear()
        tools.texts.looked = False
        tools.tracer.begin(cell or "cell")
        running.started = time.perf_counter()
        return running

    def _uncertain(self, names: Iterable[str]) -> dict[str, weakref.ref[object]]:
        """What live names stand for, where looking at it again tells only that it may have changed."""
        found: dict[str, weakref.ref[object]] = {}
        for name in names:
            slot = self._tools.slots.get(name)
            if slot is not None and slot.live and slot.state.opaque is not None:
                with contextlib.suppress(TypeError, KeyError):
                    found[name] = weakref.ref(self._tools.namespace[name])
        return found

    def look(self, running: Running, outcome: Outcome) -> Seen:
        """The cell has run: drain its span, and see what became of everything that it could reach."""
        tools, source = self._tools, running.source
        seconds = time.perf_counter() - running.started
        tools.rest()
        span = tools.tracer.end()
        ambient_now = tools.ambience.capture()
        environ_now = tools.environ.snapshot()
        everything = running.everything
        if everything is None and tools.audit.frame_reader:
            everything = f"{tools.audit.frame_reader} looks at its frame"
        everything = self._named(running, tools.audit.names_read) or everything
        bound = identities(tools.namespace)
        # a class is another one only where it is another object
        same_class = {
            n
            for n in source.certain
            if is_a(tools.namespace.get(n), type) and running.identities.get(n) == bound[n]
        }
        given = self._set_anew(running) if outcome.error is None else frozenset()
        unbound = running.unbound(tools.namespace) if outcome.error is not None else ()
        arrived = tools.modules.arrivals()
        modules, changed_modules, held_there = self._modules(running, span, arrived)
        change = self._variables(running, bound, everything, held_there, changed_modules, unbound)
        words = tools.slots.union(running.reached, "clock")
        clock = words | {c for s in change.states.values() for c in s.clock}
        clock |= entropy.CLOCK & mentioned_in_modules(source, tools.namespace, tools.modules.local())
        in_modules = tools.slots.union((n for n in running.versions if n.startswith(MODULE)), "clock")
        in_modules |= {c for s in modules.values() for c in s.clock}
        seeds = SEEDS & (source.attributes | clock | in_modules)
        moved, pinned, unseeded = tools.ambience.changes(running.ambient, ambient_now, seeds, given)
        pinned += [f"it changed module {name}" for name in changed_modules]
        if "~logging" in moved:
            mine = running.reached | change.states.keys()
            pinned += [f"logging holds {n}" for n in _streams_of(bound) if n in mine]
        explained = self._explained(moved, environ_changed=environ_now != running.environ)
        left = (change.states, change.deleted, moved, outcome.shown)
        visible = any(left) or any(a.written or a.removed for a in span.accesses)
        pinned += changed(running.watched)
        pinned += [f"it runs {n}, which may keep state" for n in keep_state(source.magics)]
        pinned += hidden_effects(source, tools.namespace, explained, running.reached, words, visible=visible)
        local = [n[len(MODULE) :] for n in modules if n.startswith(MODULE)]
        if local and not changed_modules:
            pinned += first_used(source, tools.namespace, local)
        pinned += [
            f"it changed {n}, which something outside of the notebook holds"
            for n, s in change.states.items()
            if running.identities.get(n) == id(tools.namespace[n])
            and n not in source.binds
            and others(s.opaque or "", explained)
        ]
        # what a local module holds is part of its own state, which comes back by its cells alone
        if pinned and not changed_modules:
            change = self._belonging.held(change, running)
        left_behind = [n for n in span.late if not any(c in n for c in _LIBRARY_CHILDREN)]
        problems = [*outcome.unrepeatable, *self._unknown(span, source)]
        problems += [f"{n} still runs" for n in left_behind]
        problems += [f"{n} shows source text" for n in entropy.shows_source(source)]
        problems += [
            f"{n} holds in this process only"
            for n in entropy.process_bound(source, clock, words, tools.namespace)
        ]
        made = (tools.namespace[n] for n in change.states)
        problems += [f"{n} holds in this process only" for n in entropy.tells_process(made, tools.namespace)]
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
            in_place=tuple(
                n for n in change.states if n in same_class or running.identities.get(n) == bound[n]
            ),
            left=Left(ambient_now, bound),
            environ=environ_now,
            problems=tuple(problems),
            seeds=seeds,
            given=given,
            lines=tools.texts.looked
            or tools.audit.lines
            or bool(LINES & (source.attributes | clock | in_modules)),
            restless=bool(left_behind),
        )

    def _set_anew(self, running: Running) -> frozenset[str]:
        """A cell that did not raise bound names whatever they were: forget that; and which streams it seeded likewise."""
        tools = self._tools
        given = seeded_first(running.source, running.identities, tools.namespace, tools.modules.local())
        starred = {n for module in running.source.stars for n in public_names(module)}
        for name in {*running.replaced, *starred} & tools.namespace.keys():
            running.identities.pop(name, None)  # bound anew, even where the new object is the old one
        return given

    def _named(self, running: Running, read: Iterable[str]) -> str | None:
        """Note names that a library read in the notebook's frame as read; why it may have read any, if it may."""
        slots = self._tools.slots
        reached = slots.reach(read)
        if ANY in reached:
            return "an expression that it evaluates may read any name"
        running.reached |= reached
        for name in reached - running.versions.keys():
            running.versions[name] = slots.version(name)
            if (slot := slots.get(name)) is not None:
                running.shares[name] = (slots.group(name), slot.state.joint or "")
        return None

    def _volatile(
        self,
        source: Source,
        clock: Iterable[str],
        span: Span,
        arrived: Iterable[str],
        unseeded: Iterable[str],
        packages: frozenset[str],
    ) -> Iterable[str]:
        draws = span.entropy - self._tools.draws.discarded
        yield from entropy.clocks(source, clock, self._tools.namespace)
        yield from entropy.commands(p.argv for p in span.processes)
        yield from entropy.randomness(draws, span.complete, source, clock, arrived, packages)
        yield from (f"network {spelled(e)}" for e in span.endpoints if e.family != "unix" and not e.own)
        yield from (f"unseeded {name}" for name in unseeded)

    def _variables(
        self,
        running: Running,
        bound: dict[str, int],
        everything: str | None,
        held_there: Mapping[str, Holdings],
        changed_modules: Iterable[str],
        unbound: Iterable[str],
    ) -> Change:
        """What became of the variables, those that belong to a module that the cell could reach among them."""
        slots = self._tools.slots
        values = {n: h.values for n, h in held_there.items()}
        # a function that its module has another one in the place of is known by its name no longer
        replaced = {n for n, ids in values.items() if self._values.get(n) != ids}
        self._values |= values
        besides = slots.owned(held_there) | slots.named_by(replaced.union(changed_modules))
        change = self._observe(running, bound, everything, besides, unbound)
        change = self._belonging.owned(change, running, held_there)
        return self._numbered(change, running)

    def _observe(
        self,
        running: Running,
        bound: dict[str, int],
        everything: str | None,
        besides: Iterable[str],
        unbound: Iterable[str],
    ) -> Change:
        tools, slots = self._tools, self._tools.slots
        looked = {*running.reached, *running.source.binds.difference(unbound), *slots.held(), *besides}
        if everything or running.source.earlier or "run" in running.source.magics:
            looked |= variables(tools.namespace, tools.hidden)

        def compare(names: set[str]) -> Change:
            return observe(
                slots, tools.namespace, tools.hidden, running.identities, names, running.lineage, bound
            )

        left = frozenset[str]()
        while True:
            change = compare(looked)
            left |= change.left
            # a function that this cell made may have been called in it, and may have changed what it refers to
            more = {r for s in change.prints.values() for r in s.refs}
            if ANY in more:
                more |= variables(tools.namespace, tools.hidden)
            # a change of a class is a change of what was made with it, and may have come through one of those
            in_place = [n for n in change.states if running.identities.get(n) == id(tools.namespace[n])]
            more |= {*slots.kin(in_place), *(c for n in in_place for c in change.states[n].kin)}
            more = (more - looked - {ANY}) & tools.namespace.keys()
            if not more:
                break
            looked = set(slots.reach(looked | more)) - {ANY}
        for name in change.states:  # what was changed in place has another digest
            kinship.enter(name, tools.namespace[name], tools.namespace)
        return dataclasses.replace(change, left=left)

    def _numbered(self, change: Change, running: Running) -> Change:
        """Numbers of open descriptors mean something in this process only, and who has one changes what others read by theirs."""
        slots, namespace = self._tools.slots, self._tools.namespace
        known = {n for n in running.reached if (s := slots.get(n)) and s.state.opaque == DESCRIPTOR}
        if running.descriptors is None and not known:
            return change
        now = _descriptors()
        fresh = now - running.descriptors if running.descriptors is not None else set()
        groups = {tuple(m for m in slots.group(n) if m in change.states) for n in known}
        groups.add(tuple(sorted(n for n in change.states if _stands_for(namespace[n], fresh))))
        states = dict(change.states)
        for group in groups:
            joint = f"{running.lineage}:{','.join(group)}"
            for name in group:
                if _stands_for(namespace[name], now):
                    states[name] = msgspec.structs.replace(
                        states[name],
                        version=f"{running.lineage}:{name}",
                        group=group if len(group) > 1 else (),
                        joint=joint if len(group) > 1 else None,
                        opaque=DESCRIPTOR,
                    )
        return dataclasses.replace(change, states=states)

    def _modules(
        self, running: Running, span: Span, arrived: list[str]
    ) -> tuple[dict[str, State], list[str], dict[str, Holdings]]:
        """States of new and changed packages and local modules; which of the latter had been loaded before; what they hold."""
        modules, slots = self._tools.modules, self._tools.slots
        states: dict[str, State] = {}
        if arrived:
            looked_at = (a for a in span.accesses if a.first is not None and a.first.kind == "file")
            files = {a.path: (a.first.size, a.first.mtime_ns) for a in looked_at if a.first is not None}
            for path, found in self._tools.imports.looks.items():
                if found is not None and S_ISREG(found.st_mode):
                    files[path] = (found.st_size, found.st_mtime_ns)
            states |= modules.package_states(arrived, files)
        known = {n[len(MODULE) :] for n in running.versions if n.startswith(MODULE)}
        looked = (known | set(arrived)) & modules.local().keys()
        changed = []
        held_there = {}
        for name, (state, holdings) in (
            modules.local_states(looked, running.lineage).items() if looked else ()
        ):
            held_there[name] = holdings
            old = slots.version(MODULE + name)
            if old != state.version:
                states[MODULE + name] = state
                if old:
                    changed.append(name)
        if arrived:
            modules.note_sources()
        return states, changed, held_there

    def _effects(self, running: Running, pinned: list[str]) -> dict[str, State]:
        """The slot that stands for all effects which have no slot of their own: it changes with each pinned cell."""
        if not pinned:
            return {}
        # in whichever order they were come upon
        parts = (self._tools.slots.version(EFFECTS), running.source.key, *sorted(pinned))
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
        return [] if span.complete else list(span.problems) or ["it was not traced completely"]


def _touches_no_file(source: Source, slots: Slots) -> bool:
    """Whether a cell can reach nothing that opens a file: then nothing is missed where processes cannot be traced."""
    names = reach(slots, source)
    if source.imports or source.magics or source.wildcard or slots.union(names, "modules"):
        return False
    if packages_of(slots, names, source) or source.attributes & {"open", "__import__", "breakpoint", "help"}:
        return False
    return not any((s := slots.get(n)) and s.state.opaque for n in names)
