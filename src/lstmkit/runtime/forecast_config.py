"""What a forecasting model needs to know about its windows, as the model file keeps it."""

from dataclasses import asdict, dataclass, field, fields
from math import inf, isfinite
from typing import Any

import numpy as np

from lstmkit.features import calendar_names, parse_frequency
from lstmkit.runtime.stage_shapes import count
from lstmkit.spec import ModelFileError

# The longest step, in nanoseconds or counts, and in months or business days: far beyond it, dates overflow.
_LONGEST_STEP, _MOST_UNITS = 2**60, 10**4

# A number of 1 must not become larger than this where it is scaled: windows are of float32, and go through products.
_LARGEST_SCALED = 1e20


@dataclass(frozen=True)
class ForecastConfig:
    """What a forecasting model needs to know about its windows; stored in the model file.

    Args:
        horizon: Steps ahead, ``H``.
        history: Steps of the past that the model sees, ``L``; a multiple of ``patch``.
        season: Steps of one season, ``S``.
        patch: Steps that make one token of the LSTM, ``P``.
        quantiles: Levels of the quantiles that are learned, ascending, with 0.5 among them; ``Q``.
        frequency: Step between rows, as pandas writes it, or a whole number.
        calendar: Calendar columns in use, as :func:`lstmkit.features.calendar_names`.
        known: Names of covariates whose future is given.
        observed: Names of covariates of the past only.
        static: Names of covariates of a whole series.
        centres: Mean of each covariate over the training part, by name.
        spreads: Standard deviation of each covariate over the training part, by name.
    """

    horizon: int
    history: int
    season: int
    patch: int
    quantiles: tuple[float, ...]
    frequency: str | int
    calendar: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    centres: dict[str, float] = field(default_factory=dict[str, float])
    spreads: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def past_tokens(self) -> int:
        """Patches of the history."""
        return self.history // self.patch

    @property
    def future_tokens(self) -> int:
        """Patches of the horizon, the last one possibly in part."""
        return -(-self.horizon // self.patch)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Any) -> "ForecastConfig":
        """Read the configuration from an untrusted document.

        Raises:
            ModelFileError: it is not one.
        """
        try:
            known = [entry.name for entry in fields(cls) if entry.name in document]
            values = {name: _frozen(document[name]) for name in known}
            config = cls(**values)
            _check_sizes(config)
            _check_columns(config)
        except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
            reason = str(error)[:120]
            raise ModelFileError(
                f"the model file is damaged: its description of the forecast makes no sense ({reason})"
            ) from None
        return config


def can_scale(centre: float, spread: float) -> bool:
    """Whether ordinary numbers stay ordinary where ``centre`` is taken off and ``spread`` divides them."""
    return isfinite(centre) and 0 < spread < inf and max(1.0, abs(centre)) / _LARGEST_SCALED <= spread


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _check_sizes(config: ForecastConfig) -> None:
    """Sizes of an untrusted configuration; ValueError where they cannot be."""
    for name in ("horizon", "history", "season", "patch"):
        count(vars(config), name)
    if config.history % config.patch:
        raise ValueError("the history is not made of whole patches")
    levels = np.asarray(config.quantiles, float)
    if levels.ndim != 1 or not len(levels) or not (levels[0] > 0 and levels[-1] < 1 and (np.diff(levels) > 0).all()):
        raise ValueError("the quantiles are not levels that ascend between 0 and 1")


def _check_columns(config: ForecastConfig) -> None:
    """Frequency, column names and statistics of an untrusted configuration; ValueError where they cannot be."""
    frequency = parse_frequency(config.frequency)
    varying = frequency.duration is None and not frequency.is_integer
    if (frequency.duration or frequency.count) > (_MOST_UNITS if varying else _LONGEST_STEP):
        raise ValueError("the frequency is too long")
    names: tuple[Any, ...] = (*config.known, *config.observed, *config.static)
    if len(set(names)) != len(names) or not all(isinstance(name, str) for name in names):
        raise ValueError("the covariates are not distinct names")
    if not set(config.calendar) <= set(calendar_names(frequency)):
        raise ValueError("the calendar has columns that the frequency does not have")
    for name in names:
        centre, spread = float(config.centres[name]), float(config.spreads[name])
        if not can_scale(centre, spread):
            raise ValueError(f"the statistics of {name[:40]!r} cannot be")
