"""A layer whose state goes on from call to call: stateful layers, and truncated backpropagation through time."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lstmkit.spec import ShapeError


class Carry:
    """Call a recurrent layer chunk after chunk; each call starts where the one before ended.

    The state that is carried is cut off from the graph, so the gradient of a chunk ends where the chunk begins:
    truncated backpropagation through time (Williams & Peng 1990) is a ``Carry`` over ``x.split(steps)``. The numbers
    are those of one call over everything. Nothing is kept in the layer, so one layer can serve several.

    Args:
        layer: A recurrent layer of this package, or one of torch's.

    Example:
        >>> layer = nn.LSTM(3, 5)
        >>> x, carry = torch.randn(100, 2, 3), Carry(layer)
        >>> chunks = [carry(chunk)[0] for chunk in x.split(25)]
        >>> torch.allclose(torch.cat(chunks), layer(x)[0], atol=1e-6)
        True
    """

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.state: Any = None

    def __call__(self, input: Tensor | PackedSequence, **options: Any) -> Any:
        """What the layer returns for this chunk.

        Args:
            input: The next steps of the same rows.
            options: Whatever else the layer takes, such as ``lengths``.

        Raises:
            ShapeError: the input has another number of rows than the state that is carried.
        """
        self._check_rows(input)
        result = self.layer(input, self.state, **options)
        self.state = _detach(result[1])
        return result

    def reset(self, rows: Tensor | None = None) -> None:
        """Start anew: all rows, or those where ``rows (B,)`` is True, whose state becomes zero.

        Raises:
            ShapeError: ``rows`` is not a bool for each row.
        """
        if rows is None or self.state is None:
            self.state = None
            return
        batch = self._first().shape[-2]
        if rows.dtype != torch.bool or rows.shape != (batch,):
            raise ShapeError(f"rows must be torch.bool of shape {(batch,)}, not {rows.dtype} {tuple(rows.shape)}")
        self.state = _map(self.state, lambda value: value.masked_fill(rows[:, None], 0.0))

    def _first(self) -> Tensor:
        return self.state if isinstance(self.state, Tensor) else self.state[0]

    def _check_rows(self, input: Tensor | PackedSequence) -> None:
        if self.state is None or (isinstance(input, Tensor) and input.dim() == 2):
            return
        batch_axis = 0 if getattr(self.layer, "batch_first", False) else 1
        batch = int(input.batch_sizes[0]) if isinstance(input, PackedSequence) else input.shape[batch_axis]
        if (carried := self._first().shape[1]) != batch:
            raise ShapeError(f"the state of {carried} rows is carried, but {batch} came; call reset() between batches")


def _detach(state: Any) -> Any:
    return _map(state, Tensor.detach)


def _map(state: Any, change: Any) -> Any:
    return change(state) if isinstance(state, Tensor) else tuple(change(value) for value in state)
