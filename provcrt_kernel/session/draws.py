"""Randomness that was drawn for no reader of the notebook.

Everything that Python code draws through `random.SystemRandom` (`secrets` and NumPy do) passes here. A draw is discarded

- where the instruction that is running calls NumPy's ``RandomState`` with one argument that is not None: it draws a seed
  before it takes the one given;
- while a module of an installed package is imported (`scipy.stats` makes up examples for its documentation).

In doubt it is not.
"""

from __future__ import annotations

import ast
import functools
import itertools
import os
import random
import sys
import textwrap
import types

from provcrt_kernel.session.audit import imports_library
from provcrt_kernel.session.texts import lines_at

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
                self.discarded += (size == _SEED and _seeds(asking.f_back)) or imports_library(asking)
            return draw(size)

        setattr(random, "_urandom", urandom)  # noqa: B010 - it is not in the type stubs

    def clear(self) -> None:
        """A span begins."""
        self.discarded = 0


def _seeds(frame: types.FrameType) -> bool:
    """Whether the call that runs in `frame` is of ``RandomState`` with a seed."""
    try:
        seed = _seed(frame.f_code, frame.f_lasti)
        return seed is not None and _value(seed, frame) is not None
    except Exception:
        return False


@functools.lru_cache(maxsize=1024)
def _seed(code: types.CodeType, instruction: int) -> ast.expr | None:
    """The one argument of the call of ``RandomState`` at an instruction; a forest of trees asks a thousand times."""
    first, last, start, end = next(itertools.islice(code.co_positions(), instruction // 2, None))
    if first is None or last is None or start is None or end is None:
        return None
    lines = [line.encode() for line in lines_at(code.co_filename)[first - 1 : last]]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    call = ast.parse(textwrap.dedent(b"".join(lines).decode()).strip(), mode="eval").body
    if not isinstance(call, ast.Call) or not ast.unparse(call.func).endswith("RandomState"):
        return None
    given = [*call.args, *(k.value for k in call.keywords)]
    return given[0] if len(given) == 1 else None


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
