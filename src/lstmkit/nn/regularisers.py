"""Dropout in its recurrent forms: rates, and masks that are drawn before the recurrence starts.

They come from torch's generator in one order, so a seed fixes them whatever the engine and the number of threads.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from lstmkit.ops import draw_choices, draw_factors
from lstmkit.reference import Masks
from lstmkit.spec import CellSpec, OptionError


class Rates(NamedTuple):
    """Probabilities of zeroing; what is left is divided by the probability to stay."""

    input_dropout: float = 0.0  # a layer's input, one mask per row and sequence: Gal & Ghahramani, NIPS 2016
    state_dropout: float = 0.0  # h where the gates read it, one mask per row and sequence: the same
    candidate_dropout: float = 0.0  # g where the cell takes it up: Semeniuta, Severyn & Barth, arXiv:1603.05118, 2016
    weight_dropout: float = 0.0  # the recurrent matrix, once per call: Merity, Keskar & Socher, arXiv:1708.02182, 2017

    def check(self) -> None:
        """Raise an OptionError unless each is a probability that leaves something."""
        for name, rate in self._asdict().items():
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise OptionError(f"{name} must be a probability in [0, 1), not {rate!r}")

    def inside(self) -> tuple[str, ...]:
        """Those that act inside the recurrence."""
        if not (self.state_dropout or self.candidate_dropout):
            return ()
        return tuple(name for name in ("state_dropout", "candidate_dropout") if getattr(self, name))


NO_RATES = Rates()


def drop_input(x: Tensor, rate: float) -> Tensor:
    """Zero features of ``x (T, B, I)``, the same ones at every step of a row."""
    return x * draw_factors((1, *x.shape[1:]), rate, x) if rate else x


def drop_weights(spec: CellSpec, weights: Sequence[Tensor], rate: float) -> list[Tensor]:
    """One layer's weights, with entries of its recurrent matrices zeroed; the parameters stay as they are."""
    names = spec.parameter_names()
    recurrent = {k for k in range(len(weights)) if names[k % len(names)] == "weight_hh"}
    return [w * draw_factors(w.shape, rate, w) if k in recurrent else w for k, w in enumerate(weights)]


def draw_masks(spec: CellSpec, rates: Rates, layer: int, x: Tensor) -> list[Masks] | None:
    """The masks of each direction of one layer in training, for the input ``x (T, B, I)``; None where none is drawn."""
    variant = spec.variant
    if not (rates.inside() or variant.zoneout_h or variant.zoneout_c):
        return None
    (T, B, _), shapes = x.shape, spec.layer_state_shapes(layer)
    (R,), (H,) = shapes["h"], shapes["c"]

    return [
        Masks(
            state=draw_factors((B, R), rates.state_dropout, x) if rates.state_dropout else None,
            candidate=draw_factors((T, B, H), rates.candidate_dropout, x) if rates.candidate_dropout else None,
            zoneout_h=draw_choices((T, B, R), variant.zoneout_h, x.device) if variant.zoneout_h else None,
            zoneout_c=draw_choices((T, B, H), variant.zoneout_c, x.device) if variant.zoneout_c else None,
        )
        for _ in range(spec.num_directions)
    ]
