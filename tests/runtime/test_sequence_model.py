import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.models import randomise, sequence_stages

import lstmkit
from lstmkit.nn import LSTM, StagedModel, TreeLSTM, save_model
from lstmkit.runtime import SequenceModel, Stage
from lstmkit.spec import DataError, LSTMKitError, OptionError, ShapeError

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

LAYERS = {
    "plain": {},
    "deep": {"num_layers": 3},
    "projected": {"num_layers": 2, "proj_size": 2},
    "no-bias": {"bias": False},
    "bidirectional": {"num_layers": 2, "bidirectional": True},
    "bidirectional-projected": {"num_layers": 2, "bidirectional": True, "proj_size": 3},
}
STREAMED = [name for name in LAYERS if "bidirectional" not in name]


def draw(*shape, seed=3):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def saved(tmp_path, module):
    path = tmp_path / "model.safetensors"
    save_model(path, module)
    return lstmkit.load(path)


def layer(options, cls=LSTM):
    return randomise(cls(3, 5, batch_first=True, **options))


@pytest.fixture
def model(tmp_path):
    """linear -> relu -> LSTM with a learned first state -> linear, and a way around."""
    return saved(tmp_path, randomise(StagedModel(sequence_stages(num_layers=2, proj_size=3))))


@pytest.mark.parametrize("cls", [LSTM, torch.nn.LSTM], ids=["lstmkit", "torch"])
@pytest.mark.parametrize("options", LAYERS.values(), ids=LAYERS)
def test_saved_layer__matches_torch(tmp_path, options, cls):
    ours, theirs = layer(options, cls), torch.nn.LSTM(3, 5, batch_first=True, **options)
    theirs.load_state_dict(ours.state_dict())
    model = saved(tmp_path, ours)
    x = draw(4, 9, 3)
    np.testing.assert_allclose(model.predict(x), theirs(torch.from_numpy(x))[0].detach(), rtol=0, atol=1e-5)
    assert (model.input_size, model.output_size) == (3, model.predict(x).shape[-1])


@pytest.mark.parametrize("options", [LAYERS[name] for name in STREAMED], ids=STREAMED)
def test_stream__matches_whole_sequence(tmp_path, options):
    model = saved(tmp_path, layer(options))
    x = draw(13, 3)
    stream = model.stream()
    steps = np.stack([stream.step(row) for row in x])
    np.testing.assert_allclose(steps, model.predict(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("split", [1, 4, 12])
def test_stream__matches_whole_sequence__in_blocks(model, split):
    x, stream = draw(13, 3), model.stream()
    blocks = np.concatenate([stream.run(x[:split]), stream.run(x[split:])])
    np.testing.assert_allclose(blocks, model.predict(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("options", [{"num_layers": 2}, {"bidirectional": True}], ids=["deep", "bidirectional"])
def test_saved_stack__matches_torch(tmp_path, options):
    module = randomise(StagedModel(sequence_stages(**options)))
    x = draw(4, 9, 3)
    theirs = module({"x": torch.from_numpy(x)})["sum"].detach()
    np.testing.assert_allclose(saved(tmp_path, module).predict(x), theirs, rtol=0, atol=1e-5)


def test_learned_first_state__matches_torch__in_stream_too(tmp_path):
    module = randomise(LSTM(3, 5, num_layers=2, proj_size=2, batch_first=True, learn_initial_state=True))
    model, x = saved(tmp_path, module), draw(7, 3)
    theirs = module(torch.from_numpy(x))[0].detach()
    stream = model.stream()
    np.testing.assert_allclose(model.predict(x), theirs, rtol=0, atol=1e-5)
    np.testing.assert_allclose([stream.step(row) for row in x], theirs, rtol=0, atol=1e-5)
    assert np.abs(stream.state["lstm.h"]).sum() > 0


def test_saved_layer__matches_parametrised_weights(tmp_path):
    module = layer({})
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    x = draw(2, 6, 3)
    theirs = module(torch.from_numpy(x))[0].detach()
    np.testing.assert_allclose(saved(tmp_path, module).predict(x), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_saved_layer__matches_torch__of_another_dtype(tmp_path, dtype):
    module = layer({}).to(dtype)
    x = draw(2, 6, 3)
    theirs = module.float()(torch.from_numpy(x))[0].detach()
    np.testing.assert_allclose(saved(tmp_path, module.to(dtype)).predict(x), theirs, rtol=0, atol=1e-5)


def test_batch__matches_single_rows(model):
    x = draw(4, 9, 3)
    for row, whole in zip(x, model.predict(x), strict=True):
        np.testing.assert_allclose(model.predict(row), whole, rtol=0, atol=1e-6)


def test_predict__matches_itself__on_views_lists_and_integers(model):
    x = draw(3, 9, 4)[..., ::-1].transpose(2, 1, 0)[:, ::2]
    assert not x.flags.c_contiguous
    np.testing.assert_array_equal(model.predict(x), model.predict(x.copy()))
    np.testing.assert_array_equal(model.predict([[1, 2, 3]]), model.predict(np.array([[1.0, 2.0, 3.0]])))


def test_resave__roundtrips(model, tmp_path):
    model.save(tmp_path / "again.safetensors")
    again = lstmkit.load(tmp_path / "again.safetensors")
    x = draw(2, 5, 3)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.document == model.document


def test_streams__never_share_state(model):
    x, y = draw(6, 3, seed=1), draw(6, 3, seed=2)
    one, two = model.stream(), model.stream()
    mixed = [(one.step(a), two.step(b)) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose([a for a, _ in mixed], model.predict(x), rtol=0, atol=1e-6)
    np.testing.assert_allclose([b for _, b in mixed], model.predict(y), rtol=0, atol=1e-6)


def test_clone__equals_original__and_goes_its_own_way(model):
    x, stream = draw(8, 3), model.stream()
    stream.run(x[:4])
    clone = stream.clone()
    other = clone.run(x[6:])
    np.testing.assert_array_equal(stream.run(x[4:6]), model_after(model, x[:4], x[4:6]))
    np.testing.assert_array_equal(other, model_after(model, x[:4], x[6:]))


def model_after(model, before, steps):
    stream = model.stream()
    stream.run(before)
    return stream.run(steps)


def test_state__roundtrips__through_a_file(model, tmp_path):
    x, stream = draw(8, 3), model.stream()
    stream.run(x[:5])
    np.savez(tmp_path / "state.npz", **stream.state)
    later = model.stream()
    with np.load(tmp_path / "state.npz") as state:
        later.state = state
    np.testing.assert_array_equal(later.run(x[5:]), stream.run(x[5:]))


def test_state__never_aliases_the_stream(model):
    stream = model.stream()
    stream.step(draw(3))
    state = stream.state
    twin = model.stream()
    twin.state = state
    for array in state.values():
        array[:] = 99
    np.testing.assert_array_equal(stream.step(draw(3)), twin.step(draw(3)))
    stream.reset()
    np.testing.assert_array_equal(stream.step(draw(3)), model.stream().step(draw(3)))


def test_reset__equals_new_stream(model):
    x, stream = draw(5, 3), model.stream()
    stream.run(x)
    stream.reset()
    np.testing.assert_array_equal(stream.run(x), model.stream().run(x))


def test_random_state__matches_torch(tmp_path):
    module = layer({"num_layers": 2, "proj_size": 2})
    stream, x = saved(tmp_path, module).stream(), draw(6, 3)
    h, c = draw(2, 1, 2), draw(2, 1, 5)
    stream.state = {"lstm.h": h, "lstm.c": c}
    theirs, (h_n, c_n) = module(torch.from_numpy(x)[None], (torch.from_numpy(h), torch.from_numpy(c)))
    np.testing.assert_allclose(stream.run(x), theirs[0].detach(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(stream.state["lstm.h"], h_n.detach(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(stream.state["lstm.c"], c_n.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (3,), (5, 2), (5, 4), (0, 3), (2, 0, 3), (2, 5, 4), (1, 2, 5, 3)], ids=str)
def test_predict__rejects_shape(model, shape):
    with pytest.raises(ShapeError, match=r"expected x of shape \(T, 3\) or \(B, T, 3\), got"):
        model.predict(np.zeros(shape))


@pytest.mark.parametrize("shape", [(), (2,), (1, 3), (3, 1)], ids=str)
def test_step__rejects_shape(model, shape):
    with pytest.raises(ShapeError, match=r"expected a step of shape \(3,\), got"):
        model.stream().step(np.zeros(shape))


@pytest.mark.parametrize("shape", [(3,), (0, 3), (4, 2), (1, 4, 3)], ids=str)
def test_run__rejects_shape(model, shape):
    with pytest.raises(ShapeError, match=r"expected steps of shape \(T, 3\), got"):
        model.stream().run(np.zeros(shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300, "text", None, 1j], ids=str)
def test_stream__rejects_what_is_no_number__and_keeps_its_state(model, bad):
    x, stream = draw(4, 3), model.stream()
    stream.run(x)
    before = stream.state
    with pytest.raises(DataError, match=r"the value at \(0, 1\) is (nan|inf|1e\+300)|expected numbers"):
        stream.step(np.array([1.0, bad, 1.0], None if isinstance(bad, float) else object if bad is None else type(bad)))
    for name, array in stream.state.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {},
        lambda state: {**state, "other.h": np.zeros(1)},
        lambda state: {name: array[:, 0] for name, array in state.items()},
        lambda state: {name: array[:1] for name, array in state.items()},
        lambda state: dict(zip(state, reversed(state.values()), strict=True)),
    ],
    ids=["empty", "extra", "dimensions", "layers", "swapped"],
)
def test_state__rejects_that_of_another_model(model, change):
    stream = model.stream()
    stream.run(draw(4, 3))
    before = stream.state
    with pytest.raises(ShapeError, match="this state belongs to another model: expected"):
        stream.state = change(stream.state)
    assert all((stream.state[name] == array).all() for name, array in before.items())


def test_bidirectional_stream__rejects_with_a_way_out(tmp_path):
    model = saved(tmp_path, layer({"bidirectional": True}))
    with pytest.raises(
        OptionError, match="a bidirectional model needs the whole sequence; it cannot stream: use predict"
    ):
        model.stream()


def refuse(tmp_path, module, match):
    with pytest.raises(OptionError, match=match):
        save_model(tmp_path / "model.safetensors", module)
    assert not list(tmp_path.iterdir())


def test_save_model__rejects_other_modules(tmp_path):
    refuse(tmp_path, torch.nn.GRUCell(2, 3), "cannot save a GRUCell; give a recurrent layer")
    refuse(tmp_path, TreeLSTM(2, 3), "cannot save a TreeLSTM: it runs over trees")


def test_save_model__rejects_stages_that_see_other_steps(tmp_path):
    stages = [*sequence_stages(), Stage("end", "last_steps", ("sum",), {"steps": 1})]
    refuse(tmp_path, StagedModel(stages), "no model that works step by step")
    stages = [*sequence_stages(), Stage("end", "relu", ("memory.h",))]
    refuse(tmp_path, StagedModel(stages), "reads the outputs of others only; 'end' reads more")


def test_save_model__rejects_another_input(tmp_path):
    refuse(tmp_path, StagedModel([Stage("a", "linear", ("target",), {"features": 2, "units": 2})]), "reads the input x")


def test_save_model__rejects_weights_that_are_not_finite(tmp_path):
    module = layer({})
    with torch.no_grad():
        module.bias_hh_l0[3] = float("nan")
    with pytest.raises(LSTMKitError, match="'lstm.bias_hh_l0' are not finite, so the model was not saved"):
        save_model(tmp_path / "model.safetensors", module)
    assert not list(tmp_path.iterdir())


def test_runtime__matches_training_machine__without_torch(tmp_path):
    model = saved(tmp_path, randomise(StagedModel(sequence_stages(num_layers=2))))
    x = draw(6, 3)
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, lstmkit, lstmkit.runtime\n"
        "model = lstmkit.load('model.safetensors'); x = np.load('x.npy'); stream = model.stream()\n"
        "np.savez('y.npz', whole=model.predict(x), steps=[stream.step(row) for row in x])\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    with np.load(tmp_path / "y.npz") as y:
        np.testing.assert_allclose(y["whole"], model.predict(x), rtol=0, atol=1e-6)
        np.testing.assert_allclose(y["steps"], y["whole"], rtol=0, atol=1e-6)


def test_sequence_model__matches_forward__without_recurrence():
    stages = [Stage("y", "linear", ("x",), {"features": 2, "units": 1}).to_dict()]
    weights = {"y.weight": np.array([[2.0, -1.0]]), "y.bias": np.array([0.5])}
    model = SequenceModel({"task": "sequence", "sequence": {"input_size": 2}, "stages": stages}, weights)
    np.testing.assert_array_equal(model.stream().run([[1, 1], [0, 2]]), [[1.5], [-1.5]])
