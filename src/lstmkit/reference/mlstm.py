"""The mLSTM of xLSTM: a matrix for its memory, which holds values under keys. One step, and many at once.

Legend: ``N`` heads of ``S`` units, ``t`` the step that reads, ``s`` the step that wrote.
"""

from collections.abc import Mapping
from math import sqrt
from typing import Any, NamedTuple

from lstmkit.reference.arrays import Array, Namespace, affine, device_of, log_sigmoid, negative, sigmoid, split
from lstmkit.reference.chunks import in_chunks
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
    q, k, rest = w.qkvo[:H], w.qkvo[H : 2 * H] / sqrt(H // w.num_heads), w.qkvo[2 * H :]
    biases = [bias for bias in (w.bias_qkvo, w.bias_gates) if bias is not None]
    return affine(x, xp.concatenate([q, k, rest, w.gates]), xp.concatenate(biases) if biases else None)


def _parts(xp: Namespace, prepared: Array, w: MLSTMWeights) -> _Parts:
    H, N = w.qkvo.shape[0] // 4, w.num_heads
    *sides, o, i, f = split(xp, prepared, [H, 2 * H, 3 * H, 4 * H, 4 * H + N])
    q, k, v = (side.reshape(*prepared.shape[:-1], N, H // N) for side in sides)
    return _Parts(q, k, v, sigmoid(xp, o), i, log_sigmoid(xp, f))


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
    xp: Namespace,
    prepared: Array,
    state: tuple[Array, ...],
    w: MLSTMWeights,
    steps: Steps,
    chunk: int,
    gates: bool,
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """Many steps at once, each chunk by the paper's appendix A: ``t`` reads what ``s`` wrote, and the state before."""
    T = prepared.shape[0]
    parts = _parts(xp, prepared, w)
    q, k, v, i, f, resets = _cut(xp, parts, steps, min(chunk, T))
    reads, unbroken = _reach(xp, i, resets)
    decay = xp.cumsum(f, -1)
    log_written = xp.where(reads, decay[..., None] - decay[..., None, :] + i[..., None, :], _NOTHING)
    m_written = xp.amax(log_written, -1)
    heads = _carry_scale(xp, state, unbroken, decay, m_written)

    m_first = heads.m[..., None]
    log_first = xp.where(unbroken & ~heads.empty[..., None], decay + m_first, _NOTHING)
    m = xp.maximum(m_written, log_first)
    holds = m > 0.5 * _NOTHING
    m = xp.where(holds, m, m_first)
    from_first, from_written = xp.exp(log_first - m), xp.exp(log_written - m[..., None])
    memory, n, last = _carry_memory(xp, state, heads.kept, from_written[..., -1, :], k, v)

    scores = q @ xp.swapaxes(k, -1, -2) * from_written
    read = scores @ v + from_first[..., None] * (q @ xp.swapaxes(memory, -1, -2))
    weight = scores.sum(-1) + from_first * (q @ n[..., None])[..., 0]
    h = parts.o * _join(xp, _normalise(xp, read, weight, m), T).reshape(parts.o.shape)
    if not gates:
        return h, (*last, m[-1, ..., -1]), ()

    held = xp.concatenate([~heads.empty[..., None], holds[..., :-1]], -1)
    held = held if resets is None else held & ~resets
    kept = xp.where(held, f + xp.concatenate([m_first, m[..., :-1]], -1), i)
    i, f = (_widen(xp, _join(xp, xp.exp(gate - m), T), parts.o) for gate in (i, kept))
    return h, (*last, m[-1, ..., -1]), (i, f, parts.o)


def _cut(xp: Namespace, parts: _Parts, steps: Steps, length: int) -> tuple[Any, ...]:
    """q, k, v, i, f and the resets, ``(C, B, N, L, ...)`` for ``C`` chunks of ``L`` steps; what pads writes nothing."""
    _, k, _, _, i, f = parts
    if steps.active is not None:
        i, f = xp.where(steps.active, i, _NOTHING), xp.where(steps.active, f, 0.0)
    pads = [(parts.q, 0.0), (k, 0.0), (parts.v, 0.0), (i, _NOTHING), (f, 0.0)]
    every = [_heads_first(xp, in_chunks(xp, value, length, fill)) for value, fill in pads]
    resets = None if steps.resets is None else in_chunks(xp, steps.resets, length, False)
    return *every, None if resets is None else _heads_first(xp, resets)


def _heads_first(xp: Namespace, value: Array) -> Array:
    """``(C, L, B, N, ...)`` as ``(C, B, N, L, ...)``."""
    return xp.swapaxes(xp.swapaxes(value, 1, 2), 2, 3)


def _join(xp: Namespace, value: Array, T: int) -> Array:
    """``(C, B, N, L, ...)`` as ``(T, B, N, ...)``."""
    value = xp.swapaxes(xp.swapaxes(value, 2, 3), 1, 2)
    return value.reshape(-1, *value.shape[2:])[:T]


def _reach(xp: Namespace, like: Array, resets: Array | None) -> tuple[Array, Array]:
    """Which steps each step reads ``(..., L, L)``, and which no wall parts from the state before."""
    t = xp.arange(like.shape[-1], **device_of(like))
    past = t[:, None] >= t
    if resets is None:
        return past, t >= xp.zeros_like(like)
    walls = xp.cumsum(resets, -1)
    return past & (walls[..., None] == walls[..., None, :]), walls == 0


class _Heads(NamedTuple):
    """The heads as each chunk finds them, and what it keeps of them; all ``(C, B, N)``."""

    m: Array
    empty: Array
    kept: Array


def _carry_scale(xp: Namespace, state: tuple[Array, ...], unbroken: Array, decay: Array, m_written: Array) -> _Heads:
    _, n, m = state
    empty = xp.all(n == 0, -1)
    found: list[tuple[Array, ...]] = []
    for whole, faded, written in zip(unbroken[..., -1], decay[..., -1], m_written[..., -1], strict=True):
        log_first = xp.where(whole & ~empty, faded + m, _NOTHING)
        after = xp.maximum(written, log_first)
        holds = after > 0.5 * _NOTHING
        after = xp.where(holds, after, m)
        found.append((m, empty, xp.exp(log_first - after)))
        m, empty = after, ~holds
    return _Heads(*(xp.stack(values) for values in zip(*found, strict=True)))


def _carry_memory(
    xp: Namespace, state: tuple[Array, ...], kept: Array, written: Array, k: Array, v: Array
) -> tuple[Array, Array, tuple[Array, Array]]:
    """Memory and normaliser as each chunk finds them, and as the last one leaves them."""
    memory, n, _ = state
    memories, normalisers = xp.swapaxes(written[..., None] * v, -1, -2) @ k, (written[..., None, :] @ k)[..., 0, :]
    found: list[tuple[Array, Array]] = []
    for keep, new_memory, new_n in zip(kept, memories, normalisers, strict=True):
        found.append((memory, n))
        memory = keep[..., None, None] * memory + new_memory
        n = keep[..., None] * n + new_n
    return *(xp.stack(values) for values in zip(*found, strict=True)), (memory, n)


def _normalise(xp: Namespace, read: Array, weight: Array, m: Array) -> Array:
    """``read / max(|weight|, exp(-m))``, times ``exp(min(m, 0))`` above and below, so that nothing overflows.

    ``exp(-m)`` is at least the smallest normal number, or a query of zeros would be divided by zero.
    """
    low = negative(xp, m)
    least = xp.clip(xp.exp(low - m), xp.finfo(m.dtype).tiny, None)
    return read * xp.exp(low)[..., None] / xp.maximum(xp.abs(weight) * xp.exp(low), least)[..., None]


def _widen(xp: Namespace, gate: Array, like: Array) -> Array:
    """A gate of each head ``(..., N)`` for each of its units ``(..., H)``."""
    S = like.shape[-1] // gate.shape[-1]
    return (gate[..., None] * xp.ones_like(like).reshape(*gate.shape, S)).reshape(like.shape)
