"""The supervisor's loop: receive a notice, decode it, let the call go on.

Promise: every call that is received is answered, whatever happens on the way; what could not be understood makes
the span incomplete. One thread receives; old content is hashed by workers while only the call that waits for it
is kept. Barriers come in band, as calls of the kernel process on names in the run directory (see `tracer`).
Source: seccomp_unotify(2).
"""

from __future__ import annotations

import errno
import os
import queue
import sys
import threading
import time
from fcntl import ioctl
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from provcrt_kernel.store.digest import digest_file
from provcrt_kernel.trace import notify
from provcrt_kernel.trace.descriptors import Descriptors
from provcrt_kernel.trace.paths import Quiet
from provcrt_kernel.trace.span import Process, Span, encode
from provcrt_kernel.trace.watch import ARGS, Open, Watch

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Sequence

    from provcrt_kernel.trace.calls import Machine
    from provcrt_kernel.trace.ledger import Entry
    from provcrt_kernel.trace.tasks import Task

_SMALL = 1 << 18  # bytes: hashed sooner than a thread is woken
_SLOTS = 64  # notices that workers may keep waiting at a time; their ids lie where a successor finds them
_OUTSTANDING = 1024  # where in the shared page those ids lie; the notice being decoded lies at 0


class Supervisor:
    """Serves one listener.

    Parameters
    ----------
    listener : int
        Descriptor of the seccomp listener; closed by nobody here.
    page : mmap
        From `notify.shared_page`, shared with the successor.
    kernel : int
        Pid of the kernel process.
    rundir : str
        The directory whose names are barriers.
    ignore : sequence of str
        As `paths.Quiet` takes them.
    machine : Machine
    adopt : callable
        Called with each new task.
    """

    def __init__(
        self,
        listener: int,
        page: mmap.mmap,
        kernel: int,
        rundir: str,
        ignore: Sequence[str],
        machine: Machine,
        adopt: Callable[[Task], None],
    ) -> None:
        self.lock = threading.RLock()
        self.done = threading.Event()
        self._listener = listener
        self._page = page
        self._machine = machine
        self._rundir = rundir
        self._begin = os.fsencode(rundir) + b"/begin/"
        self._end = os.fsencode(rundir) + b"/end-"
        self._quiet = Quiet([*ignore, rundir])
        self.watch = Watch(machine, kernel, self._quiet, self._pause, adopt)
        self._descriptors = Descriptors(self._quiet)
        self._work: queue.SimpleQueue[tuple[int, int, list[Entry]]] = queue.SimpleQueue()
        self._waiting: dict[int, list[Entry]] = {}
        self._workers: list[threading.Thread] = []
        self._mend = ""

    # -- taking over

    def take_over(self, why: str) -> None:
        """Answer what a dead predecessor left unanswered; the span that was open then is incomplete."""
        self._mend = why
        ids = [notify.NOTICE.unpack_from(self._page)[0]]
        ids += memoryview(self._page)[_OUTSTANDING : _OUTSTANDING + 8 * _SLOTS].cast("Q").tolist()
        for notice in filter(None, ids):
            notify.resume(self._listener, notice)
        self._page[:] = bytes(notify.ROOM)

    # -- the loop

    def serve(self) -> None:
        """Receive and answer until the last traced task is gone."""
        notify.wake_in_step(self._listener)
        listener, page, lock = self._listener, self._page, self.lock
        unpack = notify.NOTICE.unpack_from
        receive = notify.receiver(listener, page)
        answer = bytearray(notify.ANSWER.size)
        pack = notify.ANSWER.pack_into
        send, go_on = notify.SEND, notify.CONTINUE
        handlers = self._handlers()
        while True:
            try:
                receive()
            except OSError as error:
                if error.errno == errno.ENOENT and not self._alive():
                    break
                if error.errno not in (errno.ENOENT, errno.EINTR):
                    self._spoil(f"the listener failed: {error.strerror}")
                    time.sleep(0.01)
                continue
            notice = unpack(page)
            kept = False
            try:
                with lock:
                    kept = handlers[notice[3]](notice)
            except Exception as error:
                self._spoil(self._describe(notice, error))
            if not kept:
                pack(answer, 0, notice[0], 0, 0, go_on)
                try:
                    ioctl(listener, send, answer, True)
                except OSError as error:
                    if error.errno != errno.ENOENT:
                        self._spoil(f"a call could not be answered: {error.strerror}")
        self.done.set()

    def _alive(self) -> bool:
        import select

        poll = select.poll()
        poll.register(self._listener, 0)
        return not any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))

    def _spoil(self, line: str) -> None:
        if os.environ.get("PROVCRT_DEBUG"):
            import traceback

            traceback.print_exc()
        with self.lock:
            self.watch.problem(line)

    def _describe(self, notice: tuple[int, ...], error: Exception) -> str:
        call = self._machine.calls.get(notice[3])
        if notice[4] != self._machine.audit:
            return f"process {notice[1]} is a 32-bit program: its calls are not watched"
        return f"{call.name if call else notice[3]} of {notice[1]}: {type(error).__name__}: {error}"

    def _handlers(self) -> dict[int, Callable[[tuple[int, ...]], bool]]:
        table = dict(self.watch.table)
        audit = self._machine.audit
        for number, call in self._machine.calls.items():
            if call.op == "access":
                table[number] = self._barrier(table[number], call.path or 0, self._begin, self._on_begin)
            elif call.op == "open":
                table[number] = self._barrier(table[number], call.path or 0, self._end, self._on_end)
        foreign = self._machine.foreign[1]
        for number in foreign:
            inner = table.get(number)

            def guarded(
                notice: tuple[int, ...], inner: Callable[[tuple[int, ...]], bool] | None = inner
            ) -> bool:
                if notice[4] != audit or inner is None:
                    self.watch.problem(f"process {notice[1]} is a 32-bit program: its calls are not watched")
                    return False
                return inner(notice)

            table[number] = guarded
        return table

    # -- barriers

    def _barrier(
        self,
        inner: Callable[[tuple[int, ...]], bool],
        path: int,
        prefix: bytes,
        act: Callable[[tuple[int, ...], bytes], bool],
    ) -> Callable[[tuple[int, ...]], bool]:
        """Return a handler that acts on the kernel's names under `prefix` and leaves the others to `inner`."""
        watch, kernel, at, size = self.watch, self.watch.kernel, ARGS + path, len(prefix)

        def handle(notice: tuple[int, ...]) -> bool:
            task = watch.task(notice[1])
            if task.pid == kernel and notice[at]:
                if task.peek(notice[at], size) == prefix:
                    text = task.text(notice[at])
                    if text is not None:
                        return act(notice, text[size:])
            return inner(notice)

        return handle

    def _on_begin(self, notice: tuple[int, ...], rest: bytes) -> bool:
        name = os.fsdecode(unquote_to_bytes(rest.partition(b"/")[2]))
        span = self.watch.open(name)
        self._descriptors.begin(span, self.watch.tasks.values())
        self._mend = ""
        return False

    def _on_end(self, notice: tuple[int, ...], rest: bytes) -> bool:
        target = os.fsdecode(self._end + rest)
        span = self.close()
        if self._waiting:  # somebody's old content is still being hashed: wait for it elsewhere
            threading.Thread(target=self._finish_later, args=(notice[0], span, target), daemon=True).start()
            return True
        self._write(self.finish(span), target)
        return False

    def _finish_later(self, notice: int, span: Open | None, target: str) -> None:
        while self._waiting:
            time.sleep(0.002)
        with self.lock:
            self._write(self.finish(span), target)
        notify.resume(self._listener, notice)

    def _write(self, span: Span, target: str) -> None:
        with open(target, "wb") as file:
            file.write(encode(span))

    def close(self) -> Open | None:
        """Close the open span."""
        span = self.watch.close()
        if span is not None:
            self._descriptors.end(span, self.watch.tasks.values())
        return span

    def finish(self, span: Open | None) -> Span:
        """Return the closed span as data."""
        if span is None:
            why = self._mend or "no span was open"
            self._mend = ""
            return Span("", complete=False, problems=(why,))
        try:
            accesses = tuple(span.ledger.close(_look))
        except Exception as error:
            span.problem(f"the span could not be read: {type(error).__name__}: {error}")
            accesses = ()
        processes, late = self._processes(span)
        return Span(
            name=span.name,
            accesses=accesses,
            processes=processes,
            endpoints=tuple(span.endpoints),
            entropy=span.entropy,
            complete=not span.problems,
            problems=tuple(span.problems),
            late=late,
        )

    def _processes(self, span: Open) -> tuple[tuple[Process, ...], tuple[str, ...]]:
        found = []
        late = []
        for task in [*span.buried, *self.watch.tasks.values()]:
            if task.pid != self.watch.kernel and task.born == span.serial and task.alive():
                late.append(task.name())
            images = [image for born, image in task.images if born == span.serial]
            for index, image in enumerate(images):
                following = images[index + 1].started if index + 1 < len(images) else task.ended
                found.append(
                    Process(
                        task.pid,
                        task.parent,
                        tuple(map(os.fsdecode, image.argv)),
                        os.fsdecode(image.cwd),
                        os.fsdecode(image.exe),
                        image.started,
                        following,
                    )
                )
        found.sort(key=lambda process: process.started)
        return tuple(found), tuple(late)

    def last_span(self) -> str:
        """Close the span in which the kernel process ended; return the file it was written to, or nothing."""
        with self.lock:
            if self.watch.span is None:
                return ""
            span = self.close()
        while self._waiting:
            time.sleep(0.002)
        target = f"{self._rundir}/last"
        with self.lock:
            self._write(self.finish(span), target)
        return target

    def bury(self, task: Task) -> None:
        """Note that a process has ended."""
        with self.lock:
            if self.watch.span is not None:
                self.watch.span.buried.append(task)
            self.watch.bury(task, time.time())

    # -- old content

    def _pause(self, notice: int, entries: list[Entry]) -> bool:
        """Hash the old content of entries before the call that changes them goes on."""
        busy = [entry for entry in entries if entry.pending is not None]
        fresh = [entry for entry in entries if entry.pending is None]
        if not busy and sum(entry.first.st_size for entry in fresh if entry.first) <= _SMALL:
            for entry in fresh:
                _hash(entry)
            return False
        for entry in fresh:
            entry.pending = self
        slot = self._slot(notice)
        if slot < 0 or len(self._waiting) > _SLOTS // 2:  # too many wait: this one is done here and now
            for entry in fresh:
                _hash(entry)
                entry.pending = None
            self._release(slot)
            return self._hold(notice, busy)
        self._waiting[notice] = entries
        if len(self._workers) < 2:
            worker = threading.Thread(target=self._worker, daemon=True)
            self._workers.append(worker)
            worker.start()
        self._work.put((notice, slot, entries))
        return True

    def _hold(self, notice: int, busy: list[Entry]) -> bool:
        for entry in busy:
            while entry.pending is not None:
                time.sleep(0.001)
        return False

    def _worker(self) -> None:
        while True:
            notice, slot, entries = self._work.get()
            for entry in entries:
                if entry.before is None and not entry.kept:
                    _hash(entry)
                entry.pending = None
            self._waiting.pop(notice, None)
            self._release(slot)
            notify.resume(self._listener, notice)

    def _slot(self, notice: int) -> int:
        ids = memoryview(self._page)[_OUTSTANDING : _OUTSTANDING + 8 * _SLOTS].cast("Q")
        for slot in range(_SLOTS):
            if not ids[slot]:
                ids[slot] = notice
                return slot
        return -1

    def _release(self, slot: int) -> None:
        if slot >= 0:
            memoryview(self._page)[_OUTSTANDING : _OUTSTANDING + 8 * _SLOTS].cast("Q")[slot] = 0


def _hash(entry: Entry) -> None:
    try:
        entry.before = digest_file(os.fsdecode(entry.path))
    except OSError as error:
        entry.kept = True
        entry.problems += (f"its old content could not be read: {error.strerror}",)


def _look(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def quick_threads() -> None:
    """Let the receiving thread wait little for the workers: Python's default would be 5 ms."""
    sys.setswitchinterval(0.0002)
