"""The verdict on a repetition of a command: hashes from the root down, and contents only where those differ."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec

from provcrt_kernel.provenance.audit import Audit, Touched
from provcrt_kernel.provenance.compare import Difference, Verdict, first_line
from provcrt_kernel.provenance.explain import explained, explained_text
from provcrt_kernel.provenance.merkle import differences, program, shown, tree
from provcrt_kernel.runtime.execution import Commanded, ended
from provcrt_kernel.store import Store

_SHOWN = 20  # lines of a diff
_READ = 1 << 24  # bytes of a content that are looked at


@dataclass(frozen=True)
class Side:
    """One of two runs to be compared; `system` are paths of packages and of the system."""

    command: Commanded
    audit: Audit
    system: Collection[str] = ()


def verdict(before: Side, after: Side, store: Store) -> Verdict:
    """Compare two runs of a command.

    Parameters
    ----------
    before, after : Side
        The reference and the repetition.
    store : Store
        Where the contents are.
    """
    trees = [tree(side.command.status, side.command.streams, side.audit) for side in (before, after)]
    paths = list(differences(trees[0], trees[1]))
    found = [
        (_turn(path), _difference(path, before, after, store)) for path in paths if path[0] != "processes"
    ]
    if any(path[0] == "processes" for path in paths):
        found += [(1, each) for each in _programs(before, after)]
    writers = _Writers(before, after)
    told = [(turn, writers.place(each), each.where, writers.tell(each)) for turn, each in found]
    return Verdict.of(each[-1] for each in sorted(told, key=lambda each: each[:3]))


def _turn(path: tuple[str, ...]) -> int:
    """Put what happens early in a run before what follows from it: a file may be read again, a stream is not."""
    return {"files": 1, "stdout": 2, "stderr": 3}.get(path[0], 4)


class _Writers:
    """Who left each file, in the order in which they started."""

    def __init__(self, before: Side, after: Side) -> None:
        self._sides = before, after

    def place(self, found: Difference) -> int:
        """Return the place of the program that a difference is of."""
        for side in self._sides:
            fact = _fact(side.audit, found.where)
            if fact is not None and fact.writers:
                return max(fact.writers)  # a shell opens a file for the program that it starts then
        for side in self._sides:
            for place, process in enumerate(side.audit.processes):
                if found.where == f"process {program(process)}":
                    return place
        return 1 << 30

    def tell(self, found: Difference) -> Difference:
        """Return a difference with who wrote it, and what that program read."""
        for side in self._sides:
            fact = _fact(side.audit, found.where)
            place = max(fact.writers, default=-1) if fact is not None else -1
            if not 0 <= place < len(side.audit.processes):
                continue
            read = tuple(
                each.path
                for each in side.audit.files
                if each.kind == "file" and place in each.readers and each.path not in side.system
            )
            return msgspec.structs.replace(found, process=shown(side.audit.processes[place]), read=read)
        return found


def _programs(before: Side, after: Side) -> list[Difference]:
    """Return the programs that ran in one run only, or not as often; who started whom is no result."""
    counts = [
        Counter(program(each) for each in side.audit.processes if each.argv) for side in (before, after)
    ]
    names = sorted(name for name in counts[0] | counts[1] if counts[0][name] != counts[1][name])
    found = []
    for number, name in enumerate(names):
        others = names[:number] + names[number + 1 :]
        excuse = next(filter(None, (explained_text(name, other) for other in others)), "")
        what = f"ran {counts[1][name]} times, and {counts[0][name]} times in the reference"
        if not counts[1][name]:
            what = "did not run"
        elif not counts[0][name]:
            what = "ran, and did not in the reference"
        found.append(Difference(0, "", what, where=f"process {name}", explained=excuse or ""))
    return found


def _difference(path: tuple[str, ...], before: Side, after: Side, store: Store) -> Difference:
    if path[0] == "exit status":
        what = f"{ended(before.command.status)} became {ended(after.command.status)}"
        return Difference(0, "", what, where="exit status", cause=_cause(before, after))
    if path[0] != "files":
        contents = [side.command.streams.get(path[0]) for side in (before, after)]
        return _contents(path[0], contents, before, after, store)
    name = "/" + "/".join(path[1:])
    found = _of_file(name, before, after, store)
    if _is_cache(name, before.command.environ) and not found.excuse:
        return msgspec.structs.replace(found, explained="a cache", cause="", diff="")
    return found


def _is_cache(name: str, environ: Mapping[str, str]) -> bool:
    """Tell whether a file can be lost without a loss (Filesystem Hierarchy Standard 3.0, 5.5; XDG base directories)."""
    own = environ.get("XDG_CACHE_HOME", "").rstrip("/")
    return name.startswith("/var/cache/") or "/.cache/" in name or (own != "" and name.startswith(f"{own}/"))


def _of_file(name: str, before: Side, after: Side, store: Store) -> Difference:
    facts = [_fact(side.audit, name) for side in (before, after)]
    if facts[0] is None:
        return _lone(name, "was written, which is new", before, after)
    if facts[1] is None:
        return _lone(name, "was not written", before, after)
    if facts[0].after is None or facts[1].after is None:
        gone = [fact.removed for fact in facts if fact is not None]
        what = "was removed" if gone[-1] else "was not removed" if gone[0] else "has another content"
        return Difference(0, "", what, where=name, cause=_cause(before, after))
    return _contents(name, [fact.after for fact in facts if fact], before, after, store)


def _lone(name: str, what: str, before: Side, after: Side) -> Difference:
    """Return a file that only one run left: no news where its name is random and the other run's is as well."""
    other = after if "not" in what else before
    mine = before if "not" in what else after
    theirs = {fact.path for fact in mine.audit.files}
    excuse = next(
        (
            why
            for fact in other.audit.files
            if fact.written and fact.path not in theirs and (why := explained_text(name, fact.path))
        ),
        "",
    )
    return Difference(
        0, "", what, where=name, explained=excuse, cause="" if excuse else _cause(before, after)
    )


def _contents(where: str, digests: list[str | None], before: Side, after: Side, store: Store) -> Difference:
    heads = [_head(store, digest) for digest in digests if digest]
    known = [head for head in heads if head is not None]
    if len(known) < 2:
        return Difference(0, "", "has another content", where=where, cause=_cause(before, after))
    (old, size), (new, other) = known
    whole = max(size, other) <= _READ
    excuse = (explained(old, new) or "") if whole else ""
    cause = "" if excuse else _cause(before, after)
    try:
        if old == new:
            raise UnicodeError
        texts = [old.decode(), new.decode()]
    except UnicodeError:
        at = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
        at = min(len(old), len(new)) if at is None else at
        behind = " or later" if old == new else ""
        what = f"differs from byte {at} on{behind} ({size} and {other} bytes)"
        return Difference(0, "", what, where=where, explained=excuse, cause=cause)
    lines = [text.splitlines()[:2000] for text in texts]
    diff = difflib.unified_diff(lines[0], lines[1], "reference", "repetition", n=1, lineterm="")
    what = f"differs{first_line(*texts)}"
    shown = "\n".join(list(diff)[:_SHOWN])
    return Difference(0, "", what, where=where, explained=excuse, cause=cause, diff=shown)


def _head(store: Store, digest: str) -> tuple[bytes, int] | None:
    """Return the beginning of a content, and its size, without having all of it in memory."""
    with tempfile.TemporaryDirectory(dir=store.folder) as folder:
        place = f"{folder}/content"
        if not store.restore(digest, place):
            return None
        with open(place, "rb") as file:
            return file.read(_READ), os.fstat(file.fileno()).st_size


def _fact(audit: Audit, path: str) -> Touched | None:
    return next((fact for fact in audit.files if fact.path == path and (fact.written or fact.removed)), None)


def _cause(before: Side, after: Side) -> str:
    """Return what is likely to be behind a difference."""
    causes = []
    inputs = _inputs(before.audit), _inputs(after.audit)
    changed = [path for path in inputs[0] if inputs[1].get(path, inputs[0][path]) != inputs[0][path]]
    if changed:
        causes.append(f"another content of {', '.join(changed[:3])}")
    new = [path for path in inputs[1] if path not in inputs[0]]
    if new:
        causes.append(f"it read {', '.join(new[:3])}, which the reference did not")
    if before.command.network or after.command.network:
        causes.append("the network")
    if before.audit.entropy or after.audit.entropy:
        causes.append("random numbers without a seed")
    return "; ".join(causes) or "the clock, or the order in which threads and processes ran"


def _inputs(audit: Audit) -> Mapping[str, str]:
    return {fact.path: fact.before for fact in audit.files if fact.read and fact.before and not fact.removed}
