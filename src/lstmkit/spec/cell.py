"""CellSpec: everything that defines a stack of recurrent layers, without any numbers in it."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from math import isfinite, prod
from typing import Any

from lstmkit.spec.catalog import CatalogEntry, catalog_entry
from lstmkit.spec.errors import OptionError

_COUNTS = {
    "input_size": 1,
    "hidden_size": 1,
    "num_layers": 1,
    "proj_size": 0,
    "num_heads": 1,
    "rounds": 1,
    "rank": 0,
    "chunk_size": 1,
    "static_size": 1,
}

_CHOICES = {"nonlinearity": ("tanh", "relu"), "padding": ("same", "valid")}
_SWITCHES = ("bias", "bidirectional", "reset_after")

# What every cell has.
_COMMON = {"input_size", "hidden_size", "num_layers", "bias", "bidirectional", "cell"}


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
        nonlinearity: ``"tanh"`` or ``"relu"``, of an RNN.
        beta: What a JANET's input gate is shifted by.
        rounds: How often a Mogrifier's input and past gate each other.
        rank: Of the matrices with which they do; 0 is full.
        chunk_size: Units for which one master unit of an ON-LSTM speaks.
        leak: How far a closed unit of a Phased LSTM stays open.
        static_size: Features of an EA-LSTM that stay the same.
        kernel_size: Of a ConvLSTM's convolutions, a number per axis of space.
        padding: Of its input: ``"same"`` keeps the space, ``"valid"`` makes it smaller.
        num_heads: Heads, between which an sLSTM has no recurrent weights and an mLSTM shares no memory.
        reset_after: Whether a GRU resets what the recurrent product gave, as torch does, or what goes into it.

    Raises:
        OptionError: a size is not a whole number in range, a switch is not a bool, the cell is
            unknown or lacks an option, or ``proj_size >= hidden_size``.

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
    nonlinearity: str = "tanh"
    reset_after: bool = True
    num_heads: int = 1
    beta: float = 1.0
    rounds: int = 5
    rank: int = 0
    chunk_size: int = 1
    leak: float = 0.001
    static_size: int = 1
    kernel_size: tuple[int, ...] = ()
    padding: str = "same"

    def __post_init__(self) -> None:
        self._check_belonging()
        for name, least in _COUNTS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name} must be a whole number of at least {least}, not {value!r}")
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name} must be True or False, not {getattr(self, name)!r}")
        self._check_kernel()
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise OptionError(f"{name} must be {' or '.join(map(repr, choices))}, not {getattr(self, name)!r}")
        for name in ("num_heads", "chunk_size"):
            if self.hidden_size % getattr(self, name):
                raise OptionError(f"{name} must divide hidden_size, not {getattr(self, name)} into {self.hidden_size}")
        for name in ("beta", "leak"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
                raise OptionError(f"{name} must be a finite number, not {value!r}")
        if self.proj_size >= self.hidden_size:
            raise OptionError(
                f"proj_size must be smaller than hidden_size, not {self.proj_size} >= {self.hidden_size}; "
                "a projection that does not shrink is a linear layer after the LSTM"
            )

    def _check_kernel(self) -> None:
        object.__setattr__(self, "kernel_size", tuple(self.kernel_size))
        sizes = self.kernel_size
        if "kernel_size" not in self.entry.options:
            return
        if not 1 <= len(sizes) <= 3 or any(isinstance(k, bool) or not isinstance(k, int) or k < 1 for k in sizes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise OptionError(f"kernel_size must be one to three whole numbers of at least 1, not {sizes!r}")
        if self.padding == "valid" and self.num_layers > 1:
            raise OptionError("padding='valid' makes space smaller from layer to layer; use a module for each of them")

    def _check_belonging(self) -> None:
        for field in fields(self):
            strange = field.name not in _COMMON and field.name not in self.entry.options
            if strange and field.default is not MISSING and getattr(self, field.name) != field.default:
                known = ", ".join(self.entry.options) or "none of its own"
                raise OptionError(f"the cell {self.cell!r} has no option {field.name}; it has: {known}")

    @property
    def entry(self) -> CatalogEntry:
        """The cell's row in the catalog."""
        return catalog_entry(self.cell)

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
        return self.entry.gates

    @property
    def extra_size(self) -> int:
        """Features of what the cell reads beside its input, ``E``; most cells read nothing else."""
        return {None: 0, "static": self.static_size}.get(self.entry.extra, 1)

    @property
    def full_rank(self) -> bool:
        """Whether a Mogrifier's matrices are no products."""
        return not self.rank

    def parameter_names(self) -> tuple[str, ...]:
        """Names of one layer's and direction's parameters, without their ending."""
        return tuple(p.name for p in self.entry.parameters if p.needs is None or getattr(self, p.needs))

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """torch's parameter names and shapes, layer by layer, forward direction first."""
        letters = {p.name: p.shape for p in self.entry.parameters}
        return {
            f"{name}{suffix}": self._shape(letters[name], layer)
            for layer in range(self.num_layers)
            for suffix in self.layer_suffixes(layer)
            for name in self.parameter_names()
        }

    def state_shapes(self, space: tuple[int, ...] = ()) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the states of one row: ``h`` and ``c`` of an LSTM are ``(R,)`` and ``(H,)``.

        Args:
            space: Lengths of the input's axes of space, which a ConvLSTM's states have too.
        """
        space = self.output_space(space)
        return {name: (*shape, *space) for name, shape in self.state_channels().items()}

    def state_channels(self) -> dict[str, tuple[int, ...]]:
        """The same without axes of space."""
        return {name: self._shape(letters, 0) for name, letters in self.entry.states.items()}

    def output_space(self, space: tuple[int, ...]) -> tuple[int, ...]:
        """Lengths of the output's axes of space, from those of the input."""
        if self.padding == "same":
            return tuple(space)
        return tuple([n - k + 1 for n, k in zip(space, self.kernel_size, strict=True)])

    def _shape(self, letters: str, layer: int) -> tuple[int, ...]:
        sizes = {
            "G": len(self.gates),
            "H": self.hidden_size,
            "I": self.input_size if layer == 0 else self.output_size,
            "R": self.state_size,
            "E": self.extra_size,
            "N": self.num_heads,
            "S": self.hidden_size // self.num_heads,
            "M": self.hidden_size // self.chunk_size,
            "O": (self.rounds + 1) // 2,
            "V": self.rounds // 2,
            "Q": self.rank,
        }
        sizes |= {digit: int(digit) for digit in "234"}
        shape: list[int] = []
        for axis in letters.split():
            shape += self.kernel_size if axis == "X" else [prod([sizes[letter] for letter in axis])]
        return tuple(shape)

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
