"""Change the files of one execution: `checkout` lays them out, `commit` runs what was edited as a new execution.

Without a checkout the files are edited where the execution found them. What the run itself left there is no edit.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from provcrt_kernel.runtime.archive import Archive, write
from provcrt_kernel.runtime.content import Entry, from_store, host_file, lay
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import Execution
from provcrt_kernel.runtime.given import with_entries
from provcrt_kernel.runtime.kept import Kept
from provcrt_kernel.store import Store, digest_file

_PROGRAMS = (
    ".py",
    ".sh",
    ".r",
    ".R",
    ".jl",
    ".pl",
    ".rb",
    ".js",
    ".c",
    ".cpp",
    ".h",
    ".toml",
    ".yml",
    ".yaml",
    ".ini",
    ".cfg",
)
_OTHERS = "elsewhere"  # in a checkout: the files from outside of the working directory
_SHELL = ("/bin", "/sbin", "/lib", "/lib64")  # links of a merged system
_SHOWN = 40  # lines of a diff


class Checkout(msgspec.Struct, frozen=True):
    """What is checked out: an execution, and the folder with its files."""

    id: str
    folder: str


@dataclass(frozen=True)
class Edited:
    """What was edited: the execution with its new content, and a line for each change, with its diff."""

    kept: Kept
    changes: tuple[str, ...]


def checked_out(archive: Archive) -> Checkout | None:
    """Return what is checked out, or None."""
    try:
        return msgspec.json.decode((archive.folder / "checkout").read_bytes(), type=Checkout)
    except (OSError, msgspec.MsgspecError):
        return None


def checkout(
    archive: Archive, execution: Execution, folder: Path, notebook: tuple[str, bytes] | None = None
) -> int:
    """Lay the user's files of an execution out in a folder, and the notebook that it ran; return how many.

    Raises
    ------
    ProjectError
        Where the folder is in use, or the content is lost.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError.usage(f"{folder} is not empty", "give another folder")
    with archive.store(readonly=True) as store:
        return _checkout(archive, Kept.load(execution, store), folder, store, notebook)


def _checkout(
    archive: Archive, kept: Kept, folder: Path, store: Store, notebook: tuple[str, bytes] | None
) -> int:
    files = [
        entry for entry in kept.content.entries if entry.kind in ("file", "link") and entry.path not in _SHELL
    ]
    moved = [
        msgspec.structs.replace(entry, path="/" + _inner(entry.path, kept.command.cwd)) for entry in files
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lost = lay(moved, folder, from_store(store), private=True)
    except OSError as cause:
        raise ProjectError.cannot_write(folder, cause) from cause
    if lost:
        raise ProjectError.content_lost(lost)
    if notebook is not None:
        write(folder / notebook[0], notebook[1])
    state = Checkout(kept.execution.id, str(folder.absolute()))
    write(archive.folder / "checkout", msgspec.json.encode(state))
    return len(files) + (notebook is not None)


def meant(
    archive: Archive, executions: Sequence[Execution], id: str | None
) -> tuple[list[Execution], Path | None]:
    """Return which execution is to be committed, with those that it came from, and where its files are edited.

    Parameters
    ----------
    archive : Archive
    executions : sequence of Execution
        All that there are.
    id : str or None
        By default what is checked out, else the latest.

    Returns
    -------
    list of Execution
    Path or None
        Where it is checked out; None where it is edited in place.

    Raises
    ------
    ProjectError
        Where there is none, or its files are nowhere.
    """
    known = {each.id for each in executions}
    out = checked_out(archive)
    if id is None:
        latest = [each.id for each in executions if each.container is not None]
        id = out.id if out and out.id in known else latest[-1] if latest else "e1"
    folder = Path(out.folder) if out and out.id == id and Path(out.folder).is_dir() else None
    reference = archive.execution(id)
    command = reference.container
    if folder is None and command is not None and (reference.origin or not Path(command.cwd).is_dir()):
        raise ProjectError.usage(
            f"the files of {id} are not here", f"`provcrt checkout {id}`, and edit those"
        )
    return lineage(reference, executions), folder


def edited_by(archive: Archive, family: Sequence[Execution], folder: Path | None) -> Edited:
    """Return a command with its files as they are now; ProjectError where none was edited."""
    with archive.store() as store:
        kept = [Kept.load(each, store) for each in family]
        found = edited(kept[0], folder, left_by(kept), store)
    if not found.changes:
        raise ProjectError.nothing_to_commit(family[0].id)
    return found


def edited(
    kept: Kept, folder: Path | None, known: Mapping[str, set[str]], store: Store, notebook: str = ""
) -> Edited:
    """Return an execution with the files as they are now.

    Parameters
    ----------
    kept : Kept
    folder : Path or None
        Where it is checked out; None where the files are edited in place.
    known : mapping of str to set of str
        Contents that runs left in each path, which are no edits.
    store : Store
        Where new contents go.
    notebook : str
        The path of the notebook that is run, which is no file of its container.

    """
    cwd = kept.command.cwd
    added, gone, changes = [], [], []
    paths = {}
    for entry in kept.content.entries:
        if entry.kind == "file" and entry.digest and entry.path != notebook:
            paths[entry.path] = folder / _inner(entry.path, cwd) if folder else Path(entry.path)
    for path, place in paths.items():
        entry = next(each for each in kept.content.entries if each.path == path)
        if place.is_symlink() and folder is not None:
            continue
        if not place.is_file():
            gone.append(path)
            changes.append(f"{path} was removed")
            continue
        digest = digest_file(place)
        if digest == entry.digest or (folder is None and digest in known.get(path, ())):
            continue
        added.append(host_file(place, path, store))
        changes.append(_change(path, entry, place, store))
    seen = {each.path: each.mtime_ns for each in kept.content.entries if each.kind == "hollow"}
    for place in sorted((folder or Path(cwd)).rglob("*") if folder else _programs(Path(cwd))):
        path = _outer(place, folder, cwd) if folder else str(place)
        if place.is_symlink():
            continue  # in a checkout of what somebody else made it may lead anywhere
        if path not in paths and place.is_file() and path not in known and path != notebook:
            if seen.get(path) == place.stat().st_mtime_ns:
                continue  # it lay there, and nobody read it
            added.append(host_file(place, path, store))
            changes.append(f"{path} is new")
    return Edited(replace(kept, content=with_entries(kept.content, added, gone)), tuple(changes))


def left_by(executions: list[Kept]) -> dict[str, set[str]]:
    """Return the contents of each path that runs found or left there."""
    found: dict[str, set[str]] = {}
    for kept in executions:
        for fact in kept.audit.files:
            if fact.kind == "file":
                found.setdefault(fact.path, set()).update(filter(None, (fact.before, fact.after)))
    return found


def lineage(execution: Execution, executions: Iterable[Execution]) -> list[Execution]:
    """Return an execution and those that it came from."""
    known = {each.id: each for each in executions}
    found = [execution]
    while (parent := found[-1].parent) and parent in known:
        found.append(known.pop(parent))
    return found


def _programs(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*") if path.suffix in _PROGRAMS]


def _inner(path: str, cwd: str) -> str:
    """Return where a file is in a checkout."""
    inside = path.startswith(cwd.rstrip("/") + "/")
    return os.path.relpath(path, cwd) if inside else f"{_OTHERS}{path}"


def _outer(place: Path, folder: Path, cwd: str) -> str:
    """Return the path that a file of a checkout stands for."""
    inner = str(place.relative_to(folder))
    return inner.removeprefix(_OTHERS) if inner.startswith(f"{_OTHERS}/") else os.path.join(cwd, inner)


def _change(path: str, entry: Entry, place: Path, store: Store) -> str:
    """Return what became of a file, with its diff where it is text."""
    old = store.get(entry.digest) if entry.digest and entry.size < 1 << 20 else None
    try:
        texts = old.decode() if old is not None else None, place.read_text()
    except UnicodeDecodeError:
        texts = None, ""
    if texts[0] is None:
        return f"{path} was changed"
    lines = difflib.unified_diff(
        texts[0].splitlines(), texts[1].splitlines(), "before", "after", n=1, lineterm=""
    )
    return "\n".join([f"{path} was changed", *list(lines)[:_SHOWN]])
