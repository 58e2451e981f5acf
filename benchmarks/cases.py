"""What is measured and what it must show: the table of issue 3 as data."""

from dataclasses import dataclass, field
from typing import Any, Literal

Task = Literal["train", "infer"]
Sizes = tuple[int, int, int, int]

TORCH, TUNED, CELLS = "torch", "torch, tuned malloc", "torch, LSTMCell loop"
KERAS, ONNX, OPENVINO = "Keras on JAX", "ONNX Runtime", "OpenVINO"
# A plain LSTM of ours beside another cell of ours, and a loop in Python over torch's operations.
PLAIN, LOOP = "lstmkit, plain LSTM", "torch, loop in Python"
OURS, OURS_FLOAT32 = "lstmkit", "lstmkit in float32"
# A goal against the fastest of a case's peers but default torch, whichever that is.
BEST = "best peer"
# Goals against ourselves: in the row's unit, in per cent of the machine's peak, and in medians.
AT_MOST, AT_LEAST, OF_PEAK, TAIL = "at most", "at least", "of peak", "99th percentile"


@dataclass(frozen=True)
class Goal:
    """We must be at least ``factor`` times as good as the peer, or keep to ``factor`` itself."""

    against: str
    factor: float

    def text(self, unit: str) -> str:
        """The goal in words, of a row in this unit."""
        own = {
            AT_MOST: f"at most {self.factor:g} {unit}",
            AT_LEAST: f"at least {self.factor:g} {unit}",
            OF_PEAK: f"at least {self.factor:g} % of peak",
            TAIL: f"99th percentile at most {self.factor:g}x the median",
        }
        return own.get(self.against, f"{self.against} {self.factor:g}x").rstrip()


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Args:
        name: What it is called in the tables.
        task: ``train`` is forward and backward with every gradient, ``infer`` forward only.
        sizes: T, B, I and H.
        peers: Who takes part.
        goals: What it must show.
        dtype: ``float32`` or ``bfloat16``.
        uneven: Whether rows have lengths of 10 to 100 % of T.
        trace: Whether the cell states and gates of every step come back too.
        engine: The engine that ours must use; None lets it choose.
        cell: What the stack is beside its sizes, as a CellSpec's document: a cell, its options.
        rates: Dropouts of the layer.
    """

    name: str
    task: Task
    sizes: Sizes
    peers: tuple[str, ...]
    goals: tuple[Goal, ...]
    dtype: str = "float32"
    uneven: bool = False
    bidirectional: bool = False
    projection: int = 0
    trace: bool = False
    engine: str | None = None
    cell: dict[str, Any] = field(default_factory=dict[str, Any])
    rates: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def output_size(self) -> int:
        """Features of the output."""
        return (self.projection or self.sizes[3]) * (1 + self.bidirectional)

    def operations(self, steps: int) -> float:
        """Floating-point operations over ``steps`` real steps of rows; a backward pass has twice those of a forward."""
        _, _, I, H = self.sizes  # noqa: E741
        R = self.projection or H
        per_step = 8 * H * (I + R) + 2 * H * self.projection
        return per_step * steps * (1 + self.bidirectional) * (3 if self.task == "train" else 1)


TRAINERS = (TORCH, TUNED, KERAS)
RUNNERS = (TORCH, TUNED, ONNX, OPENVINO, KERAS)


def _train(sizes: Sizes, against_torch: float, against_tuned: float) -> Case:
    name = "train " + ", ".join(map(str, sizes))
    return Case(name, "train", sizes, TRAINERS, (Goal(TORCH, against_torch), Goal(TUNED, against_tuned)))


def _train_bfloat16(sizes: Sizes, against_float32: float) -> Case:
    name = "train bfloat16 " + ", ".join(map(str, sizes))
    goals = (Goal(TORCH, 1.3), Goal(OURS_FLOAT32, against_float32))
    return Case(name, "train", sizes, (TORCH, TUNED, OURS_FLOAT32), goals, dtype="bfloat16")


_LARGE, _MIDDLE = (96, 1024, 64, 64), (100, 32, 128, 128)

CASES = (
    _train(_LARGE, 3.8, 1.65),
    _train((96, 1024, 32, 32), 5.5, 2.2),
    _train((96, 1024, 8, 64), 5.0, 2.0),
    Case("train 96, 32, 64, 64", "train", (96, 32, 64, 64), TRAINERS, (Goal(TORCH, 1.8), Goal(BEST, 1.8))),
    _train((96, 64, 256, 256), 1.5, 1.12),
    _train((100, 64, 512, 512), 1.3, 1.05),
    _train_bfloat16(_LARGE, 1.5),
    _train_bfloat16((100, 64, 512, 512), 1.6),
    Case("infer 96, 1024, 64, 64", "infer", _LARGE, RUNNERS, (Goal(TORCH, 3.0), Goal(BEST, 1.3))),
    Case("infer 100, 64, 512, 512", "infer", (100, 64, 512, 512), RUNNERS, (Goal(OF_PEAK, 80),)),
    Case("packed train", "train", _MIDDLE, TRAINERS, (Goal(TORCH, 6.0), Goal(BEST, 6.0)), uneven=True),
    Case("projection 64 train", "train", _MIDDLE, (TORCH, TUNED), (Goal(TORCH, 3.0), Goal(BEST, 3.0)), projection=64),
    Case("bidirectional train", "train", _MIDDLE, TRAINERS, (Goal(TORCH, 1.2), Goal(BEST, 1.2)), bidirectional=True),
    Case("cells and gates train", "train", _MIDDLE, (CELLS,), (Goal(CELLS, 3.0),), trace=True),
)

# The most that a first training step adds to what is resident.
MEMORY_CASES = (Case("memory, train 96, 1024, 64, 64", "train", _LARGE, (TORCH,), (Goal(TORCH, 2.22),)),)

# By the names that benchmarks.stream gives its rows, which are times of calls in us, and a rate.
STREAM_GOALS = {
    "one step B=1 I=H=64 float32 threads=1": (Goal(TORCH, 50), Goal(ONNX, 8), Goal(AT_MOST, 1.1), Goal(TAIL, 2)),
    "one step B=1 I=H=64 bfloat16 threads=1": (Goal(AT_MOST, 0.7), Goal(TAIL, 2)),
    "one step B=1 I=H=64 int8 threads=1": (Goal(AT_MOST, 0.45), Goal(TAIL, 2)),
    "one step B=1 I=H=256 float32 threads=2": (Goal(TORCH, 40), Goal(ONNX, 2.3)),
    "one step B=1 I=H=256 int8 threads=2": (Goal(ONNX, 8),),
    "sequence B=1 T=96 I=H=64 float32": (Goal(TORCH, 3), Goal(ONNX, 1.7)),
    "sequence B=1 T=96 I=H=64 int8": (Goal(ONNX, 4),),
    "pool of 10000 I=H=64 float32": (Goal(AT_LEAST, 3),),
    "pool of 10000 I=H=64 float32, memory of a stream": (Goal(AT_MOST, 1024),),
}
