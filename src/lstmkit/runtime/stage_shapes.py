"""Which shapes each stage takes and gives, worked out before any number is: a model file is judged by them.

A size that the model does not fix is negative: ``BATCH`` windows, ``STEPS`` of a sequence, ``SPACE``, the lengths of up
to three axes of space, and ``WORDS``, the different words of a batch, of ``LETTERS`` each.
"""

from collections.abc import Mapping, Sequence
from math import prod
from numbers import Integral
from typing import Any

from lstmkit.spec import CellSpec

Options = Mapping[str, Any]
Shape = tuple[int, ...]
Shapes = dict[str, Shape]

BATCH, STEPS = -1, -2
SPACE = (-3, -4, -5)
WORDS, LETTERS = -6, -7

# No option is larger than this, no stack deeper, and no value of one window has more elements.
_LARGEST_OPTION, _MOST_LAYERS, _MOST_ELEMENTS = 10**6, 1000, 2**26


def count(options: Options, name: str) -> int:
    """An option that is a whole number of at least 1.

    Raises:
        ValueError: it is not one.
    """
    value = options.get(name)
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= int(value) <= _LARGEST_OPTION:
        raise ValueError(f"{name} must be a whole number from 1 to {_LARGEST_OPTION}")
    return int(value)


def elements(shape: Shape) -> int:
    """Numbers that one window of this shape holds."""
    return prod(size for size in shape if size > 0)


def check_elements(shape: Shape) -> None:
    """Refuse a value that would not fit into memory.

    Raises:
        ValueError: it would not.
    """
    if elements(shape) > _MOST_ELEMENTS:
        raise ValueError(f"a value of one window would hold {elements(shape):,} numbers")


def cell_of(options: Options) -> CellSpec:
    """The cell of a recurrent stage, with sizes that a machine can hold.

    Raises:
        ValueError: there is none, it is too large, or not for sequences.
    """
    expect(isinstance(options["cell"], Mapping), "the cell is not described as one")
    spec = CellSpec.from_dict(options["cell"])
    expect(spec.entry.driver != "tree", "a Tree-LSTM runs over trees, not from step to step")
    expect(spec.num_layers <= _MOST_LAYERS, "the cell is too large")
    expect(max(spec.input_size, *spec.hidden_sizes) <= _LARGEST_OPTION, "the cell is too large")
    return spec


def same(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """One value in, one of the same shape out."""
    (shape,) = inputs
    return (shape,)


def dropout(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """As :func:`same`, with a rate in [0, 1]."""
    rate = options.get("rate")
    expect(isinstance(options.get("same_steps", False), bool), "same_steps must be true or false")
    expect(isinstance(rate, int | float) and 0 <= rate <= 1, "rate must be a number from 0 to 1")
    return same(options, inputs)


def add(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """Any number of values that broadcast."""
    dimensions = len(inputs[0])
    expect(all(len(shape) == dimensions for shape in inputs), "the terms have different dimensions")
    return (tuple(_common(sizes) for sizes in zip(*inputs, strict=True)),)


def _common(sizes: tuple[int, ...]) -> int:
    wide = {size for size in sizes if size != 1}
    expect(len(wide) <= 1, "the terms have different sizes")
    return wide.pop() if wide else 1


def linear(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """Values that differ in their last size at most, joined along it."""
    lead = inputs[0][:-1]
    expect(len(lead) > 0 and all(shape[:-1] == lead for shape in inputs), "the inputs cannot be joined")
    expect(sum(shape[-1] for shape in inputs) == count(options, "features"), "features differ from the inputs'")
    return ((*lead, count(options, "units")),)


def linear_parameters(options: Options) -> Shapes:
    """Weight, and bias unless it is switched off."""
    shapes: Shapes = {"weight": (count(options, "units"), count(options, "features"))}
    if options.get("bias", True):
        shapes["bias"] = (count(options, "units"),)
    return shapes


def recurrent(options: Options, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """A sequence, optionally with its lengths and its first states; the outputs and the last states."""
    x, *states = inputs
    spec = cell_of(options)
    batch, steps, features, *space = x
    if takes_lengths(options):
        expect(states[:1] == [(batch,)], "the lengths are not one for each sequence")
        states = states[1:]
    fits = features == spec.read_size and len(space) == len(spec.kernel_size)
    expect(batch in (BATCH, WORDS) and steps != 0 and fits, "the cell has another input")
    left = [_left_over(spec, length, kernel) for length, kernel in zip(space, spec.kernel_size, strict=True)]
    own = [(spec.state_rows, batch, *shape, *left) for shape in spec.state_channels().values()]
    expect(states in ([], own), "the states have other shapes")
    return (batch, steps, spec.output_size, *left), *own


def takes_lengths(options: Options) -> bool:
    """Whether the second input is the lengths of the sequences."""
    found = options.get("lengths", False)
    expect(isinstance(found, bool), "lengths must be true or false")
    return found


def _left_over(spec: CellSpec, length: int, kernel: int) -> int:
    """What a kernel leaves of an axis; of one that is not fixed each place takes 3, so that no two are alike."""
    lost = 0 if spec.padding == "same" else kernel - 1
    expect(length < 0 or length > lost, f"a kernel of {kernel} leaves nothing of a space of {length}")
    return length - lost if length > 0 else length - len(SPACE) * lost


def recurrent_states(options: Options) -> tuple[str, ...]:
    """Names of the cell's states."""
    return tuple(cell_of(options).state_shapes())


def recurrent_parameters(options: Options) -> Shapes:
    """The cell's own, and the first states where these are learned."""
    spec = cell_of(options)
    shapes = spec.parameter_shapes()
    if options.get("learn_initial_state", False):
        shapes |= {f"{name}_0": (spec.state_rows, *shape) for name, shape in spec.state_shapes().items()}
    return shapes


def join_steps(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """Sequences of one width."""
    batch, _, features = inputs[0]
    steps = [shape[1] for shape in inputs]
    expect(all(shape == (batch, own, features) for shape, own in zip(inputs, steps, strict=True)), "widths differ")
    expect(min(steps) > 0, "the steps are not fixed")
    return ((batch, sum(steps), features),)


def join_features(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """Values that differ in their last size at most."""
    lead = inputs[0][:-1]
    expect(len(lead) > 0 and all(shape[:-1] == lead for shape in inputs), "the inputs cannot be joined")
    expect(all(shape[-1] > 0 for shape in inputs), "the features are not fixed")
    return ((*lead, sum(shape[-1] for shape in inputs)),)


def last_steps(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """A sequence of at least so many steps."""
    ((batch, steps, features),) = inputs
    expect(steps >= count(options, "steps"), "the sequence is shorter than its last steps")
    return ((batch, count(options, "steps"), features),)


def every_step(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """One row for each window."""
    ((batch, features),) = inputs
    return ((batch, 1, features),)


def patches(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """Channels of one length."""
    batch, steps = inputs[0][:2]
    expect(steps > 0 and all(shape[:2] == (batch, steps) for shape in inputs), "the channels differ in length")
    features = sum(prod(shape[2:]) for shape in inputs)
    expect(all(len(shape) <= 3 for shape in inputs), "a channel has too many dimensions")
    length = count(options, "length")
    return ((batch, -(-steps // length), length * features),)


def unpatch(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """Patches that hold the horizon."""
    ((batch, tokens, width),) = inputs
    horizon, quantiles = count(options, "horizon"), count(options, "quantiles")
    whole = tokens > 0 and tokens * width % quantiles == 0
    expect(whole and tokens * width // quantiles >= horizon, "the patches do not hold the horizon")
    return ((batch, horizon, quantiles),)


def queries(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """Anything of the batch's size."""
    (shape,) = inputs
    expect(shape[0] == BATCH, "the value has no batch")
    return ((BATCH, count(options, "steps"), count(options, "features")),)


def queries_parameters(options: Options) -> Shapes:
    """One token for each step."""
    return {"weight": (count(options, "steps"), count(options, "features"))}


def season_mix(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """Scores of each patch and season, and the history with its mask."""
    (batch, tokens, seasons), history, mask = inputs
    season, patch, horizon = (count(options, name) for name in ("season", "patch", "horizon"))
    expect(history == mask == (batch, seasons * season), "the history is not made of these seasons")
    expect(seasons == count(options, "seasons"), "the scores are those of other seasons")
    expect(tokens == -(-horizon // patch), "the patches do not hold the horizon")
    check_elements((batch, seasons, tokens, patch))
    return ((batch, horizon, 1),)


def season_mix_parameters(options: Options) -> Shapes:
    """One weight for each patch and season."""
    return {"weight": (-(-count(options, "horizon") // count(options, "patch")), count(options, "seasons"))}


def shift(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """One value for each step and quantile."""
    ((batch, *rest),) = inputs
    expect(tuple(rest) == shift_parameters(options)["offset"], "the offsets have another shape")
    return ((batch, *rest),)


def shift_parameters(options: Options) -> Shapes:
    """One number for each step and quantile."""
    return {"offset": (count(options, "horizon"), count(options, "quantiles"))}


def window_scale(options: Options, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Windows of one channel; standardised, mask, location and scale."""
    ((batch, steps),) = inputs
    expect(steps > 0, "the window has no length")
    expect(options.get("centre", "mean") in ("mean", "last"), "centre must be mean or last")
    expect(options.get("centre", "mean") in ("mean", "last"), "the centre must be mean or last")
    return (batch, steps), (batch, steps), (batch, 1), (batch, 1)


def restore(options: Options, inputs: Sequence[Shape]) -> tuple[Shape]:
    """Quantiles, and one location and scale for each window."""
    quantiles, location, scale = inputs
    expect(len(quantiles) == 3 and location == scale == (quantiles[0], 1), "location or scale have another shape")
    return (quantiles,)


def expect(holds: bool, otherwise: str) -> None:
    """Raise a ValueError unless something holds."""
    if not holds:
        raise ValueError(otherwise)
