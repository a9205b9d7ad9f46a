"""What to give up when a store is full: the records that save the fewest seconds per byte.

Records whose worth per byte lies within a factor of two count as equal, and of equals the least recently used
goes first. A blob is freed with the last record that refers to it; until then its bytes are shared out among
them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Held:
    """One record, as eviction sees it.

    Attributes
    ----------
    id : str
        The record's id.
    worth : float
        Seconds that a hit on it saves; infinite where it must stay.
    used : float
        When it was last used, in seconds since the epoch.
    size : int
        Its own bytes, without its blobs.
    blobs : frozenset of str
        The digests that it refers to.
    """

    id: str
    worth: float
    used: float
    size: int
    blobs: frozenset[str]


def choose(
    records: Iterable[Held],
    blobs: Mapping[str, int],
    *,
    leased: Collection[str],
    young: Collection[str],
    excess: int,
) -> tuple[list[Held], set[str]]:
    """Choose what to evict.

    Parameters
    ----------
    records : iterable of Held
        Every record of the store.
    blobs : mapping of str to int
        Size in bytes of every blob.
    leased : collection of str
        Digests that must stay, and with them the records that refer to them.
    young : collection of str
        Digests put so lately that the record which will refer to them may still be on its way.
    excess : int
        Bytes to free.

    Returns
    -------
    list of Held
        The records to evict, the least worthy first: enough to free `excess` bytes, or all that may go.
    set of str
        The blobs that nothing refers to then.
    """
    records = list(records)
    referents = Counter(digest for record in records for digest in record.blobs)
    unreferenced = {
        digest for digest in blobs if not (referents[digest] or digest in leased or digest in young)
    }
    # What is young and unreferenced will be judged when it is older; no record is to make room for it.
    excess -= sum(size for digest, size in blobs.items() if not (referents[digest] or digest in leased))
    # What must stay is not what the limit is for: a large container would crowd out every other record.
    kept = [record for record in records if record.worth == math.inf]
    stay = {digest for record in kept for digest in record.blobs}
    excess -= sum(record.size for record in kept) + sum(blobs.get(digest, 0) for digest in stay)
    records = [record for record in records if record.worth < math.inf]
    evicted: list[Held] = []
    for record in sorted(records, key=lambda record: (_rank(record, blobs, referents), record.used)):
        if excess <= 0:
            break
        if not record.blobs.isdisjoint(leased):
            continue
        evicted.append(record)
        excess -= record.size
        for digest in record.blobs & blobs.keys():
            referents[digest] -= 1
            if not referents[digest]:
                unreferenced.add(digest)
                excess -= blobs[digest]
    return evicted, unreferenced


def _rank(record: Held, blobs: Mapping[str, int], referents: Mapping[str, int]) -> float:
    share = record.size + sum(blobs.get(digest, 0) / referents[digest] for digest in record.blobs)
    return math.floor(math.log2(record.worth / max(share, 1))) if record.worth > 0 else -math.inf
