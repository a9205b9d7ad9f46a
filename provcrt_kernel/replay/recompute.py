"""Running a cell again for its state alone.

It gets its inputs in the versions it had, on objects of their own, with the files, the environment and the ambient state of
then; what it shows is dropped; and afterwards everything is again what it was before. Whether it made the same thing again
is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from provcrt_kernel.replay.history import History
from provcrt_kernel.replay.record import Record
from provcrt_kernel.replay.world import World
from provcrt_kernel.session.ambience import Ambience
from provcrt_kernel.session.fingerprint import fingerprint
from provcrt_kernel.session.slots import Slots, State, ambient

_MISSING = object()


@dataclass
class Recompute:
    """Runs executions of a session again.

    Attributes
    ----------
    run
        Runs a cell's text in the namespace without showing anything; returns whether it ended as `Record.error` says.
    quiet
        A block in which nothing is shown.
    changed
        Variables that came out different; whoever reports them clears it.
    """

    slots: Slots
    history: History
    world: World
    ambience: Ambience
    namespace: dict[str, object]
    run: Callable[[Record], bool]
    quiet: Callable[[], AbstractContextManager[None]] = nullcontext
    changed: list[str] = field(default_factory=list)

    def again(self, index: int, inputs: Mapping[str, object]) -> dict[str, object]:
        """Run an execution again; returns the variables that it made, not bound, without those that are only kept as they were.

        Raises
        ------
        Unlike
            The world cannot be what it was.
        KeyboardInterrupt
            The reader had enough of it.
        """
        record = self.history[index].record
        assert record is not None
        names = {n for n in (*record.reads, *record.writes, *record.deletes, *inputs) if _variable(n)}
        # all that is bound, too: ``except … as e`` unbinds what it did not find when it was recorded
        bound = {n: value for n, value in self.namespace.items() if _variable(n)}
        saved = {**bound, **{n: self.namespace.get(n, _MISSING) for n in names}}
        same, made = False, dict[str, object]()
        with self.world.then(index):
            try:
                self.namespace.update(inputs)
                absent = [n for n, version in record.reads.items() if version == "" and _variable(n)]
                if record.everything:  # it may list the names that there are
                    absent += [n for n in self.slots.names() if n not in record.reads and n not in inputs]
                for name in absent:
                    self.namespace.pop(name, None)
                self._enter_ambient(record, index)
                same = self.run(record)
                made = {n: self.namespace[n] for n in record.writes if n in self.namespace}
            finally:
                self._leave_ambient(record)
                for name, value in saved.items():
                    if value is _MISSING:
                        self.namespace.pop(name, None)
                    else:
                        self.namespace[name] = value
        self._check(record, made, same, index)
        return made

    def _enter_ambient(self, record: Record, index: int) -> None:
        """Give the cell the ambient state it ran in, as far as it was recorded."""
        states: dict[str, State] = {}
        for name, version in record.reads.items():
            slot = self.slots.get(name)
            if not self.ambience.knows(name) or (
                slot is not None and slot.live and slot.state.version == version
            ):
                continue
            state = self.history.state(name, version, index) or self.ambience.first(name, version)
            if state is not None:
                states[name] = state
        self.ambience.restore(states)
        for name in states:
            if (slot := self.slots.get(name)) is not None:
                slot.live = False

    def _leave_ambient(self, record: Record) -> None:
        """What the cell moved is to be restored, unless it is now as the session has it."""
        for name, state in record.writes.items():
            if self.ambience.knows(name) and (slot := self.slots.get(name)) is not None:
                # an import that has been done before changes nothing any more
                slot.live = slot.state.version == state.version and self.ambience.holds(name, state)

    def _check(self, record: Record, made: dict[str, object], same: bool, index: int) -> None:
        """A recomputed value that differs from the recorded one is a new version: what depends on it runs again.

        Unless it was kept as it was.
        """
        for name, state in record.writes.items():
            if ambient(name) or state.opaque is not None:
                continue
            digest = fingerprint(made[name], self.namespace).digest if name in made else None
            if same and digest == state.version:
                continue
            if same and state.kept is not None:
                for member in state.group or (name,):
                    made.pop(member, None)
                continue
            self.changed.append(name)
            slot = self.slots.get(name)
            if slot is None or slot.state.version != state.version:
                continue
            if name not in made:
                self.slots.drop(name)
                continue
            fresh = State(
                digest or f"x:{record.id}:again:{name}",
                packages=state.packages,
                refs=state.refs,
                modules=state.modules,
            )
            self.namespace[name] = made[name]
            self.slots.set(name, fresh, live=True, maker=index)


def _variable(name: str) -> bool:
    """Whether a name is one of the notebook's variables: neither a slot outside of the namespace nor Python's own."""
    return not ambient(name) and not (name.startswith("__") and name.endswith("__"))
