"""What is kept of a run: plain structs, as JSON that any tool can read."""

from __future__ import annotations

import json
import shlex
import signal
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, TypeVar

import msgspec

from provcrt_kernel.provenance.compare import Verdict
from provcrt_kernel.provenance.files import FileVersion
from provcrt_kernel.provenance.words import one_line

Status = Literal["executed", "replayed", "failed"]
Relation = Literal["given", "commit", "branch"]
FORMAT = 3
T = TypeVar("T")
_WRITTEN: int = msgspec.field(default_factory=lambda: FORMAT)  # always written, unlike other defaults


class CellRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one code cell did in one run.

    Attributes
    ----------
    number : int
        The cell's number among the code cells that are not empty, from 1: its ``In [n]``.
    cell : str
        Its id in the notebook.
    title : str
        Its first line that is not empty.
    status : {"executed", "replayed", "failed"}
        ``failed`` where it ran, or was replayed, and raised an error.
    reason : str
        Why it ran, in the kernel's words; empty where it was replayed.
    started : float
        Seconds since the epoch.
    seconds : float
        From the request to the end of its outputs.
    saved_seconds : float
        What running it had taken, where it was replayed.
    record : str or None
        Id of its record in the store.
    reads, writes : tuple of str
        Names of the slots that it read and changed.
    files_read, files_written : tuple of FileVersion
        Without what belongs to installed packages.
    volatile : tuple of str
        What it used that nobody can repeat.
    recomputed : tuple of str
        Execution counts of what was run again before it, only to get state back.
    not_recorded : tuple of str
        Why it left no record, and so will run the next time as well.
    """

    number: int
    cell: str
    title: str
    status: Status
    started: float
    seconds: float
    reason: str = ""
    saved_seconds: float = 0.0
    record: str | None = None
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    files_read: tuple[FileVersion, ...] = ()
    files_written: tuple[FileVersion, ...] = ()
    volatile: tuple[str, ...] = ()
    recomputed: tuple[str, ...] = ()
    not_recorded: tuple[str, ...] = ()


class Environment(msgspec.Struct, frozen=True):
    """Where a run took place.

    Attributes
    ----------
    python : str
        Version and implementation, such as ``3.11.2 CPython``.
    platform : str
        System, kernel and C library.
    packages : dict of str to str
        Every installed distribution and its version.
    """

    python: str
    platform: str
    packages: dict[str, str]


class Commanded(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a run of a command.

    Attributes
    ----------
    argv : tuple of str
        As it was given; and `program`, the command line that was started for it.
    cwd : str
        Where it ran.
    environ : dict of str to str
        Its environment, less `left_out`.
    left_out : tuple of str
        Names of environment variables that may be secrets: their values were not kept.
    stdin : str
        What its standard input was: ``null``, ``file``, ``pipe`` or ``terminal``.
    streams : dict of str to str
        Digests of what it read from ``stdin``, unless that was a terminal, and wrote to ``stdout`` and ``stderr``.
    status : int
        Its exit status, -n where signal n killed it.
    audit, content : str
        Digests of `Audit` and `Content`; the latter empty where nothing was contained.
    size : int
        Bytes of the content.
    umask : int
        As umask(2) has it.
    network : tuple of str
        Whom on other machines it talked to.
    problems : tuple of str
        What may be missing, a line each.
    isolated : bool
        Whether it ran in a sandbox.
    """

    argv: tuple[str, ...]
    program: tuple[str, ...]
    cwd: str
    environ: dict[str, str]
    stdin: str
    streams: dict[str, str]
    status: int
    audit: str
    content: str
    size: int = 0
    umask: int = 0o022
    left_out: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    isolated: bool = False


@dataclass(frozen=True)
class Descent:
    """Where an execution came from; the attributes are those of `Execution`."""

    parent: str | None = None
    relation: Relation | None = None
    changes: tuple[str, ...] = ()
    branch: str = ""
    origin: str = ""


class Timed(Protocol):
    """A run that has ended: when it began, in seconds since the epoch, and for how long it ran."""

    @property
    def started(self) -> float: ...

    @property
    def seconds(self) -> float: ...


class Execution(msgspec.Struct, frozen=True, omit_defaults=True):
    """A reference execution of a command or a notebook.

    Attributes
    ----------
    id : str
        ``e1``, ``e2`` …, never used twice in a project.
    started, seconds : float
        When, in seconds since the epoch, and for how long.
    user : str
        Who ran it.
    environment : Environment
        Where.
    notebook : FileVersion or None
        The notebook as it was run; its path is relative to the project's folder.
    cells : tuple of CellRun
        Of a notebook, the code cells that ran, in order.
    command : Commanded or None
        What is kept of a command.
    kernel : Commanded or None
        What is kept of the kernel's process that ran a notebook, with all that its cells used.
    error : str or None
        The error that ended a notebook early, in one line.
    parent : str or None
        The execution that this one is a modification of.
    relation : {"given", "commit", "branch"} or None
        How it came from it.
    changes : tuple of str
        What is different from the parent, a line each.
    parameters : dict of str to str
        Of a notebook: names and values (Python expressions) that replaced its own.
    branch : str
        Id of the branch that was run; empty where the notebook is none.
    origin : str
        Empty, or the file that it was imported from: then nobody here vouches for it.
    """

    id: str
    started: float
    seconds: float
    user: str
    environment: Environment
    notebook: FileVersion | None = None
    cells: tuple[CellRun, ...] = ()
    command: Commanded | None = None
    kernel: Commanded | None = None
    error: str | None = None
    parent: str | None = None
    relation: Relation | None = None
    changes: tuple[str, ...] = ()
    parameters: dict[str, str] = {}
    branch: str = ""
    origin: str = ""
    format: int = _WRITTEN

    @classmethod
    def of(cls, ran: Timed, user: str, environment: Environment, descent: Descent, **what: Any) -> Self:
        """Return an execution that has no id yet; `what` are the attributes that tell what ran."""
        return cls(
            id="",
            started=ran.started,
            seconds=ran.seconds,
            user=user,
            environment=environment,
            parent=descent.parent,
            relation=descent.relation,
            changes=descent.changes,
            branch=descent.branch,
            origin=descent.origin,
            **what,
        )

    @property
    def container(self) -> Commanded | None:
        """What is kept of it."""
        return self.command or self.kernel

    @property
    def title(self) -> str:
        """What was run, in one line."""
        if self.command is not None:
            return one_line(shlex.join(self.command.argv))
        return one_line(self.notebook.path) if self.notebook is not None else ""

    @property
    def failed(self) -> str:
        """How it failed, in a few words; empty where it did not."""
        if self.command is None or self.command.status == 0:
            return self.error or ""
        return ended(self.command.status)


def ended(status: int) -> str:
    """Return an exit status in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


class Repetition(msgspec.Struct, frozen=True, omit_defaults=True):
    """One repetition of a reference execution.

    Attributes
    ----------
    of : str
        Id of the reference.
    number : int
        Counts the reference's repetitions from 1.
    started, seconds : float
        When, in seconds since the epoch, and for how long.
    environment : Environment
        Where.
    verdict : Verdict
        Whether it reproduced the reference.
    cells : tuple of CellRun
        Of a notebook, the code cells, in order.
    command : Commanded or None
        What is kept of a command.
    kernel : Commanded or None
        Of a notebook that ran in a sandbox, what is kept of its kernel's process.
    error : str or None
        The error that ended it early, in one line.
    """

    of: str
    number: int
    started: float
    seconds: float
    environment: Environment
    verdict: Verdict
    cells: tuple[CellRun, ...] = ()
    command: Commanded | None = None
    kernel: Commanded | None = None
    error: str | None = None
    format: int = _WRITTEN


class Branch(msgspec.Struct, frozen=True, omit_defaults=True):
    """A notebook that branches off from another one.

    Attributes
    ----------
    id : str
        ``b1``, ``b2`` …, never used twice in a project.
    notebook : str
        The copy, relative to the project's folder.
    source : str
        The notebook that it is a copy of, likewise.
    cell : str
        Id of the last cell that both share.
    number : int
        That cell's number among the code cells that are not empty, from 1; 0 where it lies before all of them.
    created : float
        When, in seconds since the epoch.
    user : str
        Who made it.
    parent : str or None
        The execution, or the branch that nobody executed yet, which it came from; None where `source` was neither.
    """

    id: str
    notebook: str
    source: str
    cell: str
    number: int
    created: float
    user: str
    parent: str | None = None
    format: int = _WRITTEN


def to_json(value: object) -> bytes:
    """Return structs as JSON for a person's eye, with a newline at the end."""
    try:
        return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
    except UnicodeEncodeError:  # a name that is no UTF-8: json writes its bytes as \udcxx
        return json.dumps(msgspec.to_builtins(value), indent=1).encode() + b"\n"


def from_json(data: bytes, kind: type[T]) -> T:
    """Return the struct that `to_json` wrote.

    Raises
    ------
    msgspec.MsgspecError, ValueError
        Where the bytes are none of `kind`.
    """
    if b"\\udc" in data:
        plain: Any = json.loads(data)
        return msgspec.convert(plain, kind)
    return msgspec.json.decode(data, type=kind)
