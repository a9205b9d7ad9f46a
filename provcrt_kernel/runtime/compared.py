"""Two executions beside each other: what was run, with what, and what came of it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import msgspec
from nbformat import NotebookNode

from provcrt_kernel.provenance.compare import difference
from provcrt_kernel.runtime.kept import Kept
from provcrt_kernel.store import Store

_SHOWN = 40  # lines of a diff


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is not the same in two executions.

    Attributes
    ----------
    part : str
        ``command``, ``environment``, ``package``, ``file read``, ``file written``, ``output``, ``cell`` …
    name : str
        Which.
    before, after : str or None
        What it is in each; None where it is not there.
    diff : str
        As `diff -u` shows it.
    """

    part: str
    name: str
    before: str | None = None
    after: str | None = None
    diff: str = ""


def of_commands(old: Kept, new: Kept, store: Store) -> list[Change]:
    """Return how two runs of commands differ."""
    a, b = old.command, new.command
    found = [
        Change(part, name, before, after)
        for part, name, before, after in (
            ("command", "arguments", repr(a.argv), repr(b.argv)),
            ("command", "working directory", a.cwd, b.cwd),
            ("outcome", "exit status", str(a.status), str(b.status)),
        )
        if before != after
    ]
    found += _maps("environment", a.environ, b.environ)
    found += _maps(
        "package", *({x.package.name: x.package.version for x in k.content.packs} for k in (old, new))
    )
    owned = old.content.owned.keys() | new.content.owned.keys()
    for part, which in (("file read", "before"), ("file written", "after")):
        sides = [
            {
                fact.path: getattr(fact, which) or ""
                for fact in kept.audit.files
                if fact.kind == "file"
                and fact.path not in owned
                and (fact.written if which == "after" else fact.read or fact.executed)
            }
            for kept in (old, new)
        ]
        found += [_with_diff(each, store) for each in _maps(part, *sides)]
    streams = [{n: d for n, d in side.streams.items() if n != "stdin"} for side in (a, b)]
    return found + [_with_diff(each, store) for each in _maps("output", *streams)]


def of_notebooks(old: NotebookNode, new: NotebookNode) -> list[Change]:
    """Return how two executed notebooks differ, cell by cell."""
    cells = [{cell["id"]: cell for cell in book.cells if cell.cell_type == "code"} for book in (old, new)]
    found = []
    for id in [*cells[0], *(id for id in cells[1] if id not in cells[0])]:
        a, b = cells[0].get(id), cells[1].get(id)
        if a is None or b is None:
            found.append(Change("cell", id, a and a.source, b and b.source))
            continue
        if a.source != b.source:
            found.append(Change("cell", id, diff=_diff(a.source, b.source)))
        what = difference(a.outputs, b.outputs)
        if what:
            found.append(Change("output", f"cell {id}", diff=what))
    return found


def _maps(part: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[Change]:
    names = sorted(old.keys() | new.keys())
    return [Change(part, n, old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n)]


def _with_diff(change: Change, store: Store) -> Change:
    datas = [store.get(each) if each else None for each in (change.before, change.after)]
    if datas[0] is None or datas[1] is None:
        return change
    try:
        return msgspec.structs.replace(change, diff=_diff(datas[0].decode(), datas[1].decode()))
    except UnicodeDecodeError:
        return change


def _diff(old: str, new: str) -> str:
    lines = difflib.unified_diff(old.splitlines()[:5000], new.splitlines()[:5000], n=1, lineterm="")
    return "\n".join(list(lines)[2 : 2 + _SHOWN])
