"""Which types hold state that nobody can read back: their values have a lineage, not a fingerprint."""

from __future__ import annotations

from .homes import module_of, mro_of, qualname_of

#: What is small to say and large to keep: drawing it again takes no longer than loading it.
DRAWN = "matplotlib figure"
_REASONS = {
    "builtins.generator": "generator",
    "builtins.coroutine": "coroutine",
    "builtins.async_generator": "async generator",
    "builtins.coroutine_wrapper": "coroutine",
    "builtins.frame": "frame",
    "builtins.traceback": "traceback",
    "builtins.PyCapsule": "capsule",
    "builtins.weakproxy": "weak reference",
    "weakref.ProxyType": "weak reference",
    "weakref.CallableProxyType": "weak reference",
    "_thread.lock": "lock",
    "_thread.RLock": "lock",
    "_thread._local": "thread-local data",
    "threading.Thread": "thread",
    "threading.Condition": "lock",
    "threading.Semaphore": "lock",
    "threading.Event": "lock",
    "subprocess.Popen": "process",
    "multiprocessing.process.BaseProcess": "process",
    "multiprocessing.pool.Pool": "process pool",
    "concurrent.futures._base.Executor": "thread or process pool",
    "concurrent.futures._base.Future": "future",
    "_asyncio.Future": "future",
    "_asyncio.Task": "task",
    "asyncio.events.AbstractEventLoop": "event loop",
    "_socket.socket": "socket",
    "ssl.SSLContext": "TLS context",
    "select.epoll": "poll object",
    "selectors.BaseSelector": "selector",
    "mmap.mmap": "memory map",
    "numpy.memmap": "memory map",
    "sqlite3.Connection": "database connection",
    "sqlite3.Cursor": "database cursor",
    "_contextvars.ContextVar": "context variable",
    "_contextvars.Context": "context",
    "_contextvars.Token": "context token",
    "builtins.ContextVar": "context variable",
    "builtins.Context": "context",
    "builtins.Token": "context token",
    "_ctypes._Pointer": "C pointer",
    "_ctypes.CFuncPtr": "C function",
    "ctypes.CDLL": "C library",
    "traitlets.traitlets.HasTraits": "widget or traitlets object",
    "zmq.sugar.socket.Socket": "socket",
    "requests.sessions.Session": "network session",
    "matplotlib.artist.Artist": DRAWN,
    "matplotlib.backend_bases.FigureCanvasBase": DRAWN,
    "matplotlib.container.Container": DRAWN,
    "tqdm.std.tqdm": "progress bar",
    "h5py._hl.base.HLObject": "open file",
    "pyarrow.lib.NativeFile": "open file",
    "_io._IOBase": "open file",
    "io.IOBase": "open file",
}

_IN_MEMORY = frozenset({"_io.BytesIO", "_io.StringIO"})


def full_name(cls: type) -> str:
    """``module.qualname`` of a class, read past its metaclass."""
    return f"{module_of(cls)}.{qualname_of(cls)}"


def opaque_reason(cls: type) -> str | None:
    """Why values of `cls` have no fingerprint, or None if its kind does not forbid one.

    Parameters
    ----------
    cls : type
        The exact type of a value.

    Returns
    -------
    str or None
        Two or three words, such as ``open file``.
    """
    names = [full_name(base) for base in mro_of(cls)]
    if _IN_MEMORY.intersection(names):
        return None
    return next((_REASONS[name] for name in names if name in _REASONS), None)
