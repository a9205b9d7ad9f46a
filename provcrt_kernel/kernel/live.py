"""What a page that shows the notebook is told while it is open, and what it asks for: the comm ``provcrt``.

```
page → kernel   preview {request, cells}   order {cells}   afresh {cells}   recording {on}
kernel → page   session   cells   stale   preview   error
```

The comm is spoken here and not by ipykernel's manager, whose comms run the notebook's callbacks. Messages are answered between
cells, on the main thread, whichever subshell they come over; as long as no page has opened it, all that is done is to remember
what was said of each cell anyway.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from provcrt_kernel.kernel.cells import place, wish
from provcrt_kernel.replay.preview import Asked, Expected, preview
from provcrt_kernel.replay.stale import Ran, stale

if TYPE_CHECKING:
    from provcrt_kernel.kernel.kernel import ProvcrtKernel

TARGET = "provcrt"
#: Pages told at the same time: one that was reloaded does not say good-bye.
_PAGES = 8


class Cell(msgspec.Struct, frozen=True):
    """A code cell as a page shows it."""

    id: str
    source: str
    tags: tuple[str, ...] = ()


class Preview(msgspec.Struct, frozen=True, tag_field="type", tag="preview"):
    """What would running these cells, in this order, do?"""

    request: int
    cells: tuple[Cell, ...]


class Order(msgspec.Struct, frozen=True, tag_field="type", tag="order"):
    """This is how the cells stand in the notebook."""

    cells: tuple[str, ...]


class Afresh(msgspec.Struct, frozen=True, tag_field="type", tag="afresh"):
    """The next run of each of these cells ignores records."""

    cells: tuple[str, ...]


class Recording(msgspec.Struct, frozen=True, tag_field="type", tag="recording"):
    """Cells are looked up and recorded, or not."""

    on: bool


Message = Preview | Order | Afresh | Recording


class Live:
    """The pages that show one kernel's notebook.

    Attributes
    ----------
    afresh : set of str
        Cells whose next run ignores records.
    """

    def __init__(self, kernel: ProvcrtKernel) -> None:
        self._kernel = kernel
        self._pages: list[str] = []
        self._waiting: deque[tuple[str, dict[str, Any]]] = deque()
        self._running = 0
        self._order: tuple[str, ...] = ()
        # by cell id: what was said of it, and what it read and left
        self._said: dict[str, dict[str, Any]] = {}
        self._ran: dict[str, Ran] = {}
        self._executed, self._replayed, self._saved = 0, 0, 0.0
        self.afresh: set[str] = set()

    # -- around cells -------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A request begins to run: what pages ask waits until it has ended."""
        self._running += 1

    def ran(self, cell: str | None, said: dict[str, Any], ran: Ran) -> None:
        """A cell was executed or replayed.

        Parameters
        ----------
        cell
            Its id; None for code that no cell of a notebook holds.
        said
            What execute_reply's metadata says of it.
        """
        if said["status"] == "replayed":
            self._replayed += 1
        else:
            self._executed += 1
        self._saved += said.get("saved_seconds", 0.0)
        if cell is not None:
            self.afresh.discard(cell)
            self._said[cell] = {**said, "execution_count": ran.count}
            self._ran[cell] = ran

    def end(self, cell: str | None) -> None:
        """The request has ended: pages are told, and answered."""
        self._running -= 1
        if self._pages:
            if cell in self._said:
                self._tell({"type": "cells", "cells": {cell: self._said[cell]}})
            self._tell(self._session())
            self._tell(self._stale())
        if self._waiting:
            self._answer()

    # -- messages -----------------------------------------------------------------------------------------------------

    def take(self, kind: str, message: dict[str, Any]) -> bool:
        """Take a comm message if it is for us, and answer it when no cell runs; whether it is."""
        content = message.get("content", {})
        comm = content.get("comm_id")
        if kind == "comm_open" and content.get("target_name") == TARGET:
            self._pages = [*self._pages, comm][-_PAGES:]
        elif comm not in self._pages:
            return False
        if kind == "comm_close":
            self._pages = [page for page in self._pages if page != comm]
            return True
        self._waiting.append((kind, message))
        if threading.current_thread() is threading.main_thread():
            self._answer()
        else:
            self._kernel.io_loop.add_callback(self._answer)
        return True

    def _answer(self) -> None:
        """Answer what waits, unless a cell runs: then its end does."""
        while self._waiting and not self._running:
            kind, message = self._waiting.popleft()
            data = message["content"].get("data") or {}
            try:
                if kind == "comm_open":
                    self._tell(self._session(), message)
                    self._tell({"type": "cells", "cells": self._said}, message)
                    self._tell(self._stale(), message)
                else:
                    self._do(msgspec.convert(data, Message), message)
            except (Exception, KeyboardInterrupt) as error:
                request = data.get("request") if isinstance(data, dict) else None
                said = (
                    str(error)
                    if isinstance(error, msgspec.ValidationError)
                    else f"{type(error).__name__}: {error}"
                )
                self._tell({"type": "error", "request": request, "message": said}, message)

    def _do(self, asked: Message, message: dict[str, Any]) -> None:
        match asked:
            case Preview():
                expected = self._preview(asked)
                known = [each.seconds for each in expected if each.seconds is not None]
                answer = {"type": "preview", "request": asked.request, "seconds": sum(known)}
                self._tell({**answer, "cells": [dataclasses.asdict(each) for each in expected]}, message)
            case Order():
                self._order = asked.cells
                self._tell(self._stale(), message)
            case Afresh():
                self.afresh.update(asked.cells)
            case Recording():
                self._kernel.recording = asked.on
                self._tell(self._session(), message)

    def _tell(self, data: dict[str, Any], parent: dict[str, Any] | None = None) -> None:
        kernel = self._kernel
        for page in self._pages:
            kernel.session.send(
                kernel.iopub_socket,
                "comm_msg",
                {"comm_id": page, "data": data},
                parent or kernel.get_parent("shell"),
                ident=kernel.topic("comm_msg"),
            )

    # -- what is said -------------------------------------------------------------------------------------------------

    def _session(self) -> dict[str, Any]:
        kernel = self._kernel
        return {
            "type": "session",
            "mechanism": kernel.tracer.mechanism if kernel.tracer else "none",
            "recording": kernel.recording and kernel.engine is not None,
            "why": kernel.why_not(),
            "strict": kernel.strict,
            "executed": self._executed,
            "replayed": self._replayed,
            "saved_seconds": self._saved,
            "cwd": os.getcwd(),
        }

    def _stale(self) -> dict[str, Any]:
        engine = self._kernel.engine
        order = self._order or self._ran
        return {
            "type": "stale",
            "cells": {} if engine is None else stale(order, self._ran, engine.slots.version),
        }

    def _preview(self, asked: Preview) -> list[Expected]:
        kernel, engine = self._kernel, self._kernel.engine
        if engine is None or not kernel.recording:
            return [Expected(cell.id, "run", kernel.why_not() or "", None) for cell in asked.cells]
        cells = []
        for cell in asked.cells:
            wanted = wish(cell.source, cell.tags)
            must = "asked to run" if wanted.forced or cell.id in self.afresh else ""
            must = "is never recorded" if wanted.apart else must
            strict = kernel.strict or wanted.strict
            cells.append(Asked(cell.id, place(cell.id), kernel.read(wanted.code), must, strict))
        if engine.suspected is not None:
            engine.refresh(engine.suspected)
        return preview(engine, cells, kernel.shell.execution_count)
