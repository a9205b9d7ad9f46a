"""What is kept of a run: plain structs, as JSON that any tool can read."""

from __future__ import annotations

from typing import Literal

import msgspec

from provcrt_kernel.provenance.compare import Verdict
from provcrt_kernel.provenance.files import FileVersion

Status = Literal["executed", "replayed", "failed"]
FORMAT = 1


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


class Execution(msgspec.Struct, frozen=True, omit_defaults=True):
    """A reference execution of a notebook.

    Attributes
    ----------
    id : str
        ``e1``, ``e2`` …, never used twice in a project.
    notebook : FileVersion
        The notebook as it was run; its path is relative to the project's folder.
    started, seconds : float
        When, in seconds since the epoch, and for how long.
    user : str
        Who ran it.
    environment : Environment
        Where.
    cells : tuple of CellRun
        The code cells that ran, in order.
    error : str or None
        The error that ended it early, in one line.
    """

    id: str
    notebook: FileVersion
    started: float
    seconds: float
    user: str
    environment: Environment
    cells: tuple[CellRun, ...]
    error: str | None = None
    format: int = FORMAT


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
    cells : tuple of CellRun
        The code cells, in order.
    verdict : Verdict
        Whether it reproduced the reference.
    error : str or None
        The error that ended it early, in one line.
    """

    of: str
    number: int
    started: float
    seconds: float
    environment: Environment
    cells: tuple[CellRun, ...]
    verdict: Verdict
    error: str | None = None
    format: int = FORMAT


def to_json(value: msgspec.Struct | list[Execution]) -> bytes:
    """Return structs as JSON for a person's eye, with a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
