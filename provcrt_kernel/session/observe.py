"""What a cell did to the namespace: which slots have new versions, and which names share objects.

Only names that the cell could reach are looked at again, together with the co-variables they belong to; and every name
that is bound to another object than before. Co-variables are found by shared mutable objects and overlapping buffers
(Li et al., *Kishu: Time-Traveling for Computational Notebooks*, VLDB 2024, with memory ranges for views).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from provcrt_kernel.session import kinship
from provcrt_kernel.session.fingerprint import Fingerprint, fingerprint_group, walked
from provcrt_kernel.session.slots import Slots, State
from provcrt_kernel.session.walk import Walker
from provcrt_kernel.store.digest import digest

#: IPython's own names: history, results, and what every module has.
_IPYTHONS = re.compile(
    r"_{1,3}|_i{1,3}|_i?\d+|_[iod]h|In|Out|__(name|doc|loader|package|spec|builtins?|session|annotations)__|__warningregistry__|__vsc_.*|__pydevd.*"
)


def _own(name: str, identity: int, hidden: Mapping[str, object]) -> bool:
    """Whether a name that is bound to the value with this identity is the notebook's own: not IPython's, or bound anew."""
    return not _IPYTHONS.fullmatch(name) and (name not in hidden or id(hidden[name]) != identity)


def variables(namespace: Mapping[str, object], hidden: Mapping[str, object]) -> set[str]:
    """The notebook's own variables."""
    return {n for n, i in identities(namespace).items() if _own(n, i, hidden)}


def identities(namespace: Mapping[str, object]) -> dict[str, int]:
    """Identity of the value of each name, IPython's own included.

    It is asked twice a cell, and there may be thousands of names: not one step of Python's per name.
    """
    now = dict(namespace)  # in one piece: threads may bind names meanwhile
    return dict(zip(now, map(id, now.values()), strict=True))


@dataclass(frozen=True, slots=True)
class Change:
    """What became of the slots in one cell.

    Attributes
    ----------
    states
        New state of each variable that was bound, changed in place, or shares objects with others than before; without snapshots.
    deleted
        Variables that are gone.
    prints
        Fingerprints behind `states`.
    left
        Variables that are bound to another value than before, or gone: to another class, if they were bound to one.
    """

    states: dict[str, State] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    prints: dict[str, Fingerprint] = field(default_factory=dict)
    left: frozenset[str] = frozenset()


def observe(
    slots: Slots,
    namespace: Mapping[str, object],
    hidden: Mapping[str, object],
    before: Mapping[str, int],
    reached: Iterable[str],
    lineage: str,
    after: Mapping[str, int] | None = None,
) -> Change:
    """Compare the namespace with the table after something ran.

    Parameters
    ----------
    before
        `identities` before it ran.
    reached
        Names that it could read or bind; all others can only have been rebound.
    lineage
        Prefix of lineage versions, unique to this execution.
    after
        `identities` now, if they are known.
    """
    if after is None:
        after = identities(namespace)
    changed = [n for n, identity in after.items() if before.get(n) != identity]
    rebound = {n for n in changed if _own(n, after[n], hidden)}
    deleted = _deleted(before, after, changed, hidden)
    for name in deleted:
        kinship.leave(name, namespace)
    left = {n for n in rebound if kinship.enter(n, namespace[n], namespace)}.union(deleted)
    there = {n for n in reached if n in after and _own(n, after[n], hidden)}
    looked = there | rebound
    touched = frozenset(looked)
    groups = {m for n in (*looked, *deleted) for m in slots.group(n)}
    looked |= {m for m in groups if m in after and _own(m, after[m], hidden)}
    prints: dict[str, Fingerprint] = {}
    # the walk to what comes first in a co-variable goes on to the others; what walks hold on to may be large
    walks: dict[str, Walker] = {}
    for name in sorted(looked):
        prints[name], walk = walked(namespace[name], namespace)
        first, *others = slots.group(name)
        if others and first == name:
            walks[name] = walk
    made_of = {i for seen in prints.values() for i in seen.types}
    classes = (
        {id(v): n for n, v in namespace.items() if id(v) in made_of and _own(n, id(v), hidden)}
        if made_of
        else {}
    )
    states: dict[str, State] = {}
    for group in co_variables(prints):
        if not rebound.intersection(group) and _beyond(group, touched, slots, namespace, prints):
            continue
        joint = (
            joint_version(group, namespace, lineage, prints, walks.pop(group[0], None))
            if len(group) > 1
            else None
        )
        for name in group:
            state = _state(name, group if len(group) > 1 else (), joint, prints[name], lineage, classes)
            slot = slots.get(name)
            if slot and name not in rebound and _same(slot.state, state):
                continue
            states[name] = state
    # a co-variable is kept in one piece: where one member has a new state, so have all
    for name in list(states):
        for member in states[name].group:
            if member not in states:
                states[member] = _state(
                    member, states[name].group, states[name].joint, prints[member], lineage, classes
                )
    return Change(states, deleted, prints, frozenset(left))


def _deleted(
    before: Mapping[str, int], after: Mapping[str, int], changed: Iterable[str], hidden: Mapping[str, object]
) -> tuple[str, ...]:
    """Variables that are gone, or that are IPython's again."""
    gone = [n for n in changed if n in before and not _own(n, after[n], hidden)]
    if len(after) - sum(n not in before for n in changed) < len(before):
        gone += [n for n in before if n not in after]
    return tuple(n for n in gone if _own(n, before[n], hidden))


def _beyond(
    group: tuple[str, ...],
    touched: frozenset[str],
    slots: Slots,
    namespace: Mapping[str, object],
    prints: Mapping[str, Fingerprint],
) -> bool:
    """Whether members without a fingerprint were out of reach, and what was in reach is what it was.

    A plot's grid holds a table; the table does not lead to the grid. So long as the names in reach are bound to the very
    objects that the grid holds, and these have not changed, nothing of the grid has.
    """
    if all(prints[n].digest is not None for n in group):
        return False
    for name in group:
        slot = slots.get(name)
        if slot is None or slot.state.group != group:
            return False
        if name in touched and (
            prints[name].digest != slot.state.version
            or not any(id(namespace[name]) in prints[other].objects for other in group if other != name)
        ):
            return False
    return True


def _same(old: State, new: State) -> bool:
    return (
        new.opaque is None
        and old.version == new.version
        and old.group == new.group
        and old.joint == new.joint
    )


def _state(
    name: str,
    group: tuple[str, ...],
    joint: str | None,
    seen: Fingerprint,
    lineage: str,
    classes: Mapping[int, str],
) -> State:
    kin, former = kinship.kin(seen)
    kin |= {n for i in seen.types if (n := classes.get(i))}
    return State(
        version=seen.digest or f"{lineage}:{name}",
        group=group,
        joint=joint,
        refs=tuple(sorted(seen.refs)),
        packages=tuple(sorted(seen.packages)),
        modules=tuple(sorted(seen.modules)),
        clock=tuple(sorted(seen.clock)),
        kin=tuple(sorted(kin - {name} if name not in former else kin)),
        former=tuple(sorted(former)),
        opaque=seen.opaque,
        size=seen.size,
    )


def joint_version(
    group: tuple[str, ...],
    namespace: Mapping[str, object],
    lineage: str,
    prints: Mapping[str, Fingerprint] = MappingProxyType({}),
    walk: Walker | None = None,
) -> str:
    """Version of a co-variable as a whole: the values of its names and what they share.

    Parameters
    ----------
    prints
        Fingerprints of its names, as far as they are known.
    walk
        The walk of the first one's.
    """
    digests: tuple[str | None, ...] = tuple(prints[n].digest for n in group if n in prints)
    if None not in digests:
        first = (digests[0], walk) if digests and digests[0] and walk is not None and walk.ended else None
        digests = fingerprint_group({n: namespace[n] for n in group}, namespace, first=first)
    if None in digests:
        return f"{lineage}:{','.join(group)}"
    return digest("\n".join(d or "" for d in digests).encode())


def co_variables(prints: Mapping[str, Fingerprint]) -> list[tuple[str, ...]]:
    """Partition names into co-variables.

    Classes that are met only as types of instances come back through the class registry, so they tie no names together; nor does
    memory between owners that copy on write.
    """
    parent = {n: n for n in prints}

    def find(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    owner: dict[int, str] = {}
    for name, seen in prints.items():
        for identity in seen.objects - seen.types:
            parent[find(name)] = find(owner.setdefault(identity, name))
    for left, right in _overlaps(prints):
        parent[find(left)] = find(right)
    groups: dict[str, list[str]] = {}
    for name in prints:
        groups.setdefault(find(name), []).append(name)
    return [tuple(sorted(group)) for group in groups.values()]


def _overlaps(prints: Mapping[str, Fingerprint]) -> Iterator[tuple[str, str]]:
    """Pairs of names of which one can write memory that the other reads."""
    spans = sorted(
        (start, end, name, guarded)
        for name, seen in prints.items()
        for guarded, ranges in ((False, seen.buffers), (True, seen.guarded))
        for start, end in ranges
    )
    active: list[tuple[int, str, bool]] = []
    for start, end, name, guarded in spans:
        active = [a for a in active if a[0] > start]
        yield from ((name, other) for _, other, also in active if other != name and not (guarded and also))
        active.append((end, name, guarded))
