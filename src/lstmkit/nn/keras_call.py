"""A layer called as Keras calls its own: the options that Keras keeps in a layer, and masks with holes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lstmkit.nn.call import States, call_layer, zero_states
from lstmkit.nn.layer import RecurrentLayer
from lstmkit.spec import OptionError, ShapeError

MERGE_MODES = ("concat", "sum", "ave", "mul", None)
DATA_FORMATS = ("channels_last", "channels_first")


class KerasCall(nn.Module):
    """One of lstmkit's layers with the face of ``keras.layers.LSTM``, ``ConvLSTM2D`` and ``Bidirectional``.

    Args:
        layer: An LSTM, GRU, RNN or ConvLSTM of one layer; bidirectional stands for Keras's ``Bidirectional``.
        return_sequences: Whether the output of every step is given, or that of the last one.
        return_state: Whether the last states follow the output, those of the forward direction first.
        go_backwards: Whether the sequence is read from its end; outputs come in the order of reading.
        stateful: Whether a call starts from the states that the last one left; see :meth:`reset_states`.
        zero_output_for_mask: Whether masked steps give zero, or the output of the step read before them once more,
            which is zero where there is none.
        merge_mode: How the outputs of two directions are joined: ``"concat"``, which is along the last axis,
            ``"sum"``, ``"ave"``, ``"mul"``, or None for a pair of them.
        data_format: Where a ConvLSTM's features stand beside its axes of space: ``"channels_last"`` or
            ``"channels_first"``.

    Shape:
        - input: ``(B, T, I)``; mask: ``(B, T)`` bool, True where a step is real
        - output: ``(B, T, D*H)`` or ``(B, D*H)``; each state ``(B, H)``
        - of a ConvLSTM: input ``(B, T, *space, I)``, output ``(B, T, *space, D*H)``, each state ``(B, *space, H)``

    Raises:
        OptionError: the layer has several layers or a projection, or two options exclude each other.

    Source: keras.layers.RNN, keras.layers.ConvLSTM2D and keras.layers.Bidirectional of Keras 3.

    Example:
        >>> import lstmkit
        >>> layer = KerasCall(lstmkit.nn.LSTM(3, 5), return_state=True)
        >>> output, h, c = layer(torch.randn(2, 4, 3), mask=torch.tensor([[True, True, False, True]] * 2))
        >>> output.shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        layer: RecurrentLayer,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        merge_mode: str | None = "concat",
        data_format: str = "channels_last",
    ) -> None:
        super().__init__()
        if layer.num_layers > 1 or layer.spec.proj_size:
            raise OptionError("a Keras layer is one layer without a projection; stack several KerasCalls instead")
        if go_backwards and layer.bidirectional:
            raise OptionError("a bidirectional layer reads both ways; go_backwards belongs to one that reads one way")
        if merge_mode not in MERGE_MODES:
            raise OptionError(f"merge_mode must be one of {', '.join(map(str, MERGE_MODES))}, not {merge_mode!r}")
        if data_format not in DATA_FORMATS:
            raise OptionError(f"data_format must be {' or '.join(map(repr, DATA_FORMATS))}, not {data_format!r}")
        self.layer = layer
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.zero_output_for_mask = zero_output_for_mask
        self.merge_mode = merge_mode
        self.data_format = data_format
        self.states: States | None = None

    def reset_states(self) -> None:
        """Let the next call of a stateful layer start from zero."""
        self.states = None

    def forward(self, x: Tensor, initial_state: Sequence[Tensor] | None = None, mask: Tensor | None = None) -> Any:
        """Run the layer.

        Args:
            x: The sequences.
            initial_state: States ``(B, H)`` before the first step, those of the forward direction first. None is zero.
            mask: Steps that are left out, wherever they stand, hold the state.

        Raises:
            ShapeError: the mask or a state does not fit.
        """
        if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != torch.bool):
            raise ShapeError(f"mask must be bool of shape {tuple(x.shape[:2])}, not {mask.dtype} {tuple(mask.shape)}")
        x = self._features_first(x, 2)
        if self.go_backwards:
            x, mask = x.flip(1), None if mask is None else mask.flip(1)
        state = self._first_state(x, initial_state)
        outputs, state = self._run(x, state) if mask is None else self._run_masked(x, state, mask)
        if self.stateful:
            self.states = tuple(value.detach() for value in state)
        result = self._merge(outputs)
        if not self.return_state:
            return result
        # h and c have a row per direction; Keras lists the states of one direction after those of the other.
        states = [self._as_keras(value[d], 1) for d in range(len(outputs)) for value in state]
        return (*result, *states) if isinstance(result, tuple) else (result, *states)

    def _first_state(self, x: Tensor, given: Sequence[Tensor] | None) -> States:
        spec = self.layer.spec
        names = len(spec.state_shapes())
        if given is not None:
            given = [given] if isinstance(given, Tensor) else given
            if len(given) != names * spec.num_directions:
                raise ShapeError(f"initial_state must be {names * spec.num_directions} tensors, not {len(given)}")
            given = [self._features_first(value, 1) for value in given]
            return tuple(torch.stack(given[k::names]) for k in range(names))
        if self.states is not None:
            return self.states
        return zero_states(self.layer, x, x.shape[0])

    def _run(self, x: Tensor, state: States, **lengths: Any) -> tuple[list[Tensor], States]:
        """Outputs of each direction ``(B, T, H, ...)`` in the order of time, and the last states."""
        output, last = call_layer(self.layer, x, state, batch_first=True, **lengths)
        return [*output.chunk(self.layer.spec.num_directions, 2)], last

    def _run_masked(self, x: Tensor, state: States, mask: Tensor) -> tuple[list[Tensor], States]:
        """Real steps move together, run as short rows, and go back to their places."""
        real = mask.long()
        lengths = real.sum(1)
        order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)
        # What is masked may be NaN, and a row without a real step runs on it.
        together = torch.where(_like(mask, x), x, 0.0).take_along_dim(_like(order, x), 1)
        outputs, last = self._run(together, state, lengths=lengths.clamp(min=1))
        empty = (lengths == 0)[None]
        last = tuple(torch.where(_like(empty, first), first, after) for first, after in zip(state, last, strict=True))
        done = real.cumsum(1)
        # Step k of the short row, counted from 1; what is nearest before a masked step, in the order of reading.
        places = [done, lengths[:, None] - done + real][: len(outputs)]
        placed = [
            _place(output, read, lengths, backwards=d == 1)
            for d, (output, read) in enumerate(zip(outputs, places, strict=True))
        ]
        if self.zero_output_for_mask:
            placed = [torch.where(_like(mask, output), output, 0.0) for output in placed]
        return placed, last

    def _merge(self, outputs: list[Tensor]) -> Any:
        if not self.return_sequences:
            outputs = [output[:, -1] if d == 0 else output[:, 0] for d, output in enumerate(outputs)]
        outputs = [self._as_keras(output, 2 if self.return_sequences else 1) for output in outputs]
        if len(outputs) == 1:
            return outputs[0]
        forward, backward = outputs
        if self.merge_mode is None:
            return forward, backward
        if self.merge_mode == "concat":
            return torch.cat([forward, backward], -1)
        if self.merge_mode == "mul":
            return forward * backward
        return (forward + backward) * (0.5 if self.merge_mode == "ave" else 1.0)

    def _features_first(self, value: Tensor, axis: int) -> Tensor:
        """A tensor of Keras's with its features at ``axis``, where ours have them; behind them is space."""
        axes = axis + 1 + len(self.layer.spec.kernel_size)
        if value.dim() != axes:
            kind = "the input" if axis == 2 else "a state"
            raise ShapeError(f"{kind} must have {axes} axes, not the shape {tuple(value.shape)}")
        return value.movedim(-1, axis) if self.data_format == "channels_last" else value

    def _as_keras(self, value: Tensor, axis: int) -> Tensor:
        """The inverse."""
        return value.movedim(axis, -1) if self.data_format == "channels_last" else value

    def extra_repr(self) -> str:
        """The options that differ from Keras's defaults."""
        defaults = {
            **dict.fromkeys(("return_sequences", "return_state", "go_backwards", "stateful"), False),
            "zero_output_for_mask": False,
            "merge_mode": "concat",
            "data_format": "channels_last",
        }
        changed = {name: value for name in defaults if (value := getattr(self, name)) != defaults[name]}
        return ", ".join(f"{name}={value!r}" for name, value in changed.items())


def _place(output: Tensor, read: Tensor, lengths: Tensor, *, backwards: bool) -> Tensor:
    """At each step the output after ``read (B, T)`` real steps of the short rows; before the first one it is zero."""
    index = lengths[:, None] - read if backwards else read - 1
    found = output.take_along_dim(_like(index.clamp(0, output.shape[1] - 1), output), 1)
    return torch.where(_like(read > 0, output), found, 0.0)


def _like(value: Tensor, other: Tensor) -> Tensor:
    """``value`` of two axes, with as many as ``other`` has."""
    return value[(..., *[None] * (other.dim() - 2))]
