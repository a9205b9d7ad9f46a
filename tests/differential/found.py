"""Mismatches that random notebooks have found, made small: each was a mistake, and is right now.

Sessions begin with ``# ==``, cells with ``# %% name``; a cell without a source is as it was; ``# write path`` writes what follows
into a file.
"""

from __future__ import annotations

import re
import textwrap

from differential.compare import Scenario, Step
from differential.notebooks import FILES

_BLOCK = re.compile(r"^# (==|%%|write) ?(.*)\n", re.MULTILINE)


def life(text: str) -> Scenario:
    """The scenario that a text describes."""
    parts = _BLOCK.split(textwrap.dedent(text).lstrip("\n"))
    assert parts[0] == "", parts[0]
    sessions: list[list[Step]] = []
    cells: dict[str, str] = {}
    for kind, name, body in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        if kind == "==":
            sessions.append([])
        elif kind == "write":
            sessions[-1].append(("write", name, body))
        else:
            cells[name] = body.rstrip("\n") or cells[name]
            sessions[-1].append(("run", name, cells[name]))
    return Scenario(tuple(map(tuple, sessions)), FILES)


_TEXTS = {
    "a module found before the session went elsewhere": """
        # == first
        # %% a
        import os
        import helper
        # %% b
        os.makedirs('sub', exist_ok=True); os.chdir('sub')
        # == again
        # %% a
        # %% b
        """,
    "a cell that runs again begins where the session began": """
        # == first
        # %% a
        import os
        # %% b
        from helper import scale, SEEN
        os.makedirs('sub', exist_ok=True); os.chdir('sub')
        # == again
        # %% a
        # %% b
        """,
    "a file made and removed in one cell": """
        # == first
        # %% a
        import os
        # %% b
        open('out.txt', 'a').write('2')
        os.remove('out.txt')
        # %% c
        !echo 1 >> out.txt
        # %% d
        os.remove('out.txt')
        # == again
        # %% a
        # %% b
        # %% c
        """,
    "a name that a cell binds, and loses again": """
        # == first
        # %% a
        def e(): pass
        try: missing
        except Exception as e: b = e
        # %% b
        e = [1]
        # %% c
        b = 2
        # %% a
        # %% b
        """,
    "a module's own list, with an iterator in it": """
        # == first
        # %% a
        import helper
        # %% b
        a = __import__('itertools').count(2)
        # %% c
        helper.SEEN.append(a)
        # %% d
        b = helper.SEEN
        b.reverse()
        # == again
        # %% a
        # %% b
        # %% c
        # %% d
        """,
    "a set whose order tells how it came to be": """
        # == first
        # %% a
        b = {3, 3, 3 + 8}
        # == again
        # %% a
        # %% b
        print(b)
        """,
    "what holds a module's own list": """
        # == first
        # %% a
        import helper
        # %% b
        b = helper.SEEN
        # %% c
        d = [b, b]
        # %% d
        b = 1
        # == again
        # %% a
        # %% b
        # %% c
        # %% d
        """,
    "a module's own list, appended to and let go of by one of its names": """
        # == first
        # %% a
        import helper
        # %% b
        from helper import SEEN as a
        d, b = a, a
        helper.SEEN.append(b)
        # %% c
        a = [2]
        # == again
        # %% a
        # %% b
        # %% c
        # %% d
        c = str(a)
        """,
}

FOUND = {name: life(text) for name, text in _TEXTS.items()}
