"""A layer called as ONNX calls its operators."""

import torch
from torch import Tensor, nn

from lstmkit.nn.call import call_layer, zero_states
from lstmkit.nn.layer import RecurrentLayer
from lstmkit.spec import OptionError

DIRECTIONS = ("forward", "reverse", "bidirectional")


class OnnxCall(nn.Module):
    """One of lstmkit's layers with the inputs and outputs of ONNX's LSTM, GRU or RNN.

    Args:
        layer: An LSTM, GRU or RNN of one layer.
        direction: ``"forward"``, ``"reverse"`` or ``"bidirectional"``; the last of a bidirectional layer.
        layout: 0 for time first, 1 for the batch first.

    Shape:
        - X: ``(T, B, I)``; sequence_lens: ``(B,)``; initial_h, initial_c: ``(D, B, H)``
        - Y: ``(T, D, B, H)``, zero beyond a length; Y_h, Y_c: ``(D, B, H)``
        - with ``layout=1``: X ``(B, T, I)``, Y ``(B, T, D, H)``, states ``(B, D, H)``

    Raises:
        OptionError: the layer has several layers, a projection, or other directions.

    Source: ONNX operators LSTM, GRU and RNN, opset 7 to 22.

    Example:
        >>> import lstmkit
        >>> Y, Y_h, Y_c = OnnxCall(lstmkit.nn.LSTM(3, 5), direction="reverse")(torch.randn(4, 2, 3))
        >>> Y.shape
        torch.Size([4, 1, 2, 5])
    """

    def __init__(self, layer: RecurrentLayer, *, direction: str = "forward", layout: int = 0) -> None:
        super().__init__()
        if layer.num_layers > 1 or layer.spec.proj_size:
            raise OptionError("an ONNX operator is one layer without a projection")
        if direction not in DIRECTIONS or (direction == "bidirectional") != layer.bidirectional:
            raise OptionError(f"direction={direction!r} does not belong to a layer with {layer.bidirectional=}")
        if layout not in (0, 1):
            raise OptionError(f"layout must be 0 or 1, not {layout!r}")
        self.layer = layer
        self.direction = direction
        self.layout = layout

    def forward(
        self,
        X: Tensor,
        sequence_lens: Tensor | None = None,
        initial_h: Tensor | None = None,
        initial_c: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Run the layer; ``Y, Y_h`` and, of an LSTM, ``Y_c``."""
        first = [
            value if self.layout == 0 or value is None else value.transpose(0, 1) for value in (initial_h, initial_c)
        ]
        x = X.transpose(0, 1) if self.layout else X
        steps, batch = x.shape[:2]
        lengths = torch.full((batch,), steps) if sequence_lens is None else sequence_lens.long()
        given = {} if sequence_lens is None else {"lengths": lengths}
        back = self.direction == "reverse"
        x = _turn(x, lengths) if back else x
        zeros = zero_states(self.layer, x, batch)
        state = tuple([zero if value is None else value for value, zero in zip(first, zeros, strict=False)])
        output, states = call_layer(self.layer, x, state, batch_first=False, **given)
        output = _turn(output, lengths) if back else output
        Y = output.unflatten(-1, (self.layer.spec.num_directions, -1)).transpose(1, 2)
        if self.layout == 0:
            return (Y, *states)
        return (Y.permute(2, 0, 1, 3), *(state.transpose(0, 1) for state in states))


def _turn(x: Tensor, lengths: Tensor) -> Tensor:
    """``x (T, B, F)`` with the real steps of each row in the opposite order."""
    steps = torch.arange(x.shape[0])[:, None].to(x.device)
    lengths = lengths.to(x.device)
    index = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return x.take_along_dim(index[:, :, None], 0)
