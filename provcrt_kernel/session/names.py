"""Names that code reads and binds, from its bytecode: in whatever order, or statement by statement as a cell runs.

Compiled code (`LOAD_NAME`, `LOAD_GLOBAL`) has already resolved the scopes. Names that a cell binds before it reads them are left
out, and so are the bodies of functions that it defines but never mentions again, so that an edit elsewhere does not re-run a
mere definition.
"""

from __future__ import annotations

import ast
import dis
import functools
import types
from collections.abc import Iterable
from dataclasses import dataclass, field


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
class Reader:
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
                    if handler.name:
                        self.read(handler.name, set())  # unbound when it ends, whatever it was
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
                self.read(str(name), bound)
            elif instruction.opname == "STORE_NAME":
                if str(name) not in unsure:
                    bound.add(str(name))
                self.binds.add(str(name))
                self.bodies.pop(str(name), None) if str(name) != skip else None
            elif instruction.opname == "DELETE_NAME":
                self.read(str(name), set())  # whether there was one before is what it leaves otherwise
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
                        self.read(name, bound)
                self.binds |= {n for n in names.stores if n not in own and not _is_class_body(const)}
        return bound

    def _class_body(self, code: types.CodeType, bound: set[str]) -> None:
        """A class body runs at once; its methods do not."""
        local: set[str] = set(_class_locals(code))
        for instruction in dis.get_instructions(code):
            if instruction.opname in _LOADS and str(instruction.argval) not in local:
                self.read(str(instruction.argval), bound)
            elif instruction.opname == "STORE_NAME":
                local.add(str(instruction.argval))
        for const in code.co_consts:
            if isinstance(const, types.CodeType) and not _is_function(const):
                for name in code_names(const).loads - local:
                    self.read(name, bound)

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

    def read(self, name: str, bound: set[str]) -> None:
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
