"""What every variable of a session holds, as one short text each; run inside a kernel, after the last cell.

Written with `differential.structure`, which shares nothing with the code under test. Whole notebooks hold more than random
ones do, so a text is cut down to its checksum and its beginning, and a value that is too large or too deep to write out
is told by its type alone.
"""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Mapping
from typing import Any

from differential.structure import _HIDDEN, Structure

#: Objects of one variable that are written out; what has more is told by its type.
_MOST = 100_000
_KEPT = 400
_STACK = 512 << 20


class _Bounded(Structure):
    def of(self, value: Any) -> str:
        if len(self._alive) > _MOST:
            raise OverflowError
        return super().of(value)


def values(namespace: Mapping[str, Any]) -> dict[str, str]:
    """Name → checksum and beginning of what its variable holds; names that share an object say so."""
    found: dict[str, str] = {}
    names = sorted(n for n in list(namespace) if not _HIDDEN.fullmatch(n))

    def look() -> None:
        first: dict[int, str] = {}
        for name in names:
            value = namespace[name]
            shared = first.setdefault(id(value), name)
            found[name] = f"is {shared}" if shared != name else _text(value)

    # what is nested deeply needs a stack that the kernel's own thread does not have
    before = threading.stack_size(_STACK)
    thread = threading.Thread(target=look)
    thread.start()
    threading.stack_size(before)
    thread.join()
    return found


def _text(value: Any) -> str:
    try:
        text = _Bounded(()).of(value)
    except (OverflowError, RecursionError):
        return f"a large {type(value).__module__}.{type(value).__qualname__}"
    except Exception as error:
        return f"{type(value).__module__}.{type(value).__qualname__}: {type(error).__name__} {error}"[:_KEPT]
    text = re.sub(r"0x[0-9a-f]{6,}", "0x…", text)
    text = re.sub(r"/tmp/ipykernel_\d+/\d+\.py", "<cell>", text)
    return f"{zlib.crc32(text.encode('utf-8', 'replace')):08x} {text[:_KEPT]}"
