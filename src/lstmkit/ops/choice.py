"""Which engine runs a case, as a pure function that can say why."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from lstmkit.spec import EngineError, OptionError

# In order of preference.
ENGINES = ("native", "torch", "reference")

# The cells that are more than equations, and which of their options the native core does not have.
NATIVE_CELLS: dict[str, tuple[str, ...]] = {
    "lstm": (),
    "lstm1997": (),
    "entity_aware": (),
    "rnn": (),
    "gru": (),
    "janet": (),
    "slstm": (),
    "multiplicative": (),
    "mogrifier": (),
    "time_aware": (),
    "phased": (),
    "on_lstm": (),
    "minlstm": ("form='recurrent'",),
    "mingru": ("form='recurrent'",),
    "mlstm": ("form='recurrent'",),
}

NATIVE_ACTIVATIONS = ("sigmoid", "tanh", "hard_sigmoid", "relu", "softsign", "identity")

# Of these a scan keeps no gates, and has no narrow numbers.
_SCANNED = ("minlstm", "mingru", "mlstm")
ATEN_CELLS = ("lstm", "rnn", "gru")

# What the native core computes in.
NATIVE_DTYPES = ("float32", "float64", "bfloat16")


class EngineRequest(NamedTuple):
    """One case: what the choice depends on, and nothing else.

    Args:
        cell: The cell's name in the catalog.
        options: Names of the cell's options that differ from what torch has, and of regularisers in its recurrence.
        activations: Names of the cell's activations.
        device: torch's device type, ``cpu`` or ``cuda``.
        dtype: Name of the numbers' type, such as ``float32``.
        lengths: Whether rows have lengths of their own.
        resets: Whether states are reset inside the sequence.
        cells: Whether the cell states of every step are wanted.
        gates: Whether the gate activations of every step are wanted.
        checkpoints: Whether backward runs chunks of steps again instead of keeping every step.
        transforms: Whether torch.func transforms (vmap, grad, jvp) are active.
        exporting: Whether the case is being exported.
        native_available: Whether the native core was built.
    """

    cell: str = "lstm"
    options: tuple[str, ...] = ()
    activations: tuple[str, ...] = ()
    device: str = "cpu"
    dtype: str = "float32"
    lengths: bool = False
    resets: bool = False
    cells: bool = False
    gates: bool = False
    checkpoints: bool = False
    transforms: bool = False
    exporting: bool = False
    native_available: bool = False


@dataclass(frozen=True)
class EngineChoice:
    """The engine that runs, why, and why each other one that is preferred to it does not."""

    engine: str
    reason: str
    rejected: dict[str, str] = field(default_factory=dict[str, str])

    def __str__(self) -> str:
        """One line per engine: the chosen one first, then the rejected ones."""
        rejected = (f"not {engine}: {reason}" for engine, reason in self.rejected.items())
        return "\n".join([f"{self.engine}: {self.reason}", *rejected])


def choose_engine(request: EngineRequest, engine: str | None = None) -> EngineChoice:
    """Choose the engine for a case; ``engine`` insists on one.

    Raises:
        EngineError: the engine that was insisted on cannot do this case; the message says why.
        OptionError: there is no engine of that name.

    Example:
        >>> print(choose_engine(EngineRequest(dtype="float16", resets=True)))
        reference: the equations as torch operations; they do every case
        not native: the native core computes in float32, float64, bfloat16, not float16
        not torch: ATen has no resets inside a sequence
    """
    check_engine(engine)
    rejected: dict[str, str] = {}
    for name in ENGINES:
        obstacle = _OBSTACLES[name](request)
        if obstacle is None and engine is None and name == "native" and request.exporting:
            obstacle = "an exported graph should also run where the native core is absent; ask for it by name"
        if obstacle is None and engine in (None, name):
            reason = _REASONS[name] if engine is None else f"it was asked for; {_REASONS[name]}"
            return EngineChoice(name, reason, rejected)
        if name == engine:
            raise EngineError(
                f"the engine {name!r} cannot run this: {obstacle}; leave engine=None to let one be chosen"
            )
        rejected[name] = obstacle or f"engine={engine!r} was asked for"
    raise EngineError("no engine can run this")


def check_engine(engine: str | None) -> None:
    """Raise an OptionError unless ``engine`` is None or the name of an engine."""
    if engine is not None and engine not in ENGINES:
        raise OptionError(f"no engine is called {engine!r}; there are: {', '.join(ENGINES)}")


def _native_obstacle(request: EngineRequest) -> str | None:
    if request.cell not in NATIVE_CELLS:
        return f"the native core has no kernel for the cell {request.cell!r}"
    if missing := [option for option in request.options if option in NATIVE_CELLS[request.cell]]:
        return f"the native core has no {', '.join(missing)} of the cell {request.cell!r}"
    if missing := [name for name in request.activations if name not in NATIVE_ACTIVATIONS]:
        return f"the native core has no activation {', '.join(missing)}"
    if request.options and request.checkpoints:
        return "the native core keeps every step of a cell with options"
    if request.device != "cpu":
        return f"the native core runs on CPUs, not on {request.device}"
    if request.dtype not in NATIVE_DTYPES:
        return f"the native core computes in {', '.join(NATIVE_DTYPES)}, not {request.dtype}"
    if request.cell in _SCANNED and request.gates:
        return "the native scan does not keep the gates"
    if request.cell in _SCANNED and request.dtype == "bfloat16":
        return "the native scan computes in float32 and float64, not bfloat16"
    if request.transforms:
        return "the native core has no rules for torch.func transforms"
    if not request.native_available:
        return "the native core was not built; lstmkit doctor says why"
    return None


def _torch_obstacle(request: EngineRequest) -> str | None:
    if request.cell not in ATEN_CELLS:
        return f"ATen does not have the cell {request.cell!r}"
    if request.options:
        return f"ATen's {request.cell} does not have {', '.join(request.options)}"
    if request.transforms:
        return "ATen has no rules for torch.func transforms"
    if request.resets:
        return "ATen has no resets inside a sequence"
    if request.cells:
        return "ATen does not return the cell states of every step"
    if request.gates:
        return "ATen does not return the gates"
    if request.checkpoints:
        return "ATen keeps every step for its gradient"
    return None


def _reference_obstacle(request: EngineRequest) -> str | None:
    return None


_OBSTACLES: dict[str, Callable[[EngineRequest], str | None]] = {
    "native": _native_obstacle,
    "torch": _torch_obstacle,
    "reference": _reference_obstacle,
}

_REASONS = {
    "native": "the C++ core runs a layer in one call, with its activations in registers",
    "torch": "ATen, on GPUs with cuDNN, runs the whole stack in one call",
    "reference": "the equations as torch operations; they do every case",
}
