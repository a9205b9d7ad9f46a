"""The kernel's side: find or install a mechanism, open and close spans.

Promise: `attach` returns within seconds whatever happens, with a tracer that says how it traces and why not
better. Spans are opened and closed by `barriers`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import signal
import socket
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import msgspec

from provcrt_kernel.trace import notify
from provcrt_kernel.trace.barriers import BEGIN, END, JOIN, JOINED, SETUP
from provcrt_kernel.trace.calls import machine
from provcrt_kernel.trace.page import Page
from provcrt_kernel.trace.span import Span, decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provcrt_kernel.trace.calls import Machine

_PATIENCE = 10.0  # seconds that the supervisor may take to answer


class Tracer(Protocol):
    """What watches this process and all it starts.

    Attributes
    ----------
    mechanism : str
        ``seccomp``, ``ptrace``, ``joined`` (an outer kernel's supervisor keeps the spans of this one) or ``none``.
    reason : str or None
        Why it is not better, in one line.
    page : Page or None
        For calls of this process that are nobody's notice; None where there is no such page, or no need of it.
    """

    mechanism: str
    reason: str | None
    page: Page | None

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
    page: Page | None = None

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
    mechanism : {"seccomp", "ptrace", "joined"}
    page : Page or None
    """

    def __init__(self, rundir: str, mechanism: str, page: Page | None = None) -> None:
        self.mechanism = mechanism
        self.page = page
        self.reason: str | None = None
        self._rundir = rundir
        self._serial = 0
        self._name = ""
        self._lost = False

    def begin(self, name: str) -> None:
        """Open a span."""
        if self._lost and self.mechanism == "joined":  # another one may watch the outer kernel by now
            self._lost = not joins(self._rundir)
        self._serial += 1
        self._name = name
        begin = f"{self._rundir}/{os.fsdecode(BEGIN)}{self._serial}/"
        os.access(begin + quote(os.fsencode(name), safe="")[:2000], os.F_OK)

    def end(self) -> Span:
        """Close the span and return it."""
        path = f"{self._rundir}/{os.fsdecode(END)}{self._serial}"
        try:
            with io.FileIO(path) as file:  # `open` may be the notebook's
                span = decode(file.readall())
        except (OSError, msgspec.DecodeError) as error:
            self._lost = True
            return Span(self._name, complete=False, problems=(f"the supervisor gave no span: {error}",))
        return span if span.name == self._name else msgspec.structs.replace(span, name=self._name)

    def close(self) -> None:
        """Remove the run directory."""
        shutil.rmtree(self._rundir, ignore_errors=True)


def joins(rundir: str) -> bool:
    """Say whether a supervisor that watches this process already keeps its spans from now on."""
    file = f"{rundir}/{JOINED}"
    with contextlib.suppress(OSError):
        os.unlink(file)
    os.access(os.fsdecode(JOIN) + rundir, os.F_OK)
    return os.path.exists(file)


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


def attach(*, ignore: Sequence[str] = (), keep: str = "") -> Tracer:
    """Have this process and everything it starts traced from now on.

    The environment variable ``PROVCRT_TRACER`` may name the one mechanism to use: ``seccomp``, ``ptrace`` or ``none``.

    Parameters
    ----------
    ignore : sequence of str
        Path prefixes that are nobody's input. One that ends in ``*`` matches names that start so, else it stands
        for the path itself and what is below it.
    keep : str
        A folder that this process alone uses, where content is kept that a span read and then changed
        (`Access.before_file`). It is emptied when a span begins. By default nothing is kept.

    Returns
    -------
    Tracer
        Never raises: where tracing cannot be had, an `Untraced` that says why.
    """
    link, Link.current = Link.current, None
    tables = machine()
    wanted = os.environ.get(_WANTED, "")
    if link is None:
        return Untraced("this process was not started under a supervisor")
    if tables is None:
        return Untraced(f"no table of system calls for {os.uname().machine}")
    if wanted not in ("", "none", *_MECHANISMS):
        return Untraced(f"{_WANTED}={wanted} is not known: set it to seccomp, ptrace or none")
    if wanted == "none":
        return Untraced(f"{_WANTED}=none asks for that")
    rundir = ""
    reasons: list[str] = []
    try:
        rundir = _rundir()
        setup = {"rundir": rundir, "ignore": list(ignore), "keep": keep, "probe": link.fileno()}
        with open(f"{rundir}/{SETUP}", "w") as file:
            json.dump(setup, file)
        if joins(rundir):
            link.tell({**setup, "joined": True})
            link.close()
            return Traced(rundir, "joined")
        page = Page.map(tables)
        for name in (wanted,) if wanted else _MECHANISMS:
            try:
                reason = _MECHANISMS[name](link, setup, tables, page)
            except OSError as error:
                link.tell({"failed": str(error)})
                reason = _why(name, error)
            if reason is None:
                link.close()
                tracer = Traced(rundir, name, page)
                if name == "ptrace":
                    tracer.reason = reasons[0] if reasons else None
                return tracer
            reasons.append(reason)
    except (OSError, ValueError) as error:
        reasons.append(f"the supervisor does not answer: {error}")
    link.close()
    if rundir:
        shutil.rmtree(rundir, ignore_errors=True)
    return Untraced("; ".join(reasons))


def _listener(link: Link, setup: dict[str, object], tables: Machine, page: Page | None) -> str | None:
    """Trace by a listener; return why that cannot be."""
    answer = link.ask({**setup, "mechanism": "seccomp"})
    if "no" in answer:
        return f"the supervisor cannot read this process: {answer['no']}"
    listener = notify.install(tables, page.address if page else None)
    _await_supervisor(link)
    os.close(listener)
    return None


def _ptrace(link: Link, setup: dict[str, object], tables: Machine, page: Page | None) -> str | None:
    """Trace by ptrace; return why that cannot be."""
    answer = link.ask({**setup, "mechanism": "ptrace"})
    if "no" in answer:
        return f"this process cannot be traced by ptrace: {answer['no']}"
    notify.install_for_ptrace(tables, page.address if page else None)
    probe = Traced(str(setup["rundir"]), "ptrace")
    probe.begin("probe")
    span = probe.end()
    if not span.complete:  # a listener that is there already takes each call before it can stop
        return f"calls do not stop for ptrace: {span.problems[0]}"
    return None


_WANTED = "PROVCRT_TRACER"
_MECHANISMS = {"seccomp": _listener, "ptrace": _ptrace}


def _await_supervisor(link: Link) -> None:
    """Wait until somebody answers: from here on each trapped call of this process would wait for that anyway."""
    try:
        answered = "ok" in link.hear(patience=None)
    except (OSError, ValueError):
        answered = False
    if not answered:
        os.write(
            2, b"provcrt: the supervisor failed while the filter was installed: this process cannot go on\n"
        )
        os.kill(os.getpid(), signal.SIGKILL)  # exit_group(2) would wait for an answer, too


def _why(mechanism: str, error: OSError) -> str:
    if mechanism == "seccomp" and error.errno == errno.EBUSY:
        return "another listener watches this process already (EBUSY)"
    if error.errno == errno.ESRCH:
        return "a thread has a filter of its own (ESRCH): attach before starting threads"
    return f"the kernel has no {'user notification' if mechanism == 'seccomp' else 'filter'} for us: {error}"


def _rundir() -> str:
    import tempfile  # the supervisor does without it

    for parent in (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm", tempfile.gettempdir()):
        with contextlib.suppress(OSError):
            if parent and os.access(parent, os.W_OK | os.X_OK):
                return tempfile.mkdtemp(prefix="provcrt-", dir=parent)
    raise OSError("no directory for barriers")
