"""The learning rate as a pure function of how far the run has come, so that it needs no state."""

import math

from lstmkit.training.config import TrainingConfig

_ONE_CYCLE_START = 1 / 25
_ONE_CYCLE_END = 1 / 250_000


def run_fraction(step: float, total_steps: int | None, seconds: float, time_limit: float | None) -> float:
    """How far the run has come, 0 to 1, by its steps or by its clock.

    The clock counts in its second half only, and twice: a run whose steps end before its time does
    then follows its steps alone, which makes it repeatable, and one that the clock will cut short
    still reaches 1 as its time is up.
    """
    by_steps = step / total_steps if total_steps else 0.0
    if time_limit is None:
        return min(by_steps, 1.0)
    by_clock = seconds / (60 * time_limit)
    if total_steps:
        by_clock = 2 * by_clock - 1
    return min(max(by_steps, by_clock), 1.0)


def learning_rate(config: TrainingConfig, fraction: float) -> float:
    """The rate at ``fraction`` of the run.

    Source: the one-cycle policy is that of Smith & Topin (2019) with cosine ramps; unlike there, momentum stays.

    Example:
        >>> learning_rate(TrainingConfig(max_steps=1, learning_rate=0.5, warmup_fraction=0.0), 0.5)
        0.25
    """
    warm, peak = config.warmup_fraction, config.learning_rate
    rising = fraction < warm
    if config.schedule == "halving" and not rising:
        # A pass begins a little early: fractions of whole passes may be rounded down.
        epoch = int(fraction * (config.max_epochs or 1) + 1e-6)
        return peak * 0.5 ** max(epoch + 1 - config.hold_epochs, 0)
    position = fraction / warm if rising else (fraction - warm) / (1 - warm) if warm < 1 else 1.0
    if config.schedule == "one_cycle":
        start, end = (_ONE_CYCLE_START, 1.0) if rising else (1.0, _ONE_CYCLE_END)
        return peak * _cosine(start, end, position)
    if rising:
        return peak * position
    return peak if config.schedule == "constant" else peak * _cosine(1.0, 0.0, position)


def _cosine(start: float, end: float, position: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * position)) / 2
