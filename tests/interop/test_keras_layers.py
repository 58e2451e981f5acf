"""Live Keras layers in and out, with Keras as the oracle."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from helpers import peers

from lstmkit import interop, nn
from lstmkit.spec import CellSpec, LSTMKitError, OptionError, ShapeError, Variant

keras = peers.keras()

B, T, I, H = 3, 5, 4, 3
KINDS = ["LSTM", "LSTM-activations", "GRU", "GRU-reset-before", "GRU-activations", "SimpleRNN", "SimpleRNN-relu"]
OPTIONS = {
    "activations": {"recurrent_activation": "hard_sigmoid", "activation": "softsign"},
    "reset-before": {"reset_after": False},
    "relu": {"activation": "relu"},
}
generator = np.random.default_rng(7)
X = generator.normal(size=(B, T, I)).astype(np.float32)
HOLES = np.array([[1, 0, 1, 1, 0], [0, 0, 1, 0, 1], [1, 1, 1, 1, 1]], bool)
EMPTY_ROW = np.array([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 0, 1]], bool)


def live(kind: str, **options: Any) -> Any:
    name, _, variant = kind.partition("-")
    return getattr(keras.layers, name)(H, **OPTIONS.get(variant, {}), **options)


def ours(layer: Any) -> nn.KerasCall:
    """The layer's twin, by way of its weights and options."""
    taken = interop.from_keras(layer)
    return nn.KerasCall(nn.build(taken.spec, taken.parameters), **taken.call)


def compare(layer: Any, *, state: bool = False, mask: np.ndarray | None = None, calls: int = 1) -> None:
    layer.build((B, T, I))
    peers.randomise(layer)
    twin, x = ours(layer), X.astype(layer.dtype)
    inner = layer.forward_layer if isinstance(layer, keras.layers.Bidirectional) else layer
    count = len(inner.states or [None]) if inner.stateful else (2 if type(inner).__name__ == "LSTM" else 1)
    count *= 2 if inner is not layer else 1
    states = [generator.normal(size=(B, H)).astype(np.float32) for _ in range(count)] if state else None
    for _ in range(calls):
        expected = peers.numbers(
            layer(
                keras.ops.convert_to_tensor(x),
                initial_state=None if states is None else [keras.ops.convert_to_tensor(s) for s in states],
                mask=None if mask is None else keras.ops.convert_to_tensor(mask),
            )
        )
        actual = twin(
            torch.from_numpy(x),
            initial_state=None if states is None else [torch.from_numpy(s) for s in states],
            mask=None if mask is None else torch.from_numpy(mask),
        )
        expected = expected if isinstance(expected, list) else [expected]
        actual = actual if isinstance(actual, tuple) else (actual,)
        assert len(actual) == len(expected)
        for mine, theirs in zip(actual, expected, strict=True):
            peers.close(mine.detach().numpy(), theirs)


ELEMENTWISE = sorted(
    set(keras.src.activations.ALL_OBJECTS_DICT) - {"softmax", "log_softmax", "sparsemax", "glu", "threshold"}
)
LAYERS = [keras.layers.LeakyReLU(0.1), keras.layers.ELU(0.5)]


@pytest.mark.parametrize("activation", [*ELEMENTWISE, "swish", "hard_swish", *LAYERS], ids=str)
def test_activation__matches_keras(activation: Any) -> None:
    """Every one that Keras has and that works number by number, there and back.

    In float64: gates without bounds make more of a float32's rounding, on some processors more than its tolerance.
    """
    wide = {"dtype": "float64"}
    layers = [
        keras.layers.LSTM(H, activation=activation, return_state=True, **wide),
        keras.layers.GRU(H, activation=activation, recurrent_activation="hard_tanh", **wide),
        keras.layers.GRU(H, recurrent_activation=activation, **wide),
        keras.layers.SimpleRNN(H, activation=activation, **wide),
    ]
    for layer in layers:
        compare(layer)
        ((name, config, _),) = interop.to_keras(interop.from_keras(layer))
        back = getattr(keras.layers, name).from_config(config)
        for role in ("activation", "recurrent_activation"):
            mine, theirs = (keras.activations.get(getattr(own, role, None)) for own in (back, layer))
            np.testing.assert_array_equal(peers.numbers(mine(X)), peers.numbers(theirs(X)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sequences", [True, False], ids=["sequences", "last"])
@pytest.mark.parametrize("mask", [None, HOLES, EMPTY_ROW], ids=["whole", "holes", "empty-row"])
@pytest.mark.parametrize("backwards", [True, False], ids=["backwards", "forwards"])
def test_layer__matches_keras(kind: str, sequences: bool, mask: np.ndarray | None, backwards: bool) -> None:
    for bias, zero, state in product([True, False], repeat=3):
        options = {"use_bias": bias, "zero_output_for_mask": zero, "go_backwards": backwards}
        compare(live(kind, return_sequences=sequences, return_state=True, **options), state=state, mask=mask)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["concat", "sum", "ave", "mul", None])
@pytest.mark.parametrize("mask", [None, HOLES, EMPTY_ROW], ids=["whole", "holes", "empty-row"])
def test_bidirectional__matches_keras(kind: str, mode: str | None, mask: np.ndarray | None) -> None:
    for sequences, returned in product([True, False], repeat=2):
        layer = live(kind, return_sequences=sequences, return_state=returned)
        compare(keras.layers.Bidirectional(layer, merge_mode=mode), state=True, mask=mask)


@pytest.mark.parametrize("kind", KINDS)
def test_stateful_layer__matches_keras(kind: str) -> None:
    layer = live(kind, stateful=True, return_state=True)
    layer(keras.ops.zeros((B, T, I)))
    layer.reset_states()
    compare(layer, calls=3)


@pytest.mark.parametrize("kind", KINDS)
def test_training_options__become_notes(kind: str) -> None:
    layer = live(kind, dropout=0.25, recurrent_dropout=0.5)
    layer.build((B, T, I))
    peers.randomise(layer)
    notes = interop.from_keras(layer).notes
    assert notes == ("dropout=0.25 acts in training alone", "recurrent_dropout=0.5 acts in training alone")
    compare(layer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_weights__roundtrip_through_keras(kind: str, bidirectional: bool, bias: bool) -> None:
    """Ours to live Keras layers, which give the same numbers, and back."""
    name, _, variant = kind.partition("-")
    softsign = Variant(gate_activation="hard_sigmoid", candidate_activation="softsign", cell_activation="softsign")
    own = {
        "activations": {"variant": softsign if name == "LSTM" else replace(softsign, cell_activation="tanh")},
        "reset-before": {"reset_after": False},
        "relu": {"nonlinearity": "relu"},
    }.get(variant, {})
    cell = interop.KERAS_CELLS[name]
    spec = CellSpec(I, H, num_layers=2, bias=bias, bidirectional=bidirectional, cell=cell, **own)
    parameters = {
        name: generator.normal(size=shape).astype(np.float32) for name, shape in spec.parameter_shapes().items()
    }
    x = keras.ops.convert_to_tensor(X)
    for number, (name, config, arrays) in enumerate(interop.to_keras(interop.Layer(spec, parameters))):
        layer = getattr(keras.layers, name).from_config(config)
        layer.build(x.shape)
        layer.set_weights([array for direction in arrays for array in direction])
        x = layer(x)
        back = interop.from_keras(layer).parameters
        for key, array in back.items():
            own = key.replace("_l0", f"_l{number}")
            partner = own.replace("bias_ih", "bias_hh")
            whole = parameters[own] + parameters[partner] if own.startswith("bias_ih") else parameters[own]
            if kind not in ("GRU", "GRU-activations") and key.startswith("bias"):
                np.testing.assert_array_equal(array, whole if key.startswith("bias_ih") else 0.0)
            else:
                np.testing.assert_array_equal(array, parameters[own])
    expected = nn.build(spec, parameters, batch_first=True)(torch.from_numpy(X))[0]
    peers.close(peers.numbers(x), expected.detach().numpy())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: keras.layers.Dense(3), "no Keras layer 'Dense' can be converted"),
        (lambda: keras.layers.LSTM(3, activation="softmax"), "LSTM: activation='softmax' cannot be converted"),
        (lambda: keras.layers.LSTM(3, recurrent_activation="sparsemax"), "recurrent_activation='sparsemax'"),
        (lambda: keras.layers.GRU(3, recurrent_activation="glu"), "GRU: recurrent_activation='glu'"),
        (
            lambda: keras.layers.SimpleRNN(3, activation=keras.layers.PReLU()),
            "activation='PReLU' .*; lstmkit's cell has .*sigmoid, tanh",
        ),
        (
            lambda: keras.layers.Bidirectional(
                keras.layers.LSTM(3), backward_layer=keras.layers.LSTM(4, go_backwards=True)
            ),
            "its two layers differ",
        ),
    ],
    ids=["class", "activation", "recurrent-activation", "gru", "rnn", "unequal-directions"],
)
def test_from_keras__rejects_what_no_cell_has(make: Any, said: str) -> None:
    layer = make()
    layer.build((B, T, I))
    with pytest.raises(OptionError, match=said):
        interop.from_keras(layer)


def test_from_keras__rejects_unbuilt_layer() -> None:
    with pytest.raises(OptionError, match="has no weights yet"):
        interop.from_keras(keras.layers.LSTM(3))


@pytest.mark.parametrize(("after", "shape"), [(True, (9,)), (False, (2, 9))])
def test_gru_bias__is_refused_in_the_other_convention(after: bool, shape: tuple[int, ...]) -> None:
    arrays = [np.ones((I, 9)), np.ones((H, 9)), np.ones(shape)]
    with pytest.raises(ShapeError, match="the bias must have the shape .* with the gates z, r, n, not"):
        interop.from_keras_config("GRU", {"units": H, "reset_after": after}, [arrays])


@pytest.mark.parametrize("position", [0, 1, 2], ids=["kernel", "recurrent-kernel", "bias"])
@pytest.mark.parametrize("change", [lambda a: np.atleast_2d(a).T, lambda a: a[..., 1:]], ids=["turned", "cut"])
def test_arrays__reject_other_shapes(position: int, change: Any) -> None:
    arrays = [np.ones((I, 4 * H)), np.ones((H, 4 * H)), np.ones(4 * H)]
    arrays[position] = change(arrays[position])
    with pytest.raises(ShapeError, match=r"memory: the .* must have the shape .* with the gates i, f, g, o, not"):
        interop.from_keras_config("LSTM", {"units": H, "name": "memory"}, [arrays])


def test_arrays__reject_other_count() -> None:
    with pytest.raises(LSTMKitError, match="expected 2 arrays with use_bias=False, not 3"):
        interop.from_keras_config("LSTM", {"units": H, "use_bias": False}, [[np.ones((I, 12)), np.ones((H, 12)), 1.0]])
