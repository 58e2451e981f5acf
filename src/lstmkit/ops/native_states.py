"""The states of a cell as the native core carries them: h, and beside it one state of several rows."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lstmkit.ops.native_weights import spread
from lstmkit.spec import CellSpec

# Those that are states with full gate recurrence, with zeros for what has no weights.
_GATES = ("i", "f", "o")


def pack_states(spec: CellSpec, states: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """``h``, and ``c (D, B, H)``; ``h`` itself where there is nothing beside it; or several as ``(D, B, S, H)``."""
    h, *others = states
    if spec.variant.full_gate_recurrence:
        others = [others[0], *spread(others[1], spec.variant.free_gates, _GATES, -1).chunk(3, -1)]
    return h, torch.stack(others, 2) if len(others) > 1 else others[0] if others else h


def unpack_states(spec: CellSpec, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
    """The inverse."""
    if len(spec.entry.states) == 1:
        return (h,)
    others = c.unbind(2) if c.dim() == 4 else (c,)
    if not spec.variant.full_gate_recurrence:
        return h, *others
    free = [gate for letter, gate in zip(_GATES, others[1:], strict=True) if letter in spec.variant.free_gates]
    return h, others[0], torch.cat(free, -1)
