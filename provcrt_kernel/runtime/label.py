"""What users call an execution: a name and tags, kept beside it in ``label.json``, apart from what is signed."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from provcrt_kernel.runtime.archive import Archive, write
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import to_json

FILE = "label.json"
LONGEST = 200  # characters of a name
_TAG = re.compile(r"[^\s,][^,\n]{0,49}")
_MOST = 50  # tags


class Label(msgspec.Struct, frozen=True):
    """A name, empty where there is none; tags, sorted."""

    name: str = ""
    tags: tuple[str, ...] = ()


def label(archive: Archive, id: str) -> Label:
    """Return the label of an execution; ProjectError where there is no such execution."""
    archive.execution(id)
    return decoded(archive, id)


def decoded(archive: Archive, id: str) -> Label:
    """Return the label of an execution that is there; an empty one where it cannot be read."""
    try:
        return msgspec.json.decode((archive.folder / id / FILE).read_bytes(), type=Label)
    except (OSError, msgspec.MsgspecError):
        return Label()


def relabel(archive: Archive, id: str, name: str | None = None, tags: Iterable[str] | None = None) -> Label:
    """Give an execution another name or other tags; None leaves it as it is.

    Raises
    ------
    ProjectError
        Where there is no such execution, or no such name or tag can be.
    """
    before = label(archive, id)
    name = before.name if name is None else name.strip()
    if len(name) > LONGEST or not name.isprintable():
        raise ProjectError.usage("this cannot be a name", f"give one line of at most {LONGEST} characters")
    chosen = before.tags if tags is None else tuple(sorted({each.strip() for each in tags}))
    if wrong := [each for each in chosen if not (_TAG.fullmatch(each) and each.isprintable())]:
        raise ProjectError.usage(f"{wrong[0]!r} cannot be a tag", "give a word or two, without commas")
    if len(chosen) > _MOST:
        raise ProjectError.usage(f"{len(chosen)} tags are too many", f"give at most {_MOST}")
    after = Label(name, chosen)
    write(archive.folder / id / FILE, to_json(after))
    return after
