"""What a cell's source says before it runs: its key, the names it may read, the magics and modules it uses.

The promise is one-sided: every name that the cell reads from the session is in `Source.reads`, or `Source.wildcard`
says why that cannot be known. Names that the cell binds before it reads them are left out, and so are the bodies of
functions that it defines but never mentions again, so that an edit elsewhere does not re-run a mere definition.

Names are taken from compiled code (`LOAD_NAME`, `LOAD_GLOBAL`), which has already resolved Python's scopes, statement by
statement in the order of execution.
"""

from __future__ import annotations

import ast
import dis
import functools
import re
import string
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from provcrt_kernel.store.digest import digest

#: Calling one of these without arguments, or at all, can read any name of the namespace.
_WILDCARD_CALLS = {"globals", "locals", "eval", "exec", "vars", "dir", "compile"}
_ONLY_WITHOUT_ARGUMENTS = {"vars", "dir"}
#: Attributes that lead to the caller's frame or to the namespace as an object.
_WILDCARD_ATTRIBUTES = frozenset(
    "_getframe currentframe f_globals f_locals f_back user_ns user_global_ns".split()
)
#: What `get_ipython()` may be asked without the whole namespace being read.
_SHELL_METHODS = {"run_line_magic", "run_cell_magic", "system", "getoutput", "set_next_input"}

#: Magics whose argument (line, or line and body) is Python code run in the namespace.
_CODE_MAGICS = {"time", "timeit", "prun", "capture", "memit", "mprun", "lprun"}
#: Magics that read no name but those expanded in their line.
_PLAIN_MAGICS = frozenset(
    "matplotlib precision config load_ext reload_ext unload_ext autoreload cd pwd env set_env writefile file html "
    "HTML javascript js latex markdown svg SVG bash sh script perl ruby pip conda mamba uv ls ll mkdir rmdir cat cp "
    "mv rm man more less head tail system sx ! colors xmode pprint alias unalias dhist pushd popd dirs bookmark "
    "lsmagic magic quickref provcrt provcrt_run run pylab_off automagic pdb logstart logstop".split()
)
#: Words by which code asks for the last error that nobody caught, as attributes or in ``getattr``.
_LAST_ERROR = re.compile(r"\b(last_value|last_type|last_traceback|last_exc|print_last|post_mortem|pdb\.pm)\b")
#: IPython's names for earlier inputs and results.
_EARLIER = re.compile(r"_{1,3}|_\d+|_i{0,3}|_i\d+|_[oi]h|In|Out")
_MAGIC_RUNNERS = {"run_line_magic", "run_cell_magic"}


@dataclass(frozen=True, slots=True)
class Source:
    """One cell's source, understood.

    Attributes
    ----------
    text
        As the user wrote it.
    key
        Digest of the syntax tree without positions: comments and layout do not count.
    reads
        Names that may be read before the cell binds them.
    binds
        Names that the source binds at its top level.
    certain
        Those of them that are bound whenever the cell ends without raising.
    wildcard
        Why any name may be read, or None.
    imports
        Dotted names of the modules that its import statements name, in order.
    chains
        Dotted attribute look-ups that start at a name, e.g. ``np.random.seed``.
    attributes
        Every attribute and global name mentioned, in nested functions too.
    assigned
        Dotted targets of attribute and item assignments that start at a name, e.g. ``plt.rcParams``.
    effects
        Dotted functions called for their effect alone: the call is a statement, its value is not used.
    magics
        Names of the magics used; ``!`` for shell commands.
    earlier
        It reads earlier results (``_``, ``Out``).
    error
        The cell does not parse.
    """

    text: str
    key: str
    reads: frozenset[str] = frozenset()
    binds: frozenset[str] = frozenset()
    certain: frozenset[str] = frozenset()
    wildcard: str | None = None
    imports: tuple[str, ...] = ()
    chains: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    assigned: frozenset[str] = frozenset()
    effects: frozenset[str] = frozenset()
    magics: frozenset[str] = frozenset()
    earlier: bool = False
    error: bool = False

    @property
    def last_error(self) -> bool:
        """Whether it may ask for the last error."""
        return bool(_LAST_ERROR.search(self.text) or self.magics & {"debug", "tb"})


@dataclass(frozen=True, slots=True)
class CodeNames:
    """Global names that a code object (and what is nested in it) touches."""

    loads: frozenset[str]
    stores: frozenset[str]
    imports: frozenset[str]
    mentions: frozenset[str]


_LOADS = {"LOAD_NAME", "LOAD_GLOBAL", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"}
_STORES = {"STORE_NAME", "STORE_GLOBAL", "DELETE_NAME", "DELETE_GLOBAL"}


@functools.lru_cache(maxsize=4096)
def code_names(code: types.CodeType) -> CodeNames:
    """Names in `code` and all code nested in it; the order of execution is not looked at."""
    loads, stores, imports = set(), set(), set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in _LOADS:
            loads.add(str(instruction.argval))
        elif instruction.opname in _STORES:
            stores.add(str(instruction.argval))
        elif instruction.opname == "IMPORT_NAME":
            imports.add(str(instruction.argval))
    mentions = set(code.co_names)
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            inner = code_names(const)
            # a class body's own names are loaded and stored by name too: those it binds itself are not the cell's
            loads |= inner.loads - _class_locals(const)
            stores |= inner.stores - _class_locals(const)
            imports |= inner.imports
            mentions |= inner.mentions
    return CodeNames(frozenset(loads), frozenset(stores), frozenset(imports), frozenset(mentions))


def _class_locals(code: types.CodeType) -> frozenset[str]:
    """Names that a class body always binds before reading, which makes them no reads of the enclosing cell."""
    if (
        not code.co_flags & 0x02 and "__qualname__" in code.co_names
    ):  # CO_NEWLOCALS is not set for class bodies
        return frozenset(
            {
                "__module__",
                "__qualname__",
                "__name__",
                "__annotations__",
                "__classdict__",
                "__static_attributes__",
            }
        )
    return frozenset()


_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass
class _Reader:
    """Walks a cell's statements in the order they run, keeping what is certainly bound so far."""

    flags: int
    reads: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    bodies: dict[str, CodeNames] = field(default_factory=dict)

    def block(self, statements: Iterable[ast.stmt], bound: set[str]) -> set[str]:
        for statement in statements:
            bound = self.statement(statement, bound)
        return bound

    def statement(self, node: ast.stmt, bound: set[str]) -> set[str]:
        match node:
            case ast.If(test=test, body=body, orelse=orelse):
                self.expression(test, bound)
                return self.block(body, set(bound)) & self.block(orelse, set(bound))
            case ast.While(test=test, body=body, orelse=orelse):
                self.expression(test, bound)
                self.block(body, set(bound))
                self.block(orelse, set(bound))
                return bound
            case ast.For() | ast.AsyncFor():
                self.expression(node.iter, bound)
                inside = self._leaf(ast.Assign([node.target], ast.Constant(None)), set(bound))
                self.block(node.body, inside)
                self.block(node.orelse, set(bound))
                return bound
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    self.expression(item.context_expr, bound)
                    if item.optional_vars is not None:
                        bound = self._leaf(ast.Assign([item.optional_vars], ast.Constant(None)), bound)
                # the manager may swallow an exception, so what the body binds is not certain afterwards
                self.block(node.body, set(bound))
                return bound
            case ast.Try() | ast.TryStar():
                self.block(node.orelse, self.block(node.body, set(bound)))
                for handler in node.handlers:
                    if handler.type is not None:
                        self.expression(handler.type, bound)
                    self.block(handler.body, bound | ({handler.name} if handler.name else set()))
                return self.block(node.finalbody, bound)
            case ast.Match():
                self._leaf(node, set(bound))
                return bound
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return self._definition(node, bound)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda()):
                return self._definition(node, bound, name)
            case _:
                return self._leaf(node, bound)

    def expression(self, node: ast.expr, bound: set[str]) -> None:
        self._leaf(ast.Expr(node), set(bound))

    def _compile(self, node: ast.stmt) -> types.CodeType:
        module = ast.fix_missing_locations(ast.Module([node], []))
        for child in ast.walk(module):
            if not hasattr(child, "lineno") and isinstance(child, ast.stmt | ast.expr):
                child.lineno, child.col_offset = 1, 0
        flags = self.flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code: object = compile(module, "<cell>", "exec", flags, dont_inherit=True)
        assert isinstance(code, types.CodeType)
        return code

    def _leaf(self, node: ast.stmt, bound: set[str], skip: str | None = None) -> set[str]:
        """A statement without statements of its own, or one whose inner order is not looked at."""
        code = self._compile(node)
        bound = set(bound)
        unsure = _unsure(node)
        for instruction in dis.get_instructions(code):
            name = instruction.argval
            if instruction.opname in _LOADS:
                self._read(str(name), bound)
            elif instruction.opname == "STORE_NAME":
                if str(name) not in unsure:
                    bound.add(str(name))
                self.binds.add(str(name))
                self.bodies.pop(str(name), None) if str(name) != skip else None
            elif instruction.opname == "DELETE_NAME":
                self._read(str(name), bound)
                self.binds.add(str(name))
                bound.discard(str(name))
        for const in code.co_consts:
            if isinstance(const, types.CodeType):
                names = code_names(const)
                own = _class_locals(const)
                if skip is not None and const.co_name in (skip, "<lambda>"):
                    if isinstance(node, ast.ClassDef):
                        self._class_body(const, bound)
                    continue
                for name in names.loads | names.stores:
                    if name not in own:
                        self._read(name, bound)
                self.binds |= {n for n in names.stores if n not in own and not _is_class_body(const)}
        return bound

    def _class_body(self, code: types.CodeType, bound: set[str]) -> None:
        """A class body runs at once; its methods do not."""
        local: set[str] = set(_class_locals(code))
        for instruction in dis.get_instructions(code):
            if instruction.opname in _LOADS and str(instruction.argval) not in local:
                self._read(str(instruction.argval), bound)
            elif instruction.opname == "STORE_NAME":
                local.add(str(instruction.argval))
        for const in code.co_consts:
            if isinstance(const, types.CodeType) and not _is_function(const):
                for name in code_names(const).loads - local:
                    self._read(name, bound)

    def _definition(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign,
        bound: set[str],
        name: str | None = None,
    ) -> set[str]:
        name = name or str(getattr(node, "name", ""))
        decorated = bool(getattr(node, "decorator_list", ())) or bool(getattr(node, "keywords", ()))
        after = self._leaf(node, bound, skip=None if decorated else name)
        if not decorated:
            loads: set[str] = set()
            for const in self._compile(node).co_consts:
                if isinstance(const, types.CodeType):
                    # a class body has run by then, on names of its own; its methods have not
                    later = const.co_consts if _is_class_body(const) else (const,)
                    for code in later:
                        if isinstance(code, types.CodeType):
                            loads |= code_names(code).loads | code_names(code).stores
            self.bodies[name] = CodeNames(frozenset(loads), frozenset(), frozenset(), frozenset())
        return after

    def _read(self, name: str, bound: set[str]) -> None:
        seen: set[str] = set()
        todo = [name]
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            if name not in bound:
                self.reads.add(name)
            if name in self.bodies:
                todo.extend(self.bodies[name].loads)


def _unsure(node: ast.stmt) -> set[str]:
    """Names that a statement binds only if one of its own conditions holds."""
    if isinstance(node, ast.Match):
        return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {
            n.name for n in ast.walk(node) if isinstance(n, ast.MatchAs | ast.MatchStar) and n.name
        }
    conditions = (ast.BoolOp, ast.IfExp, ast.Compare, ast.comprehension, ast.Assert, *_COMPREHENSIONS)
    return {
        inner.target.id
        for outer in ast.walk(node)
        if isinstance(outer, conditions)
        for inner in ast.walk(outer)
        if isinstance(inner, ast.NamedExpr)
    }


def _is_class_body(code: types.CodeType) -> bool:
    return bool(_class_locals(code))


def _is_function(code: types.CodeType) -> bool:
    return code.co_name not in ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>") and not _is_class_body(
        code
    )


def _chain(node: ast.AST) -> str | None:
    """`a.b.c` for an attribute look-up that starts at a name, else None."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        return ".".join([node.id, *reversed(parts)])
    return None


def _root_chain(node: ast.AST) -> str | None:
    """The chain below the items of an assignment's target: ``plt.rcParams["x"]`` gives ``plt.rcParams``."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return _chain(node)


def _literal(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def expanded_names(text: str) -> frozenset[str] | None:
    """Names that IPython expands in a magic's or shell command's line (``{expression}``, ``$name``); None: cannot tell."""
    names: set[str] = set(re.findall(r"\$([A-Za-z_]\w*)", text))
    if "{" in text:
        try:
            fields = [f for _, f, _, _ in string.Formatter().parse(text) if f]
        except ValueError:
            return frozenset(names)  # IPython leaves a line alone that does not parse as a format string
        for expression in fields:
            try:
                names |= code_names(compile(expression, "<field>", "eval")).loads
            except (SyntaxError, ValueError):
                continue
    return frozenset(names)


class _Scan(ast.NodeVisitor):
    """Everything about a cell that does not depend on the order of its statements."""

    def __init__(self) -> None:
        self.imports: list[str] = []
        self.chains: set[str] = set()
        self.attributes: set[str] = set()
        self.assigned: set[str] = set()
        self.effects: set[str] = set()
        self.magics: set[str] = set()
        self.expanded: set[str] = set()
        self.code: list[str] = []
        self.wildcard: str | None = None

    def visit_Import(self, node: ast.Import) -> None:
        self.imports += [alias.name for alias in node.names]
        if any(alias.name == "__main__" for alias in node.names):
            self.wildcard = "imports __main__"

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module and not node.level:
            self.imports.append(node.module)
            if node.module == "__main__":
                self.wildcard = "imports __main__"
            self.attributes.update(alias.name for alias in node.names)
            self.chains.update(f"{node.module}.{alias.name}" for alias in node.names)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.attributes.add(node.attr)
        if node.attr in _WILDCARD_ATTRIBUTES:
            self.wildcard = f"uses .{node.attr}"
        chain = _chain(node)
        if chain:
            self.chains.add(chain)
            if chain == "inspect.stack":
                self.wildcard = "uses inspect.stack"
            if isinstance(node.ctx, ast.Store | ast.Del):
                self.assigned.add(chain)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Store | ast.Del):
            chain = _root_chain(node)
            if chain:
                self.assigned.add(chain)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and (chain := _chain(node.value.func)):
            self.effects.add(chain)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self.attributes.add(node.id)

    def visit_Call(self, node: ast.Call) -> None:
        if not node.args and not node.keywords and (chain := _chain(node.func)):
            self.attributes.add(f"{chain.rpartition('.')[2]}()")
        match node.func:
            case ast.Name(id=name) if name in _WILDCARD_CALLS:
                if name not in _ONLY_WITHOUT_ARGUMENTS or not (node.args or node.keywords):
                    self.wildcard = f"calls {name}()"
            case ast.Name(id="setattr" | "delattr") if node.args and (chain := _chain(node.args[0])):
                self.assigned.add(chain)
            case ast.Name(id="get_ipython"):
                self.wildcard = "uses get_ipython()"
            case ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr=method) if (
                method in _SHELL_METHODS
            ):
                self._shell_call(method, node)
                return
        self.generic_visit(node)

    def _shell_call(self, method: str, node: ast.Call) -> None:
        arguments = [_literal(a) for a in node.args]
        if None in arguments or not arguments:
            self.wildcard = "a magic with computed arguments"
            return
        texts = [a for a in arguments if a is not None]
        if method not in _MAGIC_RUNNERS:
            self.magics.add("!")
            self._expand(texts[0])
            return
        name, line = texts[0], texts[1] if len(texts) > 1 else ""
        self.magics.add(name)
        self._expand(line)
        if name in _CODE_MAGICS:
            self._code_magic(name, line, texts[2] if len(texts) > 2 else None)
        elif name == "run" and "-i" in line.split():
            self.wildcard = "%run -i"
        elif name in ("pinfo", "pinfo2", "psource", "pdoc", "pfile", "pycat"):
            self.expanded.update(re.findall(r"[A-Za-z_]\w*", line))
        elif name not in _PLAIN_MAGICS:
            self.wildcard = f"%{name}"

    def _code_magic(self, name: str, line: str, body: str | None) -> None:
        words = line
        if name == "capture":
            words = ""
            target = next((w for w in line.split() if not w.startswith("-")), None)
            self.code.append((body or "") + (f"\n{target} = None" if target else ""))
            return
        while match := re.match(r"\s*-\w+\s*(?:\d+\s+)?", words):
            words = words[match.end() :]
        self.code.append(words if body is None else f"{words}\n{body}")

    def _expand(self, text: str) -> None:
        self.expanded |= expanded_names(text) or frozenset()


def read_source(text: str, transform: Callable[[str], str], flags: int = 0, context: str = "") -> Source:
    """Understand one cell.

    Parameters
    ----------
    text
        The cell as the user wrote it.
    transform
        IPython's ``transform_cell``: magics and shell commands become Python.
    flags
        Compiler flags of ``from __future__`` imports in force.
    context
        What else identifies the code: language and environment fingerprint.
    """
    try:
        python = transform(text)
        tree = ast.parse(python)
    except Exception:
        return Source(text, digest(f"{context}\0raw\0{text}".encode()), error=True, wildcard="does not parse")
    quiet = python.rstrip().endswith(";")  # IPython shows no result then, which the tree does not tell
    key = digest(f"{context}\0{flags}\0{quiet}\0{ast.dump(tree)}".encode())
    scan = _Scan()
    scan.visit(tree)
    reader = _Reader(flags)
    certain: set[str] = set()
    try:
        bound = certain = reader.block(tree.body, set())
        for name in scan.expanded:
            reader._read(name, set())
        for code in scan.code:
            reader.block(ast.parse(transform(code)).body, set(bound) if not tree.body[1:] else set())
            inner = _Scan()
            inner.visit(ast.parse(transform(code)))
            for own, other in (
                (scan.chains, inner.chains),
                (scan.attributes, inner.attributes),
                (scan.assigned, inner.assigned),
            ):
                own |= other
            scan.magics |= inner.magics
            scan.imports += inner.imports
            scan.wildcard = scan.wildcard or inner.wildcard
    except (SyntaxError, ValueError, RecursionError):
        scan.wildcard = scan.wildcard or "does not compile"
    reads = reader.reads - {"get_ipython", "__name__", "__annotations__"}
    earlier = {n for n in reads if _EARLIER.fullmatch(n)}
    return Source(
        text=text,
        key=key,
        reads=frozenset(reads - earlier),
        binds=frozenset(reader.binds),
        certain=frozenset(certain),
        wildcard=scan.wildcard,
        imports=tuple(dict.fromkeys(scan.imports)),
        chains=frozenset(scan.chains),
        attributes=frozenset(scan.attributes),
        assigned=frozenset(scan.assigned),
        effects=frozenset(scan.effects),
        magics=frozenset(scan.magics),
        earlier=bool(earlier),
    )


def closure(names: Iterable[str], refs: Callable[[str], Iterable[str]]) -> frozenset[str]:
    """All names reachable from `names` through what the code inside their values refers to.

    Parameters
    ----------
    refs
        Gives the names that a slot's value refers to; ``"*"`` among them means any.
    """
    seen: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(refs(name))
    return frozenset(seen)
