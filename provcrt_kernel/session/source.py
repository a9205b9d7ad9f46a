"""What a cell's source says before it runs: its key, the names it may read, the magics and modules it uses.

The promise is one-sided: every name that the cell reads from the session is in `Source.reads`, or `Source.wildcard`
says why that cannot be known.
"""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from IPython.core.displayhook import DisplayHook

from provcrt_kernel.session.codes import into_main
from provcrt_kernel.session.names import Reader
from provcrt_kernel.session.scan import CODE_MAGICS, Scan
from provcrt_kernel.store.digest import digest

#: Words by which code asks for the last error that nobody caught, as attributes or in ``getattr``.
_LAST_ERROR = re.compile(r"\b(last_value|last_type|last_traceback|last_exc|print_last|post_mortem|pdb\.pm)\b")
#: What leaves code behind that stands in the cell.
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.GeneratorExp)
#: What the notebook's annotated names are kept in; and IPython's names for earlier inputs and results.
_ANNOTATIONS = re.compile(r"(?<![.\w])__annotations__\b|\bget_type_hints\(\s*(sys\.modules|__main__)")
#: Magics that show where in their body something stands.
_SHOW_LINES = frozenset({"prun", "memit", "mprun", "lprun"})
_EARLIER = re.compile(r"_{1,3}|_\d+|_i{0,3}|_i\d+|_[oi]h|In|Out")


@dataclass(frozen=True, slots=True)
class Source:
    """One cell's source, understood.

    Attributes
    ----------
    text
        As the user wrote it.
    key
        Digest of the syntax tree without positions, and of what it is read with: comments and layout do not count, in bodies of
        ``%%time`` and its like neither.
    inner
        Names mentioned in functions and classes that it makes, lambdas included.
    defines
        It leaves code behind that stands in its text: functions, classes.
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
    stars
        Those of them from which it imports all public names.
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
    lists
        It may list the names of the session, IPython's own among them.
    earlier
        It reads earlier results (``_``, ``Out``).
    error
        The cell does not parse.
    """

    text: str
    key: str
    inner: frozenset[str] = frozenset()
    defines: bool = False
    reads: frozenset[str] = frozenset()
    binds: frozenset[str] = frozenset()
    certain: frozenset[str] = frozenset()
    wildcard: str | None = None
    imports: tuple[str, ...] = ()
    stars: tuple[str, ...] = ()
    chains: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    assigned: frozenset[str] = frozenset()
    effects: frozenset[str] = frozenset()
    magics: frozenset[str] = frozenset()
    lists: bool = False
    earlier: bool = False
    error: bool = False

    @property
    def last_error(self) -> bool:
        """Whether it may ask for the last error."""
        return bool(_LAST_ERROR.search(self.text) or self.magics & {"debug", "tb"})

    @property
    def annotations(self) -> bool:
        """Whether it asks which names of the notebook were annotated."""
        return bool(_ANNOTATIONS.search(self.text))


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
    scan = Scan()
    scan.visit(tree)
    reader = Reader(flags)
    certain: set[str] = set()
    try:
        bound = certain = reader.block(tree.body, set())
        for name in scan.expanded:
            reader.read(name, set())
        for code in scan.code:
            reader.block(ast.parse(transform(code)).body, set(bound) if not tree.body[1:] else set())
            inner = Scan()
            inner.visit(ast.parse(transform(code)))
            for own, other in (
                (scan.chains, inner.chains),
                (scan.attributes, inner.attributes),
                (scan.assigned, inner.assigned),
            ):
                own |= other
            scan.magics |= inner.magics
            scan.imports += inner.imports
            scan.stars += inner.stars
            scan.wildcard = scan.wildcard or inner.wildcard
            scan.lists |= inner.lists
    except (SyntaxError, ValueError, RecursionError):
        scan.wildcard = scan.wildcard or "does not compile"
    if into_main(scan.attributes, scan.imports):
        scan.wildcard = scan.wildcard or "a library looks into __main__"
    quiet = _quiet(python)
    tree = _opened(tree, transform)
    key = digest(f"{context}\0{flags}\0{quiet}\0{ast.dump(tree)}".encode())
    reads = reader.reads - {"get_ipython", "__name__", "__annotations__"}
    earlier = {n for n in reads if _EARLIER.fullmatch(n)}
    return Source(
        text=text,
        key=key,
        inner=_inner(tree),
        defines=any(isinstance(node, _DEFINITIONS) for node in ast.walk(tree)),
        reads=frozenset(reads - earlier),
        binds=frozenset(reader.binds),
        certain=frozenset(certain),
        wildcard=scan.wildcard,
        imports=tuple(dict.fromkeys(scan.imports)),
        stars=tuple(scan.stars),
        chains=frozenset(scan.chains),
        attributes=frozenset(scan.attributes),
        assigned=frozenset(scan.assigned),
        effects=frozenset(scan.effects),
        magics=frozenset(scan.magics),
        lists=scan.lists,
        earlier=bool(earlier or (scan.wildcard and _asks_earlier(tree))),
    )


def _quiet(python: str) -> bool:
    """Whether IPython shows no result of a cell, or of a magic's body: it ends in a semicolon, which no tree tells."""
    if ";" not in python:
        return False
    try:
        return bool(DisplayHook.semicolon_at_end_of_expression(python))
    except (tokenize.TokenError, SyntaxError):
        return python.rstrip().endswith(";")


class _Opened(ast.NodeTransformer):
    """Puts trees in the place of Python that is a magic's body: its comments and layout do not count either.

    Unless it leaves code behind: what a body defines is not found again in a text that differs (`places`).
    """

    def __init__(self, transform: Callable[[str], str]) -> None:
        self._transform = transform

    def visit_Call(self, node: ast.Call) -> ast.Call:
        match node:
            case ast.Call(
                func=ast.Attribute(attr="run_cell_magic"),
                args=[ast.Constant(value=name), _, ast.Constant(value=str(body))],
            ) if name in CODE_MAGICS:
                try:
                    python = self._transform(body)
                    inner = ast.parse(python)
                except Exception:
                    return node
                shown = name in _SHOW_LINES or any(isinstance(n, _DEFINITIONS) for n in ast.walk(inner))
                kept = node.args[2:] if shown else [ast.Constant(_quiet(python))]
                return ast.Call(node.func, [*node.args[:2], *kept, inner], [])  # type: ignore[list-item]
        self.generic_visit(node)
        return node


def _opened(tree: ast.Module, transform: Callable[[str], str]) -> ast.Module:
    opened: ast.Module = _Opened(transform).visit(tree)
    return opened


def _asks_earlier(tree: ast.AST) -> bool:
    """Whether a text names an earlier input or result, as in ``user_ns["In"]``."""
    texts = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return any(len(text) > 1 and _EARLIER.fullmatch(text) for text in texts)


def annotates(text: str) -> bool:
    """Whether a cell annotates names of the notebook; of one that is no plain Python that is not known."""
    try:
        return any(isinstance(n, ast.AnnAssign) for n in ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):
        return "%" in text or "!" in text


def _inner(tree: ast.AST) -> frozenset[str]:
    bodies = (node for node in ast.walk(tree) if isinstance(node, _DEFINITIONS))
    return frozenset(n.id for body in bodies for n in ast.walk(body) if isinstance(n, ast.Name))


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


def imported_names(text: str) -> frozenset[str]:
    """Names that Python source binds at its top level by nothing but import statements; none of what does not parse."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.asname or alias.name.partition(".")[0] for node in imports for alias in node.names}
    stores = (n for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load))
    return frozenset(names - {n.id for n in stores})
