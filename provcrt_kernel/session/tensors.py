"""PyTorch's tensors as streams keep them: memory once for all tensors on it, gradients with the leaves they belong to.

PyTorch's own pickles give every tensor memory of its own and forget gradients. What hangs on a graph of gradients cannot
be stored: a copy of it would be a leaf.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

from .refusals import Unstorable


class Memory:
    """The memory of one storage; the same object for every tensor on it."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage

    def __reduce__(self) -> Any:
        whole = _bytes_of(self.storage)
        return make_storage, (pickle.PickleBuffer(whole) if whole.nbytes else b"", whole.nbytes)


def plain(value: Any) -> bool:
    """Whether a tensor is no more than memory and a layout, perhaps with a gradient."""
    torch = sys.modules["torch"]
    return (
        type(value) in (torch.Tensor, torch.nn.Parameter)
        and value.device.type == "cpu"
        and value.layout is torch.strided
        and not (value.is_quantized or value.is_conj() or value.is_neg())
        and not value.untyped_storage().is_shared()
    )


def reduce_tensor(value: Any, memory: Memory) -> Any:
    """How a stream keeps a `plain` tensor.

    Raises
    ------
    Unstorable
        If code hangs on it.
    """
    torch = sys.modules["torch"]
    if getattr(value, "_backward_hooks", None) or getattr(value, "_post_accumulate_grad_hooks", None):
        raise Unstorable.kind("a tensor with hooks")
    arguments = (
        memory,
        str(value.dtype).removeprefix("torch."),
        value.storage_offset(),
        tuple(value.shape),
        tuple(value.stride()),
        value.requires_grad,
        type(value) is torch.nn.Parameter,
    )
    gradient = value.grad if value.is_leaf else None
    state = (dict(value.__dict__), gradient) if value.__dict__ or gradient is not None else None
    return make_tensor, arguments, state, None, None, fill_tensor


def _bytes_of(storage: Any) -> Any:
    torch = sys.modules["torch"]
    return torch.empty(0, dtype=torch.uint8).set_(storage).numpy()


def make_storage(data: Any, size: int) -> Any:
    """Called by a stream: memory of its own with this content."""
    import numpy
    import torch

    storage = torch.UntypedStorage(size)
    if size:
        _bytes_of(storage)[:] = numpy.frombuffer(data, numpy.uint8)
    return storage


def make_tensor(
    storage: Any,
    dtype: str,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    requires_grad: bool,
    parameter: bool,
) -> Any:
    """Called by a stream: a tensor on `storage`."""
    import torch

    made = torch.empty(0, dtype=getattr(torch, dtype)).set_(storage, offset, shape, strides)
    if parameter:
        return torch.nn.Parameter(made, requires_grad=requires_grad)
    return made.requires_grad_(requires_grad) if requires_grad else made


def fill_tensor(tensor: Any, state: tuple[dict[str, Any], Any]) -> None:
    """Called by a stream: attributes that somebody gave a tensor, and its gradient."""
    attributes, gradient = state
    tensor.__dict__.update(attributes)
    if gradient is not None:
        tensor.grad = gradient
