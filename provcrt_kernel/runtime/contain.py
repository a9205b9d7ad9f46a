"""From what a run touched to a container: everything it needed, as it was before the run changed it.

Packages come whole, so that another branch of the code still finds its modules. Files that no package owns come
singly: those of the system apart from the user's, which the run may change.
"""

from __future__ import annotations

import functools
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from provcrt_kernel.provenance.audit import Audit, Touched, pack
from provcrt_kernel.provenance.owners import METADATA, Package, owners
from provcrt_kernel.runtime.command import umask
from provcrt_kernel.runtime.content import Content, Entry, Packed, host_file
from provcrt_kernel.runtime.execution import Commanded
from provcrt_kernel.runtime.facts import NOWHERE, PRIVATE, Facts, look, network
from provcrt_kernel.runtime.pack import packed
from provcrt_kernel.store import Store
from provcrt_kernel.trace import Access, Span

_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib", "/etc/", "/opt/", "/var/lib/", "/nix/", "/gnu/")


@dataclass(frozen=True)
class Contained:
    """A run's container.

    Attributes
    ----------
    audit : Audit
        What the run did, with contents.
    content : Content
        What it needed.
    blobs : frozenset of str
        All digests that are in the store for it.
    """

    audit: Audit
    content: Content
    blobs: frozenset[str]

    def keep(self, store: Store, **how: Any) -> tuple[Commanded, set[str]]:
        """Return what is kept of the run, and the digests of all that the store has for it; `how` tells how it ran."""
        audit, content = store.put(pack(self.audit)), store.put(pack(self.content))
        command = Commanded(
            audit=audit,
            content=content,
            size=self.content.size,
            umask=umask(),
            network=network(self.audit),
            problems=self.audit.problems,
            **how,
        )
        return command, {*self.blobs, *self.content.blobs, *command.streams.values(), audit, content}


def contain(
    span: Span,
    store: Store,
    scratch: Path,
    *,
    folders: Iterable[str],
    further: Iterable[Package] = (),
    listed: Mapping[str, str] = {},
    whole: Iterable[str] = (),
) -> Contained:
    """Keep what a run read and wrote.

    Parameters
    ----------
    span : Span
        What it did; it has just ended.
    store : Store
        Where the contents go.
    scratch : Path
        A folder for temporary files.
    folders : iterable of str
        Folders that must be there: the working directory, the home folder.
    further : iterable of Package
        Packages to keep although nothing of them was touched.
    listed : mapping of str to str
        Packages that the user asks for, and where.
    whole : iterable of str
        Folders of programs to keep whole, unless a package owns them.

    Raises
    ------
    StoreError, OSError
        Where it cannot be kept.
    """
    return _Containing(span, store, scratch).whole(folders, further, listed, whole)


def _with_sources(span: Span) -> Span:
    """Return a span in which every Python source that was looked at counts as read.

    An import looks at ``x.py`` and reads its compiled copy instead, and those copies are nobody's input.
    """
    accesses = tuple(
        msgspec.structs.replace(each, read=True)
        if each.stated and each.path.endswith(".py") and each.first is not None and each.first.kind == "file"
        else each
        for each in span.accesses
    )
    return msgspec.structs.replace(span, accesses=accesses)


class _Containing:
    """One container in the making."""

    def __init__(self, span: Span, store: Store, scratch: Path) -> None:
        self._used = {access.path for access in span.accesses if _used(access)}
        self._span = span = _with_sources(span)
        self._store = store
        self._scratch = scratch
        self._facts = Facts(store)
        self._problems: list[str] = []
        self._homes: tuple[str, ...] = ()
        self._accesses = [each for each in span.accesses if not each.path.startswith(NOWHERE)]

    def whole(
        self,
        folders: Iterable[str],
        further: Iterable[Package],
        listed: Mapping[str, str],
        programs: Iterable[str],
    ) -> Contained:
        """Make it."""
        there = [each for each in self._accesses if each.first is not None]
        files = [
            each.path
            for each in there
            if each.first is not None and each.first.kind in ("file", "link") and not each.written
        ]
        owned = owners(files, self._store)
        used = {owned[each.path] for each in there if each.path in owned and each.path in self._used}
        used.update(further)
        programs = tuple(os.path.realpath(folder) for folder in programs)
        self._homes = tuple({*_homes(used), *(f"{folder}/" for folder in programs)})
        attempts = [self._pack(package) for package in sorted(used)]
        packs = [each for each in attempts if each is not None]
        whole = {each.package: number for number, each in enumerate(packs)}
        inside = {path: whole[package] for path, package in owned.items() if package in whole}
        self._facts = Facts(self._store, owned=inside.keys())
        self._facts.problems += self._problems
        self._facts.blobs.update(each.digest for each in packs)
        audit = self._facts.audit(self._span)
        facts = {fact.path: fact for fact in audit.files}
        entries: list[Entry] = []
        system: list[Entry] = []
        for access in self._accesses:
            fact = facts.get(access.path)
            if fact is None:
                continue
            if access.path not in inside:
                mine = not self._is_system(access)
                (entries if mine else system).extend(self._entries(access, fact, mine))
        for program in (path for folder in programs for path in _sources(folder)):
            if program not in inside and program not in facts:
                system.append(host_file(Path(program), program, self._store))
        content = Content(
            entries=tuple(_unique(entries)),
            system=tuple(_unique(system)),
            packs=tuple(packs),
            owned=inside,
            listed=dict(listed),
            folders=tuple(sorted({*folders, *self._written_in()})),
        )
        return Contained(audit, content, frozenset(self._facts.blobs))

    def _pack(self, package: Package) -> Packed | None:
        try:
            return packed(package, self._store, self._scratch)
        except (OSError, ValueError) as cause:
            self._problems.append(f"the package {package.name} could not be kept whole: {cause}")
            return None

    # What it means for the container

    def _entries(self, access: Access, fact: Touched, mine: bool) -> Iterable[Entry]:
        """Yield what a container holds because of one path."""
        first = access.first
        if first is None:
            return
        if fact.kind == "link":
            yield Entry(access.path, "link", target=fact.before or "", mtime_ns=fact.mtime_ns)
        elif fact.kind == "dir":
            found = look(access.path)
            mode = stat.S_IMODE(found.st_mode) if found is not None else 0o755
            yield Entry(access.path, "dir", mode=mode)
            if access.listed and mine:
                yield from self._hollow(access)
        elif fact.kind == "file":
            entry = Entry(access.path, "hollow", size=fact.size, mode=fact.mode, mtime_ns=fact.mtime_ns)
            if (access.read or access.executed) and access.path not in PRIVATE:
                yield msgspec.structs.replace(entry, kind="file", digest=fact.before)
            elif access.path not in PRIVATE:
                yield entry

    def _hollow(self, access: Access) -> Iterable[Entry]:
        """Yield the names that a listing showed: of those that were not read nothing else is kept."""
        try:
            names = os.listdir(access.path)
        except OSError:
            return
        for name in names:
            path = f"{access.path.rstrip('/')}/{name}"
            if path in self._known or name in access.listing_except:
                continue
            found = look(path)
            if found is None:
                continue
            if stat.S_ISDIR(found.st_mode):
                yield Entry(path, "dir", mode=stat.S_IMODE(found.st_mode))
            elif stat.S_ISREG(found.st_mode):
                yield Entry(
                    path,
                    "hollow",
                    size=found.st_size,
                    mode=stat.S_IMODE(found.st_mode),
                    mtime_ns=found.st_mtime_ns,
                )

    @functools.cached_property
    def _known(self) -> set[str]:
        return {each.path for each in self._accesses}

    def _is_system(self, access: Access) -> bool:
        if access.written or access.removed:
            return False
        if access.path.startswith(_SYSTEM) or f"{access.path}/".startswith(self._homes):
            return True
        return self._in_environment(os.path.dirname(access.path))

    @functools.cache  # noqa: B019 - lives as long as one container is made
    def _in_environment(self, folder: str) -> bool:
        """Tell whether a folder is within a virtual environment or beside an interpreter."""
        if folder in ("/", ""):
            return False
        if os.path.isfile(f"{folder}/pyvenv.cfg") or os.path.isdir(f"{folder}/conda-meta"):
            return True
        return self._in_environment(os.path.dirname(folder))

    def _written_in(self) -> set[str]:
        """Return the folders in which the run made, changed or removed something that were there before."""
        made = {each.path for each in self._accesses if each.first is None}
        return {
            folder
            for each in self._accesses
            if (each.written or each.removed) and (folder := os.path.dirname(each.path)) not in made
        }


def _used(access: Access) -> bool:
    """Tell whether a run used a file of a package, rather than come by: an import looks at a module twice."""
    imported = access.path.endswith(".py") and access.asked > 1
    return (access.read or access.executed or imported) and not METADATA.search(access.path)


def _homes(packages: Iterable[Package]) -> Iterator[str]:
    """Yield the folders that packages share with nothing of the user's."""
    for package in packages:
        if package.manager == "python":
            yield from (f"{package.home}/{lib}/{package.name}/" for lib in ("lib", "lib64"))
        elif package.home:
            yield f"{package.home}/"


def _sources(folder: str) -> Iterator[str]:
    """Yield the files of a folder of programs."""
    for here, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if each != "__pycache__"]
        yield from (f"{here}/{file}" for file in files)


def _unique(entries: Sequence[Entry]) -> list[Entry]:
    """Return one entry for each path, the one that says most, sorted."""
    rank = {"hollow": 0, "dir": 1, "link": 1, "file": 2}
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.path != "/" and (entry.path not in found or rank[found[entry.path].kind] < rank[entry.kind]):
            found[entry.path] = entry
    return [found[path] for path in sorted(found)]
