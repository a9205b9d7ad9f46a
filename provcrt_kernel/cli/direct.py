"""The command lines that are typed most, understood without typer, whose import costs more than keeping a short run.

What is not understood here is left to the whole command line, mistakes and options that are seldom given included;
so nothing is decided here that is not decided there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from provcrt_kernel.cli import runs


def run(words: Sequence[str]) -> bool:
    """Run ``exec COMMAND …`` and ``repeat ID [--strict]``; return whether it was one of these."""
    if os.environ.get("_PROVCRT_COMPLETE"):
        return False
    match words:
        case ["exec", str(name), *_] if name and not name.startswith("-") and not runs.is_notebook(name):
            runs.execute(words[1:])
        case ["repeat", str(id), *rest] if not id.startswith("-") and rest in ([], ["--strict"]):
            runs.repeat(id, strict=bool(rest))
            return True
    return False
