"""Whose state a variable's value is: what a module or something else outside of the notebook holds as well is not kept.

A copy would not be what they hold. So it comes back only by running again the cells that made it so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import msgspec

from provcrt_kernel.replay.cell import Running
from provcrt_kernel.replay.instruments import Instruments
from provcrt_kernel.session.effects import holds_owned, owner
from provcrt_kernel.session.held import changeable, held
from provcrt_kernel.session.holdings import Holdings
from provcrt_kernel.session.observe import Change
from provcrt_kernel.session.slots import HELD, OWNED, State


def others(why: str, explained: set[str]) -> bool:
    """Whether a variable is held by something outside of the notebook whose state no slot shows to have changed."""
    return why == HELD or (
        why.startswith(OWNED) and why.removeprefix(OWNED).partition(".")[0] not in explained
    )


class Belonging:
    """Tells which variables that a cell changed belong to others."""

    def __init__(self, tools: Instruments) -> None:
        self._tools = tools

    def owned(self, change: Change, running: Running, held_there: Mapping[str, Holdings]) -> Change:
        """Values that are a module's own state cannot be kept as copies: their cell is run again to get at them.

        Parameters
        ----------
        held_there
            What the local modules hold that the cell could reach.
        """
        tools = self._tools
        states = self._shared(change, held_there)
        for name, state in states.items():
            if state.owned:
                continue
            value = tools.namespace[name]
            old = tools.slots.get(name)
            why = (old.state.opaque if old and running.identities.get(name) == id(value) else None) or ""
            if module := owner(value, running.source, tools.namespace) or holds_owned(
                value, running.source, tools.namespace
            ):
                why = f"{OWNED}{module}"
            if why.startswith((OWNED, HELD)):
                states[name] = self._not_kept(state, why)
        # what holds such a value is no copy either, even when the name it came by is gone
        for name, state in states.items():
            whys = (s.opaque for n in state.group if (s := states.get(n)) and s.opaque)
            if shared := next((w for w in whys if w.startswith((OWNED, HELD))), None):
                states[name] = self._not_kept(state, shared)
        return dataclasses.replace(change, states=states)

    def _shared(self, change: Change, held_there: Mapping[str, Holdings]) -> dict[str, State]:
        """New states; and those of variables whose objects a module has come to hold, unchanged as they are."""
        slots = self._tools.slots
        states = dict(change.states)
        holding = {module: there for module, there in held_there.items() if there}
        for name, seen in change.prints.items() if holding else ():
            if not (seen.objects or seen.buffers or seen.guarded):
                continue
            module = next((m for m, there in holding.items() if there.share(seen)), None)
            if module is None:
                continue
            for member in (name,) if name in states else slots.group(name):
                slot = slots.get(member)
                state = states.get(member) or (slot.state if slot else None)
                if state is not None and not state.owned and change.prints.keys() >= set(state.group):
                    states[member] = self._not_kept(state, f"{OWNED}{module}")
        return states

    def _not_kept(self, state: State, why: str) -> State:
        """A state of what belongs to others: who reads it reads the local module that it belongs to."""
        state = msgspec.structs.replace(state, opaque=why, kept=None)
        module = state.owner
        if module in self._tools.modules.local() and module not in state.modules:
            state = msgspec.structs.replace(state, modules=tuple(sorted((*state.modules, module))))
        return state

    def held(self, change: Change, running: Running) -> Change:
        """Variables that the cell handed to others, and those that functions refer to which it handed to them."""
        tools = self._tools
        mentioned = (running.reached | change.states.keys()) & change.prints.keys()
        names = held(mentioned, change.prints, tools.namespace)
        refs = set(running.source.inner).union(*(change.prints[n].refs for n in mentioned))
        names |= {n for n in refs if changeable(n, change.prints, tools.namespace)}
        # what an earlier cell made and this one only changed would be changed twice by running this one again
        names = {n for n in names if running.identities.get(n) != id(tools.namespace[n])}
        if not names:
            return change
        states = dict(change.states)
        known = {
            n: s for n in change.prints if (s := states.get(n) or ((o := tools.slots.get(n)) and o.state))
        }
        names |= {member for n in names if n in known for member in known[n].group}
        for name in names & known.keys():
            state = known[name]
            if not state.owned:
                states[name] = msgspec.structs.replace(state, opaque=HELD, kept=None)
        return dataclasses.replace(change, states=states)
