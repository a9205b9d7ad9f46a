"""What can go wrong with a project, in one line each: what happened, to what, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self


class ProjectError(Exception):
    """Something that the user asked for cannot be done."""

    @classmethod
    def no_project(cls, start: Path) -> Self:
        """No project folder was found at or above `start`."""
        return cls(f"no project in {start} or above: start one with `provcrt exec NOTEBOOK.ipynb`")

    @classmethod
    def no_such_file(cls, path: Path) -> Self:
        """There is no file `path`."""
        return cls(f"{path} does not exist: check its name and the folder you are in")

    @classmethod
    def not_a_notebook(cls, path: Path, why: str) -> Self:
        """The file `path` cannot be run as a notebook."""
        return cls(f"{path} is not a notebook that can be run ({why}): give a Python notebook (.ipynb)")

    @classmethod
    def cannot_read(cls, path: Path, cause: OSError) -> Self:
        """The file `path` is there and cannot be read."""
        return cls(f"{path} cannot be read ({_reason(cause)}): check its permissions")

    @classmethod
    def cannot_write(cls, path: Path, cause: Exception) -> Self:
        """The file or folder `path` cannot be written."""
        return cls(
            f"{path} cannot be written ({_reason(cause)}): check its permissions and the free disk space"
        )

    @classmethod
    def malformed_id(cls, text: str) -> Self:
        """`text` cannot be the id of an execution."""
        return cls(f"{text!r} is not the id of an execution: ids look like e1, see `provcrt list`")

    @classmethod
    def unknown_id(cls, id: str, known: Sequence[str]) -> Self:
        """There is no execution `id`; there are those in `known`."""
        there = f"there are {', '.join(known)}" if known else "there are none yet"
        return cls(f"no execution {id} in this project ({there}): `provcrt list` shows them")

    @classmethod
    def damaged(cls, path: Path, cause: Exception) -> Self:
        """What is kept of an execution cannot be read back."""
        return cls(f"{path} is damaged ({_reason(cause)}): run the notebook again with `provcrt exec`")

    @classmethod
    def folder_gone(cls, id: str, folder: Path) -> Self:
        """The folder in which the execution `id` ran is no longer there."""
        return cls(
            f"{id} cannot be repeated, its folder {folder} is gone: put it back, or run the notebook anew"
        )

    @classmethod
    def kernel_did_not_start(cls, why: str) -> Self:
        """The kernel did not come up."""
        return cls(f"the kernel did not start ({why}): `provcrt doctor` shows what is missing")

    @classmethod
    def kernel_died(cls, number: int, said: str) -> Self:
        """The kernel ended while it ran the code cell `number`; the last that it said was `said`."""
        why = f" ({said[:100]})" if said else ""
        return cls(
            f"the kernel died in cell {number}{why}, nothing was kept: look for a crash or a lack of memory"
        )


def _reason(cause: BaseException) -> str:
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    return (str(cause) or type(cause).__name__).strip().splitlines()[0]
