"""Series as a classifier reads them: standardised, with a mask where values may be missing.

Legend: ``B`` series, ``T`` steps, ``C`` channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.runtime.stage_shapes import BATCH, STEPS, Shape, count
from lstmkit.spec import DataError

Array = NDArray[Any]


@dataclass(frozen=True)
class SeriesReader:
    """Series to standardised values, a mask where values may be missing, and stretches of several steps.

    Args:
        channels: Names of the columns.
        centres: Mean of each channel in training.
        spreads: Standard deviation of each channel in training.
        stretch: Steps that make one step of the model.
        masked: Whether the model also sees which values are missing.
    """

    channels: tuple[str, ...]
    centres: tuple[float, ...]
    spreads: tuple[float, ...]
    stretch: int = 1
    masked: bool = False

    @property
    def features(self) -> int:
        """Numbers of one step of the model."""
        return len(self.channels) * (1 + self.masked) * self.stretch

    def shapes(self) -> dict[str, Shape]:
        """Values and lengths."""
        return {"values": (BATCH, STEPS, self.features), "lengths": (BATCH,)}

    def rows(self, examples: Sequence[Any]) -> list[Array]:
        """Each series as the model sees it, ``(T, features)``.

        Raises:
            DataError: a series is empty, has other channels, or holds something else than numbers.
        """
        return [self._row(number, series) for number, series in enumerate(examples)]

    def _row(self, number: int, series: Any) -> Array:
        try:
            values = np.asarray(series, np.float32)
        except (TypeError, ValueError):
            raise DataError(f"series {number} holds something that is not a number") from None
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or values.shape[1] != len(self.channels) or not len(values):
            raise DataError(
                f"series {number} has the shape {values.shape}; this model takes (steps, {len(self.channels)}) with at "
                "least one step"
            )
        if np.isinf(values).any():
            raise DataError(f"series {number} holds an infinite number")
        scaled = (values - np.array(self.centres, np.float32)) / np.array(self.spreads, np.float32)
        missing = np.isnan(scaled)
        scaled = np.where(missing, 0, scaled)
        whole = np.concatenate([scaled, missing], 1, dtype=np.float32) if self.masked else scaled
        return _stretches(whole, self.stretch)

    def arrays(self, rows: Sequence[Array], *, grams: bool = True) -> dict[str, Array]:
        """The inputs of a batch; series have no grams."""
        lengths = np.array([len(row) for row in rows], np.int64)
        values = np.zeros((len(rows), lengths.max(), self.features), np.float32)
        for place, row in zip(values, rows, strict=True):
            place[: len(row)] = row
        return {"values": values, "lengths": lengths}

    def to_dict(self) -> dict[str, Any]:
        """What the model file keeps."""
        return {
            "kind": "series",
            "channels": list(self.channels),
            "centres": list(self.centres),
            "spreads": list(self.spreads),
            "stretch": self.stretch,
            "masked": self.masked,
        }

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> "SeriesReader":
        """Read an untrusted document; ValueError where it makes no sense."""
        names, masked = document.get("channels"), document.get("masked")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):  # pyright: ignore[reportUnknownVariableType]
            raise ValueError("the channels are no names")
        if not isinstance(masked, bool):
            raise ValueError("masked must be true or false")
        centres, spreads = (np.array(document.get(name), float) for name in ("centres", "spreads"))
        if centres.shape != (len(names),) or spreads.shape != (len(names),):  # pyright: ignore[reportUnknownArgumentType]
            raise ValueError("a channel has no mean or no spread")
        if not (np.isfinite(centres).all() and np.isfinite(spreads).all() and (spreads > 0).all()):
            raise ValueError("a mean or a spread cannot be")
        return cls(tuple(names), tuple(centres), tuple(spreads), count(document, "stretch"), masked)  # pyright: ignore[reportUnknownArgumentType]


def _stretches(values: Array, stretch: int) -> Array:
    """``(T, C)`` -> ``(ceil(T / stretch), stretch * C)``, the last one filled with zeros."""
    steps = -(-len(values) // stretch)
    padded = np.zeros((steps * stretch, values.shape[1]), np.float32)
    padded[: len(values)] = values
    return padded.reshape(steps, -1)
