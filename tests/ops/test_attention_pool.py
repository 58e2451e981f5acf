"""Attention over steps on the native core beside the stage's own text in float64."""

from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from lstmkit.core import native_status
from lstmkit.ops import can_attend, native_available, native_core, run_attention_pool
from lstmkit.runtime.text_stages import attention_pool
from lstmkit.spec import ShapeError

pytestmark = pytest.mark.skipif(not native_available(), reason="the native core was not built")

SETS = [name for name in native_status().compiled if name in native_status().found]
# B, T, F, U: one of each, odd ones, whole vectors and blocks, many steps, many rows.
SIZES = [(1, 1, 1, 1), (3, 5, 7, 9), (4, 6, 128, 64), (2, 130, 33, 17), (70, 4, 5, 70), (5, 9, 66, 150)]
TOLERANCES = {torch.float64: (1e-12, 1e-12), torch.float32: (1e-5, 1e-5), torch.bfloat16: (1e-5, 2e-2)}


@pytest.fixture(params=SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    native_core.instruction_set = request.param
    yield request.param
    native_core.instruction_set = ""


def equations(x: Tensor, lengths: Tensor, weight: Tensor, bias: Tensor, v: Tensor) -> Sequence[Tensor]:
    return attention_pool(torch, {"weight": weight, "bias": bias, "v": v}, (x, lengths), {})


def draw(sizes: Sequence[int], dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], Tensor]:
    """Numbers that ``dtype`` holds, x with time first in memory, and lengths of which one is 1 and one is all."""
    torch.manual_seed(sum(sizes))
    B, T, F, U = sizes
    real = torch.float32 if dtype == torch.bfloat16 else dtype
    x = torch.randn(T, B, F).to(dtype).transpose(0, 1)
    weights = [(torch.randn(shape) * 0.3).to(dtype).to(real) for shape in ((U, F), (U,), (U,))]
    lengths = torch.randint(1, T + 1, (B,))
    lengths[0], lengths[-1] = 1, T
    return [value.requires_grad_() for value in (x, *weights)], lengths


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    scale = expected.abs().max().clamp(min=1).item()
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance * scale)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_pool__matches_equations__garbage_in_padding(sizes: tuple[int, ...], dtype: torch.dtype) -> None:
    inputs, lengths = draw(sizes, dtype)
    clean = [value.detach().clone().double().requires_grad_() for value in inputs]
    with torch.no_grad():
        for row, length in enumerate(lengths.tolist()):
            inputs[0][row, length:] = float("nan")
    found, expected = run_attention_pool(*_call(inputs, lengths)), equations(*_call(clean, lengths)[:5])
    upstream = [torch.randn_like(value) for value in found]
    grads = torch.autograd.grad(found, inputs, upstream)
    oracle = torch.autograd.grad(expected, clean, [value.double() for value in upstream])
    values, slopes = TOLERANCES[dtype]
    for left, right in zip(found, expected, strict=True):
        close(left, right, values)
    for left, right in zip(grads, oracle, strict=True):
        close(left, right, slopes)


def _call(inputs: Sequence[Tensor], lengths: Tensor) -> tuple:
    x, weight, bias, v = inputs
    return x, lengths, weight, bias, v, equations


@pytest.mark.parametrize("result", [0, 1])
def test_gradients__match_differences__also_second(result: int) -> None:
    inputs, lengths = draw((3, 4, 3, 5))

    def function(*values: Tensor) -> Tensor:
        return run_attention_pool(*_call(values, lengths))[result]

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_second_gradient__matches_equations__bfloat16() -> None:
    inputs, lengths = draw((3, 4, 3, 5), torch.bfloat16)
    clean = [value.detach().clone().double().requires_grad_() for value in inputs]
    seconds = []
    for call, values in ((run_attention_pool, inputs), (lambda *own: equations(*own[:5]), clean)):
        pooled, _ = call(*_call(values, lengths))
        (grad,) = torch.autograd.grad(pooled.square().sum(), values[1], create_graph=True)
        seconds.append(torch.autograd.grad(grad.square().sum(), values[3])[0])
    close(seconds[0], seconds[1], 2e-2)


def test_gradients__equal_one_by_one__many_at_once() -> None:
    inputs, lengths = draw((3, 4, 3, 5))
    pooled, _ = run_attention_pool(*_call(inputs, lengths))
    upstream = torch.randn(4, *pooled.shape, dtype=pooled.dtype)
    together = torch.autograd.grad(pooled, inputs, upstream, is_grads_batched=True, retain_graph=True)
    for k, one in enumerate(upstream):
        single = torch.autograd.grad(pooled, inputs, one, retain_graph=True)
        for left, right in zip(single, together, strict=True):
            torch.testing.assert_close(left, right[k])


def test_pool__equals_itself__same_threads() -> None:
    inputs, lengths = draw((40, 30, 66, 64), torch.float32)
    before, threads = torch.get_num_threads(), 2
    try:
        torch.set_num_threads(threads)
        runs = [torch.autograd.grad(run_attention_pool(*_call(inputs, lengths))[0].sum(), inputs) for _ in range(3)]
        torch.set_num_threads(1)
        alone = torch.autograd.grad(run_attention_pool(*_call(inputs, lengths))[0].sum(), inputs)
    finally:
        torch.set_num_threads(before)
    for first, other, single in zip(runs[0], runs[2], alone, strict=True):
        assert torch.equal(first, other)
        torch.testing.assert_close(first, single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lengths", [[0, 2], [1, 5], [-1, 2], [1], [1, 2, 3]])
def test_pool__rejects_lengths_that_cannot_be(lengths: list[int]) -> None:
    inputs, _ = draw((2, 4, 3, 5))
    with pytest.raises(ShapeError):
        run_attention_pool(*_call(inputs, torch.tensor(lengths)))


@pytest.mark.parametrize("which", [1, 2])
def test_pool__rejects_weights_of_other_shape(which: int) -> None:
    inputs, lengths = draw((2, 4, 3, 5))
    inputs[which] = torch.randn(4, dtype=torch.float64)
    with pytest.raises(ShapeError, match=("weight", "bias")[which - 1]):
        run_attention_pool(*_call(inputs, lengths))


def test_choice__rejects_what_core_does_not_know() -> None:
    (x, *weights), _ = draw((2, 4, 3, 5), torch.float32)
    assert can_attend(x, weights)
    assert can_attend(x.bfloat16(), weights)
    assert not can_attend(x.double(), weights)
    assert not can_attend(x.half(), weights)
    assert not can_attend(x[0], weights)
    assert not can_attend(x[:0], weights)
