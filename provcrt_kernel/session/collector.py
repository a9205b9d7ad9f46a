"""Garbage collection rests while a cell is looked at, for what that allocates is gone again by itself; and while libraries and
values are loaded, for these stay.

Else the cells' own collections come earlier than on a kernel that looks at nothing, and a full one takes tens of milliseconds
where large libraries are loaded.
"""

from __future__ import annotations

import contextlib
import gc


class Rest(contextlib.ContextDecorator):
    """Nothing is collected on the way; afterwards all is as before."""

    def __init__(self) -> None:
        self._depth = 0
        self._interrupted = False

    def __enter__(self) -> None:
        if self._depth == 0:
            self._interrupted = gc.isenabled()
            gc.disable()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            if self._interrupted:
                gc.enable()
            self._interrupted = False

    def enabled(self) -> bool:
        """Whether the notebook's own code has garbage collected."""
        return self._interrupted or gc.isenabled()


#: Of the collector there is one for each process.
resting = Rest()
