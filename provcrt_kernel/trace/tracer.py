"""The kernel's side: install the filter, open and close spans.

Promise: `attach` returns within seconds whatever happens, with a tracer that says how it traces and why not
better. A barrier is an ordinary call that the supervisor knows by its name, so it is in order with every other
call of the kernel, and no lock is held while it waits::

    begin   access(RUNDIR/begin/SERIAL/NAME)       the supervisor opens a span, the call goes on (and fails)
    end     open(RUNDIR/end-SERIAL)                the supervisor writes that file first, then the call goes on
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import tempfile
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import msgspec

from provcrt_kernel.trace import notify
from provcrt_kernel.trace.calls import machine
from provcrt_kernel.trace.span import Span, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE = 10.0  # seconds that the supervisor may take to answer


class Tracer(Protocol):
    """What watches this process and all it starts.

    Attributes
    ----------
    mechanism : str
        ``seccomp`` or ``none``.
    reason : str or None
        Why it is not better, in one line.
    """

    mechanism: str
    reason: str | None

    def begin(self, name: str) -> None:
        """Open a span: from here on accesses belong to it."""

    def end(self) -> Span:
        """Close the span that is open, and return it. Never raises for what the supervisor did."""

    def close(self) -> None:
        """Remove what the tracer keeps on disk. The filter stays: it cannot be removed."""


class Untraced:
    """The tracer that sees nothing: each of its spans is empty and says that it is incomplete.

    Parameters
    ----------
    reason : str
        Why there is no tracing, in one line.
    """

    mechanism = "none"

    def __init__(self, reason: str) -> None:
        self.reason: str | None = reason
        self._name = ""

    def begin(self, name: str) -> None:
        """Remember the name."""
        self._name = name

    def end(self) -> Span:
        """Return an empty, incomplete span."""
        return Span(self._name, complete=False, problems=(f"not traced: {self.reason}",))

    def close(self) -> None:
        """Do nothing."""


class Traced:
    """The tracer whose supervisor receives every call in the table.

    Parameters
    ----------
    rundir : str
        The directory whose names are barriers.
    """

    mechanism = "seccomp"

    def __init__(self, rundir: str) -> None:
        self.reason: str | None = None
        self._rundir = rundir
        self._serial = 0
        self._name = ""

    def begin(self, name: str) -> None:
        """Open a span."""
        self._serial += 1
        self._name = name
        os.access(f"{self._rundir}/begin/{self._serial}/{quote(os.fsencode(name), safe='')[:2000]}", os.F_OK)

    def end(self) -> Span:
        """Close the span and return it."""
        path = f"{self._rundir}/end-{self._serial}"
        try:
            with open(path, "rb", buffering=0) as file:
                data = file.read()
            os.unlink(path)
            span = decode(data)
        except (OSError, msgspec.DecodeError) as error:
            return Span(self._name, complete=False, problems=(f"the supervisor gave no span: {error}",))
        return span if span.name == self._name else msgspec.structs.replace(span, name=self._name)

    def close(self) -> None:
        """Remove the run directory."""
        shutil.rmtree(self._rundir, ignore_errors=True)


class Link:
    """The line to the supervisor, made before the fork; one message per datagram, JSON."""

    current: Link | None = None

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def ask(self, message: dict[str, object]) -> dict[str, object]:
        """Send a message and return the answer; write and read, since these calls are never trapped."""
        os.write(self._socket.fileno(), json.dumps(message).encode())
        return self.hear()

    def tell(self, message: dict[str, object]) -> None:
        """Send a message."""
        os.write(self._socket.fileno(), json.dumps(message).encode())

    def hear(self, patience: float | None = _PATIENCE) -> dict[str, object]:
        """Return the next message; with no patience given up, wait as long as the supervisor lives."""
        self._socket.settimeout(patience)
        answer: dict[str, object] = json.loads(
            self._socket.recv(65536) or b'{"no": "the supervisor has ended"}'
        )
        return answer

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()


def attach(*, ignore: Sequence[str] = ()) -> Tracer:
    """Have this process and everything it starts traced from now on.

    Parameters
    ----------
    ignore : sequence of str
        Path prefixes that are nobody's input. One that ends in ``*`` matches names that start so, else it stands
        for the path itself and what is below it.

    Returns
    -------
    Tracer
        Never raises: where tracing cannot be had, an `Untraced` that says why.
    """
    link, Link.current = Link.current, None
    tables = machine()
    if link is None:
        return Untraced("this process was not started under a supervisor")
    if tables is None:
        return Untraced(f"no table of system calls for {os.uname().machine}")
    rundir = ""
    try:
        rundir = _rundir()
        answer = link.ask({"rundir": rundir, "ignore": list(ignore), "probe": link.fileno()})
        if "no" in answer:
            return _give_up(link, rundir, f"the supervisor cannot read this process: {answer['no']}")
        try:
            listener = notify.install(tables)
        except OSError as error:
            link.tell({"failed": str(error)})
            return _give_up(link, rundir, _why(error))
        _await_supervisor(link)
        os.close(listener)
    except (OSError, ValueError) as error:
        return _give_up(link, rundir, f"the supervisor does not answer: {error}")
    return Traced(rundir)


def _await_supervisor(link: Link) -> None:
    """Wait until somebody answers: from here on each trapped call of this process would wait for that anyway."""
    try:
        answered = "ok" in link.hear(patience=None)
    except (OSError, ValueError):
        answered = False
    if not answered:
        os.write(
            2, b"provcrt: the supervisor died while the filter was installed: this process cannot go on\n"
        )
        os._exit(70)  # EX_SOFTWARE
    link.close()


def _give_up(link: Link, rundir: str, reason: str) -> Untraced:
    link.close()
    if rundir:
        shutil.rmtree(rundir, ignore_errors=True)
    return Untraced(reason)


def _why(error: OSError) -> str:
    import errno

    if error.errno == errno.EBUSY:
        return "another supervisor watches this process already (EBUSY): trace from the outer one"
    if error.errno == errno.ESRCH:
        return "a thread has a filter of its own (ESRCH): attach before starting threads"
    return f"the kernel has no user notification for us: {error}"


def _rundir() -> str:
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm", tempfile.gettempdir()):
        with contextlib.suppress(OSError):
            if parent and os.access(parent, os.W_OK | os.X_OK):
                return tempfile.mkdtemp(prefix="provcrt-", dir=parent)
    raise OSError("no directory for barriers")
