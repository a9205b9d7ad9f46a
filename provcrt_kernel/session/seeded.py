"""Streams of random numbers that a cell seeds before it does anything else: what they were before is no input of it.

Known is what Python and NumPy keep for everybody. A cell counts whose first statements import modules, name constants, and call
``seed`` with an integer; nothing in them can draw, or look at a stream.
"""

from __future__ import annotations

import ast
import random
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from provcrt_kernel.session.scan import chain_of
from provcrt_kernel.session.source import Source

_PYTHON, _NUMPY = "~random", "~numpy.random"
_OWN = random.seed


def seeded_first(
    source: Source, before: Mapping[str, int], namespace: Mapping[str, Any], local: Collection[str]
) -> frozenset[str]:
    """Ambient slots of the streams that a cell, which has run without an error, seeded first.

    Parameters
    ----------
    before
        Identities of the names' values when the cell began.
    local
        Names of the local modules, whose import can run anything.
    """
    if "seed" not in source.attributes or source.wildcard:
        return frozenset()
    try:
        body = ast.parse(source.text).body
    except SyntaxError:  # magics come first in it, or somewhere
        return frozenset()
    first = _harmless(body, local)
    bound = {name for statement in body[:first] for name in _bound(statement)}
    later = {name for statement in body[first:] for name in _bound(statement)}

    def known(name: str) -> bool:
        own = name in bound and name not in later
        return name in namespace and (own or before.get(name) == id(namespace[name]))

    found = set()
    for call in (s.value for s in body[:first] if isinstance(s, ast.Expr) and isinstance(s.value, ast.Call)):
        stream = _stream(call, known, namespace)
        if stream is None:
            break
        found.add(stream)
    return frozenset(found)


def _harmless(body: list[ast.stmt], local: Collection[str]) -> int:
    """How many statements at the beginning do nothing but import, name constants, and call what is named ``seed``."""
    for count, statement in enumerate(body):
        match statement:
            case ast.Import(names=names) if not any(a.name.partition(".")[0] in local for a in names):
                pass
            case ast.ImportFrom(module=str(module), level=0, names=names) if module.partition(".")[
                0
            ] not in local and not any(a.name == "*" for a in names):
                pass
            case ast.Assign(targets=[ast.Name()], value=ast.Constant()) | ast.Expr(value=ast.Constant()):
                pass
            case ast.Expr(value=ast.Call(func=func)) if (chain_of(func) or "").rpartition(".")[2] == "seed":
                pass
            case _:
                return count
    return len(body)


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Every name that a statement may bind or delete, wherever in it."""
    for node in ast.walk(statement):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.alias(name=name, asname=other):
                yield other or name.partition(".")[0]
            case (
                ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                yield name


def _stream(call: ast.Call, known: Callable[[str], bool], namespace: Mapping[str, Any]) -> str | None:
    """The slot of the stream that a call seeds with an integer; None where that is not certain."""
    arguments = [*call.args, *(k.value for k in call.keywords)]
    if len(arguments) != 1 or not _integer(arguments[0], known, namespace):
        return None
    root, *rest = (chain_of(call.func) or "").split(".")
    if not known(root):
        return None
    value = namespace[root]
    for part in rest:
        if not isinstance(value, type(sys)):
            return None
        value = getattr(value, part, None)
    if value == _OWN:
        return _PYTHON
    mtrand: Any = sys.modules.get("numpy.random.mtrand")
    if mtrand is None or type(mtrand._rand._bit_generator).__name__ != "MT19937":
        return None
    return _NUMPY if value is mtrand.seed or value == mtrand._rand.seed else None


def _integer(node: ast.expr, known: Callable[[str], bool], namespace: Mapping[str, Any]) -> bool:
    match node:
        case ast.Constant(value=value):
            return type(value) is int
        case ast.Name(id=name):
            return known(name) and type(namespace[name]) is int
    return False
