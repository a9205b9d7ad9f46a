"""What goes in and out: bodies and answers as structs, from which the JSON schema is generated."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from provcrt_kernel.replay.graph import Graph
from provcrt_kernel.replay.recall import Difference, Moment, Told
from provcrt_kernel.runtime.beside import FileValue, Pair, Value
from provcrt_kernel.runtime.compared import Change
from provcrt_kernel.runtime.tree import Fork, Node


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body of a request."""


class GraphBody(Body, frozen=True):
    """Draw the graph of a notebook from the records that a page knows, by cell."""

    path: str
    records: dict[str, str]


class ExecuteBody(Body, frozen=True):
    """Execute a notebook, with parameters as Python writes them."""

    notebook: str
    parameters: dict[str, str] = {}


class RepeatBody(Body, frozen=True):
    """Repeat an execution."""


class ExportBody(Body, frozen=True):
    """Write an execution to a file to share."""

    file: str


class LabelBody(Body, frozen=True):
    """Give an execution another name, or other tags."""

    name: str | None = None
    tags: tuple[str, ...] | None = None


class OpenBody(Body, frozen=True):
    """Lay an executed notebook beside the original; `file`: as what."""

    file: str | None = None


class BranchBody(Body, frozen=True):
    """Copy a notebook up to a cell; `file`: as what."""

    path: str
    cell: str
    file: str | None = None


class ProjectAnswer(msgspec.Struct, frozen=True):
    """A project; `root` is a contents path."""

    root: str
    name: str


class StatusAnswer(msgspec.Struct, frozen=True):
    """What works for notebooks at a path, and where their records are; `doctor`: what does not work, a sentence each."""

    version: str
    store: str
    store_bytes: int
    store_limit: int
    records: int
    mechanism: str
    project: ProjectAnswer | None
    doctor: tuple[str, ...]
    layers: tuple[str, ...]


class HistoryAnswer(msgspec.Struct, frozen=True):
    """The records of a cell, newest first."""

    records: tuple[Moment, ...]


class TreeAnswer(msgspec.Struct, frozen=True):
    """The executions and branches of a project, oldest first; none where there is no project."""

    project: ProjectAnswer | None
    executions: tuple[Node, ...]
    branches: tuple[Fork, ...]


class RanCell(msgspec.Struct, frozen=True):
    """A cell of an executed notebook."""

    number: int
    cell: str
    title: str
    status: str
    reason: str
    seconds: float
    saved_seconds: float
    record: str | None


class ExecutionAnswer(Node, frozen=True, kw_only=True):
    """One execution, told."""

    ran: tuple[RanCell, ...]
    parameters: dict[str, str]
    user: str
    python: str
    platform: str
    verdict_line: str | None


class CompareAnswer(msgspec.Struct, frozen=True):
    """Two executions side by side."""

    a: Node
    b: Node
    cells: tuple[Pair, ...]
    parameters: tuple[Value, ...]
    files: tuple[FileValue, ...]
    environment: tuple[Value, ...]
    changes: tuple[Change, ...]


class FreedAnswer(msgspec.Struct, frozen=True):
    """How many bytes were freed."""

    freed: int


class PathAnswer(msgspec.Struct, frozen=True):
    """A contents path."""

    path: str


class BranchAnswer(msgspec.Struct, frozen=True):
    """A new notebook, the branch that it is, and what that came from."""

    path: str
    branch: str
    parent: str | None


class Job(msgspec.Struct):
    """Long work, which goes on when its request has been answered.

    Attributes
    ----------
    execution
        The one that is repeated or exported; of ``exec`` the new one, when it is done.
    message
        The last line that it said; at the end what came of it.
    project
        Contents path of the folder that it works in.
    """

    job: str
    kind: Literal["exec", "repeat", "export"]
    state: Literal["running", "done", "failed", "cancelled"]
    started: float
    project: str
    execution: str | None = None
    message: str = ""


class JobsAnswer(msgspec.Struct, frozen=True):
    """All jobs that the server knows, oldest first."""

    jobs: tuple[Job, ...]


class Failure(msgspec.Struct, frozen=True):
    """An error: one sentence."""

    message: str


#: All of them, for `schema`.
KINDS: tuple[Any, ...] = (
    *(GraphBody, ExecuteBody, RepeatBody, ExportBody, LabelBody, OpenBody, BranchBody),
    *(StatusAnswer, Told, HistoryAnswer, Difference, Graph, TreeAnswer, ExecutionAnswer, CompareAnswer),
    *(FreedAnswer, PathAnswer, BranchAnswer, Job, JobsAnswer, Failure),
)


def schema() -> dict[str, Any]:
    """Return the JSON schema of every body and answer, under ``$defs`` by name."""
    return {"$defs": msgspec.json.schema_components(KINDS, ref_template="#/$defs/{name}")[1]}
