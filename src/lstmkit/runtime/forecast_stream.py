"""Forecasts from a running history: one row in, one forecast out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstmkit.features import future_timestamps, parse_frequency
from lstmkit.spec import ShapeError

if TYPE_CHECKING:
    from lstmkit.runtime.forecast import ForecastModel

Array = NDArray[Any]
_FIELDS = ("y", "ds", "known", "observed")


class ForecastStream:
    """The history that one series has shown so far; each step answers with the forecast after it.

    The model sees the last ``history`` rows, so a streamed forecast equals the batch forecast on
    the same rows.

    Args:
        model: Where the weights come from; many streams may share one model.
        static: The series' static covariates, ``(S,)``.
    """

    def __init__(self, model: "ForecastModel", static: ArrayLike | None = None) -> None:
        self._model = model
        self._static = None if static is None else np.asarray(static, np.float64)
        self._frequency = parse_frequency(model.config.frequency)
        self.reset()

    def reset(self) -> None:
        """Forget the history."""
        config = self._model.config
        self._rows: dict[str, Array] = {
            "y": np.empty(0),
            "ds": np.empty(0, np.int64),
            "known": np.empty((0, len(config.known))),
            "observed": np.empty((0, len(config.observed))),
        }

    def step(
        self,
        y: float,
        ds: Any = None,
        *,
        known: ArrayLike | None = None,
        observed: ArrayLike | None = None,
        known_ahead: ArrayLike | None = None,
        level: Sequence[float] = (),
    ) -> dict[str, Array]:
        """Feed one row and forecast what follows it.

        Args:
            y: The new value; NaN if it is missing.
            ds: Its timestamp; by default the one after the last. A model that uses the calendar
                needs it at the first step.
            known: This row's known covariates ``(K,)``.
            observed: This row's observed covariates ``(M,)``.
            known_ahead: Known covariates of the next ``H`` rows ``(H, K)``.
            level: Coverages of the intervals, in per cent.

        Returns:
            Columns ``lstm``, ``lstm-lo-80``, ..., each ``(H,)``.

        Raises:
            ShapeError: a covariate is missing or has another size.
        """
        self.push([y], None if ds is None else [ds], known=_row(known), observed=_row(observed))
        return self.forecast(known_ahead=known_ahead, level=level)

    def push(
        self,
        y: ArrayLike,
        ds: ArrayLike | None = None,
        *,
        known: ArrayLike | None = None,
        observed: ArrayLike | None = None,
    ) -> None:
        """Feed a block of rows ``(T,)`` without forecasting after each."""
        config = self._model.config
        values = np.atleast_1d(np.asarray(y, np.float64))
        new = {
            "y": values,
            "ds": self._timestamps(ds, len(values)),
            "known": check_covariates("known", known, len(values), config.known),
            "observed": check_covariates("observed", observed, len(values), config.observed),
        }
        self._rows = {name: np.concatenate([self._rows[name], new[name]])[-config.history :] for name in _FIELDS}

    def forecast(self, *, known_ahead: ArrayLike | None = None, level: Sequence[float] = ()) -> dict[str, Array]:
        """The forecast after the last row that was fed."""
        config, rows = self._model.config, self._rows
        known = None
        if config.known:
            ahead = check_covariates("known_ahead", known_ahead, config.horizon, config.known)
            known = np.concatenate([rows["known"], ahead])
        observed = rows["observed"] if config.observed else None
        return self._model.predict(
            rows["y"], rows["ds"], known=known, observed=observed, static=self._static, level=level
        )

    @property
    def state(self) -> dict[str, Array]:
        """A copy of the history that the next forecast will see; it can be saved and set again."""
        return {name: array.copy() for name, array in self._rows.items()}

    @state.setter
    def state(self, state: dict[str, Array]) -> None:
        if set(state) != set(_FIELDS) or any(
            np.asarray(state[name]).shape[1:] != self._rows[name].shape[1:] or len(state[name]) != len(state["y"])
            for name in _FIELDS
        ):
            raise ShapeError("this state belongs to another model: its names or shapes differ")
        self._rows = {name: np.array(state[name], self._rows[name].dtype) for name in _FIELDS}

    def clone(self) -> "ForecastStream":
        """A second stream with the same history; the two go on independently."""
        other = ForecastStream(self._model, self._static)
        other.state = self.state
        return other

    def _timestamps(self, ds: ArrayLike | None, count: int) -> Array:
        if ds is not None:
            stamps = as_timestamps(ds)
            if len(stamps) != count:
                raise ShapeError(f"expected one timestamp per value: {count}, got {len(stamps)}")
            return stamps
        if len(self._rows["ds"]):
            return future_timestamps(int(self._rows["ds"][-1]), self._frequency, count)
        if self._model.config.calendar:
            raise ShapeError("this model uses the calendar; give ds= with the first row")
        return np.arange(count, dtype=np.int64)


def as_timestamps(ds: ArrayLike) -> NDArray[np.int64]:
    """Timestamps of any kind as nanoseconds since 1970; whole numbers stay what they are.

    Example:
        >>> as_timestamps(["1970-01-02"]).tolist()
        [86400000000000]
    """
    array = np.atleast_1d(np.asarray(ds))
    if array.dtype.kind not in "iu":
        array = array.astype("M8[ns]")
    return array.astype(np.int64)


def _row(values: ArrayLike | None) -> Array | None:
    return None if values is None else np.asarray(values, np.float64)[None]


def check_covariates(what: str, values: ArrayLike | None, rows: int, names: tuple[str, ...]) -> Array:
    """Covariates as ``(rows, names)``, or an error that lists what was expected."""
    if values is None and not names:
        return np.empty((rows, 0))
    shape = None if values is None else np.shape(values)
    if shape != (rows, len(names)):
        found = "nothing" if shape is None else f"shape {shape}"
        columns = ", ".join(names) or "no columns"
        raise ShapeError(f"expected {what} of shape ({rows}, {len(names)}) for {columns}, got {found}")
    return np.asarray(values, np.float64)
