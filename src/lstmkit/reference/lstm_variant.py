"""The LSTM with the options of a :class:`~lstmkit.spec.Variant`; docs/explanation/variants.md has the same equations.

Gates without weights have no rows: those that are left keep the order i, f, g, o.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from lstmkit.reference.activations import activate, clip
from lstmkit.reference.arrays import Array, Namespace, affine
from lstmkit.spec import CellSpec, Variant


class Masks(NamedTuple):
    """What regularisers have drawn for one direction; None is nothing."""

    state: Array | None = None  # (B, R): on h where the gates read it, one for all steps
    candidate: Array | None = None  # (T, B, H): on g where the cell state takes it up
    zoneout_h: Array | None = None  # (T, B, R) bool, True keeps the value of the step before
    zoneout_c: Array | None = None  # (T, B, H) bool

    def at(self, t: int) -> "Masks":
        """Those of one step."""
        candidate, zoneout_h, zoneout_c = (mask if mask is None else mask[t] for mask in self[1:])
        return Masks(self.state, candidate, zoneout_h, zoneout_c)


class VariantWeights(NamedTuple):
    """The parameters of one direction by their names, the options, and the masks of this run."""

    variant: Variant
    parameters: Mapping[str, Array]
    bias: Array | None  # (N,), the sum of torch's two; N is the rows of the gates that have weights
    masks: Masks = Masks()


@dataclass(frozen=True)
class PreparedSteps:
    """What no state takes part in: the input's share ``(T, B, N)`` and the masks, of all steps."""

    from_input: Array
    masks: Masks

    def __getitem__(self, t: int) -> tuple[Array, Masks]:
        return self.from_input[t], self.masks.at(t)


def collect_variant(spec: CellSpec, parameters: Mapping[str, Array]) -> VariantWeights:
    """One direction's parameters by their names without endings."""
    bias = parameters["bias_ih"] + parameters["bias_hh"] if spec.bias else None
    return VariantWeights(spec.variant, parameters, bias)


def variant_input(xp: Namespace, x: Array, w: VariantWeights) -> PreparedSteps:
    """What the input ``(T, B, I)`` adds to the gates of all steps."""
    share = affine(x, w.parameters["weight_ih"], None)
    if w.variant.normalises_products:
        share = _normalise(xp, share, w) * w.parameters["gain_ih"]
    return PreparedSteps(share if w.bias is None or w.variant.normalises_gates else share + w.bias, w.masks)


def variant_step(
    xp: Namespace, prepared: tuple[Array, Masks], state: tuple[Array, ...], w: VariantWeights
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
    """One step.

    Shape:
        - prepared: the input's share ``(B, N)`` and the masks of the step
        - state: h ``(B, R)``, c ``(B, H)`` and, with full gate recurrence, the free gates i, f, o ``(B, F*H)``
        - the gates i, f, g, o that come back third: ``(B, H)`` each, those without weights too
    """
    v, (from_input, masks) = w.variant, prepared
    h, c, *gates_before = state
    z = _sums(xp, from_input, h, gates_before, masks, w)

    i, f = _gate(xp, z, "i", c, w), _gate(xp, z, "f", c, w)
    i, f = 1 - f if v.input_gate == "coupled" else i, 1 - i if v.forget_gate == "coupled" else f
    g = activate(xp, v.candidate_activation, _finish(xp, z["g"], "g", c, w))
    taken_up = g if masks.candidate is None else g * masks.candidate
    c_new = _settle(xp, f * c + i * taken_up, w)
    o = _gate(xp, z, "o", c_new, w)
    h_new = _project(xp, o * activate(xp, v.cell_activation, _read(xp, c_new, w)), w)

    kept = dict(zip("ifo", (i, f, o), strict=True))
    h_new = _zone_out(xp, h, h_new, v.zoneout_h, masks.zoneout_h)
    c_new = _zone_out(xp, c, c_new, v.zoneout_c, masks.zoneout_c)
    gates = [xp.concatenate([kept[gate] for gate in v.free_gates], 1)] if v.full_gate_recurrence else []
    return h_new, (h_new, c_new, *gates), (i, f, g, o)


def _sums(
    xp: Namespace, from_input: Array, h: Array, gates_before: list[Array], masks: Masks, w: VariantWeights
) -> dict[str, Array]:
    """What input, h and the gates before add up to, by the letter of the gate."""
    v, p = w.variant, w.parameters
    from_state = (h if masks.state is None else h * masks.state) @ p["weight_hh"].T
    if v.normalises_products:
        from_state = _normalise(xp, from_state, w) * p["gain_hh"]
    z = _by_letter(from_input + from_state, v.gates_with_weights)
    if gates_before:
        shares = _by_letter(gates_before[0] @ p["weight_gates"].T, v.free_gates)
        z |= {gate: z[gate] + share for gate, share in shares.items()}
    return z


def _gate(xp: Namespace, z: dict[str, Array], gate: str, c: Array, w: VariantWeights) -> Array:
    """A gate's value; one where it has no weights."""
    if gate not in z:
        return xp.ones_like(c)
    return activate(xp, w.variant.gate_activation, _finish(xp, z[gate], gate, c, w))


def _finish(xp: Namespace, z: Array, gate: str, c: Array, w: VariantWeights) -> Array:
    """Peephole, the gate's own normalisation with its bias, clip: what the activation reads."""
    v, p = w.variant, w.parameters
    if gate in v.peephole_gates:
        z = z + c * _by_letter(p["weight_ch"][None], v.peephole_gates)[gate]
    if v.normalises_gates:
        z = _normalise(xp, z, w) * _by_letter(p["gain_gates"][None], v.gates_with_weights)[gate]
        z = z if w.bias is None else z + _by_letter(w.bias[None], v.gates_with_weights)[gate]
    return clip(xp, z, v.gate_clip)


def _settle(xp: Namespace, c: Array, w: VariantWeights) -> Array:
    """The cell state that recurs."""
    fed_back = w.variant.norm is not None and w.variant.norm.cell == "fed back"
    return clip(xp, _normalise_cell(xp, c, w) if fed_back else c, w.variant.cell_clip)


def _read(xp: Namespace, c: Array, w: VariantWeights) -> Array:
    """The cell state as the output reads it."""
    return _normalise_cell(xp, c, w) if w.variant.norm is not None and w.variant.norm.cell == "read" else c


def _project(xp: Namespace, m: Array, w: VariantWeights) -> Array:
    p = w.parameters
    return clip(xp, affine(m, p["weight_hr"], p.get("bias_hr")), w.variant.proj_clip) if "weight_hr" in p else m


def _zone_out(xp: Namespace, old: Array, new: Array, rate: float, keeps: Array | None) -> Array:
    """Units keep their old value with probability ``rate``; without a mask the expectation of that."""
    if keeps is not None:
        return xp.where(keeps, old, new)
    return new if rate == 0 else rate * old + (1 - rate) * new


def _normalise_cell(xp: Namespace, c: Array, w: VariantWeights) -> Array:
    c = _normalise(xp, c, w) * w.parameters["gain_c"]
    return c + w.parameters["bias_c"] if "bias_c" in w.parameters else c


def _normalise(xp: Namespace, z: Array, w: VariantWeights) -> Array:
    """Mean 0 and variance 1 over the last axis."""
    epsilon = 0.0 if w.variant.norm is None else w.variant.norm.epsilon
    z = z - z.mean(-1)[..., None]
    return z / xp.sqrt((z * z).mean(-1)[..., None] + epsilon)


def _by_letter(rows: Array, letters: tuple[str, ...]) -> dict[str, Array]:
    """Blocks of the last axis of ``(B, N)``."""
    n = rows.shape[1] // len(letters)
    return {letter: rows[:, k * n : (k + 1) * n] for k, letter in enumerate(letters)}
