"""Three processes: the keeper that was started, the supervisor, and under it the kernel process.

Promise: to whoever started it, the keeper looks like the kernel: it ends when the kernel ends and as it ended,
passes SIGTERM on, and leaves SIGINT to it. None of the three survives the others by accident::

    P keeper      in the caller's process group; holds a duplicate of the listener
    └─ S supervisor    in a session of its own, so that signals to the group miss it; reaps orphans
       └─ K kernel     in P's process group and session

S dies: P becomes K's parent, and supervises (by ptrace K dies with S). P dies: S kills K. P's starter dies: P ends K.
Sources: setsid(2), PR_SET_CHILD_SUBREAPER(2const), unix(7), credentials(7).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from provcrt_kernel.trace import notify
from provcrt_kernel.trace.house import HELD, MESSAGE, House, Waker, complain, listen, remove
from provcrt_kernel.trace.tracer import Link

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Sequence


_GRACE = 5.0  # seconds between SIGTERM and SIGKILL


def supervise(main: Callable[[], None]) -> NoReturn:
    """Run `main` as the kernel process under a supervisor; end as it ends.

    Returns only in the kernel process, and there as `SystemExit`. To be called first thing, before threads are
    started and before anything heavy is imported.

    Parameters
    ----------
    main : callable
        What the kernel process runs; it may call `attach`.
    """
    keeper = Keeper(main)
    status = keeper.run()
    if keeper.last:  # it ended in a span, which nobody asks for
        shutil.rmtree(os.path.dirname(keeper.last), ignore_errors=True)
        if keeper.kept:
            shutil.rmtree(keeper.kept, ignore_errors=True)
    _end_as(status)


def _end_as(status: int) -> NoReturn:
    """End as the kernel ended: with its exit status, or by its signal."""
    if os.WIFSIGNALED(status):
        import resource

        number = os.WTERMSIG(status)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # one core file is enough
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
        os._exit(128 + number)
    os._exit(os.waitstatus_to_exitcode(status))


class Keeper:
    """P: starts S, waits for K, and takes S's place if it dies.

    Parameters
    ----------
    main : callable
        What the kernel process runs.
    given : sequence of int
        Descriptors that are for the kernel process alone: they are closed here once it has them.

    Attributes
    ----------
    last : str
        The file with the span in which the kernel process ended; empty where it ended in none.
    kept : str
        The folder with the old content that this span names; empty where nothing was to be kept.
    """

    def __init__(self, main: Callable[[], None], given: Sequence[int] = ()) -> None:
        self._main = main
        self._given = given
        self._page = notify.shared_page()
        self._kernel = 0
        self._listener = -1
        self._setup: dict[str, Any] = {}
        self._starter = os.getppid() if os.environ.get("JPY_PARENT_PID") else 0
        self._told_to_end = 0.0
        self.last = ""
        self.kept = ""

    def run(self) -> int:
        """Start everything; return K's wait status."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        notify.become_subreaper()
        self._supervisor = os.fork()
        if self._supervisor == 0:
            here.close()
            _supervisor(self._main, there, self._page, mask, os.getppid())
        there.close()
        for number in self._given:
            os.close(number)
        before = {number: signal.getsignal(number) for number in HELD}
        waker = Waker(signal.SIGTERM, signal.SIGCHLD)
        signal.signal(signal.SIGTERM, self._pass_on)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            return self._wait(here, waker)
        finally:
            waker.close()
            here.close()
            for number, handler in before.items():
                if handler is not None:  # None: it was not set from Python
                    signal.signal(number, handler)

    def _pass_on(self, number: int, frame: object) -> None:
        if self._kernel:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._kernel, signal.SIGTERM)

    def _wait(self, sock: socket.socket, waker: Waker) -> int:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        poll.register(waker, select.POLLIN)
        while True:
            ready = dict(poll.poll(1000 if self._starter else None))
            waker.drain()
            self._watch_starter()
            if sock.fileno() in ready:
                message, descriptors = _receive(sock)
                self._listener = descriptors[0] if descriptors else self._listener
                if message is None:
                    return self._take_over(waker)
                self._kernel = int(message.get("kernel", self._kernel))
                self._setup = message.get("setup", self._setup)
                if "exit" in message:
                    self.last = str(message.get("last", ""))
                    self.kept = str(message.get("kept", ""))
                    if (
                        self._listener >= 0
                    ):  # S has its own; the next command's would take this one for its K's
                        os.close(self._listener)
                    return int(message["exit"])

    def _watch_starter(self) -> None:
        if not self._starter or os.getppid() == self._starter or not self._kernel:
            return
        with contextlib.suppress(ProcessLookupError):
            if not self._told_to_end:
                self._told_to_end = time.monotonic()
                os.kill(self._kernel, signal.SIGTERM)
            elif time.monotonic() - self._told_to_end > _GRACE:
                os.kill(self._kernel, signal.SIGKILL)

    def _take_over(self, waker: Waker) -> int:
        """S is dead and K is ours now: answer its calls from here."""
        if self._kernel == 0:
            os._exit(1)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._supervisor, 0)
        if self._listener >= 0:  # else K died with S, or never was traced
            why = "the supervisor died and was replaced: what happened meanwhile is unknown"
            listen(self._listener, self._page, self._kernel, self._setup, after=why)
        poll = select.poll()
        poll.register(waker, select.POLLIN)
        while True:
            with contextlib.suppress(ChildProcessError):
                while True:
                    pid, status = os.waitpid(-1, os.WNOHANG)
                    if pid == 0:
                        break
                    if pid == self._kernel:
                        self._leave_behind()
                        remove(self._setup, "")
                        return status
            poll.poll(1000)
            waker.drain()
            self._watch_starter()

    def _leave_behind(self) -> None:
        """Fork a last supervisor for what outlives K: without one, each of its calls would fail."""
        if self._listener < 0 or _hung_up(self._listener, 0) or os.fork() != 0:
            return
        os.setsid()
        listen(self._listener, self._page, self._kernel, self._setup)
        _hung_up(self._listener, None)
        os._exit(0)


def _hung_up(listener: int, patience: int | None) -> bool:
    """Wait until nobody has the filter any more; say whether that is so."""
    poll = select.poll()
    poll.register(listener, 0)
    return bool(poll.poll(patience))


def _supervisor(
    main: Callable[[], None], keeper: socket.socket, page: mmap.mmap, mask: set[Any], parent: int
) -> NoReturn:
    """Be S: fork K, then watch it until nothing traced is left."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kernel = os.fork()
    if kernel == 0:
        keeper.close()
        here.close()
        Link.current = Link(there)
        os.environ.pop("JPY_PARENT_PID", None)  # its parent is the supervisor, not who is meant
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        main()
        raise SystemExit(0)
    status = 1
    try:
        there.close()
        status = House(kernel, keeper, here, page, parent).run()
    except BaseException:
        complain()
        with contextlib.suppress(ProcessLookupError):
            if os.getppid() != parent:  # nobody is left who could answer it
                os.kill(kernel, signal.SIGKILL)
    finally:
        os._exit(status)


def _receive(sock: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    try:
        data, descriptors, _, _ = socket.recv_fds(sock, MESSAGE, 4)
    except OSError:
        return None, []
    return (json.loads(data) if data else None), descriptors
