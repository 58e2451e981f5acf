"""Lookups on the native core beside torch's own indexing, which is the oracle."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from lstmkit.core import native_status
from lstmkit.ops import Bag, can_look_up, look_up, native_available, native_core

pytestmark = pytest.mark.skipif(not native_available(), reason="the native core was not built")

SETS = [name for name in native_status().compiled if name in native_status().found]
BAGS = [None, Bag(), Bag(skips_zero=True), Bag(is_mean=True), Bag(skips_zero=True, is_mean=True)]
SHAPES = [(1, 1), (3, 5), (4, 7, 2), (2, 3, 4, 5), (0, 3), (3, 0), (130, 9)]


@pytest.fixture(params=SETS)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    native_core.instruction_set = request.param
    yield request.param
    native_core.instruction_set = ""


def plain(table: Tensor, numbers: Tensor, bag: Bag | None) -> Tensor:
    if bag is None:
        return table[numbers]
    there = (numbers != 0) if bag.skips_zero else torch.ones_like(numbers, dtype=torch.bool)
    total = torch.where(there[..., None], table[numbers], 0).sum(-2)
    return total / there.sum(-1).clamp(min=1)[..., None] if bag.is_mean else total


def draw(rows: int, width: int, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    torch.manual_seed(rows + width)
    numbers = torch.randint(0, rows, shape) * (torch.rand(shape) < 0.6)
    return torch.randn(rows, width, dtype=dtype, requires_grad=True), numbers


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bag", BAGS, ids=str)
@pytest.mark.parametrize("width", [1, 17, 100, 150])
def test_lookup__matches_indexing__any_shape(width: int, bag: Bag | None, dtype: torch.dtype) -> None:
    for shape in SHAPES:
        table, numbers = draw(23, width, shape, dtype)
        found, expected = look_up(table, numbers, bag), plain(table, numbers, bag)
        torch.testing.assert_close(found, expected)
        # As a layer that has time first gives it: without a copy.
        upstream = torch.randn_like(expected).transpose(0, -2).contiguous().transpose(0, -2)
        (grad,) = torch.autograd.grad(found, table, upstream)
        torch.testing.assert_close(grad, torch.autograd.grad(expected, table, upstream)[0], rtol=1e-4, atol=1e-4)


def test_lookup__never_reads_skipped_row() -> None:
    table, numbers = draw(5, 3, (4, 6), torch.float32)
    with torch.no_grad():
        table[0] = float("nan")
    found = look_up(table, numbers, Bag(skips_zero=True))
    assert found.isfinite().all()
    (grad,) = torch.autograd.grad(found.sum(), table)
    assert grad[0].eq(0).all()


@pytest.mark.parametrize("bag", BAGS, ids=str)
def test_gradients__match_differences__also_second(bag: Bag | None) -> None:
    table, numbers = draw(6, 3, (4, 3), torch.float64)

    def function(table: Tensor) -> Tensor:
        return look_up(table, numbers, bag)

    assert torch.autograd.gradcheck(function, table)
    assert torch.autograd.gradgradcheck(function, table)


@pytest.mark.parametrize("bag", BAGS, ids=str)
@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_gradients__equal_one_by_one__many_at_once(bag: Bag | None) -> None:
    table, numbers = draw(6, 3, (4, 3), torch.float64)
    found = look_up(table, numbers, bag)
    upstream = torch.randn(5, *found.shape, dtype=found.dtype)
    (together,) = torch.autograd.grad(found, table, upstream, is_grads_batched=True, retain_graph=True)
    for one, grad in zip(upstream, together, strict=True):
        torch.testing.assert_close(torch.autograd.grad(found, table, one, retain_graph=True)[0], grad)


def test_gradient__equals_that_of_one_thread__several() -> None:
    table, numbers = draw(300, 100, (500, 30), torch.float32)
    before, grads = torch.get_num_threads(), list[Tensor]()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found = look_up(table, numbers, Bag(skips_zero=True, is_mean=True))
            grads.append(torch.autograd.grad(found.square().sum(), table)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(grads[0], grads[1])
    assert torch.equal(grads[0], grads[2])


@pytest.mark.parametrize("bad", [-1, 5, 2**40])
def test_lookup__rejects_number_of_no_row(bad: int) -> None:
    with pytest.raises(IndexError, match=f"{bad} is none of the 5 rows"):
        look_up(torch.randn(5, 3), torch.tensor([[0, bad]]))


@pytest.mark.parametrize(
    ("table", "numbers"),
    [
        (torch.randn(5, 3, dtype=torch.bfloat16), torch.tensor([1])),
        (torch.randn(3, 5).T, torch.tensor([1])),
        (torch.randn(5, 3), torch.tensor([1], dtype=torch.int32)),
        (torch.randn(5, 3, 2), torch.tensor([1])),
        (torch.randn(5, 0), torch.tensor([1])),
        (torch.randn(5, 3, device="meta"), torch.tensor([1])),
    ],
)
def test_choice__rejects_what_core_does_not_know(table: Any, numbers: Tensor) -> None:
    assert can_look_up(torch.randn(5, 3), torch.tensor([1]))
    assert not can_look_up(table, numbers)
