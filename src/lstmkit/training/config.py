"""What can be chosen about a training run."""

import math
import os
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lstmkit.spec.errors import OptionError

# These say where, how loudly and how long to train; the rest says what the steps compute.
_OPERATIONAL = ("time_limit", "checkpoint", "checkpoint_every", "log", "log_every", "quiet", "device")
_CHOICES = {
    "schedule": ("constant", "cosine", "halving", "one_cycle"),
    "optimizer": ("adamw", "sgd"),
    "mixed_precision": (None, "auto", "no", "bf16", "fp16"),
    "device": (None, "cpu", "cuda"),
}
# name -> (least, whether least itself is allowed, most, whether None is allowed)
_NUMBERS: dict[str, tuple[float, bool, float, bool]] = {
    "learning_rate": (0, False, math.inf, False),
    "weight_decay": (0, True, math.inf, False),
    "gradient_clip": (0, False, math.inf, True),
    "warmup_fraction": (0, True, 1, False),
    "time_limit": (0, False, math.inf, True),
}
# name -> (least, whether None is allowed)
_COUNTS = {
    "max_steps": (1, True),
    "max_epochs": (1, True),
    "validate_every": (1, True),
    "patience": (1, True),
    "hold_epochs": (0, False),
    "seed": (0, False),
    "checkpoint_every": (1, True),
    "log_every": (1, False),
}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How to train. At least one of ``max_steps``, ``max_epochs`` and ``time_limit`` must be given.

    Args:
        max_steps: Stop after so many optimizer steps.
        max_epochs: Stop after so many passes over the training batches.
        time_limit: Stop after so many minutes, earlier runs of a resumed training included. The
            schedule comes to its end with whichever limit is met first.
        learning_rate: The highest rate of the schedule.
        weight_decay: The optimizer's decay; matrices only, never biases and other one-dimensional weights.
        gradient_clip: The largest total norm of the gradient; None clips nothing.
        schedule: ``"constant"``, ``"cosine"`` (falls to 0), ``"one_cycle"`` (rises from 1/25, falls to 1/250000) or
            ``"halving"``: halved before every pass behind the first ``hold_epochs``, which needs ``max_epochs``.
        hold_epochs: Passes at the full rate, for ``"halving"``.
        warmup_fraction: The part of the run in which the rate rises.
        optimizer: ``"adamw"``, or ``"sgd"`` without momentum.
        validate_every: Steps between validations; None validates after each epoch.
        patience: Stop after so many validations in a row without a better score; None never does.
        averaging: Decay of an exponential moving average of the weights, which is then what is
            validated and returned. ``"triggered"`` is their plain mean from the first validation on that was no better
            than one more than five before it (Merity, Keskar & Socher 2017). None averages nothing.
        seed: Of torch, NumPy and Python inside the run; their states outside are left as they were.
        checkpoint: A file to resume from after a kill. It is removed when the training is complete.
        checkpoint_every: Steps between checkpoints; None writes one about every minute.
        log: A file to which JSON lines are appended.
        log_every: Steps between the log's lines of training loss.
        quiet: Print nothing at all, and keep warnings of libraries back.
        mixed_precision: ``"no"``, ``"bf16"`` or ``"fp16"``; ``"auto"`` takes ``"bf16"`` where the processor multiplies
            such numbers faster, else ``"no"``; None takes what ``accelerate launch`` says.
        device: ``"cpu"`` or ``"cuda"``; None takes the best one that is there.

    Units:
        time_limit in minutes.

    Raises:
        OptionError: a value cannot be, or no limit is given.

    Example:
        >>> TrainingConfig(max_epochs=3).learning_rate
        0.001
    """

    max_steps: int | None = None
    max_epochs: int | None = None
    time_limit: float | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    gradient_clip: float | None = 1.0
    schedule: Literal["constant", "cosine", "halving", "one_cycle"] = "cosine"
    hold_epochs: int = 0
    warmup_fraction: float = 0.05
    optimizer: Literal["adamw", "sgd"] = "adamw"
    validate_every: int | None = None
    patience: int | None = None
    averaging: float | Literal["triggered"] | None = None
    seed: int = 0
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_every: int | None = None
    log: str | os.PathLike[str] | None = None
    log_every: int = 50
    quiet: bool = False
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] | None = None
    device: Literal["cpu", "cuda"] | None = None

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise OptionError(f"{name} must be one of {', '.join(map(repr, allowed))}, not {getattr(self, name)!r}")
        for name, (least, none_allowed) in _COUNTS.items():
            _check_count(name, getattr(self, name), least, none_allowed)
        for name, bounds in _NUMBERS.items():
            _check_number(name, getattr(self, name), *bounds)
        if self.averaging != "triggered":
            _check_number("averaging", self.averaging, 0, False, 1, True)
        if self.schedule == "halving" and self.max_epochs is None:
            raise OptionError("the schedule 'halving' counts passes; give max_epochs")
        if not isinstance(self.quiet, bool):
            raise OptionError(f"quiet must be True or False, not {self.quiet!r}")
        if self.seed >= 2**32:
            raise OptionError(f"seed must be below 2**32, not {self.seed}")
        if self.max_steps is None and self.max_epochs is None and self.time_limit is None:
            raise OptionError("a training needs an end: give max_steps, max_epochs or time_limit")

    def fingerprint(self) -> dict[str, Any]:
        """The choices that decide what the steps compute; a resumed run must share them."""
        return {name: value for name, value in asdict(self).items() if name not in _OPERATIONAL}


def _check_count(name: str, value: object, least: int, none_allowed: bool) -> None:
    if value is None and none_allowed:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{name} must be a whole number of at least {least}, not {value!r}")


def _check_number(name: str, value: object, least: float, least_allowed: bool, most: float, none_allowed: bool) -> None:
    if value is None and none_allowed:
        return
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < least or value > most or (value == least and not least_allowed):  # pyright: ignore[reportOperatorIssue]
        bound = f"{'at least' if least_allowed else 'above'} {least:g}"
        upper = f" and at most {most:g}" if math.isfinite(most) else ""
        raise OptionError(f"{name} must be a number {bound}{upper}, not {value!r}")
