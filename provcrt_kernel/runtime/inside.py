"""A container's content brought to life: laid out, run in, looked at afterwards; or compared with what is here."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from provcrt_kernel.provenance.audit import Audit
from provcrt_kernel.runtime.archive import Archive
from provcrt_kernel.runtime.content import left_at
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.facts import Facts
from provcrt_kernel.runtime.kept import Kept
from provcrt_kernel.runtime.pack import packed
from provcrt_kernel.runtime.roots import laid_out
from provcrt_kernel.runtime.sandbox import Bind, Sandbox, problem
from provcrt_kernel.store import Store, digest_file
from provcrt_kernel.trace import Span


@contextmanager
def sandboxed(
    archive: Archive, root: Path, store: Store, kept: Kept, shared: Sequence[Bind] = ()
) -> Iterator[Sandbox]:
    """Lay an execution's content out to be run in, and remove it afterwards.

    Parameters
    ----------
    archive : Archive
        Of the project.
    root : Path
        The project's folder.
    store : Store
        With the contents.
    kept : Kept
        The execution.
    shared : sequence of Bind
        What else is to be seen in there.

    Raises
    ------
    ProjectError
        Where nothing can be isolated, or it cannot be laid out.
    """
    if why := problem():
        raise ProjectError.no_isolation(why)
    try:
        archive.cache.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=archive.cache, prefix=".run-", ignore_cleanup_errors=True
        ) as folder:
            yield laid_out(
                kept.content,
                store,
                archive.cache,
                Path(folder),
                network=bool(kept.command.network) and archive.may_reach(kept.execution),
                ignore=[str(root / ".provcrt"), *(each.target for each in shared)],
                shared=shared,
            )
    except OSError as cause:
        raise ProjectError.cannot_write(archive.cache, cause) from cause


def audited(span: Span, sandbox: Sandbox, kept: Kept, store: Store) -> tuple[Audit, set[str]]:
    """Return what a run in a sandbox did, and the digests of what was kept of it."""
    known = {each.path: each.digest for each in (*kept.content.entries, *kept.content.system)}
    facts = Facts(store, lambda path: left_at(Path(sandbox.root), path), known)
    if kept.command.network and not sandbox.network:
        facts.problems.append(
            f"it ran without the network: {kept.execution.id} comes from others, and used it "
            f"({', '.join(kept.command.network[:3])}); --network lets it"
        )
    return facts.audit(span), facts.blobs


def bring_out(audit: Audit, root: Path, output: Path, cwd: str) -> None:
    """Copy the files that a run in a sandbox left to a folder: those under its working directory by their name there."""
    for fact in audit.files:
        place = left_at(root, fact.path)
        if fact.written and os.path.isfile(place) and not os.path.islink(place):
            inner = (
                os.path.relpath(fact.path, cwd)
                if fact.path.startswith(cwd.rstrip("/") + "/")
                else fact.path[1:]
            )
            target = output / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(place, target)


def check_inputs(kept: Kept, store: Store) -> None:
    """Raise where an input is not what it was."""
    changed = []
    for entry in (*kept.content.entries, *kept.content.system):
        try:
            if entry.kind == "file" and entry.digest:
                same = digest_file(entry.path) == entry.digest
            elif entry.kind == "link":
                same = os.readlink(entry.path) == entry.target
            else:
                same = os.path.lexists(entry.path)
        except OSError:
            same = False
        if not same:
            changed.append(entry.path)
    for each in kept.content.packs:
        with tempfile.TemporaryDirectory() as folder:
            try:
                same = packed(each.package, store, Path(folder)).digest == each.digest
            except (OSError, ValueError):
                same = False
        if not same:
            changed.append(f"the package {each.package.name}")
    if changed:
        raise ProjectError.inputs_changed(kept.execution.id, changed)
