"""Results of cells under the names that IPython gives them: ``Out``, ``_``, ``__``, ``___`` and ``_n``.

A replayed cell has displayed its result, but nothing has loaded it. Its place among the latest is noted at once; the value comes
when a cell asks for one of these names.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from provcrt_kernel.replay.engine import Engine


class Results:
    """Results of one shell, in the order in which they were displayed."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._latest: deque[tuple[int, tuple[Any, ...]]] = deque(maxlen=3)

    def replayed(self, count: int) -> None:
        """A replayed cell displayed one; it is the latest, though not loaded."""
        self._latest.append((count, ()))

    def executed(self, count: int) -> None:
        """A cell has run, and may have displayed one."""
        last = self._shell.last_execution_result
        if last is not None and last.result is not None:
            self._latest.append((count, (last.result,)))

    def bring(self, engine: Engine) -> None:
        """Results of replayed cells come to ``Out``, ``_n`` and ``_``, in the order of their cells.

        Raises
        ------
        CannotRebuild
            A variable that was a result cannot be had.
        """
        found = engine.results()
        namespace, hook = self._shell.user_ns, self._shell.displayhook
        known = namespace["_oh"]
        for key, value in found.items():
            known[key] = namespace[f"_{key}"] = value
        for name, (key, value) in zip(("_", "__", "___"), reversed(self._latest), strict=False):
            if value or key in known:
                setattr(hook, name, value[0] if value else known[key])
                namespace[name] = getattr(hook, name)
