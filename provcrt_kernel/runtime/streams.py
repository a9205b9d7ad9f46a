"""The streams of a command: passed through as they come, and kept.

A process of its own copies them, so that the process which traces starts no thread. ::

    our stdin ──▶ copier ──▶ command ──▶ copier ──▶ our stdout, stderr
                    └─▶ file                └─▶ files

What the command itself could tell apart stays apart: a terminal stays one (pty(7)), a file or /dev/null on its
standard input is handed over as it is. A pipe on standard input is read ahead, as `ssh` does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import stat
import struct
import termios
from pathlib import Path
from typing import Literal

Source = Literal["null", "file", "pipe", "terminal"]
_CHUNK = 1 << 16
_NAMES = ("stdin", "stdout", "stderr")


def source() -> Source:
    """Tell what our standard input is."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return "null"
    if os.isatty(0):
        return "terminal"
    if stat.S_ISREG(mode):
        return "file"
    return "pipe" if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else "null"


class Copier:
    """Copies the streams of one command into files named ``stdin``, ``stdout`` and ``stderr``.

    Parameters
    ----------
    folder : Path
        Where the files go.
    show : bool
        Pass the output on to our own streams.
    given : int, optional
        A descriptor to read the command's standard input from, instead of ours.

    Attributes
    ----------
    descriptors : tuple of int
        What the command is to have as its descriptors 0, 1 and 2. To be closed with `started`.
    """

    def __init__(self, folder: Path, *, show: bool = True, given: int | None = None) -> None:
        self._files = {
            name: os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600) for name in _NAMES
        }
        self._ends: list[tuple[int, int, int]] = []  # (from, to, file); to is -1 where nobody is shown it
        inner = []
        kind = source() if given is None else "file"
        if kind == "pipe":
            reader, writer = os.pipe()
            self._ends.append((0, writer, self._files["stdin"]))
            inner.append(reader)
        elif kind == "null":
            inner.append(os.open(os.devnull, os.O_RDONLY))
        else:
            inner.append(os.dup(0 if given is None else given))
        for number in (1, 2):
            ours, theirs = _terminal(number) if show and os.isatty(number) else os.pipe()
            self._ends.append((ours, number if show else -1, self._files[_NAMES[number]]))
            inner.append(theirs)
        self.descriptors = tuple(inner)
        self._stop, self._stopping = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._copy()
            finally:
                os._exit(0)
        for here, there, _ in self._ends:
            for number in (here, there):
                if number > 2:
                    os.close(number)
        os.close(self._stop)
        for number in self._files.values():
            os.close(number)

    def started(self) -> None:
        """Let go of the command's ends."""
        for number in self.descriptors:
            os.close(number)

    def finish(self) -> bool:
        """Wait until all that the command itself wrote is copied; return whether every byte could be kept.

        A process that outlives the command may hold the streams on: what it writes is passed through, not kept.
        """
        os.close(self._stopping)
        while True:
            try:
                return os.waitpid(self._pid, 0)[1] == 0
            except InterruptedError:
                continue

    # In the copier

    def _copy(self) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(each, signal.SIG_IGN)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        for number in (*self.descriptors, self._stopping):
            os.close(number)
        poll = select.poll()
        ends = {here: (there, file) for here, there, file in self._ends}
        for here in ends:
            poll.register(here, select.POLLIN)
        poll.register(self._stop, select.POLLIN)
        ok = True
        stopping = False
        while True:
            ready = [number for number, _ in poll.poll(0 if stopping else None)]
            if self._stop in ready:
                stopping = True
                poll.unregister(self._stop)
            live = [number for number in ready if number in ends and not (stopping and number == 0)]
            if stopping and not live:
                break
            for number in live:
                there, file = ends[number]
                state = _pass(number, there, file)
                ok &= state != "lost"
                if state == "end":
                    poll.unregister(number)
                    del ends[number]
                    if number == 0:
                        os.close(there)
        os._exit(0 if self._linger(ends) and ok else 1)

    def _linger(self, ends: dict[int, tuple[int, int]]) -> bool:
        """Go on for processes that outlive the command, in a process that nobody waits for."""
        left = {here: there for here, (there, _) in ends.items() if here != 0}
        if not left or os.fork() != 0:
            return True
        for file in self._files.values():
            os.close(file)
        os.setsid()
        while left:
            ready = select.select(list(left), [], [])[0]
            for number in ready:
                if _pass(number, left[number], -1) == "end":
                    del left[number]
        os._exit(0)


def _pass(here: int, there: int, file: int) -> str:
    """Pass one piece on; return ``more``, ``end``, or ``lost`` where it could not be kept."""
    try:
        piece = os.read(here, _CHUNK)
    except OSError:  # the far end of a terminal is gone (EIO)
        return "end"
    if not piece:
        return "end"
    state = "more"
    if file >= 0 and not _write(file, piece):
        state = "lost"
    if there >= 0 and not _write(there, piece) and here == 0:
        return "end"  # the command does not read any more
    return state


def _write(number: int, piece: bytes) -> bool:
    view = memoryview(piece)
    while view:
        try:
            view = view[os.write(number, view) :]
        except BlockingIOError:
            select.select([], [number], [])
        except OSError:
            return False
    return True


def _terminal(number: int) -> tuple[int, int]:
    """Return both ends of a terminal of the size of the one that descriptor `number` is."""
    ours, theirs = pty.openpty()
    with contextlib.suppress(OSError):
        size = fcntl.ioctl(number, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    with contextlib.suppress(termios.error):
        modes = termios.tcgetattr(theirs)
        modes[1] &= ~termios.OPOST  # our own terminal turns \n into \r\n
        termios.tcsetattr(theirs, termios.TCSANOW, modes)
    return ours, theirs
