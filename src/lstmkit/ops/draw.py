"""Random masks from torch's generator: one seed of it per mask, and a counter for the rest.

The numbers are the same with and without the native core, on any number of threads: SplitMix64 of Steele, Lea & Flood,
Fast splittable pseudorandom number generators, OOPSLA 2014. torch's own generator, which gives one number after the
other, takes longer than a layer's arithmetic.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from lstmkit.ops.native_core import PRECISIONS, core, empty, native_available

# What is added at each count, and how far each mixing shifts and what it multiplies with; as signed numbers.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_MIX = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64), (31, 1))

# A choice is a comparison of 16 bits.
_TIMES = 2**16


def draw_choices(shape: Sequence[int], rate: float, device: torch.device) -> Tensor:
    """True with probability ``rate``, to 1/65536.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> draw_choices((10000,), 0.25, torch.device("cpu")).float().mean().item()
        0.25519999861717224
    """
    times = round(rate * _TIMES)
    if _is_native(device):
        count = prod(shape)
        chosen = empty(((count + 3) // 4,), torch.float32).view(torch.bool)[:count]
        core.draw_bytes(_seed(), times, chosen.data_ptr(), count, torch.get_num_threads())
        return chosen.view(tuple(shape))
    return _compare(shape, times, device)


def draw_factors(shape: Sequence[int], rate: float, like: Tensor) -> Tensor:
    """0 with probability ``rate``, else what keeps the expectation; of the type and device of ``like``."""
    times, kept = round(rate * _TIMES), 1 / (1 - rate)
    if _is_native(like.device) and like.dtype in PRECISIONS:
        factors = empty(tuple(shape), like.dtype)
        where = factors.data_ptr(), factors.numel(), torch.get_num_threads()
        core.draw(_seed(), times, 0.0, kept, *where, PRECISIONS[like.dtype])
        return factors
    return _compare(shape, times, like.device).logical_not().to(like.dtype) * kept


def _is_native(device: torch.device) -> bool:
    return device.type == "cpu" and native_available() and not torch.compiler.is_compiling()


def _seed() -> int:
    return int(torch.randint(2**62, (1,)))


def _compare(shape: Sequence[int], times: int, device: torch.device) -> Tensor:
    """The same by torch operations."""
    count = prod(shape)
    z = (torch.arange((count + 3) // 4, device=device) + torch.randint(2**62, (1,), device=device)) * _GOLDEN
    for shift, factor in _MIX:
        z = (z ^ (z >> shift & 2 ** (64 - shift) - 1)) * factor
    return (z.view(torch.int16)[:count].int() < times - _TIMES // 2).reshape(tuple(shape))
