"""Keras 3 on JAX, compiled; sequences batch-first, as it wants them."""

from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp

from benchmarks.cases import Case
from benchmarks.data import Array, Data, Values
from benchmarks.peers import Prepared

# Keras has the gates i f c o, torch's own order, and one bias.
_KINDS = ("weight_ih", "weight_hh", "bias_ih")


def prepare(case: Case, data: Data) -> Prepared:
    """The layer under jit; gradients with respect to the weights and x if the case trains."""
    T, B, I, H = case.sizes  # noqa: E741
    layer: Any = keras.layers.LSTM(H, return_sequences=True, zero_output_for_mask=True)
    if case.bidirectional:
        layer = keras.layers.Bidirectional(layer)
    layer.build((B, T, I))
    weights = [jnp.asarray(value) for value in _weights(data)]
    x, grad_output = (jnp.asarray(value.transpose(1, 0, 2).copy()) for value in (data.x, data.grad_output))
    mask = None if data.lengths is None else jnp.arange(T)[None] < jnp.asarray(data.lengths)[:, None]
    fixed = [variable.value for variable in layer.non_trainable_variables]

    def forward(weights: list[Any], x: Any) -> Any:
        return layer.stateless_call(weights, fixed, x, mask=mask)[0]

    def train(weights: list[Any], x: Any) -> Any:
        output, backward = jax.vjp(forward, weights, x)
        return output, *backward(grad_output)

    compiled = jax.jit(train if case.task == "train" else forward)
    return Prepared(
        run=lambda: jax.block_until_ready(compiled(weights, x)),
        read=lambda result: _read(data, result) if case.task == "train" else {"output": _time_major(result)},
        note=f"keras {keras.__version__}, jax {jax.__version__}",
    )


def _weights(data: Data) -> list[Array]:
    parameters, values = data.parameters, []
    for suffix in data.spec.layer_suffixes(0):
        values += [parameters[f"weight_ih{suffix}"].T, parameters[f"weight_hh{suffix}"].T]
        values.append(parameters[f"bias_ih{suffix}"] + parameters[f"bias_hh{suffix}"])
    return values


def _read(data: Data, result: Any) -> Values:
    output, grad_weights, grad_x = result
    values = {"output": _time_major(output), "x": _time_major(grad_x)}
    names = [kind + suffix for suffix in data.spec.layer_suffixes(0) for kind in _KINDS]
    values |= {name: np.asarray(value).T for name, value in zip(names, grad_weights, strict=True)}
    # The gradient of a sum is that of both its terms.
    return values | {name.replace("ih", "hh"): value for name, value in values.items() if name.startswith("bias_ih")}


def _time_major(value: Any) -> Array:
    return np.asarray(value).transpose(1, 0, 2)
