"""Stages over sequences of uneven length: NumPy, the native core and torch agree, and padding is never read."""

import numpy as np
import pytest
import torch

from lstmkit.nn import StagedModel
from lstmkit.runtime import Model, Stage, run_stages
from lstmkit.runtime.stage_shapes import BATCH, STEPS
from lstmkit.spec import CellSpec, ModelFileError

TOKENS, FEATURES = 11, 6
LENGTHS = np.array([3, 9, 1, 9, 5, 2, 7])
SPECS = {
    "one direction": CellSpec(FEATURES, 5),
    "two layers": CellSpec(FEATURES, 5, num_layers=2),
    "both directions": CellSpec(FEATURES, 5, num_layers=2, bidirectional=True),
    "projection": CellSpec(FEATURES, 5, bidirectional=True, proj_size=3),
    "gru": CellSpec(FEATURES, 5, bidirectional=True, cell="gru"),
}


class TextModel(Model):
    def input_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"tokens": (BATCH, STEPS), "lengths": (BATCH,)}


def make_stages(spec: CellSpec) -> list[Stage]:
    width = spec.output_size
    return [
        Stage("embedded", "embedding", ("tokens",), {"tokens": TOKENS, "features": FEATURES}),
        Stage("read", "recurrent", ("embedded", "lengths"), {"cell": spec.to_dict(), "lengths": True}),
        *(Stage(how, "pool", ("read", "lengths"), {"how": how}) for how in ("max", "mean", "last")),
        Stage("attended", "attention_pool", ("read", "lengths"), {"features": width, "units": 4}),
    ]


def hostile_module(spec: CellSpec) -> StagedModel:
    torch.manual_seed(0)
    module = StagedModel(make_stages(spec))
    with torch.no_grad():
        for weight in module.parameters():
            weight.uniform_(-0.7, 0.7)
    return module


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_uneven__matches_each_sequence_alone(spec: CellSpec) -> None:
    module = hostile_module(spec)
    document = {"stages": [stage.to_dict() for stage in module.stages]}
    model = TextModel(document, module.arrays())
    tokens = np.random.default_rng(0).integers(0, TOKENS, (len(LENGTHS), 9))
    served = model.run({"tokens": tokens, "lengths": LENGTHS})
    plain = run_stages(np, model.stages, model.weights, {"tokens": tokens, "lengths": LENGTHS})
    with torch.no_grad():
        trained = module({"tokens": torch.from_numpy(tokens), "lengths": torch.from_numpy(LENGTHS)})
    for name in ("read", "read.h", "max", "mean", "last", "attended", "attended.weights"):
        np.testing.assert_allclose(served[name], plain[name], atol=2e-6)
        np.testing.assert_allclose(served[name], trained[name], atol=2e-6)
    for row, length in enumerate(LENGTHS):
        alone = run_stages(
            np,
            model.stages,
            model.weights,
            {"tokens": tokens[row : row + 1, :length], "lengths": LENGTHS[row : row + 1]},
        )
        np.testing.assert_allclose(served["read"][row, :length], alone["read"][0], atol=2e-6)
        np.testing.assert_allclose(served["max"][row], alone["read"][0].max(0), atol=2e-6)
        np.testing.assert_allclose(served["mean"][row], alone["read"][0].mean(0), atol=2e-6)
        np.testing.assert_allclose(served["last"][row], alone["read"][0, -1], atol=2e-6)
        np.testing.assert_allclose(served["attended"][row], alone["attended"][0], atol=2e-6)
    assert not served["read"][np.arange(9) >= LENGTHS[:, None]].any()


def test_padding__is_never_read() -> None:
    module = hostile_module(SPECS["both directions"])
    tokens = np.random.default_rng(0).integers(0, TOKENS, (len(LENGTHS), 9))
    other = np.where(np.arange(9) < LENGTHS[:, None], tokens, (tokens + 1) % TOKENS)
    lengths = torch.from_numpy(LENGTHS)
    first, second = (module({"tokens": torch.from_numpy(each), "lengths": lengths}) for each in (tokens, other))
    for name in ("max", "mean", "last", "attended"):
        assert torch.equal(first[name], second[name])
    first["attended"].sum().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in module.parameters())


def test_attention__gradient_matches_differences() -> None:
    stage = make_stages(SPECS["one direction"])[-1]
    lengths = torch.tensor([2, 4, 1])

    def attend(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        weights = {"attended": {"weight": weight, "bias": bias, "v": v}}
        return run_stages(torch, [stage], weights, {"read": x, "lengths": lengths})["attended"]

    shapes = [(3, 4, 5), *stage.parameter_shapes().values()]
    torch.manual_seed(0)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(attend, inputs)


@pytest.mark.parametrize(
    ("kind", "inputs", "options"),
    [
        ("embedding", ["tokens"], {"tokens": 0, "features": 4}),
        ("embedding", ["tokens"], {"tokens": 4}),
        ("pool", ["tokens", "lengths"], {"how": "max"}),
        ("pool", ["embedded", "lengths"], {"how": "median"}),
        ("pool", ["embedded", "embedded"], {"how": "max"}),
        ("attention_pool", ["embedded", "lengths"], {"features": 3, "units": 2}),
        ("recurrent", ["embedded"], {"cell": SPECS["gru"].to_dict(), "lengths": True}),
        ("recurrent", ["embedded", "lengths"], {"cell": SPECS["gru"].to_dict(), "lengths": 3}),
        ("recurrent", ["embedded", "lengths"], {"cell": SPECS["gru"].to_dict()}),
    ],
)
def test_stages__reject_what_makes_no_sense(kind: str, inputs: list[str], options: dict) -> None:
    first = make_stages(SPECS["gru"])[0]
    document = {"stages": [first.to_dict(), {"name": "bad", "kind": kind, "inputs": inputs, "options": options}]}
    with pytest.raises(ModelFileError, match="damaged"):
        TextModel(document, {"embedded.weight": np.zeros((TOKENS, FEATURES))})
