import pytest
import torch
from helpers.hostile import close, hostile
from torch import Tensor

from lstmkit.ops import lstm_layer
from lstmkit.spec import CellSpec, EngineError, ShapeError

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

KINDS = {
    "bias": {"bias": True, "proj_size": 0},
    "bare": {"bias": False, "proj_size": 0},
    "bias-projection": {"bias": True, "proj_size": 1},
    "projection": {"bias": False, "proj_size": 1},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ["torch", "reference"])
def test_op__matches_finite_differences__twice(engine: str, kind: str) -> None:
    case = hostile(CellSpec(1, 2, bidirectional=True, **KINDS[kind]), steps=3, batch=2)
    resets = case.resets if engine == "reference" else None
    values = [
        value.requires_grad_() for value in (case.clean, *(s.contiguous() for s in case.hx), *case.parameters.values())
    ]

    def run(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        results = lstm_layer(x, h, c, list(weights), case.lengths, resets, engine, True, 0, None)
        return results if engine == "reference" else results[:3]

    assert torch.autograd.gradcheck(run, values)
    assert torch.autograd.gradgradcheck(run, values, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["f32", "bf16"])
def test_op__preserves_precision__backward_of_torch(dtype: torch.dtype) -> None:
    """Autocast once crept into the backward op and rounded float32 gradients to bfloat16."""
    case = hostile(CellSpec(3, 5), dtype=dtype)
    grads: list[Tensor] = []
    for engine in ("torch", "reference"):
        values = [v.detach().requires_grad_() for v in (case.clean, *case.hx, *case.parameters.values())]
        output = lstm_layer(*values[:3], values[3:], case.lengths, None, engine, True, 0, None)[0]
        grads.append(torch.cat([g.flatten() for g in torch.autograd.grad(output.square().sum(), values)]))
    close(grads[0], grads[1])


def test_op__rejects_gradient_without_trace() -> None:
    case = hostile(CellSpec(3, 5))
    weights = [value.requires_grad_() for value in case.parameters.values()]
    with pytest.raises(EngineError, match="trace=True"):
        lstm_layer(case.clean, *case.hx, weights, None, None, "reference", False, 0, None)


def test_op__rejects_bad_lengths() -> None:
    case = hostile(CellSpec(3, 5))
    with pytest.raises(ShapeError, match=r"in 1\.\.5"):
        lstm_layer(case.clean, *case.hx, [*case.parameters.values()], case.lengths + 9, None, "torch", False, 0, None)


@pytest.mark.parametrize("engine", ["torch", "reference"])
def test_op__equals_its_fake__shapes(engine: str) -> None:
    case = hostile(CellSpec(3, 5, bidirectional=True, proj_size=2))
    args = [case.clean, *case.hx, [*case.parameters.values()], case.lengths, None, engine, True, 0, None]
    real = lstm_layer(*args)
    meta = [
        [w.to("meta") for w in a] if isinstance(a, list) else a.to("meta") if isinstance(a, Tensor) else a for a in args
    ]
    fake = lstm_layer(*meta)
    assert [(v.shape, v.dtype) for v in real] == [(v.shape, v.dtype) for v in fake]
