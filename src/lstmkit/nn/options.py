"""Options of a recurrent layer that no CellSpec holds, checked when the layer is made."""

import warnings
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypedDict

import torch

from lstmkit.nn.initialisers import INITIALISERS, check_t_max
from lstmkit.spec import Activation, CellSpec, OptionError, Variant


class VariantOptions(TypedDict, total=False):
    """The fields of :class:`lstmkit.spec.Variant`, as keywords of a layer."""

    input_gate: str
    forget_gate: str
    output_gate: str
    gate_activation: Activation
    candidate_activation: Activation
    cell_activation: Activation
    peepholes: str
    full_gate_recurrence: bool
    layer_norm: str | None
    gate_clip: float | None
    cell_clip: float | None
    proj_bias: bool
    proj_clip: float | None
    zoneout_h: float
    zoneout_c: float


def make_spec(
    input_size: int,
    hidden_size: int | Sequence[int],
    num_layers: int,
    bias: bool,
    bidirectional: bool,
    proj_size: int,
    skip: str,
    variant: VariantOptions,
) -> CellSpec:
    """The specification that a layer's arguments describe.

    Raises:
        OptionError: an argument cannot be, or two exclude each other.
    """
    sizes: tuple[int, ...] = ()
    if isinstance(hidden_size, list | tuple):
        sizes = tuple(hidden_size)
        if not sizes or num_layers not in (1, len(sizes)):
            raise OptionError(f"hidden_size names {len(sizes)} layers, num_layers {num_layers}; leave num_layers out")
        hidden_size, num_layers = sizes[-1], len(sizes)
    return CellSpec(
        input_size,
        hidden_size,  # pyright: ignore[reportArgumentType]
        num_layers,
        bias,
        bidirectional,
        proj_size,
        layer_sizes=sizes,
        skip=skip,
        variant=Variant.from_dict(variant),
    )


def stack_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's options as CellSpec has them: those of a Variant in one."""
    names = VariantOptions.__annotations__
    variant = {name: value for name, value in options.items() if name in names}
    return {name: value for name, value in options.items() if name not in names} | {"variant": Variant(**variant)}


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
    gate = spec.variant.forget_gate
    if forget_bias is not None and gate != "free":
        raise OptionError(f"forget_bias needs a forget gate with weights of its own, but forget_gate is {gate!r}")
    if init == "chrono" and gate == "one":
        raise OptionError("init='chrono' spreads how fast cells forget, but forget_gate is 'one': they never do")


def check_memory(steps: int | None, saved_dtype: torch.dtype | None, variant: Sequence[str]) -> None:
    """Raise an OptionError unless one is None, the steps are at least 1 or the type bfloat16, and the cell is plain."""
    if (steps is not None or saved_dtype is not None) and variant:
        name = "checkpoint_steps" if steps is not None else "saved_dtype"
        raise OptionError(f"{name} is there for the plain LSTM; it does not go with {', '.join(variant)}")
    if saved_dtype not in (None, torch.bfloat16):
        raise OptionError(f"saved_dtype must be None or torch.bfloat16, not {saved_dtype!r}")
    if steps is not None and saved_dtype is not None:
        raise OptionError("checkpoint_steps keeps no gates, so saved_dtype has nothing to save; give one of them")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, Integral) or steps < 1):
        raise OptionError(f"checkpoint_steps must be None or a whole number of at least 1, not {steps!r}")
