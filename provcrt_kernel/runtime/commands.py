"""Commands: contain and audit a run, and run a container's content again, as it was or changed."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import msgspec

from provcrt_kernel.provenance.audit import Audit, pack
from provcrt_kernel.runtime import environment
from provcrt_kernel.runtime.archive import Archive
from provcrt_kernel.runtime.command import Ran, Run, in_place, masked, run, runnable, umask
from provcrt_kernel.runtime.contain import contain
from provcrt_kernel.runtime.content import Content
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import Commanded, Execution, Relation, Repetition
from provcrt_kernel.runtime.facts import Facts, network
from provcrt_kernel.runtime.inside import audited, bring_out, check_inputs, sandboxed
from provcrt_kernel.runtime.judge import Side, verdict
from provcrt_kernel.runtime.kept import Kept
from provcrt_kernel.runtime.listed import asked_for
from provcrt_kernel.runtime.secrets import without_secrets
from provcrt_kernel.runtime.streams import source
from provcrt_kernel.store import Store

T = TypeVar("T")
_STREAMS = ("stdin", "stdout", "stderr")


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
            asked = asked_for(ran.span, cwd)
            found = contain(
                ran.span,
                store,
                draft,
                folders=[cwd, *home],
                further=asked.packages,
                listed=asked.where,
            )
            streams = _streams(store, draft)
        except OSError as cause:
            raise ProjectError.cannot_write(draft, cause) from cause
        if given:
            streams["stdin"] = given
        audit, content = store.put(pack(found.audit)), store.put(pack(found.content))
        command = Commanded(
            argv=tuple(argv),
            program=tuple(program),
            cwd=cwd,
            environ=kept_environ,
            stdin=kind,
            streams=streams,
            status=ran.status,
            audit=audit,
            content=content,
            size=found.content.size,
            umask=umask(),
            left_out=left_out,
            network=network(found.audit),
            problems=found.audit.problems,
        )
        blobs = {*found.blobs, *found.content.blobs, *streams.values(), audit, content}
        return _keep(archive, store, draft, ran, command, blobs, found.content)


def _keep(
    archive: Archive,
    store: Store,
    draft: Path,
    ran: Ran,
    command: Commanded,
    blobs: set[str],
    content: Content,
    parent: str | None = None,
    relation: Relation | None = None,
    changes: tuple[str, ...] = (),
    origin: str = "",
) -> Execution:
    for name in _STREAMS:
        (draft / name).unlink(missing_ok=True)
    shutil.rmtree(draft / "before", ignore_errors=True)

    def make(id: str) -> Execution:
        archive.pin(store, id, blobs)
        return Execution(
            id=id,
            started=ran.started,
            seconds=ran.seconds,
            user=environment.user(),
            environment=environment.of(content),
            command=command,
            parent=parent,
            relation=relation,
            changes=changes,
            origin=origin,
        )

    return archive.keep(draft, make)


def repeat(
    archive: Archive,
    root: Path,
    execution: Execution,
    *,
    isolation: bool = True,
    show: bool = True,
    output: Path | None = None,
) -> Repetition:
    """Run a container's content again, and compare.

    Parameters
    ----------
    archive, root
        As for `execute`.
    execution : Execution
        The reference.
    isolation : bool
        Run it in a sandbox; else here, where all its inputs must be as they were.
    show : bool
        Pass its output on.
    output : Path, optional
        A folder that the files go to which it wrote.

    Raises
    ------
    ProjectError
        Where it cannot be repeated.
    """
    archive.prepare()
    with archive.draft() as draft, archive.store() as store:
        kept = Kept.load(execution, store)
        ran, audit, blobs = _run(
            archive, root, store, draft, kept, isolation=isolation, show=show, output=output
        )
        streams = _streams(store, draft)
        digest = store.put(pack(audit))
        command = msgspec.structs.replace(
            kept.command,
            streams=streams,
            status=ran.status,
            audit=digest,
            network=network(audit),
            problems=audit.problems,
            isolated=isolation,
        )
        system = {*kept.content.owned, *(each.path for each in kept.content.system)}
        found = verdict(Side(kept.command, kept.audit, system), Side(command, audit, system), store)
        for name in _STREAMS:
            (draft / name).unlink(missing_ok=True)

        def make(number: int) -> Repetition:
            archive.pin(store, f"{execution.id}/{number}", {*blobs, *streams.values(), digest})
            return Repetition(
                of=execution.id,
                number=number,
                started=ran.started,
                seconds=ran.seconds,
                environment=execution.environment,
                verdict=found,
                command=command,
            )

        return archive.keep_repetition(draft, execution.id, make)


def modify(
    archive: Archive,
    root: Path,
    kept: Kept,
    *,
    relation: Relation,
    changes: tuple[str, ...],
    show: bool = True,
) -> Execution:
    """Run a changed container in a sandbox as a new execution, related to the one that it was made from.

    Parameters
    ----------
    archive, root
        As for `execute`.
    kept : Kept
        The execution that it comes from, with `command` and `content` changed.
    relation : {"given", "commit"}
    changes : tuple of str
        What was changed, a line each.
    show : bool
        Pass its output on.
    """
    archive.prepare()
    with archive.draft() as draft, archive.store() as store:
        kept = replace(kept, command=_started(kept, store))
        ran, audit, blobs = _run(archive, root, store, draft, kept, isolation=True, show=show)
        streams = _streams(store, draft)
        digests = store.put(pack(audit)), store.put(pack(kept.content))
        command = msgspec.structs.replace(
            kept.command,
            streams=streams,
            status=ran.status,
            audit=digests[0],
            content=digests[1],
            size=kept.content.size,
            network=network(audit),
            problems=audit.problems,
            isolated=True,
        )
        every = {*blobs, *kept.content.blobs, *streams.values(), *digests}
        of = kept.execution
        return _keep(
            archive, store, draft, ran, command, every, kept.content, of.id, relation, changes, of.origin
        )


def _started(kept: Kept, store: Store) -> Commanded:
    """Return the command with the command line that starts its arguments as they are now."""
    command = kept.command
    added = len(command.program) - len(command.argv)  # an interpreter in front, where the program names none
    program = (*command.program[: added + 1], *command.argv[1:])
    return msgspec.structs.replace(command, program=program)


def _run(
    archive: Archive,
    root: Path,
    store: Store,
    draft: Path,
    kept: Kept,
    *,
    isolation: bool,
    show: bool,
    output: Path | None = None,
) -> tuple[Ran, Audit, set[str]]:
    """Run a kept command; return what it did."""
    command = kept.command
    stdin = None
    if command.stdin != "terminal":
        stdin = draft / "given"
        if "stdin" not in command.streams or not store.restore(command.streams["stdin"], stdin):
            stdin.write_bytes(b"")
    if not isolation:
        if not archive.is_ours(kept.execution.id):
            raise ProjectError.not_ours(kept.execution.id)
        check_inputs(kept, store)
        environ = {**command.environ, **{n: os.environ[n] for n in command.left_out if n in os.environ}}
        runner = in_place([str(root / ".provcrt")])
        with masked(command.umask):
            ran = run(command.program, command.cwd, environ, draft, runner, show=show, stdin=stdin)
        facts = Facts(store)
        return ran, facts.audit(ran.span), facts.blobs
    with sandboxed(archive, root, store, kept) as sandbox:
        isolated: Run = sandbox.run
        with masked(command.umask):
            ran = run(command.program, command.cwd, command.environ, draft, isolated, show=show, stdin=stdin)
        audit, blobs = audited(ran.span, sandbox, kept, store)
        if output is not None:
            bring_out(audit, Path(sandbox.root), output, command.cwd)
    (draft / "given").unlink(missing_ok=True)
    return ran, audit, blobs


def _standard_input(store: Store) -> str | None:
    """Keep the file that our standard input is."""
    try:
        path = os.readlink("/proc/self/fd/0")
        if stat.S_ISREG(os.stat(path).st_mode):
            return store.put_file(path, compress=True)
    except OSError:
        pass
    return None


def _streams(store: Store, folder: Path) -> dict[str, str]:
    return {
        name: store.put_file(folder / name, compress=True)
        for name in _STREAMS
        if name != "stdin" or (folder / name).stat().st_size
    }
