"""The contract of the runtime: every cell for sequences x file, stream, pool and trainable twin.

A cell that is new in the catalog is served, and tested here, by itself.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.served import (
    BIDIRECTIONAL,
    DEFAULT,
    SEQUENTIAL,
    SERVED,
    draw_steps,
    last_states,
    make_layer,
    make_spec,
    run_layer,
    space_of,
)

import lstmkit
from lstmkit import nn
from lstmkit.runtime import SequenceModel, Stage
from lstmkit.spec import CATALOG, CellSpec, DataError, EngineError, OptionError, ShapeError

EVERY = pytest.mark.parametrize("spec", SERVED.values(), ids=SERVED)
EACH_CELL = pytest.mark.parametrize("spec", DEFAULT.values(), ids=DEFAULT)

# Of float32 over seven steps, against float64. The worst of many draws is 6e-6: a Phased LSTM, whose phase is what many
# turns of its time leave over; of all other cells it is below 1e-6.
TOLERANCE = 1e-5


def near(ours: Any, theirs: Any, message: str = "") -> None:
    scale = max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE * scale, err_msg=message)


def save(path: Path, module: torch.nn.Module) -> Any:
    nn.save_model(path / "model.safetensors", module)
    return lstmkit.load(path / "model.safetensors")


def model_of(spec: CellSpec, **options: Any) -> SequenceModel:
    """The model of a layer with random weights, without a file."""
    layer = make_layer(spec, **options)
    stages = [Stage("memory", "recurrent", ("x",), {"cell": spec.to_dict(), "learn_initial_state": True})]
    weights = {f"memory.{name}": value.detach().numpy() for name, value in layer.named_parameters()}
    sizes = {"input_size": spec.read_size, "space_axes": len(spec.kernel_size)}
    sizes = {name: size for name, size in sizes.items() if size}
    document = {"task": "sequence", "sequence": sizes, "stages": [stage.to_dict() for stage in stages]}
    return SequenceModel(document, weights)


def test_served_cells__match_catalog() -> None:
    assert {spec.cell for spec in SERVED.values()} == {*SEQUENTIAL} == {*CATALOG} - {"tree"}


@EVERY
@pytest.mark.parametrize("learn", [False, True], ids=["zero", "learned"])
def test_saved_layer__matches_layer(spec: CellSpec, learn: bool, tmp_path: Path) -> None:
    layer, x = make_layer(spec, learn=learn), draw_steps(spec)
    model = save(tmp_path, layer)
    answer, expected = model.predict(x), run_layer(layer, x)[0]
    near(answer, expected)
    near(model.predict(x[1]), expected[1])
    assert answer.dtype == np.float32
    assert (model.input_size, model.output_size) == (spec.read_size, answer.shape[2])
    assert model.space_axes == len(spec.kernel_size)


@pytest.mark.parametrize("spec", BIDIRECTIONAL.values(), ids=BIDIRECTIONAL)
def test_bidirectional__matches_layer__and_rejects_a_stream(spec: CellSpec, tmp_path: Path) -> None:
    layer, x = make_layer(spec), draw_steps(spec)
    model = save(tmp_path, layer)
    near(model.predict(x), run_layer(layer, x)[0])
    for make in (model.stream, lambda **space: model.pool(2, **space)):
        with pytest.raises(OptionError, match="a bidirectional model needs the whole sequence; it cannot stream"):
            make(space=space_of(spec))


@EVERY
def test_stream__matches_whole_sequence__split_anywhere(spec: CellSpec, tmp_path: Path) -> None:
    layer, x = make_layer(spec), draw_steps(spec)[0]
    model = save(tmp_path, layer)
    expected = run_layer(layer, x[None])[0][0]
    stream = model.stream(space=space_of(spec))
    for t, step in enumerate(x):
        near(stream.step(step), expected[t], f"step {t}")
    states = last_states(layer, x)
    assert stream.state.keys() == states.keys()
    for name, value in stream.state.items():
        near(value, states[name], name)
    for split in range(1, len(x)):
        stream.reset()
        near(np.concatenate([stream.run(x[:split]), stream.run(x[split:])]), expected, f"split at {split}")


@EVERY
def test_stream__preserves_state__moved_cloned_and_reset(spec: CellSpec) -> None:
    model, x = model_of(spec), draw_steps(spec)[0]
    first = model.stream(space=space_of(spec))
    whole = first.run(x)
    first.reset()
    first.run(x[:3])
    moved, clone = model.stream(space=space_of(spec)), first.clone()
    moved.state = first.state
    resumed = first.clone().run(x[3:])
    for stream in (first, moved, clone):
        np.testing.assert_array_equal(stream.run(x[3:]), resumed)
    near(resumed, whole[3:])
    first.reset()
    np.testing.assert_array_equal(first.run(x), whole)


@EVERY
def test_pool__matches_streams__any_subset(spec: CellSpec) -> None:
    model, x = model_of(spec), draw_steps(spec)
    space = space_of(spec)
    pool, streams = model.pool(4, space=space), [model.stream(space=space) for _ in range(4)]
    for t, at in enumerate([[2, 0, 3], [0, 1, 2], [3, 2, 1], [1, 0, 2]]):
        answer = pool.step(x[:, t], indices=at)
        for row, index in enumerate(at):
            near(answer[row], streams[index].step(x[row, t]))
    for index, stream in enumerate(streams):
        for name, value in pool.state(index).items():
            near(value, stream.state[name], name)
    streams[1].state = pool.state(2)
    pool.reset([0])
    pool.set_state(3, streams[1].state)
    for name, value in pool.state(3).items():
        np.testing.assert_array_equal(value, pool.state(2)[name])
    assert all((pool.state(0)[name] == value).all() for name, value in model.stream(space=space).state.items())


@EVERY
def test_staged_twin__matches_runtime__and_gradients_reach_every_parameter(spec: CellSpec, tmp_path: Path) -> None:
    options = {"cell": spec.to_dict(), "learn_initial_state": True}
    stages = [Stage("memory", "recurrent", ("x",), options), Stage("bent", "relu", ("memory",))]
    twin, x = nn.StagedModel(stages), draw_steps(spec)
    twin.parts["memory"].load_state_dict(make_layer(spec).state_dict())
    values = twin({"x": torch.from_numpy(x)})
    values["bent"].square().sum().backward()
    for name, parameter in twin.named_parameters():
        # The rule of 1997 sends nothing back into the output before.
        never = spec.cell == "lstm1997" and name.endswith("h_0")
        gradient = torch.zeros(()) if parameter.grad is None else parameter.grad
        assert torch.isfinite(gradient).all()
        assert bool(gradient.abs().sum() > 0) != (never or not parameter.numel()), name
    model = save(tmp_path, twin)
    found = model.run({"x": x})
    for name, value in found.items():
        near(value, values[name].detach().numpy() if name != "x" else x, name)
    assert {f"memory.{name}" for name in spec.state_shapes()} < found.keys()


def test_runtime__matches_layers__without_torch(tmp_path: Path) -> None:
    """Every cell in one process in which torch cannot be imported."""
    layers = {name: make_layer(spec) for name, spec in DEFAULT.items()}
    for name, layer in layers.items():
        nn.save_model(tmp_path / f"{name}.safetensors", layer)
        np.save(tmp_path / f"{name}.npy", draw_steps(layer.spec))
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np, lstmkit, lstmkit.runtime\n"
        "for name in sys.argv[1:]:\n"
        "    model = lstmkit.load(f'{name}.safetensors'); x = np.load(f'{name}.npy')\n"
        "    stream = model.stream(space=x.shape[3:])\n"
        "    np.savez(f'{name}.npz', whole=model.predict(x), steps=[stream.step(step) for step in x[0]])\n"
    )
    subprocess.run([sys.executable, "-c", code, *layers], cwd=tmp_path, check=True)
    for name, layer in layers.items():
        expected = run_layer(layer, draw_steps(layer.spec))[0]
        with np.load(tmp_path / f"{name}.npz") as answers:
            near(answers["whole"], expected, name)
            near(answers["steps"], expected[0], name)


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
def test_saved_torch_layer__matches_torch(kind: Any, tmp_path: Path) -> None:
    layer = kind(3, 4, 2, batch_first=True, bidirectional=True)
    model, x = save(tmp_path, layer), draw_steps(make_spec("lstm"))
    near(model.predict(x), layer(torch.from_numpy(x))[0].detach().numpy())
    assert [stage.name for stage in model.stages] == [kind.__name__.lower()]


def test_saved_relu__matches_torch(tmp_path: Path) -> None:
    layer, x = torch.nn.RNN(3, 4, nonlinearity="relu", batch_first=True), draw_steps(make_spec("rnn"))
    near(save(tmp_path, layer).predict(x), layer(torch.from_numpy(x))[0].detach().numpy())


@EACH_CELL
def test_stream__rejects_shape(spec: CellSpec) -> None:
    model, space = model_of(spec), space_of(spec)
    stream, pool, step = model.stream(space=space), model.pool(2, space=space), draw_steps(spec)[0, 0]
    before = stream.state
    for bad in (step[:-1], np.append(step, step[:1], 0), step[None], step[..., :-1]):
        with pytest.raises(ShapeError, match=r"expected a step of shape \(\d.*\), got"):
            stream.step(bad)
        with pytest.raises(ShapeError, match=r"expected steps of shape \(T, \d.*\), got"):
            stream.run(bad[None])
        with pytest.raises(ShapeError, match=r"expected steps of shape \(N, \d.*\), got"):
            pool.step(np.stack([bad, bad]))
    with pytest.raises(ShapeError, match=r"expected x of shape \(T, \d.*\) or \(B, T, \d.*\), got"):
        model.predict(np.stack([step[:-1]]))
    assert all((stream.state[name] == value).all() for name, value in before.items())


@EACH_CELL
def test_stream__rejects_what_is_no_number__and_state_of_another_model(spec: CellSpec) -> None:
    stream, x = model_of(spec).stream(space=space_of(spec)), draw_steps(spec)[0]
    stream.run(x)
    before = stream.state
    x[2, -1] = np.nan
    with pytest.raises(DataError, match="is nan; fill missing steps"):
        stream.run(x)
    with pytest.raises(ShapeError, match="this state belongs to another model: expected"):
        stream.state = {name: np.repeat(value, 2, 0) for name, value in before.items()}
    with pytest.raises(ShapeError, match="this state belongs to another model: expected"):
        stream.state = {name.replace("memory", "lstm"): value for name, value in before.items()}
    assert all((stream.state[name] == value).all() for name, value in before.items())


@pytest.mark.parametrize("cell", [cell for cell in SEQUENTIAL if cell != "lstm"])
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_stream__rejects_precision__that_needs_the_core(cell: str, precision: str) -> None:
    model = model_of(DEFAULT[cell])
    with pytest.raises(EngineError, match=f"{precision} needs the native core"):
        model.stream(precision=precision, space=space_of(DEFAULT[cell]))


def test_negative_interval__rejects__and_changes_nothing() -> None:
    model, x = model_of(DEFAULT["time_aware"]), draw_steps(DEFAULT["time_aware"])
    stream, pool = model.stream(), model.pool(3)
    stream.run(x[0])
    before, pooled = stream.state, pool.state(1)
    x[1, 4, -1] = -0.25
    for call in (lambda: model.predict(x), lambda: stream.run(x[1]), lambda: pool.step(x[:, 4])):
        with pytest.raises(DataError, match="expected intervals of at least 0, got -0.25; sort the steps"):
            call()
    assert all((stream.state[name] == value).all() for name, value in before.items())
    assert all((pool.state(1)[name] == value).all() for name, value in pooled.items())


def test_static_features__match_themselves__given_at_each_step() -> None:
    """What stays the same may come once, as in training, or with every step, as in a stream; what changes, does."""
    layer = make_layer(make_spec("entity_aware", static_size=2)).double()
    x, static = torch.randn(4, 6, 3).double(), torch.randn(4, 2).double()
    once, repeated = layer(x, static=static)[0], layer(x, static=static[:, None].expand(4, 6, 2))[0]
    assert torch.equal(once, repeated)
    other = static[:, None].repeat(1, 6, 1)
    other[:, 3:] += 1
    changed = layer(x, static=other)[0]
    assert torch.equal(changed[:, :3], once[:, :3])
    assert (changed[:, 3:] != once[:, 3:]).all()
    alone = layer(x[0], tuple(value[:, 0] for value in once_states(layer)), static=other[0])[0]
    torch.testing.assert_close(alone, changed[0])
    with pytest.raises(ShapeError, match=r"static must have shape \(6, 4, 2\), not \(6, 4, 3\)"):
        layer(x, static=torch.zeros(4, 6, 3).double())


def once_states(layer: Any) -> tuple[torch.Tensor, ...]:
    return tuple(getattr(layer, f"{name}_0")[:, None].detach() for name in layer.spec.state_shapes())


@EVERY
def test_build__roundtrips_specification(spec: CellSpec) -> None:
    layer = nn.build(spec)
    assert layer.spec == spec
    assert f"{spec.hidden_size}" in repr(layer)
    again = nn.build(spec, {name: value.detach() for name, value in layer.named_parameters()})
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in layer.state_dict().items())


IMAGES = make_spec("conv_lstm", kernel_size=(2, 3), padding="valid")


@pytest.mark.parametrize("space", [(), (5,), (5, 4, 3), (0, 4), (5, -1), (5.0, 4), (True, 4), 5, "54", None], ids=str)
def test_space__rejects_other_axes(space: Any) -> None:
    model = model_of(IMAGES)
    for make in (model.stream, lambda **space: model.pool(2, **space)):
        with pytest.raises(ShapeError, match="a step of this model has 2 axes of space; give the length of each, not"):
            make(space=space)


def test_space__rejects_where_there_is_none() -> None:
    with pytest.raises(ShapeError, match="a step of this model has 0 axes of space"):
        model_of(DEFAULT["gru"]).stream(space=(3,))


def test_space__rejects_what_a_kernel_leaves_nothing_of() -> None:
    model = model_of(IMAGES)
    with pytest.raises(ShapeError, match=r"'memory' cannot run over a space of \(5, 2\): a kernel of 3 leaves nothing"):
        model.stream(space=(5, 2))
    with pytest.raises(ShapeError, match="leaves nothing of a space of"):
        model.predict(np.zeros((4, 3, 5, 2)))
    with pytest.raises(ShapeError, match=r"expected x of shape \(T, 3, X, Y\) or \(B, T, 3, X, Y\), got \(4, 3, 5\)"):
        model.predict(np.zeros((4, 3, 5)))


def images(*kinds: tuple[str, str], answer: tuple[str, ...]) -> nn.StagedModel:
    """ConvLSTMs, each of a name and what it reads, and the sum of some."""
    sizes = {"x": 2}
    stages: list[Stage] = []
    for name, reads in kinds:
        cell = CellSpec(sizes[reads], 2, cell="conv_lstm", kernel_size=(2, 2), padding="valid")
        stages.append(Stage(name, "recurrent", (reads,), {"cell": cell.to_dict(), "learn_initial_state": True}))
        sizes[name] = 2
    return nn.StagedModel([*stages, Stage("sum", "add", answer)])


def test_images__match_torch__through_shrinking_spaces(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = images(("a", "x"), ("b", "a"), ("c", "a"), answer=("b", "c"))
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    model = save(tmp_path, module)
    x = np.random.default_rng(0).normal(size=(3, 5, 2, 4, 6)).astype(np.float32)
    expected = module({"x": torch.from_numpy(x)})["sum"].detach().numpy()
    assert expected.shape == (3, 5, 2, 2, 4)
    near(model.predict(x), expected)
    stream = model.stream(space=(4, 6))
    near(np.stack([stream.step(step) for step in x[0]]), expected[0])
    near(stream.clone().state["b.c"], stream.state["b.c"])
    assert stream.state["a.h"].shape == (1, 1, 2, 3, 5)
    assert stream.state["c.h"].shape == (1, 1, 2, 2, 4)


def test_images__reject_sums_of_other_spaces(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="the terms have different sizes"):
        save(tmp_path, images(("a", "x"), ("b", "a"), answer=("a", "b")))
