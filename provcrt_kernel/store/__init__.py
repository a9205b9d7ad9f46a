"""The store room: content-addressed blobs and the table of records. It knows bytes and hashes only.

What needs the database is imported when it is first asked for: the tracer only hashes, and starts in half the time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from provcrt_kernel.store.digest import digest, digest_file
from provcrt_kernel.store.errors import StoreError

if TYPE_CHECKING:
    from provcrt_kernel.store.collect import Collected
    from provcrt_kernel.store.place import find_store, shared_stores, stores_below
    from provcrt_kernel.store.store import Stats, Store

__all__ = [
    "Collected",
    "Stats",
    "Store",
    "StoreError",
    "digest",
    "digest_file",
    "find_store",
    "shared_stores",
    "stores_below",
]

_LATER = {
    "Collected": "collect",
    "Stats": "store",
    "Store": "store",
    "find_store": "place",
    "shared_stores": "place",
    "stores_below": "place",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
