"""All that can be told of the files of an execution: classes, lineage, provenance, what has to be installed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from provcrt_kernel.provenance.classify import CLASSES, Classified, classify
from provcrt_kernel.provenance.document import Activity
from provcrt_kernel.provenance.files import FileVersion, parts
from provcrt_kernel.provenance.lineage import Step
from provcrt_kernel.provenance.merkle import shown, starters
from provcrt_kernel.provenance.packages import normal
from provcrt_kernel.runtime.execution import CellRun, Execution
from provcrt_kernel.runtime.kept import Kept
from provcrt_kernel.trace import Process

_ORDER = {name: number for number, name in enumerate(CLASSES)}


class PackageUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """A package that a run needed: how many of its files it touched, and where the user asks for it."""

    manager: str
    name: str
    version: str
    files: int
    asked_for: str = ""


class Detail(msgspec.Struct, frozen=True):
    """The files of an execution, classified, and the packages that they belong to."""

    files: tuple[Classified, ...]
    packages: tuple[PackageUse, ...]
    left_out: tuple[str, ...] = ()


def of_command(kept: Kept) -> Detail:
    """Return the details of a run of a command."""
    system = {entry.path for entry in kept.content.system}
    files = classify(kept.audit.files, kept.content.owners, kept.content.listed, system)
    return Detail(
        tuple(sorted(files, key=lambda each: (_ORDER[each.kind], each.path))),
        tuple(_packages(kept, files)),
        kept.command.left_out,
    )


def _packages(kept: Kept, files: Sequence[Classified]) -> list[PackageUse]:
    counts: dict[object, int] = {}
    for each in files:
        counts[each.package] = counts.get(each.package, 0) + 1
    return [
        PackageUse(
            each.package.manager,
            each.package.name,
            each.package.version,
            counts.get(each.package, 0),
            kept.content.listed.get(normal(each.package.name), ""),
        )
        for each in kept.content.packs
    ]


def of_notebook(execution: Execution, kept: Kept | None) -> Detail:
    """Return the details of a run of a notebook: what its cells read and wrote, and what else its kernel needed."""
    cells = execution.cells
    versions = {file.path: file.digest for cell in cells for file in (*cell.files_read, *cell.files_written)}
    names = {"input": "input", "intermediate": "transient", "output": "output"}
    why = {
        "input": "read by a cell",
        "intermediate": "written by one cell, read by another",
        "output": "left by a cell",
    }
    found = parts((cell.files_read, cell.files_written) for cell in cells)
    files = [
        msgspec.convert(
            {"path": path, "kind": names[part], "why": why[part], "digest": versions.get(path)}, Classified
        )
        for path, part in found.items()
    ]
    left_out: tuple[str, ...] = ()
    if kept is None:
        named = execution.environment.packages.items()
        packages = [PackageUse("pip", name, version, 0) for name, version in named]
    else:
        whole = of_command(kept)
        files += [each for each in whole.files if each.path not in found and each.kind not in names.values()]
        packages, left_out = list(whole.packages), whole.left_out
    files.sort(key=lambda each: (_ORDER[each.kind], each.path))
    return Detail(tuple(files), tuple(packages), left_out)


def activities_of_command(kept: Kept, *, own_only: bool = False) -> list[Activity]:
    """Return the processes of a run as activities; a file of which nobody knows whose it is, is told of the first.

    With `own_only` the files of packages and of the system are left out.
    """
    execution, audit = kept.execution, kept.audit
    system = {*kept.content.owned, *(entry.path for entry in kept.content.system)} if own_only else set()
    processes = audit.processes or (_unseen(kept),)
    used: list[list[FileVersion]] = [[] for _ in processes]
    made: list[list[FileVersion]] = [[] for _ in processes]
    for fact in audit.files:
        if fact.kind != "file" or (fact.path in system and not fact.written):
            continue
        # where what was there before is no input, whoever read it read what the run had made
        own = fact.written and not (fact.read or fact.executed)
        before = FileVersion(fact.path, fact.after if own else fact.before)
        for place in fact.readers or ((0,) if fact.read or fact.executed else ()):
            if place < len(processes):
                used[place].append(before)
        for place in (fact.writers or (0,)) if fact.written else ():
            if place < len(processes):
                made[place].append(FileVersion(fact.path, fact.after))
    end = execution.started + execution.seconds
    return [
        Activity(
            number=place + 1,
            cell="",
            label=shown(process),
            started=process.started,
            ended=process.ended or end,
            used=used[place],
            generated=made[place],
            starter=starter + 1 if starter is not None else min(place, 1),
            attributes={
                "exe": process.exe,
                "cwd": process.cwd,
                "pid": str(process.pid),
                "status": str(kept.command.status) if place == 0 else "",
            },
        )
        for place, (process, starter) in enumerate(zip(processes, starters(processes), strict=True))
    ]


def _unseen(kept: Kept) -> Process:
    """Return the process of a run that could not be traced."""
    command, execution = kept.command, kept.execution
    return Process(0, 0, command.argv, command.cwd, "", execution.started)


def activity_of_cell(cell: CellRun) -> Activity:
    """Return a cell as an activity."""
    return Activity(
        number=cell.number,
        cell=cell.cell,
        started=cell.started,
        ended=cell.started + cell.seconds,
        used=cell.files_read,
        generated=cell.files_written,
        attributes={"status": cell.status, "reason": cell.reason, "volatile": ", ".join(cell.volatile)},
    )


def steps_of(execution: Execution, kept: Kept | None) -> list[Step]:
    """Return the steps of an execution: cells, or the one command."""
    if kept is None:
        return [
            Step(
                f"cell {cell.number}",
                {*cell.reads, *(file.path for file in cell.files_read)},
                {*cell.writes, *(file.path for file in cell.files_written)},
            )
            for cell in execution.cells
        ]
    owned = kept.content.owned
    files = [fact for fact in kept.audit.files if fact.kind == "file" and fact.path not in owned]
    reads = {fact.path for fact in files if fact.read or fact.executed}
    return [Step(execution.title, reads, {fact.path for fact in files if fact.written})]
