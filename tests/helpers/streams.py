"""Models of random weights that stream, and what the reference says in float64."""

import numpy as np

from lstmkit.core import native_module, native_status
from lstmkit.reference import run_sequence
from lstmkit.runtime import SequenceModel, recurrence
from lstmkit.spec import CellSpec

PRECISIONS = {"float32": 1e-6, "bfloat16": 1e-2, "int8": 3e-2}
CELLS = {
    "plain": CellSpec(3, 5),
    "even": CellSpec(64, 64),
    "odd": CellSpec(1, 33, num_layers=2),
    "deep-projected": CellSpec(5, 19, num_layers=3, proj_size=3),
    "wide-projection": CellSpec(7, 90, proj_size=70),
    "no-bias": CellSpec(6, 17, bias=False),
    "large": CellSpec(30, 150, num_layers=2),
}

status = native_status()
core = native_module()
SETS = [name for name in status.compiled if name in status.found]


def draw(*shape, seed=3, scale=1.0):
    return (np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32)


def draw_weights(spec, seed=5):
    """Weights that keep the gates away from both zero and saturation; biases are not zero."""
    return {
        name: draw(*shape, seed=seed + k, scale=shape[-1] ** -0.5 if len(shape) > 1 else 0.5)
        for k, (name, shape) in enumerate(spec.parameter_shapes().items())
    }


def layer_model(spec):
    stages = [{"name": "lstm", "kind": "recurrent", "inputs": ["x"], "options": {"cell": spec.to_dict()}}]
    weights = {f"lstm.{name}": array for name, array in draw_weights(spec).items()}
    document = {"task": "sequence", "sequence": {"input_size": spec.input_size}, "stages": stages}
    return SequenceModel(document, weights)


def chain_model():
    """linear -> relu -> LSTM -> LSTM with projection -> linear, and a way around."""
    first, second = CellSpec(6, 9), CellSpec(9, 20, num_layers=2, proj_size=4)
    stages = [
        {"name": "in", "kind": "linear", "inputs": ["x"], "options": {"features": 3, "units": 6}},
        {"name": "bend", "kind": "relu", "inputs": ["in"], "options": {}},
        {"name": "one", "kind": "recurrent", "inputs": ["bend"], "options": {"cell": first.to_dict()}},
        {"name": "two", "kind": "recurrent", "inputs": ["one"], "options": {"cell": second.to_dict()}},
        {"name": "out", "kind": "linear", "inputs": ["two"], "options": {"features": 4, "units": 6}},
        {"name": "sum", "kind": "add", "inputs": ["out", "in"], "options": {}},
    ]
    weights = {f"one.{name}": array for name, array in draw_weights(first).items()}
    weights |= {f"two.{name}": array for name, array in draw_weights(second).items()}
    for k, (name, shape) in enumerate({"in": (6, 3), "out": (6, 4)}.items()):
        weights |= {f"{name}.weight": draw(*shape, seed=k), f"{name}.bias": draw(shape[0], seed=9 + k)}
    return SequenceModel({"task": "sequence", "sequence": {"input_size": 3}, "stages": stages}, weights)


def draw_state(spec, seed=11):
    rows = spec.num_layers
    return draw(rows, 1, spec.state_size, seed=seed, scale=0.5), draw(rows, 1, spec.hidden_size, seed=seed + 1)


def expected(spec, weights, x, state):
    """Output (T, R), h and c by the equations in float64."""
    wide = {name: array.astype(np.float64) for name, array in weights.items()}
    result = run_sequence(np, spec, wide, x[:, None].astype(np.float64), tuple(s.astype(np.float64) for s in state))
    return result.output[:, 0], *result.state


def pack(spec, precision="float32", instruction_set=""):
    layers = [
        tuple(
            draw_weights(spec).get(f"{name}_l{layer}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        )
        for layer in range(spec.num_layers)
    ]
    return core.StreamWeights(layers, precision, instruction_set)


def without_core(monkeypatch):
    monkeypatch.setattr(
        recurrence, "native_status", lambda: type(status)(False, "it was taken away", None, (), (), None, 1)
    )
