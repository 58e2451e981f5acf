"""A long text as streams that are read side by side."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.spec import DataError

# A text too short for all streams is cut into fewer, of at least so many tokens.
_SHORTEST = 16


@dataclass(frozen=True)
class Streams:
    """Contiguous parts of a text, in stretches over which the gradient goes back.

    Called with an epoch it gives that pass's batches. Where the first stretch begins is drawn anew for each pass from
    NumPy's global random state.

    Args:
        tokens: The text, ``(N,)``; it may be mapped from a file.
        streams: Parts that are read side by side.
        steps: Tokens of a stretch.
    """

    tokens: NDArray[Any]
    streams: int
    steps: int

    @classmethod
    def of(cls, tokens: NDArray[Any], streams: int, steps: int) -> "Streams":
        """Streams of a text, fewer and shorter stretches where the text is short.

        Raises:
            DataError: there is nothing to learn from.
        """
        if len(tokens) < 3:
            raise DataError(f"a text of {len(tokens)} tokens is too short to learn from; give more text")
        streams = max(1, min(streams, len(tokens) // _SHORTEST))
        return cls(tokens, streams, min(steps, max(1, len(tokens) // streams // 2)))

    @property
    def rows(self) -> NDArray[Any]:
        """The streams ``(B, L)``."""
        length = len(self.tokens) // self.streams
        return self.tokens[: length * self.streams].reshape(self.streams, length)

    def __len__(self) -> int:
        """Stretches of a pass."""
        return max(1, (self.rows.shape[1] - self.steps) // self.steps)

    def __call__(self, epoch: int) -> "_Pass":
        """The batches of a pass."""
        return _Pass(self, int(np.random.randint(self.steps)))


@dataclass(frozen=True)
class _Pass:
    streams: Streams
    offset: int

    def __len__(self) -> int:
        return len(self.streams)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rows, steps = self.streams.rows, self.streams.steps
        for k in range(len(self)):
            start = min(self.offset + k * steps, rows.shape[1] - 2)
            tokens = rows[:, start : start + steps + 1].astype(np.int64)
            yield {"tokens": tokens, "streams": np.arange(len(rows)), "first": k == 0}
