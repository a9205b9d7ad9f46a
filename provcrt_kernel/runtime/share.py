"""One file to share: an execution with all that it came from, and nothing that is run or believed when it is opened.

A ``.provcrt`` file is a zip file (PKWARE APPNOTE 6.3.10)::

    manifest.json              `Manifest`
    blobs/<digest>             contents, audits, streams, files
    notebooks/e1/source.ipynb  and executed.ipynb

No record of a kernel is in it, and so no pickle. What is opened becomes a project with a store of its own: a blob made
to collide with one of this user's could not take its place.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from provcrt_kernel.provenance.audit import Audit
from provcrt_kernel.runtime.archive import EXECUTED, SOURCE, Archive
from provcrt_kernel.runtime.content import Content, within
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import FORMAT, Execution, from_json, to_json
from provcrt_kernel.runtime.kept import Kept
from provcrt_kernel.store import Store

SUFFIX = ".provcrt"
_NAME = re.compile(r"manifest\.json|blobs/[0-9a-f]{32}|notebooks/e[1-9][0-9]{0,8}/(?:source|executed)\.ipynb")
_ID = re.compile(r"e[1-9][0-9]{0,8}")
_MOST = 1_000_000  # members
_LARGEST_JSON = 1 << 28  # bytes of a manifest, a content or an audit
_ROOT = Path("/container")  # stands for any root when paths are only looked at


class Manifest(msgspec.Struct, frozen=True):
    """What a shared file holds: executions, the oldest first, the last of which is the one that was exported."""

    executions: tuple[Execution, ...]
    format: int = FORMAT


OnPart = Callable[[int, int], None]


def _quietly(done: int, all: int) -> None:
    """Be told how far it is, and do nothing."""


def export(archive: Archive, family: Sequence[Execution], target: Path, on_part: OnPart = _quietly) -> int:
    """Write executions to a file, at once or not at all; return its size in bytes.

    Parameters
    ----------
    archive : Archive
    family : sequence of Execution
        The execution, and those that it came from.
    target : Path
        The file.
    on_part : callable
        Told how many contents of how many are in it.

    Raises
    ------
    ProjectError
        Where it cannot be written, or content is lost.
    """
    archive.prepare()
    with archive.store() as store, archive.draft() as scratch:
        blobs = sorted(
            {blob for each in family if each.container is not None for blob in _blobs(each, store)}
        )
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr("manifest.json", to_json(Manifest(tuple(reversed(family)))))
                for each in family:
                    if each.notebook is not None:
                        for name in (SOURCE, EXECUTED):
                            file.writestr(f"notebooks/{each.id}/{name}", archive.read(each.id, name)[1])
                for number, blob in enumerate(blobs):
                    on_part(number, len(blobs))
                    place = scratch / "blob"
                    if not store.restore(blob, place):
                        raise ProjectError.content_lost([blob])
                    file.write(place, f"blobs/{blob}")
            draft.replace(target)
        except OSError as cause:
            raise ProjectError.cannot_write(target, cause) from cause
        finally:
            draft.unlink(missing_ok=True)
    return target.stat().st_size


def _blobs(execution: Execution, store: Store) -> set[str]:
    kept = Kept.load(execution, store)
    left = {fact.after for fact in kept.audit.files if fact.kind == "file" and fact.written and fact.after}
    optional = {each for each in left if store.has(each)}
    command = kept.command
    return {command.audit, command.content, *command.streams.values(), *kept.content.blobs, *optional}


def load(archive: Archive, source: Path, on_part: OnPart = _quietly) -> tuple[Execution, ...]:
    """Bring the executions of a shared file into a new project; return them.

    Parameters
    ----------
    archive : Archive
        Of a project that is not there yet.
    source : Path
        The file.
    on_part : callable
        Told how many contents of how many were checked.

    Raises
    ------
    ProjectError
        Where it cannot be read, or says what no honest file says; nothing is kept then.
    StoreError
        Where its contents cannot be kept.
    """
    try:
        with zipfile.ZipFile(source) as file:
            members = _members(file, archive.folder)
            manifest = _manifest(file)
            archive.import_begins()
            try:
                with archive.store() as store:
                    _fill(file, members, store, on_part)
                    executions = tuple(_checked(each, store, members) for each in manifest.executions)
                    for each in executions:
                        _keep(archive, file, each, store, source.name)
            except BaseException:
                archive.import_fails()
                raise
            return executions
    except FileNotFoundError:
        raise ProjectError.no_such_file(source) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as cause:
        raise ProjectError.hostile(f"{source.name} is no sound file: {cause}") from cause
    except OSError as cause:
        raise ProjectError.cannot_read(source, cause) from cause


def _members(file: zipfile.ZipFile, folder: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the members of a file, if they are what an honest one has and fit on the disk."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in file.infolist():
        if not _NAME.fullmatch(info.filename) or info.filename in found or len(found) > _MOST:
            raise ProjectError.hostile(f"it holds {info.filename[:100]!r}")
        found[info.filename] = info
    near = next(each for each in (folder, *folder.parents) if each.is_dir())
    if sum(info.file_size for info in found.values()) > shutil.disk_usage(near).free:
        raise ProjectError.hostile("it says that it is larger than the free disk space")
    return found


def _manifest(file: zipfile.ZipFile) -> Manifest:
    try:
        data = _read(file, "manifest.json")
        manifest = from_json(data, Manifest)
    except (KeyError, msgspec.MsgspecError, ValueError) as cause:
        raise ProjectError.hostile("its manifest cannot be read") from cause
    if manifest.format > FORMAT:
        raise ProjectError.newer(Path(file.filename or ""))
    ids = [each.id for each in manifest.executions]
    if not ids or len(set(ids)) < len(ids) or not all(map(_ID.fullmatch, ids)):
        raise ProjectError.hostile("its executions have no proper names")
    for number, each in enumerate(manifest.executions):
        if each.parent in ids[number:]:
            raise ProjectError.hostile(f"{each.id} comes from one that is behind it")
    return manifest


def _read(file: zipfile.ZipFile, name: str) -> bytes:
    if file.getinfo(name).file_size > _LARGEST_JSON:
        raise ProjectError.hostile(f"its {name} is too large")
    return file.read(name)


def _fill(file: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], store: Store, on_part: OnPart) -> None:
    """Keep the blobs of a file, each checked against its name."""
    with tempfile.TemporaryDirectory(dir=store.folder) as folder:
        place = Path(folder) / "blob"
        for number, (name, info) in enumerate(members.items()):
            on_part(number, len(members))
            if not name.startswith("blobs/"):
                continue
            with file.open(info) as source, open(place, "wb") as target:
                for piece in _pieces(source, info.file_size):
                    target.write(piece)
            if store.put_file(place, compress=True) != name.removeprefix("blobs/"):
                raise ProjectError.hostile(f"{name} is not what its name says")


def _pieces(source: IO[bytes], size: int) -> Iterator[bytes]:
    """Yield a member's content, which must be as long as it says."""
    left = size
    while piece := source.read(1 << 20):
        left -= len(piece)
        if left < 0:
            raise ProjectError.hostile("a member is longer than it says")
        yield piece
    if left:
        raise ProjectError.hostile("a member is shorter than it says")


def _checked(execution: Execution, store: Store, members: dict[str, zipfile.ZipInfo]) -> Execution:
    """Return an execution if all that it refers to is there and nothing in it leads elsewhere."""
    command = execution.container
    if execution.command is None:
        missing = [name for name in (SOURCE, EXECUTED) if f"notebooks/{execution.id}/{name}" not in members]
        path = execution.notebook.path if execution.notebook is not None else ""
        if missing or not path or os.path.isabs(path) or ".." in Path(path).parts:
            raise ProjectError.hostile(f"the notebook of {execution.id} is not in it")
    if command is None:
        return execution
    kept = Kept.load(execution, store)
    _look_at(kept.content, kept.audit)
    needed = {*kept.content.blobs, *command.streams.values()}
    if not all(store.has(each) for each in needed):
        raise ProjectError.hostile(f"contents of {execution.id} are not in it")
    if not command.argv or not command.program or not os.path.isabs(command.cwd):
        raise ProjectError.hostile(f"{execution.id} names no command")
    if any("\0" in word for word in (*command.argv, *command.program, command.cwd)):
        raise ProjectError.hostile(f"{execution.id} names no command that can be run")
    return execution


def _look_at(content: Content, audit: Audit) -> None:
    for entry in (*content.entries, *content.system):
        within(_ROOT, entry.path)
        if "\0" in entry.target or entry.size < 0:
            raise ProjectError.hostile(f"it describes {entry.path!r} as no file can be")
    for folder in content.folders:
        if folder != "/":
            within(_ROOT, folder)
    for fact in audit.files:
        if fact.path != "/":
            within(_ROOT, fact.path)


def _keep(archive: Archive, file: zipfile.ZipFile, execution: Execution, store: Store, origin: str) -> None:
    blobs: set[str] = set()
    if execution.container is not None:
        blobs = _blobs(execution, store)
    with archive.draft() as draft:
        if execution.command is None:
            for name in (SOURCE, EXECUTED):
                (draft / name).write_bytes(_read(file, f"notebooks/{execution.id}/{name}"))
        archive.pin(store, execution.id, blobs)
        archive.keep(
            draft, lambda id: msgspec.structs.replace(execution, id=id, origin=origin), id=execution.id
        )


def name_of(source: Path) -> str:
    """Return the project's name that a shared file suggests."""
    name = re.sub(r"[^\w. -]+", "-", source.name.removesuffix(SUFFIX)).strip("-. ")
    return name[:100] or "imported"
