"""The native core's way of seeing tensors: addresses and strides of numbers that lie densely along the last axis."""

from typing import Any

import torch
from torch import Tensor

from lstmkit.core import native_module, native_status

# The core's names for types of numbers.
PRECISIONS = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}

# Name of the instruction set to run with; empty means the best, or LSTMKIT_ISA.
instruction_set = ""

# Both asked once: torch.compile traces the choice of an engine and could not look for a module.
core: Any = native_module()
_available = native_status().available


def native_available() -> bool:
    """Whether the C++ core was built and runs here."""
    return _available


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    """What the core adds up in, and keeps cell states in, for numbers of ``dtype``."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


def run_core(function: Any, directions: list[Any], precision: str) -> None:
    """Call a function of the core for all directions of a layer at once."""
    function(directions, torch.get_num_threads(), instruction_set, precision)


def run_scan(function: Any, arguments: tuple[Any, ...], precision: str) -> None:
    """Call a function of the core for one direction of a layer that it scans."""
    function(*arguments, torch.get_num_threads(), instruction_set, precision)


# Beside a layer's arithmetic in 100 us the calls of torch are no trifle, least of all those that have nothing to do.
def dense(value: Tensor) -> Tensor:
    """The core reads along the last axis in steps of one, from whole numbers; it knows no lazy minus sign."""
    is_dense = value.stride()[-1] == 1 or value.shape[-1] == 1
    if is_dense and not value.is_neg() and value.data_ptr() % value.element_size() == 0:
        return value
    return empty(value.shape, value.dtype).copy_(value)


def cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    """The value in a type, itself if it has it."""
    return value if value.dtype == dtype else value.to(dtype)


def lower(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight of float32 as bfloat16, without a gradient; itself where it is not one."""
    if value.dtype != torch.float32 or dtype != torch.bfloat16:
        return value
    return empty(value.shape, dtype).copy_(value.detach())


def sequence_at(value: Tensor | None, first: int) -> tuple[int, int, int] | None:
    """Address and strides of ``(T, B, ...)`` from its column ``first`` on."""
    if value is None:
        return None
    step, row = value.stride()[:2]
    return value.data_ptr() + first * value.element_size(), step, row


def state_at(value: Tensor | None, d: int) -> tuple[int, int] | None:
    """Address and stride of direction ``d`` of ``(D, B, ...)``."""
    if value is None:
        return None
    direction, row = value.stride()[:2]
    return value.data_ptr() + d * direction * value.element_size(), row


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Memory of the core's pool: a fresh page costs more than the arithmetic on it."""
    return torch.from_dlpack(core.empty(shape, PRECISIONS[dtype]))
