"""The C++ core. Absent where it could not be compiled: go through lstmkit.core."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Real = TypeVar("_Real", np.float32, np.float64)

version: str

def compiled_sets() -> list[str]:
    """Instruction sets that this build holds code for, worst first."""

def machine_sets() -> list[str]:
    """Instruction sets that this machine has, worst first."""

def active_set() -> str:
    """The set that kernels run with: the best usable one, or LSTMKIT_ISA. ValueError if that cannot be."""

def available_threads() -> int:
    """Processors in this process's affinity mask."""

def sigmoid(x: NDArray[_Real], out: NDArray[_Real], instruction_set: str = "") -> None:
    """The cells' logistic function of x (N,) into out (N,)."""

def tanh(x: NDArray[_Real], out: NDArray[_Real], instruction_set: str = "") -> None:
    """The cells' tanh of x (N,) into out (N,)."""

def peak(number: str = "float32", seconds: float = 0.2, instruction_set: str = "") -> float:
    """Operations per second of this thread at most: float32, float64 or bfloat16 multiply-adds between registers."""

Floats = NDArray[np.float32]

class StreamWeights:
    """A stack's weights, packed for streams; per layer weight_ih, weight_hh, bias_ih, bias_hh, weight_hr or None."""

    def __init__(
        self, layers: Sequence[tuple[Floats | None, ...]], precision: str, instruction_set: str = ""
    ) -> None: ...
    @property
    def bytes(self) -> int:
        """What one step reads."""

class Stream:
    """One sequence. `step(stream, x, out)` and `run(stream, x, out)` answer for anything but plain float32 arrays."""

    def __init__(
        self, weights: StreamWeights, threads: int, step: Callable[..., Any], run: Callable[..., Any]
    ) -> None: ...
    @property
    def input_size(self) -> int: ...
    @property
    def output_size(self) -> int: ...
    def step(self, x: Any, out: Floats | None = None) -> Floats:
        """One step (I,) -> (O,), into `out` or a new array."""

    def run(self, x: Any, out: Floats | None = None) -> Floats:
        """Steps (T, I) -> (T, O), into `out` or a new array."""

    def read_state(self, h: Floats, c: Floats) -> None:
        """Into h (L*R,) and c (L*H,)."""

    def write_state(self, h: Floats, c: Floats) -> None: ...

class StreamPool:
    """Many sequences of one stack."""

    def __init__(self, weights: StreamWeights, capacity: int) -> None: ...
    @property
    def bytes_per_stream(self) -> int: ...
    def step(self, x: Floats, out: Floats, indices: NDArray[np.int64] | None, threads: int) -> bool:
        """x (N, I) -> out (N, O) for the streams of `indices`, or the first N; False if a number is not finite."""

    def read_state(self, index: int, h: Floats, c: Floats) -> None: ...
    def write_state(self, index: int, h: Floats, c: Floats) -> None: ...
