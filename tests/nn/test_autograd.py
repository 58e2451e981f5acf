"""What people do around the layer with autograd, hooks and weights; the native engine must notice none of it."""

import copy
import pickle
from itertools import product
from typing import Any

import pytest
import torch
from helpers.hostile import close
from torch import Tensor
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

from lstmkit import nn
from lstmkit.core import native_module
from lstmkit.ops import native, native_available

NEEDS_CORE = pytest.mark.skipif(not native_available(), reason="the native core was not built")
ENGINES = pytest.mark.parametrize("engine", ["reference", pytest.param("native", marks=NEEDS_CORE)])
T, B, I, H = 6, 4, 3, 5


def make(engine: str | None, **options: Any) -> nn.LSTM:
    torch.manual_seed(6)
    layer = nn.LSTM(options.pop("input_size", I), H, 2, bidirectional=True, engine=engine, **options)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return layer


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(8))


@ENGINES
def test_gradient__equals_training__in_eval_mode(engine: str) -> None:
    layer, x = make(engine, dropout=0.0), draw(T, B, I).requires_grad_()
    found = []
    for mode in (True, False):
        layer.train(mode)
        found.append(torch.autograd.grad(layer(x)[0].sin().sum(), [x, *layer.parameters()]))
    assert all(torch.equal(left, right) for left, right in zip(*found, strict=True))


@ENGINES
def test_backward__equals_itself__graph_retained(engine: str) -> None:
    layer, x = make(engine), draw(T, B, I).requires_grad_()
    output, (h, c) = layer(x, lengths=[6, 2, 5, 1])
    total = output.sin().sum() + h.sum() + c.square().sum()
    first, second = (torch.autograd.grad(total, [x, *layer.parameters()], retain_graph=True) for _ in range(2))
    assert all(torch.equal(left, right) for left, right in zip(first, second, strict=True))
    total.backward()
    with pytest.raises(RuntimeError, match="a second time"):
        total.backward()


@ENGINES
def test_saved_tensors__never_change__by_later_runs(engine: str) -> None:
    """Outputs and traces come from memory that is used again; not while a graph needs it."""
    layer = make(engine)
    xs = [draw(200, 40, I) * k for k in (1, 2, 3)]
    outputs = [layer(x)[0] for x in xs]
    together = [torch.autograd.grad(y.sin().sum(), layer.weight_hh_l0)[0] for y in outputs]
    for x, found in zip(xs, together, strict=True):
        close(found, torch.autograd.grad(layer(x)[0].sin().sum(), layer.weight_hh_l0)[0])


@NEEDS_CORE
@pytest.mark.parametrize("what", ["x", "h", "c", "weight", "bias", "output", "lengths", "resets", "cells"])
def test_backward__rejects__what_was_changed_in_place(what: str) -> None:
    layer = nn.LSTM(I, H, engine="native")
    x, h, c = draw(T, B, I).requires_grad_(), draw(1, B, H), draw(1, B, H)
    lengths, resets = torch.tensor([6, 2, 5, 1]), draw(T, B) > 0.5
    output, _, trace = layer(x, (h, c), lengths=lengths, resets=resets, return_cells=True)
    values = {
        "x": x,
        "h": h,
        "c": c,
        "weight": layer.weight_hh_l0,
        "bias": layer.bias_ih_l0,
        "output": output,
        "lengths": lengths,
        "resets": resets,
        "cells": trace.cells[0],
    }
    total = output.sum()
    with torch.no_grad():
        values[what].zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


class Spy:
    """Stands in for the core and writes down which gradients it is asked for."""

    def __init__(self) -> None:
        self.core: Any = native_module()
        self.asked: list[native.Wants] = []
        self.states: list[tuple[Any, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.core, name)

    def lstm_forward(self, directions: list[Any], *how: Any) -> Any:
        self.states += [layer[2:4] for layer, *_ in directions]
        return self.core.lstm_forward(directions, *how)

    def lstm_backward(self, directions: list[Any], *how: Any) -> Any:
        self.states += [layer[2:4] for layer, *_ in directions]
        for *_, (dx, dh, dc, dweights) in directions:
            assert (dh is None) == (dc is None)
            self.asked.append(native.Wants(dx is not None, dh is not None, any(dweights)))
        return self.core.lstm_backward(directions, *how)


@NEEDS_CORE
@pytest.mark.parametrize("checkpoint_steps", [None, 6])
@pytest.mark.parametrize("wants", [native.Wants(*flags) for flags in product([False, True], repeat=3) if any(flags)])
def test_core__never_computes__unwanted_gradients(
    wants: native.Wants, checkpoint_steps: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy()
    monkeypatch.setattr(native, "core", spy)
    layer = nn.LSTM(I, H, engine="native", checkpoint_steps=checkpoint_steps).requires_grad_(wants.weights)
    state = draw(1, B, H).requires_grad_(wants.state), draw(1, B, H)
    layer(draw(T, B, I).requires_grad_(wants.x), state)[0].sum().backward()
    # From chunk to chunk the state's gradient is always wanted.
    assert spy.asked == [wants._replace(state=wants.state or checkpoint_steps is not None)]


@NEEDS_CORE
def test_core__never_sees__a_state_that_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is memory filled with zeros, nor a gradient computed that nobody can ask for."""
    spy = Spy()
    monkeypatch.setattr(native, "core", spy)
    make("native")(draw(T, B, I).requires_grad_())[0].sum().backward()
    assert spy.states == [(None, None)] * 8
    assert {wants.state for wants in spy.asked} == {False}


@NEEDS_CORE
def test_first_layer__never_computes__gradient_of_data(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy()
    monkeypatch.setattr(native, "core", spy)
    make("native")(draw(T, B, I))[0].sum().backward()
    assert [wants.x for wants in spy.asked] == [True] * 2 + [False] * 2


@ENGINES
def test_hooks__equal_gradients__of_tensors_and_modules(engine: str) -> None:
    layer, x = make(engine), draw(T, B, I).requires_grad_()
    seen: dict[str, Any] = {}
    layer.register_forward_hook(lambda module, args, result: seen.update(forward=result[0]))
    layer.register_full_backward_hook(lambda module, grads, upstream: seen.update(module=grads[0]))
    layer.weight_hh_l1.register_hook(lambda grad: seen.update(weight=grad))
    layer.weight_ih_l0.register_post_accumulate_grad_hook(lambda p: seen.update(accumulated=p.grad))
    output, _ = layer(x)
    output.register_hook(lambda grad: 2 * grad)
    output.sum().backward()
    assert seen["forward"].shape == output.shape
    assert x.grad is not None
    close(seen["module"], x.grad)
    close(seen["weight"], layer.weight_hh_l1.grad)
    close(seen["accumulated"], layer.weight_ih_l0.grad)
    twin = copy.deepcopy(layer)
    twin.zero_grad()
    twin(x.detach().requires_grad_())[0].sum().mul(2).backward()
    close(layer.weight_hh_l0.grad, twin.weight_hh_l0.grad)


@ENGINES
def test_saved_tensor_hooks_and_recomputation__equal_plain(engine: str) -> None:
    layer, x = make(engine), draw(T, B, I).requires_grad_()
    expected = torch.autograd.grad(layer(x)[0].sin().sum(), [x, *layer.parameters()])
    with torch.autograd.graph.save_on_cpu():
        output = layer(x)[0]
    offloaded = torch.autograd.grad(output.sin().sum(), [x, *layer.parameters()])
    again = checkpoint(lambda x: layer(x)[0], x, use_reentrant=False)
    recomputed = torch.autograd.grad(again.sin().sum(), [x, *layer.parameters()])  # pyright: ignore
    for left, middle, right in zip(expected, offloaded, recomputed, strict=True):
        assert torch.equal(left, middle)
        assert torch.equal(left, right)


@ENGINES
@pytest.mark.parametrize("way", ["deepcopy", "pickle", "state_dict"])
def test_copy__equals_original__after_a_run_and_a_step(engine: str, way: str) -> None:
    layer, x = make(engine, checkpoint_steps=4), draw(T, B, I)
    layer(x)[0].sum().backward()
    torch.optim.SGD(layer.parameters(), 0.1).step()
    twin = make(engine)
    if way == "state_dict":
        twin.load_state_dict(layer.state_dict())
    else:
        twin = copy.deepcopy(layer) if way == "deepcopy" else pickle.loads(pickle.dumps(layer))
        assert repr(twin) == repr(layer)
    assert torch.equal(twin(x)[0], layer(x)[0])
    with torch.no_grad():
        layer.weight_ih_l0.zero_()
    assert not torch.equal(twin(x)[0], layer(x)[0])


def tie(layer: nn.LSTM) -> None:
    layer.weight_hh_l1 = layer.weight_hh_l0
    layer.weight_hh_l0_reverse = layer.weight_hh_l0
    layer.bias_hh_l0 = layer.bias_ih_l0


def drop(layer: nn.LSTM) -> None:
    """Weight drop by assignment: the raw parameter has another name, the weight is a tensor of a graph."""
    raw = layer.weight_hh_l0
    del layer.weight_hh_l0
    layer.register_parameter("raw", raw)
    layer.weight_hh_l0 = raw * (torch.arange(raw.numel()).view_as(raw) % 3 > 0)


HABITS = {
    "tied": tie,
    "weight norm": lambda layer: parametrizations.weight_norm(layer, "weight_hh_l0"),
    "orthogonal": lambda layer: parametrizations.orthogonal(layer, "weight_ih_l1"),
    "spectral norm": lambda layer: parametrizations.spectral_norm(layer, "weight_hh_l1_reverse").eval(),
    "weight drop": drop,
    "frozen": lambda layer: layer.weight_hh_l0.requires_grad_(False),
}


@NEEDS_CORE
@pytest.mark.parametrize("habit", HABITS)
def test_habits_with_weights__match_reference(habit: str) -> None:
    x, results = draw(T, B, I), []
    for engine in ("native", "reference"):
        layer = make(engine)
        torch.manual_seed(1)
        HABITS[habit](layer)
        wanted = [p for p in layer.parameters() if p.requires_grad]
        with parametrize.cached():
            output = layer(x, lengths=[6, 3, 4, 6])[0]
            results.append([output, *torch.autograd.grad(output.sin().sum(), wanted)])
    for left, right in zip(*results, strict=True):
        close(left, right)


@NEEDS_CORE
def test_weights__never_stale__changed_between_runs() -> None:
    """Packed weights, should the core keep any, must notice every way to change a parameter."""
    layer, other = make("native"), make("reference")
    x = draw(T, B, I)
    changes: list[Any] = [
        lambda m: m.weight_hh_l0.data.mul_(0.5),
        lambda m: m.load_state_dict({k: v * 0.9 for k, v in m.state_dict().items()}),
        lambda m: torch.nn.utils.vector_to_parameters(
            0.8 * torch.nn.utils.parameters_to_vector(m.parameters()), m.parameters()
        ),
        lambda m: setattr(m, "bias_ih_l1", torch.nn.Parameter(torch.ones(4 * H))),
        lambda m: m.weight_ih_l0.detach().numpy().__imul__(0.7),
        lambda m: m.weight_ih_l0.data.copy_(m.weight_ih_l0.data + 1),
    ]
    for change in changes:
        with torch.no_grad():
            for which in (layer, other):
                change(which)
            close(layer(x)[0], other(x)[0])


@NEEDS_CORE
@pytest.mark.parametrize("lengths", [None, [6, 2, 5, 1]])
def test_weight_gradients__match_double_unrounded__autocast(lengths: list[int] | None) -> None:
    layer, x = make("native"), draw(T, B, I)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total = layer(x, lengths=lengths)[0].float().sin().sum()
    grads = torch.autograd.grad(total, list(layer.parameters()))
    wide = copy.deepcopy(layer).double()
    expected = torch.autograd.grad(wide(x.double(), lengths=lengths)[0].sin().sum(), list(wide.parameters()))
    for found, right in zip(grads, expected, strict=True):
        assert found.dtype == torch.float32
        assert (found != found.bfloat16()).any()
        assert (found - right).norm() < 0.05 * right.norm()


@NEEDS_CORE
def test_second_gradients__match_float32__autocast() -> None:
    layer, x, found = make("native"), draw(T, B, I), list[tuple[Tensor, ...]]()
    for narrow in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=narrow):
            total = layer(x)[0].float().sin().sum()
        first = torch.autograd.grad(total, list(layer.parameters()), create_graph=True)
        slope = sum((grad.square().sum() for grad in first), start=torch.zeros(()))
        found.append(torch.autograd.grad(slope, list(layer.parameters())))
    for wide, rounded in zip(*found, strict=True):
        assert (rounded - wide).norm() < 0.1 * wide.norm()


@NEEDS_CORE
def test_gradients__equal_one_by_one__many_at_once_under_autocast() -> None:
    layer, x = make("native"), draw(T, B, I)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(x)[0]
    upstream = draw(3, *output.shape).to(output.dtype)
    weights = list(layer.parameters())
    together = torch.autograd.grad(output, weights, upstream, is_grads_batched=True, retain_graph=True)
    for k, one in enumerate(upstream):
        single = torch.autograd.grad(output, weights, one, retain_graph=True)
        for left, right in zip(single, together, strict=True):
            assert (left - right[k]).norm() < 0.05 * left.norm() + 1e-3
