"""The C++ core. Absent where it could not be compiled: go through lstmkit.core."""

from typing import TypeVar

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

def dot(a: NDArray[_Real], b: NDArray[_Real], instruction_set: str = "") -> float:
    """Sum of a * b, (N,) each; the probe that shows every compiled path to work."""

def sigmoid(x: NDArray[_Real], out: NDArray[_Real], instruction_set: str = "") -> None:
    """The cells' logistic function of x (N,) into out (N,)."""

def tanh(x: NDArray[_Real], out: NDArray[_Real], instruction_set: str = "") -> None:
    """The cells' tanh of x (N,) into out (N,)."""

def peak(number: str = "float32", seconds: float = 0.2, instruction_set: str = "") -> float:
    """Operations per second of this thread at most: float32, float64 or bfloat16 multiply-adds between registers."""
