"""What local modules hold: a variable that shares an object with one is part of the module's state.

No copy of such a variable would be what the module holds, whoever of the two had the object first. So it comes back as the
module's state does: by running again the cells that made it so.
"""

from __future__ import annotations

import collections
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType

from provcrt_kernel.session.fingerprint import Fingerprint
from provcrt_kernel.session.walk import overlap

#: Containers that are looked into even where something inside of them cannot be read.
_CONTAINERS = (list, dict, set, tuple, collections.deque)

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Holdings:
    """Objects that one module's names lead to, and memory, as in `Fingerprint`; `values` is what the names are bound to."""

    values: tuple[int, ...] = ()
    objects: frozenset[int] = frozenset()
    buffers: tuple[Range, ...] = ()
    guarded: tuple[Range, ...] = ()

    def share(self, seen: Fingerprint) -> bool:
        """Whether a value shares an object with the module, or memory that one of them can write."""
        if not self.objects.isdisjoint(seen.objects) and self.objects & (seen.objects - seen.types):
            return True
        if not (seen.buffers or seen.guarded):
            return False
        return overlap(self.buffers, seen.buffers + seen.guarded) or overlap(self.guarded, seen.buffers)

    def __bool__(self) -> bool:
        return bool(self.objects or self.buffers or self.guarded)


def holdings(module: ModuleType, held: Iterable[tuple[type, Fingerprint]]) -> Holdings:
    """What a module holds, told by the types and fingerprints of its values.

    What only the collector sees behind a value is left out, such as a cache's results: a call gives them like any others.
    """
    notebook = id(sys.modules["__main__"].__dict__)
    objects: set[int] = set()
    buffers: list[Range] = []
    guarded: list[Range] = []
    for kind, seen in held:
        readable = seen.digest is not None or issubclass(kind, _CONTAINERS)
        if not readable or notebook in seen.objects:
            continue
        objects |= seen.objects - seen.types
        buffers += seen.buffers
        guarded += seen.guarded
    values = tuple(map(id, vars(module).values()))
    return Holdings(values, frozenset(objects), tuple(buffers), tuple(guarded))
