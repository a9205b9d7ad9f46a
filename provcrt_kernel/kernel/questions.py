"""What a front end asks between cells, completion first of all, about names whose values are still in the store."""

from __future__ import annotations

import re
from typing import Any

from provcrt_kernel.replay.engine import Engine

#: Bytes up to which a value is loaded for a mere completion.
_LIGHT = 1 << 20
#: Requests of the debugger that show or change values.
DEBUGGER = frozenset({"evaluate", "variables", "inspectVariables", "richInspectVariables", "setVariable"})

_LAST_WORD = re.compile(r"(?<![\w.])[^\W\d]\w*\Z")
_HOLDER = re.compile(r"([^\W\d]\w*)\s*[.\[(]")


def wanted_for_completion(engine: Engine, code: str, before_cursor: str) -> list[str]:
    """Names whose values a completion looks at: those before a dot or bracket, and light ones that the last word may become."""
    found = _HOLDER.findall(code)
    word = _LAST_WORD.search(before_cursor)
    if word is not None:
        deferred = (n for n in engine.slots.deferred(engine.slots.names()) if n.startswith(word.group()))
        found += [
            n for n in deferred if (s := engine.slots.get(n)) and s.state.kept and s.state.size < _LIGHT
        ]
    return found


def complete(engine: Engine, reply: dict[str, Any], before_cursor: str) -> dict[str, Any]:
    """A completion's reply, with the names that are still deferred."""
    prefix = _LAST_WORD.search(before_cursor)
    if prefix is None:
        return reply
    missing = [n for n in engine.slots.deferred(engine.slots.names()) if n.startswith(prefix.group())]
    missing = [n for n in missing if n not in reply["matches"]]
    if missing and (not reply["matches"] or reply["cursor_start"] == prefix.start()):
        reply["matches"] = [*reply["matches"], *missing]
        reply["cursor_start"], reply["cursor_end"] = prefix.start(), len(before_cursor)
    return reply
