"""Which cells use what nobody can repeat: the clock, randomness never seeded, the identity of the process.

Clocks are read without a system call, so they are found by source: by the names that the cell, and the functions it can
reach, mention. Randomness asks the kernel, so the tracer decides, and the source only says what it was for. A native
library that reads the clock by itself is not seen.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping

from provcrt_kernel.session.codes import ADDRESSES
from provcrt_kernel.session.source import Source
from provcrt_kernel.session.walk import BY_ADDRESS, IN_TEXT

#: Last part of a dotted name, or a bare name, that reads a clock.
CLOCK = frozenset(
    "now today utcnow perf_counter perf_counter_ns monotonic monotonic_ns time_ns process_time process_time_ns thread_time "
    "thread_time_ns clock_gettime clock_gettime_ns default_timer getloadavg times getrusage cpu_percent virtual_memory".split()
)
#: The same where the first part must be the module `time`: elsewhere these are ordinary words.
_TIME = frozenset("time ctime localtime gmtime asctime strftime".split())
#: Names that may draw from the operating system's randomness.
ENTROPY = frozenset(
    "urandom getrandom uuid1 uuid4 SystemRandom token_hex token_bytes token_urlsafe randbelow randbits default_rng RandomState "
    "SeedSequence entropy mkdtemp mkstemp mktemp NamedTemporaryFile TemporaryDirectory TemporaryFile SpooledTemporaryFile".split()
)
#: Of these, the ones that draw only if they are called without an argument.
_SEEDABLE = frozenset({"default_rng", "RandomState", "SeedSequence"})
#: Names that use what was drawn earlier in the process, or no call of the system at all.
_DRAWN_BEFORE = frozenset(
    "uuid1 mkdtemp mkstemp mktemp NamedTemporaryFile TemporaryDirectory TemporaryFile SpooledTemporaryFile".split()
)
#: Packages that draw names for temporary folders; their numbers come from streams that have slots.
_DRAW_IN_USE = frozenset({"sklearn", "joblib"})
#: Values that mean something in this process only: recalled in another one they are wrong.
PROCESS = frozenset(
    "argv orig_argv getpid getppid getnode get_ident get_native_id current_process gettid id "
    "getsockname server_address server_port get_connection_file get_connection_info".split()
) | {IN_TEXT, BY_ADDRESS}
#: A smaller number of a process, as containers have them, may be any number.
_TELLING = 1000
#: Longer texts and containers are not looked through for what holds in this process only.
_LONG, _MANY = 10_000, 50
_ADDRESS = re.compile(r"\b0x[0-9a-f]{9,16}\b")
#: Words by which a cell opens files that it knows by number alone.
_DESCRIPTORS = frozenset(
    "pipe pipe2 dup openpty memfd_create eventfd fileno detach epoll_create pidfd_open inotify_init".split()
)
_SOURCE_FILES = frozenset(
    {"getsourcefile", "linecache", "history_manager", "input_hist_raw", "input_hist_parsed"}
)
_SOURCE_MAGICS = frozenset(
    {"pinfo", "pinfo2", "psource", "pfile", "pycat", "history", "hist", "recall", "rerun", "macro"}
)
_TIMING_MAGICS = frozenset({"time", "timeit", "prun", "memit"})
_TIMING_COMMANDS = frozenset("date uptime ps top free uuidgen mktemp shuf who w last vmstat iostat".split())
#: Modules that draw randomness while they are imported, for no reader.
_DRAW_AT_IMPORT = frozenset(
    "random numpy.random tempfile secrets uuid multiprocessing multiprocessing.process multiprocessing.context ssl hashlib "
    "torch joblib numpy.random.mtrand "
    "concurrent.futures.process email.message http.client urllib.request asyncio tornado zmq".split()
)


def clocks(source: Source, reached: Iterable[str], namespace: Mapping[str, object]) -> list[str]:
    """Names by which a cell reads a clock.

    Parameters
    ----------
    reached
        Entropy names in the functions that the cell can reach (`State.clock`).
    """
    found = {name for name in (*source.attributes, *reached) if name in CLOCK}
    for chain in source.chains:
        root, _, rest = chain.partition(".")
        if rest in _TIME and (namespace.get(root) is sys.modules["time"] or root == "time"):
            found.add(chain)
    for name in source.reads & _TIME:
        if getattr(namespace.get(name), "__module__", None) == "time":
            found.add(name)
    found |= {f"%{m}" for m in source.magics & _TIMING_MAGICS}
    return sorted(found)


def commands(argvs: Iterable[tuple[str, ...]]) -> list[str]:
    """Commands among `argvs` that show the time or the state of the machine."""
    return sorted(
        {name for argv in argvs if argv and (name := argv[0].rpartition("/")[2]) in _TIMING_COMMANDS}
    )


def process_bound(
    source: Source, reached: Iterable[str], callable_words: frozenset[str], namespace: Mapping[str, object]
) -> list[str]:
    """Names by which a cell gets values that hold in this process only.

    Parameters
    ----------
    reached
        Entropy names in the functions that the cell can reach, and in what it made.
    callable_words
        Those of them that it could reach when it began: to define a function that asks for an address is not to ask.
    """
    # library code that the notebook's classes hold, a dataclass's __repr__ first of all, guards against recursion by thread
    mentioned = {*source.attributes, *(n for n in reached if n != "get_ident")}
    found = {name for name in mentioned & PROCESS if name != "id"}
    found |= callable_words & ADDRESSES
    found |= (callable_words | source.attributes) & {"__hash__"}
    if "id" in source.reads and "id" not in source.binds:
        found.add("id")
    if "hash" in source.reads and "hash" not in source.binds and _hashes_address(source.text, namespace):
        found.add("hash")
    return sorted(found)


def tells_process(values: Iterable[object], namespace: Mapping[str, object]) -> list[str]:
    """What in a cell's values holds in this process only, whoever said it: its number, addresses of the notebook's objects.

    Parameters
    ----------
    values
        Values that the cell made; short containers are looked through one level deep.
    """
    own = os.getpid()
    number = re.compile(rf"(?<![\w.]){own}(?![\w.])")
    objects: set[int] | None = None
    found = set()
    for value in (part for whole in values for part in _parts(whole)):
        if own >= _TELLING and (value == own if type(value) is int else number.search(value)):  # type: ignore[arg-type]
            found.add("the number of the process")
        for address in _ADDRESS.findall(value) if type(value) is str else ():
            objects = objects if objects is not None else {id(v) for v in namespace.values()}
            if int(address, 16) in objects:
                found.add("the address of an object")
    return sorted(found)


def _parts(value: object) -> Iterator[str | int]:
    """A short text or a number, or those that a short container holds."""
    inside: Iterable[object] = (value,)
    if type(value) in (list, tuple, set, frozenset, dict) and len(value) <= _MANY:  # type: ignore[arg-type]
        inside = [*value, *value.values()] if isinstance(value, dict) else list(value)  # type: ignore[call-overload]
    for part in inside:
        if type(part) is int or (type(part) is str and len(part) <= _LONG):
            yield part


def opens_descriptors(source: Source) -> bool:
    """Whether a cell may open files that it knows by number alone."""
    return bool(source.attributes & _DESCRIPTORS) or "os.open" in source.chains


def _hashes_address(text: str, namespace: Mapping[str, object]) -> bool:
    """Whether a cell calls ``hash`` on what may be hashed by its address; names are looked up as they are after it."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return True
    return any(_may_be_address(n, namespace if scope is None else {}) for n, scope in _hashes(tree, None))


def _hashes(node: ast.AST, scope: ast.AST | None) -> Iterator[tuple[ast.AST, ast.AST | None]]:
    """Calls and other mentions of ``hash``, and the function that each is in; how a class hashes its objects is left out."""
    match node:
        case ast.FunctionDef(name="__hash__"):
            return
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            scope = node
        case ast.Call(func=ast.Name(id="hash"), args=arguments):
            yield node, scope
            for argument in arguments:
                yield from _hashes(argument, scope)
            return
        case ast.Name(id="hash"):
            yield node, scope
    for child in ast.iter_child_nodes(node):
        yield from _hashes(child, scope)


def _may_be_address(node: ast.AST, namespace: Mapping[str, object]) -> bool:
    return not (isinstance(node, ast.Call) and len(node.args) == 1 and _by_content(node.args[0], namespace))


def _by_content(node: ast.expr, namespace: Mapping[str, object]) -> bool:
    """Whether the hash of an expression's value certainly comes from its content."""
    match node:
        case ast.Constant() | ast.JoinedStr():
            return True
        case ast.Tuple(elts=parts):
            return all(_by_content(part, namespace) for part in parts)
        case ast.Name(id=name) if name in namespace:
            return isinstance(namespace[name], str | bytes | int | float | complex)
        case ast.Call(func=ast.Name(id="str" | "bytes" | "int" | "float" | "round" | "len")):
            return True
    return False


def shows_source(source: Source) -> list[str]:
    """Names by which a cell shows under which file names this process knows cells, or their history."""
    return sorted((source.attributes & _SOURCE_FILES) | {f"%{m}" for m in source.magics & _SOURCE_MAGICS})


def randomness(
    draws: int,
    traced: bool,
    source: Source,
    reached: Iterable[str],
    arrived: Iterable[str],
    packages: frozenset[str],
) -> list[str]:
    """Why a cell's randomness cannot be repeated.

    Parameters
    ----------
    draws
        Times that the span asked the operating system for randomness.
    traced
        Whether `draws` can be trusted.
    reached
        Entropy names in the functions that the cell can reach.
    arrived
        Modules first imported in the span.
    packages
        Top-level packages that the cell can call into.
    """
    seeded = _SEEDABLE - {name for name in _SEEDABLE if f"{name}()" in source.attributes}
    named = sorted(({*source.attributes, *reached} & ENTROPY) - (seeded & source.attributes))
    if draws and named:
        return named
    if unasked := [name for name in named if name in _DRAWN_BEFORE]:
        return unasked
    if draws and not packages & _DRAW_IN_USE and not any(name in _DRAW_AT_IMPORT for name in arrived):
        return ["randomness of the operating system"]
    return named if not traced else []
