"""How other systems lay out the weights of a cell, as data. Inside lstmkit the layout is always torch's."""

from dataclasses import dataclass
from typing import Literal

from lstmkit.spec.errors import OptionError

Biases = Literal["two", "one", "rows", "joined"]


@dataclass(frozen=True)
class WeightLayout:
    """One system's layout of one cell, for ``G`` gates of ``H`` units.

    Args:
        gates: Gate letters, those of the catalog, in the order in which they stand in a matrix.
        transposed: Whether matrices are ``(inputs, G*H)`` instead of ``(G*H, inputs)``; those of convolutions are
            ``(*kernel, inputs, G*H)`` instead of ``(G*H, inputs, *kernel)``.
        biases: ``"two"`` of ``(G*H,)``, one for the input and one for the state; ``"one"``, their sum; ``"rows"``, both
            as ``(2, G*H)``; ``"joined"``, both as ``(2*G*H,)``.
    """

    gates: tuple[str, ...]
    transposed: bool = False
    biases: Biases = "two"


# cell -> system -> layout. The candidate is g in an LSTM and n in a GRU, whatever a system calls it (c, h or z).
# "keras" of a GRU is that with reset_after=True; its older form has one bias, and is "keras_reset_before".
LAYOUTS: dict[str, dict[str, WeightLayout]] = {
    "lstm": {
        "lstmkit": WeightLayout(("i", "f", "g", "o")),
        "torch": WeightLayout(("i", "f", "g", "o")),
        "keras": WeightLayout(("i", "f", "g", "o"), transposed=True, biases="one"),
        "onnx": WeightLayout(("i", "o", "f", "g"), biases="joined"),
        "haste": WeightLayout(("i", "g", "f", "o"), transposed=True, biases="one"),
    },
    "gru": {
        "lstmkit": WeightLayout(("r", "z", "n")),
        "torch": WeightLayout(("r", "z", "n")),
        "keras": WeightLayout(("z", "r", "n"), transposed=True, biases="rows"),
        "keras_reset_before": WeightLayout(("z", "r", "n"), transposed=True, biases="one"),
        "onnx": WeightLayout(("z", "r", "n"), biases="joined"),
        "haste": WeightLayout(("z", "r", "n"), transposed=True),
    },
    "rnn": {
        "lstmkit": WeightLayout(("g",)),
        "torch": WeightLayout(("g",)),
        "keras": WeightLayout(("g",), transposed=True, biases="one"),
        "onnx": WeightLayout(("g",), biases="joined"),
    },
    "conv_lstm": {
        "lstmkit": WeightLayout(("i", "f", "g", "o"), biases="one"),
        "keras": WeightLayout(("i", "f", "g", "o"), transposed=True, biases="one"),
    },
}


def weight_layout(system: str, cell: str = "lstm") -> WeightLayout:
    """How a system lays out a cell.

    Raises:
        OptionError: a system or cell whose layout is not known.

    Example:
        >>> weight_layout("keras", "gru").gates
        ('z', 'r', 'n')
    """
    known = LAYOUTS.get(cell, {})
    if system not in known:
        names = ", ".join(known) or "none"
        raise OptionError(f"no layout of the cell {cell!r} is known for {system!r}; known: {names}")
    return known[system]


def gate_permutation(source: str, target: str = "lstmkit", cell: str = "lstm") -> tuple[int, ...]:
    """Where each gate of ``target`` stands in ``source``: block k of the result is block ``p[k]``.

    Raises:
        OptionError: a system or cell whose layout is not known.

    Example:
        >>> gate_permutation("onnx")
        (0, 2, 3, 1)
    """
    gates = weight_layout(source, cell).gates
    return tuple(gates.index(gate) for gate in weight_layout(target, cell).gates)
