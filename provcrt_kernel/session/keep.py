"""Keeping values in the store and bringing them back.

A snapshot's pickle stream and its buffers are blobs of their own, so that an array that two versions share is stored once; a
*manifest* names them. Loading gives back the whole co-variable, so aliases stay aliases.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass

import msgspec

from provcrt_kernel.session.snapshot import Snapshot, Unstorable, dump, faithful, load, needs_check
from provcrt_kernel.store import Store


class Manifest(msgspec.Struct, frozen=True):
    """The blobs of one snapshot."""

    stream: str
    buffers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot in the store: the blob of its manifest, and all that it needs, that one included."""

    manifest: str
    blobs: tuple[str, ...]


def keep(store: Store, values: Mapping[str, object], namespace: dict[str, object]) -> Kept:
    """Store a co-variable's values.

    Values whose classes customise pickling are loaded once and compared.

    Raises
    ------
    Unstorable
        The values cannot be pickled, or come back different.
    StoreError
        The store cannot be written.
    """
    snapshot = dump(values, namespace)
    if needs_check(snapshot) and not faithful(values, snapshot, namespace):
        raise Unstorable("its pickle loses part of it")
    return _put(store, snapshot)


def _put(store: Store, snapshot: Snapshot) -> Kept:
    parts = Manifest(store.put(snapshot.stream), tuple(store.put(b) for b in snapshot.buffers))
    manifest = store.put(msgspec.msgpack.encode(parts))
    return Kept(manifest, (manifest, parts.stream, *parts.buffers))


def bring_back(
    store: Store, manifest: str, namespace: MutableMapping[str, object], former: Collection[str] = ()
) -> dict[str, object] | None:
    """Load a co-variable's values; None if a blob is missing or damaged, or does not unpickle here. For `former` see `load`."""
    data = store.get(manifest)
    if data is None:
        return None
    try:
        parts = msgspec.msgpack.decode(data, type=Manifest)
        stream = store.get(parts.stream)
        buffers = [store.get(b) for b in parts.buffers]
        if stream is None or any(b is None for b in buffers):
            return None
        return load(stream, [b for b in buffers if b is not None], dict_of(namespace), former)
    except Exception:
        return None


def dict_of(namespace: MutableMapping[str, object]) -> dict[str, object]:
    """The namespace itself: functions must be rebuilt on the live dictionary, never on a copy."""
    assert isinstance(namespace, dict)
    return namespace
