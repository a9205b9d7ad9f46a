"""How a kernel process speaks to whoever watches it: by the names of paths that it asks for.

Promise: names and nothing else. Such a call is in order with every other call of the process, whatever mechanism
watches it, and no lock is held while it waits::

    access(RUNDIR/begin/SERIAL/NAME)    a span is opened, the call goes on (and fails)
    open(RUNDIR/end-SERIAL)             the span is written to that file first, then the call goes on
    access(JOIN + RUNDIR)               whoever watches this process already keeps its spans as well: RUNDIR/joined
                                        says so; RUNDIR/setup holds what it should know
    access(LAST + RUNDIR)               the process has ended in a span: it is written to RUNDIR/last

JOIN and LAST lie where nothing can be, so that nobody answers where nobody watches.
"""

from __future__ import annotations

BEGIN, END = b"begin/", b"end-"
CALL = b"/proc/self/provcrt-"
JOIN, LAST = CALL + b"join", CALL + b"last"
SETUP, JOINED, ENDED = "setup", "joined", "last"
