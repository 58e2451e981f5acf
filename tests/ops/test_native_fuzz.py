"""The engine native on anything its op may be given, against autograd through the float64 reference.

Sizes, layouts in memory, masks, threads, instruction sets, and which outputs have a gradient: all drawn.
The tests draw a few; ``make fuzz MINUTES=10`` draws until the time is over.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lstmkit.core import native_status
from lstmkit.ops import native, native_available
from lstmkit.ops.layer import split_weights
from lstmkit.reference import mark_steps, run_layer
from lstmkit.spec import CellSpec

pytestmark = pytest.mark.skipif(not native_available(), reason="the native core was not built")

SETS = [name for name in native_status().compiled if name in native_status().found]
# Of outputs and of gradients, relative to their scale.
TOLERANCES = {torch.float32: (1e-6, 1e-5), torch.float64: (1e-14, 1e-13)}
SIZES = st.one_of(st.integers(1, 9), st.sampled_from([15, 16, 17, 31, 33, 64, 65]), st.integers(1, 100))


def contiguous(value: Tensor) -> Tensor:
    return value


def axes_swapped(value: Tensor) -> Tensor:
    return value.transpose(0, 1).contiguous().transpose(0, 1)


def features_first(value: Tensor) -> Tensor:
    return value.movedim(-1, 0).contiguous().movedim(0, -1)


def sliced(value: Tensor) -> Tensor:
    """Beside numbers that nobody may read, at an offset."""
    around = value.new_full([n + 2 for n in value.shape], float("nan"))
    inside = around[tuple(slice(1, 1 + n) for n in value.shape)]
    return inside.copy_(value)


def every_other(value: Tensor) -> Tensor:
    wide = value.new_full((*value.shape[:-1], 2 * value.shape[-1]), float("nan"))
    return wide[..., ::2].copy_(value)


def first_axis_expanded(value: Tensor) -> Tensor:
    return value[:1].expand(value.shape)


def second_axis_expanded(value: Tensor) -> Tensor:
    return value[:, :1].expand(value.shape) if value.shape[1] else value


def all_alike(value: Tensor) -> Tensor:
    """What the backward pass of a sum gives: no strides at all."""
    return value.flatten()[:1].squeeze().expand(value.shape) if value.numel() else value


LAYOUTS: list[Callable[[Tensor], Tensor]] = [
    contiguous,
    axes_swapped,
    features_first,
    sliced,
    every_other,
    first_axis_expanded,
    second_axis_expanded,
    all_alike,
]


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of ``run_native`` and ``differentiate_native``, and the gradients of some of the outputs."""
    units, dtype = draw(SIZES), draw(st.sampled_from(list(TOLERANCES)))
    spec = CellSpec(
        input_size=draw(SIZES),
        hidden_size=units,
        bias=draw(st.booleans()),
        bidirectional=draw(st.booleans()),
        proj_size=draw(st.one_of(st.just(0), st.integers(0, units - 1))),
    )
    T, B, D, R = draw(st.integers(1, 12)), draw(st.integers(0, 50)), spec.num_directions, spec.state_size
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))

    def numbers(*shape: int, scale: float = 1.0) -> Tensor:
        values = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
        layout = draw(st.sampled_from(LAYOUTS if len(shape) > 2 else LAYOUTS[:1]))
        return layout(values.to(dtype))

    fan = (spec.input_size + R) ** -0.5
    lengths = torch.randint(0, T + 1, (B,), generator=generator) if draw(st.booleans()) else None
    x = numbers(T, B, spec.input_size)
    if lengths is not None and draw(st.booleans()):
        x = x.masked_fill((torch.arange(T)[:, None] >= lengths)[:, :, None], float("nan"))
    resets = torch.rand(T, B, generator=generator) < 0.3 if draw(st.booleans()) else None
    shapes = [(T, B, D * R), (D, B, R), (D, B, units), (T, B, D * units), (4, T, B, D * units)]
    return {
        "arguments": (
            x,
            numbers(D, B, R),
            numbers(D, B, units),
            [numbers(*s, scale=fan if len(s) > 1 else 1.0) for s in spec.parameter_shapes().values()],
            lengths,
            resets,
        ),
        "upstream": [numbers(*shape) if draw(st.booleans()) else None for shape in shapes],
        "wants": {"wants_x": draw(st.booleans()), "wants_weights": draw(st.booleans())},
        "threads": draw(st.integers(1, 4)),
        "instruction_set": draw(st.sampled_from(SETS)),
    }


def run_reference(case: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, and gradients of x, h, c and the weights."""
    x, h, c, weights, lengths, resets = case["arguments"]
    inputs = [value.double().detach().requires_grad_() for value in (x, h, c, *weights)]
    steps = mark_steps(torch, x, lengths, resets)
    outputs = run_layer(torch, split_weights(inputs[3:], h.shape[0]), *inputs[:3], steps, cells=True, gates=True)
    pairs = [(y, g.double()) for y, g in zip(outputs, case["upstream"], strict=True) if g is not None]
    if not pairs:
        return list(outputs), [torch.zeros_like(value) for value in inputs]
    ends, given = zip(*pairs, strict=True)
    return list(outputs), list(torch.autograd.grad(ends, inputs, given, allow_unused=True, materialize_grads=True))


def run_native(case: dict[str, Any]) -> tuple[list[Tensor], list[Tensor | None]]:
    before = torch.get_num_threads()
    torch.set_num_threads(case["threads"])
    native.instruction_set = case["instruction_set"]
    try:
        outputs = native.run_native(*case["arguments"], trace=True)
        saved = [outputs[0], outputs[3], outputs[4]]
        found = native.differentiate_native(case["upstream"], *case["arguments"], saved, **case["wants"])
        return list(outputs), found
    finally:
        torch.set_num_threads(before)
        native.instruction_set = ""


def near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    scale = max(1.0, float(expected.detach().abs().max())) if expected.numel() else 1.0
    torch.testing.assert_close(actual.double(), expected.detach(), rtol=0.0, atol=tolerance * scale)


def matches_float64(case: dict[str, Any]) -> None:
    values, gradients = TOLERANCES[case["arguments"][0].dtype]
    (outputs, found), (expected, expected_gradients) = run_native(case), run_reference(case)
    for actual, right in zip(outputs, expected, strict=True):
        near(actual, right, values)
    wants = case["wants"]
    for k, (actual, right) in enumerate(zip(found, expected_gradients, strict=True)):
        if (k == 0 and not wants["wants_x"]) or (k > 2 and not wants["wants_weights"]):
            assert actual is None
        else:
            assert actual is not None
            near(actual, right, gradients)


def fuzz(**options: Any) -> Callable[[], None]:
    """The test on cases drawn anew."""
    return settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], **options)(given(cases())(matches_float64))


def test_native__matches_float64__anything_drawn() -> None:
    fuzz(max_examples=60)()


def main(minutes: float) -> None:
    """Draw cases until the time is over; the first that fails is printed, made as small as it goes."""
    end, rounds = time.monotonic() + 60 * minutes, 0
    test = fuzz(max_examples=300, database=None)
    while time.monotonic() < end:
        test()
        rounds += 1
        print(f"{300 * rounds} cases, nothing found", flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]))
