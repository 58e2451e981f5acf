"""Layers called as Keras and ONNX call theirs: what needs neither of them."""

from typing import Any

import pytest
import torch
from helpers.hostile import close

from lstmkit import nn
from lstmkit.spec import LSTMKitError

LAYERS = {
    "lstm": lambda **options: nn.LSTM(3, 4, dtype=torch.float64, **options),
    "gru": lambda **options: nn.GRU(3, 4, dtype=torch.float64, **options),
    "rnn": lambda **options: nn.RNN(3, 4, dtype=torch.float64, **options),
    "conv": lambda **options: nn.ConvLSTM2D(3, 4, (3, 2), dtype=torch.float64, **options),
}
VECTORS = ["lstm", "gru", "rnn"]
MASK = torch.tensor([[True, False, True, True, False], [False, True, True, False, True], [False] * 5])


def draw(layer: Any) -> torch.Tensor:
    """``(B, T, *space, I)``, as Keras has it."""
    return torch.randn(3, 5, *[4] * len(layer.spec.kernel_size), 3, dtype=torch.float64)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_masked_steps__are_never_read(kind: str, bidirectional: bool) -> None:
    """NaN under the mask reaches neither output, state nor gradient."""
    layer = nn.KerasCall(
        LAYERS[kind](bidirectional=bidirectional), return_sequences=True, return_state=True, merge_mode="sum"
    )
    x = draw(layer.layer)
    mask = MASK[(..., *[None] * (x.dim() - 2))]
    gradients: list[list[torch.Tensor]] = []
    results: list[Any] = []
    for filler in (0.0, float("nan")):
        layer.zero_grad()
        results.append(layer(x.masked_fill(~mask, filler), mask=MASK))
        sum(part.square().sum() for part in results[-1]).backward()
        gradients.append([parameter.grad for parameter in layer.parameters()])
    for clean, dirty in ((results[0], results[1]), gradients):
        for expected, actual in zip(clean, dirty, strict=True):
            close(actual, expected)


@pytest.mark.parametrize("kind", VECTORS)
def test_padding_mask__equals_lengths(kind: str) -> None:
    inner = LAYERS[kind](bidirectional=True)
    x, lengths = torch.randn(2, 6, 3, dtype=torch.float64), torch.tensor([6, 2])
    mask = torch.arange(6) < lengths[:, None]
    output = nn.KerasCall(inner, return_sequences=True, zero_output_for_mask=True)(x, mask=mask)
    close(output, inner(x.transpose(0, 1), lengths=lengths)[0].transpose(0, 1))


@pytest.mark.parametrize("kind", LAYERS)
def test_stateful_calls__equal_one_call(kind: str) -> None:
    inner = LAYERS[kind]()
    x = draw(inner)
    whole = nn.KerasCall(inner)(x)
    parts = nn.KerasCall(inner, stateful=True)
    parts(x[:, :3])
    close(parts(x[:, 3:]), whole)
    parts.reset_states()
    parts(x[:, :3])
    close(parts(x[:, 3:]), whole)


@pytest.mark.parametrize("kind", VECTORS)
def test_reverse_direction__equals_second_of_two(kind: str) -> None:
    """One layer that reads backwards is the second direction of one that reads both ways, at every length."""
    both, one = LAYERS[kind](bidirectional=True), LAYERS[kind]()
    with torch.no_grad():
        for name, parameter in one.named_parameters():
            parameter.copy_(getattr(both, f"{name}_reverse"))
    x, lengths = torch.randn(5, 3, 3, dtype=torch.float64), torch.tensor([5, 1, 3], dtype=torch.int32)
    Y, Y_h, *_ = nn.OnnxCall(one, direction="reverse")(x, sequence_lens=lengths)
    expected, expected_h, *_ = nn.OnnxCall(both, direction="bidirectional")(x, sequence_lens=lengths)
    close(Y, expected[:, 1:])
    close(Y_h, expected_h[1:])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.KerasCall(nn.LSTM(3, 4, 2)), "a Keras layer is one layer without a projection"),
        (lambda: nn.KerasCall(nn.LSTM(3, 4, proj_size=2)), "a Keras layer is one layer without a projection"),
        (lambda: nn.KerasCall(nn.GRU(3, 4, bidirectional=True), go_backwards=True), "reads both ways"),
        (lambda: nn.KerasCall(nn.GRU(3, 4), merge_mode="max"), "merge_mode must be one of concat, sum"),
        (lambda: nn.OnnxCall(nn.RNN(3, 4, 2)), "an ONNX operator is one layer"),
        (lambda: nn.OnnxCall(nn.RNN(3, 4), direction="bidirectional"), "does not belong to a layer"),
        (lambda: nn.OnnxCall(nn.RNN(3, 4), direction="backward"), "direction='backward'"),
        (lambda: nn.OnnxCall(nn.RNN(3, 4), layout=2), "layout must be 0 or 1, not 2"),
        (
            lambda: nn.KerasCall(nn.LSTM(3, 4))(torch.ones(2, 5, 3), mask=torch.ones(2, 5)),
            r"mask must be bool of shape \(2, 5\), not torch.float32",
        ),
        (
            lambda: nn.KerasCall(nn.LSTM(3, 4))(torch.ones(2, 5, 3), mask=torch.ones(5, 2, dtype=torch.bool)),
            r"mask must be bool of shape \(2, 5\)",
        ),
        (
            lambda: nn.KerasCall(nn.LSTM(3, 4))(torch.ones(2, 5, 3), torch.ones(2, 4)),
            "initial_state must be 2 tensors, not 1",
        ),
        (lambda: nn.KerasCall(nn.LSTM(3, 4))(torch.ones(5, 3)), r"the input must have 3 axes, not the shape \(5, 3\)"),
        (
            lambda: nn.KerasCall(nn.ConvLSTM2D(3, 4, 3))(torch.ones(2, 5, 3)),
            r"the input must have 5 axes, not the shape \(2, 5, 3\)",
        ),
        (
            lambda: nn.KerasCall(nn.GRU(3, 4))(torch.ones(2, 5, 3), torch.ones(4)),
            r"a state must have 2 axes, not the shape \(4,\)",
        ),
        (lambda: nn.KerasCall(nn.GRU(3, 4), data_format="NCHW"), "data_format must be 'channels_last' or"),
    ],
)
def test_call__rejects_what_cannot_be(make: Any, said: str) -> None:
    with pytest.raises(LSTMKitError, match=said):
        make()


def test_build__rejects_missing_parameter() -> None:
    spec = nn.LSTM(3, 4).spec
    with pytest.raises(LSTMKitError, match="'weight_ih_l0' of shape .16, 3. is missing"):
        nn.build(spec, {})
