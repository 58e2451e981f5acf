"""The engine native on anything its op may be given, against autograd through the float64 reference.

Sizes, layouts in memory, masks, threads, instruction sets, and which outputs have a gradient: all drawn.
The tests draw a few, the same in every run; ``make fuzz MINUTES=10`` draws others until the time is over.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lstmkit.core import native_status
from lstmkit.ops import Layer, native, native_available, native_core, run_equations
from lstmkit.spec import CellSpec

pytestmark = pytest.mark.skipif(not native_available(), reason="the native core was not built")

SETS = [name for name in native_status().compiled if name in native_status().found]


class Tolerance(NamedTuple):
    """How far off numbers may be, relative to their scale: the largest of a tensor, or at least so much."""

    outputs: float  # output, states and cells, at least 1
    gates: float  # likewise
    gradients: float
    least_gradient: float  # upstream gradients are about 1, and of few units a sum of them may nearly vanish


# Some cases float32 cannot do within these limits: where all steps are alike their rounding is too, and a cell
# state adds it up; and some weights make a layer chaotic. With I = H = 100 and 12 equal steps torch's operations are
# off by up to 3.2e-6, ours by 2.2e-6. So more is allowed where a larger difference comes, in float64, of weights that
# are moved by 16 roundings each, up or down at random.
# In bfloat16, of 1,200 cases 90 % have every gradient within 5e-3 of its tensor's largest number, 99 % within 7e-3,
# and the worst was off by 1.1e-2; of another 3,000 one of a 1-unit layer, whose terms cancel, by 2.6e-2.
TOLERANCES = {
    torch.float32: Tolerance(1e-6, 2e-6, 1e-5, 0.1),
    torch.float64: Tolerance(5e-15, 5e-15, 2e-14, 0.1),
    torch.bfloat16: Tolerance(1e-2, 2e-2, 3e-2, 1.0),
}
ROUNDINGS = {torch.float32: 16 * 2.0**-24, torch.float64: 16 * 2.0**-53}
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


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    layout.__name__: layout
    for layout in (
        contiguous,
        axes_swapped,
        features_first,
        sliced,
        every_other,
        first_axis_expanded,
        second_axis_expanded,
        all_alike,
    )
}


class Drawn(NamedTuple):
    """A case in few words; numbers follow from the seed."""

    spec: CellSpec
    steps: int
    batch: int
    dtype: torch.dtype
    layouts: list[str]  # of x, h, c and the gradients of the five outputs
    present: list[bool]  # which of those gradients there are
    lengths: bool
    resets: bool
    nan_in_padding: bool
    has_state: bool  # before the first step; the core is given none where it is zero
    wants: native.Wants
    threads: int
    instruction_set: str
    seed: int


@st.composite
def cases(draw: st.DrawFn) -> Drawn:
    units = draw(SIZES)
    spec = CellSpec(
        input_size=draw(SIZES),
        hidden_size=units,
        bias=draw(st.booleans()),
        bidirectional=draw(st.booleans()),
        proj_size=draw(st.one_of(st.just(0), st.integers(0, units - 1))),
    )
    flags = [draw(st.booleans()) for _ in range(4)]
    return Drawn(
        spec,
        draw(st.integers(1, 12)),
        draw(st.integers(0, 50)),
        draw(st.sampled_from(list(TOLERANCES))),
        draw(st.lists(st.sampled_from(list(LAYOUTS)), min_size=8, max_size=8)),
        draw(st.lists(st.booleans(), min_size=5, max_size=5)),
        *flags,
        wants=native.Wants(*(draw(st.booleans()) for _ in range(3))),
        threads=draw(st.integers(1, 4)),
        instruction_set=draw(st.sampled_from(SETS)),
        seed=draw(st.integers(0, 2**32)),
    )


class Tensors(NamedTuple):
    """What a drawn case stands for: arguments of ``run_native``, and the gradients of its outputs."""

    arguments: tuple[Any, ...]
    upstream: list[Tensor | None]


def build(case: Drawn) -> Tensors:
    spec, T, B, dtype = case.spec, case.steps, case.batch, case.dtype
    D, R, H = spec.num_directions, spec.state_size, spec.hidden_size
    generator = torch.Generator().manual_seed(case.seed)

    def numbers(shape: tuple[int, ...], layout: str = "contiguous", scale: float = 1.0) -> Tensor:
        values = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
        return LAYOUTS[layout](values.to(dtype))

    lengths = torch.randint(0, T + 1, (B,), generator=generator) if case.lengths else None
    resets = torch.rand(T, B, generator=generator) < 0.3 if case.resets else None
    x, h, c = map(numbers, [(T, B, spec.input_size), (D, B, R), (D, B, H)], case.layouts[:3])
    if not case.has_state:
        h, c = torch.zeros_like(h), torch.zeros_like(c)
    if lengths is not None and case.nan_in_padding:
        x = x.masked_fill((torch.arange(T)[:, None] >= lengths)[:, :, None], float("nan"))
    weights = [numbers(shape, scale=_fan(spec, name) ** -0.5) for name, shape in spec.parameter_shapes().items()]
    shapes = [(T, B, D * R), (D, B, R), (D, B, H), (T, B, D * H), (4, T, B, D * H)]
    upstream = map(numbers, shapes, case.layouts[3:])
    return Tensors(
        (x, h, c, weights, lengths, resets),
        [grad if present else None for grad, present in zip(upstream, case.present, strict=True)],
    )


def _fan(spec: CellSpec, name: str) -> int:
    """How many terms the sums have that a parameter takes part in; a bias is as large as they are."""
    if name.startswith("bias"):
        return 1
    return spec.hidden_size if name.startswith("weight_hr") else spec.input_size + spec.state_size


def moved(case: Drawn, tensors: Tensors) -> Tensors:
    """The same with other weights, as float64, each moved by some roundings up or down; bfloat16 by none."""
    x, h, c, weights, lengths, resets = tensors.arguments
    generator = torch.Generator().manual_seed(case.seed)
    share = ROUNDINGS.get(case.dtype, 0.0)
    ways = [2.0 * torch.randint(2, value.shape, generator=generator) - 1 for value in weights]
    near_by = [value.double() * (1 + share * way) for value, way in zip(weights, ways, strict=True)]
    return tensors._replace(arguments=(x, h, c, near_by, lengths, resets))


def run_reference(tensors: Tensors) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, and gradients of x, h, c and the weights."""
    x, h, c, weights, lengths, resets = tensors.arguments
    inputs = [value.double().detach().requires_grad_() for value in (x, h, c, *weights)]
    output, state, *trace = run_equations(Layer(*inputs[:3], inputs[3:], lengths, resets), cells=True, gates=True)
    outputs = output, *state, *trace
    pairs = [(y, g.double()) for y, g in zip(outputs, tensors.upstream, strict=True) if g is not None]
    if not pairs:
        return list(outputs), [torch.zeros_like(value) for value in inputs]
    ends, given = zip(*pairs, strict=True)
    return list(outputs), list(torch.autograd.grad(ends, inputs, given, allow_unused=True, materialize_grads=True))


def run_native(case: Drawn, tensors: Tensors) -> tuple[list[Tensor], list[Tensor | None]]:
    before = torch.get_num_threads()
    torch.set_num_threads(case.threads)
    native_core.instruction_set = case.instruction_set
    x, h, c, *others = tensors.arguments
    given: tuple[Any, ...] = (x, h, c, *others) if case.has_state else (x, None, None, *others)
    try:
        outputs = native.run_native(*given, trace=True, gates_dtype=native.kept_gates_dtype(case.dtype))
        *shown, gates = outputs
        saved = [outputs[0], outputs[3], gates]
        grads = native.differentiate_native(tensors.upstream, *given, saved, wants=case.wants)
        return [*shown, native_core.shown_gates(gates)], grads
    finally:
        torch.set_num_threads(before)
        native_core.instruction_set = ""


class Right(NamedTuple):
    """A tensor as float64 has it, and as it has it where the weights are moved."""

    value: Tensor
    near_by: Tensor

    def matches(self, actual: Tensor, tolerance: float, least_scale: float) -> None:
        """Raise unless ``actual`` is as near as the tolerance, or the moved weights, let it be."""
        value = self.value.detach()
        scale = max(least_scale, float(value.abs().max())) if value.numel() else 1.0
        moved_by = float((self.near_by.detach() - value).abs().max()) if value.numel() else 0.0
        torch.testing.assert_close(actual.double(), value, rtol=0.0, atol=max(tolerance * scale, moved_by))


def matches_float64(case: Drawn) -> None:
    """The reference is given the same numbers, rounded to the case's type as they are, and rounds nothing more."""
    tensors, tolerance = build(case), TOLERANCES[case.dtype]
    outputs, found = run_native(case, tensors)
    references = run_reference(tensors), run_reference(moved(case, tensors))
    expected, expected_gradients = (list(map(Right, *both)) for both in zip(*references, strict=True))
    for actual, right, limit in zip(outputs, expected, [tolerance.outputs] * 4 + [tolerance.gates], strict=True):
        right.matches(actual, limit, 1.0)
    wanted = case.wants.each(len(found) - 3)
    for actual, right, want in zip(found, expected_gradients, wanted, strict=True):
        assert (actual is not None) == want
        if actual is not None:
            right.matches(actual, tolerance.gradients, tolerance.least_gradient)


def fuzz(**options: Any) -> Callable[[], None]:
    """The test on cases drawn anew."""
    return settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], **options)(
        given(cases())(matches_float64)
    )


def test_native__matches_float64__anything_drawn() -> None:
    """The same cases in every run; ``make fuzz`` draws others, of which one in some thousands meets a limit's edge."""
    fuzz(max_examples=100, derandomize=True)()


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
