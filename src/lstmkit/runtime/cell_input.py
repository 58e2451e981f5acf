"""What a cell of a recurrent stage is given: at each step, and before the first one."""

from collections.abc import Mapping
from typing import Any

from lstmkit.spec import CellSpec, DataError

Array = Any


def split_extra(spec: CellSpec, x: Array) -> tuple[Array, Array | None]:
    """Cut ``x (..., I + E)`` into a cell's input and what it reads beside it, which stands in the last columns.

    Args:
        spec: The cell.
        x: Steps, in NumPy or torch.

    Returns:
        ``(..., I)``, and ``(..., E)`` or, as most cells read nothing else, None.

    Raises:
        DataError: an interval is negative, so that steps are not in the order of their times.

    Example:
        >>> import numpy as np
        >>> features, times = split_extra(CellSpec(2, 5, cell="phased"), np.ones((7, 1, 3)))
        >>> features.shape, times.shape
        ((7, 1, 2), (7, 1, 1))
    """
    if not spec.extra_size:
        return x, None
    features, extra = x[..., : spec.input_size], x[..., spec.input_size :]
    if spec.entry.extra == "intervals" and bool((extra < 0).any()):
        raise DataError(f"expected intervals of at least 0, got {float(extra.min())}; sort the steps by their times")
    return features, extra


def learned_state(
    xp: Any, spec: CellSpec, weights: Mapping[str, Array], batch: int, space: tuple[int, ...] = ()
) -> tuple[Array, ...] | None:
    """The first states ``(L*D, B, ...)`` that were learned, the same at every place; None where they are zero."""
    shapes = spec.state_shapes(space)
    if not all(f"{name}_0" in weights for name in shapes):
        return None
    states = [xp.stack([weights[f"{name}_0"]] * batch, axis=1) for name in shapes]
    if not space:
        return tuple(states)
    places = (..., *[None] * len(space))
    full = [(spec.state_rows, batch, *shape) for shape in shapes.values()]
    return tuple(xp.broadcast_to(state[places], shape) for state, shape in zip(states, full, strict=True))
