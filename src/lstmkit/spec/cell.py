"""CellSpec: everything that defines a stack of recurrent layers, without any numbers in it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import prod
from sys import float_info
from typing import Any

from lstmkit.spec.activations import Activation, activation_constants, read_activation
from lstmkit.spec.catalog import CatalogEntry, catalog_entry
from lstmkit.spec.errors import OptionError
from lstmkit.spec.variant import Variant

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

_CHOICES = {
    "padding": ("same", "valid"),
    "skip": ("none", "residual", "highway"),
}
_SWITCHES = ("bias", "bidirectional", "reset_after")

_PLAIN = Variant()

# A whole number of JSON may be larger than any float, and then even to ask whether it is finite fails.
_LARGEST = float_info.max

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
        nonlinearity: Of an RNN: a name in :data:`ACTIVATIONS`, or one with its constants.
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
        layer_sizes: Units of each layer where they differ; ``hidden_size`` is then the last one's.
        skip: What goes past each layer above the first: ``"none"``; ``"residual"``, its input added to its output;
            ``"highway"``, a gate's choice between both.
        variant: What the cell does otherwise than plainly: all options of it an LSTM has, some also others.

    Raises:
        OptionError: a size is not a whole number in range, a switch is not a bool, the cell is
            unknown or lacks an option, ``proj_size >= hidden_size``, or options exclude each other.

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
    nonlinearity: Activation = "tanh"
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
    layer_sizes: tuple[int, ...] = ()
    skip: str = "none"
    variant: Variant = field(default=_PLAIN)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernel_size", tuple(self.kernel_size))
        object.__setattr__(self, "nonlinearity", read_activation("nonlinearity", self.nonlinearity))
        self._check_belonging()
        self._check_kernel()
        for name, least in _COUNTS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise OptionError(f"{name} must be a whole number of at least {least}, not {value!r}")
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise OptionError(f"{name} must be True or False, not {getattr(self, name)!r}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise OptionError(f"{name} must be {' or '.join(map(repr, choices))}, not {getattr(self, name)!r}")
        for name in ("num_heads", "chunk_size"):
            if self.hidden_size % getattr(self, name):
                raise OptionError(f"{name} must divide hidden_size, not {getattr(self, name)} into {self.hidden_size}")
        for name in ("beta", "leak"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST <= value <= _LARGEST:
                raise OptionError(f"{name} must be a finite number, not {value!r}")
        if self.layer_sizes:
            self._check_layer_sizes()
        smallest = min(self.layer_sizes or (self.hidden_size,))
        if self.proj_size >= smallest:
            raise OptionError(
                f"proj_size must be smaller than hidden_size, not {self.proj_size} >= {smallest}; "
                "a projection that does not shrink is a linear layer after the LSTM"
            )
        self._check_skip()
        for name in ("proj_bias", "proj_clip"):
            if getattr(self.variant, name) and not self.proj_size:
                raise OptionError(f"{name} belongs to a projection; give proj_size too")
        self._keep()

    def _keep(self) -> None:
        """What layers ask for in every call."""
        parameters = self.entry.parameters
        names = tuple([p.name for p in parameters if all(self.option(name) for name in p.needs.split())])
        object.__setattr__(self, "_parameter_names", names)
        object.__setattr__(self, "_state_shapes", self._find_state_shapes())
        v = self.variant
        chosen = (v.gate_activation, v.candidate_activation, v.cell_activation, self.nonlinearity)
        names = dict.fromkeys(activation_constants(activation)[0] for activation in chosen)
        object.__setattr__(self, "_activations", tuple(names))

    def _check_layer_sizes(self) -> None:
        sizes = self.layer_sizes
        if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise OptionError(f"the sizes of layers must be whole numbers of at least 1, not {sizes!r}")
        if len(sizes) != self.num_layers or sizes[-1] != self.hidden_size:
            raise OptionError(
                f"layer_sizes must name {self.num_layers} sizes, of which the last is {self.hidden_size}, not {sizes!r}"
            )
        if len(set(sizes)) == 1:
            object.__setattr__(self, "layer_sizes", ())

    def _check_skip(self) -> None:
        if self.skip == "none":
            return
        if self.num_layers == 1:
            raise OptionError(f"skip={self.skip!r} goes from layer to layer; it needs num_layers of at least 2")
        if self.layer_sizes and not self.proj_size:
            raise OptionError(
                f"skip={self.skip!r} needs layers of one size, not {self.layer_sizes}; "
                "a proj_size makes their outputs equal"
            )

    def _check_kernel(self) -> None:
        sizes = self.kernel_size
        if "kernel_size" not in self.entry.options:
            return
        if not 1 <= len(sizes) <= 3 or any(isinstance(k, bool) or not isinstance(k, int) or k < 1 for k in sizes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise OptionError(f"kernel_size must be one to three whole numbers of at least 1, not {sizes!r}")
        if self.padding == "valid" and self.num_layers > 1:
            raise OptionError("padding='valid' makes space smaller from layer to layer; use a module for each of them")

    def _check_belonging(self) -> None:
        options = self.entry.options
        changed = [own.name for own in fields(self) if getattr(self, own.name) != own.default]
        changed += [] if "variant" in options else self.variant.changed
        strange = [name for name in changed if name not in (*_COMMON, *options, "variant")]
        if strange:
            known = ", ".join(options) or "none of its own"
            raise OptionError(f"the cell {self.cell!r} has no option {strange[0]}; it has: {known}")

    @property
    def entry(self) -> CatalogEntry:
        """The cell's row in the catalog."""
        return catalog_entry(self.cell)

    @property
    def is_plain_lstm(self) -> bool:
        """Whether torch.nn.LSTM has the same weights and numbers."""
        return self.cell == "lstm" and not (self.variant.changed or self.layer_sizes or self.skip != "none")

    @property
    def num_directions(self) -> int:
        """``D``, which is 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Units of each layer."""
        return self.layer_sizes or (self.hidden_size,) * self.num_layers

    def _units(self, layer: int) -> int:
        """One of :attr:`hidden_sizes` without the others: a hostile file may speak of billions of layers."""
        return self.layer_sizes[layer] if self.layer_sizes else self.hidden_size

    def _inputs(self, layer: int) -> int:
        return self.num_directions * (self.proj_size or self._units(layer - 1)) if layer else self.input_size

    @property
    def state_size(self) -> int:
        """Size ``R`` of the last layer's hidden state in one direction, ``P`` with a projection, else ``H``."""
        return self.proj_size or self.hidden_size

    @property
    def output_size(self) -> int:
        """Features of one output step, ``D * R``."""
        return self.num_directions * self.state_size

    @property
    def gates(self) -> tuple[str, ...]:
        """Gate letters in weight-row order, those without weights too."""
        return self.entry.gates

    @property
    def gates_with_weights(self) -> tuple[str, ...]:
        """Those that have rows in a weight matrix: of an LSTM fewer, where its variant fixes or couples gates."""
        return self.variant.gates_with_weights if self.cell == "lstm" else self.gates

    @property
    def extra_size(self) -> int:
        """Features of what the cell reads beside its input, ``E``; most cells read nothing else."""
        return {None: 0, "static": self.static_size}.get(self.entry.extra, 1)

    @property
    def read_size(self) -> int:
        """Features of a step with what the cell reads beside its input behind them, ``I + E``."""
        return self.input_size + self.extra_size

    @property
    def full_rank(self) -> bool:
        """Whether a Mogrifier's matrices are no products."""
        return not self.rank

    def parameter_names(self) -> tuple[str, ...]:
        """Names of one layer's and direction's parameters, without their ending."""
        return self.__dict__["_parameter_names"]

    def option(self, name: str) -> Any:
        """The value of an option, of the stack or of its variant."""
        return getattr(self if hasattr(self, name) else self.variant, name)

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """torch's parameter names and shapes, layer by layer, forward direction first."""
        kept = self.__dict__.get("_parameter_shapes")
        if kept is None:
            kept = self._find_parameter_shapes()
            object.__setattr__(self, "_parameter_shapes", kept)
        return dict(kept)

    def _find_parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        letters = {p.name: p.shape for p in self.entry.parameters}
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self.num_layers):
            for suffix in self.layer_suffixes(layer):
                shapes |= {f"{name}{suffix}": self._shape(letters[name], layer) for name in self.parameter_names()}
            shapes |= self.skip_shapes(layer)
        return shapes

    def skip_shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """The parameters of the highway around a layer."""
        if self.skip != "highway" or layer == 0:
            return {}
        bias = {f"bias_skip_l{layer}": (self.output_size,)} if self.bias else {}
        return {f"weight_skip_l{layer}": (self.output_size, self.output_size)} | bias

    @property
    def activations(self) -> tuple[str, ...]:
        """Names of the activations, each once, without their constants."""
        return self.__dict__["_activations"]

    def layer_state_shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the states of one row in one layer and direction."""
        states = dict(self.entry.states) | ({"gates": "FH"} if self.variant.full_gate_recurrence else {})
        return {name: self._shape(letters, layer) for name, letters in states.items()}

    def state_shapes(self, space: tuple[int, ...] = ()) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the states of one row: ``h`` and ``c`` of an LSTM are ``(R,)`` and ``(H,)``.

        Where the layers' sizes differ, what they have stands side by side.

        Args:
            space: Lengths of the input's axes of space, which a ConvLSTM's states have too.
        """
        channels = self.state_channels()
        if not space:
            return channels
        space = self.output_space(space)
        return {name: (*shape, *space) for name, shape in channels.items()}

    def state_channels(self) -> dict[str, tuple[int, ...]]:
        """The same without axes of space."""
        return self.__dict__["_state_shapes"]

    def _find_state_shapes(self) -> dict[str, tuple[int, ...]]:
        if not self.layer_sizes:
            return self.layer_state_shapes(0)
        layers = [self.layer_state_shapes(layer) for layer in range(self.num_layers)]
        return {name: (sum(shapes[name][0] for shapes in layers),) for name in layers[0]}

    def layer(self, layer: int) -> "CellSpec":
        """One layer as a stack of its own, with nothing past it."""
        return replace(
            self,
            input_size=self._inputs(layer),
            hidden_size=self._units(layer),
            num_layers=1,
            layer_sizes=(),
            skip="none",
        )

    @property
    def state_rows(self) -> int:
        """How many rows of states one sequence has: ``L*D``, or ``D`` where the layers' sizes differ."""
        return self.num_directions * (1 if self.layer_sizes else self.num_layers)

    def output_space(self, space: tuple[int, ...]) -> tuple[int, ...]:
        """Lengths of the output's axes of space, from those of the input."""
        if self.padding == "same":
            return tuple(space)
        return tuple([n - k + 1 for n, k in zip(space, self.kernel_size, strict=True)])

    def _shape(self, letters: str, layer: int) -> tuple[int, ...]:
        units = self._units(layer)
        sizes = {
            "F": len(self.variant.free_gates),
            "G": len(self.gates_with_weights),
            "H": units,
            "I": self._inputs(layer),
            "K": len(self.variant.peepholes),
            "R": self.proj_size or units,
            "E": self.extra_size,
            "N": self.num_heads,
            "S": units // self.num_heads,
            "M": units // self.chunk_size,
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

    def changes(self) -> dict[str, Any]:
        """The options that differ from the plain cell's, by name; sizes are none.

        Example:
            >>> CellSpec(3, 4, cell="gru", reset_after=False, variant=Variant(gate_clip=1.0)).changes()
            {'reset_after': False, 'gate_clip': 1.0}
        """
        defaults = {own.name: own.default for own in fields(self) if own.name not in (*_COMMON, "variant")}
        changed = {name: getattr(self, name) for name, default in defaults.items() if getattr(self, name) != default}
        return changed | self.variant.changes()

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold; of options that only some cells have, what is not at its default."""
        changed = {own.name for own in fields(self) if getattr(self, own.name) != own.default}
        kept = changed | _COMMON | {"proj_size"}
        document = {name: value for name, value in asdict(self).items() if name in kept}
        for name in changed & {"kernel_size", "layer_sizes"}:
            document[name] = list(document[name])
        return document | ({"variant": self.variant.changes()} if "variant" in changed else {})

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> "CellSpec":
        """The inverse of :meth:`to_dict`.

        Raises:
            OptionError: a key is unknown or missing.
        """
        known = {own.name for own in fields(cls)}
        unknown = sorted(set(document) - known)
        if unknown:
            strangers, names = ", ".join(map(repr, unknown)), ", ".join(sorted(known))
            raise OptionError(f"a cell cannot have the options {strangers}; it knows: {names}")
        missing = sorted({"input_size", "hidden_size"} - set(document))
        if missing:
            raise OptionError(f"a cell needs {' and '.join(missing)}")
        variant, sizes = document.get("variant", {}), document.get("layer_sizes", ())
        if not isinstance(variant, Mapping) or not isinstance(sizes, list | tuple):
            raise OptionError("a cell's variant must be its options by name, and layer_sizes a list")
        return cls(**(dict(document) | {"variant": Variant.from_dict(variant), "layer_sizes": tuple(sizes)}))  # pyright: ignore
