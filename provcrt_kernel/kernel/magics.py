"""``%provcrt``: what was replayed, why a cell ran, recording on and off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class

from provcrt_kernel.replay.history import Execution
from provcrt_kernel.session.slots import ambient

if TYPE_CHECKING:
    from provcrt_kernel.kernel.kernel import ProvcrtKernel

_USAGE = (
    "use %provcrt status, why, plan [NAME ...], audit [--all], strict [on|off], off, on, "
    "or %%provcrt run at the top of a cell"
)


@magics_class
class ProvcrtMagics(Magics):  # type: ignore[misc]
    """The ``provcrt`` magic."""

    def __init__(self, shell: Any, kernel: ProvcrtKernel) -> None:
        super().__init__(shell)
        self._kernel = kernel

    @line_cell_magic  # type: ignore[untyped-decorator]
    def provcrt(self, line: str, cell: str | None = None) -> None:
        """``%provcrt status|why|plan|audit|strict|off|on``; ``%%provcrt run`` runs the cell whatever is recorded."""
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
            case "plan":
                self._plan(words[1:])
            case "audit" if {*words[1:]} <= {"--all", "--json"}:
                self._audit(everything="--all" in words, json="--json" in words)
            case "strict" if words[1:] in ([], ["on"], ["off"]):
                self._kernel.strict = words[1:] != ["off"]
                always = "always run" if self._kernel.strict else "are replayed once per session"
                print(f"cells that use the clock, randomness or the network {always}")
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
        _print_table(rows)
        tracer = self._kernel.tracer
        print(
            f"recording {'on' if self._kernel.recording else 'off'}, tracing by {tracer.mechanism if tracer else 'none'}"
        )

    def _plan(self, names: list[str]) -> None:
        """What the next cell that needs `names`, or everything, would do first."""
        engine = self._kernel.engine
        if engine is None:
            print("nothing is recorded, so everything is live")
            return
        if unknown := [n for n in names if n not in engine.slots]:
            raise UsageError(f"there is no variable {', '.join(unknown)}")
        plan = engine.plan(names or None)
        rows = []
        for step in plan.steps:
            if step.again is not None:
                execution = engine.history[step.again]
                made = (
                    ", ".join(n for n in execution.record.writes if not ambient(n))
                    if execution.record
                    else ""
                )
                rows.append((f"run [{execution.count}] again", made, "", f"{step.seconds:.3f} s"))
            elif step.value is not None:
                size = f"{step.value.size / 1e6:.1f} MB"
                rows.append(("load", ", ".join(step.value.names), size, f"{step.seconds:.3f} s"))
        _print_table(rows)
        for value in plan.lost:
            print(f"{', '.join(value.names)} cannot be brought back")
        for index in plan.impossible:
            print(f"what cell [{engine.history.count(index)}] set cannot be brought back")
        if rows:
            print(f"{plan.seconds:.3f} s in all")
        elif not plan.lost and not plan.impossible:
            print("everything is live")

    def _audit(self, *, everything: bool, json: bool) -> None:
        """Run the session's cells from scratch beside it, and say whose record was wrong."""
        from provcrt_kernel.kernel.audit import audit, report
        from provcrt_kernel.kernel.scratch import CannotAudit

        if self._kernel.engine is None:
            print("nothing is recorded, so there is nothing to audit")
            return
        inputs = self.shell.history_manager.input_hist_raw[: self.shell.execution_count]
        try:
            found = audit(self._kernel.engine, inputs, everything=everything)
        except CannotAudit as error:
            raise UsageError(str(error)) from None
        print(msgspec.json.encode(found).decode() if json else report(found))

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


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
