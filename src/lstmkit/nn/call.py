"""One way to call every layer, for those that call them as other systems do."""

from typing import Any

from torch import Tensor

States = tuple[Tensor, ...]


def zero_states(layer: Any, x: Tensor, batch: int) -> States:
    """The states before the first step, one tensor ``(L*D, B, ...)`` per name of the cell's states.

    Of ``x`` the axes behind batch, time and features are space.
    """
    rows = layer.num_layers * layer.spec.num_directions
    return tuple([x.new_zeros(rows, batch, *shape) for shape in layer.spec.state_shapes(tuple(x.shape[3:])).values()])


def call_layer(layer: Any, x: Tensor, states: States, *, batch_first: bool, **lengths: Any) -> tuple[Tensor, States]:
    """Output and last states for ``x`` of this order of axes, whatever the layer's own is."""
    turn = layer.batch_first != batch_first
    output, last = layer(x.transpose(0, 1) if turn else x, states if len(states) > 1 else next(iter(states)), **lengths)
    return output.transpose(0, 1) if turn else output, last if isinstance(last, tuple) else (last,)
