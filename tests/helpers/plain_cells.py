"""Every cell once more, written for one row and one step with vectors: the oracle of the relatives.

Nothing here is shared with the package: rows are cut out, directions flipped and resets taken as separate sequences, so
the drivers have an oracle too. Autograd goes through, which gives the gradients.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

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
    h = torch.tanh(z) if spec.nonlinearity == "tanh" else torch.clamp(z, min=0)
    return h, [h], {"g": h}


def _gru(spec: CellSpec, p: Parameters, x: Tensor, extra: Tensor, state: Vectors) -> Any:
    (h,) = state
    zero = torch.zeros(3 * len(h), dtype=h.dtype)
    wr, wz, wn = (p["weight_ih"] @ x + p.get("bias_ih", zero)).chunk(3)
    ur, uz, un = p["weight_hh"].chunk(3)
    dr, dz, dn = p.get("bias_hh", zero).chunk(3)
    r, z = torch.sigmoid(wr + ur @ h + dr), torch.sigmoid(wz + uz @ h + dz)
    n = torch.tanh(wn + r * (un @ h + dn)) if spec.reset_after else torch.tanh(wn + un @ (r * h) + dn)
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


PLAIN: dict[str, Step] = {
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
