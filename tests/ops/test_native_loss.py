"""The native loss against torch's cross entropy of all scores, on every instruction set that this machine has."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lstmkit.core import native_status
from lstmkit.ops import native_available, native_core, run_native_loss

pytestmark = pytest.mark.skipif(not native_available(), reason="the native core was not built")

status = native_status()
SETS = [name for name in status.compiled if name in status.found]
TOLERANCES = {torch.float64: 1e-13, torch.float32: 3e-6, torch.bfloat16: 8e-3}
# Rows, features, classes: odd everywhere, one class more than a block, many blocks, several rounds of rows.
SIZES = [(1, 1, 2), (7, 5, 3), (49, 33, 129), (5, 7, 1100), (523, 3, 257)]


@pytest.fixture(params=SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    native_core.instruction_set = request.param
    yield request.param
    native_core.instruction_set = ""


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def draw(rows: int, features: int, classes: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """x, weight, bias, targets and what flows in, the first of ``dtype``, the others as a module holds them."""
    generator = torch.Generator().manual_seed(rows + classes)
    real = native_core.real_dtype(dtype)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    x, weight = normal(rows, features).to(dtype), (2 * normal(classes, features) / features**0.5).to(real)
    targets = torch.randint(classes, (rows,), generator=generator)
    return x.requires_grad_(), weight.requires_grad_(), normal(classes).to(real).requires_grad_(), targets, normal(rows)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_losses_and_gradients__match_torch(
    instruction_set: str, threads: int, sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    x, weight, bias, targets, upstream = draw(*sizes, dtype)
    found = run_native_loss(x, weight, bias, targets, dtype)
    grads = torch.autograd.grad(found, (x, weight, bias), upstream.to(found.dtype))
    given = [each.detach().double().requires_grad_() for each in (x, weight.to(dtype), bias)]
    scores = functional.linear(*given)
    expected = functional.cross_entropy(scores, targets, reduction="none")
    wanted = torch.autograd.grad(expected, given, upstream)
    assert found.dtype == weight.dtype
    assert [each.dtype for each in grads] == [dtype, weight.dtype, bias.dtype]
    for ours, theirs in zip((found, *grads), (expected, *wanted), strict=True):
        assert (ours.double() - theirs).norm() <= TOLERANCES[dtype] * theirs.norm()


def test_losses__equal_those_without_gradients__and_the_same_again(threads: int) -> None:
    x, weight, bias, targets, _ = draw(49, 33, 300, torch.bfloat16)
    first, second = (run_native_loss(x, weight, bias, targets, torch.bfloat16) for _ in range(2))
    with torch.no_grad():
        alone = run_native_loss(x, weight, bias, targets, torch.bfloat16)
    assert torch.equal(first, alone)
    grads = [torch.autograd.grad(losses.sum(), (x, weight, bias), retain_graph=True) for losses in (first, second)]
    grads.append(torch.autograd.grad(first.sum(), (x, weight, bias)))
    assert all(torch.equal(a, b) for other in grads[1:] for a, b in zip(grads[0], other, strict=True))


def test_losses__equal_those_of_dense_numbers__any_layout() -> None:
    x, weight, bias, targets, _ = draw(49, 33, 300, torch.float32)
    apart = [torch.stack([each, each], -1)[..., 0] for each in (x, weight, bias, targets)]
    apart[1] = weight.T.contiguous().T
    expected, found = (
        run_native_loss(*each, torch.float32)  # pyright: ignore
        for each in ((x, weight, bias, targets), apart)
    )
    assert torch.equal(expected, found)


def test_gradients__equal_zero__without_rows() -> None:
    x, weight, bias, targets, _ = draw(0, 3, 5, torch.float32)
    losses = run_native_loss(x, weight, bias, targets, torch.float32)
    grads = torch.autograd.grad(losses.sum(), (x, weight, bias))
    assert losses.shape == (0,)
    assert [grad.abs().sum().item() for grad in grads] == [0, 0, 0]


@pytest.mark.parametrize("wrong", [-1, 5])
def test_core__rejects_a_target_that_is_no_class(wrong: int) -> None:
    x, weight, bias, targets, _ = draw(4, 3, 5, torch.float32)
    targets[2] = wrong
    with pytest.raises(ValueError, match="targets"):
        run_native_loss(x, weight, bias, targets, torch.float32)
