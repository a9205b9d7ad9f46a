"""What a cell did to the namespace: which slots have new versions, and which names share objects.

Only names that the cell could reach are looked at again, together with the co-variables they belong to; and every name
that is bound to another object than before. Co-variables are found by shared mutable objects and overlapping buffers
(Li et al., *Kishu: Time-Traveling for Computational Notebooks*, VLDB 2024, with memory ranges for views).
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from provcrt_kernel.session.fingerprint import Fingerprint, fingerprint, fingerprint_group
from provcrt_kernel.session.slots import Slots, State

#: IPython's own names: history, results, and what every module has.
_OWN = re.compile(
    r"_{1,3}|_i{1,3}|_i?\d+|_[iod]h|In|Out|__(name|doc|loader|package|spec|builtins?|session|annotations)__|__vsc_.*|__pydevd.*"
)


def is_variable(name: str, namespace: Mapping[str, object], hidden: Mapping[str, object]) -> bool:
    """Whether `name` is the notebook's own, not one that IPython put there and nobody rebound."""
    if _OWN.fullmatch(name):
        return False
    return name not in hidden or hidden[name] is not namespace.get(name)


def variables(namespace: Mapping[str, object], hidden: Mapping[str, object]) -> dict[str, int]:
    """Identity of the value of each of the notebook's variables."""
    own = _OWN.fullmatch
    return {n: id(v) for n, v in list(namespace.items()) if not (own(n) or (n in hidden and hidden[n] is v))}


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
    """

    states: dict[str, State] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    prints: dict[str, Fingerprint] = field(default_factory=dict)


def observe(
    slots: Slots,
    namespace: Mapping[str, object],
    hidden: Mapping[str, object],
    before: Mapping[str, int],
    reached: Iterable[str],
    lineage: str,
) -> Change:
    """Compare the namespace with the table after something ran.

    Parameters
    ----------
    before
        `variables` before it ran.
    reached
        Names that it could read or bind; all others can only have been rebound.
    lineage
        Prefix of lineage versions, unique to this execution.
    """
    after = variables(namespace, hidden)
    rebound = {n for n, identity in after.items() if before.get(n) != identity}
    deleted = tuple(n for n in before if n not in after)
    looked = {n for n in reached if n in after} | rebound
    looked |= {m for n in list(looked) for m in slots.group(n) if m in after}
    looked |= {m for n in deleted for m in slots.group(n) if m in after}
    prints = {n: fingerprint(namespace[n], namespace) for n in sorted(looked)}
    states: dict[str, State] = {}
    for group in co_variables(prints, namespace):
        joint = fingerprint_group({n: namespace[n] for n in group}, namespace)[0] if len(group) > 1 else None
        if len(group) > 1 and joint is None:
            joint = f"{lineage}:{','.join(group)}"
        for name in group:
            state = _state(name, group if len(group) > 1 else (), joint, prints[name], lineage)
            slot = slots.get(name)
            if slot and name not in rebound and _same(slot.state, state):
                continue
            states[name] = state
    # a co-variable is kept in one piece: where one member has a new state, so have all
    for name in list(states):
        for member in states[name].group:
            if member not in states:
                states[member] = _state(
                    member, states[name].group, states[name].joint, prints[member], lineage
                )
    return Change(states, deleted, prints)


def _same(old: State, new: State) -> bool:
    return (
        new.opaque is None
        and old.version == new.version
        and old.group == new.group
        and old.joint == new.joint
    )


def _state(name: str, group: tuple[str, ...], joint: str | None, seen: Fingerprint, lineage: str) -> State:
    return State(
        version=seen.digest or f"{lineage}:{name}",
        group=group,
        joint=joint,
        refs=tuple(sorted(seen.refs)),
        packages=tuple(sorted(seen.packages)),
        modules=tuple(sorted(seen.modules)),
        clock=tuple(sorted(seen.clock)),
        opaque=seen.opaque,
        size=seen.size,
    )


def co_variables(prints: Mapping[str, Fingerprint], namespace: Mapping[str, object]) -> list[tuple[str, ...]]:
    """Partition names into co-variables.

    Notebook classes and functions that a name is bound to are shared by reference through the class registry, so sharing one of
    them does not tie names together.
    """
    parent = {n: n for n in prints}

    def find(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    by_name = {
        id(v) for v in namespace.values() if isinstance(v, type | types.FunctionType | types.ModuleType)
    }
    owner: dict[int, str] = {}
    spans: list[tuple[int, int, str]] = []
    for name, seen in prints.items():
        for identity in seen.objects:
            if identity not in by_name:
                parent[find(name)] = find(owner.setdefault(identity, name))
        spans += [(start, end, name) for start, end in seen.buffers]
    spans.sort()
    reach, last = -1, ""
    for start, end, name in spans:
        if start < reach:
            parent[find(name)] = find(last)
        if end > reach:
            reach, last = end, name
    groups: dict[str, list[str]] = {}
    for name in prints:
        groups.setdefault(find(name), []).append(name)
    return [tuple(sorted(group)) for group in groups.values()]
