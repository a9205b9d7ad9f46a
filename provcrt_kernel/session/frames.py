"""How tables are visited: by column, never by the blocks or chunks that happen to hold them.

Pandas 3 copies on write: two frames may lie on the same memory and still share no state, so their memory is
*guarded* (it matters only against a raw array on it). No library is imported here.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from .arrays import array_content, bounds, dtype_token, elements
from .definitions import class_token, note_module
from .objects import instance_dict, state
from .tables import stray_attributes
from .walk import Walker, handles_named


@handles_named("pandas.DataFrame", "pandas.core.frame.DataFrame")
def _frame(walker: Walker, value: Any) -> None:
    if walker.seen(value):
        return
    _labelled(walker, value)
    walker.walk(value.columns)
    walker.walk(value.index)
    manager = value._mgr
    for at in range(len(value.columns)):
        _column(
            walker, manager.iget_values(at) if hasattr(manager, "iget_values") else value.iloc[:, at]._values
        )


@handles_named("pandas.Series", "pandas.core.series.Series")
def _series(walker: Walker, value: Any) -> None:
    if walker.seen(value):
        return
    _labelled(walker, value)
    walker.walk(value.name)
    walker.walk(value.index)
    _column(walker, value._values)


def _labelled(walker: Walker, value: Any) -> None:
    walker.token(b"|")
    class_token(walker, type(value))
    note_module(walker, "pandas")
    walker.token(b"|", value.flags.allows_duplicate_labels)
    walker.real((value._attrs,))
    strays = stray_attributes(value)
    walker.token(b"|", *strays)
    walker.real((instance_dict(value) or {})[name] for name in strays)
    for name in value._metadata:
        if name not in ("_name", "name"):
            walker.atom(name)
            walker.real((getattr(value, name, None),))


@handles_named("pandas.Index", "pandas.core.indexes.base.Index")
def _index(walker: Walker, value: Any) -> None:
    if walker.met(value):
        return
    walker.token(b"/")
    class_token(walker, type(value))
    note_module(walker, "pandas")
    walker.temporary(list(value.names))
    kind = type(value).__name__
    if kind == "RangeIndex":
        walker.token(b"r", value.start, value.stop, value.step)
    elif kind == "MultiIndex":
        walker.token(b"%", value.nlevels, value.sortorder)
        for level, codes in zip(value.levels, value.codes, strict=True):
            walker.walk(level)
            walker.temporary(codes)
    else:
        _column(walker, value._data)


def _column(walker: Walker, values: Any) -> None:
    """One column: a one-dimensional ndarray or an extension array."""
    numpy = sys.modules["numpy"]
    if type(values) is not numpy.ndarray:
        _extension(walker, values)
        return
    walker.token(b",", len(values))
    dtype_token(walker, values.dtype)
    _guard(walker, values)
    array_content(walker, values)


def _guard(walker: Walker, values: Any) -> None:
    if walker.fresh is None and values.nbytes:
        (walker.guarded if copies_on_write() else walker.buffers).append(bounds(values))


def copies_on_write() -> bool:
    """Whether the loaded pandas copies before it writes to shared memory (always, from version 3 on)."""
    pandas = sys.modules["pandas"]
    return int(pandas.__version__.partition(".")[0]) >= 3 or pandas.get_option("mode.copy_on_write") is True


@handles_named("pandas.api.extensions.ExtensionArray", "pandas.core.arrays.base.ExtensionArray")
def _extension_value(walker: Walker, value: Any) -> None:
    if not walker.seen(value):
        _extension(walker, value)


def _extension(walker: Walker, values: Any) -> None:
    walker.token(b":")
    class_token(walker, type(values))
    names = {base.__name__ for base in type(values).__mro__}
    if "Categorical" in names:
        walker.walk(values.dtype.categories)
        walker.atom(values.dtype.ordered)
        _column(walker, values._codes)
    elif "BaseMaskedArray" in names:
        data, mask = values._data, values._mask
        if mask.any():  # what lies under the mask means nothing
            data = data.copy()
            data[mask] = 0
        _guard(walker, values._data)
        walker.temporary(data)
        walker.temporary(mask)
    elif "ArrowExtensionArray" in names:
        _arrow(walker, values._pa_array)
        walker.atom(str(values.dtype))
    elif "DatetimeLikeArrayMixin" in names:
        walker.atom(str(values.dtype))
        walker.atom(getattr(getattr(values, "freq", None), "freqstr", None))
        _column(walker, values._ndarray)
    elif "NDArrayBacked" in names:
        walker.atom(str(values.dtype))
        data = values._ndarray
        _guard(walker, data)
        walker.token(b",", data.shape, data.flags.writeable)
        if data.dtype == object:
            elements(walker, data.tolist() if data.ndim == 1 else data.ravel().tolist())
        else:
            dtype_token(walker, data.dtype)
            array_content(walker, data)
    else:
        state(walker, values)


@handles_named("pyarrow.lib.ChunkedArray", "pyarrow.lib.Array", "pyarrow.lib._Tabular")
def _arrow_value(walker: Walker, value: Any) -> None:
    if not walker.met(value):
        class_token(walker, type(value))
        _arrow(walker, value)


def _arrow(walker: Walker, value: Any) -> None:
    """Arrow data is immutable: its columns in one chunk each, as Arrow's own stream format writes them."""
    import pyarrow as arrow

    walker.packages.add("pyarrow")
    table = value if isinstance(value, arrow.Table) else None
    if table is None:
        table = (
            arrow.Table.from_batches([value])
            if isinstance(value, arrow.RecordBatch)
            else arrow.table({"": value})
        )
    sink = arrow.BufferOutputStream()
    with contextlib.suppress(arrow.ArrowNotImplementedError, arrow.ArrowInvalid):
        # buffers of the same values differ in what is beyond their ends and below nulls: made anew they do not
        rows = (
            sys.modules["numpy"].arange(table.num_rows) if "numpy" in sys.modules else range(table.num_rows)
        )
        table = table.take(arrow.array(rows))
    whole = table.combine_chunks()
    with arrow.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    data = sink.getvalue()
    walker.token(b"w", table.num_rows)
    walker.content(data, data.size)
