"""What pandas objects hold, for the stream: which arrays each block or index owns.

Under copy on write two tables may lie on the same memory, and a counter in pandas says so. A stream does not
carry that counter, so each block gets memory of its own; indexes never change and may go on sharing.
"""

from __future__ import annotations

from typing import Any

from .objects import instance_dict

_PARTS = ("_ndarray", "_data", "_mask", "_left", "_right", "_sparse_values", "_codes")
_PANDAS_OWN = frozenset(
    {
        "_mgr",
        "_attrs",
        "attrs",
        "_typ",
        "_metadata",
        "_flags",
        "_item_cache",
        "_cacher",
        "_name",
        "_is_copy",
        "_cache",
        "_index",
    }
)


def owned_arrays(values: Any) -> list[Any]:
    """The plain arrays behind a block's or an index's values, extension arrays opened.

    Parameters
    ----------
    values : ndarray, ExtensionArray or Index

    Returns
    -------
    list of numpy.ndarray
    """
    found: list[Any] = []
    todo = [values]
    while todo:
        part = todo.pop()
        if type(part).__name__ == "ndarray":
            found.append(part)
        elif part is not None and type(part).__module__.partition(".")[0] == "pandas":
            todo.extend(getattr(part, name, None) for name in _PARTS)
    return found


def stray_attributes(table: Any) -> list[str]:
    """Attributes that a notebook hung on a DataFrame or Series; pandas' pickles do without them."""
    own = instance_dict(table) or {}
    known = _PANDAS_OWN.union(table._metadata)
    return [name for name in own if name not in known]
