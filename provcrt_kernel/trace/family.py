"""The family of traced processes: which thread belongs to whom, who was born in which span, and who has died.

Promise: a thread's number is never taken for that of its predecessor: threads leave at exit(2), processes when
their pidfd says that they ended. Sources: pidfd_open(2), clone(2).
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from provcrt_kernel.trace.ledger import CHILD, KERNEL, PROGRAM, WHO
from provcrt_kernel.trace.tasks import Image, Task, image_now, newest_pid, process_of, unborn

if TYPE_CHECKING:
    from collections.abc import Callable


class Family:
    """All traced processes that are alive, and those that died in the open span.

    Parameters
    ----------
    kernel : int
        Pid of the kernel process.

    Attributes
    ----------
    tasks : dict of int to Task
        By pid.
    threads : dict of int to Task
        By thread; for reading only.
    buried : list of Task
        Who died since the span began.
    serial : int
        The number of the span that is open; 0 between spans.
    adopter : int
        Pid of the process whose children orphans become.
    """

    def __init__(self, kernel: int) -> None:
        self.kernel = kernel
        self.tasks: dict[int, Task] = {}
        self.threads: dict[int, Task] = {}
        self.buried: list[Task] = []
        self.serial = 0
        self.adopter = os.getpid()
        self._newest = 0
        self._programs = 0
        self.adopted: Callable[[Task], None] = lambda task: None

    def task(self, tid: int) -> Task:
        """Return the process of a thread, making its acquaintance if need be."""
        task = self.threads.get(tid)
        if task is None:
            pid, parent = process_of(tid)
            task = self.tasks.get(pid) or self._meet(pid or tid, parent)
            self.threads[tid] = task
        return task

    def _meet(self, pid: int, parent: int) -> Task:
        mother = self.tasks.get(parent)
        own = pid == self.kernel
        task = Task(pid, parent if mother else 0, KERNEL if own else CHILD, 0 if own else self.serial)
        image = image_now(pid)
        task.images.append((task.born, image._replace(number=self._enter(task)) if task.born else image))
        if mother is not None:
            task.foreign, task.guests = mother.foreign, mother.guests
        self.tasks[pid] = task
        self.adopted(task)
        return task

    def find_children(self) -> None:
        """Meet children that have made no call yet, so that they are known to be of the span that ends here."""
        newest = newest_pid()
        if newest == self._newest:
            return  # nobody was born
        self._newest = newest
        alive = {pid for pid, task in self.tasks.items() if task.ended is None}
        for pid, parent in unborn(alive | {self.adopter}, set(self.tasks)):
            self._meet(pid, parent)

    def begin(self, serial: int) -> None:
        """Note that a span begins: the dead are forgotten, and programs are numbered anew."""
        self.serial = serial
        self.buried.clear()
        self._programs = 0
        for task in self.tasks.values():
            task.by &= WHO

    def _enter(self, task: Task) -> int:
        """Return the number of a program that a process begins to run, and have the process bear it."""
        if not self.serial:
            return -1
        number, self._programs = self._programs, self._programs + 1
        task.by = task.by & WHO | PROGRAM << number
        return number

    def executes(self, task: Task, argv: tuple[bytes, ...], cwd: bytes, exe: bytes) -> None:
        """Note that a process is about to run another program, in which it has one thread and new memory."""
        if task.born and task.born == self.serial and len(task.images) == 1:
            begun = task.images.pop()[1]  # fork and exec are one start, not two
            started, number = begun.started, begun.number
        else:
            started, number = time.time(), self._enter(task)
        task.images.append((self.serial, Image(argv, cwd, exe, started, number)))
        task.close()
        for tid in [tid for tid, other in self.threads.items() if other is task and tid != task.pid]:
            del self.threads[tid]

    def thread_ends(self, tid: int) -> None:
        """Note that one thread ends."""
        task = self.threads.get(tid)
        if task is not None and tid != task.pid:
            del self.threads[tid]

    def bury(self, task: Task) -> None:
        """Forget a process that has ended."""
        task.ended = task.ended or time.time()
        task.close()
        if self.tasks.get(task.pid) is task:
            del self.tasks[task.pid]
        for tid in [tid for tid, other in self.threads.items() if other is task]:
            del self.threads[tid]
        self.buried.append(task)


class Vigil:
    """Waits for processes to end, in a thread of its own.

    Parameters
    ----------
    lock : threading.RLock
        Held while a family is told.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._epoll = select.epoll()
        self._watched: dict[int, tuple[Family, Task]] = {}

    def start(self) -> None:
        """Begin to wait."""
        threading.Thread(target=self._watch, name="vigil", daemon=True).start()

    def watch(self, family: Family) -> None:
        """Tell a family of its dead from now on."""
        family.adopted = partial(self._adopt, family)

    def _adopt(self, family: Family, task: Task) -> None:
        try:
            pidfd = os.pidfd_open(task.pid)
        except ProcessLookupError:  # it was killed in the middle of its first call
            task.ended = time.time()
            return
        self._watched[pidfd] = family, task
        self._epoll.register(pidfd, select.EPOLLIN)

    def _watch(self) -> None:
        while True:
            for pidfd, _ in self._epoll.poll():
                with contextlib.suppress(KeyError, OSError):
                    self._epoll.unregister(pidfd)
                    family, task = self._watched.pop(pidfd)
                    os.close(pidfd)
                    with self._lock:
                        family.bury(task)
