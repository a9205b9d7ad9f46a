"""``%provcrt``: what was replayed, why a cell ran, recording on and off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class

from provcrt_kernel.replay.history import Execution

if TYPE_CHECKING:
    from provcrt_kernel.kernel.kernel import ProvcrtKernel

_USAGE = "use %provcrt status, %provcrt why, %provcrt off, %provcrt on, or %%provcrt run at the top of a cell"


@magics_class
class ProvcrtMagics(Magics):  # type: ignore[misc]
    """The ``provcrt`` magic."""

    def __init__(self, shell: Any, kernel: ProvcrtKernel) -> None:
        super().__init__(shell)
        self._kernel = kernel

    @line_cell_magic  # type: ignore[untyped-decorator]
    def provcrt(self, line: str, cell: str | None = None) -> None:
        """``%provcrt status|why|off|on``; ``%%provcrt run`` runs the cell whatever is recorded."""
        words = line.split()
        action = words[0] if words else "status"
        if cell is not None and action != "run":
            raise UsageError(_USAGE)
        match action:
            case "run" if cell is not None:
                self.shell.run_cell(cell)
            case "status":
                self._status()
            case "why":
                self._why()
            case "off" | "on":
                self._kernel.recording = action == "on"
                print(f"recording is {action}")
            case _:
                raise UsageError(_USAGE)

    def _executions(self) -> list[Execution]:
        engine = self._kernel.engine
        return [] if engine is None else engine.history.executions

    def _status(self) -> None:
        rows = [("cell", "status", "why", "seconds", "saved")]
        for execution in self._executions():
            why = execution.reason + (f"; not recorded: {execution.notes[0]}" if execution.notes else "")
            saved = f"{execution.saved:.2f}" if execution.status == "replayed" else ""
            rows.append((f"[{execution.count}]", execution.status, why, f"{execution.seconds:.2f}", saved))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        for row in rows:
            print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
        tracer = self._kernel.tracer
        print(
            f"recording {'on' if self._kernel.recording else 'off'}, tracing by {tracer.mechanism if tracer else 'none'}"
        )

    def _why(self) -> None:
        last = next(reversed(self._executions()), None)
        if last is None:
            print("no cell has run yet")
            return
        print(f"cell [{last.count}] was {last.status}: {last.reason}")
        if last.recomputed:
            print(f"recomputed for it: {', '.join(f'[{c}]' for c in last.recomputed)}")
        for note in last.notes:
            print(f"not recorded: {note}")
