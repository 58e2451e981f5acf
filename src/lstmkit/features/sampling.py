"""Drawing one of many classes by their scores."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lstmkit.spec import OptionError

Array = NDArray[Any]

# Uniform numbers are drawn so many at once: one alone costs as much as a hundred.
_BLOCK = 512


class Sampler:
    """Draws classes with the probabilities of a softmax, sharpened or cut off at will.

    Args:
        temperature: Scores are divided by it: below 1 safer, above 1 bolder; 0 always takes the highest score.
        top_k: Only so many of the highest scores can be drawn.
        top_p: Only the fewest classes whose probabilities add up to at least this.
        seed: Repeats the draws; None draws anew each time.

    Raises:
        OptionError: a value that cannot be.

    Source: top-p is nucleus sampling, Holtzman et al. (2020), The Curious Case of Neural Text Degeneration.

    Example:
        >>> sampler = Sampler(temperature=0)
        >>> sampler.draw(np.array([0.1, 2.0, -1.0], np.float32))
        1
    """

    def __init__(
        self,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> None:
        _check("temperature", temperature, 0 <= _as_number(temperature) < float("inf"), "a number from 0")
        _check("top_k", top_k, top_k is None or _is_whole(top_k, 1), "a whole number from 1")
        _check("top_p", top_p, top_p is None or 0 < _as_number(top_p) <= 1, "a number above 0 and up to 1")
        _check("seed", seed, seed is None or _is_whole(seed, 0), "a whole number from 0")
        self.temperature, self.top_k, self.top_p = float(temperature), top_k, top_p
        self._random = np.random.default_rng(seed)
        self._uniform: list[float] = []

    def draw(self, scores: Array) -> int:
        """One class.

        Args:
            scores: ``(V,)``, before a softmax; -inf for what must not be drawn.
        """
        if self.temperature == 0 or self.top_k == 1:
            return int(scores.argmax())
        shares: Array = np.exp((scores - scores.max()) / self.temperature)
        if self.top_k is not None and self.top_k < len(shares):
            shares[shares < np.partition(shares, -self.top_k)[-self.top_k]] = 0
        if self.top_p is not None:
            _keep_nucleus(shares, self.top_p)
        if not self._uniform:
            self._uniform = self._random.random(_BLOCK).tolist()
        sums: Array = shares.cumsum()
        place = int(sums.searchsorted(float(self._uniform.pop() * sums[-1]), "right"))
        # Rounding may lead behind the last share that is not 0.
        return place if place < len(sums) else int(sums.searchsorted(float(sums[-1])))


def _keep_nucleus(shares: Array, part: float) -> None:
    order: Array = np.argsort(-shares, kind="stable")
    sums: Array = shares[order].cumsum()
    shares[order[int(sums.searchsorted(float(part * sums[-1]))) + 1 :]] = 0


def _as_number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise OptionError(f"{name} must be {expected}, not {value!r}")
