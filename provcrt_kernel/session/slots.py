"""The table of slots: which version each piece of session state has, and whether it is live or deferred.

A slot is a variable of the notebook, or an *ambient* slot, whose name starts with ``~``:

===================  ==============================================================
``~random`` …        an adapter's state (`provcrt_kernel.session.ambient`)
``~env:NAME``        one environment variable, as far as cells read or change it
``~package:NAME``    an installed package that the session has imported
``~module:NAME``     a local module, with the state it holds
===================  ==============================================================

The table is the session as its reader believes it to be. A slot that is *live* has its value in the namespace; a
*deferred* one has it in the store, or must be recomputed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

import msgspec

from provcrt_kernel.session.opaque import DRAWN
from provcrt_kernel.session.source import closure

ABSENT = ""

ANY = "*"

#: Why a module's own state has no content digest: a copy of it would not be the module's.
OWNED = "state of module "

#: The same of what something outside of the notebook holds, without being known by name.
HELD = "state that something outside of the notebook holds"


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version of one slot, and how to get its value back.

    Attributes
    ----------
    version
        Content digest, or lineage (starts with ``x:``) where the value has no stable content.
    group
        Names of the co-variable, sorted, this one included; empty: the name alone.
    joint
        Version of the co-variable as a whole: which parts its names share. None for a name alone.
    kept
        Blob of the co-variable's snapshot in the store; None: the value must be recomputed.
    plain
        An ambient slot's value in msgpack.
    refs, packages, modules, clock
        Names, packages, local modules and entropy that code inside the value can reach.
    kin
        Names bound to the notebook classes that the value is made of: a change of the class is a change of it.
    former
        Those of them that were bound to another class by then.
    opaque
        Why the value has no content digest.
    """

    version: str
    group: tuple[str, ...] = ()
    joint: str | None = None
    kept: str | None = None
    plain: bytes | None = None
    refs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    clock: tuple[str, ...] = ()
    kin: tuple[str, ...] = ()
    former: tuple[str, ...] = ()
    opaque: str | None = None
    size: int = 0

    @property
    def owned(self) -> bool:
        """Whether the value is a module's own state, or another's: no copy would be."""
        return self.opaque is not None and self.opaque.startswith((OWNED, HELD))

    @property
    def owner(self) -> str | None:
        """The module whose own state the value is."""
        owned = self.opaque is not None and self.opaque.startswith(OWNED)
        return self.opaque.removeprefix(OWNED) if owned and self.opaque else None


class Slot(msgspec.Struct):
    """A state in force: live or deferred, and which execution made it.

    `bound` orders the slots by when their value came to be, so that a live value older than a class or function that it refers
    to is not taken for one made with it. `former` are the names of its `State.kin` that the reader believes to be bound to
    another class by now; for those in `parted` that is so of the live value, too.
    """

    state: State
    live: bool
    maker: int | None = None
    bound: int = 0
    former: frozenset[str] = frozenset()
    parted: frozenset[str] = frozenset()


def ambient(name: str) -> bool:
    """Whether a slot lies outside of the namespace."""
    return name.startswith("~")


def shown(name: str) -> str:
    """A slot's name as users see it in reasons and tables."""
    if not ambient(name):
        return f"variable {name}"
    kind, _, rest = name[1:].partition(":")
    return {
        "env": f"environment variable {rest}",
        "package": f"package {rest}",
        "module": f"module {rest}",
    }.get(kind, kind)


class Slots:
    """All slots of a session."""

    def __init__(self) -> None:
        self._slots: dict[str, Slot] = {}
        self._clock = 0
        # a cell costs what it touches: none of these is found by walking through all variables
        self._ambient: dict[str, None] = {}
        self._held: set[str] = set()
        self._owned: set[str] = set()
        self._made_of_classes: set[str] = set()
        self._of_former: set[str] = set()
        #: Told of each deferred slot whose value has come.
        self.on_load: Callable[[str], None] | None = None

    def copy(self) -> Slots:
        """Another table with the same slots."""
        other = Slots()
        for name, slot in self._slots.items():
            other._put(name, msgspec.structs.replace(slot))
        other._clock = self._clock
        return other

    def __contains__(self, name: str) -> bool:
        return name in self._slots

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def get(self, name: str) -> Slot | None:
        """The slot, or None if it does not exist."""
        return self._slots.get(name)

    def names(self) -> list[str]:
        """Variables, live and deferred."""
        return [n for n in self._slots if not ambient(n)]

    def ambient_names(self) -> list[str]:
        """Ambient slots, live and deferred."""
        return list(self._ambient)

    def version(self, name: str) -> str:
        """The slot's version; `ABSENT` if it does not exist."""
        slot = self._slots.get(name)
        return slot.state.version if slot else ABSENT

    def deferred(self, names: Iterable[str] | None = None) -> list[str]:
        """Which of `names` (default: all) have no live value."""
        return [
            n for n in (self._slots if names is None else names) if (s := self._slots.get(n)) and not s.live
        ]

    def set(self, name: str, state: State, *, live: bool, maker: int | None) -> None:
        """A slot takes a new state."""
        self._clock += 1
        former = frozenset(state.former)
        self._put(name, Slot(state, live, maker, self._clock, former, former))

    def leave(self, names: Iterable[str], *, parted: bool) -> None:
        """Names are bound to their classes no longer: what was made of these is made of former ones.

        Parameters
        ----------
        parted
            Whether that is so of live values, too; else it is what the reader believes, and nothing has been made anew yet.
        """
        gone = set(names)
        for name in self.kin(gone):
            slot = self._slots[name]
            left = gone.intersection(slot.state.kin)
            slot.former |= left
            if parted or not slot.live:
                slot.parted |= left
            self._of_former.add(name)

    def part(self, name: str, cls: str) -> None:
        """A live value is of a former class indeed: the name of that class has been bound to another object."""
        self._slots[name].parted |= {cls}

    def former(self, names: Collection[str], of: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Those of `names` that are made of former classes of the names in `of`, with these, sorted."""
        found = {n: self._slots[n].former.intersection(of) for n in self._of_former if n in names}
        return {n: tuple(sorted(classes)) for n, classes in found.items() if classes}

    def _put(self, name: str, slot: Slot) -> None:
        self._slots[name] = slot
        if ambient(name):
            self._ambient[name] = None
        (self._held.add if slot.state.opaque == HELD else self._held.discard)(name)
        (self._owned.add if slot.state.owner else self._owned.discard)(name)
        (self._made_of_classes.add if slot.state.kin else self._made_of_classes.discard)(name)
        (self._of_former.add if slot.former else self._of_former.discard)(name)

    def load(self, name: str) -> None:
        """A deferred slot's value has come to the namespace."""
        self._clock += 1
        slot = self._slots[name]
        slot.live, slot.bound, slot.parted = True, self._clock, slot.former
        if self.on_load is not None:
            self.on_load(name)

    def defer(self, name: str) -> None:
        """A slot's value is in the namespace no longer."""
        self._slots[name].live = False

    def drop(self, name: str) -> None:
        """The slot exists no longer."""
        self._slots.pop(name, None)
        self._ambient.pop(name, None)
        self._held.discard(name)
        self._owned.discard(name)
        self._made_of_classes.discard(name)
        self._of_former.discard(name)

    def group(self, name: str) -> tuple[str, ...]:
        """The co-variable that `name` belongs to, as far as its members still exist in it."""
        slot = self._slots.get(name)
        if slot is None or not slot.state.group:
            return (name,)
        joint = slot.state.joint
        return tuple(n for n in slot.state.group if (s := self._slots.get(n)) and s.state.joint == joint)

    def held(self) -> frozenset[str]:
        """Live slots that something outside of the notebook holds as well: any cell may change them."""
        return frozenset(n for n in self._held if self._slots[n].live)

    def owned(self, modules: Iterable[str]) -> frozenset[str]:
        """Live slots whose values are these modules' own state: who can reach a module may change them."""
        wanted = set(modules) if self._owned else set()
        return frozenset(n for n in self._owned if (s := self._slots[n]).live and s.state.owner in wanted)

    def named_by(self, modules: Iterable[str]) -> frozenset[str]:
        """Live variables in whose values something is known by a name in these local modules."""
        wanted = set(modules)
        if not wanted:
            return frozenset()
        return frozenset(
            n
            for n, s in self._slots.items()
            if s.live and not wanted.isdisjoint(s.state.modules) and not ambient(n)
        )

    def kin(self, classes: Iterable[str]) -> tuple[str, ...]:
        """Slots whose values are made of the notebook classes that `classes` are bound to, sorted."""
        wanted = set(classes)
        made = self._made_of_classes
        return tuple(sorted(n for n in made if not wanted.isdisjoint(self._slots[n].state.kin)))

    def refs(self, name: str) -> tuple[str, ...]:
        """Names that code inside the slot's value can read."""
        slot = self._slots.get(name)
        return slot.state.refs if slot else ()

    def reach(self, names: Iterable[str]) -> frozenset[str]:
        """`names` and every name that their values' code can read; contains ``*`` if that may be any."""
        return closure(names, self.refs)

    def union(self, names: Iterable[str], field: str) -> frozenset[str]:
        """One of the states' set-like fields (packages, modules, clock), joined over `names`."""
        found: set[str] = set()
        for name in names:
            slot = self._slots.get(name)
            if slot is not None:
                found.update(getattr(slot.state, field))
        return frozenset(found)

    def modules(self, names: Iterable[str]) -> frozenset[str]:
        """Local modules that code inside the values of `names` can reach, and those that these reach in turn."""
        start = self.union(names, "modules") | {n for n in names if f"~module:{n}" in self._slots}
        return closure(start, lambda module: s.state.modules if (s := self.get(f"~module:{module}")) else ())

    def lasting(self, name: str) -> bool:
        """Whether letting go of a value may do something: close a file, end a generator, run a ``__del__``."""
        slot = self._slots.get(name)
        if slot is None or slot.state.owned or slot.state.opaque == DRAWN:
            return False
        return slot.state.opaque is not None or (slot.state.kept is None and bool(slot.state.kin))

    def fresh(self, name: str) -> bool:
        """Whether a live value is younger than all its code refers to, or made with it: a co-variable is set in one piece."""
        slot = self._slots.get(name)
        if slot is None or not slot.live:
            return False
        mates = self.group(name)
        return all(
            r in mates or (other := self._slots.get(r)) is None or other.bound <= slot.bound
            for r in slot.state.refs
        )
