"""An LSTM with every option, number by number in plain Python: the independent judge of the reference.

It shares no code with the library but the description of the cell, and no arrays with anybody: a vector is a list.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

Vector = list[float]
EPSILONS = {"ba": 1e-5, "ba_feedback": 1e-5, "per_gate": 1e-8, "per_gate_feedback": 1e-12}


SQUASHES: dict[str, Callable[..., float]] = {
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": lambda z, alpha=1, beta=1: alpha * math.tanh(beta * z),
    "hard_sigmoid": lambda z, alpha=1 / 6, beta=0.5: min(max(alpha * z + beta, 0.0), 1.0),
    "relu": lambda z: z if z > 0 else 0.0,
    "softsign": lambda z: z / (1 + abs(z)),
    "identity": lambda z: z,
    "affine": lambda z, alpha, beta: alpha * z + beta,
    "elu": lambda z, alpha=1: z if z > 0 else alpha * (math.exp(z) - 1),
    "selu": lambda z: 1.0507009873554805 * (z if z > 0 else 1.6732632423543772 * (math.exp(z) - 1)),
    "leaky_relu": lambda z, alpha=0.01: z if z > 0 else alpha * z,
    "thresholded_relu": lambda z, alpha=1: z if z > alpha else 0.0,
    "relu6": lambda z: min(max(z, 0.0), 6.0),
    "softplus": lambda z: math.log(1 + math.exp(z)),
    "squareplus": lambda z: (z + math.sqrt(z * z + 4)) / 2,
    "sparse_plus": lambda z: 0.0 if z <= -1 else (z + 1) ** 2 / 4 if z < 1 else z,
    "exponential": math.exp,
    "silu": lambda z: z / (1 + math.exp(-z)),
    "hard_silu": lambda z: 0.0 if z <= -3 else z * (z + 3) / 6 if z < 3 else z,
    # z times the probability that a normal number is smaller
    "gelu": lambda z: z * (1 - math.erfc(z / math.sqrt(2)) / 2),
    # With u = 1 + e^z: tanh(log u) = (u^2 - 1) / (u^2 + 1)
    "mish": lambda z: z * ((1 + math.exp(z)) ** 2 - 1) / ((1 + math.exp(z)) ** 2 + 1),
    "hard_tanh": lambda z: min(max(z, -1.0), 1.0),
    "log_sigmoid": lambda z: -math.log(1 + math.exp(-z)),
    "tanh_shrink": lambda z: z - math.tanh(z),
    "soft_shrink": lambda z: math.copysign(max(abs(z) - 0.5, 0.0), z),
    "hard_shrink": lambda z: z if abs(z) > 0.5 else 0.0,
}


def squash(activation: Any, z: float) -> float:
    name, *constants = [activation] if isinstance(activation, str) else activation
    return SQUASHES[name](z, *constants)


def limited(z: float, bound: float | None) -> float:
    return z if bound is None else min(max(z, -bound), bound)


def normalised(values: Vector, epsilon: float) -> Vector:
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / len(values)
    return [(v - mean) / math.sqrt(variance + epsilon) for v in values]


def product(matrix: list[Vector], vector: Vector) -> Vector:
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def step(v: Any, p: Mapping[str, Any], x: Vector, state: list[Vector], masks: Mapping[str, Any]) -> tuple[Any, ...]:
    """One row, one step: new h, c and last gates, and the gates by letter. ``p`` has names without endings."""
    h, c, *last = state
    H = len(c)
    kinds = {"i": v.input_gate, "f": v.forget_gate, "g": "free", "o": v.output_gate}
    letters = [a for a in "ifgo" if kinds[a] == "free"]
    free = [a for a in "ifo" if a in letters]
    wx = product(p["weight_ih"], x)
    wh = product(p["weight_hh"], [a * b for a, b in zip(h, masks.get("state", [1.0] * len(h)), strict=True)])
    N = len(wx)
    bias = [a + b for a, b in zip(p["bias_ih"], p["bias_hh"], strict=True)] if "bias_ih" in p else [0.0] * N
    epsilon = EPSILONS.get(v.layer_norm)
    if v.layer_norm in ("ba", "ba_feedback"):
        wx = [a * b for a, b in zip(normalised(wx, epsilon), p["gain_ih"], strict=True)]
        wh = [a * b for a, b in zip(normalised(wh, epsilon), p["gain_hh"], strict=True)]
    between = product(p["weight_gates"], last[0]) if v.full_gate_recurrence else [0.0] * (len(free) * H)

    def gate(letter: str, function: Any, seen: Vector) -> Vector:
        """All units of a gate; ``seen`` is the cell state behind its peephole."""
        row = letters.index(letter) * H
        z = [wx[row + j] + wh[row + j] for j in range(H)]
        if letter in free:
            z = [z[j] + between[free.index(letter) * H + j] for j in range(H)]
        if letter in v.peepholes:
            first = [a for a in "ifo" if a in v.peepholes].index(letter) * H
            z = [z[j] + p["weight_ch"][first + j] * seen[j] for j in range(H)]
        if v.layer_norm in ("per_gate", "per_gate_feedback"):
            z = [a * p["gain_gates"][row + j] for j, a in enumerate(normalised(z, epsilon))]
        return [squash(function, limited(z[j] + bias[row + j], v.gate_clip)) for j in range(H)]

    def cell_norm(values: Vector) -> Vector:
        shift = p.get("bias_c", [0.0] * H)
        return [a * p["gain_c"][j] + shift[j] for j, a in enumerate(normalised(values, epsilon))]

    ones = [1.0] * H
    gates = {a: gate(a, v.gate_activation, c) if a in free else ones for a in "if"}
    if v.input_gate == "coupled":
        gates["i"] = [1 - a for a in gates["f"]]
    if v.forget_gate == "coupled":
        gates["f"] = [1 - a for a in gates["i"]]
    gates["g"] = gate("g", v.candidate_activation, c)
    dropped = masks.get("candidate", ones)
    fresh = [gates["f"][j] * c[j] + gates["i"][j] * gates["g"][j] * dropped[j] for j in range(H)]
    if v.layer_norm in ("ba_feedback", "per_gate_feedback"):
        fresh = cell_norm(fresh)
    fresh = [limited(a, v.cell_clip) for a in fresh]
    gates["o"] = gate("o", v.gate_activation, fresh) if "o" in free else ones
    read = cell_norm(fresh) if v.layer_norm == "ba" else fresh
    out = [gates["o"][j] * squash(v.cell_activation, read[j]) for j in range(H)]
    if "weight_hr" in p:
        shift = p.get("bias_hr", [0.0] * len(p["weight_hr"]))
        out = [limited(a + b, v.proj_clip) for a, b in zip(product(p["weight_hr"], out), shift, strict=True)]

    def zoned(old: Vector, new: Vector, rate: float, keeps: Any) -> Vector:
        keeps = [rate] * len(old) if keeps is None else [float(k) for k in keeps]
        return [k * a + (1 - k) * b for k, a, b in zip(keeps, old, new, strict=True)]

    out = zoned(h, out, v.zoneout_h, masks.get("zoneout_h"))
    fresh = zoned(c, fresh, v.zoneout_c, masks.get("zoneout_c"))
    last = [[a for letter in free for a in gates[letter]]] if v.full_gate_recurrence else []
    return out, fresh, *last, gates


def run_row(
    v: Any,
    p: Mapping[str, Any],
    x: list[Vector],
    state: list[Vector],
    masks: Callable[[int], Mapping[str, Any]] = lambda t: {},
    *,
    backwards: bool = False,
) -> tuple[list[Vector], list[Vector], list[dict[str, Vector]], list[Vector]]:
    """One row over its real steps: outputs, last states, gates and cells of every step."""
    T = len(x)
    outputs, gates, cells = [[]] * T, [{}] * T, [[]] * T
    for t in reversed(range(T)) if backwards else range(T):
        *state, gates[t] = step(v, p, x[t], state, masks(t))
        outputs[t], cells[t] = state[0], state[1]
    return outputs, state, gates, cells


def run_stack(spec: Any, parameters: Mapping[str, Any], x: list[Vector], states: list[list[Vector]]) -> Any:
    """One row through all layers; ``states`` per layer and direction. The last layer's outputs, and all last states."""
    D, last = spec.num_directions, []
    for layer in range(spec.num_layers):
        sides = []
        for d, suffix in enumerate(spec.layer_suffixes(layer)):
            own = {n.removesuffix(suffix): value for n, value in parameters.items() if n.endswith(suffix)}
            outputs, state, _, _ = run_row(spec.variant, own, x, states[layer * D + d], backwards=d == 1)
            sides.append(outputs)
            last.append(state)
        y = [[a for side in sides for a in side[t]] for t in range(len(x))]
        x = y if layer == 0 else joined(spec, parameters, layer, x, y)
    return x, last


def joined(spec: Any, parameters: Mapping[str, Any], layer: int, x: list[Vector], y: list[Vector]) -> list[Vector]:
    """What a layer above the first hands on."""
    if spec.skip == "residual":
        return [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(x, y, strict=True)]
    if spec.skip == "highway":
        weight = parameters[f"weight_skip_l{layer}"]
        bias = parameters.get(f"bias_skip_l{layer}", [0.0] * len(weight))
        result = []
        for before, after in zip(x, y, strict=True):
            t = [squash("sigmoid", a + b) for a, b in zip(product(weight, before), bias, strict=True)]
            result.append([k * b + (1 - k) * a for k, a, b in zip(t, before, after, strict=True)])
        return result
    return y
