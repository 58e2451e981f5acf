"""The mLSTM of xLSTM: a matrix for its memory, which holds values under keys. One step, and many at once.

Legend: ``N`` heads of ``S`` units, ``t`` the step that reads, ``s`` the step that wrote.
"""

from collections.abc import Mapping
from math import sqrt
from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, affine, device_of, log_sigmoid, negative, sigmoid
from lstmkit.reference.steps import Steps
from lstmkit.spec import CellSpec

# The logarithm of nothing, with differences that are numbers.
_NOTHING = -1e30


class MLSTMWeights(NamedTuple):
    """The parameters of one layer and direction."""

    qkvo: Array  # (4H, I)
    gates: Array  # (2N, I): i and f of each head
    bias_qkvo: Array | None  # (4H,)
    bias_gates: Array | None  # (2N,)
    num_heads: int


class _Parts(NamedTuple):
    """What the input alone decides, of one step or, with another axis before, of many."""

    q: Array  # (B, N, S)
    k: Array  # (B, N, S)
    v: Array  # (B, N, S)
    o: Array  # (B, H)
    i: Array  # (B, N), the logarithm of the input gate
    f: Array  # (B, N), the logarithm of the forget gate


def collect_mlstm(spec: CellSpec, p: Mapping[str, Array]) -> MLSTMWeights:
    """One direction's parameters by name."""
    return MLSTMWeights(p["weight_qkvo"], p["weight_if"], p.get("bias_qkvo"), p.get("bias_if"), spec.num_heads)


def mlstm_input(xp: Namespace, x: Array, w: MLSTMWeights) -> Array:
    """Query, key, value and gates of all steps ``(T, B, I)``, side by side; the key is the paper's, divided."""
    H = w.qkvo.shape[0] // 4
    z = affine(x, w.qkvo, None)
    z = xp.concatenate([z[..., :H], z[..., H : 2 * H] / sqrt(H // w.num_heads), z[..., 2 * H :]], x.ndim - 1)
    z = z if w.bias_qkvo is None else z + w.bias_qkvo
    return xp.concatenate([z, affine(x, w.gates, w.bias_gates)], x.ndim - 1)


def _parts(xp: Namespace, prepared: Array, w: MLSTMWeights) -> _Parts:
    H, N = w.qkvo.shape[0] // 4, w.num_heads
    q, k, v = (prepared[..., n * H : (n + 1) * H].reshape(*prepared.shape[:-1], N, H // N) for n in range(3))
    i, f = prepared[..., 4 * H : 4 * H + N], prepared[..., 4 * H + N :]
    return _Parts(q, k, v, sigmoid(xp, prepared[..., 3 * H : 4 * H]), i, log_sigmoid(xp, f))


def mlstm_step(
    xp: Namespace, prepared: Array, state: tuple[Array, ...], w: MLSTMWeights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step: Beck et al. (2024), eq. 19-27, stabilised as in eq. 15-17, with the forget gate ``sigmoid`` of eq. 26.

    Memory and normaliser are those of the paper times ``exp(-m)``, so the 1 of eq. 21 is here ``exp(-m)``. A head with
    ``n = 0`` remembers nothing, so its stabiliser begins at its input gate.
    """
    memory, n, m = state
    q, k, v, o, i, f = _parts(xp, prepared, w)
    kept = xp.where(xp.all(n == 0, -1), i, f + m)
    m = xp.maximum(kept, i)
    i, f = xp.exp(i - m), xp.exp(kept - m)
    memory = f[..., None, None] * memory + i[..., None, None] * v[..., :, None] * k[..., None, :]
    n = f[..., None] * n + i[..., None] * k
    read, weight = (memory * q[..., None, :]).sum(-1), (n * q).sum(-1)
    h = o * _normalise(xp, read, weight, m).reshape(o.shape)
    return h, (memory, n, m), (_widen(xp, i, o), _widen(xp, f, o), o)


def mlstm_whole(
    xp: Namespace, prepared: Array, state: tuple[Array, ...], w: MLSTMWeights, steps: Steps
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """Many steps at once, by the paper's appendix A: ``t`` reads what ``s`` wrote, and the state before."""
    memory, n, m_first = state
    q, k, v, o, i, f = _parts(xp, prepared, w)
    if steps.active is not None:
        i, f = xp.where(steps.active, i, _NOTHING), xp.where(steps.active, f, 0.0)
    empty = xp.all(n == 0, -1)
    reads, unbroken = _reach(xp, i, steps)
    decay = xp.cumsum(f, 0)
    log_first = xp.where(unbroken & ~empty, decay + m_first, _NOTHING)
    log_written = xp.where(reads, decay[:, None] - decay[None] + i[None], _NOTHING)
    m = xp.maximum(xp.amax(log_written, 1), log_first)
    holds = m > 0.5 * _NOTHING
    m = xp.where(holds, m, m_first)
    from_first, from_written = xp.exp(log_first - m), xp.exp(log_written - m[:, None])

    scores = xp.einsum("tbnk,sbnk->tsbn", q, k) * from_written
    read = xp.einsum("tsbn,sbnv->tbnv", scores, v) + from_first[..., None] * xp.einsum("bnvk,tbnk->tbnv", memory, q)
    weight = scores.sum(1) + from_first * xp.einsum("bnk,tbnk->tbn", n, q)
    h = o * _normalise(xp, read, weight, m).reshape(o.shape)

    last, kept = from_written[-1], from_first[-1]
    memory = kept[..., None, None] * memory + xp.einsum("sbn,sbnv,sbnk->bnvk", last, v, k)
    n = kept[..., None] * n + xp.einsum("sbn,sbnk->bnk", last, k)

    held = xp.concatenate([~empty[None], holds[:-1]])
    held = held if steps.resets is None else held & ~steps.resets
    kept = xp.where(held, f + xp.concatenate([m_first[None], m[:-1]]), i)
    return h, (memory, n, m[-1]), (_widen(xp, xp.exp(i - m), o), _widen(xp, xp.exp(kept - m), o), o)


def _reach(xp: Namespace, like: Array, steps: Steps) -> tuple[Array, Array]:
    """Which steps each step reads ``(T, T, B, 1)``, and which have no wall between them and the first state."""
    t = xp.arange(like.shape[0], **device_of(like))
    past = (t[:, None] >= t[None])[:, :, None, None]
    if steps.resets is None:
        return past, (t >= 0)[:, None, None]
    walls = xp.cumsum(steps.resets, 0)
    return past & (walls[:, None] == walls[None]), walls == 0


def _normalise(xp: Namespace, read: Array, weight: Array, m: Array) -> Array:
    """``read / max(|weight|, exp(-m))``, times ``exp(min(m, 0))`` above and below, so that nothing overflows."""
    low = negative(xp, m)
    least = xp.exp(low - m)
    return read * xp.exp(low)[..., None] / xp.maximum(xp.abs(weight) * xp.exp(low), least)[..., None]


def _widen(xp: Namespace, gate: Array, like: Array) -> Array:
    """A gate of each head ``(..., N)`` for each of its units ``(..., H)``."""
    S = like.shape[-1] // gate.shape[-1]
    return (gate[..., None] * xp.ones_like(like).reshape(*gate.shape, S)).reshape(like.shape)
