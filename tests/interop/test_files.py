"""Models in files of other systems, in and out, and each file in its own system."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import peers

from lstmkit import interop, nn
from lstmkit.runtime import SequenceModel, Stage, load
from lstmkit.spec import CellSpec, LSTMKitError, ModelFileError, OptionError, Variant

onnx = pytest.importorskip("onnx", reason="onnx, which reads and writes the files of this test, is not installed")
pytest.importorskip("h5py", reason="h5py, which reads and writes the files of this test, is not installed")

X = np.random.default_rng(1).normal(size=(2, 6, 3)).astype(np.float32)
CELLS = ["lstm", "gru", "rnn"]


def hostile_model(specs: list[CellSpec], *, head: bool = True, learned: bool = False) -> SequenceModel:
    generator = np.random.default_rng(5)
    stages: list[Stage] = []
    for k, spec in enumerate(specs):
        options = {"cell": spec.to_dict(), "learn_initial_state": learned}
        stages.append(Stage(f"memory{k}", "recurrent", (stages[-1].name if stages else "x",), options))
    if head:
        size = specs[-1].output_size
        stages.append(Stage("middle", "linear", (stages[-1].name,), {"features": size, "units": 4}))
        stages.append(Stage("rectify", "relu", ("middle",)))
        stages.append(Stage("head", "linear", ("rectify",), {"features": 4, "units": 2, "bias": False}))
    weights = {
        f"{stage.name}.{name}": 0.7 * generator.normal(size=shape)
        for stage in stages
        for name, shape in stage.parameter_shapes().items()
    }
    document = {"task": "sequence", "sequence": {"input_size": 3}, "stages": [stage.to_dict() for stage in stages]}
    return SequenceModel(document, weights)


MODELS: dict[str, Callable[[str], SequenceModel]] = {
    "one": lambda cell: hostile_model([CellSpec(3, 5, cell=cell)], head=False),
    "stack": lambda cell: hostile_model([CellSpec(3, 5, 3, cell=cell)]),
    "bidirectional": lambda cell: hostile_model([CellSpec(3, 4, 2, bidirectional=True, cell=cell)]),
    "no-bias": lambda cell: hostile_model([CellSpec(3, 4, 2, bias=False, cell=cell)]),
    "unequal": lambda cell: hostile_model([CellSpec(3, 4, cell=cell), CellSpec(4, 2, bidirectional=True, cell=cell)]),
}


@pytest.mark.parametrize("ending", [".onnx", ".keras"])
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("cell", CELLS)
def test_model__roundtrips_through_file(tmp_path: Path, cell: str, kind: str, ending: str) -> None:
    """Written, run by the file's own system, read again: the same numbers every time."""
    model, path = MODELS[kind](cell), tmp_path / f"model{ending}"
    interop.write_model(path, model)
    said = interop.check_file(path, interop.Imported(model, (), "BTF", "BTF"))
    assert said.startswith(f"checked model{ending}: ")
    back = interop.read_model(path)
    assert back.notes == ()
    peers.close(back.model.predict(X), model.predict(X))
    assert [stage.kind for stage in back.model.stages] == [stage.kind for stage in model.stages]
    assert [*back.model.cells.values()] == [*model.cells.values()]


VARIANTS: dict[str, tuple[str, Variant]] = {
    "peepholes": (".onnx", Variant(peepholes="ifo", gate_clip=0.5)),
    "coupled": (".onnx", Variant(forget_gate="coupled", peepholes="io")),
    "activations": (".onnx", Variant(gate_activation=("hard_sigmoid", 0.3, 0.4), candidate_activation="softsign")),
    "constants": (".onnx", Variant(candidate_activation=("elu", 0.5), cell_activation=("affine", 0.7, -0.1))),
    "keras-layers": (
        ".keras",
        Variant(
            gate_activation="sigmoid", candidate_activation=("leaky_relu", 0.1), cell_activation=("leaky_relu", 0.1)
        ),
    ),
    "keras-gelu": (
        ".keras",
        Variant(gate_activation="hard_tanh", candidate_activation="gelu", cell_activation="gelu"),
    ),
    "keras-activations": (
        ".keras",
        Variant(gate_activation="hard_sigmoid", candidate_activation="relu", cell_activation="relu"),
    ),
}


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("kind", VARIANTS)
def test_variant__roundtrips_through_file(tmp_path: Path, kind: str, bidirectional: bool) -> None:
    """The options of an LSTM that the other system has, checked in that system too."""
    ending, variant = VARIANTS[kind]
    model = hostile_model([CellSpec(3, 4, 2, bidirectional=bidirectional, variant=variant)])
    path = tmp_path / f"model{ending}"
    interop.write_model(path, model)
    said = interop.check_file(path, interop.Imported(model, (), "BTF", "BTF"))
    assert said.startswith(f"checked model{ending}: ")
    back = interop.read_model(path)
    assert [*back.model.cells.values()] == [*model.cells.values()]
    peers.close(back.model.predict(X), model.predict(X))


@pytest.mark.parametrize("ending", [".pt", ".pth"])
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_state_dict__roundtrips_through_file(
    tmp_path: Path, cell: str, bias: bool, bidirectional: bool, ending: str
) -> None:
    model = hostile_model([CellSpec(3, 4, 2, bias, bidirectional, cell=cell)], head=False)
    path = tmp_path / f"model{ending}"
    interop.write_model(path, model)
    layer = getattr(torch.nn, cell.upper())(3, 4, 2, bias=bias, bidirectional=bidirectional, batch_first=True)
    layer.load_state_dict(torch.load(path, weights_only=True))
    expected = layer(torch.from_numpy(X))[0].detach().numpy()
    peers.close(interop.read_model(path).model.predict(X), expected)


def test_own_file__equals_itself(tmp_path: Path) -> None:
    model, path = MODELS["stack"]("lstm"), tmp_path / "model.safetensors"
    interop.write_model(path, model)
    np.testing.assert_array_equal(interop.read_model(path).model.predict(X), model.predict(X))


def test_learned_states__roundtrip_through_onnx(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = hostile_model([CellSpec(3, 4, 2, bidirectional=True)], learned=True)
    interop.write_model(path, model)
    assert interop.check_file(path, interop.Imported(model, (), "BTF", "BTF")).startswith("checked")
    peers.close(interop.read_model(path).model.predict(X), model.predict(X))
    for other in (".keras", ".pt"):
        with pytest.raises(OptionError, match="'memory0' has learned first states"):
            interop.write_model(tmp_path / f"model{other}", model)


def test_safetensors_of_others__equal_their_state_dict(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = torch.nn.ModuleDict({"rnn": torch.nn.LSTM(3, 4), "head": torch.nn.Linear(4, 1)})
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    read = interop.read_model(tmp_path / "weights.safetensors", "rnn").model
    expected = model["rnn"](torch.from_numpy(X).transpose(0, 1))[0].transpose(0, 1).detach().numpy()
    peers.close(read.predict(X), expected)
    with pytest.raises(OptionError, match=r"more than a recurrent layer: 'head.bias'; .* by --layer rnn"):
        interop.read_model(tmp_path / "weights.safetensors")
    with pytest.raises(OptionError, match="has no recurrent layer 'nope'; it has: 'rnn'"):
        interop.read_model(tmp_path / "weights.safetensors", "nope")


def test_check__rejects_other_numbers(tmp_path: Path) -> None:
    """Two gates exchanged are a model of the same shapes, and must not pass."""
    path, spec = tmp_path / "model.onnx", CellSpec(3, 5)
    model = hostile_model([spec], head=False)
    interop.write_model(path, model)
    weights = {f"memory0.{name}": array for name, array in model.weights["memory0"].items()}
    for name, array in weights.items():
        i, f, g, o = np.split(array, 4)
        weights[name] = np.concatenate([f, i, g, o])
    other = SequenceModel(model.document, weights)
    with pytest.raises(LSTMKitError, match="ONNX Runtime gives other numbers"):
        interop.check_file(path, interop.Imported(other, (), "BTF", "BTF"))


# What Keras writes. Its saving warns of its own use of NumPy.

KERAS_WARNS = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def keras_sequential(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((None, 3)),
            layers.LSTM(4, return_sequences=True, dropout=0.1, recurrent_dropout=0.2, name="first"),
            layers.LSTM(4, return_sequences=True, name="second"),
            layers.Dropout(0.3),
            layers.Bidirectional(layers.LSTM(5, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(6, activation="relu")),
            layers.LSTM(3, return_sequences=True, use_bias=False),
            layers.Activation("relu"),
            layers.ReLU(),
            layers.Dense(2, use_bias=False),
        ]
    )


def keras_functional(keras: Any) -> Any:
    x = keras.Input((7, 3))
    y = keras.layers.LSTM(4, return_sequences=True, stateful=False)(x)
    y = keras.layers.LSTM(5)(y)
    return keras.Model(x, keras.layers.Dense(1)(y))


@KERAS_WARNS
@pytest.mark.parametrize("make", [keras_sequential, keras_functional])
def test_file_of_keras__matches_keras(tmp_path: Path, make: Any) -> None:
    keras = peers.keras()
    model, path = make(keras), tmp_path / "model.keras"
    peers.randomise(model)
    model.save(path)
    read = interop.read_model(path)
    x = np.random.default_rng(0).normal(size=(2, 7, 3)).astype(np.float32)
    expected = peers.numbers(model(keras.ops.convert_to_tensor(x)))
    actual = read.model.predict(x)
    peers.close(actual if expected.ndim == 3 else actual[:, -1], expected)
    assert interop.check_file(path, read).startswith("checked model.keras: Keras and lstmkit differ by at most")
    stream = read.model.stream() if make is keras_functional else None
    if stream:
        peers.close([stream.step(row) for row in x[0]], actual[0])
        assert any("return_sequences=False" in note for note in read.notes)
    else:
        assert "first: recurrent_dropout=0.2 acts in training alone" in read.notes


def test_live_keras_model__equals_its_file(tmp_path: Path) -> None:
    keras = peers.keras()
    model = keras_sequential(keras)
    peers.randomise(model)
    read = interop.from_keras_model(model)
    peers.close(read.model.predict(X), peers.numbers(model(keras.ops.convert_to_tensor(X))))
    assert "first: dropout=0.1 acts in training alone" in read.notes
    with pytest.raises(OptionError, match="is a Flatten, which no stage of lstmkit does"):
        interop.from_keras_model(keras.Sequential([keras.Input((7, 3)), keras.layers.Flatten()]))


@KERAS_WARNS
def test_layers_of_keras_file__match_keras(tmp_path: Path) -> None:
    """What no model that works step by step can do, a layer can."""
    keras = peers.keras()
    inner = keras.layers.LSTM(4, go_backwards=True, return_sequences=True, name="back")
    both = keras.layers.Bidirectional(keras.layers.LSTM(5), merge_mode="mul", name="both")
    model = keras.Sequential([keras.Input((None, 3)), inner, both])
    peers.randomise(model)
    model.save(tmp_path / "model.keras")
    value = torch.from_numpy(X)
    for layer in interop.read_layers(tmp_path / "model.keras").values():
        value = nn.KerasCall(nn.build(layer.spec, layer.parameters), **layer.call)(value)
    expected = peers.numbers(model(keras.ops.convert_to_tensor(X)))
    peers.close(value.detach().numpy(), expected)
    with pytest.raises(OptionError, match="'back' has go_backwards=True and needs the whole sequence"):
        interop.read_model(tmp_path / "model.keras")


# What torch exports


class Exported(torch.nn.Module):
    def __init__(self, take: str, **options: Any) -> None:
        super().__init__()
        self.rnn = torch.nn.LSTM(3, 4, **options)
        for parameter in self.rnn.parameters():
            torch.nn.init.normal_(parameter)
        self.head = torch.nn.Linear(8 if options.get("bidirectional") else 4, 2)
        self.take = take

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output, (h, _) = self.rnn(x)
        if self.take == "all":
            return self.head(output).relu()
        return self.head(output[:, -1] if self.take == "last" else h[-1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "options",
    [
        {"take": "all", "num_layers": 2, "batch_first": True},
        {"take": "all", "num_layers": 2, "bidirectional": True},
        {"take": "all", "bias": False, "batch_first": True, "bidirectional": True},
        {"take": "last", "num_layers": 2, "batch_first": True},
        {"take": "state", "num_layers": 1, "batch_first": True},
        {"take": "state", "num_layers": 3, "batch_first": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("fixed", [True, False], ids=["fixed", "dynamic"])
def test_file_of_torch_onnx__matches_torch(tmp_path: Path, options: dict[str, Any], fixed: bool) -> None:
    model, path = Exported(**options).eval(), tmp_path / "model.onnx"
    axes = None if fixed else {"x": {0: "a", 1: "b"}}
    x = torch.from_numpy(X)
    torch.onnx.export(model, (x,), path, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=axes)
    read = interop.read_model(path)
    given = X if options.get("batch_first") else X.swapaxes(0, 1)
    actual = read.model.predict(given)
    expected = model(x).detach().numpy()
    if options["take"] == "all":
        expected = expected if options.get("batch_first") else expected.swapaxes(0, 1)
    else:
        actual = actual[:, -1]
    peers.close(actual, expected)
    assert interop.check_file(path, read).startswith("checked model.onnx: ONNX Runtime")


# Graphs of our own making


def graph_file(path: Path, nodes: list[Any], opset: int = 14, constants: dict[str, Any] | None = None) -> Path:
    helper = onnx.helper
    arrays = {"W": np.ones((1, 16, 3)), "R": np.ones((1, 16, 4)), **(constants or {})}
    given = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["t", "b", 3])]
    answer = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)]
    kept = [onnx.numpy_helper.from_array(np.asarray(a, np.float32), n) for n, a in arrays.items() if a is not None]
    graph = helper.make_graph(nodes, "test", given, answer, initializer=kept)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def node(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    return onnx.helper.make_node(operator, inputs, outputs, name=f"the {operator}", **attributes)


LSTM = node("LSTM", ["x", "W", "R"], ["y"], hidden_size=4)


@pytest.mark.parametrize("opset", [7, 13, 14, 22, onnx.defs.onnx_opset_version()])
def test_raw_node__matches_onnxruntime(tmp_path: Path, opset: int) -> None:
    path = graph_file(tmp_path / "one.onnx", [LSTM], opset)
    read = interop.read_model(path)
    assert read.output_axes == "TDBF"
    said = interop.check_file(path, read)
    assert said.startswith("checked" if opset < 25 else ("checked", "not checked"))


@pytest.mark.parametrize(
    ("nodes", "opset", "constants", "said"),
    [
        ([LSTM], 6, {}, "has opset 6; this reads opsets 7 to"),
        ([LSTM], 99, {}, "has opset 99; this reads opsets 7 to"),
        ([LSTM], 14, {"W": None}, "W is no constant of the file"),
        ([node("Conv", ["x", "W"], ["y"])], 14, {}, "has no LSTM, GRU or RNN that reads an input"),
        ([node("LSTM", ["x", "W", "R"], ["a"]), node("Erf", ["a"], ["y"])], 14, {}, "'y' goes through Erf 'the Erf'"),
        ([node("Sin", ["x"], ["a"]), node("LSTM", ["a", "W", "R"], ["y"])], 14, {}, "'y' goes through Sin 'the Sin'"),
        ([node("LSTM", ["x", "W", "R"], ["a", "b", "y"])], 14, {}, "goes through the cell state of 'the LSTM'"),
        ([node("LSTM", ["x", "W", "R"], ["y"], direction="reverse")], 14, {}, "has direction='reverse' and needs"),
        (
            [node("LSTM", ["x", "W", "R", "", "", "h", "h"], ["y"])],
            14,
            {"h": np.ones((1, 2, 4))},
            "neither zero nor one state for all rows",
        ),
        (
            [node("LSTM", ["x", "W", "R"], ["a"]), node("Relu", ["a"], ["b"]), node("Add", ["a", "b"], ["y"])],
            14,
            {},
            "no chain|adds something else",
        ),
    ],
    ids=["old", "new", "weights-as-input", "none", "after", "before", "cell-state", "reverse", "state", "fork"],
)
def test_graph__rejects_what_no_stage_does(
    tmp_path: Path, nodes: list[Any], opset: int, constants: dict[str, Any], said: str
) -> None:
    path = graph_file(tmp_path / "bad.onnx", nodes, opset, constants)
    with pytest.raises(OptionError, match=said):
        interop.read_model(path)


def test_weights_in_another_file__are_refused(tmp_path: Path) -> None:
    path = graph_file(tmp_path / "one.onnx", [LSTM])
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    with pytest.raises(OptionError, match="keeps 'W' in another file; save the model in one"):
        interop.read_model(path)


def test_links_in_hdf5__are_not_followed(tmp_path: Path) -> None:
    """An external link could name any file of the machine."""
    import zipfile

    import h5py

    secret, good, bad = tmp_path / "secret.h5", good_file(tmp_path, ".keras"), tmp_path / "bad.keras"
    with zipfile.ZipFile(good) as archive:
        config = archive.read("config.json")
        secret.write_bytes(archive.read("model.weights.h5"))
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file["layers"] = h5py.ExternalLink(os.fspath(secret), "layers")
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("config.json", config)
        archive.write(tmp_path / "w.h5", "model.weights.h5")
    with pytest.raises(ModelFileError, match="the weights of the layer 'memory0_0' are missing"):
        interop.read_model(bad)


def test_lambda_layer__is_refused(tmp_path: Path) -> None:
    import json
    import zipfile

    good, bad = good_file(tmp_path, ".keras"), tmp_path / "bad.keras"
    with zipfile.ZipFile(good) as archive, zipfile.ZipFile(bad, "w") as other:
        config = json.loads(archive.read("config.json"))
        evil = {"class_name": "Lambda", "config": {"name": "evil", "function": {"class_name": "__lambda__"}}}
        config["config"]["layers"].append(evil)
        other.writestr("config.json", json.dumps(config))
        other.writestr("model.weights.h5", archive.read("model.weights.h5"))
    with pytest.raises(OptionError, match="the layer 'evil' is a Lambda, which no stage of lstmkit does"):
        interop.read_model(bad)


# Bad files


def read_or_refused(path: Path) -> SequenceModel | str:
    """The model, or the one sentence that says why there is none; any other error is a failure."""
    try:
        interop.read_layers(path)
        return interop.read_model(path).model
    except LSTMKitError as error:
        sentence = str(error)
    assert "\n" not in sentence
    return sentence


def good_file(tmp_path: Path, ending: str) -> Path:
    path = tmp_path / f"good{ending}"
    interop.write_model(path, hostile_model([CellSpec(3, 4)], head=False))
    return path


@pytest.mark.parametrize("ending", [".onnx", ".keras", ".pt", ".safetensors"])
def test_truncated_file__is_refused(tmp_path: Path, ending: str) -> None:
    """At every length: one sentence of the family, or, where the end did not matter, the same numbers."""
    good = good_file(tmp_path, ending)
    content, expected = good.read_bytes(), interop.read_model(good).model.predict(X)
    bad = tmp_path / f"bad{ending}"
    refused = 0
    for length in range(0, len(content), max(1, len(content) // 60)):
        bad.write_bytes(content[:length])
        actual = read_or_refused(bad)
        refused += isinstance(actual, str)
        if not isinstance(actual, str):
            np.testing.assert_array_equal(actual.predict(X), expected)
    assert refused > 50


@pytest.mark.parametrize("ending", [".onnx", ".keras", ".pt", ".safetensors"])
def test_damaged_file__is_refused_or_read(tmp_path: Path, ending: str) -> None:
    """Bytes changed at random end in one sentence or in some model, never in another error."""
    content = good_file(tmp_path, ending).read_bytes()
    generator = np.random.default_rng(0)
    bad = tmp_path / f"bad{ending}"
    for _ in range(60):
        changed = bytearray(content)
        for place in generator.integers(0, len(content), 8):
            changed[place] = generator.integers(0, 256)
        bad.write_bytes(bytes(changed))
        read_or_refused(bad)


@pytest.mark.parametrize("ending", [".onnx", ".keras", ".pt"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"PK\x03\x04" + bytes(50)], ids=["empty", "text", "zip"])
def test_other_file__is_refused(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"bad{ending}"
    path.write_bytes(content)
    with pytest.raises(ModelFileError):
        interop.read_model(path)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("absent.keras", "expected a file at .*, which is not there"),
        ("model.h5", "must end in one of .keras, .onnx"),
        ("model", "not nothing"),
    ],
)
def test_path__is_refused(tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / "model.h5").touch()
    (tmp_path / "model").touch()
    with pytest.raises(LSTMKitError, match=said):
        interop.read_model(tmp_path / path)


def test_pickle__never_runs(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (os.fspath(tmp_path / "executed"),)

    torch.save({"weight_ih_l0": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ModelFileError, match="no file of weights alone"):
        interop.read_model(tmp_path / "evil.pt")
    assert not (tmp_path / "executed").exists()


def test_whole_pickled_module__is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "model": torch.nn.LSTM(2, 3).state_dict()}, tmp_path / "checkpoint.pt")
    with pytest.raises(ModelFileError, match="holds a dict and no state_dict of tensors"):
        interop.read_model(tmp_path / "checkpoint.pt")


def test_every_pair_of_endings__preserves_numbers(tmp_path: Path) -> None:
    model = hostile_model([CellSpec(3, 4, 2)], head=False)
    for first, second in itertools.permutations([".onnx", ".keras", ".pt", ".safetensors"], 2):
        interop.write_model(tmp_path / f"a{first}", model)
        interop.write_model(tmp_path / f"b{second}", interop.read_model(tmp_path / f"a{first}").model)
        back = interop.read_model(tmp_path / f"b{second}").model
        peers.close(back.predict(X), model.predict(X))
        if second == ".safetensors":
            np.testing.assert_array_equal(load(tmp_path / "b.safetensors").predict(X), back.predict(X))
