"""Sessions without a kernel: an engine, a namespace, and a tracer that sees no files, all in the test's own process."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from provcrt_kernel.replay.cell import Outcome
from provcrt_kernel.replay.engine import Engine
from provcrt_kernel.replay.record import Record
from provcrt_kernel.session.source import read_source
from provcrt_kernel.store import Store
from provcrt_kernel.trace import Span

KEY = bytes(range(32))


class Blind:
    """A tracer that never sees anything, and says that this is all there was."""

    mechanism = "seccomp"
    reason = ""
    page = None

    def begin(self, name: str) -> None:
        pass

    def end(self) -> Span:
        return Span("")

    def close(self) -> None:
        pass


class Session:
    """Cells one after the other, looked up and recorded as in a kernel."""

    def __init__(self, store: Store, *, thrifty: bool = False) -> None:
        self.namespace: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        hidden = dict(self.namespace)
        self.engine = Engine(store, Blind(), self.namespace, hidden, self._again, thrifty=thrifty)
        self.engine.ambience.start()  # what `start` does besides is for a process that has but one session
        self.count = 0

    def run(self, text: str) -> str:
        """Run or replay one cell; returns what became of it."""
        self.count += 1
        source = read_source(text, str, context="")
        decision = self.engine.decide(source, f"{self.count}", self.count)
        if decision.record is not None:
            return self.engine.replay(decision.record, source, f"{self.count}", self.count).status
        recomputed = self.engine.prepare(source)
        self.engine.begin(source, f"{self.count}", self.count, decision.reason, recomputed)
        error = None
        try:
            exec(text, self.namespace)
        except Exception as raised:
            error = (type(raised).__name__, str(raised), ())
        return self.engine.finish(Outcome(error=error)).status

    def _again(self, record: Record) -> bool:
        with contextlib.suppress(Exception):
            exec(record.text, self.namespace)
            return record.error is None
        return record.error is not None

    def variables(self) -> dict[str, Any]:
        """Everything live, after everything was made live."""
        self.engine.ensure(self.engine.slots.names())
        return {n: v for n, v in self.namespace.items() if not n.startswith("__")}


def open_store(folder: Path) -> Store:
    """A store with a key of its own."""
    return Store.open(folder, key=KEY)
