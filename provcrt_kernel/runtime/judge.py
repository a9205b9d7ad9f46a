"""The verdict on a repetition of a command: hashes from the root down, and contents only where those differ."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from provcrt_kernel.provenance.audit import Audit, Touched
from provcrt_kernel.provenance.compare import Difference, Verdict, first_line
from provcrt_kernel.provenance.explain import explained, explained_text
from provcrt_kernel.provenance.merkle import differences, tree
from provcrt_kernel.runtime.execution import Commanded, ended
from provcrt_kernel.store import Store

_SHOWN = 20  # lines of a diff
_READ = 1 << 24  # bytes of a content that are looked at


@dataclass(frozen=True)
class Side:
    """One of two runs to be compared."""

    command: Commanded
    audit: Audit


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
    found = [_difference(path, before, after, store) for path in paths if path[0] != "processes"]
    found += _programs([path for path in paths if path[0] == "processes"])
    return Verdict.of(sorted(found, key=lambda each: _order(each.where)))


def _order(where: str) -> tuple[int, str]:
    """Put what happens early in a run before what follows from it."""
    first = ("process", "/", "stdout", "stderr", "exit status")
    return next((n for n, start in enumerate(first) if where.startswith(start)), 1), where


def _programs(paths: list[tuple[str, ...]]) -> list[Difference]:
    """Return the programs that ran in one run only, or not as often."""
    names = [path[-1] for path in paths]
    found = []
    for number, name in enumerate(names):
        others = names[:number] + names[number + 1 :]
        excuse = next(filter(None, (explained_text(name, other) for other in others)), "")
        what = "did not run as in the reference"
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
    datas = [store.get(digest) if digest else None for digest in digests]
    if datas[0] is None or datas[1] is None:
        return Difference(0, "", "has another content", where=where, cause=_cause(before, after))
    old, new = datas[0][:_READ], datas[1][:_READ]
    excuse = explained(old, new) or ""
    try:
        texts = [data.decode() for data in (old, new)]
    except UnicodeDecodeError:
        at = next(
            (n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
        )
        what = f"differs from byte {at} on ({len(old)} and {len(new)} bytes)"
        return Difference(
            0, "", what, where=where, explained=excuse, cause="" if excuse else _cause(before, after)
        )
    lines = list(
        difflib.unified_diff(
            texts[0].splitlines()[:2000],
            texts[1].splitlines()[:2000],
            "reference",
            "repetition",
            n=1,
            lineterm="",
        )
    )
    return Difference(
        0,
        "",
        f"differs{first_line(*texts)}",
        where=where,
        explained=excuse,
        cause="" if excuse else _cause(before, after),
        diff="\n".join(lines[:_SHOWN]),
    )


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
