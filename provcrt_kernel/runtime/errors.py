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
        return cls(
            f"no project in {start} or above: start one with `provcrt open NAME`, or with `provcrt exec …`"
        )

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
    def cannot_audit(cls, what: Path | str, why: str) -> Self:
        """A notebook or an execution cannot be audited."""
        return cls(f"{what} cannot be audited: {why}")

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
        few = known if len(known) < 12 else [*known[:3], "…", *known[-3:]]
        there = f"there are {', '.join(few)}" if known else "there are none yet"
        return cls(f"no execution {id} in this project ({there}): `provcrt list` shows them")

    @classmethod
    def damaged(cls, path: Path, cause: Exception) -> Self:
        """What is kept of an execution cannot be read back."""
        return cls(f"{path} is damaged ({_reason(cause)}): run it again with `provcrt exec`")

    @classmethod
    def newer(cls, path: Path) -> Self:
        """A file was written by a later version of this program."""
        return cls(f"{path} was written by a newer version of provcrt: upgrade provcrt-kernel")

    @classmethod
    def hostile(cls, why: str) -> Self:
        """A container says something that no honest one says."""
        return cls(f"this container is damaged or hostile ({why}): nothing of it was used")

    @classmethod
    def content_lost(cls, names: Sequence[str]) -> Self:
        """What a container should hold cannot be had."""
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return cls(
            f"the container has no sound content for {', '.join(names[:3])}{more}: run it again with `provcrt exec`"
        )

    @classmethod
    def no_isolation(cls, why: str) -> Self:
        """Nothing can be run isolated here."""
        return cls(
            f"nothing can be isolated here ({why}): install bubblewrap and allow user namespaces, or give"
            " --no-isolation to run in place"
        )

    @classmethod
    def cannot_run(cls, command: str, why: str) -> Self:
        """A command cannot be started."""
        return cls(f"{command!r} cannot be run ({why}): check its name, its path and its permissions")

    @classmethod
    def inputs_changed(cls, id: str, paths: Sequence[str]) -> Self:
        """The inputs of an execution are no longer what they were."""
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        return cls(
            f"{id} cannot be repeated in place, {', '.join(paths[:3])}{more} changed since:"
            " repeat it isolated, or run it anew"
        )

    @classmethod
    def nothing_to_commit(cls, id: str) -> Self:
        """No file of an execution was edited."""
        return cls(
            f"nothing to commit, no file of {id} was edited: edit one, or give the id of another execution"
        )

    @classmethod
    def not_contained(cls, id: str) -> Self:
        """Nothing is kept of what an execution needs."""
        return cls(
            f"nothing is kept of what {id} needs, an earlier version made it: run it anew with `provcrt exec`"
        )

    @classmethod
    def not_a_notebook_run(cls, id: str) -> Self:
        """Something works for notebooks alone."""
        return cls(
            f"{id} is a run of a command, only notebooks have cells to branch from: use `provcrt given`"
        )

    @classmethod
    def no_such_cell(cls, cell: str, known: Sequence[str]) -> Self:
        """A notebook has no cell of this id or number."""
        there = f"its code cells are {', '.join(known[:12])}{' …' if len(known) > 12 else ''}"
        return cls(
            f"there is no cell {cell!r} ({there}): give one of these, or a number from 1 to {len(known)}"
        )

    @classmethod
    def not_ours(cls, id: str) -> Self:
        """Somebody else made an execution: what is in it may do anything."""
        return cls(
            f"{id} was not made by you on this machine, it is only repeated isolated: leave --no-isolation out"
        )

    @classmethod
    def not_touched(cls, id: str, what: str) -> Self:
        """An execution had nothing to do with something."""
        return cls(f"{id} neither read nor wrote {what}: `provcrt show --detail {id}` lists what it did")

    @classmethod
    def usage(cls, what: str, advice: str) -> Self:
        """What was asked for makes no sense."""
        return cls(f"{what}: {advice}")

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
