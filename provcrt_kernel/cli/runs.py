"""Running a command and repeating a run, as they are shown: what is done most, and must not cost more than the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from provcrt_kernel.cli.base import (
    fail,
    print_cells,
    print_json,
    print_total,
    progress,
    say,
    say_problems,
    size,
    tell,
)
from provcrt_kernel.runtime import Execution, Project, Repetition
from provcrt_kernel.runtime.execution import ended


def is_notebook(word: str) -> bool:
    """Tell whether what is to be run is a notebook, rather than a program."""
    return word.endswith(".ipynb") and not (os.path.isfile(word) and os.access(word, os.X_OK))


def execute(argv: Sequence[str], *, json: bool = False) -> NoReturn:
    """Run a command as a reference execution, and end as it ended."""
    execution = Project.open(Path.cwd()).run(argv, show=not json)
    assert execution.command is not None
    if json:
        print_json(execution)
    else:
        took = f"{execution.seconds:.1f} s, {size(execution.command.size)}"
        say(f"{execution.id}  {ended(execution.command.status)}, {took}")
        say_problems(execution.command)
    end_as(execution)


def end_as(execution: Execution) -> NoReturn:
    """End as what was executed ended: a command with its exit status, or 128 + n after signal n; a notebook with 0 or 1."""
    command = execution.command
    if command is None and execution.error:
        fail(f"{execution.error} (kept as {execution.id}): `provcrt show {execution.id}` shows what ran")
    status = command.status if command is not None else 0
    sys.stdout.flush()
    sys.exit(status if status >= 0 else 128 - status)


def repeat(
    id: str,
    *,
    strict: bool = False,
    isolation: bool = True,
    memo: bool = True,
    network: bool = False,
    output: Path | None = None,
    json: bool = False,
) -> None:
    """Repeat an execution, and say how that went."""
    repetition = Project.find(Path.cwd(), network=network).repeat(
        id, isolation=isolation, output=output, memo=memo, show=not json, on_cell=progress(json)
    )
    if json:
        print_json(repetition)
    else:
        _print_repetition(repetition)
    if strict and repetition.verdict.word == "diverged":
        fail(f"{id} {repetition.verdict.line}")


def _print_repetition(repetition: Repetition) -> None:
    out = tell if repetition.command is None else say
    out(f"{repetition.of}, repetition {repetition.number}")
    if repetition.command is None:
        print_cells(repetition.cells)
        print_total(repetition.cells, repetition.seconds)
    else:
        say_problems(repetition.command)
    if repetition.kernel is not None:
        say_problems(repetition.kernel)
    for difference in repetition.verdict.differences:
        excuse = f" (cannot be repeated: {', '.join(difference.volatile)})" if difference.volatile else ""
        excuse += f" (overlooking {difference.explained})" if difference.explained else ""
        cause = f"; likely cause: {difference.cause}" if difference.cause else ""
        by = f"; written by {difference.process}" if difference.process else ""
        by += f", which read {', '.join(difference.read[:5])}" if difference.read else ""
        out(f"{difference.place}: {difference.what}{excuse}{by}{cause}")
        if difference.diff and not difference.excuse:
            out(difference.diff)
    out(repetition.verdict.line)
