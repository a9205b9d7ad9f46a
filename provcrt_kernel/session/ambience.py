"""The ambient slots of one session: their versions before and after a cell, and bringing deferred ones back.

A setting is read by every cell that could see it, a stream of random numbers only by a cell that moves it or asks for it. No two
sessions start a stream alike that nobody seeds: a cell that moves such a stream is volatile.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

import msgspec

from provcrt_kernel.session.ambient import Adapter, adapters, asked, inexpressible, modules_in, visible
from provcrt_kernel.session.slots import ABSENT, Slots, State
from provcrt_kernel.session.source import Source
from provcrt_kernel.store.digest import digest

#: How a stream is captured that its library started from the operating system's randomness and nobody has used.
_ENTROPY = ["entropy"]
#: Streams that are `_ENTROPY` when their library has just been imported.
_STARTED_AT_IMPORT = frozenset({"~numpy.random"})
#: Kept variable by variable (`provcrt_kernel.session.environ`), or never recalled at all (`provcrt_kernel.session.entropy`).
_ELSEWHERE = frozenset({"os.environ", "process"})

Values = Mapping[str, object]


_MARK = "@inexpressible"


def _tokens(value: object) -> set[str]:
    """Tokens of the inexpressible objects in a captured value."""
    if isinstance(value, dict):
        if _MARK in value:
            return {str(value.get("token"))}
        return {t for v in value.values() for t in _tokens(v)}
    if isinstance(value, list):
        return {t for v in value for t in _tokens(v)}
    return set()


class Ambience:
    """Captures, compares and restores the ambient slots."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._adapters: dict[str, Adapter] = {f"~{a.name}": a for a in adapters() if a.name not in _ELSEWHERE}
        self._own: set[str] = set()
        self._base: dict[str, State] = {}

    def capture(self) -> Values:
        """All slots' values now; None for those of libraries that are not loaded."""
        return {name: adapter.capture() for name, adapter in self._adapters.items()}

    def start(self) -> None:
        """The session begins: what is there now is where it starts from."""
        for adapter in self._adapters.values():
            getattr(adapter, "begin", frozenset)()
        base = self.capture()
        self._own = {t for value in base.values() for t in _tokens(value)}
        for name, value in base.items():
            if value is not None:
                state = State(self._version(value), plain=msgspec.msgpack.encode(value))
                self._slots.set(name, state, live=True, maker=None)
                self._base[name] = state

    def first(self, name: str, version: str) -> State | None:
        """The state of a slot in which the session began, if that is this version."""
        state = self._base.get(name)
        return state if state is not None and state.version == version else None

    def _version(self, value: object) -> str:
        """Digest of a value; objects that the kernel itself put there are the same in every session."""
        if value is None:
            return ABSENT
        data = msgspec.msgpack.encode(value)
        if _MARK.encode() in data:
            for token in self._own & _tokens(value):
                data = data.replace(token.encode(), b"own")
        return digest(data)

    def seen(
        self,
        source: Source,
        packages: frozenset[str],
        moved: Iterable[str] = (),
        seeds: frozenset[str] = frozenset(),
    ) -> set[str]:
        """Slots that a cell has read.

        Parameters
        ----------
        packages
            Those that it can reach.
        moved
            Slots that it changed.
        seeds
            Words by which it, or what it can reach, may have given a stream the state that it had already: to leave a stream as
            it is by seeding it is to depend on what it was.
        """
        words = source.attributes | {w for m in source.magics for w in (m, f"%{m}")}
        shifted = frozenset(m[1:] for m in moved)
        found = set()
        for name, adapter in self._adapters.items():
            if source.wildcard is None and adapter.packages and not visible(adapter, packages):
                continue
            if asked(adapter, words, shifted) or seeds & getattr(adapter, "seeds", frozenset()):
                found.add(name)
        return found

    def changes(
        self, before: Values, after: Values, seeds: frozenset[str], given: frozenset[str] = frozenset()
    ) -> tuple[dict[str, State], list[str], list[str]]:
        """What became of the slots while a cell ran.

        Parameters
        ----------
        seeds
            Words by which it may have seeded streams.
        given
            Streams that it seeded first of all: it leaves them in a state of its own, be it the one in which they were.

        Returns
        -------
        states
            New states, with values to restore.
        pinned
            Why some of it cannot be restored.
        unseeded
            Streams that were used and that nobody had seeded.
        """
        states: dict[str, State] = {}
        pinned: list[str] = []
        unseeded: list[str] = []
        for name, value in after.items():
            if value is None or (value == before[name] and name not in given):
                continue
            adapter = self._adapters[name]
            if adapter.kind == "identity":
                continue
            untouched = before[name] == _ENTROPY or (before[name] is None and name in _STARTED_AT_IMPORT)
            seeded = seeds & getattr(adapter, "seeds", frozenset())
            if adapter.kind == "rng" and untouched and value != _ENTROPY and not seeded:
                unseeded.append(name[1:])
            reason = inexpressible(value, before[name])
            if reason:
                pinned.append(f"{name[1:]}: {reason}")
            states[name] = State(self._version(value), plain=msgspec.msgpack.encode(value), opaque=reason)
        return states, pinned, unseeded

    def light(self, name: str) -> bool:
        """Whether a slot can be restored without importing a library."""
        adapter = self._adapters.get(name)
        return adapter is not None and not adapter.packages

    def holds(self, name: str, state: State) -> bool:
        """Whether a slot is in this state now, as far as it can be brought there."""
        adapter = self._adapters.get(name)
        if adapter is None or state.plain is None:
            return True
        now = adapter.capture()
        if state.opaque is None or self._version(now) == state.version:
            return self._version(now) == state.version
        then = msgspec.msgpack.decode(state.plain)
        if not (isinstance(now, dict) and isinstance(then, dict)):
            return True
        return all(now.get(part) == value for part, value in then.items() if not _tokens(value))

    def at_hand(self, state: State) -> bool:
        """Whether a slot can be brought to a state without importing anything."""
        return state.plain is None or modules_in(msgspec.msgpack.decode(state.plain)) <= sys.modules.keys()

    def restore(self, states: Mapping[str, State]) -> list[str]:
        """Give slots these states; returns those that could not be."""
        failed = []
        for name, state in states.items():
            adapter = self._adapters.get(name)
            if adapter is None or state.plain is None:
                continue
            try:
                adapter.restore(msgspec.msgpack.decode(state.plain))
            except Exception:
                failed.append(name)
        return failed

    def packages(self, name: str) -> frozenset[str]:
        """Top-level modules that a slot belongs to."""
        adapter = self._adapters.get(name)
        return adapter.packages if adapter is not None else frozenset()

    def knows(self, name: str) -> bool:
        """Whether `name` is a slot that an adapter keeps."""
        return name in self._adapters
