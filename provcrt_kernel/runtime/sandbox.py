"""A run that sees nothing but a root of its own, which `roots` makes of a container's content.

bubblewrap (bwrap(1)) makes the namespaces and mounts; then a process of ours joins them (setns(2)) and traces the
command from inside. It has everything it needs in memory, so that no file of this system need be in there.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib
import json
import os
import pkgutil
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from provcrt_kernel import trace
from provcrt_kernel.runtime.errors import ProjectError
from provcrt_kernel.trace import Span, decode, encode, run_traced

_SPACES = ("user", "ipc", "uts", "net", "cgroup", "pid", "mnt")
_OWN = {"proc", "dev"}  # folders of the root that bubblewrap fills
_PATIENCE = 20.0  # seconds for bubblewrap to be ready
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP = 4, 24  # prctl(2)
_LAST_CAPABILITY = 63
_NS_GET_USERNS = 0xB701  # ioctl_ns(2)


def problem() -> str | None:
    """Return why nothing can be isolated here, or None."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    try:
        done = subprocess.run(
            ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as cause:
        return f"bubblewrap does not run: {cause}"
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"bubblewrap ended with {done.returncode}"])[-1]


class Bind(msgspec.Struct, frozen=True):
    """A file or folder of this machine that is seen at `target` in a sandbox."""

    source: str
    target: str
    writable: bool = False


class Sandbox(msgspec.Struct, frozen=True):
    """A root that commands can run in, as `roots.laid_out` makes it.

    Attributes
    ----------
    root : str
        Where what it writes can be found.
    binds : tuple of Bind
        What else is seen in there.
    network : bool
        Whether it reaches the network.
    ignore : tuple of str
        Paths that are nobody's input, as `trace.attach` takes them.
    """

    root: str
    binds: tuple[Bind, ...] = ()
    network: bool = False
    ignore: tuple[str, ...] = ()

    def command(self, *further: str) -> list[str]:
        """Return bubblewrap's command line up to the program's."""
        binds = [
            word
            for each in self.binds
            for word in ("--bind" if each.writable else "--ro-bind", each.source, each.target)
        ]
        shared = ["--share-net"] if self.network else []
        return [
            *(
                "bwrap",
                "--unshare-all",
                *shared,
                "--die-with-parent",
                "--new-session",
                "--bind",
                self.root,
                "/",
            ),
            *(*binds, "--proc", "/proc", "--dev", "/dev", *further, "--"),
        ]

    def run(self, argv: Sequence[str], cwd: str, environ: Mapping[str, str]) -> tuple[int, Span]:
        """Run a command in here, traced; as `trace.run_traced` does.

        Raises
        ------
        ProjectError
            Where nothing can be isolated here.
        """
        _load_tracer()
        with self._held() as pid:
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reader)
                _inside(pid, writer, lambda: run_traced(argv, cwd=cwd, env=environ, ignore=self.ignore))
            os.close(writer)
            with open(reader, "rb") as file, _passing(child):
                data = file.read()
            os.waitpid(child, 0)
        if data[:1] != b"+":
            raise ProjectError.no_isolation(data[1:].decode(errors="replace") or "its first process died")
        return int.from_bytes(data[1:5], "little", signed=True), decode(data[5:])

    @contextlib.contextmanager
    def _held(self) -> Iterator[int]:
        """Yield the process that holds the sandbox open."""
        told, telling = os.pipe()
        held, holding = os.pipe()
        argv = self.command("--info-fd", str(telling), "--block-fd", str(held))
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(
                    [*argv, "/true"],
                    pass_fds=(telling, held),
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                )
            except OSError as cause:
                raise ProjectError.no_isolation(f"bubblewrap cannot be started: {cause.strerror}") from cause
            finally:
                os.close(telling)
                os.close(held)
            try:
                with open(told, "rb") as file:
                    data = file.read()
                pid = int(json.loads(data)["child-pid"]) if data else 0
                if not pid or not self._ready(pid):
                    said.seek(0)
                    why = said.read().decode(errors="replace").strip().splitlines() or ["it gives no reason"]
                    raise ProjectError.no_isolation(why[-1])
                yield pid
            finally:
                process.kill()
                process.wait()
                os.close(holding)

    def _ready(self, pid: int) -> bool:
        """Wait until the root of a process is ours, and its user is: then all is in place."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            try:
                own = os.path.samestat(os.stat(f"/proc/{pid}/root"), os.stat(self.root))
                # user_namespaces(7): the first number is the user in there. Ours is mapped last.
                user = Path(f"/proc/{pid}/uid_map").read_text().split()[:1]
                if own and user == [str(os.geteuid())]:
                    return True
            except PermissionError:
                pass
            except OSError:
                return False
            time.sleep(0.002)
        return False


def _load_tracer() -> None:
    """Import all that the tracer may need: in a sandbox there is nothing to import from."""
    for module in pkgutil.iter_modules(trace.__path__):
        if module.name != "stops":  # GPL-2.0-only bindings, for where no listener can be had
            importlib.import_module(f"{trace.__name__}.{module.name}")


def _inside(pid: int, writer: int, run: Callable[[], tuple[int, Span]]) -> None:
    """Join the sandbox of a process, run there, tell the outcome, and end."""
    try:
        try:
            _join(pid)
        except OSError as cause:
            os.write(writer, b"-" + str(cause).encode())
            os._exit(1)
        status, span = run()
        data = b"+" + status.to_bytes(4, "little", signed=True) + encode(span)
        with open(writer, "wb") as file:
            file.write(data)
        os._exit(0)
    except BaseException as cause:
        with contextlib.suppress(OSError):
            os.write(writer, b"-" + f"{type(cause).__name__}: {cause}".encode())
        os._exit(1)


def _join(pid: int) -> None:
    """Enter all namespaces of a process, and give up the rights that doing so gave.

    Raises
    ------
    OSError
        Where that is not allowed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    spaces = {name: os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in _SPACES}
    # Where bubblewrap mounts terminals for a user who is not root, it works as root of one user namespace, which owns
    # the others, and ends in a second one below it.
    owner = fcntl.ioctl(spaces["mnt"], _NS_GET_USERNS)
    steps = [
        ("user", owner),
        *((name, spaces[name]) for name in _SPACES if name != "user"),
        ("user", spaces["user"]),
    ]
    inside = {name: os.stat(f"/proc/self/ns/{name}").st_ino for name in _SPACES}
    for name, space in steps:
        number = os.fstat(space).st_ino
        if inside[name] != number and libc.setns(space, 0) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"its {name} namespace cannot be joined: {os.strerror(error)}")
        inside[name] = number
    for space in (owner, *spaces.values()):
        os.close(space)
    os.chdir("/")
    for capability in range(_LAST_CAPABILITY + 1):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    # Joining makes a process opaque to its own children's supervisor; nothing of the host is in its reach now.
    libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    os.environ.pop("XDG_RUNTIME_DIR", None)
    tempfile.tempdir = "/tmp"


@contextlib.contextmanager
def _passing(child: int) -> Iterator[None]:
    """Pass SIGTERM on to a child, and leave SIGINT, which the terminal sends to all, to it."""

    def pass_on(number: int, frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    before = signal.signal(signal.SIGTERM, pass_on), signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
