"""Randomness that was drawn for no reader of the notebook.

Everything that Python code draws through `random.SystemRandom` (`secrets` and NumPy do) passes here. A draw is discarded

- where the instruction that is running calls NumPy's ``RandomState`` with one argument that is not None: it draws a seed
  before it takes the one given;
- while a module of an installed package is imported (`scipy.stats` makes up examples for its documentation).

In doubt it is not.
"""

from __future__ import annotations

import ast
import linecache
import os
import random
import sys
import textwrap
import types

from provcrt_kernel.session.audit import imports_library

#: Bytes of NumPy's own seed.
_SEED = 16


class Draws:
    """Counts draws that leave no trace. `install` once per process; `clear` when a span begins."""

    def __init__(self) -> None:
        self.discarded = 0

    def install(self) -> None:
        """Stand between `random.SystemRandom` and the operating system."""
        draw = os.urandom
        getrandbits = random.SystemRandom.getrandbits.__code__

        def urandom(size: int) -> bytes:
            asking = sys._getframe(1)
            if asking.f_code is getrandbits and asking.f_back is not None:
                self.discarded += imports_library(asking) or (size == _SEED and _seeds(asking.f_back))
            return draw(size)

        setattr(random, "_urandom", urandom)  # noqa: B010 - it is not in the type stubs

    def clear(self) -> None:
        """A span begins."""
        self.discarded = 0


def _seeds(frame: types.FrameType) -> bool:
    """Whether the call that runs in `frame` is of ``RandomState`` with a seed."""
    try:
        call = _running(frame)
        if call is None or not ast.unparse(call.func).endswith("RandomState"):
            return False
        given = [*call.args, *(k.value for k in call.keywords)]
        return len(given) == 1 and _value(given[0], frame) is not None
    except Exception:
        return False


def _running(frame: types.FrameType) -> ast.Call | None:
    """The call expression at the instruction that a frame has come to, if its source is known."""
    first, last, start, end = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    if first is None or last is None or start is None or end is None:
        return None
    lines = [
        line.encode()
        for line in linecache.getlines(frame.f_code.co_filename, frame.f_globals)[first - 1 : last]
    ]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    node = ast.parse(textwrap.dedent(b"".join(lines).decode()).strip(), mode="eval").body
    return node if isinstance(node, ast.Call) else None


def _value(node: ast.expr, frame: types.FrameType) -> object:
    """The value of a constant, a name or an attribute of these; None where that would take running code."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return frame.f_locals[name] if name in frame.f_locals else frame.f_globals.get(name)
        case ast.Attribute(value=holder, attr=attribute):
            owner = _value(holder, frame)
            return vars(owner).get(attribute)
        case ast.BinOp(left=left, right=right):
            return _value(left, frame) if _value(right, frame) is not None else None
    return None
