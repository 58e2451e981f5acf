"""CellSpec: everything that defines a stack of recurrent layers, without any numbers in it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from lstmkit.spec.catalog import catalog_entry
from lstmkit.spec.errors import OptionError

_COUNTS = {"input_size": 1, "hidden_size": 1, "num_layers": 1, "proj_size": 0}


@dataclass(frozen=True)
class CellSpec:
    """What a recurrent stack is; every engine derives its work from this.

    Args:
        input_size: Features per time step, ``I``.
        hidden_size: Units per layer and direction, ``H``.
        num_layers: Stacked layers, ``L``.
        bias: Whether the gates have biases.
        bidirectional: Whether a second direction reads the sequence backwards.
        proj_size: Size ``P`` of the projected output; 0 means no projection.
        cell: A name in the catalog.

    Raises:
        OptionError: a size is not a whole number in range, a switch is not a bool, the cell is
            unknown, or ``proj_size >= hidden_size``.

    Example:
        >>> spec = CellSpec(input_size=3, hidden_size=5, bidirectional=True)
        >>> spec.num_directions, spec.output_size
        (2, 10)
        >>> spec.parameter_shapes()["weight_hh_l0_reverse"]
        (20, 5)
    """

    input_size: int
    hidden_size: int
    num_layers: int = 1
    bias: bool = True
    bidirectional: bool = False
    proj_size: int = 0
    cell: str = "lstm"

    def __post_init__(self) -> None:
        catalog_entry(self.cell)
        for name, least in _COUNTS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name} must be a whole number of at least {least}, not {value!r}")
        for name in ("bias", "bidirectional"):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name} must be True or False, not {getattr(self, name)!r}")
        if self.proj_size >= self.hidden_size:
            raise OptionError(
                f"proj_size must be smaller than hidden_size, not {self.proj_size} >= {self.hidden_size}; "
                "a projection that does not shrink is a linear layer after the LSTM"
            )

    @property
    def num_directions(self) -> int:
        """``D``, which is 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def state_size(self) -> int:
        """Size ``R`` of the hidden state of one direction, ``P`` with a projection, else ``H``."""
        return self.proj_size or self.hidden_size

    @property
    def output_size(self) -> int:
        """Features of one output step, ``D * R``."""
        return self.num_directions * self.state_size

    @property
    def gates(self) -> tuple[str, ...]:
        """Gate letters in weight-row order."""
        return catalog_entry(self.cell).gates

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """torch's parameter names and shapes, layer by layer, forward direction first."""
        rows = len(self.gates) * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self.num_layers):
            columns = self.input_size if layer == 0 else self.output_size
            for suffix in self.layer_suffixes(layer):
                shapes[f"weight_ih{suffix}"] = (rows, columns)
                shapes[f"weight_hh{suffix}"] = (rows, self.state_size)
                if self.bias:
                    shapes[f"bias_ih{suffix}"] = (rows,)
                    shapes[f"bias_hh{suffix}"] = (rows,)
                if self.proj_size:
                    shapes[f"weight_hr{suffix}"] = (self.proj_size, self.hidden_size)
        return shapes

    def layer_suffixes(self, layer: int) -> tuple[str, ...]:
        """Name endings of one layer's parameters, one per direction: ``_l0``, ``_l0_reverse``."""
        return (f"_l{layer}", f"_l{layer}_reverse")[: self.num_directions]

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "CellSpec":
        """The inverse of :meth:`to_dict`.

        Raises:
            OptionError: a key is unknown or missing.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(document) - known)
        if unknown:
            strangers, names = ", ".join(map(repr, unknown)), ", ".join(sorted(known))
            raise OptionError(f"a cell cannot have the options {strangers}; it knows: {names}")
        missing = sorted({"input_size", "hidden_size"} - set(document))
        if missing:
            raise OptionError(f"a cell needs {' and '.join(missing)}")
        return cls(**document)
