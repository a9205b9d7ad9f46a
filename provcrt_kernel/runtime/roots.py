"""A root of its own for a repetition, made of a container's content.

::

    cache/roots/<digest>/    packages and files of the system: made once, shared, bound read-only
    <repetition>/root/       the user's files, copied afresh and writable: the sandbox's /
"""

from __future__ import annotations

import contextlib
import grp
import hashlib
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from provcrt_kernel.runtime.content import Content, from_store, lay, led, make_folder, within
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.runtime.pack import lay_pack
from provcrt_kernel.runtime.sandbox import Bind, Sandbox
from provcrt_kernel.store import Store

_OWN = {"proc", "dev"}  # folders of the root that bubblewrap fills


def laid_out(
    content: Content,
    store: Store,
    cache: Path,
    folder: Path,
    *,
    network: bool = False,
    ignore: Sequence[str] = (),
    shared: Sequence[Bind] = (),
) -> Sandbox:
    """Lay a content out so that commands can run in it.

    Parameters
    ----------
    content : Content
    store : Store
    cache : Path
        A folder for what can be shared by several.
    folder : Path
        An empty folder, for what the runs in it change.
    network : bool
        Let it reach the network.
    ignore : sequence of str
        Paths that are nobody's input, as `trace.attach` takes them.
    shared : sequence of Bind
        What else of this machine is to be seen in there.

    Raises
    ------
    ProjectError, OSError
        Where it cannot be laid out.
    """
    root = folder / "root"
    root.mkdir()
    system = system_root(content, store, cache)
    entries = [  # a file that was only seen must not hide one that is kept
        each
        for each in content.entries
        if each.kind != "hollow" or not os.path.lexists(within(system, each.path))
    ]
    lost = lay(entries, root, from_store(store), private=True)
    if lost:
        raise ProjectError.content_lost(lost)
    for each in (*content.folders, "/tmp", "/var/tmp", "/proc", "/dev"):
        if each != "/":
            make_folder(root, each)
    for each in ("/tmp", "/var/tmp"):
        os.chmod(led(root, each), 0o1777)
    binds = [Bind(source, target) for source, target in _binds(system, root, "")]
    etc = make_folder(root, "/etc")
    if not os.path.lexists(f"{etc}/passwd") and not any(each.target == "/etc" for each in binds):
        _name_user(Path(etc))
    return Sandbox(str(root), (*binds, *shared), network, tuple(ignore))


def system_root(content: Content, store: Store, cache: Path) -> Path:
    """Return the folder that holds a content's packages and system files, making it if there is none.

    Raises
    ------
    ProjectError
        Where content is lost or hostile.
    OSError
        Where it cannot be written.
    """
    key = hashlib.blake2b(digest_size=16)
    for each in content.packs:
        key.update(each.digest.encode())
    for entry in content.system:
        key.update(repr(entry).encode(errors="surrogateescape"))
    roots = cache / "roots"
    place = roots / key.hexdigest()
    if place.is_dir():
        os.utime(place)
        return place
    roots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=roots, prefix=".draft-", ignore_cleanup_errors=True) as folder:
        draft = Path(folder) / "root"
        draft.mkdir()
        for each in content.packs:
            lay_pack(each, store, draft, roots)
        there = [entry for entry in content.system if not os.path.lexists(within(draft, entry.path))]
        lost = lay(there, draft, from_store(store))
        if lost:
            raise ProjectError.content_lost(lost)
        with contextlib.suppress(OSError):  # another process may have been quicker
            draft.rename(place)
    return place


def _name_user(etc: Path) -> None:
    """Make /etc/passwd and /etc/group with the one user there is, and nobody else of this machine."""
    user, group = os.geteuid(), os.getegid()
    try:
        name, home = pwd.getpwuid(user).pw_name, pwd.getpwuid(user).pw_dir
    except KeyError:
        name, home = "user", "/"
    try:
        group_name = grp.getgrgid(group).gr_name
    except KeyError:
        group_name = name
    users = {0: "root:x:0:0:root:/root:/bin/sh", user: f"{name}:x:{user}:{group}::{home}:/bin/sh"}
    groups = {0: "root:x:0:", group: f"{group_name}:x:{group}:"}
    (etc / "passwd").write_text("".join(f"{line}\n" for line in users.values()))
    (etc / "group").write_text("".join(f"{line}\n" for line in groups.values()))


def _binds(system: Path, root: Path, inner: str) -> Iterator[tuple[str, str]]:
    """Bring a system root under a writable one: whole folders where those are free, else what is in them.

    Yields
    ------
    str, str
        A folder here, and where it is to be bound.
    """
    with os.scandir(f"{system}{inner}") as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        path = f"{inner}/{entry.name}"
        place = f"{root}{path}"
        if not inner and entry.name in _OWN:
            continue
        if entry.is_symlink():
            if not os.path.lexists(place):
                os.symlink(os.readlink(entry.path), place)
        elif not entry.is_dir():
            if not os.path.lexists(place):
                _copy(entry.path, place)
        elif path != "/etc" and not os.path.lexists(place):
            os.mkdir(place)
            yield entry.path, path
        else:
            if os.path.lexists(place) and (os.path.islink(place) or not os.path.isdir(place)):
                raise ProjectError.hostile(f"it has both a folder and something else at {path!r}")
            os.makedirs(place, exist_ok=True)
            yield from _binds(system, root, path)


def _copy(source: str, place: str) -> None:
    shutil.copy2(source, place, follow_symlinks=False)
