"""How executions are kept: numbered folders of plain files, each there whole or not at all.

::

    .provcrt/
      store/                     contents, and what the kernel records, see `provcrt_kernel.store`
      cache/                     what repetitions share; it may be removed
      current                    the name of the project that is open, where it has one
      executions/                those of the project without a name; of others in projects/NAME/executions,
                                 beside them the store of what was imported
        last                     the highest number that was ever given
        e1/
          execution.json         `Execution`; and seal, this user's signature on it
          source.ipynb           a notebook as it was run, byte for byte
          executed.ipynb         with its outputs
          repetitions/1/         repetition.json, executed.ipynb
        branches/b1.json         `Branch`: a notebook that came from another, and may not have run yet

An execution is filled in a draft and renamed into place when it is complete. What it has in the store stays there
for as long as a record of its name does.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import FORMAT, Branch, Execution, Repetition, from_json, to_json
from provcrt_kernel.store import Store
from provcrt_kernel.store.place import user_folder
from provcrt_kernel.store.seal import SIZE, Seal, user_seal

FOLDER = ".provcrt"
SOURCE, EXECUTED = "source.ipynb", "executed.ipynb"
_ID = re.compile(r"e([1-9][0-9]{0,8})")
_BRANCH = re.compile(r"b[1-9][0-9]{0,8}")
_NAME = re.compile(r"[\w][\w. -]{0,99}")
_YOUNG = 60.0  # seconds in which a new draft has certainly been locked

T = TypeVar("T", Execution, Repetition, Branch)


class _Versioned(msgspec.Struct, frozen=True):
    """The one thing that every version of a file says."""

    format: int


def nearest(start: Path) -> Path | None:
    """Return the nearest folder at or above `start` that holds a project, or None."""
    start = start.absolute()
    return next((folder for folder in (start, *start.parents) if (folder / FOLDER).is_dir()), None)


class Archive:
    """The executions of one project in the folder `root`.

    Parameters
    ----------
    root : Path
        The folder that holds ``.provcrt``.
    name : str, optional
        Of the project; by default of the one that was opened last.
    network : bool
        Let what others made reach the network where it did.

    Attributes
    ----------
    name : str
        Empty where the project has none.
    folder, cache : Path
        Where the executions are, and what may be removed.
    """

    def __init__(self, root: Path, name: str | None = None, *, network: bool = False) -> None:
        self._network = network
        self._home = root / FOLDER
        self.name = _current(self._home) if name is None else name
        self.folder = (self._home / "projects" / self.name if self.name else self._home) / "executions"
        self.cache = self._home / "cache"

    def store(self, *, readonly: bool = False) -> Store:
        """Open the store with the contents of this project; StoreError where it cannot be.

        Parameters
        ----------
        readonly : bool
            Only to read, which can be done where nobody may write.
        """
        own = self.folder.parent / "store"  # of what was imported
        place = own if self.name and own.is_dir() else self._home / "store"
        if readonly and place.is_dir() and not os.access(place, os.W_OK):
            return Store.open(place, readonly=True)
        return Store.open(place)

    def import_begins(self) -> None:
        """Make a project for what others made, with a store of its own; ProjectError where there is one already."""
        if self.folder.is_dir():
            raise ProjectError.usage(f"there is a project {self.name} already", "give another with --name")
        self._check_name()
        self.prepare()
        (self.folder.parent / "store").mkdir(mode=0o700)

    def import_fails(self) -> None:
        """Remove the project again."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    def pin(self, store: Store, what: str, blobs: Collection[str]) -> None:
        """Keep blobs for as long as the execution or repetition `what` is there; StoreError where that fails."""
        name = f"container:{self.name}:{what}"
        store.add(name, name, b"", worth=math.inf, blobs=blobs)

    def create(self) -> bool:
        """Make the project if it is not there, and have it be the one that is open; return whether it is new."""
        if self.name:
            self._check_name()
        new = not self.folder.is_dir()
        self.prepare()
        write(self._home / "current", self.name.encode() + b"\n")
        return new

    def _check_name(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ProjectError.usage(
                f"{self.name!r} cannot be the name of a project", "use letters and digits"
            )

    def remove(self, id: str, store: Store) -> set[str]:
        """Remove an execution with all its repetitions; return the blobs that nobody can be about to refer to.

        Raises
        ------
        ProjectError
            Where there is none.
        """
        self.execution(id)
        with self.alone():
            gone = self.folder / f".draft-{id}-{os.getpid()}"
            (self.folder / id).rename(gone)
        blobs = store.drop(
            [
                f"container:{self.name}:{each}"
                for each in (id, *(f"{id}/{n}" for n in _numbers(gone / "repetitions")))
            ]
        )
        shutil.rmtree(gone, ignore_errors=True)
        drafts = self._home.glob("**/executions/.draft-*")
        return set() if any(_is_locked(each) for each in drafts) else blobs

    def is_id(self, text: str) -> bool:
        """Tell whether a text can be the id of an execution."""
        return _ID.fullmatch(text) is not None

    def ids(self) -> list[str]:
        """Return the ids of the executions, oldest first."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except OSError as cause:
            raise ProjectError.cannot_read(self.folder, cause) from cause
        return sorted((name for name in names if _ID.fullmatch(name)), key=lambda name: int(name[1:]))

    def execution(self, id: str) -> Execution:
        """Return an execution.

        Raises
        ------
        ProjectError
            Where `id` is none, there is none with it, or it cannot be read back.
        """
        if not _ID.fullmatch(id):
            raise ProjectError.malformed_id(id)
        if not (self.folder / id).is_dir():
            raise ProjectError.unknown_id(id, self.ids())
        return _load(self.folder / id / "execution.json", Execution)

    def is_ours(self, id: str) -> bool:
        """Tell whether this user made an execution here; what came with a folder from elsewhere is another's."""
        try:
            mac = (self.folder / id / "seal").read_bytes()
            data = (self.folder / id / "execution.json").read_bytes()
        except OSError:
            return False
        return len(mac) == SIZE and _seal().open(_sealed(self.name, id), mac + data) is not None

    def may_reach(self, execution: Execution) -> bool:
        """Tell whether an execution may reach the network: what others made, and what came of that, where it is asked for."""
        if self._network:
            return True
        while self.is_ours(execution.id):
            if not execution.parent:
                return not execution.origin
            if execution.parent not in self.ids():
                break
            execution = self.execution(execution.parent)
        return False

    def repetitions(self, id: str) -> list[Repetition]:
        """Return the repetitions of an execution, oldest first; raises as `execution` does."""
        self.execution(id)
        folder = self.folder / id / "repetitions"
        return [_load(folder / str(number) / "repetition.json", Repetition) for number in _numbers(folder)]

    def branches(self) -> list[Branch]:
        """Return the branches of notebooks, oldest first; ProjectError where one cannot be read."""
        paths = [path for path in (self.folder / "branches").glob("b*.json") if _BRANCH.fullmatch(path.stem)]
        return [_load(path, Branch) for path in sorted(paths, key=lambda path: int(path.stem[1:]))]

    def forget(self, id: str) -> Branch:
        """Forget a branch, and leave its notebook as it is; ProjectError where there is none."""
        known = {each.id: each for each in self.branches()}
        if id not in known:
            raise ProjectError.unknown_id(id, list(known))
        (self.folder / "branches" / f"{id}.json").unlink(missing_ok=True)
        return known[id]

    def read(self, id: str, name: str) -> tuple[Path, bytes]:
        """Return where a file of an execution is, and what is in it; ProjectError where it cannot be read."""
        path = self.folder / id / name
        return path, _read(path)

    def prepare(self) -> None:
        """Make the project's folder and remove what killed processes left; ProjectError where that fails.

        To be called before a notebook runs: a mistake shows before hours are spent, and the folder does not
        come into being under the eyes of a cell that lists files.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            ignore = self._home / ".gitignore"
            if not ignore.exists():
                ignore.write_text("store/\ncache/\n")
            for old in self.folder.glob(".draft-*"):
                if _abandoned(old):
                    shutil.rmtree(old, ignore_errors=True)
            os.rmdir(tempfile.mkdtemp(prefix=".draft-", dir=self.folder))
        except OSError as cause:
            raise ProjectError.cannot_write(self.folder, cause) from cause

    @contextlib.contextmanager
    def draft(self) -> Iterator[Path]:
        """Yield a folder to be filled, and then handed to `keep` or `keep_repetition`; else it goes.

        Raises
        ------
        ProjectError
            Where it cannot be made.
        """
        try:
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self.folder))
            held = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as cause:
            raise ProjectError.cannot_write(self.folder, cause) from cause
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            os.close(held)

    def keep(self, draft: Path, make: Callable[[str], Execution], *, id: str | None = None) -> Execution:
        """Keep a filled draft as the next execution, which `make` makes for its id; or as `id`, in a new project."""
        with self.alone():
            record = self.folder / "last"
            last = int(record.read_text()) if record.exists() else 0
            number = 1 + max([last, *(int(each[1:]) for each in self.ids())])
            if id is not None:
                number = int(id[1:])
            write(record, b"%d\n" % max(last, number))
            execution = make(f"e{number}")
            data = to_json(execution)
            (draft / "execution.json").write_bytes(data)
            if not execution.origin:
                (draft / "seal").write_bytes(_seal().close(_sealed(self.name, execution.id), data)[:SIZE])
            draft.rename(self.folder / execution.id)
        return execution

    def keep_repetition(self, draft: Path, id: str, make: Callable[[int], Repetition]) -> Repetition:
        """Keep a filled draft as the next repetition of `id`, which `make` makes for its number."""
        folder = self.folder / id / "repetitions"
        with self.alone():
            folder.mkdir(exist_ok=True)
            repetition = make(1 + max(_numbers(folder), default=0))
            (draft / "repetition.json").write_bytes(to_json(repetition))
            draft.rename(folder / str(repetition.number))
        return repetition

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out meanwhile; ProjectError where something inside cannot be written."""
        try:
            descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)
        except (OSError, ValueError) as cause:
            raise ProjectError.cannot_write(self.folder, cause) from cause


def _abandoned(draft: Path) -> bool:
    """Tell whether whoever fills a draft is gone; the clock may have been set meanwhile."""
    try:
        young = abs(time.time() - draft.stat().st_mtime) < _YOUNG  # it may be about to be locked
    except OSError:
        return False
    return not young and not _is_locked(draft)


def _is_locked(draft: Path) -> bool:
    """Tell whether somebody fills a draft."""
    try:
        held = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:  # or this file system has no locks
        return True
    finally:
        os.close(held)


def write(path: Path, data: bytes) -> None:
    """Write a file at once or not at all; ProjectError where it cannot be written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as cause:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise ProjectError.cannot_write(path, cause) from cause


def _seal() -> Seal:
    return user_seal(user_folder())[0]


def _sealed(project: str, id: str) -> str:
    return f"execution:{project}:{id}"


def _current(home: Path) -> str:
    """Return the name of the project that was opened last, or an empty one."""
    try:
        name = (home / "current").read_text(errors="replace").strip()
    except OSError:
        return ""
    return name if _NAME.fullmatch(name) else ""


def _numbers(folder: Path) -> list[int]:
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())


def _load(path: Path, kind: type[T]) -> T:
    try:
        found = from_json(_read(path), kind)
    except (msgspec.MsgspecError, ValueError) as cause:
        with contextlib.suppress(msgspec.MsgspecError, ValueError):
            if from_json(_read(path), _Versioned).format > FORMAT:
                raise ProjectError.newer(path) from None
        raise ProjectError.damaged(path, cause) from cause
    if found.format > FORMAT:
        raise ProjectError.newer(path)
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as cause:
        raise ProjectError.damaged(path, cause) from cause
