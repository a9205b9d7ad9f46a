"""What the kernel says of itself: one line on stderr, and never the same twice."""

from __future__ import annotations

import sys

from provcrt_kernel.replay.engine import Engine


class Notices:
    """Lines that the reader has to know."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def warn(self, line: str) -> None:
        """Say a line, whether it was said before or not."""
        print(f"provcrt: {line}", file=sys.stderr, flush=True)

    def once(self, line: str) -> None:
        """Say a line if it is new."""
        if line not in self._said:
            self._said.add(line)
            self.warn(line)

    def of(self, engine: Engine) -> None:
        """Say what the engine and its store have noticed since."""
        while engine.notices:
            self.once(engine.notices.pop(0))
        while engine.store.damaged:
            self.warn(engine.store.damaged.pop(0))
