"""ConvLSTM: against a loop over torch's convolutions, an LSTM at each place, and Keras's published numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.hostile import close
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pack_sequence

from lstmkit import nn
from lstmkit.reference import run_sequence
from lstmkit.spec import CellSpec, OptionError, ShapeError

GOLDEN = Path(__file__).parents[3] / "shared" / "golden" / "keras" / "keras_layers.json"
LAYERS: list[Any] = [nn.ConvLSTM1D, nn.ConvLSTM2D, nn.ConvLSTM3D]
CONVOLUTIONS: list[Any] = [functional.conv1d, functional.conv2d, functional.conv3d]
SPACE = (4, 5, 3)
KERNEL = (3, 2, 1)
T, B, I, H = 4, 3, 2, 3
LENGTHS = [4, 2, 3]
AXES = pytest.mark.parametrize("axes", [1, 2, 3])


def draw(axes: int, **options: Any) -> tuple[Any, Tensor, tuple[Tensor, Tensor]]:
    torch.manual_seed(2)
    sizes = {"num_layers": 2, "bidirectional": True} | options
    layer = LAYERS[axes - 1](I, H, KERNEL[:axes], **sizes, dtype=torch.float64)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    space = SPACE[:axes]
    rows = sizes["num_layers"] * layer.spec.num_directions
    left = layer.spec.output_space(space)
    state = [torch.randn(rows, B, H, *left, dtype=torch.float64) for _ in range(2)]
    return layer, torch.randn(T, B, I, *space, dtype=torch.float64), (state[0], state[1])


def convolve(x: Tensor, kernel: Tensor, same: bool) -> Tensor:
    pads = [edge for k in reversed(kernel.shape[2:]) for edge in ((k - 1) // 2, k // 2)] if same else [0, 0]
    return CONVOLUTIONS[kernel.dim() - 3](functional.pad(x, pads), kernel)


def one_way(layer: Any, suffix: str, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One direction of one row ``(T, 1, C, *space)``."""
    p = {name.removesuffix(suffix): value for name, value in layer.named_parameters() if name.endswith(suffix)}
    outputs = []
    for frame in x:
        z = convolve(frame, p["weight_ih"], layer.spec.padding == "same") + convolve(h, p["weight_hh"], True)
        if "bias_ih" in p:
            z = z + p["bias_ih"].reshape(-1, *[1] * (z.dim() - 2))
        i, f, g, o = z.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    return torch.stack(outputs), h, c


def loop(layer: Any, x: Tensor, state: tuple[Tensor, Tensor], lengths: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    rows = []
    for b, length in enumerate(lengths):
        y, last, r = x[:length, b : b + 1], [], 0
        for k in range(layer.num_layers):
            ways = []
            for suffix in layer.spec.layer_suffixes(k):
                h, c = (value[r, b : b + 1] for value in state)
                turned = y.flip(0) if suffix.endswith("reverse") else y
                output, h, c = one_way(layer, suffix, turned, h, c)
                ways.append(output.flip(0) if suffix.endswith("reverse") else output)
                last.append((h, c))
                r += 1
            y = torch.cat(ways, 2)
        padding = y.new_zeros(len(x) - length, *y.shape[1:])
        rows.append((torch.cat([y, padding]), *(torch.stack(parts) for parts in zip(*last, strict=True))))
    output, h, c = (torch.cat(parts, 1) for parts in zip(*rows, strict=True))
    return output, h, c


@AXES
@pytest.mark.parametrize("options", [{}, {"bias": False, "num_layers": 1, "padding": "valid"}], ids=str)
@pytest.mark.parametrize("way", ["eager", "compiled"])
def test_layer__matches_loop_over_convolutions__values_and_all_gradients(axes: int, options: Any, way: str) -> None:
    layer, x, state = draw(axes, **options)
    torch._dynamo.reset()
    call = layer if way == "eager" else torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    leaves = [value.requires_grad_() for value in (x, *state)]
    padding = (torch.arange(T)[:, None] >= torch.tensor(LENGTHS)).reshape(T, B, *[1] * (1 + axes))
    dirty = x.detach().masked_fill(padding, torch.nan).requires_grad_()
    output, (h, c) = call(dirty, (state[0], state[1]), lengths=torch.tensor(LENGTHS))
    every = []
    for given, found in ((dirty, (output, h, c)), (x, loop(layer, x, state, LENGTHS))):
        total = torch.stack([(y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum() for y in found]).sum()
        every.append([*found, *torch.autograd.grad(total, [given, *leaves[1:], *layer.parameters()])])
    for left, right in zip(*every, strict=True):
        close(left, right)


@pytest.mark.square("by hand", "conv_lstm", "conv_lstm valid", engine="reference")
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_layer__matches_hand_worked_step(padding: str) -> None:
    """Three places, x = (1, 2, 4) and kernel (1, 1) into the candidate alone, h = 1 where it is: i, f, o are 1/2.

    An even kernel reaches forwards: the input gives 3, 6 and, at the edge, 4, which "valid" leaves out. The recurrent
    kernel keeps its space: from h = 1 it gives 2 and 1 at the edge. With c = 2 before, c = 1 + tanh(sum) / 2.
    """
    layer = nn.ConvLSTM1D(1, 1, 2, padding=padding, dtype=torch.float64)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.weight_ih_l0[2], layer.weight_hh_l0[2] = 1.0, 1.0
    sums = [5.0, 8.0, 5.0] if padding == "same" else [5.0, 7.0]
    expected = 1 + torch.tensor(sums, dtype=torch.float64).tanh() / 2
    h, c = torch.ones(1, 1, len(sums), dtype=torch.float64), torch.full((1, 1, len(sums)), 2.0, dtype=torch.float64)
    output, (_, last) = layer(torch.tensor([[[1.0, 2.0, 4.0]]], dtype=torch.float64), (h, c))
    close(last[0, 0], expected)
    close(output[0, 0], expected.tanh() / 2)


@pytest.mark.square("by hand", "conv_lstm activations", "conv_lstm clip", engine="reference")
def test_layer__matches_hand_worked_step__activations_and_clip() -> None:
    """One place where all sums are 3 and c = 1 before, so c = 1 * 1 + 1 * 3/4 = h.

    Within +-1, hard_sigmoid(1) = 2/3 and softsign(1) = 1/2: c = 2/3 * 1 + 2/3 * 1/2 = 1, h = 2/3 * 1.
    """
    curves: Any = {"gate_activation": "hard_sigmoid", "candidate_activation": "softsign", "cell_activation": "identity"}
    x, state = torch.full((1, 1, 1, 1), 3.0), (torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1))
    for options, cell, output in ((curves | {"gate_clip": 1.0}, 1.0, 2 / 3), (curves, 1.75, 1.75)):
        layer = nn.ConvLSTM1D(1, 1, 1, bias=False, **options)
        torch.nn.init.ones_(layer.weight_ih_l0)
        torch.nn.init.zeros_(layer.weight_hh_l0)
        y, (h, c) = layer(x, state)
        assert [y.item(), h.item(), c.item()] == pytest.approx([output, output, cell], abs=1e-6)


@AXES
def test_layer__equals_lstm_at_each_place__kernel_of_one(axes: int) -> None:
    layer = LAYERS[axes - 1](I, H, 1, dtype=torch.float64)
    lstm = torch.nn.LSTM(I, H, dtype=torch.float64)
    own = {name: value.reshape(value.shape[:2]) for name, value in layer.state_dict().items()}
    lstm.load_state_dict({**own, "bias_hh_l0": torch.zeros(4 * H)})
    x = torch.randn(T, B, I, *SPACE[:axes], dtype=torch.float64)
    output, _ = layer(x)
    places = x.flatten(3).permute(0, 1, 3, 2).flatten(1, 2)
    close(output.flatten(3).permute(0, 1, 3, 2).flatten(1, 2), lstm(places)[0])


@AXES
def test_layer__preserves_meaning__forms_of_input_and_numpy(axes: int) -> None:
    layer, x, state = draw(axes)
    output, last = layer(x, state, lengths=LENGTHS)
    alone, alone_last = layer(x[:2, 1], tuple(value[:, 1] for value in state))
    close(output[:2, 1], alone)
    for left, right in zip(last, alone_last, strict=True):
        close(left[:, 1], right)
    layer.batch_first = True
    close(layer(x.transpose(0, 1), state, lengths=LENGTHS)[0].transpose(0, 1), output)
    parameters = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    arrays = tuple(value.numpy() for value in state)
    result = run_sequence(np, layer.spec, parameters, x.numpy(), arrays, lengths=np.array(LENGTHS))
    close(torch.from_numpy(result.output), output.detach())


def test_layer__preserves_values__split_resets_and_learnt_state() -> None:
    layer, x, state = draw(2, bidirectional=False)
    output, last = layer(x, state)
    head, between = layer(x[:1], state)
    tail, end = layer(x[1:], between)
    close(torch.cat([head, tail]), output)
    for left, right in zip(end, last, strict=True):
        close(left, right)
    resets = torch.zeros(T, B, dtype=torch.bool)
    resets[2, 1] = True
    close(layer(x, state, resets=resets)[0][2:, 1], layer(x[2:, 1])[0])
    learnt = nn.ConvLSTM2D(I, H, 3, learn_initial_state=True)
    assert learnt.h_0.shape == (1, H)
    torch.nn.init.normal_(learnt.h_0)
    given = learnt.h_0[:, None, :, None, None].expand(1, B, H, 4, 5), torch.zeros(1, B, H, 4, 5)
    close(learnt(x.float())[0], learnt(x.float(), given)[0])


def test_layer__matches_finite_differences__twice() -> None:
    layer, x, state = draw(1, num_layers=1)
    inputs = tuple(value.requires_grad_() for value in (x, *state))
    assert torch.autograd.gradcheck(lambda x, h, c: layer(x, (h, c))[0], inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x, h, c: layer(x, (h, c))[0], inputs, fast_mode=True)


def test_repr__names_what_differs() -> None:
    assert repr(nn.ConvLSTM2D(I, H, (3, 5))) == "ConvLSTM2D(2, 3, kernel_size=(3, 5))"


def test_spec__roundtrips_dict() -> None:
    spec = nn.ConvLSTM2D(I, H, (3, 5)).spec
    assert CellSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.skipif(not GOLDEN.exists(), reason="the published vectors are not on this machine")
@AXES
def test_layer__matches_keras(axes: int) -> None:
    cases = [case for case in json.loads(GOLDEN.read_text()) if case["layer"]["class"] == f"ConvLSTM{axes}D"]
    assert cases
    for case in cases:
        shape, scale = case["x_shape"], float(case["x_rule"].partition("scale=")[2])
        x = torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape) * scale
        options, filters = case["layer"], case["layer"]["filters"]
        layer = LAYERS[axes - 1](
            shape[-1], filters, options["kernel_size"], batch_first=True, padding="valid", dtype=torch.float64
        )
        kinds = {"weight_ih_l0": "kernel", "weight_hh_l0": "recurrent", "bias_ih_l0": "bias"}
        with torch.no_grad():
            for name, kind in kinds.items():
                getattr(layer, name).fill_(options[f"{kind}_initializer"]["args"][0])
            layer.bias_ih_l0[filters : 2 * filters] = 1.0
        _, (h, _) = layer(x.movedim(-1, 2))
        expected = torch.tensor(case["expected"], dtype=torch.float64)
        torch.testing.assert_close(h[0].movedim(1, -1).detach(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.ConvLSTM2D(I, H, (3, 3, 3)), TypeError, "ConvLSTM2D has 2 axes of space"),
        (lambda: nn.ConvLSTM1D(I, H, 0), OptionError, "kernel_size must be one to three whole numbers of at least 1"),
        (lambda: nn.ConvLSTM1D(I, H, 3, 2, padding="valid"), OptionError, "smaller from layer to layer"),
        (lambda: nn.ConvLSTM1D(I, H, 3, padding="full"), OptionError, "padding must be 'same' or 'valid'"),
        (lambda: nn.ConvLSTM1D(I, H, 9, padding="valid")(torch.zeros(T, B, I, 4)), ShapeError, "leaves nothing"),
        (lambda: nn.ConvLSTM1D(I, H, 3)(pack_sequence([torch.zeros(4, I)])), OptionError, "no PackedSequence"),
        (lambda: nn.ConvLSTM2D(I, H, 3)(torch.zeros(T, B, I)), ShapeError, r"4 dimensions \(unbatched\) or 5, not 3"),
        (lambda: nn.ConvLSTM1D(I, H, 3)(torch.zeros(T, B, 9, 4)), ShapeError, r"\(T, B, 2, X\), not \(4, 3, 9, 4\)"),
        (
            lambda: nn.ConvLSTM1D(I, H, 3)(torch.zeros(T, B, I, 4), (torch.zeros(1, B, H, 5),) * 2),
            ShapeError,
            r"h must have shape \(1, 3, 3, 4\), not \(1, 3, 3, 5\)",
        ),
    ],
)
def test_layer__rejects_wrong_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
