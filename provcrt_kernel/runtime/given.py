"""`given VALUES… repeat e1 %N…`: an execution with other arguments or other data."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from provcrt_kernel.runtime.content import Content, Entry, host_file
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.kept import Kept
from provcrt_kernel.store import Store

_PLACE = re.compile(r"%([1-9][0-9]{0,4})")


def substituted(
    kept: Kept, values: Sequence[str], places: Sequence[str], store: Store
) -> tuple[Kept, list[str]]:
    """Return an execution with other arguments and data files.

    Parameters
    ----------
    kept : Kept
        The execution.
    values : sequence of str
        One for each of `places`, in their order; and any number of ``path=file``, which puts the content of a file
        from here in the place of a file of the execution.
    places : sequence of str
        ``%1`` for the first argument, and so on.
    store : Store
        Where the contents of files go.

    Returns
    -------
    Kept
    list of str
        What is different, a line each.

    Raises
    ------
    ProjectError
        Where values and places do not fit, or a file is not there.
    """
    several = len(values) > len(places)
    files = [value for value in values if _is_file(value, kept)] if several else []
    plain = [value for value in values if value not in files]
    if len(plain) != len(places):
        raise ProjectError.usage(
            f"{len(plain)} values for {len(places)} places",
            "write one %N for each value, as in `provcrt given 8 repeat e1 %1`",
        )
    argv = list(kept.command.argv)
    changes, added = [], []
    for value, place in zip(plain, places, strict=True):
        number = _number(place, argv)
        changes.append(f"argument {number}: {argv[number]!r} became {value!r}")
        argv[number] = value
        if Path(value).exists():
            added += list(_host(Path(value), os.path.join(kept.command.cwd, value), store))
    for value in files:
        name, _, source = value.partition("=")
        path = os.path.normpath(os.path.join(kept.command.cwd, name))
        added += list(_host(Path(source), path, store))
        changes.append(f"{path}: the content of {source}")
    command = msgspec.structs.replace(kept.command, argv=tuple(argv))
    return replace(kept, command=command, content=with_entries(kept.content, added)), changes


def with_parameters(
    kept: Kept, values: Sequence[str], places: Sequence[str], store: Store
) -> tuple[Kept, dict[str, str], list[str]]:
    """Return an execution of a notebook with other parameters and data files.

    Parameters
    ----------
    kept : Kept
        The execution.
    values : sequence of str
        ``name=value`` for a parameter, ``path=file`` for a file of the execution.
    places : sequence of str
        None: a notebook has no arguments.
    store : Store
        Where the contents of files go.

    Returns
    -------
    Kept
    dict of str to str
        Parameters that are new, or other than before.
    list of str
        What is different, a line each.

    Raises
    ------
    ProjectError
        Where there are places, or a value is neither.
    """
    if places:
        raise ProjectError.usage(
            f"{' '.join(places)}: a notebook has no arguments",
            f"name a parameter, as in `provcrt given n=8 repeat {kept.execution.id}`",
        )
    files = [value for value in values if _is_file(value, kept)]
    kept, changes = substituted(kept, files, (), store)
    found = {}
    for value in values:
        name, equals, given = value.partition("=")
        if value in files:
            continue
        if not equals or not name.isidentifier():
            raise ProjectError.usage(
                f"{value!r} is neither a parameter nor a file of {kept.execution.id}",
                "write name=value, or path=file with a path that the run read",
            )
        found[name] = given
        before = kept.execution.parameters.get(name, "the notebook's own")
        changes.append(f"parameter {name}: {before} became {given}")
    return kept, found, changes


def with_entries(content: Content, added: Iterable[Entry], without: Iterable[str] = ()) -> Content:
    """Return a content with other files of the user's."""
    gone = set(without)
    entries = {entry.path: entry for entry in content.entries if entry.path not in gone}
    entries |= {entry.path: entry for entry in added}
    system = tuple(entry for entry in content.system if entry.path not in entries)
    return msgspec.structs.replace(
        content, entries=tuple(entries[path] for path in sorted(entries)), system=system
    )


def _host(path: Path, place: str, store: Store) -> Iterable[Entry]:
    """Yield a file of this machine, or all that is in a folder."""
    place = os.path.normpath(place)
    if not path.is_dir():
        yield host_file(path, place, store)
        return
    yield Entry(place, "dir", mode=stat.S_IMODE(path.stat().st_mode))
    for inner in sorted(path.iterdir()):
        if inner.is_dir() and not inner.is_symlink():
            yield from _host(inner, f"{place}/{inner.name}", store)
        elif inner.is_file():
            yield host_file(inner, f"{place}/{inner.name}", store)


def _is_file(value: str, kept: Kept) -> bool:
    """Tell whether a value is ``path=file`` with a path that the execution knows."""
    name, equals, source = value.partition("=")
    path = os.path.normpath(os.path.join(kept.command.cwd, name))
    known = any(entry.path == path for entry in kept.content.entries)
    if equals and known and not Path(source).exists():
        raise ProjectError.no_such_file(Path(source))
    return bool(equals) and known


def _number(place: str, argv: Sequence[str]) -> int:
    match = _PLACE.fullmatch(place)
    if not match:
        raise ProjectError.usage(f"{place!r} is no place", "write %1 for the first argument")
    number = int(match[1])
    if number >= len(argv):
        raise ProjectError.usage(
            f"there is no argument {number} in {' '.join(argv)!r}", f"it has {len(argv) - 1}"
        )
    return number
