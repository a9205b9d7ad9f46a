"""Arrays as streams keep them: memory out of band, views of one memory together, writeable where they were.

A first pass over a co-variable notes which arrays lie on which memory. Memory on which two or more arrays lie is stored
once and they come back as views of it; a lone view comes back as an array of its own, with its order and flags.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

from .arrays import layout, root_of

IN_BAND = 4096  # bytes below which a buffer stays inside of the stream


class Places:
    """Which arrays of a stream lie on the same memory.

    Pandas' own blocks copy on write: each frame gets memory of its own, whatever it shared when it was stored.
    """

    def __init__(self) -> None:
        self.arrays: dict[int, dict[int, Any]] = {}  # owner of memory → arrays on it, by id
        self.guarded: dict[int, Any] = {}  # arrays that copy-on-write owners hold
        self.hulls: dict[int, Any] = {}
        self.seen_guarded: dict[int, int] = {}

    def note(self, array: Any) -> None:
        """Remember an array; the second pass asks for `shared`."""
        self.arrays.setdefault(_owner(array), {})[id(array)] = array

    def guard(self, array: Any) -> None:
        """Say that `array` belongs to a copy-on-write owner."""
        self.guarded[id(array)] = array

    def any_shared(self) -> bool:
        """Whether a second pass is needed."""
        return any(self._shared(owner) for owner in self.arrays)

    def conflict(self) -> bool:
        """Whether raw arrays share memory with two copy-on-write owners, which cannot be told apart later."""
        for arrays in self.arrays.values():
            guarded = sum(key in self.guarded for key in arrays)
            if guarded > 1 and guarded < len(arrays):
                return True
        return False

    def _shared(self, owner: int) -> bool:
        arrays = self.arrays.get(owner, {})
        return len(arrays) > 1 and any(key not in self.guarded for key in arrays)

    def reduce_shared(self, array: Any) -> Any | None:
        """How a stream keeps an array that shares its memory; None if it does not."""
        owner = _owner(array)
        if not self._shared(owner) or not array.nbytes:
            return None
        root = next((item for item in self.arrays[owner].values() if id(item) == owner), None)
        if root is not None and (root.flags.c_contiguous or root.flags.f_contiguous):
            if root is array:
                return None
            low = root.__array_interface__["data"][0]
            base: Any = root
        else:
            hull = self.hulls.get(owner)
            if hull is None:
                hull = self.hulls[owner] = Hull(list(self.arrays[owner].values()))
            base, low = hull, hull.low
        offset = array.__array_interface__["data"][0] - low
        return make_view, (base, offset, array.dtype, array.shape, array.strides, array.flags.writeable)


class Hull:
    """The memory from the first to the last byte on which any of some arrays lies."""

    def __init__(self, arrays: list[Any]) -> None:
        bounds = [sys.modules["numpy"].lib.array_utils.byte_bounds(array) for array in arrays]
        self.low = min(low for low, _ in bounds)
        self.high = max(high for _, high in bounds)
        self.arrays = arrays

    def __reduce__(self) -> Any:
        numpy = sys.modules["numpy"]
        size = self.high - self.low
        # The hull lies within the memory that all of these arrays view: one of them is stretched to span it.
        first = self.arrays[0]
        offset = self.low - first.__array_interface__["data"][0]
        start = numpy.lib.stride_tricks.as_strided(first, shape=(1,), strides=(first.itemsize,)).view(numpy.uint8)
        whole = numpy.ndarray.__new__(
            numpy.ndarray, (size,), numpy.uint8, _Memory(start, self.low, size, offset), 0
        )
        return own_array, (pickle.PickleBuffer(whole), whole.dtype, (size,), "C", True)


class _Memory:
    """Memory at an address, kept alive by its owner, as NumPy's array interface."""

    def __init__(self, owner: Any, address: int, size: int, _offset: int) -> None:
        self.owner = owner
        self.__array_interface__ = {"data": (address, False), "shape": (size,), "typestr": "|u1", "version": 3}


def _owner(array: Any) -> int:
    root = root_of(array)
    return id(root) if root.base is None else id(root.base)


def reduce_alone(array: Any) -> Any:
    """How a stream keeps a plain array that shares its memory with no other in it.

    Parameters
    ----------
    array : numpy.ndarray
        Exactly an ndarray.

    Returns
    -------
    tuple or NotImplemented
        What ``__reduce__`` may return; NotImplemented leaves it to NumPy.
    """
    numpy = sys.modules["numpy"]
    dtype, flags = array.dtype, array.flags
    if dtype.kind == "T":
        return NotImplemented
    kind = layout(array)
    order = "F" if kind == "F" else "C"
    if dtype.hasobject:
        if dtype.fields is not None:
            return NotImplemented
        items = array.ravel(order=order).tolist()
        return make_objects, (array.shape, order), (items, flags.writeable), None, None, fill_objects
    if kind in "CF":
        flat = (array.T if kind == "F" else array).reshape(-1).view(numpy.uint8) if array.size else b""
    else:
        flat = numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8)
        order = kind
    data = pickle.PickleBuffer(flat) if array.nbytes >= IN_BAND else bytes(flat)
    return own_array, (data, dtype, array.shape, order, flags.writeable)


def own_array(data: Any, dtype: Any, shape: tuple[int, ...], order: str, writeable: bool) -> Any:
    """Called by a stream: an array that owns its memory, with the layout and the flag it had.

    `order` is ``C``, ``F``, or the signs of the strides of an array that was neither: then it comes back strided, so
    that sums over it take the same path through NumPy as they did.
    """
    import numpy

    flat = numpy.frombuffer(data, numpy.uint8)
    if order in ("C", "F"):
        made = numpy.empty(shape, dtype, order)
        if made.size:
            target = (made.T if order == "F" else made).reshape(-1).view(numpy.uint8)
            target[:] = flat
    else:
        content = flat.view(dtype).reshape(shape) if dtype.itemsize else numpy.empty(shape, dtype)
        made = _strided(content, order)
    made.flags.writeable = writeable
    return made


def _strided(content: Any, signs: str) -> Any:
    import numpy

    wide = numpy.empty((*content.shape[:-1], content.shape[-1] * 2), content.dtype)
    made = wide[..., ::2]
    made[...] = content
    flips = tuple(slice(None, None, -1) if sign == "-" else slice(None) for sign in signs)
    if "-" in signs:
        made[...] = content[flips]
        made = made[flips]
    if "0" in signs:
        picks = tuple(slice(0, 1) if sign == "0" else slice(None) for sign in signs)
        made = numpy.broadcast_to(made[picks], content.shape)
        if not made.flags.writeable:
            made = numpy.lib.stride_tricks.as_strided(made, made.shape, made.strides, writeable=True)
    return made


def make_view(base: Any, offset: int, dtype: Any, shape: Any, strides: Any, writeable: bool) -> Any:
    """Called by a stream: a view on the memory of `base`, `offset` bytes in."""
    import numpy

    flat = base if base.flags.c_contiguous else base.T
    frozen = not base.flags.writeable
    made = numpy.ndarray(shape, dtype, flat.reshape(-1).view(numpy.uint8), offset, strides)
    made.flags.writeable = writeable and not frozen
    return made


def make_objects(shape: tuple[int, ...], order: Any) -> Any:
    """Called by a stream: an array of objects, still empty (it may hold itself)."""
    import numpy

    return numpy.empty(shape, object, order)


def fill_objects(array: Any, state: tuple[list[Any], bool]) -> None:
    """Called by a stream: the objects of an array, in memory order."""
    items, writeable = state
    flat = (array if array.flags.c_contiguous else array.T).reshape(-1)
    for at, item in enumerate(items):
        flat[at] = item
    array.flags.writeable = writeable
