"""A structural walk over a value: what is visited becomes bytes, and the bytes become a digest.

The walk is prefix-free (every token tells its own length), sees exact types (1, True and 1.0 differ), counts
aliasing (a mutable object met again is a reference to its first visit) and never runs code of the notebook.
Modules beside this one say how each kind of object is visited; they register a `Handler` by exact type or by
the name of a base class.
"""

from __future__ import annotations

import gc
import marshal
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any

import xxhash

from .homes import dict_of, is_a, module_of, mro_of
from .opaque import full_name, opaque_reason

ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Exact types without identity or inner structure."""
# None hashes by address in CPython 3.11: a set that holds it has no order of its own.
_STEADY = ATOMS - {type(None)}

BIG = 1 << 16
"""Bytes from which on a buffer enters by its own digest."""


IN_TEXT = "an address in a text"
"""What `Walker.clock` holds if a text shows where an object lies, as its default ``repr`` does."""
BY_ADDRESS = "an order by address"
"""The same for a set of objects that are hashed by where they lie."""
_ADDRESS = re.compile(rb" at 0x(7[ef]|5[56])[0-9a-f]{10}\b")


class TooLarge(Exception):
    """The walk met more objects than its limit allows."""


class Regions:
    """Memory on which arrays were met, as disjoint ranges: what overlaps is one allocation."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int, int, int, tuple[int, ...]]] = []
        self._count = 0

    def place(self, low: int, high: int, start: int, strides: tuple[int, ...]) -> list[tuple[object, ...]]:
        """Add an array's memory [low, high); where it lies in those met before, if it overlaps any."""
        ranges = self._ranges
        at = bisect_left(ranges, (low,))
        if at and ranges[at - 1][1] > low:
            at -= 1
        end = at
        while end < len(ranges) and ranges[end][0] < high:
            end += 1
        shared = ranges[at:end]
        if not shared:
            ranges.insert(at, (low, high, self._count, start, strides))
            self._count += 1
            return []
        _, _, number, first, first_strides = min(shared, key=lambda item: item[2])
        low, high = min(low, shared[0][0]), max(high, *(item[1] for item in shared))
        ranges[at:end] = [(low, high, number, first, first_strides)]
        return [(number, start - begin, strides, their) for _, _, number, begin, their in shared]


Handler = Callable[["Walker", Any], None]
HANDLERS: dict[type, Handler] = {}
SPECIALS: dict[str, Handler] = {}
FALLBACKS: list[Handler] = []


def handles(*types: type) -> Callable[[Handler], Handler]:
    """Register a handler for exact types."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(types, handler))
        return handler

    return register


def handles_named(*names: str) -> Callable[[Handler], Handler]:
    """Register a handler for classes of these full names and their subclasses, without importing them."""

    def register(handler: Handler) -> Handler:
        SPECIALS.update(dict.fromkeys(names, handler))
        return handler

    return register


class Walker:
    """One walk: what it wrote, and what it met on the way.

    Parameters
    ----------
    namespace : Mapping[str, object]
        The notebook's globals; functions that read them are identified by value.
    limit : int
        Visits before `TooLarge` is raised.
    """

    def __init__(self, namespace: Mapping[str, object], limit: int) -> None:
        self.namespace = namespace
        self.limit = limit
        self.out: list[bytes] = [b"provcrt value 1\n"]
        self.memo: dict[int, int] = {}
        self.numbered = 0
        # What was made for the walk alone must outlive it, or its id would be used again; inside of such,
        # `fresh` holds the ids that are nevertheless the value's own.
        self.keep: list[object] = []
        self.fresh: frozenset[int] | None = None
        self.regions = Regions()
        self.opaque: str | None = None
        self.objects: set[int] = set()
        self.types: set[int] = set()
        self.buffers: list[tuple[int, int]] = []
        self.guarded: list[tuple[int, int]] = []
        self.refs: set[str] = set()
        self.packages: set[str] = set()
        self.modules: set[str] = set()
        self.clock: set[str] = set()
        self.type_tokens: dict[type, bytes] = {}
        self.nodes = 0
        self.buffered = 0

    def walk(self, value: object) -> None:
        """Visit one object."""
        kind = type(value)
        if kind in ATOMS:
            self.atom(value)
            return
        self.nodes += 1
        if self.nodes > self.limit:
            raise TooLarge
        handler = HANDLERS.get(kind) or handler_for(kind)
        if self.fresh is not None and id(value) in self.fresh:
            fresh, self.fresh = self.fresh, None
            handler(self, value)
            self.fresh = fresh
        else:
            handler(self, value)

    def atom(self, value: Any) -> None:
        """Write an atom, or a flat container of atoms: marshal 2 sees neither identity nor interning."""
        self.out.append(marshal.dumps(value, 2))

    def token(self, tag: bytes, *atoms: Any) -> None:
        """Write a tag of the walk's own (marshal never starts with 0xff) and what tells its kind apart."""
        self.out.append(b"\xff" + tag + marshal.dumps(atoms, 2))

    def seen(self, value: object) -> bool:
        """Write a reference if `value` was met before; else give it a number and note its identity."""
        key = id(value)
        number = self.memo.get(key)
        if number is not None:
            self.out.append(b"\xff@" + number.to_bytes(4, "little"))
            return True
        self.memo[key] = self.numbered = self.numbered + 1
        self.keep.append(value)  # or its address may be another's later in this walk
        if self.fresh is None:
            self.objects.add(key)
        return False

    def met(self, value: object) -> bool:
        """Like `seen`, for objects that nobody can change: they do not tie slots together."""
        key = id(value)
        number = self.memo.get(key)
        if number is not None:
            self.out.append(b"\xff@" + number.to_bytes(4, "little"))
            return True
        self.memo[key] = self.numbered = self.numbered + 1
        self.keep.append(value)
        return False

    def forget(self, start: int, kinds: tuple[type, ...]) -> None:
        """Objects of some kinds, met since `keep` had `start` members, are written in full where they are met again."""
        for value in self.keep[start:]:
            if is_a(value, kinds):
                self.memo.pop(id(value), None)
                if is_a(value, FunctionType):
                    for part in (
                        value.__dict__,
                        value.__annotations__,
                        value.__defaults__,
                        value.__kwdefaults__,
                    ):
                        self.memo.pop(id(part), None)

    def temporary(self, value: object, owner: object = None) -> None:
        """Visit what was made for the walk: in it only `owner`'s own parts have an identity."""
        self.keep.append(value)
        own = _referents(owner) if owner is not None else frozenset()
        fresh, self.fresh = self.fresh, own
        try:
            self.walk(value)
        finally:
            self.fresh = fresh

    def real(self, values: Iterable[object]) -> None:
        """Visit parts that belong to the value itself."""
        fresh, self.fresh = self.fresh, None
        try:
            for value in values:
                self.walk(value)
        finally:
            self.fresh = fresh

    def content(self, data: Any, size: int) -> None:
        """Write raw bytes: short ones as they are, long ones by their digest."""
        self.buffered += size
        if size < BIG:
            self.out.append(b"\xff!" + size.to_bytes(8, "little") + bytes(data))
        else:
            self.out.append(b"\xff!" + size.to_bytes(8, "little") + xxhash.xxh3_128_digest(data))

    @property
    def ended(self) -> bool:
        """Whether it came to the end of a value within its limit."""
        return self.nodes <= self.limit

    def without_value(self, reason: str) -> None:
        """Say that the value cannot be told by its content; the walk goes on for what it meets."""
        self.opaque = self.opaque or reason
        self.token(b"?", reason)

    def digest(self, start: int = 0) -> str:
        """xxh3_128 of everything written since chunk `start`, in hex."""
        data = b"".join(self.out[start:])
        if b" at 0x" in data and _ADDRESS.search(data):
            self.clock.add(IN_TEXT)
        return xxhash.xxh3_128_hexdigest(data)


def handler_for(kind: type) -> Handler:
    """The handler of a type that has none of its own: opaque kinds, known bases, plain objects."""
    reason = opaque_reason(kind)
    if reason is not None:
        return SPECIALS.get(reason) or _opaque(reason)
    for base in mro_of(kind):
        special = SPECIALS.get(full_name(base))
        if special is not None:
            if not kind.__flags__ & (1 << 9):
                HANDLERS[kind] = special
            return special
    return FALLBACKS[0]


def _opaque(reason: str) -> Handler:
    def visit(walker: Walker, value: object) -> None:
        if not walker.seen(value):
            walker.without_value(reason)
            FALLBACKS[1](walker, value)

    return visit


def _referents(owner: object) -> frozenset[int]:
    """Ids of what `owner` really holds, its ``__dict__``'s values included."""
    own = gc.get_referents(owner)
    for part in list(own):
        if type(part) is dict:
            own.extend(part.values())
    return frozenset(map(id, own))


# --- containers -------------------------------------------------------------------------------------------


@handles(list)
def _list(walker: Walker, value: list[object]) -> None:
    if walker.seen(value):
        return
    if ATOMS.issuperset(map(type, value)):
        walker.atom(value)
        return
    walker.out.append(b"\xffL" + len(value).to_bytes(8, "little"))
    walk = walker.walk
    for item in value:
        walk(item)


@handles(tuple)
def _tuple(walker: Walker, value: tuple[object, ...]) -> None:
    if ATOMS.issuperset(map(type, value)):
        walker.atom(value)
        return
    if walker.met(value):
        return
    walker.out.append(b"\xffT" + len(value).to_bytes(8, "little"))
    for item in value:
        walker.walk(item)


@handles(dict)
def _dict(walker: Walker, value: dict[object, object]) -> None:
    if value is walker.namespace:
        walker.refs.add("*")
        walker.without_value("the notebook's namespace")
        return
    if walker.seen(value):
        return
    if ATOMS.issuperset(map(type, value.values())) and ATOMS.issuperset(map(type, value)):
        walker.atom(value)
        return
    walker.out.append(b"\xffD" + len(value).to_bytes(8, "little"))
    walk = walker.walk
    for key, item in value.items():
        walk(key)
        walk(item)


@handles(set)
def _set(walker: Walker, value: set[object]) -> None:
    if not walker.seen(value):
        members(walker, b"S", value)


@handles(frozenset)
def _frozenset(walker: Walker, value: frozenset[object]) -> None:
    if not walker.met(value):
        members(walker, b"Z", value)


def members(walker: Walker, tag: bytes, value: Iterable[Any]) -> None:
    """Write a set's members: in their order where hashing repeats it, as a reader sees it; else sorted."""
    items: list[Any] = list(value)
    if _STEADY.issuperset(map(type, items)):
        walker.token(tag)
        walker.atom(items)
        return
    if all(map(_is_steady, items)):
        walker.token(tag + b"s", len(items))
        for item in items:
            walker.walk(item)
        return
    if ATOMS.issuperset(map(type, items)):
        walker.token(tag + b"a")
        walker.out.append(marshal.dumps(frozenset(items), 2))
        return
    # By address, or by code of the notebook, which is not asked: no order of its own. Each member is written
    # alone.
    if len(items) > 1 and any(map(_lies, items)):
        walker.clock.add(BY_ADDRESS)
    chunks: list[bytes] = []
    out = walker.out
    order = sorted(items, key=_shape)
    for item in order:
        walker.out = []
        walker.walk(item)
        chunks.append(b"".join(walker.out))
    walker.out = out
    walker.token(tag + b"w", len(chunks))
    walker.out.extend(sorted(chunks))


def _lies(item: object) -> bool:
    """Whether an object of one of the notebook's classes is hashed by its address."""
    kinds = mro_of(type(item))
    how = next(dict_of(kind)["__hash__"] for kind in kinds if "__hash__" in dict_of(kind))
    return how is object.__hash__ and module_of(type(item)) == "__main__"


def _is_steady(item: object) -> bool:
    return type(item) in _STEADY or (type(item) is tuple and _STEADY.issuperset(map(type, item)))


def _shape(item: object) -> tuple[str, bytes]:
    # A steady order to visit in, so that references inside of the members get the same numbers in every
    # process.
    alone = Walker({}, 10_000)
    try:
        alone.walk(item)
    except Exception:
        return full_name(type(item)), b""
    return full_name(type(item)), alone.digest().encode()


def overlap(left: Iterable[tuple[int, int]], right: Iterable[tuple[int, int]]) -> bool:
    """Whether a memory range of `left` meets one of `right`; ranges are [start, end)."""
    ordered = sorted(right)
    starts = [start for start, _ in ordered]
    reach = 0
    ends = [reach := max(reach, end) for _, end in ordered]
    for start, end in left:
        before = bisect_left(starts, end)
        if before and start < end and ends[before - 1] > start:
            return True
    return False
