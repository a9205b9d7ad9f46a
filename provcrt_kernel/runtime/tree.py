"""The executions of a project as a tree is drawn of them: what each was, where it came from, how its repetitions went.

Of each execution's files only that is decoded, and only when they have changed: a thousand are listed in milliseconds.
"""

from __future__ import annotations

import os
import shlex
import threading
from pathlib import Path
from typing import Literal

import msgspec

from provcrt_kernel.provenance.compare import Word
from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.runtime.archive import EXECUTED, Archive
from provcrt_kernel.runtime.execution import Branch, ended
from provcrt_kernel.runtime.label import FILE, decoded


class Node(msgspec.Struct, frozen=True):
    """One execution.

    Attributes
    ----------
    parent, relation, changes
        What it came from (an execution or a branch), how, and what is different from it.
    when, seconds
        In seconds since the epoch; how long it took.
    command
        What was run.
    verdict, repetitions
        Of the latest repetition; how many there are.
    notebook
        Its path in the project, if it was one.
    size
        Bytes that it keeps.
    """

    id: str
    parent: str | None
    relation: str | None
    changes: tuple[str, ...]
    when: float
    seconds: float
    command: str
    status: Literal["ok", "failed"]
    error: str | None
    verdict: Word | None
    repetitions: int
    name: str
    tags: tuple[str, ...]
    notebook: str | None
    size: int
    cells: int


class _Command(msgspec.Struct):
    argv: tuple[str, ...]
    status: int
    size: int = 0


class _Cell(msgspec.Struct):
    number: int


class _Brief(msgspec.Struct):
    id: str
    started: float
    seconds: float
    notebook: FileVersion | None = None
    command: _Command | None = None
    cells: tuple[_Cell, ...] = ()
    error: str | None = None
    parent: str | None = None
    relation: str | None = None
    changes: tuple[str, ...] = ()


class _Verdict(msgspec.Struct):
    word: Word


class _Repeated(msgspec.Struct):
    verdict: _Verdict


class Tree:
    """Lists executions, and remembers what it has read; may be used by several threads."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, ...], Node]] = {}
        self._lock = threading.Lock()

    def nodes(self, archive: Archive) -> list[Node]:
        """Return the executions, oldest first; of a damaged one, that it is."""
        return [self.node(archive, id) for id in archive.ids()]

    def node(self, archive: Archive, id: str) -> Node:
        """Return one execution."""
        folder = archive.folder / id
        now = tuple(
            number
            for name in ("execution.json", FILE, "repetitions", EXECUTED)
            for number in _identity(f"{folder}/{name}")
        )
        with self._lock:
            known = self._known.get(folder)
        if known is not None and known[0] == now:
            return known[1]
        node = _read(archive, id, executed=now[-1])
        with self._lock:
            self._known[folder] = now, node
        return node


def _identity(path: str) -> tuple[int, ...]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read(archive: Archive, id: str, *, executed: int) -> Node:
    folder = archive.folder / id
    label = decoded(archive, id)
    try:
        brief = msgspec.json.decode((folder / "execution.json").read_bytes(), type=_Brief)
    except (OSError, msgspec.MsgspecError, ValueError) as cause:
        said = f"what is kept of {id} is damaged ({type(cause).__name__}): run it again"
        return Node(
            id, None, None, (), 0.0, 0.0, "", "failed", said, None, 0, label.name, label.tags, None, 0, 0
        )
    command, notebook = brief.command, brief.notebook
    title = shlex.join(command.argv) if command is not None else notebook.path if notebook is not None else ""
    failed = ended(command.status) if command is not None and command.status else brief.error
    verdict, repetitions = _latest(folder / "repetitions")
    return Node(
        id=id,
        parent=brief.parent,
        relation=brief.relation,
        changes=brief.changes,
        when=brief.started,
        seconds=brief.seconds,
        command=title,
        status="failed" if failed else "ok",
        error=failed or None,
        verdict=verdict,
        repetitions=repetitions,
        name=label.name,
        tags=label.tags,
        notebook=notebook.path if notebook is not None and command is None else None,
        size=command.size if command is not None else executed,
        cells=len(brief.cells),
    )


def _latest(folder: Path) -> tuple[Word | None, int]:
    """Return the verdict of the latest repetition, and how many there are."""
    try:
        numbers = sorted(int(name) for name in os.listdir(folder) if name.isdecimal())
        latest = (folder / str(numbers[-1]) / "repetition.json").read_bytes()
        return msgspec.json.decode(latest, type=_Repeated).verdict.word, len(numbers)
    except (OSError, IndexError, msgspec.MsgspecError, ValueError):
        return None, 0


class Fork(msgspec.Struct, frozen=True):
    """A branch of a notebook: its copy, and the last cell of the past that it shares with `source`."""

    id: str
    parent: str | None
    notebook: str
    source: str
    cell: str
    when: float

    @classmethod
    def of(cls, branch: Branch) -> Fork:
        """Return what a tree shows of a branch."""
        return cls(branch.id, branch.parent, branch.notebook, branch.source, branch.cell, branch.created)
