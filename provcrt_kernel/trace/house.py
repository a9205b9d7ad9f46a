"""What the supervisor process does besides decoding: its children, the keeper's line, the kernel's line.

Promise: every request is answered, and it ends when the kernel has ended and nothing traced is left. See `process` for
who is who.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import shutil
import signal
import socket
import sys
import traceback
from typing import TYPE_CHECKING, Any

from provcrt_kernel.trace import barriers, notify
from provcrt_kernel.trace.calls import machine

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Iterator

    from provcrt_kernel.trace.calls import Machine
    from provcrt_kernel.trace.stops import Stops
    from provcrt_kernel.trace.supervisor import Supervisor

MESSAGE = 1 << 20  # bytes of the longest message on either line
HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


class House:
    """S's main thread: children, the keeper's line, the kernel's line; the listener has a thread of its own."""

    def __init__(
        self, kernel: int, keeper: socket.socket, link: socket.socket, page: mmap.mmap, parent: int
    ) -> None:
        self._kernel = kernel
        self._keeper: socket.socket | None = keeper
        self._link: socket.socket | None = link
        self._page = page
        self._parent = parent
        self._group = os.getpgid(0)
        self._supervisor: Supervisor | None = None
        self._setup: dict[str, Any] = {}
        self._last = ""
        self._listener = -1
        self._stops: Stops | None = None
        self._exits: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        self._host = ""
        self._ended = False
        self._epoll = select.epoll()

    def run(self) -> int:
        """Serve until K has ended and nothing traced is left."""
        os.setsid()
        sys.setrecursionlimit(5000)  # a name of PATH_MAX bytes has up to 2048 directories
        for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        self._waker = waker = Waker(signal.SIGCHLD)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
        notify.become_subreaper()
        assert self._keeper is not None
        assert self._link is not None
        keeper, link = self._keeper, self._link
        _leave_descriptors({keeper.fileno(), link.fileno(), self._epoll.fileno(), *waker.descriptors})
        self._tell({"kernel": self._kernel})
        for number in (keeper.fileno(), link.fileno(), waker.fileno()):
            self._epoll.register(number, select.EPOLLIN)
        from provcrt_kernel.trace import listener, supervisor  # noqa: F401  imported while K imports its own

        while True:
            for number, _ in self._epoll.poll():
                try:
                    self._serve(number, waker)
                except Exception:  # whatever it is, the others still need an answer
                    complain()
            self._reap()
            if self._ended and self._listener < 0 and self._stops is None:
                remove(self._setup, self._last)
                return 0

    def _serve(self, number: int, waker: Waker) -> None:
        if number == waker.fileno():
            waker.drain()
        elif number == self._listener:  # nobody has the filter any more
            self._epoll.unregister(number)
            self._listener = -1
        elif self._keeper is not None and number == self._keeper.fileno():
            self._keeper_gone()
        elif self._link is not None and number == self._link.fileno():
            over = True
            try:
                over = self._kernel_speaks(self._link)
            finally:  # also where it failed: K is told by the end of file
                if over:
                    self._epoll.unregister(self._link.fileno())
                    self._link.close()
                    self._link = None

    def _tell(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        if self._keeper is not None:
            with contextlib.suppress(OSError):
                socket.send_fds(self._keeper, [json.dumps(message).encode()], list(descriptors))

    def _keeper_gone(self) -> None:
        """P is dead: K must not run on unseen by who started it."""
        assert self._keeper is not None
        self._epoll.unregister(self._keeper.fileno())
        self._keeper.close()
        self._keeper = None
        if self._ended:
            return
        if self._group == self._parent:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)
        else:  # the group is the caller's, and none of our business
            others = self._supervisor.alive() if self._supervisor is not None else []
            for pid in {self._kernel, *others}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _kernel_speaks(self, link: socket.socket) -> bool:
        """Do what K asks for; say whether that was its last word."""
        try:
            data = link.recv(MESSAGE)
        except OSError:
            data = b""
        if not data:
            return True  # it does not want to be traced, or has ended
        message = json.loads(data)
        if "joined" in message:  # the supervisor of an outer kernel keeps its spans
            self._setup, self._host = message, message["rundir"]
            return True
        if "failed" in message:  # its filter could not be installed; it may ask for something else
            if self._stops is not None:
                self._stops.let_go()
            self._supervisor = None
            return False
        self._setup = message
        return self._trace(link) if message["mechanism"] == "ptrace" else self._listen(link)

    def _listen(self, link: socket.socket) -> bool:
        try:
            os.close(notify.take_descriptor(self._kernel, int(self._setup["probe"])))
            with open(f"/proc/{self._kernel}/mem", "rb"):
                pass
            others = self._listeners()
        except OSError as error:
            link.send(json.dumps({"no": str(error)}).encode())
            return False
        link.send(b'{"ready": true}')
        listener = self._find_listener(link, others)
        if listener < 0:
            return False
        self._tell({"setup": self._setup}, (listener,))
        self._supervisor = listen(listener, self._page, self._kernel, self._setup)
        self._listener = listener
        self._epoll.register(listener, 0)  # it hangs up when the last traced task is gone
        link.send(b'{"ok": true}')
        return True

    def _trace(self, link: socket.socket) -> bool:
        """Seize K, whose filter makes it stop for us."""
        try:
            from provcrt_kernel.trace.stops import Stops

            stops = Stops(_tables(), self._tell_exit)
            supervisor = _supervise(self._page, stops.resume, self._kernel, self._setup)
            # each stop raises SIGCHLD; from here on nobody but `stops` may wait, and it tells who ended
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._stops = stops
            stops.start(supervisor, self._kernel)
            with open(f"/proc/{self._kernel}/mem", "rb"):
                pass
        except (OSError, ImportError) as error:
            link.send(json.dumps({"no": str(error)}).encode())
            return False
        self._supervisor = supervisor
        self._tell({"setup": self._setup})
        link.send(b'{"ready": true}')
        return False  # it may have to say that its filter could not be installed

    def _tell_exit(self, pid: int, status: int) -> None:
        self._exits.put((pid, status))
        self._waker.wake()

    def _find_listener(self, link: socket.socket, others: set[int]) -> int:
        """Wait until K has installed its filter, and take the listener; -1 where it says that it failed.

        K cannot be asked for it: a thread of it may already be waiting in a trapped call, holding the GIL.
        """
        poll = select.poll()
        poll.register(link, select.POLLIN)
        while True:
            try:
                for number in self._listeners() - others:
                    with contextlib.suppress(OSError):
                        return notify.take_descriptor(self._kernel, number)
            except OSError:
                return -1
            if poll.poll(1):
                return -1

    def _listeners(self) -> set[int]:
        """Return K's descriptors of listeners: also such as it has inherited, which are not ours to serve."""
        folder = f"/proc/{self._kernel}/fd"
        found = set()
        for number in os.listdir(folder):
            with contextlib.suppress(OSError):
                if os.readlink(f"{folder}/{number}") == "anon_inode:seccomp notify":
                    found.add(int(number))
        return found

    def _reap(self) -> None:
        for pid, status in self._ends():
            if pid == self._kernel:
                self._ended = True
                self._last = self._supervisor.last_span() if self._supervisor is not None else self._hosted()
                self._tell({"exit": status, "last": self._last, "kept": self._setup.get("keep", "")})

    def _ends(self) -> Iterator[tuple[int, int]]:
        """Yield pid and wait status of children that have ended."""
        if self._stops is None:
            with contextlib.suppress(ChildProcessError):
                while (end := os.waitpid(-1, os.WNOHANG))[0]:
                    yield end
            return
        while not self._exits.empty():
            pid, status = self._exits.get()
            if pid == 0:
                self._stops = None
            yield pid, status

    def _hosted(self) -> str:
        """Ask whoever keeps K's spans for the one that it ended in; return the file, or nothing."""
        file = f"{self._host}/{barriers.ENDED}"
        if self._host:
            os.access(os.fsdecode(barriers.LAST) + self._host, os.F_OK)
        return file if self._host and os.path.exists(file) else ""


def complain() -> None:
    """Say what went wrong where somebody looks for it (PROVCRT_DEBUG)."""
    if os.environ.get("PROVCRT_DEBUG"):
        traceback.print_exc()


def _tables() -> Machine:
    tables = machine()
    assert tables is not None
    return tables


def _supervise(
    page: mmap.mmap, resume: Callable[[int], None], kernel: int, setup: dict[str, Any]
) -> Supervisor:
    from provcrt_kernel.trace.supervisor import Supervisor

    supervisor = Supervisor(
        page,
        resume,
        kernel,
        rundir=setup["rundir"],
        ignore=setup["ignore"],
        keep=setup["keep"],
        machine=_tables(),
    )
    supervisor.start()
    return supervisor


def listen(
    descriptor: int, page: mmap.mmap, kernel: int, setup: dict[str, Any], *, after: str = ""
) -> Supervisor:
    """Supervise by a listener; `after` says why somebody else does not any more."""
    from provcrt_kernel.trace.listener import Listener

    listener = Listener(descriptor, page)
    supervisor = _supervise(page, listener.resume, kernel, setup)
    if after:
        supervisor.take_over(after)
    listener.start(supervisor)
    return supervisor


class Waker:
    """A descriptor that becomes readable when one of some signals arrives (signal.set_wakeup_fd)."""

    def __init__(self, *numbers: signal.Signals) -> None:
        reader, writer = os.pipe()
        self.descriptors = (reader, writer)
        for number in self.descriptors:
            os.set_blocking(number, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, lambda *_: None)

    def close(self) -> None:
        """Let go of the signals' descriptor."""
        signal.set_wakeup_fd(-1)
        for number in self.descriptors:
            os.close(number)

    def fileno(self) -> int:
        """Return the end to wait for."""
        return self.descriptors[0]

    def wake(self) -> None:
        """Make it readable, from any thread."""
        with contextlib.suppress(BlockingIOError):
            os.write(self.descriptors[1], b"\0")

    def drain(self) -> None:
        """Make it unreadable again."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.descriptors[0], 512):
                pass


def _leave_descriptors(keep: set[int]) -> None:
    """Close what was inherited, so that nobody waits for an end of file that only S prevents."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1) if os.environ.get("PROVCRT_DEBUG") else (0, 1, 2):
        os.dup2(null, number)
    low = 3
    for number in sorted(n for n in keep if n >= 3):
        os.closerange(low, number)
        low = number + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") > 0 else 65536)


def remove(setup: dict[str, Any], last: str) -> None:
    """Remove the run directory and what was kept for K, unless a last span is there for who started the command."""
    for folder in () if last else filter(None, (setup.get("keep"), setup.get("rundir"))):
        shutil.rmtree(folder, ignore_errors=True)
