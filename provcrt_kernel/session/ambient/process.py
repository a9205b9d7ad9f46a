"""The process: environment variables, working folder, search path, limits, locale, time zone, signals.

What differs from one start of the kernel to the next (the connection file among the arguments, the session's
sockets) is left out for as long as it is as the process found it, so that it is nobody's input; once a cell
changes it, it counts. The slot *process* holds those facts for the cells that ask for them.

The process is as it was started when this module is imported, so that comes before any cell.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import functools
import gc
import hashlib
import locale
import os
import re
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping

from provcrt_kernel.session.collector import resting

from .adapter import Builtin
from .plain import plain, reference, unplain

# Plumbing of the shell, the desktop, the server and the editor around the kernel.
_PLUMBING = re.compile(
    rb"(JPY|JUPYTERHUB|JUPYTER|KERNEL|PROVCRT|PYDEVD|DEBUGPY|PYTEST|VSCODE|SSH|XDG_SESSION|DBUS)_.*|"
    rb"(KUBERNETES|TMUX|SYSTEMD)_.*|.*_(SERVICE|PORT)(_.*)?|_|COLUMNS|LINES|DISPLAY|GPG_AGENT_INFO|"
    rb"HOSTNAME|INVOCATION_ID|JOURNAL_STREAM|LS_COLORS|MEMORY_PRESSURE_(WATCH|WRITE)|OLDPWD|PWD|SHLVL|STY|"
    rb"TERM_SESSION_ID|TERM_PROGRAM.*|TMUX|WAYLAND_DISPLAY|WINDOWID"
)
_SECRET = re.compile(
    rb"TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|APIKEY|API_KEY|ACCESS_KEY|PRIVATE_KEY|(^|_)AUTH($|_)|_PAT$"
)

_UMASK = re.compile(rb"^Umask:\s*(\d+)", re.MULTILINE)
_open_status: list[int] = []
_START_ARGV = list(sys.argv)
# _signal's own functions: those of signal make an enum member of every handler.
_START_SIGNALS = {int(number): _signal.getsignal(number) for number in signal.valid_signals()}
_START_LIMITS = {
    name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")
}
_START_CORES = os.sched_getaffinity(0)


def _variables() -> Mapping[bytes, bytes]:
    # The bytes as they are; and whoever listens to reads of os.environ does not hear this one.
    return os.environ._data  # type: ignore[attr-defined,no-any-return]


_START_PLUMBING = {name: value for name, value in _variables().items() if _PLUMBING.fullmatch(name)}


def _read_environ() -> object:
    # Sorted: their order is nobody's input. A secret's value never reaches the store, its digest does.
    present = _variables()
    changed = [
        [name, _redacted(value) if _secret(name) else value]
        for name, value in sorted(present.items())
        if _START_PLUMBING.get(name) != value
    ]
    return changed + [[name, None] for name in sorted(_START_PLUMBING) if name not in present]


@functools.lru_cache(1000)
def _secret(name: bytes) -> bool:
    return bool(_SECRET.search(name))


def _redacted(value: bytes) -> object:
    return {
        "@inexpressible": "a secret in the environment",
        "token": hashlib.blake2b(value, digest_size=16).hexdigest(),
    }


def _write_environ(value: object) -> None:
    wanted: dict[bytes, object] = dict(_START_PLUMBING)
    wanted.update((name, content) for name, content in value)  # type: ignore[attr-defined]
    present = _variables()
    for name in list(present):
        if wanted.get(name) is None:
            del os.environb[name]
    for name, content in wanted.items():
        if isinstance(content, bytes) and present.get(name) != content:
            os.environb[name] = content
    _apply_zone()


def _read_folder() -> object:
    return os.getcwdb()


def _write_folder(value: object) -> None:
    assert isinstance(value, bytes)
    os.chdir(value)


def _status() -> bytes:
    """``/proc/self/status``: opened once, since each opening is a trapped call; anew where the descriptor is another's now."""
    for descriptor in _open_status:
        with contextlib.suppress(OSError):
            text = os.pread(descriptor, 4096, 0)
            if text.startswith(b"Name:") and b"\nPid:\t%d\n" % os.getpid() in text:
                return text
    try:
        _open_status[:] = [os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)]
        return os.pread(_open_status[0], 4096, 0)
    except OSError:
        return b""


def _read_mask() -> object:
    # os.umask tells it only by setting another one, which a thread might see.
    found = _UMASK.search(_status())
    if found is not None:
        return int(found[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _write_mask(value: object) -> None:
    assert isinstance(value, int)
    os.umask(value)


def _read_path() -> object:
    return [item if type(item) is str and item.isascii() else plain(item) for item in sys.path]


def _write_path(value: object) -> None:
    sys.path[:] = unplain(value)


def _read_argv() -> object:
    return b"as started" if sys.argv == _START_ARGV else plain(sys.argv)


def _write_argv(value: object) -> None:
    sys.argv[:] = _START_ARGV if value == b"as started" else unplain(value)


def _read_interpreter() -> object:
    return {
        "recursion limit": sys.getrecursionlimit(),
        "int digits": sys.get_int_max_str_digits(),
        "switch interval": sys.getswitchinterval(),
        "write bytecode": not sys.dont_write_bytecode,
        "traceback limit": plain(getattr(sys, "tracebacklimit", None)),
        "gc": [resting.enabled(), *gc.get_threshold()],
        "socket timeout": socket.getdefaulttimeout(),
    }


def _write_interpreter(value: object) -> None:
    assert isinstance(value, dict)
    sys.setrecursionlimit(value["recursion limit"])
    sys.set_int_max_str_digits(value["int digits"])
    sys.setswitchinterval(value["switch interval"])
    sys.dont_write_bytecode = not value["write bytecode"]
    if value["traceback limit"] is not None:
        sys.tracebacklimit = unplain(value["traceback limit"])
    elif hasattr(sys, "tracebacklimit"):
        del sys.tracebacklimit
    enabled, *thresholds = value["gc"]
    (gc.enable if enabled else gc.disable)()
    gc.set_threshold(*thresholds)
    socket.setdefaulttimeout(value["socket timeout"])


def _read_limits() -> object:
    changed: dict[str, object] = {}
    for name, at_start in _START_LIMITS.items():
        now = resource.getrlimit(getattr(resource, name))
        if now != at_start:
            changed[name] = list(now)
    cores = os.sched_getaffinity(0)
    if cores != _START_CORES:
        changed["cores"] = sorted(cores)
    return changed


def _write_limits(value: object) -> None:
    assert isinstance(value, dict)
    for name, at_start in _START_LIMITS.items():
        wanted = tuple(value.get(name, at_start))
        if resource.getrlimit(getattr(resource, name)) != wanted:
            resource.setrlimit(getattr(resource, name), wanted)
    cores = set(value.get("cores", _START_CORES))
    if os.sched_getaffinity(0) != cores:
        os.sched_setaffinity(0, cores)


def _read_locale() -> object:
    return locale.setlocale(locale.LC_ALL)


def _write_locale(value: object) -> None:
    locale.setlocale(locale.LC_ALL, str(value))


def _read_zone() -> object:
    # TZ itself is in os.environ; this is what the C library made of it at the last tzset.
    return [*time.tzname, time.timezone, time.altzone, time.daylight]


def _write_zone(_: object) -> None:
    _apply_zone()


def _apply_zone() -> None:
    time.tzset()


def _read_signals() -> object:
    changed: dict[str, object] = {}
    for number, at_start in _START_SIGNALS.items():
        handler = _signal.getsignal(number)
        if handler is not at_start and handler != at_start:
            changed[str(number)] = (
                plain(handler) if handler is None or isinstance(handler, int) else reference(handler)
            )
    if any(
        signal.getitimer(timer)[0]
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
    ):
        changed["timer"] = {"@inexpressible": "an alarm is pending", "token": ""}
    return changed


def _write_signals(value: object) -> None:
    assert isinstance(value, dict)
    for number, at_start in _START_SIGNALS.items():
        handler = unplain(value[str(number)]) if str(number) in value else at_start
        if not isinstance(handler, dict) and handler is not None and _signal.getsignal(number) != handler:
            signal.signal(number, handler)
    if "timer" not in value:
        for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
            signal.setitimer(timer, 0)


def _read_process() -> object:
    return {
        "argv": plain(_START_ARGV),
        "environ": [[name, value] for name, value in sorted(_START_PLUMBING.items()) if not _secret(name)],
    }


def _process_asks() -> frozenset[str]:
    return frozenset({"argv", "orig_argv", *map(os.fsdecode, _START_PLUMBING)})


def _ignore(_: object) -> None:
    """Restore nothing: no process can become another one."""


SLOTS = (
    Builtin("os.environ", _read_environ, _write_environ),
    Builtin("cwd", _read_folder, _write_folder),
    Builtin("umask", _read_mask, _write_mask),
    Builtin("sys.path", _read_path, _write_path),
    Builtin("sys.argv", _read_argv, _write_argv),
    Builtin("interpreter settings", _read_interpreter, _write_interpreter),
    Builtin("resource limits", _read_limits, _write_limits),
    Builtin("locale", _read_locale, _write_locale),
    Builtin("time zone", _read_zone, _write_zone),
    Builtin("signal handlers", _read_signals, _write_signals),
    Builtin("process", _read_process, _ignore, kind="identity", asks=_process_asks),
)
