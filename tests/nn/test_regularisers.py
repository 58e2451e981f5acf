"""Dropouts of recurrent layers and zoneout: what they drop, that a seed fixes it, and that evaluation is free of it."""

from typing import Any

import pytest
import torch
from helpers import naive_lstm
from helpers.hostile import close, hostile
from helpers.specs import make_spec
from torch import Tensor

from lstmkit import nn
from lstmkit.nn.regularisers import Rates, draw_masks
from lstmkit.ops import draw as draw_module
from lstmkit.ops import draw_choices, draw_factors, native_available
from lstmkit.reference import Masks
from lstmkit.spec import CellSpec, EngineError, OptionError

I, H = 3, 4
RATES = ["input_dropout", "state_dropout", "candidate_dropout", "weight_dropout"]
EVERY_RATE = pytest.mark.parametrize("name", [*RATES, "zoneout_h", "zoneout_c"])


def make(**options: Any) -> nn.LSTM:
    torch.manual_seed(1)
    return nn.LSTM(I, H, **({"dtype": torch.float64} | options))


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def run(layer: nn.LSTM, seed: int = 3, **options: Any) -> tuple[Tensor, ...]:
    torch.manual_seed(seed)
    output, state = layer(draw(6, 5, I), **options)
    return output, *state


@EVERY_RATE
def test_training__matches_itself__same_seed_any_threads(name: str) -> None:
    """Masks are equal; sums may be ordered otherwise."""
    layer, before = make(num_layers=2, bidirectional=True, **{name: 0.4}), torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            results.append(run(layer))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        for left, right in zip(result, results[0], strict=True):
            close(left, right)
    assert float((run(layer, seed=4)[0] - results[0][0]).detach().abs().max()) > 1e-3


@pytest.mark.parametrize("name", RATES)
def test_evaluation__equals_plain(name: str) -> None:
    layer, plain = make(num_layers=2, **{name: 0.4}), make(num_layers=2)
    assert list(layer.state_dict()) == list(plain.state_dict())
    for left, right in zip(run(layer.eval()), run(plain.eval()), strict=True):
        assert torch.equal(left, right)
    assert layer.explain_engine().engine == plain.explain_engine().engine


def as_lists(masks: Masks, b: int, t: int) -> dict[str, Any]:
    state, *rest = masks
    found = {"state": state if state is None else state[b]}
    found |= {name: mask if mask is None else mask[t, b] for name, mask in zip(Masks._fields[1:], rest, strict=True)}
    return {name: mask.tolist() for name, mask in found.items() if mask is not None}


@pytest.mark.square(
    "values",
    *("lstm state_dropout", "lstm candidate_dropout", "lstm zoneout-h-drawn", "lstm zoneout-c-drawn"),
    engine="reference",
)
@pytest.mark.parametrize(
    "options",
    [
        {"state_dropout": 0.4},
        {"candidate_dropout": 0.4},
        {"zoneout_h": 0.4},
        {"zoneout_c": 0.4},
        {"state_dropout": 0.2, "candidate_dropout": 0.3, "zoneout_h": 0.4, "zoneout_c": 0.5},
        {"state_dropout": 0.3, "proj_size": 2, "peepholes": "ifo", "layer_norm": "ba", "zoneout_h": 0.3},
    ],
    ids=str,
)
def test_training__matches_plain_python__same_masks(options: dict[str, Any]) -> None:
    rates = Rates(**{name: rate for name, rate in options.items() if name in RATES})
    spec = make_spec(bidirectional=True, **{name: value for name, value in options.items() if name not in RATES})
    case = hostile(spec)
    layer = make(bidirectional=True, **options)
    layer.load_state_dict(case.parameters)
    torch.manual_seed(7)
    masks = draw_masks(spec, rates, 0, case.clean)
    assert masks is not None
    torch.manual_seed(7)
    output, state = layer(case.x, case.hx, lengths=case.lengths)
    for b, length in enumerate(case.lengths.tolist()):
        for d, suffix in enumerate(("_l0", "_l0_reverse")):
            own = {
                name.removesuffix(suffix): v.tolist() for name, v in case.parameters.items() if name.endswith(suffix)
            }
            expected, last, _, _ = naive_lstm.run_row(
                spec.variant,
                own,
                case.clean[:length, b].tolist(),
                [value[d, b].tolist() for value in case.hx],
                lambda t, d=d, b=b: as_lists(masks[d], b, t),
                backwards=d == 1,
            )
            R = spec.state_size
            close(output[:length, b, d * R : (d + 1) * R], torch.tensor(expected, dtype=torch.float64))
            for ours, theirs in zip(state, last, strict=True):
                close(ours[d, b], torch.tensor(theirs, dtype=torch.float64))


@pytest.mark.parametrize("name", ["state", "candidate", "zoneout_h", "zoneout_c"])
def test_masks__match_rate_and_scale(name: str) -> None:
    spec = CellSpec(2, 50, variant=make_spec(zoneout_h=0.25, zoneout_c=0.25).variant)
    torch.manual_seed(0)
    (masks,) = draw_masks(  # pyright: ignore
        spec, Rates(state_dropout=0.25, candidate_dropout=0.25), 0, torch.zeros(20, 100, 2)
    )
    mask = getattr(masks, name)
    scale = 1.0 if name.startswith("zoneout") else 0.75
    assert set(mask.double().unique().mul(scale).round(decimals=5).tolist()) == {0.0, 1.0}
    share = float((mask != 0).double().mean())
    expected = 0.25 if name.startswith("zoneout") else 0.75
    assert abs(share - expected) < 5 * (0.25 * 0.75 / mask.numel()) ** 0.5


@pytest.mark.square("values", "lstm input_dropout")
@pytest.mark.parametrize("engine", ["torch", "reference", "native"])
def test_input_dropout__equals_masked_input__same_at_every_step(engine: str) -> None:
    if engine == "native" and not native_available():
        pytest.skip("the native core was not built")
    layer, plain = make(input_dropout=0.5, engine=engine), make()
    torch.manual_seed(3)
    mask = draw_factors((1, 5, I), 0.5, draw(1))
    assert 0 < int((mask == 0).sum()) < mask.numel()
    for left, right in zip(run(layer), plain(draw(6, 5, I) * mask), strict=False):
        close(left, right if isinstance(right, Tensor) else right[0])


@pytest.mark.square("values", "lstm weight_dropout")
@pytest.mark.parametrize("engine", ["torch", "reference", "native"])
def test_weight_dropout__equals_masked_weight__parameter_untouched(engine: str) -> None:
    if engine == "native" and not native_available():
        pytest.skip("the native core was not built")
    layer, plain = make(weight_dropout=0.5, engine=engine), make()
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    output = run(layer)[0]
    torch.manual_seed(3)
    kept = draw_factors((4 * H, H), 0.5, draw(1))
    with torch.no_grad():
        plain.weight_hh_l0 *= kept  # pyright: ignore
    close(output, run(plain)[0])
    output.sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    gradient = layer.weight_hh_l0.grad  # pyright: ignore
    assert (gradient[kept == 0] == 0).all()
    assert (gradient[kept != 0] != 0).all()


def test_zoneout__matches_expectation__mean_over_draws() -> None:
    """One step: the mean over many rows of what training draws is what evaluation computes."""
    layer = make(zoneout_h=0.3, zoneout_c=0.6)
    rows = 20_000
    x, hx = draw(1, 1, I).expand(1, rows, I), tuple(draw(2, 1, H)[k][None].expand(1, rows, H) for k in (0, 1))
    torch.manual_seed(3)
    with torch.no_grad():
        _, trained = layer(x, hx)
        _, expected = layer.eval()(x[:, :1], tuple(value[:, :1] for value in hx))
    for ours, theirs in zip(trained, expected, strict=True):
        deviation = float(ours.std(1).max()) / rows**0.5
        assert float((ours.mean(1) - theirs[:, 0]).abs().max()) < 5 * deviation
        assert deviation > 0


def test_zoneout__preserves_states__nearly_one() -> None:
    layer = make(zoneout_h=1 - 1e-12, zoneout_c=1 - 1e-12)
    hx = draw(1, 5, H), draw(1, 5, H) + 1
    _, (h, c) = layer(draw(6, 5, I), hx)
    assert torch.equal(h, hx[0])
    assert torch.equal(c, hx[1])


@EVERY_RATE
def test_gradient__matches_finite_differences__in_training(name: str) -> None:
    layer = make(**{name: 0.4})
    names, values = zip(*layer.named_parameters(), strict=True)

    def loss(x: Tensor, *values: Tensor) -> Tensor:
        torch.manual_seed(5)
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))[0]

    assert torch.autograd.gradcheck(loss, (draw(3, 2, I).requires_grad_(), *values), fast_mode=True)


@pytest.mark.parametrize("name", ["state_dropout", "candidate_dropout"])
def test_aten__rejects_masks__in_training_alone(name: str) -> None:
    layer = make(engine="torch", **{name: 0.4})
    with pytest.raises(EngineError, match=name):
        run(layer)
    run(layer.eval())


@pytest.mark.parametrize("shape", [(7,), (3, 5, 11), (200, 300), (0, 4)])
@pytest.mark.parametrize("rate", [0.0, 1e-4, 0.3, 0.5, 1 - 1e-12])
def test_draw__equals_torch_operations__native(
    shape: tuple[int, ...], rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native_available():
        pytest.skip("the native core was not built")
    draws = [lambda: draw_choices(shape, rate, torch.device("cpu")), lambda: draw_factors(shape, rate, draw(1))]
    found: list[list[Tensor]] = []
    for is_native in (True, False):
        monkeypatch.setattr(draw_module, "native_available", lambda is_native=is_native: is_native)
        torch.manual_seed(4)
        found.append([function() for function in draws])
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.shape == shape


def test_draw__has_no_pattern__neighbours_and_rows() -> None:
    torch.manual_seed(0)
    centred = draw_choices((1000, 1000), 0.3, torch.device("cpu")).double() - 0.3
    for product in (
        centred,
        centred[1:] * centred[:-1],
        centred[:, 1:] * centred[:, :-1],
        centred[:, 4:] * centred[:, :-4],
    ):
        assert abs(float(product.mean())) < 5 * float(product.std()) / product.numel() ** 0.5


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("rate", [1, 1.0, -0.1, True, "0.5", float("nan")])
def test_rate__rejects_impossible(name: str, rate: Any) -> None:
    with pytest.raises(OptionError, match=rf"{name} must be a probability in \[0, 1\), not"):
        make(**{name: rate})
