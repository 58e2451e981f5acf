"""The native core's way of seeing tensors: addresses and strides of numbers that lie densely along the last axis."""

from typing import Any

import torch
from torch import Tensor

from lstmkit.core import native_module, native_status

# The core's names for types of numbers.
PRECISIONS = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}

# In 16 bits it keeps gates folded, see fold_gates; as numbers of this type nobody takes them for something else.
FOLDED = torch.int16

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


# As precision.h has it in activation16.
_UNITS, _LEAST = 2.0**64, 16.0


def fold_gates(gates: Tensor) -> Tensor:
    """Gates of bfloat16 as the core keeps them: beyond a half what is missing to 1, in units of 2^-64."""
    missing = ((1 - gates.float().abs()) * _UNITS).clamp_min(_LEAST).copysign(gates.float())
    return torch.where(gates.abs() > 0.5, missing.bfloat16(), gates).view(FOLDED)


def shown_gates(gates: Tensor) -> Tensor:
    """The gates, in bfloat16 where the core keeps them folded."""
    if gates.dtype != FOLDED:
        return gates
    value = gates.view(torch.bfloat16)
    near_one = (1 - value.float().abs() / _UNITS).copysign(value.float()).bfloat16()
    return torch.where(value.abs() >= _LEAST, near_one, value)


def run_core(function: Any, directions: list[Any], precision: str) -> None:
    """Call a function of the core for all directions of a layer at once."""
    function(directions, torch.get_num_threads(), instruction_set, precision)


def run_scan(function: Any, arguments: tuple[Any, ...], precision: str) -> None:
    """Call a function of the core for one direction of a layer that it scans."""
    function(*arguments, torch.get_num_threads(), instruction_set, precision)


# Beside a layer's arithmetic in 100 us the calls of torch are no trifle, least of all those that have nothing to do.
def dense(value: Tensor) -> Tensor:
    """The core reads along the last axis in steps of one, from whole numbers; it knows no lazy minus sign."""
    is_dense = value.stride(-1) == 1 or value.shape[-1] == 1
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
    if dtype == FOLDED:
        return empty(shape, torch.bfloat16).view(FOLDED)
    return torch.from_dlpack(core.empty(shape, PRECISIONS[dtype]))
