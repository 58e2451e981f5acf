"""Rows of a table against torch's embedding."""

import pytest
import torch
from torch.nn import functional

from lstmkit.ops import take_rows


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("sparse", [False, True])
def test_rows_and_gradient__match_torch(shape: tuple[int, ...], dtype: torch.dtype, sparse: bool) -> None:
    generator = torch.Generator().manual_seed(2)
    table = torch.randn(11, 3, generator=generator).to(dtype).requires_grad_()
    numbers = torch.randint(5, shape, generator=generator)
    ours, theirs = take_rows(table, numbers, sparse=sparse), functional.embedding(numbers, table)
    assert torch.equal(ours, theirs)
    upstream = torch.randn(theirs.shape, generator=generator).to(dtype)
    (found,), (expected,) = (torch.autograd.grad(rows, table, upstream) for rows in (ours, theirs))
    assert found.is_sparse == sparse
    torch.testing.assert_close(found.to_dense(), expected)


def test_second_gradient__matches_torch() -> None:
    table, numbers = torch.randn(6, 3, dtype=torch.float64, requires_grad=True), torch.tensor([[1, 1], [4, 0]])
    assert torch.autograd.gradgradcheck(lambda table: take_rows(table, numbers).sin().square(), table)


def test_rows__rejects_numbers_that_are_none() -> None:
    with pytest.raises(IndexError):
        take_rows(torch.zeros(3, 2, requires_grad=True), torch.tensor([3]))
