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

mlstm_chunk_steps: int
"""Steps that the core's mLSTM takes at once; it keeps the states between such chunks for backward."""

# Of the scans: a view is its address with the strides of step and row, or of row alone; 0 and None are absent.
_Sequence = tuple[int, int, int] | None
_State = tuple[int, int] | None
_States = tuple[int, ...]

def scan_forward(
    layer: tuple[Any, ...],
    y: _Sequence,
    h: _State,
    z: _Sequence,
    threads: int,
    instruction_set: str = "",
    precision: str = "float32",
) -> None:
    """One direction of minLSTM or minGRU. layer: cell, (T, B, I, H), x, h, weight, bias, lengths, resets, backwards."""

def scan_backward(
    layer: tuple[Any, ...],
    y: _Sequence,
    z: _Sequence,
    grad_y: _Sequence,
    grad_h: _State,
    dx: _Sequence,
    dh: _State,
    dweight: int,
    dbias: int,
    threads: int,
    instruction_set: str = "",
    precision: str = "float32",
) -> None:
    """Its gradients; without z the gates are computed again."""

def mlstm_forward(
    layer: tuple[Any, ...],
    y: _Sequence,
    last: _States,
    kept: tuple[_Sequence, _Sequence, int],
    threads: int,
    instruction_set: str = "",
    precision: str = "float32",
) -> None:
    """One direction of an mLSTM. layer: (T, B, I, H, N), x, first states, parameters, lengths, resets, backwards."""

def mlstm_backward(
    layer: tuple[Any, ...],
    last: _States,
    kept: tuple[_Sequence, _Sequence, int],
    grad_y: _Sequence,
    grad_last: _States,
    dx: _Sequence,
    d_first: _States,
    d_weights: tuple[int, int, int, int],
    threads: int,
    instruction_set: str = "",
    precision: str = "float32",
) -> None:
    """Its gradients, from what forward kept: products, outputs before their gate, states between chunks."""

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
