"""The executions of a project as a tree is drawn of them: what each was, where it came from, how its repetitions went.

Of each execution's files only that is decoded, and only when they have changed: a thousand are listed in milliseconds.
"""

from __future__ import annotations

import os
import shlex
import threading
from typing import Literal

import msgspec

from provcrt_kernel.provenance.compare import Word
from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.runtime.archive import EXECUTED, Archive
from provcrt_kernel.runtime.execution import Branch, ended
from provcrt_kernel.runtime.label import FILE, Label, decoded

#: Of an execution's folder, what a node is made of.
_FILES = ("execution.json", FILE, "repetitions", EXECUTED)


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
        self._known: dict[str, tuple[tuple[tuple[int, ...], ...], Node]] = {}
        self._lock = threading.Lock()

    def node(self, archive: Archive, id: str) -> Node:
        """Return an execution that is there; of a damaged one, that it is."""
        folder = f"{archive.folder}/{id}"  # paths as objects would take longer than all the rest
        now = tuple(_identity(f"{folder}/{name}") for name in _FILES)
        with self._lock:
            known = self._known.get(folder)
        if known is not None and known[0] == now:
            return known[1]
        _, labelled, repeated, executed = now
        label = decoded(archive, id) if labelled[0] else Label()
        node = _read(
            folder, id, label, _latest(f"{folder}/repetitions") if repeated[0] else (None, 0), executed[2]
        )
        with self._lock:
            self._known[folder] = now, node
        return node


def _identity(path: str) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return status.st_mtime_ns, status.st_ino, status.st_size


def _content(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, os.fstat(descriptor).st_size)
    finally:
        os.close(descriptor)


def _read(folder: str, id: str, label: Label, repeated: tuple[Word | None, int], executed: int) -> Node:
    try:
        brief = msgspec.json.decode(_content(f"{folder}/execution.json"), type=_Brief)
    except (OSError, msgspec.MsgspecError, ValueError) as cause:
        said = f"what is kept of {id} is damaged ({type(cause).__name__}): run it again"
        return Node(
            id, None, None, (), 0.0, 0.0, "", "failed", said, None, 0, label.name, label.tags, None, 0, 0
        )
    command, notebook = brief.command, brief.notebook
    title = shlex.join(command.argv) if command is not None else notebook.path if notebook is not None else ""
    failed = ended(command.status) if command is not None and command.status else brief.error
    verdict, repetitions = repeated
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


def _latest(folder: str) -> tuple[Word | None, int]:
    """Return the verdict of the latest repetition, and how many there are."""
    try:
        numbers = sorted(int(name) for name in os.listdir(folder) if name.isdecimal())
        latest = _content(f"{folder}/{numbers[-1]}/repetition.json")
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
