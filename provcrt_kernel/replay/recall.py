"""Records as they are read by those who did not make them: one, a cell's history, what differs between two, a notebook's latest.

Nothing is unpickled, and nothing is run. A record is found by its id; which records belong to a cell, and which record made a
version of a variable, is kept in an index that is read from the store once and then grows with it.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import itertools
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from provcrt_kernel.provenance.packages import Installed, site_folders
from provcrt_kernel.replay.record import FileInput, Record, Shown, decode
from provcrt_kernel.session.slots import ABSENT, ambient, shown
from provcrt_kernel.store import Store, StoreError, stores_below

Kind = Literal["file", "folder", "absent", "variable", "environment", "package", "module", "ambient"]
#: Records of one cell that its history tells of.
_LATEST = 50
_ALL_NAMES = "*"
_DIGEST = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{8,}")


class Place(msgspec.Struct, frozen=True):
    """Where a file is: absolute, and as Jupyter's contents know it, if they do."""

    path: str
    contents: str | None = None


class Thing(msgspec.Struct, frozen=True):
    """Something that a cell read or wrote.

    Attributes
    ----------
    name
        As users call it: a path's last part, a variable.
    path
        Of a file or folder.
    cell, record
        The cell of the same notebook that made this version of it, and the record of that.
    """

    kind: Kind
    name: str
    path: Place | None = None
    cell: str | None = None
    record: str | None = None


class Package(msgspec.Struct, frozen=True):
    """An installed distribution that a cell could call into, at its version of today."""

    name: str
    version: str
    manager: str = "pip"


class Process(msgspec.Struct, frozen=True):
    """A process that a cell started."""

    argv: tuple[str, ...]


class Told(msgspec.Struct, frozen=True):
    """A record, told.

    Attributes
    ----------
    notebook, cell
        Where it was made.
    when, seconds
        In seconds since the epoch, and what it took.
    outputs
        How many messages of each type it showed; rich ones by MIME type.
    """

    record: str
    notebook: str
    cell: str
    source: str
    when: float
    seconds: float
    error: str | None
    volatile: tuple[str, ...]
    pinned: str | None
    reads: tuple[Thing, ...]
    writes: tuple[Thing, ...]
    packages: tuple[Package, ...]
    processes: tuple[Process, ...]
    endpoints: tuple[str, ...]
    outputs: dict[str, int]


class Moment(msgspec.Struct, frozen=True):
    """A record in the history of its cell; `reason`: what was not as in the one before it."""

    record: str
    when: float
    seconds: float
    reason: str


class Changed(msgspec.Struct, frozen=True):
    """An input that two records have in different versions; None: only one of them has it."""

    kind: Kind
    name: str
    before: str | None
    after: str | None


class Difference(msgspec.Struct, frozen=True):
    """What differs between two records; `source` as `diff -u` shows it."""

    source: str
    reads: tuple[Changed, ...]
    files: tuple[Changed, ...]


class _Version(msgspec.Struct):
    version: str


class _Brief(msgspec.Struct):
    """The part of a record that the index holds."""

    id: str
    cell: str
    created: float
    writes: dict[str, _Version] = {}

    @property
    def notebook(self) -> str:
        return self.cell.rpartition("#")[0]


@dataclass
class _Index:
    """What is in a store, by cell and by version; records never change."""

    briefs: dict[str, _Brief] = field(default_factory=dict)
    cells: dict[str, list[str]] = field(default_factory=dict)
    makers: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)

    def follow(self, store: Store) -> None:
        """Take in what has come to the store since, and let go of what is gone."""
        there = set(store.ids())
        for id in there - self.briefs.keys() - self.passed:
            data = store.record(id)
            try:
                brief = msgspec.msgpack.decode(data or b"", type=_Brief)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                self.passed.add(id)  # what a container holds on to, or another format
                continue
            self.briefs[id] = brief
            self.cells.setdefault(brief.cell, []).append(id)
            for name, made in brief.writes.items():
                self.makers.setdefault((name, made.version), []).append(id)
        for id in self.briefs.keys() - there:
            brief = self.briefs.pop(id)
            self.cells[brief.cell].remove(id)
            for name, made in brief.writes.items():
                self.makers[name, made.version].remove(id)

    def maker(self, name: str, version: str, notebook: str, before: float) -> _Brief | None:
        """The latest record of a notebook that made a version, of those not younger than `before`."""
        found = (self.briefs[id] for id in self.makers.get((name, version), ()))
        mine = [b for b in found if b.notebook == notebook and b.created <= before]
        return max(mine, key=lambda b: b.created, default=None)


class Recall:
    """Reads the records in the store at `folder`; may be used by several threads.

    Parameters
    ----------
    placed
        Tells where a file is, by its absolute path.
    """

    def __init__(self, folder: Path, placed: Callable[[str], Place] = Place) -> None:
        self.folder = folder
        self._placed = placed
        self._index = _Index()
        self._lock = threading.Lock()

    def _open(self) -> Store | None:
        try:
            return Store.open(self.folder, readonly=True, below=stores_below(self.folder, os.environ))
        except StoreError:
            return None

    def _records(self, ids: Iterable[str]) -> list[Record]:
        """Records that are there, in the order asked for."""
        store = self._open()
        if store is None:
            return []
        with store:
            found = (store.record(id) for id in ids)
            return [record for data in found if data is not None and (record := decode(data)) is not None]

    @contextlib.contextmanager
    def _followed(self) -> Iterator[_Index]:
        """Yield the index as of now; one thread at a time has it."""
        with self._lock:
            store = self._open()
            if store is not None:
                with store:
                    self._index.follow(store)
            yield self._index

    def told(self, id: str) -> Told | None:
        """Tell a record; None where there is none."""
        records = self._records([id])
        store = self._open()
        if not records or store is None:
            return None
        record = records[0]
        with store:
            looks = store.get(record.library) if record.library else None
            messages = store.get(record.shown) if record.shown else None
        with self._followed() as index:
            reads = tuple(_reads(record, index, self._placed))
        notebook, _, cell = record.cell.rpartition("#")
        return Told(
            record=record.id,
            notebook=notebook,
            cell=cell,
            source=record.text,
            when=record.created,
            seconds=record.seconds,
            error=f"{record.error[0]}: {record.error[1]}" if record.error else None,
            volatile=record.volatile,
            pinned=record.pinned,
            reads=reads,
            writes=tuple(_writes(record, self._placed)),
            packages=tuple(_packages(record, looks)),
            processes=tuple(map(Process, record.processes)),
            endpoints=record.endpoints,
            outputs=_outputs(messages),
        )

    def history(self, id: str) -> list[Moment] | None:
        """Tell the records of the cell that a record is of, newest first; None where there is no such record."""
        with self._followed() as index:
            brief = index.briefs.get(id)
            if brief is None:
                return None
            ids = sorted(index.cells[brief.cell], key=lambda each: index.briefs[each].created, reverse=True)
        records = self._records(ids[: _LATEST + 1])
        older: list[Record | None] = [*records[1:], None]
        moments = [
            Moment(new.id, new.created, new.seconds, reason(old, new))
            for new, old in zip(records, older, strict=True)
        ]
        return moments[:_LATEST]

    def difference(self, a: str, b: str) -> Difference | None:
        """Tell what differs between two records; None where one of them is not there."""
        records = self._records([a, b])
        return difference(*records) if len(records) == 2 else None

    def latest(self, cells: Mapping[str, Iterable[str]]) -> dict[str, Record]:
        """Return the newest record of each cell that has one.

        Parameters
        ----------
        cells
            By the cell's name, the places that it may be known by (see `kernel.cells.place`).
        """
        store = self._open()
        found: dict[str, Record] = {}
        if store is None:
            return found
        with store:
            for cell, places in cells.items():
                for place in itertools.chain(places, self._moved(places)):
                    key = store.noted(f"cell:{place}")
                    datas = store.candidates(key.decode(errors="replace")) if key else ()
                    records = [r for _, data in datas if (r := decode(data)) is not None]
                    if records:
                        found[cell] = next((r for r in records if r.cell == place), records[0])
                        break
        return found

    def _moved(self, places: Iterable[str]) -> Iterator[str]:
        """Where cells of notebooks with the same name stood, the latest first: a folder may have been moved or copied."""
        names = {os.path.basename(place) for place in places}
        with self._followed() as index:
            there = {
                cell: max(index.briefs[id].created for id in ids)
                for cell, ids in index.cells.items()
                if ids and os.path.basename(cell) in names
            }
        yield from sorted(there, key=lambda cell: there[cell], reverse=True)

    def these(self, ids: Mapping[str, str]) -> dict[str, Record]:
        """Return the records with some ids, by the same keys; those that are gone are left out."""
        by_id = {record.id: record for record in self._records(set(ids.values()))}
        return {key: by_id[id] for key, id in ids.items() if id in by_id}


def reason(old: Record | None, new: Record) -> str:
    """What was not as in the record before, in one line."""
    if old is None:
        return "the first that is kept"
    if old.key != new.key:
        return "source changed"
    found = difference(old, new)
    for each in (*found.reads, *found.files):
        what = "is new" if each.before is None else "is gone" if each.after is None else "changed"
        name = each.name if each.kind in ("file", "folder", "absent") else f"{each.kind} {each.name}"
        return f"{name} {what}"
    if old.library != new.library:
        return "installed packages changed"
    return f"it uses {new.volatile[0]}" if new.volatile else "run again"


def difference(old: Record, new: Record) -> Difference:
    """Compare two records."""
    lines = difflib.unified_diff(old.text.splitlines(), new.text.splitlines(), "before", "after", lineterm="")
    slots = [{n: v for n, v in r.reads.items() if v != ABSENT} for r in (old, new)]
    environs = [{n: v for n, v in r.environ.items() if n != _ALL_NAMES} for r in (old, new)]
    files = [{i.path: _content(i) for i in r.inputs} for r in (old, new)]
    reads = [
        Changed(*_slot(name), _short(slots[0].get(name)), _short(slots[1].get(name)))
        for name in _unlike(*slots)
    ]
    reads += [
        Changed("environment", name, _short(environs[0].get(name)), _short(environs[1].get(name)))
        for name in _unlike(*environs)
    ]
    machines = [r.machine for r in (old, new)]
    reads += [
        Changed("ambient", fact, _short(machines[0].get(fact)), _short(machines[1].get(fact)))
        for fact in _unlike(*machines)
    ]
    kinds = {i.path: _file_kind(i) for r in (old, new) for i in r.inputs}
    changed = [
        Changed(
            kinds[path],
            os.path.basename(path) or path,
            _short(files[0].get(path)),
            _short(files[1].get(path)),
        )
        for path in _unlike(*files)
    ]
    return Difference("\n".join(lines), tuple(reads), tuple(changed))


def _unlike(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return [name for name in dict.fromkeys((*old, *new)) if old.get(name) != new.get(name)]


def _short(version: str | None) -> str | None:
    """Return a version for people: of a digest its beginning, of anything else what it says."""
    return None if version is None else _DIGEST.sub(r"\1", version.removeprefix("x:"))[:60]


def _content(known: FileInput) -> str:
    return known.content or known.listing or (known.kind if known.size is None else f"{known.size} bytes")


def _slot(name: str) -> tuple[Kind, str]:
    """Kind and name of a slot as users see it."""
    if not ambient(name):
        return "variable", name
    word, _, rest = name[1:].partition(":")
    kinds: dict[str, Kind] = {"env": "environment", "package": "package", "module": "module"}
    return (kinds[word], rest) if word in kinds and rest else ("ambient", shown(name))


def _file_kind(known: FileInput) -> Kind:
    return "absent" if known.kind == "absent" else "folder" if known.kind == "dir" else "file"


def _reads(record: Record, index: _Index, placed: Callable[[str], Place]) -> Iterable[Thing]:
    notebook = record.cell.rpartition("#")[0]
    for known in record.inputs:
        yield Thing(_file_kind(known), os.path.basename(known.path) or known.path, placed(known.path))
    for name, version in record.reads.items():
        if version == ABSENT:
            continue
        maker = index.maker(name, version, notebook, record.created)
        cell = maker.cell.rpartition("#")[2] if maker else None
        yield Thing(*_slot(name), cell=cell, record=maker.id if maker else None)
    for name in record.environ:
        if name != _ALL_NAMES:
            yield Thing("environment", name)
    for fact in record.machine:
        yield Thing("ambient", fact)


def _writes(record: Record, placed: Callable[[str], Place]) -> Iterable[Thing]:
    for output in record.outputs:
        kind: Kind = "absent" if output.kind == "absent" else "folder" if output.kind == "dir" else "file"
        yield Thing(kind, os.path.basename(output.path) or output.path, placed(output.path))
    for name in (*record.writes, *record.deletes):
        yield Thing(*_slot(name))
    for name in record.set_environ:
        yield Thing("environment", name)


def _packages(record: Record, looks: bytes | None) -> list[Package]:
    """The distributions that a cell looked into while it imported, or could call into."""
    tops = {name.partition(":")[2] for name, v in record.reads.items() if name.startswith("~package:") and v}
    tops |= {name.partition(".")[0] for name in record.imports}
    tops |= {name for name, folder in record.resolved.items() if folder}
    for path, *_ in msgspec.msgpack.decode(looks, type=list[tuple[str, int, int]]) if looks else ():
        _, site, inside = path.partition("-packages/")
        if site:
            tops.add(inside.partition("/")[0].partition(".")[0])
    installed = _installed(tuple(map(_changed, site_folders())))
    found = {installed.of_module(top) for top in tops} - {None}
    return sorted((Package(d.name, d.version) for d in found if d), key=lambda each: each.name.lower())


@functools.lru_cache(maxsize=1)
def _installed(folders: tuple[tuple[str, int], ...]) -> Installed:
    """Return what is installed, read once as long as the folders stay as they are: some hundred files."""
    return Installed()


def _changed(folder: str) -> tuple[str, int]:
    try:
        return folder, os.stat(folder).st_mtime_ns
    except OSError:
        return folder, 0


def _outputs(messages: bytes | None) -> dict[str, int]:
    try:
        shown = msgspec.msgpack.decode(messages, type=tuple[Shown, ...]) if messages else ()
    except msgspec.MsgspecError:
        shown = ()
    counts: Counter[str] = Counter()
    for message in shown:
        data = message.content.get("data")
        counts[next(iter(data), message.type) if isinstance(data, dict) and data else message.type] += 1
    return dict(counts)
