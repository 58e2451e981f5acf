"""Every cell once more, written for one row and one step with vectors: the oracle of the relatives.

Nothing here is shared with the package: rows are cut out, directions flipped and resets taken as separate sequences, so
the drivers have an oracle too. Autograd goes through, which gives the gradients.
"""

from collections.abc import Callable
from itertools import pairwise, product
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lstmkit.spec import CellSpec

Parameters = dict[str, Tensor]
Vectors = list[Tensor]
Step = Callable[[CellSpec, Parameters, Tensor, Tensor, Vectors], tuple[Tensor, Vectors, dict[str, Tensor]]]


class PlainResult(NamedTuple):
    output: Tensor  # (T, B, D*R)
    state: tuple[Tensor, ...]  # (L*D, B, ...)
    gates: list[dict[str, Tensor]]  # (T, B, D*H) by layer and letter


def _rnn(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    (h,) = state
    z = p["weight_ih"] @ x + p["weight_hh"] @ h
    if spec.bias:
        z = z + p["bias_ih"] + p["bias_hh"]
    h = curve(spec.nonlinearity, _clipped(spec, z))
    return h, [h], {"g": h}


def _clipped(spec: CellSpec, z: Tensor) -> Tensor:
    bound = spec.variant.gate_clip
    return z if bound is None else torch.where(z.abs() > bound, bound * z.detach().sign(), z)


# torch's own, which have no place in the package's text.
_CURVES: dict[str, Callable[..., Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": lambda z, alpha=1, beta=1: alpha * torch.tanh(beta * z),
    "hard_sigmoid": lambda z, alpha=1 / 6, beta=0.5: functional.hardtanh(alpha * z + beta, 0.0, 1.0),
    "relu": torch.relu,
    "softsign": functional.softsign,
    "identity": lambda z: z,
    "affine": lambda z, alpha, beta: torch.add(beta, z, alpha=alpha),
    "elu": functional.elu,
    "selu": functional.selu,
    "leaky_relu": functional.leaky_relu,
    "thresholded_relu": lambda z, alpha=1: functional.threshold(z, alpha, 0.0),
    "relu6": functional.relu6,
    "softplus": functional.softplus,
    "squareplus": lambda z: (z + torch.hypot(z, torch.full_like(z, 2.0))) / 2,
    "sparse_plus": lambda z: torch.where(z <= -1, 0 * z, torch.where(z < 1, (z + 1).square() / 4, z)),
    "exponential": torch.exp,
    "silu": functional.silu,
    "hard_silu": functional.hardswish,
    "gelu": functional.gelu,
    "mish": functional.mish,
    "hard_tanh": functional.hardtanh,
    "log_sigmoid": functional.logsigmoid,
    "tanh_shrink": functional.tanhshrink,
    "soft_shrink": functional.softshrink,
    "hard_shrink": functional.hardshrink,
}


def curve(activation: Any, z: Tensor) -> Tensor:
    name, *constants = [activation] if isinstance(activation, str) else activation
    return _CURVES[name](z, *constants)


def _gru(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    (h,) = state
    zero = torch.zeros(3 * len(h), dtype=h.dtype)
    wr, wz, wn = (p["weight_ih"] @ x + p.get("bias_ih", zero)).chunk(3)
    ur, uz, un = p["weight_hh"].chunk(3)
    dr, dz, dn = p.get("bias_hh", zero).chunk(3)
    v = spec.variant
    r, z = (curve(v.gate_activation, _clipped(spec, s)) for s in (wr + ur @ h + dr, wz + uz @ h + dz))
    n = wn + r * (un @ h + dn) if spec.reset_after else wn + un @ (r * h) + dn
    n = curve(v.candidate_activation, _clipped(spec, n))
    h = n + z * (h - n)
    return h, [h], {"r": r, "z": z, "n": n}


def _affine(p: Parameters, x: Tensor, kind: str = "ih") -> Tensor:
    z = p[f"weight_{kind}"] @ x
    return z + p[f"bias_{kind}"] if f"bias_{kind}" in p else z


def _slstm(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    """Eq. 8-14 as they stand, without a stabiliser; the states that go in and out are brought to its scale."""
    h, c, n, m = state
    H, N = len(h), spec.num_heads
    full = torch.block_diag(*torch.ones(N, H // N, H // N, dtype=h.dtype)).repeat(4, 1)
    R = torch.cat([p["weight_hh"]] * N, 1) * full
    zi, zf, zz, zo = (_affine(p, x) + R @ h).chunk(4)
    i, f, z, o = zi.exp(), zf.sigmoid(), zz.tanh(), zo.sigmoid()
    true_c, true_n = f * (c * m.exp()) + i * z, f * (n * m.exp()) + i
    scale = torch.where(n > 0, torch.maximum(f.log() + m, zi), zi)
    kept = torch.where(n > 0, torch.exp(f.log() + m - scale), torch.ones_like(scale))
    h = o * true_c / true_n
    new = [h, true_c / scale.exp(), true_n / scale.exp(), scale]
    return h, new, {"i": torch.exp(zi - scale), "f": kept, "z": z, "o": o}


def _mlstm(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    """Eq. 19-27 as they stand, head by head, without a stabiliser; states are brought to its scale."""
    N, S = spec.num_heads, spec.hidden_size // spec.num_heads
    no_bias = torch.zeros(4 * N * S, dtype=x.dtype)
    wq, wk, wv, wo = (w @ x for w in p["weight_qkvo"].chunk(4))
    bq, bk, bv, bo = p.get("bias_qkvo", no_bias).chunk(4)
    q, k, v, o = wq + bq, wk / S**0.5 + bk, wv + bv, torch.sigmoid(wo + bo)
    log_i, zf = _affine(p, x, "if").chunk(2)
    heads, hs, gates = [], [], {"i": [], "f": []}
    for a in range(N):
        C, n, m = (value[a] for value in state)
        part = slice(a * S, (a + 1) * S)
        i, f = log_i[a].exp(), zf[a].sigmoid()
        true_C = f * C * m.exp() + i * torch.outer(v[part], k[part])
        true_n = f * n * m.exp() + i * k[part]
        weight = torch.dot(true_n, q[part]).abs()
        hs.append(o[part] * (true_C @ q[part]) / torch.maximum(weight, torch.ones_like(weight)))
        begun = bool((n != 0).any())
        scale = torch.maximum(f.log() + m, log_i[a]) if begun else log_i[a]
        heads.append((true_C / scale.exp(), true_n / scale.exp(), scale))
        gates["i"] += [torch.exp(log_i[a] - scale)] * S
        gates["f"] += [torch.exp(f.log() + m - scale) if begun else torch.ones_like(scale)] * S
    new = [torch.stack(parts) for parts in zip(*heads, strict=True)]
    return torch.cat(hs), new, {"o": o, **{letter: torch.stack(parts) for letter, parts in gates.items()}}


def _minlstm(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    i, f, g = _affine(p, x).chunk(3)
    i, f = i.sigmoid(), f.sigmoid()
    i, f = i / (f + i), f / (f + i)
    h = f * state[0] + i * g
    return h, [h], {"i": i, "f": f, "g": g}


def _mingru(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    z, g = _affine(p, x).chunk(2)
    z = z.sigmoid()
    h = (1 - z) * state[0] + z * g
    return h, [h], {"z": z, "g": g}


def _lstm(i: Tensor, f: Tensor, g: Tensor, o: Tensor, c: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    c = f * c + i * g
    return o * c.tanh(), c, {"i": i, "f": f, "g": g, "o": o}


def _janet(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    (h,) = state
    s, g = (_affine(p, x) + p["weight_hh"] @ h).chunk(2)
    h = s.sigmoid() * h + (spec.beta - s).sigmoid() * g.tanh()
    return h, [h], {"f": s.sigmoid(), "g": g.tanh()}


def _multiplicative(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    h, c = state
    m = (p["weight_im"] @ x) * (p["weight_hm"] @ h)
    h, c, gates = _lstm(*(_affine(p, x) + p["weight_mh"] @ m).chunk(4), c)
    return h, [h, c], gates


def _mogrifier(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    h, c = state
    for turn in range(1, spec.rounds + 1):
        kind, k = ("q", (turn - 1) // 2) if turn % 2 else ("r", turn // 2 - 1)
        low_rank = [p[f"weight_{kind}_{side}"][k] for side in ("left", "right")] if spec.rank else []
        matrix = low_rank[0] @ low_rank[1] if spec.rank else p[f"weight_{kind}"][k]
        if turn % 2:
            x = 2 * torch.sigmoid(matrix @ h) * x
        else:
            h = 2 * torch.sigmoid(matrix @ x) * h
    h, c, gates = _lstm(*(_affine(p, x) + p["weight_hh"] @ h).chunk(4), c)
    return h, [h, c], gates


def _on_lstm(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    h, c = state
    i, f, g, o = (_affine(p, x) + p["weight_hh"] @ h).chunk(4)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    a, b = (_affine(p, x, "master_ih") + p["weight_master_hh"] @ h).chunk(2)
    master_f = a.softmax(0).cumsum(0).repeat_interleave(spec.chunk_size)
    master_i = (1 - b.softmax(0).cumsum(0)).repeat_interleave(spec.chunk_size)
    both = master_f * master_i
    c = (f * both + master_f - both) * c + (i * both + master_i - both) * g
    h = o * c.tanh()
    return h, [h, c], {"i": i, "f": f, "g": g, "o": o, "master_i": master_i, "master_f": master_f}


def _phased(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    h, c = state
    tau, r = p["log_period"].exp(), p["ratio_logit"].sigmoid()
    ks = []
    for unit in range(len(h)):
        phase = torch.remainder(extra[0] - p["shift"][unit], tau[unit]) / tau[unit]
        if phase < r[unit] / 2:
            ks.append(2 * phase / r[unit])
        elif phase < r[unit]:
            ks.append(2 - 2 * phase / r[unit])
        else:
            ks.append(spec.leak * phase)
    k = torch.stack(ks)
    h_new, c_new, gates = _lstm(*(_affine(p, x) + p["weight_hh"] @ h).chunk(4), c)
    h, c = k * h_new + (1 - k) * h, k * c_new + (1 - k) * c
    return h, [h, c], {**gates, "k": k}


def _time_aware(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    h, c = state
    short = torch.tanh(p["weight_d"] @ c + p.get("bias_d", torch.zeros_like(c)))
    c = c - short + short / torch.log(torch.e + extra[0])
    h, c, gates = _lstm(*(_affine(p, x) + p["weight_hh"] @ h).chunk(4), c)
    return h, [h, c], gates


def _entity_aware(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    h, c = state
    f, g, o = (_affine(p, x) + p["weight_hh"] @ h).chunk(3)
    h, c, gates = _lstm(_affine(p, extra, "sh"), f, g, o, c)
    return h, [h, c], gates


def _lstm1997(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    h, s = state
    i, g, o = (_affine(p, x) + p["weight_hh"] @ h.detach()).chunk(3)
    i, g, o = i.sigmoid(), 2 * torch.tanh(g / 2), o.sigmoid()
    s = s + i * g
    h = o * torch.tanh(s / 2)
    return h, [h, s], {"i": i, "g": g, "o": o}


def _conv_lstm(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    h, c = state
    z = _convolve(x, p["weight_ih"], spec.padding == "same") + _convolve(h, p["weight_hh"], True)
    if spec.bias:
        z = z + p["bias_ih"].reshape(-1, *[1] * (z.dim() - 1))
    v, (zi, zf, zg, zo) = spec.variant, _clipped(spec, z).chunk(4)
    i, f, o = (curve(v.gate_activation, s) for s in (zi, zf, zo))
    g = curve(v.candidate_activation, zg)
    c = f * c + i * g
    h = o * curve(v.cell_activation, c)
    return h, [h, c], {"i": i, "f": f, "g": g, "o": o}


def _convolve(x: Tensor, kernel: Tensor, same: bool) -> Tensor:
    """A channel at a time, a place at a time; an even kernel reaches further forwards."""
    sizes = kernel.shape[2:]
    if same:
        x = functional.pad(x, [edge for k in reversed(sizes) for edge in ((k - 1) // 2, k // 2)])
    space = [n - k + 1 for n, k in zip(x.shape[1:], sizes, strict=True)]
    every = product(*map(range, space))
    windows = [x[(slice(None), *(slice(a, a + k) for a, k in zip(at, sizes, strict=True)))] for at in every]
    places = [torch.einsum("oi...,i...->o", kernel, window) for window in windows]
    return torch.stack(places, 1).reshape(len(kernel), *space)


PLAIN: dict[str, Step] = {
    "conv_lstm": _conv_lstm,
    "janet": _janet,
    "multiplicative": _multiplicative,
    "mogrifier": _mogrifier,
    "on_lstm": _on_lstm,
    "phased": _phased,
    "time_aware": _time_aware,
    "entity_aware": _entity_aware,
    "lstm1997": _lstm1997,
    "rnn": _rnn,
    "gru": _gru,
    "slstm": _slstm,
    "mlstm": _mlstm,
    "minlstm": _minlstm,
    "mingru": _mingru,
}


def run_plain(
    spec: CellSpec,
    parameters: Parameters,
    x: Tensor,
    state: tuple[Tensor, ...],
    extra: Tensor | None = None,
    *,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
) -> PlainResult:
    """A stack over ``x (T, B, I)`` and ``extra (T, B, E)``, row by row, step by step; zero beyond a length."""
    T, B = x.shape[:2]
    rows = []
    for b in range(B):
        n = T if lengths is None else int(lengths[b])
        walls = [] if resets is None else [t for t in range(n) if resets[t, b]]
        beside = x.new_zeros(n, 0) if extra is None else extra[:n, b]
        rows.append(_run_row(spec, parameters, x[:n, b], beside, [value[:, b] for value in state], walls))
    output = torch.stack([_pad(row[0], T) for row in rows], 1)
    last = tuple(torch.stack(parts, 1) for parts in zip(*(row[1] for row in rows), strict=True))
    gates = [
        {letter: torch.stack([_pad(row[2][k][letter], T) for row in rows], 1) for letter in spec.gates}
        for k in range(spec.num_layers)
    ]
    return PlainResult(output, last, gates)


def _run_row(
    spec: CellSpec, parameters: Parameters, x: Tensor, extra: Tensor, state: Vectors, walls: list[int]
) -> tuple[Tensor, Vectors, list[dict[str, Tensor]]]:
    last: list[Vectors] = []
    gates = []
    for k in range(spec.num_layers):
        ways = []
        for d, suffix in enumerate([f"_l{k}", f"_l{k}_reverse"][: spec.num_directions]):
            p = {name.removesuffix(suffix): v for name, v in parameters.items() if name.endswith(suffix)}
            first = [value[k * spec.num_directions + d] for value in state]
            ways.append(_run_way(spec, p, x, extra, first, walls, backwards=d == 1))
        x = torch.cat([way[0] for way in ways], 1)
        last += [way[1] for way in ways]
        gates.append({letter: torch.cat([way[2][letter] for way in ways], 1) for letter in spec.gates})
    return x, [torch.stack(parts) for parts in zip(*last, strict=True)], gates


def _run_way(
    spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors, walls: list[int], *, backwards: bool
) -> tuple[Tensor, Vectors, dict[str, Tensor]]:
    borders = [0, *(t for t in walls if t > 0), len(x)]
    zeros = [torch.zeros_like(value) for value in state]
    if not backwards and 0 in walls:
        state = zeros
    outputs: dict[int, Tensor] = {}
    gates: dict[int, dict[str, Tensor]] = {}
    parts = list(pairwise(borders))
    for n, (start, stop) in enumerate(reversed(parts) if backwards else parts):
        state = state if n == 0 else zeros
        for t in reversed(range(start, stop)) if backwards else range(start, stop):
            outputs[t], state, gates[t] = PLAIN[spec.cell](spec, p, x[t], extra[t], state)
    order = range(len(x))
    return (
        torch.stack([outputs[t] for t in order]),
        state,
        {letter: torch.stack([gates[t][letter] for t in order]) for letter in spec.gates},
    )


def _pad(values: Tensor, steps: int) -> Tensor:
    return torch.cat([values, values.new_zeros(steps - len(values), *values.shape[1:])])
