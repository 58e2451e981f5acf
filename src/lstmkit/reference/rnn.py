"""The simple recurrent network."""

from collections.abc import Mapping
from typing import NamedTuple

from lstmkit.reference.activations import activate, clip
from lstmkit.reference.arrays import Array, Namespace, affine
from lstmkit.spec import Activation, CellSpec


class RNNWeights(NamedTuple):
    """The parameters of one layer and direction; ``bias`` is the sum of torch's two."""

    input: Array  # (H, I)
    recurrent: Array  # (H, H)
    bias: Array | None  # (H,)
    nonlinearity: Activation
    clip: float | None


def collect_rnn(spec: CellSpec, p: Mapping[str, Array]) -> RNNWeights:
    """One direction's parameters by torch's names."""
    bias = p["bias_ih"] + p["bias_hh"] if spec.bias else None
    return RNNWeights(p["weight_ih"], p["weight_hh"], bias, spec.nonlinearity, spec.variant.gate_clip)


def rnn_input(xp: Namespace, x: Array, w: RNNWeights) -> Array:
    """What the input ``(T, B, I)`` adds at all steps: ``W x_t + b``."""
    return affine(x, w.input, w.bias)


def rnn_step(
    xp: Namespace, from_input: Array, state: tuple[Array, ...], w: RNNWeights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step: Elman (1990) with tanh; Le, Jaitly & Hinton (2015) with relu; ONNX's RNN with others and a clip."""
    (h,) = state
    h = activate(xp, w.nonlinearity, clip(xp, from_input + h @ w.recurrent.T, w.clip))
    return h, (h,), (h,)
