"""What a run did as a tree of hashes, so that two runs are compared from the root down, only where they differ.

Source: R. C. Merkle, A Digital Signature Based on a Conventional Encryption Function (CRYPTO 1987).
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from provcrt_kernel.provenance.audit import Audit
from provcrt_kernel.trace import Process

FILES = "files that it changed"


@dataclass(frozen=True)
class Node:
    """A part of what a run did.

    Attributes
    ----------
    name : str
        Its name among its siblings: ``stdout``, a file's or folder's name, a process.
    digest : str
        Of a leaf's content, or of the names and digests of its children.
    children : mapping of str to Node
        By name.
    """

    name: str
    digest: str
    children: Mapping[str, Node]

    @classmethod
    def leaf(cls, name: str, content: str) -> Self:
        """Return a node without children, whose content is told by a text."""
        return cls(name, _hash([content]), {})

    @classmethod
    def of(cls, name: str, children: Iterable[Node]) -> Self:
        """Return a node with children, whose order does not count."""
        inner = {child.name: child for child in sorted(children, key=lambda child: child.name)}
        return cls(name, _hash(text for each in inner.values() for text in (each.name, each.digest)), inner)


def differences(
    before: Node | None, after: Node | None, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Yield the paths of the leaves in which two trees differ, in the order of their names."""
    if before is not None and after is not None and before.digest == after.digest:
        return
    names = {**(before.children if before else {}), **(after.children if after else {})}
    if not names:
        yield path
        return
    for name in sorted(names):
        inner = [side.children.get(name) if side is not None else None for side in (before, after)]
        yield from differences(inner[0], inner[1], (*path, name))


def tree(status: int, streams: Mapping[str, str], audit: Audit) -> Node:
    """Return what a run did as a tree: exit status, streams, files left, processes.

    A process is the programs that it started and the files that it changed. Which of two at once came first is no
    matter, and so are process ids.

    Parameters
    ----------
    status : int
    streams : mapping of str to str
        Digest of what it wrote to each.
    audit : Audit
    """
    parts = [Node.leaf("exit status", str(status))]
    parts += [Node.leaf(name, digest) for name, digest in streams.items() if name != "stdin"]
    parts.append(
        _folder("files", {each.path: f"{each.after}" for each in audit.files if each.written or each.removed})
    )
    parts.append(Node.of("processes", _numbered(_programs(audit))))
    return Node.of("run", parts)


def _folder(name: str, files: Mapping[str, str]) -> Node:
    """Return a tree of folders."""
    here: dict[str, str] = {}
    below: dict[str, dict[str, str]] = {}
    for path, content in files.items():
        head, slash, rest = path.lstrip("/").partition("/")
        if slash:
            below.setdefault(head, {})[rest] = content
        else:
            here[head] = content
    inner = [Node.leaf(head, content) for head, content in here.items() if head not in below]
    return Node.of(name, [*inner, *(_folder(head, files) for head, files in below.items())])


def _programs(audit: Audit) -> list[Node]:
    """Return the programs that nobody traced started, each with those that it started itself.

    Without are those that have no arguments: they had not started yet.
    """
    changed: dict[int, dict[str, str]] = {}
    for each in audit.files:
        if each.written or each.removed:
            for place in each.writers:
                changed.setdefault(place, {})[each.path] = f"{each.after}"
    started: dict[int | None, list[int]] = {}
    for place, starter in enumerate(starters(audit.processes)):
        started.setdefault(starter, []).append(place)
    nodes: dict[int, Node] = {}
    for place in range(len(audit.processes) - 1, -1, -1):  # whoever was started comes behind its starter
        process = audit.processes[place]
        inner = _numbered(nodes[each] for each in started.get(place, ()) if audit.processes[each].argv)
        if place in changed:
            inner.append(_folder(FILES, changed[place]))
        nodes[place] = Node.of(program(process), inner)
    return [nodes[place] for place in started.get(None, ()) if audit.processes[place].argv]


def starters(processes: Sequence[Process]) -> list[int | None]:
    """Return for each program the place of the one that started it; None where that is not among them."""
    latest: dict[int, int] = {}
    found: list[int | None] = []
    for place, process in enumerate(processes):
        found.append(latest.get(process.parent))
        latest[process.pid] = place
    return found


def _numbered(nodes: Iterable[Node]) -> list[Node]:
    """Return nodes of which several may have one name under names that differ, the same for the same set of nodes."""
    found: list[Node] = []
    counts: Counter[str] = Counter()
    for node in sorted(nodes, key=lambda node: (node.name, node.digest)):
        counts[node.name] += 1
        again = counts[node.name]
        found.append(node if again == 1 else Node(f"{node.name} #{again}", node.digest, node.children))
    return found


def program(process: Process) -> str:
    """Return what a program is known by: its name, its arguments and its file."""
    return f"{shown(process)} ({process.exe})"


def shown(process: Process) -> str:
    """Return a process as it is told of: its program's name and arguments."""
    words = [os.path.basename(process.argv[0]) if process.argv else "?", *process.argv[1:]]
    return " ".join(repr(word) if not word or set(word) & set(" \n\t'\"") else word for word in words)


def _hash(texts: Iterable[str]) -> str:
    state = hashlib.blake2b(digest_size=16)
    for text in texts:
        raw = text.encode(errors="surrogateescape")
        state.update(len(raw).to_bytes(8, "little") + raw)
    return state.hexdigest()
