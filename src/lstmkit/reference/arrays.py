"""What NumPy and torch spell differently, in three lines each."""

import math
from typing import Any

# A NumPy array or a torch tensor; ``xp`` is the module that it belongs to.
Array = Any
Namespace = Any


def device_of(x: Array) -> dict[str, Any]:
    """Keyword that creates an array where ``x`` lives; NumPy before 2.0 has none."""
    return {"device": x.device} if hasattr(x, "device") else {}


def zeros(xp: Namespace, shape: tuple[int, ...], like: Array) -> Array:
    """Zeros with the dtype and device of ``like``."""
    return xp.zeros(shape, dtype=like.dtype, **device_of(like))


def sigmoid(xp: Namespace, z: Array) -> Array:
    """The logistic function; through tanh it neither overflows nor loses its gradient to NaN."""
    return 0.5 * xp.tanh(0.5 * z) + 0.5


def log_sigmoid(xp: Namespace, z: Array) -> Array:
    """The logarithm of the logistic function, with its gradient at zero too."""
    return negative(xp, z) - xp.log1p(xp.exp(-xp.abs(z)))


def erf(xp: Namespace, z: Array) -> Array:
    """The error function, which NumPy lacks: there number by number."""
    return xp.erf(z) if hasattr(xp, "erf") else xp.vectorize(math.erf, otypes=[z.dtype])(z)


def negative(xp: Namespace, z: Array) -> Array:
    """The smaller of a number and zero, with half a gradient at zero."""
    return 0.5 * (z - xp.abs(z))


def stop_gradient(x: Array) -> Array:
    """The same numbers, through which no gradient goes."""
    return x.detach() if hasattr(x, "detach") else x


def affine(x: Array, weight: Array, bias: Array | None) -> Array:
    """``x (..., I)`` to ``(..., N)`` in one product with ``weight (N, I)``."""
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]) @ weight.T
    return (rows if bias is None else rows + bias).reshape(*x.shape[:-1], weight.shape[0])


def along_time(x: Array) -> Any:
    """What stands along the first axis. Indices would each have a gradient as large as ``x``."""
    return x.unbind(0) if hasattr(x, "unbind") else x


def split(xp: Namespace, x: Array, ends: list[int], axis: int = -1) -> list[Array]:
    """The parts that end before each of ``ends``, and the rest. Slices would each have a gradient as large as ``x``."""
    return [*(xp.tensor_split if hasattr(xp, "tensor_split") else xp.split)(x, ends, axis)]
