"""How arrays are visited, at memory speed: NumPy's, torch's, PIL's images.

No library is imported here; a handler is found by the name of a value's class, so its library is loaded
already.
"""

from __future__ import annotations

import sys
from typing import Any

import xxhash

from .definitions import class_token, note_module
from .objects import constant_of, instance_dict, state
from .walk import ATOMS, Walker, handles_named

_CHUNK = 1 << 24


@handles_named("numpy.ndarray")
def _ndarray(walker: Walker, value: Any) -> None:
    if walker.seen(value):
        return
    numpy = sys.modules["numpy"]
    walker.packages.add("numpy")
    walker.token(b"[")
    plain = value
    if type(value) is not numpy.ndarray:
        class_token(walker, type(value))
        plain = numpy.ndarray.view(value, numpy.ndarray)
    flags = plain.flags
    walker.token(b"#", plain.shape, layout(plain), flags.writeable)
    dtype_token(walker, plain.dtype)
    memory(walker, plain)
    array_content(walker, plain)
    if plain is not value and any(base.__name__ == "MaskedArray" for base in type(value).__mro__):
        # Its other attributes are caches, or say whether the mask is shared: the memory tells that.
        walker.real((value._mask, value._hardmask))
        walker.temporary(value.fill_value)
    elif plain is not value:
        state(walker, value)


def layout(array: Any) -> str:
    """``C``, ``F``, or else the sign of each stride: what a reader can tell and what sums depend on."""
    flags = array.flags
    if flags.c_contiguous:
        return "C"
    if flags.f_contiguous:
        return "F"
    return "".join("+" if stride > 0 else "-" if stride < 0 else "0" for stride in array.strides)


def bounds(array: Any) -> tuple[int, int]:
    """First and past-the-last address of an array's elements."""
    low, high = sys.modules["numpy"].lib.array_utils.byte_bounds(array)
    return int(low), int(high)


def memory(walker: Walker, plain: Any) -> None:
    """Note where an array lies, and write its place if it shares the memory of one that was met before."""
    if walker.fresh is not None or not plain.nbytes:
        return
    low, high = bounds(plain)
    walker.buffers.append((low, high))
    start = plain.__array_interface__["data"][0]
    for place in walker.regions.place(low, high, start, plain.strides):
        walker.token(b"=", *place)


def dtype_token(walker: Walker, dtype: Any) -> None:
    """Write a dtype: byte order, unit, fields with their places."""
    if dtype.fields is not None:
        walker.token(b"{", dtype.itemsize, dtype.isalignedstruct, len(dtype.names))
        for name in dtype.names:
            field = dtype.fields[name]
            walker.token(b"}", name, field[1], field[2] if len(field) > 2 and type(field[2]) is str else None)
            dtype_token(walker, field[0])
    elif dtype.subdtype is not None:
        walker.token(b"(", dtype.subdtype[1])
        dtype_token(walker, dtype.subdtype[0])
    else:
        walker.token(b"-", dtype.str, dtype.char)
        if dtype.kind == "T":
            walker.walk(getattr(dtype, "na_object", None))
    if dtype.metadata:
        walker.temporary(dict(dtype.metadata))


def array_content(walker: Walker, array: Any) -> None:
    """Write the elements of a plain ndarray."""
    dtype = array.dtype
    if dtype.hasobject or dtype.kind == "T":
        if dtype.fields is not None:
            for name in dtype.names:
                array_content(walker, array[name])
        else:
            elements(walker, array.ravel().tolist())
    elif dtype.char in "gG":  # long doubles end in bytes that mean nothing
        walker.temporary([(repr(x)) for x in array.ravel()])
    else:
        _bytes(walker, array)


def elements(walker: Walker, items: list[object]) -> None:
    """Write objects that an array or a column holds, in order."""
    walker.token(b"*", len(items))
    if ATOMS.issuperset(map(type, items)):
        walker.atom(items)
    else:
        for item in items:
            walker.walk(item)


def _bytes(walker: Walker, array: Any) -> None:
    numpy = sys.modules["numpy"]
    if not array.size:
        return
    flags = array.flags
    if flags.c_contiguous or flags.f_contiguous:
        flat = (array if flags.c_contiguous else array.T).reshape(-1)
        walker.content(flat.view(numpy.uint8), array.nbytes)
        return
    # Strided memory is copied a piece at a time, each piece hashed in C order.
    rows = max(1, _CHUNK // max(1, array.nbytes // array.shape[0]))
    hasher = xxhash.xxh3_128()
    for at in range(0, array.shape[0], rows):
        piece = numpy.ascontiguousarray(array[at : at + rows])
        hasher.update(piece.reshape(-1).view(numpy.uint8))
    walker.buffered += array.nbytes
    walker.out.append(b"\xff;" + array.nbytes.to_bytes(8, "little") + hasher.digest())


@handles_named("numpy.generic")
def _scalar(walker: Walker, value: Any) -> None:
    walker.packages.add("numpy")
    walker.token(b"$")
    if type(value).__module__ != "numpy":
        class_token(walker, type(value))
    dtype_token(walker, value.dtype)
    array_content(walker, sys.modules["numpy"].asarray(value))


@handles_named("numpy.dtype")
def _dtype(walker: Walker, value: Any) -> None:
    walker.packages.add("numpy")
    dtype_token(walker, value)


@handles_named("numpy.random._generator.Generator", "numpy.random.mtrand.RandomState")
def _random(walker: Walker, value: Any) -> None:
    if (constant := constant_of(value)) is not None:
        note_module(walker, constant[0])
        walker.token(b"n", *constant)
        return
    if walker.seen(value):
        return
    class_token(walker, type(value))
    bits = getattr(value, "bit_generator", None) or value._bit_generator
    walker.walk(bits)
    if hasattr(value, "get_state"):  # the spare Gaussian is the RandomState's own
        walker.temporary(value.get_state(legacy=False))


@handles_named("numpy.random.bit_generator.BitGenerator")
def _bits(walker: Walker, value: Any) -> None:
    if walker.seen(value):
        return
    class_token(walker, type(value))
    walker.temporary(value.state)
    seed = getattr(value, "seed_seq", None) or getattr(value, "_seed_seq", None)
    walker.temporary(getattr(seed, "state", None))


@handles_named("torch.Tensor")
def _tensor(walker: Walker, value: Any) -> None:
    if walker.seen(value):
        return
    torch = sys.modules["torch"]
    class_token(walker, type(value))
    walker.packages.add("torch")
    walker.token(
        b"t",
        str(value.dtype),
        tuple(value.shape),
        tuple(value.stride()),
        value.requires_grad,
        str(value.device),
    )
    if value.device.type != "cpu" or value.layout is not torch.strided or value.is_quantized:
        walker.without_value("tensor outside of plain memory")
        return
    if value.grad_fn is not None:
        walker.without_value("tensor with a gradient graph")
        walker.real(_leaves(value.grad_fn))  # ``backward`` changes them
    data = value.detach()
    if data.numel():
        if walker.fresh is None:
            low = data.untyped_storage().data_ptr()
            high = low + data.untyped_storage().nbytes()
            walker.buffers.append((low, high))
            for place in walker.regions.place(low, high, data.data_ptr(), tuple(data.stride())):
                walker.token(b"=", *place)
        flat = data.contiguous().reshape(-1).view(torch.uint8).numpy()
        walker.content(flat, flat.nbytes)
    if value.is_leaf and value.grad is not None:  # PyTorch warns of the question elsewhere
        walker.real((value.grad,))
    state(walker, value)


def _leaves(graph: Any) -> tuple[Any, ...]:
    """The tensors that a graph of gradients ends in."""
    found: list[Any] = []
    seen = {graph}
    todo = [graph]
    while todo:
        node = todo.pop()
        variable = getattr(node, "variable", None)
        if variable is not None:
            found.append(variable)
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)
    return tuple(found)


@handles_named("PIL.Image.Image")
def _image(walker: Walker, value: Any) -> None:
    if walker.seen(value):
        return
    class_token(walker, type(value))
    note_module(walker, "PIL.Image")
    attributes = instance_dict(value) or {}
    if attributes.get("fp") is not None:
        walker.without_value("image whose file is open")
        return
    data = value.tobytes()
    walker.token(b"~", value.mode, value.size)
    walker.content(data, len(data))
    walker.real((attributes.get("info"), value.getpalette() if value.mode == "P" else None))
