"""The content of files before a span changes them.

Promise: a small file is hashed at once, a large one by a worker while only the call that is about to change it is
kept waiting; every notice that is kept lies in the shared page, so that a successor can let it go on.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import TYPE_CHECKING

from provcrt_kernel.store.digest import digest_file
from provcrt_kernel.trace.preimage import preserve

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Sequence

    from provcrt_kernel.trace.ledger import Entry

_SMALL = 1 << 18  # bytes: hashed sooner than a thread is woken
_SLOTS = 64  # calls that can be kept at a time
_FIRST = 1024  # where in the shared page their numbers lie; the notice being decoded lies at 0
_WORKERS = 2


class Hashing:
    """The workers that hash.

    Parameters
    ----------
    page : mmap
        The shared page.
    resume : callable
        Lets the call of a notice go on; from any thread.
    """

    def __init__(self, page: mmap.mmap, resume: Callable[[int], None]) -> None:
        self._resume = resume
        self._slots = memoryview(page)[_FIRST : _FIRST + 8 * _SLOTS].cast("Q")
        self._work: queue.SimpleQueue[tuple[int, list[Entry]]] = queue.SimpleQueue()
        self._workers = 0

    def before(self, notice: int, entries: Sequence[Entry]) -> bool:
        """Hash entries before the call of a notice changes them.

        Returns
        -------
        bool
            True where the call is kept, and will be resumed from here.
        """
        fresh = [entry for entry in entries if not entry.pending]
        busy = len(fresh) < len(entries)  # a worker has it in hand for another call: this one waits as well
        size = sum(entry.first.st_size for entry in fresh if entry.first is not None)
        if not busy and size <= _SMALL:
            for entry in fresh:
                _hash(entry)
            return False
        try:
            slot = self._slots.tolist().index(0)
        except ValueError:  # too many wait: do it here and now
            for entry in fresh:
                _hash(entry)
            while any(entry.pending for entry in entries):
                time.sleep(0.001)
            return False
        self._slots[slot] = notice
        for entry in fresh:
            entry.pending = True
        if self._workers < _WORKERS:
            self._workers += 1
            threading.Thread(target=self._hash_all, name="hashing", daemon=True).start()
        if busy:
            threading.Thread(target=self._join, args=(slot, entries, fresh), daemon=True).start()
        else:
            self._work.put((slot, fresh))
        return True

    def busy(self) -> bool:
        """Say whether a call is kept."""
        return any(self._slots)

    def left(self) -> list[int]:
        """Return the notices that a dead predecessor kept."""
        return self._slots.tolist()

    def _hash_all(self) -> None:
        while True:
            slot, entries = self._work.get()
            for entry in entries:
                _hash(entry)
            self._release(slot)

    def _join(self, slot: int, entries: Sequence[Entry], fresh: list[Entry]) -> None:
        for entry in fresh:
            _hash(entry)
        while any(entry.pending for entry in entries):
            time.sleep(0.001)
        self._release(slot)

    def _release(self, slot: int) -> None:
        notice, self._slots[slot] = self._slots[slot], 0
        self._resume(notice)


def _hash(entry: Entry) -> None:
    try:
        if entry.keep:
            entry.before, entry.kept, entry.unkept = preserve(entry.path, entry.keep)
        else:
            entry.before = digest_file(os.fsdecode(entry.path))
    except OSError as error:
        entry.problems += (f"its old content could not be read: {error.strerror}",)
    finally:
        entry.pending = False
