"""Live ConvLSTM layers of Keras in and out, and in files, with Keras as the oracle."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import peers

from lstmkit import interop, nn
from lstmkit.spec import CellSpec, OptionError, ShapeError, Variant

keras = peers.keras()

B, T, I, H = 2, 4, 3, 2
SPACE = (5, 4, 3)
KERNEL = (3, 2, 1)
MASK = np.array([[1, 0, 1, 0], [0, 0, 1, 1]], bool)
EMPTY_ROW = np.array([[1, 0, 1, 1], [0, 0, 0, 0]], bool)
generator = np.random.default_rng(11)


def draw(*shape: int) -> np.ndarray:
    return generator.normal(size=shape).astype(np.float32)


def inputs(axes: int, data_format: str = "channels_last") -> np.ndarray:
    space = SPACE[:axes]
    return draw(B, T, I, *space) if data_format == "channels_first" else draw(B, T, *space, I)


def live(axes: int, **options: Any) -> Any:
    return getattr(keras.layers, f"ConvLSTM{axes}D")(H, KERNEL[:axes], **options)


def compare(layer: Any, x: np.ndarray, *, mask: np.ndarray | None = None, calls: int = 1) -> None:
    if mask is not None and keras.backend.backend() == "jax":
        pytest.skip("Keras's jax backend does not spread a mask over axes of space")
    layer.build(x.shape)
    peers.randomise(layer)
    taken = interop.from_keras(layer)
    twin = nn.KerasCall(nn.build(taken.spec, taken.parameters), **taken.call)
    for _ in range(calls):
        given = None if mask is None else keras.ops.convert_to_tensor(mask)
        expected = peers.numbers(layer(keras.ops.convert_to_tensor(x), mask=given))
        actual = twin(torch.from_numpy(x), mask=None if mask is None else torch.from_numpy(mask))
        pairs = zip(actual, expected, strict=True) if isinstance(expected, list) else [(actual, expected)]
        for mine, theirs in pairs:
            peers.close(mine.detach().numpy(), theirs)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("backwards", [True, False], ids=["backwards", "forwards"])
@pytest.mark.parametrize("mask", [None, MASK, EMPTY_ROW], ids=["whole", "holes", "empty-row"])
def test_layer__matches_keras(axes: int, padding: str, backwards: bool, mask: np.ndarray | None) -> None:
    for sequences, bias in ((True, True), (False, False), (False, True)):
        options = {"return_sequences": sequences, "use_bias": bias, "go_backwards": backwards, "padding": padding}
        compare(live(axes, return_state=True, **options), inputs(axes), mask=mask)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("own", [("hard_sigmoid", "softsign"), ("sigmoid", "mish")], ids=str)
def test_other_activations__match_keras(axes: int, own: tuple[str, str]) -> None:
    names = dict(zip(("recurrent_activation", "activation"), own, strict=True))
    compare(live(axes, padding="same", return_state=True, **names), inputs(axes))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_features_before_space__match_keras(axes: int) -> None:
    layer = live(axes, data_format="channels_first", padding="same", return_sequences=True, return_state=True)
    compare(layer, inputs(axes, "channels_first"), mask=MASK)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("mode", ["concat", "sum", "mul", None])
def test_bidirectional__matches_keras(axes: int, mode: str | None) -> None:
    for sequences in (True, False):
        layer = live(axes, padding="same", return_sequences=sequences)
        compare(keras.layers.Bidirectional(layer, merge_mode=mode), inputs(axes), mask=MASK)


def test_stateful_layer__matches_keras() -> None:
    layer = live(2, padding="same", stateful=True, return_state=True)
    x = inputs(2)
    layer(keras.ops.convert_to_tensor(x))
    layer.reset_state()
    compare(layer, x, calls=3)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_weights__roundtrip_through_keras(axes: int, bias: bool, bidirectional: bool) -> None:
    """Ours to live Keras layers, which give the same numbers, and back."""
    sizes = {"num_layers": 2, "bias": bias, "bidirectional": bidirectional}
    variant = Variant(gate_activation="hard_sigmoid", candidate_activation="relu", cell_activation="relu")
    own = {"variant": variant} if bias else {}
    spec = CellSpec(I, H, cell="conv_lstm", kernel_size=KERNEL[:axes], **sizes, **own)
    parameters = {name: draw(*shape) for name, shape in spec.parameter_shapes().items()}
    first = inputs(axes)
    x = keras.ops.convert_to_tensor(first)
    for number, (name, config, arrays) in enumerate(interop.to_keras(interop.Layer(spec, parameters))):
        layer = getattr(keras.layers, name).from_config(config)
        layer.build(x.shape)
        layer.set_weights([array for direction in arrays for array in direction])
        x = layer(x)
        for key, array in interop.from_keras(layer).parameters.items():
            np.testing.assert_array_equal(array, parameters[key.replace("_l0", f"_l{number}")])
    ours = nn.build(spec, parameters, batch_first=True)(torch.from_numpy(first).movedim(-1, 2))[0]
    peers.close(peers.numbers(x), ours.movedim(2, -1).detach().numpy())


@pytest.mark.parametrize("options", [{}, {"return_state": True, "go_backwards": True, "data_format": "channels_first"}])
def test_call__roundtrips_through_keras(options: dict[str, Any]) -> None:
    """How a layer is called goes with it."""
    layer = live(2, padding="same", **options)
    layer.build(inputs(2, options.get("data_format", "")).shape)
    ((kind, config, _),) = interop.to_keras(interop.from_keras(layer))
    back = getattr(keras.layers, kind).from_config(config).get_config()
    theirs = layer.get_config()
    assert {name: back[name] for name in (*interop.from_keras(layer).call, "padding", "kernel_size")} == {
        name: theirs[name] for name in (*interop.from_keras(layer).call, "padding", "kernel_size")
    }


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_layers_of_file__match_keras(tmp_path: Path) -> None:
    model = keras.Sequential(
        [
            keras.Input((None, 5, 4, I)),
            live(2, padding="same", return_sequences=True, name="one"),
            keras.layers.Bidirectional(live(2, padding="valid"), merge_mode="sum", name="both"),
        ]
    )
    peers.randomise(model)
    path = tmp_path / "model.keras"
    model.save(path)
    x = inputs(2)
    value = torch.from_numpy(x)
    for layer in interop.read_layers(path).values():
        value = nn.KerasCall(nn.build(layer.spec, layer.parameters), **layer.call)(value)
    peers.close(value.detach().numpy(), peers.numbers(model(keras.ops.convert_to_tensor(x))))
    with pytest.raises(OptionError, match="'both' has merge_mode='sum'; a stack of lstmkit joins by 'concat'"):
        interop.read_model(path)


# Layers of a file over this space, which all give every step but for the last one, if it says so.
FILES: dict[str, Any] = {
    "one": lambda axes: [live(axes, padding="same", return_sequences=True)],
    "channels-first": lambda axes: [
        live(axes, padding="same", return_sequences=True, data_format="channels_first") for _ in range(2)
    ],
    "shrinking": lambda axes: [
        keras.layers.Dropout(0.5),
        live(axes, padding="same", return_sequences=True, activation="relu", recurrent_activation="hard_sigmoid"),
        keras.layers.ReLU(),
        live(axes, padding="valid", use_bias=False),
    ],
    "both-ways": lambda axes: [
        keras.layers.Bidirectional(live(axes, padding="same", return_sequences=True)),
        live(axes, padding="valid", return_sequences=True),
    ],
}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind", FILES)
def test_file__roundtrips_through_ours(tmp_path: Path, kind: str, axes: int) -> None:
    """A file of Keras as ours, and that as one of Keras: each has the numbers of the first."""
    first = kind == "channels-first"
    x = inputs(axes, "channels_first" if first else "channels_last")
    model = keras.Sequential([keras.Input((None, *x.shape[2:])), *FILES[kind](axes)])
    peers.randomise(model)
    path = tmp_path / "model.keras"
    model.save(path)
    expected = peers.numbers(model(keras.ops.convert_to_tensor(x)))
    expected = expected if first else np.moveaxis(expected, -1, -1 - axes)
    read = interop.read_model(path)
    assert read.space == SPACE[:axes]
    assert "differ by at most" in interop.check_file(path, read)
    read.model.save(tmp_path / "ours.safetensors")
    ours = interop.read_model(tmp_path / "ours.safetensors").model
    given = x if first else np.moveaxis(x, -1, 2)
    answer = ours.predict(given)
    peers.close(answer[:, -1] if kind == "shrinking" else answer, expected)
    again = tmp_path / "again.keras"
    interop.write_model(again, ours, SPACE[:axes])
    theirs = peers.numbers(keras.saving.load_model(again)(keras.ops.convert_to_tensor(np.moveaxis(given, 2, -1))))
    peers.close(theirs, np.moveaxis(answer, 2, -1))
    assert "differ by at most" in interop.check_file(again, interop.read_model(again))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (lambda: [live(2, return_sequences=True), keras.layers.Dense(2)], "'dense.*' is a linear layer over space"),
        (
            lambda: [keras.layers.Bidirectional(live(2, data_format="channels_first", return_sequences=True))],
            "'bidirectional.*' joins its directions along space",
        ),
        (
            lambda: [live(2, data_format="channels_first", return_sequences=True), live(2, padding="same")],
            "reads the axes BTXYF, but the layer before it gives BTFXY",
        ),
        (lambda: [live(2, return_sequences=True, go_backwards=True)], "has go_backwards=True and needs the whole"),
    ],
    ids=["linear", "both-ways-channels-first", "formats", "backwards"],
)
def test_file__rejects_what_no_chain_does(tmp_path: Path, layers: Any, said: str) -> None:
    model = keras.Sequential([keras.Input((None, 6, 7, 8)), *layers()])
    model.save(tmp_path / "model.keras")
    with pytest.raises(OptionError, match=said):
        interop.read_model(tmp_path / "model.keras")


def test_written_file__rejects_other_space(tmp_path: Path) -> None:
    spec = CellSpec(I, H, cell="conv_lstm", kernel_size=(3, 2), padding="valid")
    nn.save_model(tmp_path / "ours.safetensors", nn.build(spec))
    model = interop.read_model(tmp_path / "ours.safetensors").model
    with pytest.raises(
        OptionError, match="fixed lengths of its axes of space, which this model leaves open; give space"
    ):
        interop.write_model(tmp_path / "model.keras", model)
    for space, said in (((5,), "2 axes of space; give the length of each"), ((2, 9), "a kernel of 3 leaves nothing")):
        with pytest.raises(ShapeError, match=said):
            interop.write_model(tmp_path / "model.keras", model, space)
    with pytest.raises(OptionError, match="ONNX has no operator for the cell 'conv_lstm'"):
        interop.write_model(tmp_path / "model.onnx", model)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strides": 2}, r"ConvLSTM2D: strides=.2, 2. cannot be converted"),
        ({"dilation_rate": (1, 2)}, r"ConvLSTM2D: dilation_rate=.1, 2. cannot be converted"),
        ({"activation": "softmax"}, "ConvLSTM2D: activation='softmax' cannot be converted"),
        ({"recurrent_activation": "sparsemax"}, "recurrent_activation='sparsemax' cannot be converted"),
    ],
)
def test_from_keras__rejects_what_no_cell_has(options: dict[str, Any], said: str) -> None:
    layer = live(2, **options)
    layer.build((B, T, *SPACE[:2], I))
    with pytest.raises(OptionError, match=said):
        interop.from_keras(layer)


@pytest.mark.parametrize("position", [0, 1, 2], ids=["kernel", "recurrent-kernel", "bias"])
@pytest.mark.parametrize("change", [lambda a: np.moveaxis(a, -1, 0), lambda a: a[..., 1:]], ids=["turned", "cut"])
def test_arrays__reject_other_shapes(position: int, change: Any) -> None:
    arrays = [np.ones((3, 2, I, 4 * H)), np.ones((3, 2, H, 4 * H)), np.ones(4 * H)]
    changed = change(arrays[position])
    arrays[position] = changed if changed.shape != arrays[position].shape else changed[None]
    config = {"filters": H, "kernel_size": [3, 2], "name": "memory"}
    with pytest.raises(ShapeError, match=r"memory: the .* must have the shape .* with the gates i, f, g, o, not"):
        interop.from_keras_config("ConvLSTM2D", config, [arrays])


def test_to_keras__rejects_direction_of_onnx() -> None:
    taken = interop.from_torch(torch.nn.GRU(2, 3))
    with pytest.raises(OptionError, match="Keras has no direction='reverse', with which this layer is called"):
        interop.to_keras(interop.Layer(taken.spec, taken.parameters, {"direction": "reverse"}))
