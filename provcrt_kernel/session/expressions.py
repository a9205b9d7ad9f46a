"""Names that a library looks up in its caller's frame because a text names them: ``query("a > @limit")``, ``"y ~ log(x)"``.

A library that looks at its caller's frame may read any name, unless the text that it evaluates is known: then it reads the
names that stand in it. Sources: pandas, *Enhancing performance*, ``eval``; patsy and formulaic, how formulas find variables.
"""

from __future__ import annotations

import re
import types

_NAME = re.compile(r"[^\W\d]\w*")
_MARKED = re.compile(r"@\s*([^\W\d]\w*)")
#: Functions that take a formula: module's first part, function → the local variable that holds it.
_FORMULAS = {
    ("statsmodels", "from_formula"): "formula",
    ("patsy", "dmatrices"): "formula_like",
    ("patsy", "dmatrix"): "formula_like",
}
#: How far up the caller may be that holds the text.
_DEPTH = 12


def names_in(text: str) -> list[str]:
    """Whatever looks like a name in a text."""
    return list(dict.fromkeys(_NAME.findall(text)))


def named(frame: types.FrameType) -> frozenset[str] | None:
    """Names that the text can mean for which `frame` looks at its callers; None if there is no such text."""
    step: types.FrameType | None = frame
    for _ in range(_DEPTH):
        if step is None:
            return None
        module, function = step.f_globals.get("__name__", ""), step.f_code.co_name
        if module == "pandas.core.computation.eval" and function == "eval":
            return _in_pandas(step.f_locals)
        holder = _FORMULAS.get((module.partition(".")[0], function))
        if holder is not None:
            text = step.f_locals.get(holder)
            return frozenset(names_in(text)) if isinstance(text, str) else None
        if module == "__main__":
            return None
        step = step.f_back
    return None


def _in_pandas(local: dict[str, object]) -> frozenset[str] | None:
    text = local.get("expr")
    if not isinstance(text, str):
        return None
    # beside a table's columns only marked names are looked up
    return frozenset(_MARKED.findall(text) if local.get("resolvers") else names_in(text))
