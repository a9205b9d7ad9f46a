"""What a run did to each path, with the contents before and after, kept in the store."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Collection, Mapping

from provcrt_kernel.provenance.audit import Audit, Kind, Touched
from provcrt_kernel.store import Store, digest, digest_file
from provcrt_kernel.trace import Access, Span, spelled

NOWHERE = ("/proc/", "/sys/", "/dev/")
PRIVATE = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow")  # made afresh for each repetition
_LARGE = 1 << 20  # bytes: to look a digest up takes less than to hash that much
_GRAIN_NS = 20_000_000  # a file's clock ticks every 4 to 10 ms: younger stamps prove nothing
_KEPT_OUTPUT = 1 << 28  # bytes: of larger files that a run wrote only the digest is kept


class Facts:
    """Finds and keeps contents.

    Parameters
    ----------
    store : Store
    place : callable
        Where the path of a run is to be found here.
    known : mapping of str to (str or None), optional
        The digests of all files that the run could read, where they are known before.
    owned : collection of str
        Paths whose content is kept otherwise, with their packages.

    Attributes
    ----------
    blobs : set of str
        What was kept.
    problems : list of str
        What could not be, a line each.
    """

    def __init__(
        self,
        store: Store,
        place: Callable[[str], str] = str,
        known: Mapping[str, str | None] | None = None,
        owned: Collection[str] = (),
    ) -> None:
        self._store = store
        self._known = known
        self._owned = owned
        self._place = place
        self.blobs: set[str] = set()
        self.problems: list[str] = []

    def audit(self, span: Span) -> Audit:
        """Return what a span did.

        Raises
        ------
        StoreError, OSError
            Where contents cannot be kept.
        """
        facts = (self.of(access) for access in span.accesses if not access.path.startswith(NOWHERE))
        files = tuple(fact for fact in facts if fact is not None)
        late = f"{len(span.late)} processes outlived the command: what they did after it is not contained"
        return Audit(
            files=files,
            processes=span.processes,
            endpoints=span.endpoints,
            entropy=span.entropy,
            problems=tuple(dict.fromkeys([*span.problems, *self.problems, *([late] if span.late else [])])),
            late=span.late,
        )

    def of(self, access: Access) -> Touched | None:
        """Return what is to be told of a path; None of one that was not there and still is not."""
        first = access.first
        now = look(self._place(access.path)) if access.written else None
        if first is None and now is None:
            return None
        kind = first.kind if first is not None else _kind(now)
        before = after = None
        if first is not None:
            before = access.link if kind == "link" else self._before(access)
        if access.written and now is not None:
            after = self._after(self._place(access.path), now)
        elif not access.removed and first is not None:
            after = before
        shown = first or now
        assert shown is not None
        return Touched(
            path=access.path,
            kind=kind,
            before=before,
            after=after,
            was=first is not None,
            is_there=now is not None if access.written else not access.removed,
            read=access.read,
            executed=access.executed,
            listed=access.listed,
            written=access.written,
            removed=access.removed,
            size=first.size if first is not None else (now.st_size if now is not None else 0),
            mode=stat.S_IMODE(first.mode if first is not None else (now.st_mode if now is not None else 0)),
            mtime_ns=first.mtime_ns if first is not None else 0,
            readers=access.readers,
            writers=access.writers,
        )

    def _before(self, access: Access) -> str | None:
        """Return the digest of a file as it was, and keep its content if the run read it."""
        first = access.first
        if first is None or first.kind != "file":
            return None
        wanted = access.read or access.executed
        if not (access.written or access.removed):
            if self._known is not None:
                return self._known.get(access.path)
            if not wanted or access.path in PRIVATE:
                return None
            now = look(self._place(access.path))
            if now is None or (now.st_size, now.st_mtime_ns) != (first.size, first.mtime_ns):
                self.problems.append(f"{access.path} was changed by somebody else while it was used")
            if access.path in self._owned:
                with contextlib.suppress(OSError):
                    return self._digest(access.path)
                return None
            return self._keep(self._place(access.path))
        digest = access.before_digest
        if digest is None or not wanted or self._known is not None:
            return digest
        if access.before_file is not None:
            self._keep(access.before_file)
        elif self._store.has(digest):
            self.blobs.add(digest)
        elif _has_still(self._place(access.path), digest):
            self._keep(self._place(access.path))
        else:
            why = f": {access.before_unkept}" if access.before_unkept else ""
            self.problems.append(f"{access.path} was replaced, and what it was before could not be kept{why}")
        return digest

    def _digest(self, path: str) -> str:
        """Return the digest of a package's file; of a large one that is as it was when it was hashed last, that one."""
        now = os.stat(path)
        if now.st_size < _LARGE:
            return digest_file(path)
        note = f"digest:{digest(os.fsencode(path))}:{_identity(now)}"  # a name need not be text
        known = self._store.noted(note)
        if known is not None:
            return known.decode()
        found = digest_file(path)
        settled = time.time_ns() - max(now.st_mtime_ns, now.st_ctime_ns) > _GRAIN_NS
        if settled and _identity(os.stat(path)) == _identity(now):
            self._store.note(note, found.encode())
        return found

    def _after(self, path: str, now: os.stat_result) -> str | None:
        if stat.S_ISLNK(now.st_mode):
            return os.readlink(path)
        if not stat.S_ISREG(now.st_mode):
            return None
        if now.st_size > _KEPT_OUTPUT:
            with contextlib.suppress(OSError):
                return digest_file(path)
            return None
        return self._keep(path)

    def _keep(self, path: str) -> str | None:
        try:
            digest = self._store.put_file(path, compress=True)
        except OSError as cause:
            if look(path) is not None and cause.errno in (28, 122):  # no space, or none left to us
                raise
            self.problems.append(f"{path} could not be kept: {cause.strerror}")
            return None
        self.blobs.add(digest)
        return digest


def look(path: str) -> os.stat_result | None:
    """Return what lstat(2) says of a path, or None."""
    try:
        return os.lstat(path)
    except OSError:
        return None


def _kind(found: os.stat_result | None) -> Kind:
    mode = found.st_mode if found is not None else 0
    if stat.S_ISDIR(mode):
        return "dir"
    return "file" if stat.S_ISREG(mode) else "link" if stat.S_ISLNK(mode) else "other"


def _identity(found: os.stat_result) -> str:
    """Return what is another one when a file is, or has been written to."""
    return f"{found.st_dev}.{found.st_ino}.{found.st_size}.{found.st_mtime_ns}.{found.st_ctime_ns}"


def _has_still(path: str, digest: str) -> bool:
    try:
        return os.path.isfile(path) and digest_file(path) == digest
    except OSError:
        return False


def network(audit: Audit) -> tuple[str, ...]:
    """Return whom on other machines a run talked to."""
    return tuple(sorted({spelled(each) for each in audit.network}))
