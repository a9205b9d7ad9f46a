"""Which installed package each file belongs to: of dpkg, rpm, conda, pip, or an interpreter built by hand.

Only the databases that the managers keep on disk are read: ``/var/lib/dpkg/info/*.list`` (dpkg-query(1)),
``conda-meta/*.json``, ``*.dist-info/RECORD`` (https://packaging.python.org/specifications/recording-installed-packages/);
rpm is asked, where there is one.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import os
import re
import shutil
import stat
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from provcrt_kernel.provenance.packages import normal

Manager = Literal["dpkg", "rpm", "conda", "pip", "python"]
_DPKG = Path("/var/lib/dpkg")
_SITE = re.compile(r"(.*/(?:site|dist)-packages)/")
_STDLIB = re.compile(r"(.*)/lib(?:64)?/(python3\.\d+)/")
#: What a package says of itself. Who looks for plug-ins reads that of all packages, and uses none of them by that.
METADATA = re.compile(r"\.(?:dist|egg)-info/|/conda-meta/")
_SYSTEM = ("/usr/", "/bin/", "/sbin/", "/lib", "/etc/", "/var/", "/opt/", "/boot/")
_UNNEEDED = (
    "/usr/share/doc/",
    "/usr/share/man/",
    "/usr/share/info/",
    "/usr/share/lintian/",
    "/usr/share/bug/",
)
_SKIPPED = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "ensurepip",
    "turtledemo",
    "lib2to3",
}


class Package(msgspec.Struct, frozen=True, order=True):
    """An installed package.

    Attributes
    ----------
    manager : {"dpkg", "rpm", "conda", "pip", "python"}
        Who installed it; ``python`` for an interpreter that no manager knows.
    name, version : str
    home : str
        The folder it is installed in, where there can be several; else empty.
    """

    manager: Manager
    name: str
    version: str
    home: str = ""


class Notes(Protocol):
    """Remembers small facts from one run to the next; `store.Store` is one."""

    def noted(self, name: str) -> bytes | None:
        """Return the fact under a name, or None."""

    def note(self, name: str, value: bytes) -> None:
        """Keep a fact under a name."""


def owners(paths: Collection[str], notes: Notes | None = None) -> dict[str, Package]:
    """Return the package of each file that belongs to one.

    Parameters
    ----------
    paths : collection of str
        Absolute, without symbolic links on the way.
    notes : Notes, optional
        What was found before counts for as long as nothing was installed or removed.
    """
    found: dict[str, Package] = {}
    for search in (_dpkg, _rpm, _conda, _pip, _interpreters):
        left = [path for path in paths if path not in found]
        if left:
            found.update(search(left, notes))
    return found


def _remembered(
    notes: Notes | None,
    key: str,
    names: Collection[str],
    find: Callable[[list[str]], Mapping[str, list[str]]],
) -> dict[str, list[str]]:
    """Return what `find` tells of names, which it is asked once; `key` changes when its answers may."""
    if notes is None:
        return dict(find(list(names)))
    known: dict[str, list[str]] = {}
    with contextlib.suppress(msgspec.MsgspecError):
        known = msgspec.msgpack.decode(notes.noted(key) or b"\x80", type=dict[str, list[str]])
    unknown = [name for name in names if name not in known]
    if unknown:
        answers = find(unknown)
        known |= {name: list(answers.get(name, ())) for name in unknown}
        with contextlib.suppress(UnicodeEncodeError):  # a name that is no text
            notes.note(key, msgspec.msgpack.encode(known))
    return known


def _stamp(path: str) -> str:
    """Return what changes when a file, or the names in a folder, do."""
    try:
        status = os.stat(path)
    except OSError:
        return "absent"
    return f"{status.st_mtime_ns}.{status.st_ino}.{status.st_size}"


def contents(package: Package) -> list[tuple[str, os.stat_result]]:
    """Return the files and links of a package that are there, documentation apart, with what lstat(2) says; absolute, sorted."""
    match package.manager:
        case "dpkg":
            names = _dpkg_list(package.name)
        case "rpm":
            names = _lines(["rpm", "-ql", package.name])
        case "conda":
            names = _conda_files(package)
        case "pip":
            names = _record(package.home, _distributions(package.home).get(package.name))
        case "python":
            names = _interpreter_files(package)
    found = {}
    folders: dict[str, str] = {}  # with its folder resolved: /lib/x is /usr/lib/x on merged systems
    for name, following in zip(names, [*names[1:], ""], strict=True):
        if name.startswith(_UNNEEDED) or following.startswith(
            f"{name}/"
        ):  # a folder, behind which comes what is in it
            continue
        head, _, tail = name.rpartition("/")
        folder = folders.get(head)
        if folder is None:
            folder = folders[head] = _real(head)
        place = f"{folder}/{tail}"
        try:
            status = os.lstat(place)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            found[place] = status
    return sorted(found.items())


def python_packages(site: str) -> dict[str, Package]:
    """Return the distributions installed in a folder, by their name as PEP 503 compares it."""
    return {
        normal(name): Package("pip", name, version, site)
        for name, (version, _) in _distributions(site).items()
    }


def modules(site: str, names: Iterable[str], notes: Notes | None = None) -> dict[str, str]:
    """Return the distribution's name of each of these top-level modules that a folder of installed packages has."""
    wanted = [name for name in names if name not in sys.stdlib_module_names]
    found = _naming(site, wanted, notes)
    return {name: found[name][0] for name in wanted if found.get(name)}


@functools.cache
def _real(folder: str) -> str:
    """Return where a folder really is; as each is asked for once, its own name alone is looked at."""
    head, _, tail = folder.rpartition("/")
    if not tail:
        return ""
    place = f"{_real(head)}/{tail}"
    return os.path.realpath(place).rstrip("/") if tail in (".", "..") or os.path.islink(place) else place


# dpkg


def _dpkg(paths: Iterable[str], notes: Notes | None) -> dict[str, Package]:
    inside = [path for path in paths if path.startswith(_SYSTEM)]
    key = f"dpkg:{_stamp(f'{_DPKG}/status')}"
    found = _remembered(notes, key, inside, _dpkg_search) if inside else {}
    return {path: Package("dpkg", *found[path]) for path in inside if found.get(path)}


def _dpkg_search(paths: list[str]) -> dict[str, list[str]]:
    """Return name and version of the package of each path that has one."""
    aliases = {path: path for path in paths}
    for path in list(aliases):
        if path.startswith("/usr/"):  # the lists of a merged system still say /lib/x
            aliases[path[4:]] = path
    wanted = {os.fsencode(alias) for alias in aliases}
    names: dict[str, str] = {}
    for file in _dpkg_lists():
        for hit in wanted.intersection(_bytes(f"{_DPKG}/info/{file}").split(b"\n")):
            path = aliases[os.fsdecode(hit)]
            if not os.path.isdir(path):
                names.setdefault(path, file.removesuffix(".list"))
    versions = _dpkg_versions() if names else {}
    plain = {path: name.partition(":")[0] for path, name in names.items()}
    return {path: [name, versions.get(name, "")] for path, name in plain.items()}


def _dpkg_versions() -> dict[str, str]:
    try:
        text = (_DPKG / "status").read_text(errors="replace")
    except OSError:
        return {}
    return dict(re.findall(r"^Package: (\S+)\n(?:[^\n]+\n)*?Version: (\S+)", text, re.MULTILINE))


def _dpkg_list(name: str) -> list[str]:
    file = next((each for each in _dpkg_lists() if each.startswith((f"{name}.list", f"{name}:"))), None)
    data = _bytes(f"{_DPKG}/info/{file}") if file is not None else b""
    return [os.fsdecode(line) for line in data.split(b"\n") if line]


@functools.cache
def _dpkg_lists() -> list[str]:
    try:
        return sorted(name for name in os.listdir(f"{_DPKG}/info") if name.endswith(".list"))
    except OSError:
        return []


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


# rpm


def _rpm(paths: Iterable[str], notes: Notes | None) -> dict[str, Package]:
    if shutil.which("rpm") is None or not Path("/var/lib/rpm").is_dir():
        return {}
    paths = list(paths)
    lines = _lines(["rpm", "-qf", "--qf", "%{NAME} %{VERSION}-%{RELEASE}\n", *paths])
    if len(lines) != len(paths):
        return {}
    split = [line.split(" ") for line in lines]
    return {path: Package("rpm", *words) for path, words in zip(paths, split, strict=True) if len(words) == 2}


def _lines(argv: list[str]) -> list[str]:
    import subprocess  # which only who has rpm needs

    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()
    except OSError:
        return []


# conda


def _conda(paths: Iterable[str], notes: Notes | None) -> dict[str, Package]:
    found = {}
    for path in paths:
        prefix = _conda_prefix(path.rpartition("/")[0])
        package = _conda_index(prefix).get(path) if prefix else None
        if package is not None:
            found[path] = package
    return found


@functools.cache
def _conda_prefix(folder: str) -> str:
    if not folder:
        return ""
    return folder if os.path.isdir(f"{folder}/conda-meta") else _conda_prefix(folder.rpartition("/")[0])


@functools.cache
def _conda_index(prefix: str) -> dict[str, Package]:
    found = {}
    for file in Path(prefix, "conda-meta").glob("*.json"):
        told = _json(file)
        package = Package("conda", str(told.get("name", file.stem)), str(told.get("version", "")), prefix)
        found.update({f"{prefix}/{name}": package for name in told.get("files", ())})
    return found


def _conda_files(package: Package) -> list[str]:
    return [path for path, owner in _conda_index(package.home).items() if owner == package]


def _json(file: Path) -> dict[str, list[str]]:
    try:
        told = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


# pip


def _pip(paths: Iterable[str], notes: Notes | None) -> dict[str, Package]:
    found = {}
    sites = defaultdict(list)
    for path in paths:
        if inside := _SITE.match(path):
            sites[inside[1]].append(path)
    for site, inner in sites.items():
        files: dict[str, Package] = {}
        tops = {path[len(site) + 1 :].partition("/")[0].partition(".")[0] for path in inner}
        named = _naming(site, sorted(tops), notes)
        for distribution in dict.fromkeys(each for top in sorted(tops) for each in named.get(top, ())):
            files.update(_owned(site, distribution))
        for path in inner:
            package = files.get(path) or files.get(_source(path))
            if package is not None:
                found[path] = package
    return found


def _source(path: str) -> str:
    """Return the source of a compiled file, which a RECORD need not list (PEP 3147)."""
    return re.sub(r"/__pycache__/([^/]*?)\.[^/]*\.pyc$", r"/\1.py", path)


@functools.cache
def _distributions(site: str) -> dict[str, tuple[str, str]]:
    """Return version and metadata folder of each distribution in a folder."""
    found = {}
    try:
        entries = sorted(os.listdir(site))
    except OSError:
        entries = []
    for entry in entries:
        stem = entry.removesuffix(".dist-info").removesuffix(".egg-info")
        name, _, version = stem.partition("-")
        if stem != entry and version:
            found[name] = (re.sub(r"-py3[.\d]*$", "", version), f"{site}/{entry}")
    return found


@functools.cache
def _written(folder: str) -> bytes:
    """Return a distribution's RECORD behind an empty line."""
    return b"\n" + _bytes(f"{folder}/RECORD")


def _naming(site: str, names: Collection[str], notes: Notes | None) -> dict[str, list[str]]:
    """Return for each top-level name the distributions whose RECORD names something of it."""

    def find(names: list[str]) -> dict[str, list[str]]:
        """Search the records, which are not read."""
        found: dict[str, list[str]] = {}
        for name in names:
            top = os.fsencode(name)
            starts = [b"\n" + quote + top + end for quote in (b"", b'"') for end in (b"/", b".", b",")]
            found[name] = [
                distribution
                for distribution, (_, folder) in _distributions(site).items()
                if any(start in _written(folder) for start in starts)
            ]
        return found

    return _remembered(notes, f"naming:{site}:{_stamp(site)}", names, find) if names else {}


@functools.cache
def _owned(site: str, distribution: str) -> dict[str, Package]:
    """Return the package of each file that a distribution lists."""
    version, folder = _distributions(site)[distribution]
    return dict.fromkeys(_listed(site, folder), Package("pip", distribution, version, site))


def _listed(site: str, folder: str) -> list[str]:
    """Return the files that a distribution's RECORD lists, absolute."""
    try:
        rows = csv.reader(_written(folder).decode(errors="surrogateescape").splitlines())
        names = [row[0] for row in rows if row]
    except csv.Error:
        return []
    return [os.path.normpath(f"{site}/{name}") if ".." in name else f"{site}/{name}" for name in names]


def _record(site: str, found: tuple[str, str] | None) -> list[str]:
    """Return the files of a distribution, and what was compiled from them."""
    names = _listed(site, found[1]) if found else []
    folders = {name.rpartition("/")[0] for name in names if name.endswith(".py")}
    compiled = []
    listed = set(names)
    for folder in folders:
        try:
            inner = os.listdir(f"{folder}/__pycache__")
        except OSError:
            continue
        compiled += [path for name in inner if _source(path := f"{folder}/__pycache__/{name}") in listed]
    return names + compiled


# Interpreters that no manager knows


def _interpreters(paths: Iterable[str], notes: Notes | None) -> dict[str, Package]:
    found = {}
    homes: dict[str, Package] = {}
    paths = list(paths)
    for path in paths:
        match = _STDLIB.match(path)
        if match and not _SITE.match(path) and os.path.isfile(f"{match[0]}os.py"):
            found[path] = homes.setdefault(match[1], _interpreter(match[1], match[2]))
    for path in paths:
        folder, _, name = path.rpartition("/")
        prefix = folder.rpartition("/")[0]
        if prefix in homes and re.match(r"python|libpython", name):
            found[path] = homes[prefix]
    return found


def _interpreter(prefix: str, name: str) -> Package:
    try:
        text = Path(prefix, "include", name, "patchlevel.h").read_text(errors="replace")
        told = re.search(r'PY_VERSION\s+"([^"]+)"', text)
    except OSError:
        told = None
    return Package("python", name, told[1] if told else name.removeprefix("python"), prefix)


def _interpreter_files(package: Package) -> list[str]:
    prefix, name = package.home, package.name
    found = []
    for folder in ("lib", "lib64"):
        for here, folders, files in os.walk(f"{prefix}/{folder}/{name}"):
            folders[:] = [each for each in folders if each not in _SKIPPED]
            if not re.search(r"/config-[^/]*$", here):
                found += [f"{here}/{file}" for file in files]
        found += [str(path) for path in Path(prefix, folder).glob("libpython*.so*")]
    return found + [str(path) for path in Path(prefix, "bin").glob("python3*") if "config" not in path.name]
