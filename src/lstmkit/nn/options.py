"""Options of a recurrent layer that no CellSpec holds, checked when the layer is made."""

import warnings
from numbers import Integral, Real

import torch

from lstmkit.nn.initialisers import INITIALISERS, check_t_max
from lstmkit.spec import CellSpec, OptionError


def check_options(spec: CellSpec, batch_first: bool, dropout: float) -> None:
    """Raise an OptionError for an impossible value; warn, as torch does, of a dropout without effect."""
    check_batch_first(batch_first)
    if isinstance(dropout, bool) or not isinstance(dropout, Real) or not 0 <= dropout <= 1:
        raise OptionError(f"dropout must be a probability in [0, 1], not {dropout!r}")
    if dropout > 0 and spec.num_layers == 1:
        warnings.warn(
            "dropout acts between layers, so it does nothing with num_layers=1; use nn.Dropout after the layer",
            stacklevel=3,
        )


def check_batch_first(batch_first: bool) -> None:
    """Raise an OptionError unless it is a bool."""
    if not isinstance(batch_first, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise OptionError(f"batch_first must be True or False, not {batch_first!r}")


def check_initialisation(spec: CellSpec, init: str, forget_bias: float | None, t_max: float | None) -> None:
    """Raise an OptionError unless ``init``, ``forget_bias`` and ``t_max`` go together."""
    if init not in INITIALISERS:
        raise OptionError(f"init must be one of {', '.join(INITIALISERS)}, not {init!r}")
    if init == "chrono":
        check_t_max(t_max)
        if forget_bias is not None:
            raise OptionError("init='chrono' sets the forget gate's bias itself; give either it or forget_bias")
    elif t_max is not None:
        raise OptionError(f"t_max belongs to init='chrono', not to init={init!r}")
    if not spec.bias and (init == "chrono" or forget_bias is not None):
        raise OptionError("init='chrono' and forget_bias need bias=True")


def check_memory(steps: int | None, saved_dtype: torch.dtype | None) -> None:
    """Raise an OptionError unless one is None, and the steps are at least 1 or the type bfloat16."""
    if saved_dtype not in (None, torch.bfloat16):
        raise OptionError(f"saved_dtype must be None or torch.bfloat16, not {saved_dtype!r}")
    if steps is not None and saved_dtype is not None:
        raise OptionError("checkpoint_steps keeps no gates, so saved_dtype has nothing to save; give one of them")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, Integral) or steps < 1):
        raise OptionError(f"checkpoint_steps must be None or a whole number of at least 1, not {steps!r}")
