"""Commands: contain and audit a run as a reference execution. `again` runs it again."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec

from provcrt_kernel.runtime import environment
from provcrt_kernel.runtime.archive import Archive
from provcrt_kernel.runtime.command import Ran, in_place, run, runnable
from provcrt_kernel.runtime.contain import contain
from provcrt_kernel.runtime.content import Content
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import Commanded, Descent, Execution
from provcrt_kernel.runtime.listed import asked_for
from provcrt_kernel.runtime.secrets import without_secrets
from provcrt_kernel.runtime.streams import source
from provcrt_kernel.store import Store

STREAMS = ("stdin", "stdout", "stderr")


def execute(archive: Archive, root: Path, argv: Sequence[str], *, show: bool = True) -> Execution:
    """Run a command here as a reference execution.

    Parameters
    ----------
    archive : Archive
        Of the project.
    root : Path
        The project's folder.
    argv : sequence of str
        The command and its arguments.
    show : bool
        Pass its output on.

    Raises
    ------
    ProjectError
        Where it cannot be run, or not be kept.
    StoreError
        Where its contents cannot be kept.
    KeyboardInterrupt
        Where it was interrupted; nothing is kept then.
    """
    cwd = os.getcwd()
    environ = dict(os.environ)
    program = runnable(argv, cwd, environ)
    archive.prepare()
    with archive.draft() as draft, archive.store() as store:
        kind = source()
        given = _standard_input(store) if kind == "file" else None
        runner = in_place([str(root / ".provcrt")], draft / "before")
        ran = run(program, cwd, environ, draft, runner, show=show)
        kept_environ, left_out = without_secrets(environ)
        home = [environ["HOME"]] if os.path.isabs(environ.get("HOME", "")) else []
        try:
            asked = asked_for(ran.span, cwd, notes=store)
            found = contain(
                ran.span,
                store,
                draft,
                folders=[cwd, *home],
                further=asked.packages,
                listed=asked.where,
            )
            streams = streams_of(store, draft)
        except OSError as cause:
            raise ProjectError.cannot_write(draft, cause) from cause
        if given:
            streams["stdin"] = given
        command, blobs = found.keep(
            store,
            argv=tuple(argv),
            program=tuple(program),
            cwd=cwd,
            environ=kept_environ,
            stdin=kind,
            streams=streams,
            status=ran.status,
            left_out=left_out,
        )
        return keep(archive, store, draft, ran, command, blobs, found.content, Descent())


def keep(
    archive: Archive,
    store: Store,
    draft: Path,
    ran: Ran,
    command: Commanded,
    blobs: set[str],
    content: Content,
    descent: Descent,
) -> Execution:
    """Keep a run of a command as the next execution, with the blobs that it needs."""
    for name in STREAMS:
        (draft / name).unlink(missing_ok=True)
    shutil.rmtree(draft / "before", ignore_errors=True)
    execution = Execution.of(ran, environment.user(), environment.of(content), descent, command=command)

    def make(id: str) -> Execution:
        archive.pin(store, id, blobs)
        return msgspec.structs.replace(execution, id=id)

    return archive.keep(draft, make)


def _standard_input(store: Store) -> str | None:
    """Keep the file that our standard input is."""
    try:
        path = os.readlink("/proc/self/fd/0")
        if stat.S_ISREG(os.stat(path).st_mode):
            return store.put_file(path, compress=True)
    except OSError:
        pass
    return None


def streams_of(store: Store, folder: Path) -> dict[str, str]:
    """Keep what went through the streams of a command, and return the digests."""
    return {
        name: store.put_file(folder / name, compress=True)
        for name in STREAMS
        if name != "stdin" or (folder / name).stat().st_size
    }
