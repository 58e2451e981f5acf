"""Forecasts from a running history: one row in, one forecast out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lstmkit.features import parse_frequency
from lstmkit.runtime.forecast_inputs import read_covariates, read_static, read_target, read_timestamps
from lstmkit.runtime.turn import Turn
from lstmkit.spec import ShapeError

if TYPE_CHECKING:
    from lstmkit.runtime.forecast import ForecastModel

Array = NDArray[Any]
_FIELDS = ("y", "ds", "known", "observed")


class ForecastStream:
    """The history that one series has shown so far; each step answers with the forecast after it.

    The model sees the last ``history`` rows, so a streamed forecast equals the batch forecast on
    the same rows. It serves one thread at a time.

    Args:
        model: Where the weights come from; many streams may share one model.
        static: The series' static covariates, ``(S,)``.

    Raises:
        ShapeError: the model needs other static covariates.
    """

    def __init__(self, model: "ForecastModel", static: ArrayLike | None = None) -> None:
        self._model = model
        self._static = read_static(static, model.config.static)
        self._frequency = parse_frequency(model.config.frequency)
        self._turn = Turn()
        self._rows = self._empty()

    def reset(self) -> None:
        """Forget the history.

        Raises:
            EngineError: another thread is using this stream.
        """
        with self._turn:
            self._rows = self._empty()

    def _empty(self) -> dict[str, Array]:
        known, observed = len(self._model.config.known), len(self._model.config.observed)
        return {
            "y": np.empty(0),
            "ds": np.empty(0, np.int64),
            "known": np.empty((0, known)),
            "observed": np.empty((0, observed)),
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
            DataError: a timestamp that does not follow the last one, or something that is not a number.
            OptionError: a level outside what the model has learned.
            EngineError: another thread is using this stream.

        After an error the history is what it was.
        """
        if np.ndim(y) != 0:
            raise ShapeError(f"expected one value, got the shape {np.shape(y)}; push takes several rows")
        with self._turn:
            rows = self._extended(self._rows, [y], None if ds is None else [ds], _row(known), _row(observed))
            forecast = self._forecast(rows, known_ahead, level)
            self._rows = rows
        return forecast

    def push(
        self,
        y: ArrayLike,
        ds: ArrayLike | None = None,
        *,
        known: ArrayLike | None = None,
        observed: ArrayLike | None = None,
    ) -> None:
        """Feed a block of rows ``(T,)`` without forecasting after each; errors as for :meth:`step`."""
        with self._turn:
            self._rows = self._extended(self._rows, y, ds, known, observed)

    def forecast(self, *, known_ahead: ArrayLike | None = None, level: Sequence[float] = ()) -> dict[str, Array]:
        """The forecast after the last row that was fed; arguments and errors as for :meth:`step`."""
        return self._forecast(self._rows, known_ahead, level)

    @property
    def state(self) -> dict[str, Array]:
        """A copy of the history that the next forecast will see; it can be saved and set again."""
        return {name: array.copy() for name, array in self._rows.items()}

    @state.setter
    def state(self, state: Mapping[str, ArrayLike]) -> None:
        if set(state) != set(_FIELDS):
            raise ShapeError(f"this is not the state of a forecast stream: it has {sorted(state)}, not {list(_FIELDS)}")
        with self._turn:
            self._rows = self._extended(self._empty(), *(state[name] for name in _FIELDS))

    def clone(self) -> "ForecastStream":
        """A second stream with the same history; the two go on independently."""
        other = ForecastStream(self._model, self._static)
        other.state = self.state
        return other

    def _extended(
        self,
        rows: Mapping[str, Array],
        y: ArrayLike,
        ds: ArrayLike | None,
        known: ArrayLike | None,
        observed: ArrayLike | None,
    ) -> dict[str, Array]:
        """These rows with new ones behind them, as far back as the model sees."""
        config = self._model.config
        values = read_target(y, prices=self._model.models_prices)
        last = int(rows["ds"][-1]) if len(rows["ds"]) else None
        if ds is None and last is None and config.calendar:
            raise ShapeError("this model uses the calendar; give ds= with the first row")
        new = {
            "y": values,
            "ds": read_timestamps(ds, len(values), self._frequency, last),
            "known": read_covariates("known", known, len(values), config.known),
            "observed": read_covariates("observed", observed, len(values), config.observed),
        }
        return {name: np.concatenate([rows[name], new[name]])[-config.history :] for name in _FIELDS}

    def _forecast(
        self, rows: Mapping[str, Array], known_ahead: ArrayLike | None, level: Sequence[float]
    ) -> dict[str, Array]:
        config = self._model.config
        ahead = read_covariates("known_ahead", known_ahead, config.horizon, config.known)
        return self._model.predict(
            rows["y"],
            rows["ds"],
            known=np.concatenate([rows["known"], ahead]) if config.known else None,
            observed=rows["observed"] if config.observed else None,
            static=self._static,
            level=level,
        )


def _row(values: ArrayLike | None) -> Array | None:
    return None if values is None else np.asarray(values)[None]
