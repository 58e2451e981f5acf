"""Gates kept for the backward pass in bfloat16: less memory, nearly the same gradients, the same outputs."""

from typing import Any

import pytest
import torch
from helpers.hostile import hostile
from torch import Tensor

from lstmkit import nn
from lstmkit.ops import native_available
from lstmkit.ops.native_core import fold_gates, shown_gates
from lstmkit.spec import CellSpec, OptionError

NEEDS_CORE = pytest.mark.skipif(not native_available(), reason="the native core was not built")
T, B, I, H = 12, 9, 5, 37


def run(
    case: Any, saved_dtype: torch.dtype | None, compiled: bool = False, **extras: Any
) -> tuple[list[Tensor], list[Tensor], int]:
    """Outputs, gradients, and the bytes that autograd kept beside parameters and inputs."""
    spec = case.spec
    layer = nn.LSTM(spec.input_size, spec.hidden_size, bidirectional=spec.bidirectional, saved_dtype=saved_dtype)
    fan = (spec.input_size + spec.hidden_size) ** 0.5
    layer.load_state_dict({k: v / fan if "weight" in k else v for k, v in case.parameters.items()})
    x, h, c = (value.detach().requires_grad_() for value in (case.x, *case.hx))
    given = {value.data_ptr() for value in (x, h, c, *layer.parameters())}
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        if value.data_ptr() not in given:
            kept[value.data_ptr()] = value.numel() * value.element_size()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        y, state = (torch.compile(layer, fullgraph=True, backend="aot_eager") if compiled else layer)(
            x, (h, c), **extras
        )
    total = (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum() + sum(value.sum() for value in state)
    return [y, *state], list(torch.autograd.grad(total, [x, h, c, *layer.parameters()])), sum(kept.values())  # pyright: ignore


COMPILED = pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])


@NEEDS_CORE
@COMPILED
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gates_in_bfloat16__matches_float32(bidirectional: bool, compiled: bool) -> None:
    case = hostile(CellSpec(I, H, bidirectional=bidirectional), steps=T, batch=B, dtype=torch.float32)
    masks = {"lengths": case.lengths, "resets": case.resets}
    outputs, gradients, _ = run(case, torch.bfloat16, compiled, **masks)
    expected, expected_gradients, _ = run(case, None, **masks)
    for left, right in zip(outputs, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=0.0, atol=0.0)
    for left, right in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=0.0, atol=6e-3 * float(right.abs().max()))
    assert any(not torch.equal(left, right) for left, right in zip(gradients, expected_gradients, strict=True))


@NEEDS_CORE
@COMPILED
@pytest.mark.parametrize(("saved_dtype", "floats"), [(None, 6), (torch.bfloat16, 4)])
def test_saved_state__equals_floats_per_unit(saved_dtype: torch.dtype | None, floats: int, compiled: bool) -> None:
    """The output, the cells, and four gates whole or halved, for each step, row and unit."""
    case = hostile(CellSpec(I, H), steps=T, batch=B, dtype=torch.float32)
    _, _, kept = run(case, saved_dtype, compiled)
    assert kept == 4 * floats * T * B * H


# What the op of a compiled layer gives back is what it keeps, so gates asked of it are rounded: that way is not here.
WAYS: dict[str, tuple[torch.dtype, dict[str, Any], dict[str, Any], bool]] = {
    "bfloat16": (torch.bfloat16, {}, {}, False),
    "bfloat16 compiled": (torch.bfloat16, {}, {}, True),
    "bfloat16 with gates": (torch.bfloat16, {}, {"return_gates": True}, False),
    "checkpoints": (torch.bfloat16, {"checkpoint_steps": 7}, {}, False),
    "saved_dtype": (torch.float32, {"saved_dtype": torch.bfloat16}, {}, False),
    "saved_dtype compiled": (torch.float32, {"saved_dtype": torch.bfloat16}, {}, True),
}


@NEEDS_CORE
@pytest.mark.parametrize("way", WAYS)
def test_nearly_open_gate__matches_float64(way: str) -> None:
    """A forget gate of 0.999 remembers a thousand steps; in bfloat16 it is 1, and its gradient would be 0."""
    dtype, how, asked, compiled = WAYS[way]
    layer, right = nn.LSTM(I, H, engine="native", **how), nn.LSTM(I, H, engine="reference").double()
    with torch.no_grad():
        layer.bias_ih_l0[:H], layer.bias_ih_l0[H : 2 * H] = -7, 7
        layer.weight_ih_l0[2 * H : 3 * H] *= 20  # candidates near either 1
    layer = layer.to(dtype)
    right.load_state_dict({name: value.double() for name, value in layer.state_dict().items()})
    x, weights = torch.randn(T, B, I).to(dtype), torch.randn(T, B, H).to(dtype)

    def gradients(of: Any, run: Any) -> list[Tensor]:
        output = run(x.to(of.weight_ih_l0.dtype), **asked)[0]
        return list(torch.autograd.grad(output, list(of.parameters()), weights.to(output.dtype)))

    run = torch.compile(layer, fullgraph=True, backend="aot_eager") if compiled else layer
    for found, expected in zip(gradients(layer, run), gradients(right, right), strict=True):
        for gate, wanted in zip(found.double().chunk(4), expected.chunk(4), strict=True):
            torch.testing.assert_close(gate, wanted, rtol=0.0, atol=2e-2 * float(wanted.abs().max()))


@NEEDS_CORE
def test_folded_gates__roundtrips_every_bfloat16() -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(torch.bfloat16)
    gates = every[~(every.abs() > 1)]  # NaN stays among them
    assert len(gates) > 2**14
    assert gates.isnan().any()
    back = shown_gates(fold_gates(gates))
    assert torch.equal(back.nan_to_num(2), gates.nan_to_num(2))
    assert torch.equal(back.signbit(), gates.signbit())


@NEEDS_CORE
def test_returned_gates__preserves_float32() -> None:
    layer = nn.LSTM(I, H, saved_dtype=torch.bfloat16)
    plain = nn.LSTM(I, H)
    plain.load_state_dict(layer.state_dict())
    x = torch.randn(T, B, I)
    found, expected = (each(x, return_gates=True)[2].gates[0] for each in (layer, plain))
    for letter in "ifgo":
        torch.testing.assert_close(found[letter], expected[letter], rtol=0.0, atol=0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"saved_dtype": torch.float16}, "None or torch.bfloat16"),
        ({"saved_dtype": torch.bfloat16, "checkpoint_steps": 4}, "nothing to save"),
    ],
)
def test_saved_dtype__rejects_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        nn.LSTM(I, H, **options)
