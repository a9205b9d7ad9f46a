"""Arrays as streams keep them: memory out of band, views of one memory together, writeable where they were.

A first pass over a co-variable notes which arrays lie on which memory. Memory on which two or more arrays lie
is stored once and they come back as views of it; a lone view comes back as an array of its own, with its
order and flags.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any, cast

from .arrays import bounds, layout

IN_BAND = (
    1 << 16
)  # bytes below which a buffer stays inside of the stream: a forest is one blob, not one a tree


class Places:
    """Which arrays of a stream lie on the same memory.

    Arrays that copy-on-write owners hold (a table's blocks) are *guarded*: each owner gets memory of its own,
    whatever two of them shared; arrays of an index are *frozen*: they share with anything but a block. A raw
    array on one owner's memory stays on it.
    """

    def __init__(self) -> None:
        self._arrays: dict[int, Any] = {}
        self._guarded: dict[int, Any] = {}
        self._frozen: dict[int, Any] = {}
        self._foreign: list[tuple[int, int, int]] = []
        self._areas: list[_Area] = []

    def note(self, array: Any) -> None:
        """Remember a plain array of the first pass, alive until the second is over."""
        self._arrays[id(array)] = array

    def guard(self, array: Any) -> None:
        """Say that `array` belongs to a copy-on-write owner."""
        self._guarded[id(array)] = array

    def freeze(self, array: Any) -> None:
        """Say that `array` belongs to an owner that never changes."""
        self._frozen[id(array)] = array

    def foreign(self, array: Any) -> None:
        """Remember an array of another class, which NumPy pickles without regard to shared memory."""
        self._arrays.setdefault(id(array), array)
        self.foreign_range(*bounds(array))

    def foreign_range(self, low: int, high: int) -> None:
        """Remember memory [low, high) that another library pickles; it can be shared with nothing."""
        self._foreign.append((low, high, _FOREIGN))

    def settle(self) -> bool:
        """After the first pass: find the areas that arrays share. False if there are none.

        Raises
        ------
        Tangled
            If what shares memory could not be told apart, or joined, later.
        """
        plain = [(key, array) for key, array in self._arrays.items() if array.nbytes]
        placed = [(*bounds(array), key) for key, array in plain if type(array).__name__ == "ndarray"]
        groups: list[list[int]] = []
        reach = -1
        for low, high, key in sorted(placed + self._foreign):
            if low >= reach:
                groups.append([])
            groups[-1].append(key)
            reach = max(reach, high)
        for keys in groups:
            if len(keys) > 1:
                self._join(keys)
        return bool(self._areas)

    def _join(self, keys: list[int]) -> None:
        guarded = sum(key in self._guarded for key in keys)
        frozen = sum(key in self._frozen for key in keys)
        raw = len(keys) - guarded - frozen
        if _FOREIGN in keys or (raw and guarded and guarded + frozen > 1):
            raise Tangled
        if any(_holds_pointers(self._arrays[key].dtype) for key in keys) and (raw or not guarded):
            raise Tangled
        if raw or not guarded:
            self._areas.append(_Area([self._arrays[key] for key in keys]))

    def reduce_shared(self, array: Any) -> Any | None:
        """How a stream keeps an array that shares its memory; None if it shares none."""
        if not array.nbytes:
            return None
        low, high = bounds(array)
        area = next((area for area in self._areas if area.low <= low and high <= area.high), None)
        if area is None or area.base is array:
            return None
        offset = array.__array_interface__["data"][0] - area.low
        return make_view, (area.base, offset, array.dtype, array.shape, array.strides, array.flags.writeable)


_FOREIGN = -1


def _holds_pointers(dtype: Any) -> bool:
    return bool(dtype.hasobject) or dtype.kind == "T"


class Tangled(Exception):
    """Arrays share memory in a way that a stream cannot keep."""


class _Area:
    """Memory that several arrays view: [low, high), and the object that stands for it in the stream."""

    def __init__(self, arrays: list[Any]) -> None:
        ranges = [bounds(array) for array in arrays]
        self.low = min(low for low, _ in ranges)
        self.high = max(high for _, high in ranges)
        size = self.high - self.low
        # The owner of the memory, if it is here; else the bytes from the first to the last that any array
        # views.
        self.base: Any = next(
            (array for array in arrays if array.base is None and array.nbytes == size), None
        )
        if self.base is None:
            self.base = Hull(arrays, self.low, size)


class Hull:
    """The memory on which several arrays lie, as bytes; the arrays keep it alive."""

    def __init__(self, arrays: list[Any], address: int, size: int) -> None:
        self.arrays = arrays
        self.__array_interface__ = {
            "data": (address, False),
            "shape": (size,),
            "typestr": "|u1",
            "version": 3,
        }

    def __reduce__(self) -> Any:
        whole = sys.modules["numpy"].asarray(self)
        return own_array, (pickle.PickleBuffer(whole), whole.dtype, whole.shape, "C", True)


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
    if not array.size and not flags.owndata:
        return empty_view, (dtype, array.shape, array.strides, flags.writeable)
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
        order = _packed(array, kind) + kind
    data = pickle.PickleBuffer(flat) if array.nbytes >= IN_BAND else bytes(memoryview(flat))
    return own_array, (data, dtype, array.shape, order, flags.writeable)


def _packed(array: Any, signs: str) -> str:
    """``C`` or ``F`` if an array would lie in one piece, in that order, were its axes not turned round."""
    flags = array[_turned(signs)].flags
    return "C" if flags.c_contiguous else "F" if flags.f_contiguous else ""


def _turned(signs: str) -> tuple[slice, ...]:
    return tuple(slice(None, None, -1) if sign == "-" else slice(None) for sign in signs)


def reduce_with_attributes(array: Any, attributes: dict[str, Any]) -> Any:
    """How a stream keeps an array of a subclass that leaves pickling to NumPy, which forgets what else it holds.

    Parameters
    ----------
    array : numpy.ndarray
        Of a subclass without a reducer of its own.
    attributes : dict
        Its ``__dict__``.
    """
    rebuild, arguments, content = array.__reduce__()
    return rebuild, arguments, (content, attributes), None, None, fill_with_attributes


def reduce_masked(array: Any, plain: Any) -> Any:
    """How a stream keeps a masked array: NumPy's own way gives one without a mask a mask, and then it prints all digits.

    Parameters
    ----------
    array : numpy.ma.MaskedArray
    plain : numpy.ndarray
        Its elements.
    """
    return make_masked, (type(array), plain), dict(array.__dict__), None, None, fill_masked


def make_masked(kind: type, plain: Any) -> Any:
    """Called by a stream: a masked array that lies on the memory of its elements."""
    return plain.view(kind)


def fill_masked(array: Any, attributes: dict[str, Any]) -> None:
    """Called by a stream: the mask, how values are filled in, and what else a masked array knows."""
    array.__dict__.clear()
    array.__dict__.update(attributes)


def fill_with_attributes(array: Any, state: tuple[Any, dict[str, Any]]) -> None:
    """Called by a stream: the elements of an array and its attributes, whatever its class gave it meanwhile."""
    content, attributes = state
    sys.modules["numpy"].ndarray.__setstate__(array, content)
    array.__dict__.clear()
    array.__dict__.update(attributes)


def own_array(data: Any, dtype: Any, shape: tuple[int, ...], order: str, writeable: bool) -> Any:
    """Called by a stream: an array that owns its memory, with the layout and the flag it had.

    `order` is ``C``, ``F``, or the signs of the strides of an array that was neither: then it comes back
    strided, so that sums over it take the same path through NumPy as they did; with ``C`` or ``F`` before
    these, without gaps.
    """
    import numpy

    flat = numpy.frombuffer(data, numpy.uint8)
    if order in ("C", "F"):
        made: Any = numpy.empty(shape, dtype, order=cast(Any, order))
        if made.size:
            target = (made.T if order == "F" else made).reshape(-1).view(numpy.uint8)
            target[:] = flat
    else:
        content = flat.view(dtype).reshape(shape) if dtype.itemsize else numpy.empty(shape, dtype)
        if order[0] in "CF":
            turned = _turned(order[1:])
            made = numpy.array(content[turned], order=cast(Any, order[0]))[turned]
        else:
            made = _strided(content, order)
    made.flags.writeable = writeable
    return made


def empty_view(dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...], writeable: bool) -> Any:
    """Called by a stream: nothing of an array, such as ``a[3:]``; it has the strides of what it is nothing of."""
    import numpy

    return numpy.lib.stride_tricks.as_strided(numpy.empty(1, dtype), shape, strides, writeable=writeable)


def _strided(content: Any, signs: str) -> Any:
    import numpy

    wide = numpy.empty((*content.shape[:-1], content.shape[-1] * 2), content.dtype)
    made = wide[..., ::2]
    made[...] = content
    flips = _turned(signs)
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
