"""Gate orders of other systems, as data. Inside lstmkit the order is always i, f, g, o."""

from lstmkit.spec.errors import OptionError

# The letter g is the candidate: torch and Keras call it g and c, ONNX c, haste g.
GATE_ORDERS: dict[str, tuple[str, ...]] = {
    "lstmkit": ("i", "f", "g", "o"),
    "torch": ("i", "f", "g", "o"),
    "keras": ("i", "f", "g", "o"),
    "onnx": ("i", "o", "f", "g"),
    "haste": ("i", "g", "f", "o"),
}


def gate_permutation(source: str, target: str = "lstmkit") -> tuple[int, ...]:
    """Where each gate of ``target`` stands in ``source``: block k of the result is block ``p[k]``.

    Raises:
        OptionError: a system whose order is not known.

    Example:
        >>> gate_permutation("onnx")
        (0, 2, 3, 1)
    """
    for system in (source, target):
        if system not in GATE_ORDERS:
            raise OptionError(f"no gate order is known for {system!r}; known: {', '.join(GATE_ORDERS)}")
    return tuple(GATE_ORDERS[source].index(gate) for gate in GATE_ORDERS[target])
