"""The store room: content-addressed blobs and the table of records. It knows bytes and hashes only."""

from provcrt_kernel.store.collect import Collected
from provcrt_kernel.store.digest import digest, digest_file
from provcrt_kernel.store.errors import StoreError
from provcrt_kernel.store.place import find_store, shared_stores
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
]
