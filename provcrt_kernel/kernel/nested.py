"""Awaiting where nothing can be awaited: a coroutine runs to its end in a callback of the very loop that it needs.

A cell with ``await`` at its top level that runs again for its state is run by a call deep inside the kernel, while the
kernel's loop waits for that call to return. Its tasks, locks and generators belong to this loop, so another will not do.
The loop is turned by hand, and everything else that it has to do is done meanwhile, as in a cell that awaits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def run_nested(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine and return its result, inside of a loop that runs or of none."""
    try:
        loop: Any = asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    outer = asyncio.current_task(loop)
    waiting = len(loop._ready)
    if outer is not None:
        asyncio.tasks._leave_task(loop, outer)
    try:
        task = loop.create_task(coroutine)
        while not task.done():
            loop._run_once()
    finally:
        if outer is not None:
            asyncio.tasks._enter_task(loop, outer)
        # the outer turn has counted what was ready, and takes as many
        for _ in range(waiting):
            loop.call_soon(_nothing)
    return task.result()


def _nothing() -> None:
    return None
