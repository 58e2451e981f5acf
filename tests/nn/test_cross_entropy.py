"""The fused loss against torch's cross entropy of all scores."""

import pytest
import torch
from torch.nn import functional

from lstmkit.nn import cross_entropy, linear_cross_entropy
from lstmkit.ops import has_native_loss, native_available
from lstmkit.spec import DataError, ShapeError


def case(rows=11, features=5, classes=7, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    x, weight, bias = (
        torch.randn(shape, generator=generator, dtype=dtype).requires_grad_()
        for shape in ((rows, features), (classes, features), (classes,))
    )
    return x, weight, bias, torch.randint(classes, (rows,), generator=generator)


def expected(x, weight, bias, targets):
    return functional.cross_entropy(x @ weight.T + bias, targets)


# 7 classes: one row at a time, three rows and a rest, all rows, and the native core.
@pytest.fixture(params=[1, 21, 2**21, "native"])
def together(request, monkeypatch):
    native = request.param == "native"
    if native and not native_available():
        pytest.skip("the native core was not built")
    monkeypatch.setattr(cross_entropy, "has_native_loss", lambda *_: native)
    if not native:
        monkeypatch.setattr(cross_entropy, "_TOGETHER", request.param)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_and_gradients__match_torch(together, dtype):
    *weights, targets = case(dtype=dtype)
    ours, theirs = linear_cross_entropy(*weights, targets), expected(*weights, targets)
    torch.testing.assert_close(ours, theirs)
    for mine, other in zip(
        torch.autograd.grad(2.5 * ours, weights), torch.autograd.grad(2.5 * theirs, weights), strict=True
    ):
        torch.testing.assert_close(mine, other)


def test_loss__matches_torch__without_gradients(together):
    *weights, targets = case()
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(*weights, targets), expected(*weights, targets))


def test_gradients__match_finite_differences(together):
    *weights, targets = case(rows=4)
    assert torch.autograd.gradcheck(lambda *each: linear_cross_entropy(*each, targets), tuple(weights))


def test_loss__matches_torch__of_large_scores(together):
    *weights, targets = case(dtype=torch.float32)
    large = [100 * each.detach().requires_grad_() for each in weights]
    torch.testing.assert_close(linear_cross_entropy(*large, targets), expected(*large, targets))


def test_loss__matches_torch__under_autocast(together):
    *weights, targets = case(rows=200, features=16, classes=50, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        ours = linear_cross_entropy(*weights, targets)
    theirs = expected(*weights, targets)
    assert ours.dtype == torch.float32
    # bfloat16 has 8 bits; the errors of 200 rows average out in the loss.
    torch.testing.assert_close(ours, theirs, rtol=5e-3, atol=0)
    for mine, other in zip(torch.autograd.grad(ours, weights), torch.autograd.grad(theirs, weights), strict=True):
        assert mine.dtype == torch.float32
        assert (mine - other).norm() < 0.02 * other.norm()


def test_loss__rejects_shapes_that_do_not_fit():
    x, weight, bias, targets = case()
    for wrong in ((x[:, 1:], weight, bias, targets), (x, weight, bias[1:], targets), (x, weight, bias, targets[1:])):
        with pytest.raises(ShapeError, match="expected x"):
            linear_cross_entropy(*wrong)


@pytest.mark.parametrize("wrong", [-1, -100, 7])
def test_loss__rejects_targets_that_are_no_class(together, wrong):
    *weights, targets = case()
    targets[3] = wrong
    with pytest.raises(DataError, match="expected targets in 0..6"):
        linear_cross_entropy(*weights, targets)


def test_loss__rejects_targets_that_are_no_numbers_of_classes():
    *weights, targets = case()
    with pytest.raises(ShapeError, match="int64"):
        linear_cross_entropy(*weights, targets.float())


def test_gradients__never_leave_a_row__with_nan(together):
    x, weight, bias, targets = case()
    broken = x.detach().clone()
    broken[2, 1] = torch.nan
    broken.requires_grad_()
    loss = linear_cross_entropy(broken, weight, bias, targets)
    (grad,) = torch.autograd.grad(loss, broken)
    assert loss.isnan()
    assert grad.isnan().any(1).tolist() == [row == 2 for row in range(len(x))]


@pytest.mark.skipif(not native_available(), reason="the native core was not built")
def test_choice__equals_core__where_every_thread_has_classes(monkeypatch):
    x, weight, bias, _ = case(classes=300, dtype=torch.float32)
    for threads, expected in ((1, True), (3, True), (4, False)):  # 300 classes are three blocks
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert has_native_loss(x, weight, bias, torch.bfloat16) == expected
    assert not has_native_loss(x, weight, bias, torch.float16)
    assert not has_native_loss(x, weight.to("meta"), bias, torch.float32)
