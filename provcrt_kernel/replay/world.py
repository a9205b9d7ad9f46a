"""The files around a cell that runs again: as it found them while it runs, and as they are now when it has.

Later cells of the session may have changed what the cell reads, and it may write what they have changed since. What they
left is in their records, so it can be undone for a moment. What anybody else changed is never undone: then the cell cannot
run again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeGuard

from provcrt_kernel.replay.files import Files, clears_folders
from provcrt_kernel.replay.history import History
from provcrt_kernel.replay.record import FileInput, FileOutput, Record
from provcrt_kernel.session import environ


class Unlike(Exception):
    """The world is not what it was when the cell ran; the message says where."""


class World:
    """Files and environment variables at earlier times of one session.

    Attributes
    ----------
    folder, environ
        The working directory and the environment that the session began with.
    """

    def __init__(self, files: Files, history: History) -> None:
        self._files = files
        self._history = history
        self.folder = Path(os.path.realpath(os.getcwd()))
        self.environ = dict(os.environ)

    @contextmanager
    def as_now(self, paths: Iterable[str]) -> Iterator[None]:
        """Whatever happens to some paths in the block, afterwards they are what they were before."""
        with tempfile.TemporaryDirectory(prefix="provcrt-") as copies, contextlib.ExitStack() as after:
            for number, path in enumerate(paths):
                after.callback(self._as_now(path, (), f"{copies}/{number}"))
            yield

    def may_be(self, index: int) -> str | None:
        """Why an execution certainly cannot find its files as they were; None if `then` may succeed."""
        record = self._history[index].record
        assert record is not None
        if clears_folders(record):
            return "it removes folders with all that is in them"
        reason = self._files.differs(record)
        return reason if reason is None or not self.earlier(index) else None

    @contextmanager
    def then(self, index: int) -> Iterator[None]:
        """Make the world what it was before an execution; afterwards make it what it is now.

        Raises
        ------
        Unlike
            It cannot be; nothing has changed.
        """
        record = self._history[index].record
        assert record is not None
        variables = self._variables(record, index)
        wanted = self.earlier(index) if self._files.differs(record) else []
        with tempfile.TemporaryDirectory(prefix="provcrt-") as folder, contextlib.ExitStack() as after:
            for number, path in enumerate(dict.fromkeys(o.path for o in (*wanted, *record.outputs))):
                after.callback(self._as_now(path, record.outputs, f"{folder}/{number}"))
            before = dict(os.environ)
            after.callback(_environ_becomes, before)
            if wanted:
                times = {o.path: os.lstat(o.path).st_mtime_ns for o in wanted if os.path.lexists(o.path)}
                failed = self._files.put_back(wanted)
                for path in times.keys() & {o.path for o in wanted if o.kind == "file"} - set(failed):
                    # older than what is there now: who notes the time of a module's source shall see that it changed
                    os.utime(path, ns=(times[path], max(times[path] - _LONG, 0)))
                reason = f"{failed[0]} cannot be as it was" if failed else self._files.differs(record)
                if reason:
                    raise Unlike(reason)
            _environ_becomes({n: v for n, v in {**before, **variables}.items() if v is not None})
            yield

    def earlier(self, index: int) -> list[FileOutput]:
        """What paths were before an execution, of those that it and later ones changed and nobody else since."""
        own = self._history[index].record
        first = {i.path: i for i in own.inputs} if own is not None else {}
        now: dict[str, FileOutput] = {}
        then: dict[str, FileOutput | None] = {}
        for later in range(index, len(self._history)):
            record = self._history[later].record
            if record is None:
                continue
            looked = {i.path: i for i in record.inputs}
            for output in record.outputs:
                now[output.path] = output
                if output.path not in then:
                    # nobody changed it between the two, and one may know more of it than the other
                    told = (first.get(output.path), looked.get(output.path))
                    then[output.path] = next((_as_found(known) for known in told if _tells_all(known)), None)
        for earlier in range(index - 1, -1, -1):
            record = self._history[earlier].record
            for output in record.outputs if record is not None else ():
                if output.path in then and then[output.path] is None:
                    then[output.path] = output
        return [
            state
            for path, state in then.items()
            if state is not None and state.kind != "link" and self._files.in_place(now[path])
        ]

    def _as_now(self, path: str, stored: Sequence[FileOutput], copy: str) -> Callable[[], object]:
        """What makes a path again what it is now; its content is copied unless it is as `stored` says."""
        try:
            status = os.lstat(path)
        except OSError:
            return lambda: _remove(path)
        if stat.S_ISLNK(status.st_mode):
            target = os.readlink(path)
            return lambda: self._files.put_back([FileOutput(path, "link", target)])
        if stat.S_ISDIR(status.st_mode):
            return lambda: os.makedirs(path, exist_ok=True)
        own = next((o for o in stored if o.path == path and self._files.in_place(o)), None)
        if own is None:
            shutil.copy2(path, copy)

        def restore() -> None:
            if os.path.lexists(path) and _identity(os.lstat(path)) == _identity(status):
                return
            if _open_for_writing(path):  # who has it open goes on with the file of this name
                if own is not None:
                    self._files.put_back([FileOutput(copy, own.kind, own.content, own.mode, own.size)])
                with open(copy, "rb") as source, open(path, "r+b") as target:
                    shutil.copyfileobj(source, target)
                    target.truncate()
            elif own is not None:
                self._files.put_back([own])
            else:
                shutil.copy2(copy, f"{path}.provcrt")
                os.replace(f"{path}.provcrt", path)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

        return restore

    def _variables(self, record: Record, index: int) -> dict[str, str | None]:
        """Values that the environment variables which a cell read had then, where they are others now."""
        found: dict[str, str | None] = {}
        for name, version in record.environ.items():
            if name == environ.ALL or environ.version(os.environ.get(name)) == version:
                continue
            executions = (self._history[i].record for i in range(index))
            values = [r.set_environ[name] for r in executions if r is not None and name in r.set_environ]
            value = values[-1] if values else self.environ.get(name)
            if environ.version(value) != version:
                raise Unlike(f"environment variable {name} changed")
            found[name] = value
        return found


#: Nanoseconds that what a file was is older than what it is: no byte code was compiled at just that time.
_LONG = 100_000_007 * 10**9


def _tells_all(known: FileInput | None) -> TypeGuard[FileInput]:
    """Whether a path can be put back from what a cell found there; what a folder held is looked at afterwards."""
    return known is not None and (
        known.kind in ("absent", "dir") or (known.kind == "file" and bool(known.content))
    )


def _as_found(known: FileInput) -> FileOutput:
    return FileOutput(known.path, known.kind, known.content, known.mode or 0o644, known.size or 0)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _open_for_writing(path: str) -> bool:
    """Whether this process has a file open and may write to it."""
    with contextlib.suppress(OSError):
        wanted = os.stat(path)
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(int(number)), wanted):
                    return fcntl.fcntl(int(number), fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    return False


def _remove(path: str) -> None:
    """Remove what was not there before, and whatever has been put into it since."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)


def _environ_becomes(wanted: dict[str, str]) -> None:
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
