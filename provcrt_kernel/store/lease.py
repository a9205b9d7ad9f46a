"""Leases: which blobs a live session still counts on, so that nobody evicts them under it.

A lease is a plain file with a random name; its first line says which process holds it. A process is known by
its number and its start time, in one boot and one PID namespace. A lease from elsewhere (another machine on a
shared home, another container) cannot be checked, and is honoured for a day after it was last written.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection
from pathlib import Path

UNCHECKED = 24 * 3600.0  # seconds for which the lease of a process that cannot be seen is honoured


class Lease:
    """One session's lease in the folder `folder`.

    Parameters
    ----------
    folder : Path
        The store's folder of leases; made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / os.urandom(8).hex()
        self._held: frozenset[str] = frozenset()

    def hold(self, digests: Collection[str]) -> None:
        """Lease exactly `digests` from now on.

        Raises
        ------
        OSError
            Where the lease cannot be written; the old one then still stands.
        """
        wanted = frozenset(digests)
        if wanted == self._held and (not wanted or self._path.exists()):
            return
        if not wanted:
            self._path.unlink(missing_ok=True)
        else:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            draft = self._path.with_suffix(".new")
            draft.write_text("\n".join([_holder(os.getpid()), *sorted(wanted)]))
            draft.replace(self._path)
        self._held = wanted

    def drop(self) -> None:
        """Lease nothing any more."""
        with contextlib.suppress(OSError):
            self.hold(())


def leased(folder: Path) -> set[str]:
    """Return the digests that live processes hold leases on, and remove the leases of dead ones.

    Parameters
    ----------
    folder : Path
        The store's folder of leases, which need not exist.
    """
    held: set[str] = set()
    for path in folder.glob("*"):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            holder, *digests = path.read_text().split("\n")
            if _alive(holder, path.stat().st_mtime):
                held.update(digests)
            else:
                path.unlink(missing_ok=True)
    return held


def _holder(pid: int) -> str:
    """Return one line that no other process can have; OSError where there is no process `pid`."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    # The command in parentheses may hold anything: proc_pid_stat(5) counts on from the last one.
    started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{boot} {os.readlink('/proc/self/ns/pid')} {pid} {started}"


def _alive(holder: str, written: float) -> bool:
    try:
        boot, namespace, pid, _ = holder.split()
    except ValueError:
        return time.time() - written < UNCHECKED  # half a lease: not ours to judge
    if (boot, namespace) != tuple(_holder(os.getpid()).split()[:2]):
        return time.time() - written < UNCHECKED
    try:
        return _holder(int(pid)) == holder
    except (OSError, ValueError):
        return False
