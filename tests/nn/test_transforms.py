"""torch.func and autograd's rarer ways, against loops; the layer as users write it."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.hostile import close
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap

from lstmkit import nn
from lstmkit.ops import native_available
from lstmkit.spec import EngineError

# torch's own rules for forward-mode AD are still made of what torch deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

NEEDS_CORE = pytest.mark.skipif(not native_available(), reason="the native core was not built")


def make(**options: Any) -> nn.LSTM:
    torch.manual_seed(2)
    layer = nn.LSTM(3, 5, 2, bidirectional=True, **options)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return layer


def draw(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7), dtype=dtype)


def loss(layer: nn.LSTM, x: Tensor, **extras: Any) -> Tensor:
    output, (h, c) = layer(x, **extras)
    return output.sin().sum() + h.square().sum() + c.sum()


@pytest.mark.parametrize("masks", [False, True])
def test_vmap__matches_loop__over_batches(masks: bool) -> None:
    layer, x = make(), draw(4, 6, 3, 3)
    extras = {"lengths": torch.tensor([6, 2, 5]), "resets": draw(6, 3) > 0.5} if masks else {}
    together = vmap(lambda x: layer(x, **extras))(x)
    for n, alone in enumerate(x):
        output, state = layer(alone, **extras)
        close(together[0][n], output)
        close(together[1][0][n], state[0])
        close(together[1][1][n], state[1])


def test_vmap__matches_loop__over_an_ensemble() -> None:
    layers = [make() for _ in range(3)]
    for n, layer in enumerate(layers):
        torch.nn.init.normal_(layer.weight_hh_l1, std=0.1 + n)
    parameters, buffers = stack_module_state(layers)  # pyright: ignore
    x = draw(6, 2, 3)
    together = vmap(lambda p, b: functional_call(layers[0], (p, b), (x,))[0])(parameters, buffers)
    for layer, output in zip(layers, together, strict=True):
        close(output, layer(x)[0])


@pytest.mark.parametrize("batch_first", [False, True])
def test_per_sample_gradients__match_loop(batch_first: bool) -> None:
    layer = make(batch_first=batch_first)
    x, axis = (draw(4, 6, 3), 0) if batch_first else (draw(6, 4, 3), 1)
    parameters = {name: value.detach() for name, value in layer.named_parameters()}

    def one(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        output, _ = functional_call(layer, parameters, (x.unsqueeze(axis),))
        return output.square().sum()

    together = vmap(grad(one), in_dims=(None, axis))(parameters, x)
    for b in range(4):
        layer.zero_grad()
        layer(x.select(axis, b).unsqueeze(axis))[0].square().sum().backward()
        for name, parameter in layer.named_parameters():
            assert parameter.grad is not None
            close(together[name][b], parameter.grad, name)


def slope_along(run: Callable[[Tensor], Tensor], x: Tensor, direction: Tensor, step: float = 1e-6) -> Tensor:
    return (run(x + step * direction) - run(x - step * direction)) / (2 * step)


@pytest.mark.parametrize("way", ["torch.func.jvp", "dual numbers"])
def test_jvp__matches_finite_differences(way: str) -> None:
    layer, x, direction = make(dtype=torch.float64), draw(6, 2, 3, dtype=torch.float64), draw(6, 2, 3).double()

    def run(x: Tensor) -> Tensor:
        return layer(x)[0]

    if way == "dual numbers":
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(run(forward_ad.make_dual(x, direction))).tangent
    else:
        tangent = jvp(run, (x,), (direction,))[1]
    assert tangent is not None
    torch.testing.assert_close(tangent, slope_along(run, x, direction), rtol=0, atol=1e-7)


def test_forward_mode__never_loses_the_tangent__float32_and_frozen_weights() -> None:
    """An engine that only sees addresses would drop it in silence."""
    layer, x = make().requires_grad_(False), draw(6, 2, 3)
    with forward_ad.dual_level():
        output = layer(forward_ad.make_dual(x, torch.ones_like(x)))[0]
        tangent = forward_ad.unpack_dual(output).tangent
    close(tangent, jvp(lambda x: layer(x)[0], (x,), (torch.ones_like(x),))[1])
    assert (tangent != 0).all()


def test_jacobians__match_each_other_and_autograd() -> None:
    layer, x = make(), draw(3, 2, 3)

    def run(x: Tensor) -> Tensor:
        return layer(x)[0].sum(2)

    forwards, backwards = jacfwd(run)(x), jacrev(run)(x)
    close(forwards, backwards)
    leaf = x.clone().requires_grad_()
    output = run(leaf)
    for index in itertools.product(*map(range, output.shape)):
        (row,) = torch.autograd.grad(output[index], leaf, retain_graph=True)
        close(backwards[index], row)


def test_hessian__matches_second_derivative_of_autograd() -> None:
    layer, x = make(), draw(3, 1, 3)
    found = hessian(lambda x: loss(layer, x))(x).reshape(9, 9)
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(layer, leaf), leaf, create_graph=True)
    rows = [torch.autograd.grad(entry, leaf, retain_graph=True)[0].flatten() for entry in slope.flatten()]
    close(found, torch.stack(rows))
    close(found, found.T)


def test_vjp__matches_autograd__several_outputs() -> None:
    layer, x = make(), draw(6, 2, 3)
    (output, state), pull = vjp(layer, x)
    leaf = x.clone().requires_grad_()
    expected, expected_state = layer(leaf)
    close(output, expected)
    (found,) = pull((torch.ones_like(output), tuple(2 * torch.ones_like(value) for value in state)))
    total = expected.sum() + 2 * sum(value.sum() for value in expected_state)
    close(found, torch.autograd.grad(total, leaf)[0])


@pytest.mark.parametrize("engine", [None, "reference", pytest.param("native", marks=NEEDS_CORE)])
@pytest.mark.parametrize("options", [{}, {"checkpoint_steps": 4}], ids=str)
def test_batched_gradients__match_loop__graph_built_before(engine: str | None, options: dict[str, Any]) -> None:
    layer = make(engine=engine, **options)
    x = draw(6, 2, 3).requires_grad_()
    output, (h, c) = layer(x, lengths=[6, 3])
    inputs = [x, *layer.parameters()]
    upstream = [draw(4, *value.shape) for value in (output, h, c)]
    options = {"retain_graph": True, "is_grads_batched": True}
    together = torch.autograd.grad([output, h, c], inputs, upstream, **options)  # pyright: ignore
    for n in range(4):
        alone = torch.autograd.grad([output, h, c], inputs, [value[n] for value in upstream], retain_graph=True)
        for left, right in zip(together, alone, strict=True):
            close(left[n], right)


@pytest.mark.parametrize("engine", [None, "reference", pytest.param("native", marks=NEEDS_CORE)])
def test_vmap__matches_loop__around_autograd_grad(engine: str | None) -> None:
    layer, x = make(engine=engine), draw(6, 2, 3).requires_grad_()
    output, _ = layer(x)
    upstream = draw(4, *output.shape)

    def pull(v: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(output, [x, layer.weight_hh_l1], v, retain_graph=True)

    for left, right in zip(vmap(pull)(upstream), zip(*map(pull, upstream), strict=True), strict=True):
        close(left, torch.stack(right))


@pytest.mark.parametrize("engine", ["reference", pytest.param("native", marks=NEEDS_CORE)])
def test_batched_gradients__match_loop__differentiated_again(engine: str) -> None:
    layer, x = make(engine=engine), draw(4, 2, 3).requires_grad_()
    output, _ = layer(x)
    upstream = draw(3, *output.shape)
    (slopes,) = torch.autograd.grad(output, x, upstream, create_graph=True, is_grads_batched=True)
    rows = [torch.autograd.grad(output, x, v, create_graph=True)[0] for v in upstream]
    penalties = slopes.square().sum(), sum(row.square().sum() for row in rows)
    found, expected = (torch.autograd.grad(p, layer.weight_hh_l0, retain_graph=True)[0] for p in penalties)  # pyright: ignore
    close(found, expected)


def test_vectorised_jacobian__matches_row_by_row() -> None:
    layer, x = make(), draw(4, 2, 3)

    def run(x: Tensor) -> Tensor:
        return layer(x)[0].sum(2)

    fast: Any = torch.autograd.functional.jacobian(run, x, vectorize=True)
    close(fast, torch.autograd.functional.jacobian(run, x))


@pytest.mark.parametrize("engine", [pytest.param("native", marks=NEEDS_CORE), "torch"])
def test_transforms__reject_opaque_engines__by_name(engine: str) -> None:
    layer, x = make(engine=engine), draw(2, 6, 2, 3)
    with pytest.raises(EngineError, match=f"{engine!r} cannot run this: .*torch.func transforms.*engine=None"):
        vmap(layer)(x)
    with forward_ad.dual_level(), pytest.raises(EngineError, match="torch.func transforms"):
        layer(forward_ad.make_dual(x[0], x[1]))
