"""What a code object is, apart from where it was written, and which names it reads.

Line numbers and file names are no part of it, so comments and layout do not count; constants count with their
types.
"""

from __future__ import annotations

import marshal
import opcode
import re
import sys
import weakref
from collections.abc import Collection
from dataclasses import dataclass
from types import CodeType
from typing import Any, cast

import xxhash

WILDCARD = frozenset(
    (
        *("get_ipython", "user_ns", "run_line_magic", "run_cell_magic", "run_cell"),
        *("_getframe", "currentframe", "f_globals", "f_locals", "f_back", "__globals__", "__main__"),
        *(
            "get_objects",
            "get_referrers",
            "__subclasses__",
            "query",
            "sql",
            "dmatrix",
            "dmatrices",
            "from_formula",
        ),
    )
)
"""Names with which code reaches any global: introspection, and libraries that read their caller's frame."""

_BY_NAME = {
    frozenset({"globals", "locals", "vars", "eval", "exec", "dir", "__import__"}): {
        "builtins",
        "__builtins__",
    },
    frozenset({"stack"}): {"inspect"},
}
"""The same where they are global names; as attributes (``model.eval()``, ``np.stack``) only beside these modules."""

_INTO_MAIN = {
    frozenset({"testmod", "run_docstring_examples"}): {"doctest"},
    frozenset({"main", "TestProgram"}): {"unittest"},
    frozenset({"run", "runeval"}): {"cProfile", "profile", "pdb"},
}
"""Functions that look for names in ``__main__`` by themselves, beside the modules that they are of."""


def into_main(names: Collection[str], modules: Collection[str]) -> bool:
    """Whether code that mentions `names`, and imports `modules`, may call what looks into ``__main__`` by itself."""
    return any(
        not functions.isdisjoint(names) and not (homes.isdisjoint(names) and homes.isdisjoint(modules))
        for functions, homes in _INTO_MAIN.items()
    )


CLOCK = frozenset(
    (
        *("time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns"),
        *("process_time", "process_time_ns", "thread_time", "thread_time_ns", "clock_gettime"),
        *("clock_gettime_ns", "localtime", "gmtime", "ctime", "asctime", "strftime", "now", "utcnow"),
        *("today", "uuid1", "uuid4", "getpid", "getppid", "get_native_id", "get_ident", "gettid"),
        *("gethostname", "getlogin", "getnode", "uname", "urandom", "getrandom", "token_bytes"),
        *("token_hex", "token_urlsafe", "randbelow", "SystemRandom", "default_rng", "SeedSequence"),
        *("RandomState", "Random", "getloadavg", "getrusage", "times", "disk_usage", "virtual_memory"),
        *("cpu_percent", "mktemp", "mkdtemp", "mkstemp", "NamedTemporaryFile", "TemporaryFile"),
        *("TemporaryDirectory",),
    )
)
"""Names that mean entropy, the clock or the identity of the process."""

SEEDS = frozenset(
    "seed setstate set_state set_bit_generator manual_seed set_rng_state set_rng_state_all seed_everything set_seed "
    "set_random_seed".split()
)
"""Names that give a stream of random numbers a known state, which it may have had before."""

LINES = frozenset(
    "tb_lineno co_firstlineno f_lineno lineno co_positions co_lines getsource getsourcelines findsource getcomments "
    "getframeinfo catch_warnings print_exc format_exc format_exception print_exception format_stack print_stack extract_tb "
    "extract_stack walk_tb walk_stack dis disassemble distb get_instructions Bytecode findlinestarts code_info show_code".split()
)
"""Names by which code looks at where other code stands: its text, comments included, which no fingerprint holds."""

SETTERS = re.compile(
    r"_?(register|unregister|use|config|configure|enable|disable|install|uninstall|patch|init|initialize|setup|activate|deactivate|"
    r"define|bind|hook|subscribe|attach|detach|reset|mock|monkeypatch|declare|switch|turn|captureWarnings|basicConfig)(_\w*|[A-Z]\w*)?|"
    r"_?(set\w|add_|add[A-Z]|remove_|push_|pop_)\w*|field_size_limit|nice|putenv|unsetenv|alarm|tzset|freeze|unfreeze|stack_size|"
    r"textdomain|bindtextdomain|parse_and_bind|pickle|constructor|addaudithook|reload"
)
"""Names of functions that change a setting of their module, which may be kept in C."""

_TOLD = CLOCK | SEEDS | LINES | {"__hash__"}
#: ``id`` and ``hash`` as the built-in functions only: as attributes they are ordinary words.
ADDRESSES = frozenset({"id", "hash"})
_GLOBALS_TOLD = _TOLD | ADDRESSES

_GLOBAL_OPS = frozenset(
    opcode.opmap[name]
    for name in (
        "LOAD_GLOBAL",
        "LOAD_NAME",
        "STORE_GLOBAL",
        "DELETE_GLOBAL",
        "LOAD_FROM_DICT_OR_GLOBALS",
    )
    if name in opcode.opmap
)
_IMPORT = opcode.opmap["IMPORT_NAME"]
_EXTENDED = opcode.EXTENDED_ARG
_NAME_OPS = frozenset(opcode.hasname)
# The low bits of these arguments are flags, not part of the index into co_names.
_SHIFT = {opcode.opmap["LOAD_GLOBAL"]: 1}
if sys.version_info >= (3, 12):
    _SHIFT |= {opcode.opmap["LOAD_ATTR"]: 1, opcode.opmap["LOAD_SUPER_ATTR"]: 2}


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What is known of a code object and of all code nested in it."""

    digest: bytes
    """16 bytes, equal for code that does the same."""
    refs: frozenset[str]
    """Global names read, stored or deleted."""
    imports: frozenset[str]
    """Modules named in import statements, dotted."""
    clock_globals: frozenset[str]
    """Global names that are in `CLOCK`, `SEEDS`, `LINES` or `ADDRESSES`: what they mean depends on what they are bound to."""
    clock: frozenset[str]
    """Attribute names that are in `CLOCK`, `SEEDS` or `LINES`, or are `SETTERS`."""
    wildcard: bool
    """Whether it may read any global."""


_cache: dict[int, tuple[weakref.ref[CodeType], CodeFacts]] = {}


def facts(code: CodeType) -> CodeFacts:
    """Describe a code object; cached for as long as it lives.

    Parameters
    ----------
    code : CodeType
        Of a function, a class body or a module.

    Returns
    -------
    CodeFacts
    """
    cached = _cache.get(id(code))
    if cached is not None and cached[0]() is code:
        return cached[1]
    found = _describe(code)
    if len(_cache) > 8192:
        _cache.clear()
    _cache[id(code)] = (weakref.ref(code), found)
    return found


def _describe(code: CodeType) -> CodeFacts:
    scope, attributes, imports = _names(code)
    nested = [facts(const) for const in code.co_consts if type(const) is CodeType]
    refs = frozenset(scope).union(*(inner.refs for inner in nested))
    return CodeFacts(
        digest=_digest(code),
        refs=refs,
        imports=frozenset(imports).union(*(inner.imports for inner in nested)),
        # what a class hashes its objects by is their content
        clock_globals=frozenset(
            scope & _GLOBALS_TOLD - ({"hash"} if code.co_name == "__hash__" else set())
        ).union(*(inner.clock_globals for inner in nested)),
        clock=frozenset(attributes & _TOLD)
        .union(name for name in attributes if SETTERS.fullmatch(name))
        .union(*(inner.clock for inner in nested)),
        wildcard=_any_name(scope, attributes, imports) or any(inner.wildcard for inner in nested),
    )


def _any_name(scope: set[str], attributes: set[str], imports: set[str]) -> bool:
    if WILDCARD & (scope | attributes | imports) or into_main(scope | attributes, imports):
        return True
    return any(
        names & scope or (names & attributes and modules & (scope | imports))
        for names, modules in _BY_NAME.items()
    )


def _names(code: CodeType) -> tuple[set[str], set[str], set[str]]:
    """Global names, attribute names and imported modules of one code object, from its bytecode."""
    scope: set[str] = set()
    attributes: set[str] = set()
    imports: set[str] = set()
    extended = 0
    instructions = code.co_code
    for at in range(0, len(instructions), 2):
        op = instructions[at]
        argument = instructions[at + 1] | extended
        extended = argument << 8 if op == _EXTENDED else 0
        if op not in _NAME_OPS:
            continue
        name = code.co_names[argument >> _SHIFT.get(op, 0)]
        if op in _GLOBAL_OPS:
            scope.add(name)
        elif op == _IMPORT:
            imports.add(name)
        else:
            attributes.add(name)
    return scope, attributes, imports


def _digest(code: CodeType) -> bytes:
    parts = [
        marshal.dumps(
            (
                code.co_argcount,
                code.co_posonlyargcount,
                code.co_kwonlyargcount,
                code.co_flags,
                code.co_code,
                code.co_exceptiontable,
                code.co_names,
                code.co_varnames,
                code.co_freevars,
                code.co_cellvars,
                code.co_qualname,
            ),
            2,
        )
    ]
    for const in code.co_consts:
        _constant(const, parts)
    return xxhash.xxh3_128_digest(b"".join(parts))


def _constant(const: object, parts: list[bytes]) -> None:
    if type(const) is CodeType:
        parts.append(b"\xffC" + facts(const).digest)
    elif type(const) is tuple:
        parts.append(b"\xffT" + len(const).to_bytes(4, "little"))
        for item in const:
            _constant(item, parts)
    elif type(const) is frozenset:
        inner: list[bytes] = []
        for item in const:
            one: list[bytes] = []
            _constant(item, one)
            inner.append(b"".join(one))
        parts.append(b"\xffS" + len(inner).to_bytes(4, "little"))
        parts.extend(sorted(inner))
    else:
        parts.append(marshal.dumps(cast(Any, const), 2))
