"""The formulas of :data:`lstmkit.spec.ACTIVATIONS`."""

from collections.abc import Callable
from math import sqrt

from lstmkit.reference.arrays import Array, Namespace, erf, log_sigmoid, sigmoid
from lstmkit.spec import Activation, activation_constants


def _tanh(xp: Namespace, z: Array, alpha: float, beta: float) -> Array:
    return xp.tanh(z) if (alpha, beta) == (1.0, 1.0) else alpha * xp.tanh(beta * z)


def _elu(xp: Namespace, z: Array, alpha: float) -> Array:
    return xp.where(z > 0.0, z, alpha * xp.expm1(xp.clip(z, None, 0.0)))


def _softplus(xp: Namespace, z: Array) -> Array:
    return -log_sigmoid(xp, -z)


_PLAIN: dict[str, Callable[[Namespace, Array], Array]] = {
    "sigmoid": sigmoid,
    "relu": lambda xp, z: xp.clip(z, 0.0, None),
    "softsign": lambda xp, z: z / (1.0 + xp.abs(z)),
    "identity": lambda xp, z: z,
    # Of Klambauer et al. 2017, arXiv:1706.02515: so mean 0 and variance 1 stay what they are.
    "selu": lambda xp, z: 1.0507009873554805 * _elu(xp, z, 1.6732632423543772),
    "relu6": lambda xp, z: xp.clip(z, 0.0, 6.0),
    "softplus": _softplus,
    "squareplus": lambda xp, z: 0.5 * (z + xp.sqrt(z * z + 4.0)),
    "sparse_plus": lambda xp, z: xp.where(z < 1.0, 0.25 * xp.clip(z + 1.0, 0.0, 2.0) ** 2, z),
    "exponential": lambda xp, z: xp.exp(z),
    "silu": lambda xp, z: z * sigmoid(xp, z),
    "hard_silu": lambda xp, z: z * xp.clip(z / 6.0 + 0.5, 0.0, 1.0),
    "gelu": lambda xp, z: 0.5 * z * (1.0 + erf(xp, z / sqrt(2.0))),
    "mish": lambda xp, z: z * xp.tanh(_softplus(xp, z)),
    "hard_tanh": lambda xp, z: xp.clip(z, -1.0, 1.0),
    "log_sigmoid": log_sigmoid,
    "tanh_shrink": lambda xp, z: z - xp.tanh(z),
    "soft_shrink": lambda xp, z: z - xp.clip(z, -0.5, 0.5),
    "hard_shrink": lambda xp, z: xp.where(xp.abs(z) > 0.5, z, 0.0),
}
_WITH_ALPHA: dict[str, Callable[[Namespace, Array, float], Array]] = {
    "elu": _elu,
    "leaky_relu": lambda xp, z, alpha: xp.where(z > 0.0, z, alpha * z),
    "thresholded_relu": lambda xp, z, alpha: xp.where(z > alpha, z, 0.0),
}
_WITH_ALPHA_AND_BETA: dict[str, Callable[[Namespace, Array, float, float], Array]] = {
    "tanh": _tanh,
    "hard_sigmoid": lambda xp, z, alpha, beta: xp.clip(alpha * z + beta, 0.0, 1.0),
    "affine": lambda xp, z, alpha, beta: alpha * z + beta,
}
_FORMULAS: dict[str, Callable[..., Array]] = {**_PLAIN, **_WITH_ALPHA, **_WITH_ALPHA_AND_BETA}


def clip(xp: Namespace, z: Array, bound: float | None) -> Array:
    """Within ±bound; None is no bound."""
    return z if bound is None else xp.clip(z, -bound, bound)


def activate(xp: Namespace, activation: Activation, z: Array) -> Array:
    """Apply an activation, element by element.

    Example:
        >>> import numpy as np
        >>> activate(np, ("hard_sigmoid", 0.2, 0.5), np.array([-3.0, 1.0])).tolist()
        [0.0, 0.7]
    """
    name, *constants = activation_constants(activation)
    return _FORMULAS[name](xp, z, *constants)
