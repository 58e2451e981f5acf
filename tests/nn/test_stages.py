"""Every stage: NumPy against torch, against a naive loop where it is not obvious, and its gradients."""

import copy

import numpy as np
import pytest
import torch
from helpers.models import randomise, sequence_stages
from hypothesis import given
from hypothesis import strategies as st

from lstmkit.nn import StagedModel
from lstmkit.runtime import STAGE_KINDS, Stage, run_stages
from lstmkit.runtime.stage_shapes import BATCH, STEPS
from lstmkit.runtime.stages import check_stages
from lstmkit.spec import CellSpec

CELL = CellSpec(3, 5, num_layers=2, bidirectional=True, proj_size=2)
B, S = BATCH, STEPS

# kind -> options and shapes of the inputs, all sizes odd or different.
CASES = {
    "adaptive_softmax": ({"features": 5, "cutoffs": [2, 4, 9], "shrink": 2}, [(B, 3, 5)]),
    "add": ({}, [(B, 5, 3), (B, 1, 3), (B, 5, 1)]),
    "attend": ({"how": "additive", "units": 3}, [(B, 4, 3), (B, 5, 3), (B, 5, 2), (B,)]),
    "attention_pool": ({"features": 3, "units": 4}, [(B, 5, 3), (B,)]),
    "bag": ({"things": 6, "features": 3, "how": "mean"}, [(B, 5, 4)]),
    "crf": ({"tags": 4}, [(B, 5, 4)]),
    "dropout": ({"rate": 0.5}, [(B, 5, 3)]),
    "embedding": ({"tokens": 6, "features": 3, "shared": True}, [(B, 5)]),
    "every_step": ({}, [(B, 3)]),
    "exponential": ({}, [(B, 5, 3)]),
    "gather": ({}, [(6, 3), (B, 5)]),
    "join_directions": ({}, [(2, B, 3)]),
    "join_features": ({}, [(B, 5, 3), (B, 5, 4)]),
    "join_steps": ({}, [(B, 5, 3), (B, 2, 3)]),
    "last_steps": ({"steps": 2}, [(B, 5, 3)]),
    "linear": ({"features": 7, "units": 4}, [(B, 5, 3), (B, 5, 4)]),
    "logarithm": ({}, [(B, 5)]),
    "patches": ({"length": 4}, [(B, 7), (B, 7, 2), (B, 7)]),
    "pool": ({"how": "max"}, [(B, 5, 3), (B,)]),
    "queries": ({"steps": 3, "features": 2}, [(B, 5)]),
    "recurrent": ({"cell": CELL.to_dict()}, [(B, 6, 3), (4, B, 2), (4, B, 5)]),
    "relu": ({}, [(B, 5, 3)]),
    "restore": ({}, [(B, 5, 3), (B, 1), (B, 1)]),
    "season_mix": ({"season": 3, "seasons": 4, "patch": 5, "horizon": 8}, [(B, 2, 4), (B, 12), (B, 12)]),
    "shift": ({"horizon": 5, "quantiles": 3}, [(B, 5, 3)]),
    "tanh": ({}, [(B, 5, 3)]),
    "tied_linear": ({"tokens": 7}, [(B, 5, 3), (7, 3)]),
    "unpatch": ({"horizon": 7, "quantiles": 3}, [(B, 2, 12)]),
    "window_scale": ({}, [(B, 9)]),
}


# Inputs that are whole numbers.
WHOLE = {"attend": "in3", "attention_pool": "in1", "bag": "in0", "embedding": "in0", "gather": "in1", "pool": "in1"}
# Where the batch is not the first axis of an input; None: it has no batch.
BATCH_AXES = {
    "gather": {"in0": None},
    "join_directions": {"in0": 1},
    "recurrent": {"in1": 1, "in2": 1},
    "tied_linear": {"in1": None},
}


def case(kind, batch=3, seed=0):
    """A stage with random inputs and parameters; masks are zeros and ones, targets have holes."""
    options, shapes = CASES[kind]
    stage = Stage("stage", kind, tuple(f"in{k}" for k in range(len(shapes))), options)
    rng = np.random.default_rng(seed)
    sized = [tuple(batch if size == B else size for size in shape) for shape in shapes]
    inputs = {f"in{k}": rng.normal(size=shape).astype(np.float32) for k, shape in enumerate(sized)}
    if kind == "season_mix":
        inputs["in2"] = (rng.random(sized[2]) < 0.7).astype(np.float32)
    if kind in ("logarithm", "window_scale"):
        inputs["in0"] = np.where(rng.random(sized[0]) < 0.3, np.nan, np.exp(inputs["in0"].astype(float)))
    if kind in WHOLE:
        inputs[WHOLE[kind]] = rng.integers(1, 6, sized[int(WHOLE[kind][-1])])
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in stage.parameter_shapes().items()}
    return stage, inputs, weights


def run(xp, stage, inputs, weights):
    values = run_stages(xp, [stage], {stage.name: weights}, inputs)
    return {name: values[name] for name in stage.results}


def test_cases__match_every_kind():
    assert CASES.keys() == STAGE_KINDS.keys()


@pytest.mark.parametrize("kind", CASES)
def test_stage__matches_torch(kind):
    stage, inputs, weights = case(kind)
    ours = run(np, stage, inputs, weights)
    theirs = run(
        torch,
        stage,
        {n: torch.from_numpy(a) for n, a in inputs.items()},
        {n: torch.from_numpy(a) for n, a in weights.items()},
    )
    for name, array in ours.items():
        assert array.dtype == theirs[name].numpy().dtype
        np.testing.assert_allclose(array, theirs[name].numpy(), rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("narrow", [False, True], ids=["float32", "autocast"])
@pytest.mark.parametrize("core", [False, True], ids=["torch", "core"])
@pytest.mark.parametrize("kind", ["attention_pool", "bag", "embedding", "gather", "linear"])
def test_trained_stage__matches_its_text(kind, core, narrow, monkeypatch):
    if not core:
        for name in ("can_attend", "can_look_up"):
            monkeypatch.setattr(f"lstmkit.nn.stages.{name}", lambda *arguments: False)
    stage, inputs, weights = case(kind)
    module = StagedModel([stage])
    module.load_arrays({f"stage.{name}": array for name, array in weights.items()})
    tensors = {n: torch.from_numpy(a).requires_grad_(a.dtype == np.float32) for n, a in inputs.items()}
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        found = module(tensors)["stage"]
    expected = run_stages(torch, [stage], module.stage_weights(), tensors)["stage"]
    given = [*module.parameters(), *(tensor for tensor in tensors.values() if tensor.requires_grad)]
    grads = [torch.autograd.grad(value.float().sin().sum(), given) for value in (found, expected)]
    tolerance = 0.05 if narrow else 1e-5
    for left, right in zip((found, *grads[0]), (expected, *grads[1]), strict=True):
        torch.testing.assert_close(left.float(), right, rtol=tolerance, atol=tolerance)


def test_linear__equals_itself__few_products_under_autocast():
    small, large = ({"features": size, "units": size} for size in (8, 512))
    for options, same in ((small, True), (large, False)):
        module, x = StagedModel([Stage("head", "linear", ("x",), options)]), torch.randn(4, options["features"])
        with torch.autocast("cpu", torch.bfloat16):
            found = module({"x": x})["head"]
        assert torch.equal(found.float(), module({"x": x})["head"]) is same


@pytest.mark.parametrize("kind", CASES)
def test_declared_shapes__match_computed_ones(kind):
    stage, inputs, weights = case(kind, batch=4)
    _, shapes = CASES[kind]
    declared = check_stages([stage], dict(zip(stage.inputs, shapes, strict=True)))
    for name, array in run(np, stage, inputs, weights).items():
        assert tuple(4 if size == B else size for size in declared[name]) == array.shape


@pytest.mark.parametrize("kind", CASES)
def test_gradients__reach_parameters_and_inputs(kind):
    stage, inputs, weights = case(kind)
    tensors = {n: torch.from_numpy(np.nan_to_num(a, nan=1.5)) for n, a in inputs.items()}
    tensors = {n: tensor.requires_grad_() if tensor.is_floating_point() else tensor for n, tensor in tensors.items()}
    parameters = {n: torch.from_numpy(a).requires_grad_() for n, a in weights.items()}
    results = run(torch, stage, tensors, parameters)
    # What a CRF gives beside its scores is its parameters; elsewhere the first result says enough.
    sum(results[name].square().sum() for name in (results if kind == "crf" else ["stage"])).backward()
    for name, tensor in parameters.items():
        assert tensor.grad is not None, name
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().sum() > 0, name
    if kind not in ("queries", "bag", "embedding"):
        assert tensors["in0"].grad.abs().sum() > 0


@pytest.mark.parametrize("kind", CASES)
def test_stage__preserves_batch_order(kind):
    stage, inputs, weights = case(kind)
    order = np.array([2, 0, 1])
    axes = dict.fromkeys(inputs, 0) | BATCH_AXES.get(kind, {})
    mixed = {name: a if axes[name] is None else a.take(order, axes[name]) for name, a in inputs.items()}
    np.testing.assert_array_equal(
        run(np, stage, mixed, weights)["stage"], run(np, stage, inputs, weights)["stage"][order]
    )


def test_adaptive_softmax__matches_torch():
    options = {"features": 16, "cutoffs": [4, 9, 23], "shrink": 2}
    module = StagedModel([Stage("stage", "adaptive_softmax", ("x",), options)])
    x = torch.randn(11, 16)
    expected = module.parts["stage"].log_prob(x)
    weights = {"stage": {name: own.detach().numpy() for name, own in module.stage_weights()["stage"].items()}}
    found = run_stages(np, module.stages, weights, {"x": x.numpy()[None]})["stage"][0]
    np.testing.assert_allclose(found, expected.detach(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.exp(found).sum(-1), 1, rtol=1e-5)


def test_tied_linear__never_has_weights_of_its_own():
    table = {"tokens": 6, "features": 3, "shared": True}
    stages = [
        Stage("embedded", "embedding", ("tokens",), table),
        Stage("scores", "tied_linear", ("embedded", "embedded.weight"), {"tokens": 6}),
    ]
    module = StagedModel(stages)
    assert module.arrays().keys() == {"embedded.weight", "scores.bias"}
    tokens = torch.tensor([[4, 0, 5]])
    weight = module.parts["embedded"].weight
    expected = weight[tokens] @ weight.T + module.parts["scores"].bias
    torch.testing.assert_close(module({"tokens": tokens})["scores"], expected)
    module({"tokens": tokens})["scores"].sum().backward()
    assert (weight.grad.abs().sum(1) > 0).all()


@pytest.mark.parametrize("same_steps", [False, True])
def test_dropout__drops_features_of_all_steps_or_of_one(same_steps):
    module = StagedModel([Stage("thin", "dropout", ("x",), {"rate": 0.5, "same_steps": same_steps})])
    x = torch.ones(4, 50, 30)
    assert torch.equal(module.eval()({"x": x})["thin"], x)
    dropped = module.train()({"x": x})["thin"]
    # What is left is doubled.
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert ((dropped == dropped[:, :1]).all()) == same_steps
    assert not torch.equal(dropped[0], dropped[1])


def test_embedding__drops_whole_tokens():
    module = StagedModel(
        [Stage("rows", "embedding", ("tokens",), {"tokens": 200, "features": 3, "dropout": 0.25})]
    ).train()
    tokens = torch.arange(200).repeat(2, 1)
    rows = module({"tokens": tokens})["rows"]
    weight = module.parts["rows"].weight
    dropped = (rows == 0).all(-1)
    assert torch.equal(dropped[0], dropped[1])
    assert 20 < dropped[0].sum() < 85
    torch.testing.assert_close(rows[0][~dropped[0]], weight[~dropped[0]] / 0.75)
    assert not (module.eval()({"tokens": tokens})["rows"] == 0).any()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_staged_model__matches_run_stages(bidirectional):
    stages = sequence_stages(bidirectional=bidirectional, num_layers=2)
    module = randomise(StagedModel(stages))
    x = np.random.default_rng(1).normal(size=(3, 6, 3)).astype(np.float32)
    weights = {name: {n: t.detach().numpy() for n, t in own.items()} for name, own in module.stage_weights().items()}
    ours = run_stages(np, stages, weights, {"x": x})
    theirs = module({"x": torch.from_numpy(x)})
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name].detach().numpy(), rtol=1e-5, atol=2e-6, err_msg=name)


def test_staged_model__never_drops__in_evaluation():
    module = randomise(StagedModel(sequence_stages()))
    x = {"x": torch.randn(2, 6, 3)}
    assert torch.equal(module(x)["sum"], module(x)["sum"])
    module.train()
    assert not torch.equal(module(x)["sum"], module(x)["sum"])


def test_dropout_of_same_stepss__matches_one_mask():
    """A feature is there in all steps or in none, and as large on average as without dropout."""
    stage = Stage("thinned", "dropout", ("x",), {"rate": 0.25, "same_steps": True})
    module = StagedModel([stage])
    torch.manual_seed(0)
    x = torch.ones(400, 5, 7)
    dropped = module({"x": x})["thinned"]
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, torch.tensor(4 / 3).item()}
    assert abs(float(dropped.mean()) - 1) < 0.05
    assert torch.equal(module.eval()({"x": x})["thinned"], x)


def test_arrays__roundtrip():
    one, two = (randomise(StagedModel(sequence_stages()), seed) for seed in (0, 1))
    x = {"x": torch.randn(2, 6, 3)}
    assert not torch.equal(one(x)["sum"], two(x)["sum"])
    two.load_arrays(one.arrays())
    assert torch.equal(one(x)["sum"], two(x)["sum"])


def test_copy__never_shares_weights():
    module = randomise(StagedModel(sequence_stages()))
    x = {"x": torch.randn(2, 6, 3)}
    other = copy.deepcopy(module)
    before = module(x)["sum"]
    randomise(other, 7)
    assert torch.equal(module(x)["sum"], before)
    assert not torch.equal(other(x)["sum"], before)


sizes = st.integers(1, 5)


@given(length=sizes, steps=sizes, features=sizes)
def test_patches__match_naive_loop(length, steps, features):
    rng = np.random.default_rng(0)
    flat, deep = rng.normal(size=(2, steps)), rng.normal(size=(2, steps, features))
    stage = Stage("p", "patches", ("a", "b"), {"length": length})
    result = run_stages(np, [stage], {}, {"a": flat, "b": deep})["p"]
    for window in range(2):
        rows = [[flat[window, t], *deep[window, t]] for t in range(steps)]
        rows += [[0.0] * (1 + features)] * (-steps % length)
        expected = [[v for row in rows[k : k + length] for v in row] for k in range(0, len(rows), length)]
        np.testing.assert_array_equal(result[window], expected)


@given(patch=sizes, quantiles=sizes, tokens=sizes, data=st.data())
def test_unpatch__matches_naive_loop(patch, quantiles, tokens, data):
    horizon = data.draw(st.integers(1, tokens * patch))
    x = np.random.default_rng(0).normal(size=(2, tokens, patch * quantiles))
    options = {"horizon": horizon, "quantiles": quantiles}
    result = run_stages(np, [Stage("u", "unpatch", ("x",), options)], {}, {"x": x})["u"]
    assert result.shape == (2, horizon, quantiles)
    for step in range(horizon):
        token, place = divmod(step, patch)
        for q in range(quantiles):
            np.testing.assert_array_equal(result[:, step, q], x[:, token, place * quantiles + q])


@given(season=sizes, seasons=sizes, patch=sizes, horizon=st.integers(1, 9), seed=st.integers(0, 99))
def test_season_mix__matches_naive_loop(season, seasons, patch, horizon, seed):
    tokens = -(-horizon // patch)
    options = {"season": season, "seasons": seasons, "patch": patch, "horizon": horizon}
    stage = Stage("m", "season_mix", ("scores", "z", "mask"), options)
    rng = np.random.default_rng(seed)
    scores, z = 9 * rng.normal(size=(2, tokens, seasons)), rng.normal(size=(2, seasons * season))
    mask = (rng.random(z.shape) < 0.6).astype(float)
    mask[0] = 0.0
    z = z * mask
    weight = rng.normal(size=stage.parameter_shapes()["weight"])
    result = run_stages(np, [stage], {"m": {"weight": weight}}, {"scores": scores, "z": z, "mask": mask})["m"]
    assert result.shape == (2, horizon, 1)
    for window in range(2):
        for step in range(horizon):
            token, phase = step // patch, step % (tokens * patch) % season
            values = [z[window, k * season + phase] for k in range(seasons)]
            shares = [
                np.exp(scores[window, token, k] - scores[window, token].max()) * mask[window, k * season + phase]
                for k in range(seasons)
            ]
            mean = sum(s * v for s, v in zip(shares, values, strict=True)) / (sum(shares) + 1e-12)
            linear = sum(weight[token, k] * values[k] for k in range(seasons))
            np.testing.assert_allclose(result[window, step, 0], mean + linear, rtol=1e-9, atol=1e-12)


def scale(target):
    return [
        run_stages(np, [Stage("s", "window_scale", ("y",))], {}, {"y": target})[n]
        for n in ("s", "s.mask", "s.location", "s.scale")
    ]


@given(level=st.sampled_from([0.0, 1.0, -1e9, 1e9]), spread=st.sampled_from([1e-4, 1.0, 1e6]), seed=st.integers(0, 99))
def test_window_scale__matches_naive_statistics(level, spread, seed):
    rng = np.random.default_rng(seed)
    y = level + spread * rng.normal(size=(3, 9))
    y[rng.random(y.shape) < 0.4] = np.nan
    y[0, 0], y[1, 1], y[2, 2] = np.inf, level, level
    standard, mask, location, width = scale(y)
    np.testing.assert_array_equal(mask, np.isfinite(y))
    for window, row in enumerate(y):
        kept = row[np.isfinite(row)]
        centre = kept.mean() if len(kept) else 0.0
        deviation = kept.std() if len(kept) else 0.0
        assert location[window, 0] == pytest.approx(centre, rel=1e-12, abs=1e-12)
        expected = deviation + 1e-6 * abs(centre) + 1e-30
        assert width[window, 0] == pytest.approx(expected, rel=1e-4)
        back = standard[window].astype(float) * width[window] + location[window]
        np.testing.assert_allclose(back[np.isfinite(row)], kept, rtol=0, atol=1e-6 * expected * 10 + 1e-12)
        assert (standard[window][~np.isfinite(row)] == 0).all()


@pytest.mark.parametrize("value", [np.nan, 0.0, 3.0, -1e9, 1e9])
def test_window_scale__matches_zero__in_constant_or_missing_windows(value):
    standard, mask, location, width = scale(np.full((2, 5), value))
    assert (standard == 0).all()
    assert (mask == float(np.isfinite(value))).all()
    assert (location == (value if np.isfinite(value) else 0.0)).all()
    assert np.isfinite(width).all()
    assert (width > 0).all()


def test_window_scale__leaves_in_float32__and_keeps_precise_statistics():
    standard, mask, location, width = scale(1e9 + np.arange(8.0)[None])
    assert [part.dtype for part in (standard, mask, location, width)] == [
        np.float32,
        np.float32,
        np.float64,
        np.float64,
    ]
    assert location[0, 0] == 1e9 + 3.5


def test_window_scale__matches_last_observed_value__as_centre():
    y = np.array([[1.0, 2.0, np.nan, 4.0, np.nan], [5.0, np.nan, np.inf, np.nan, np.nan], [np.nan] * 5])
    stage = Stage("s", "window_scale", ("y",), {"centre": "last"})
    values = run_stages(np, [stage], {}, {"y": y})
    np.testing.assert_array_equal(values["s.location"][:, 0], [4.0, 5.0, 0.0])
    np.testing.assert_allclose(values["s.scale"][0], np.std([1, 2, 4]), rtol=1e-5)
    np.testing.assert_allclose(values["s"][0] * values["s.scale"][0], [-3, -2, 0, 0, 0], rtol=1e-6)
    theirs = run_stages(torch, [stage], {}, {"y": torch.from_numpy(y)})
    for name in stage.results:
        np.testing.assert_array_equal(values[name], theirs[name].numpy())


def test_logarithm__matches_missing__where_there_is_none():
    stage = Stage("l", "logarithm", ("y",))
    result = run_stages(np, [stage], {}, {"y": np.array([1.0, 0.0, -3.0, np.nan, np.e])})["l"]
    np.testing.assert_allclose(result, [0, np.nan, np.nan, np.nan, 1])
