"""Commands again: run a container's content, as it was or changed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import msgspec

from provcrt_kernel.provenance.audit import Audit
from provcrt_kernel.runtime.archive import Archive
from provcrt_kernel.runtime.command import Ran, Run, in_place, masked, run
from provcrt_kernel.runtime.commands import STREAMS, keep, streams_of
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.execution import Commanded, Descent, Execution, Repetition
from provcrt_kernel.runtime.facts import Facts
from provcrt_kernel.runtime.inside import audited, bring_out, check_inputs, sandboxed
from provcrt_kernel.runtime.judge import Side, verdict
from provcrt_kernel.runtime.kept import Kept
from provcrt_kernel.store import Store


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
        As for `commands.execute`.
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
        streams = streams_of(store, draft)
        command, digests = kept.again(audit, store, streams=streams, status=ran.status, isolated=isolation)
        system = {*kept.content.owned, *(each.path for each in kept.content.system)}
        found = verdict(Side(kept.command, kept.audit, system), Side(command, audit, system), store)
        for name in STREAMS:
            (draft / name).unlink(missing_ok=True)

        def make(number: int) -> Repetition:
            archive.pin(store, f"{execution.id}/{number}", {*blobs, *digests})
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
    descent: Descent,
    show: bool = True,
) -> Execution:
    """Run a changed container in a sandbox as a new execution, related to the one that it was made from.

    Parameters
    ----------
    archive, root
        As for `commands.execute`.
    kept : Kept
        The execution that it comes from, with `command` and `content` changed.
    descent : Descent
        How it came from that one, and what was changed.
    show : bool
        Pass its output on.
    """
    archive.prepare()
    with archive.draft() as draft, archive.store() as store:
        kept = replace(kept, command=_started(kept, store))
        ran, audit, blobs = _run(archive, root, store, draft, kept, isolation=True, show=show)
        command, digests = kept.again(
            audit,
            store,
            changed=True,
            streams=streams_of(store, draft),
            status=ran.status,
            isolated=True,
        )
        return keep(archive, store, draft, ran, command, {*blobs, *digests}, kept.content, descent)


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
