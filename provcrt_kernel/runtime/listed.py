"""Packages that a run's own files ask for, whether or not this run touched them.

Asked for by a ``requirements*.txt``, ``pyproject.toml``, ``environment.yml``, ``apt.txt`` or ``DESCRIPTION`` beside the
programs, or imported by a Python program that the run read, in whichever branch of it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from provcrt_kernel.provenance.owners import Notes, Package, modules, python_packages
from provcrt_kernel.provenance.packages import normal
from provcrt_kernel.trace import Span

_SITE = re.compile(r"(.*/(?:site|dist)-packages)(?:/|$)")
_LISTS = (
    "requirements.txt",
    "requirements-dev.txt",
    "environment.yml",
    "environment.yaml",
    "apt.txt",
    "packages.txt",
    "pyproject.toml",
    "setup.cfg",
)
_WORD = re.compile(r"^\s*-?\s*[\"']?([A-Za-z0-9][A-Za-z0-9._-]*)")
_LARGEST = 1 << 20  # bytes of a program or a list


def named_in(folder: Path) -> dict[str, str]:
    """Return the packages that the lists in a folder name, normalised, and which list names each."""
    found: dict[str, str] = {}
    for name in _LISTS:
        try:
            text = (folder / name).read_text(errors="replace")[:_LARGEST]
        except OSError:
            continue
        for line in text.splitlines():
            for part in re.split(r"[,\[\]]", line) if name.endswith((".toml", ".cfg")) else [line]:
                if not part.lstrip().startswith(("#", "-r", "--")) and (word := _WORD.match(part)):
                    found.setdefault(normal(word[1]), name)
    return found


def imported_by(paths: Iterable[str], cells: Iterable[str] = ()) -> dict[str, str]:
    """Return the top-level modules that Python programs and cells import, and which program imports each."""
    sources = [*_programs(paths), *_cells(cells)]
    if not sources:
        return {}
    import ast  # of many runs nothing is Python

    found: dict[str, str] = {}
    for path, source in sources:
        try:
            body = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in ast.walk(body):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for name in names:
                found.setdefault(name.partition(".")[0], path)
    return found


def _programs(paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        with contextlib.suppress(OSError):
            if os.path.getsize(path) <= _LARGEST:
                yield path, Path(path).read_bytes()


def _cells(cells: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    for source in cells:
        plain = re.sub(r"^\s*[%!].*$", "pass", source, flags=re.MULTILINE)  # IPython's own syntax
        yield "a cell", plain.encode(errors="replace")


def programs(span: Span) -> list[str]:
    """Return the user's Python programs that a run read."""
    return [
        each.path
        for each in span.accesses
        if each.read
        and each.path.endswith(".py")
        and not _SITE.match(each.path)
        and "/lib/python3" not in each.path
    ]


@dataclass(frozen=True)
class AskedFor:
    """What a run's files ask for.

    Attributes
    ----------
    packages : tuple of Package
        The installed Python packages among it.
    where : dict of str to str
        By a package's name as PEP 503 compares it, what names it.
    """

    packages: tuple[Package, ...]
    where: dict[str, str]


def asked_for(
    span: Span, cwd: str, cells: Iterable[str] = (), without: str = "", notes: Notes | None = None
) -> AskedFor:
    """Return what the files of a run ask for.

    Parameters
    ----------
    span : Span
        What the run did.
    cwd : str
        Where it ran: lists are looked for there.
    cells : iterable of str
        Of a notebook, the sources.
    without : str
        A folder of programs that do not count.
    notes : Notes, optional
        As `owners` takes them.
    """
    where = named_in(Path(cwd))
    tops = imported_by(
        [path for path in programs(span) if not without or not path.startswith(f"{without}/")], cells
    )
    found: dict[Package, None] = {}
    for site in {match[1] for each in span.accesses if each.first and (match := _SITE.match(each.path))}:
        installed = python_packages(site)
        names = modules(site, tops, notes)
        for top, program in tops.items():
            if top in names:
                where.setdefault(normal(names[top]), f"an import of {os.path.basename(program)}")
        found |= dict.fromkeys(installed[name] for name in sorted(where.keys() & installed.keys()))
    return AskedFor(tuple(found), where)
