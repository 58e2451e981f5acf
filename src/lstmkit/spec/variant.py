"""Variant: everything that a cell can do otherwise than plainly, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from sys import float_info
from typing import Any

from lstmkit.spec.activations import Activation, read_activation
from lstmkit.spec.errors import OptionError

# Those with a sigmoid, in the order in which their rows stand in a weight matrix.
GATES = ("i", "f", "o")
_GATE_KINDS = {"i": ("free", "one", "coupled"), "f": ("free", "one", "coupled"), "o": ("free", "one")}
_GATE_FIELDS = {"i": "input_gate", "f": "forget_gate", "o": "output_gate"}


@dataclass(frozen=True)
class LayerNorm:
    """One definition of layer normalisation in an LSTM.

    Args:
        per_gate: Each gate's sum is normalised by itself; else the products ``W x`` and ``U h``, over all gates.
        cell: ``"none"``; ``"read"``: where the output reads the cell state, which recurs as it is; ``"fed back"``:
            the cell state itself.
        epsilon: What is added to the variance.
        source: Who defines it so.
    """

    per_gate: bool
    cell: str
    epsilon: float
    source: str


LAYER_NORMS: dict[str, LayerNorm] = {
    "ba": LayerNorm(False, "read", 1e-5, "Ba, Kiros & Hinton 2016, arXiv:1607.06450, equations 20-22; haste"),
    "ba_feedback": LayerNorm(False, "fed back", 1e-5, "torch, benchmarks/fastrnns/custom_lstms.py"),
    "per_gate": LayerNorm(True, "none", 1e-8, "TensorFlow Lite, lstm_eval.cc"),
    "per_gate_feedback": LayerNorm(True, "fed back", 1e-12, "tf.contrib.rnn.LayerNormBasicLSTMCell"),
}


@dataclass(frozen=True)
class Variant:
    """The options of one LSTM cell; the defaults are the plain LSTM. docs/explanation/variants.md has the equations.

    Other cells have some of them, as their rows in the catalog say.

    Args:
        input_gate: ``"free"``; ``"one"``, which is fixed and has no weights; ``"coupled"``: ``i = 1 - f``, no weights.
        forget_gate: ``"free"``; ``"one"``, the LSTM of 1997; ``"coupled"``: ``f = 1 - i``.
        output_gate: ``"free"`` or ``"one"``.
        gate_activation: Of the gates i, f and o: a name in :data:`ACTIVATIONS`, or one with its constants.
        candidate_activation: Of the candidate g.
        cell_activation: Of the cell state where the output reads it.
        peepholes: Letters of the gates that see the cell state through a weight per unit: i and f that of the step
            before, o that of the same step.
        full_gate_recurrence: Whether the free gates of a step also see each other's values at the step before.
        layer_norm: None, or a name in :data:`LAYER_NORMS`.
        gate_clip: Bound of the sums that gates and candidate are made of; None is none.
        cell_clip: Bound of the cell state.
        proj_bias: Whether the projection has a bias.
        proj_clip: Bound of the projected output.
        zoneout_h: Probability that a unit of h keeps its value of the step before; without masks, its expectation.
        zoneout_c: The same for c.

    Raises:
        OptionError: a value that cannot be, or two that exclude each other.

    Example:
        >>> Variant(forget_gate="coupled", peepholes="io").gates_with_weights
        ('i', 'g', 'o')
    """

    input_gate: str = "free"
    forget_gate: str = "free"
    output_gate: str = "free"
    gate_activation: Activation = "sigmoid"
    candidate_activation: Activation = "tanh"
    cell_activation: Activation = "tanh"
    peepholes: str = ""
    full_gate_recurrence: bool = False
    layer_norm: str | None = None
    gate_clip: float | None = None
    cell_clip: float | None = None
    proj_bias: bool = False
    proj_clip: float | None = None
    zoneout_h: float = 0.0
    zoneout_c: float = 0.0

    def __post_init__(self) -> None:
        self._check_gates()
        free = tuple(letter for letter in GATES if getattr(self, _GATE_FIELDS[letter]) == "free")
        object.__setattr__(self, "_free_gates", free)
        for name in ("gate_activation", "candidate_activation", "cell_activation"):
            object.__setattr__(self, name, read_activation(name, getattr(self, name)))
        for name in ("full_gate_recurrence", "proj_bias"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name} must be True or False, not {getattr(self, name)!r}")
        if self.layer_norm not in (None, *LAYER_NORMS):
            raise OptionError(f"layer_norm must be None or one of {', '.join(LAYER_NORMS)}, not {self.layer_norm!r}")
        for name in ("gate_clip", "cell_clip", "proj_clip"):
            _check_clip(name, getattr(self, name))
        for name in ("zoneout_h", "zoneout_c"):
            _check_zoneout(name, getattr(self, name))
        self._check_peepholes()
        self._keep()
        if self.full_gate_recurrence and not self.free_gates:
            raise OptionError("full_gate_recurrence needs a gate that is free; here none is")

    def _keep(self) -> None:
        """What layers ask for in every call."""
        kept = {
            "_changed": tuple(own.name for own in fields(self) if getattr(self, own.name) != own.default),
            "_gates_with_weights": tuple(
                gate for gate in ("i", "f", "g", "o") if gate == "g" or gate in self.free_gates
            ),
            "_peephole_gates": tuple(gate for gate in GATES if gate in self.peepholes),
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    def _check_gates(self) -> None:
        for letter, kinds in _GATE_KINDS.items():
            name = _GATE_FIELDS[letter]
            if getattr(self, name) not in kinds:
                raise OptionError(f"{name} must be one of {', '.join(kinds)}, not {getattr(self, name)!r}")
        kinds = {self.input_gate, self.forget_gate}
        if kinds == {"coupled"}:
            raise OptionError("input_gate and forget_gate cannot both be coupled: one of them must be free")
        if kinds == {"coupled", "one"}:
            raise OptionError("a gate coupled to one that is fixed to one would be zero forever; let the other be free")

    def _check_peepholes(self) -> None:
        letters = self.peepholes
        if not isinstance(letters, str) or len(set(letters)) < len(letters) or not set(letters) <= set(GATES):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise OptionError(f"peepholes must be letters of i, f and o, such as 'ifo', not {letters!r}")
        for letter in letters:
            if letter not in self.free_gates:
                free = "".join(self.free_gates)
                raise OptionError(
                    f"a peephole into {letter} needs that gate, but {_GATE_FIELDS[letter]} is "
                    f"{getattr(self, _GATE_FIELDS[letter])!r}; there could be peepholes={free!r}"
                )

    @property
    def free_gates(self) -> tuple[str, ...]:
        """Letters of i, f and o that have weights."""
        return self.__dict__["_free_gates"]

    @property
    def gates_with_weights(self) -> tuple[str, ...]:
        """The free gates and the candidate, in the order of their rows in a weight matrix."""
        return self.__dict__["_gates_with_weights"]

    @property
    def peephole_gates(self) -> tuple[str, ...]:
        """The letters of ``peepholes`` in the order of their rows."""
        return self.__dict__["_peephole_gates"]

    @property
    def norm(self) -> LayerNorm | None:
        """The definition of layer normalisation; None is none."""
        return None if self.layer_norm is None else LAYER_NORMS[self.layer_norm]

    @property
    def normalises_products(self) -> bool:
        """Whether ``W x`` and ``U h`` are normalised."""
        return self.norm is not None and not self.norm.per_gate

    @property
    def normalises_gates(self) -> bool:
        """Whether each gate's sum is normalised by itself."""
        return self.norm is not None and self.norm.per_gate

    @property
    def normalises_cell(self) -> bool:
        """Whether the cell state is normalised, for the output or for good."""
        return self.norm is not None and self.norm.cell != "none"

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the options that differ from the plain LSTM's."""
        return self.__dict__["_changed"]

    def changes(self) -> dict[str, Any]:
        """The options that differ from the plain LSTM's, by name.

        Example:
            >>> Variant(peepholes="o").changes()
            {'peepholes': 'o'}
        """
        return {name: getattr(self, name) for name in self.changed}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "Variant":
        """The inverse of :func:`dataclasses.asdict`, of an untrusted document.

        Raises:
            OptionError: an option is unknown or has a value that cannot be.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(document) - known)
        if unknown:
            raise OptionError(f"an LSTM has no options {', '.join(map(repr, unknown))}; it knows: {', '.join(known)}")
        return cls(**document)


def _check_clip(name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= float_info.max:
        raise OptionError(f"{name} must be None or a bound above 0, not {value!r}")


def _check_zoneout(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        hint = "; at 1 no unit would ever change" if value == 1 else ""
        raise OptionError(f"{name} must be a probability in [0, 1), not {value!r}{hint}")
