"""From what torch.nn.LSTM accepts to one time-major batch, and back."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lstmkit.reference import check_lengths, check_sequence, describe_states
from lstmkit.spec import CellSpec, OptionError, ShapeError

State = tuple[Tensor, ...]


class Case(NamedTuple):
    """One batch, time-major."""

    x: Tensor  # (T, B, I)
    hx: Any  # None, which is zeros, or the states in a tuple, (L*D, B, ...) each
    lengths: Tensor | None  # (B,)
    resets: Tensor | None  # (T, B)
    extra: Tensor | None = None  # (T, B, E)


class Layout(NamedTuple):
    """How the caller arranges batch and time."""

    batched: bool
    batch_first: bool

    def time_major(self, x: Tensor) -> Tensor:
        """The caller's input or resets with time first and a batch axis."""
        if not self.batched:
            return x.unsqueeze(1)
        return x.transpose(0, 1) if self.batch_first else x

    def like_caller(self, x: Tensor) -> Tensor:
        """The inverse of :meth:`time_major`."""
        if not self.batched:
            return x.squeeze(1)
        return x.transpose(0, 1) if self.batch_first else x


def arrange(
    spec: CellSpec,
    batch_first: bool,
    x: Tensor,
    hx: Tensor | Sequence[Tensor] | None,
    lengths: Tensor | Sequence[int] | None,
    resets: Tensor | None,
) -> tuple[Case, Layout]:
    """Check what came and bring it into one form.

    Raises:
        ShapeError: a shape, dtype or device does not fit.
        OptionError: lengths for a sequence without a batch.
    """
    _expect_numbers("input", x)
    axes = len(spec.kernel_size)
    if x.dim() not in (2 + axes, 3 + axes):
        raise ShapeError(f"the input must have {2 + axes} dimensions (unbatched) or {3 + axes}, not {x.dim()}")
    layout = Layout(batched=x.dim() == 3 + axes, batch_first=batch_first)
    if lengths is not None:
        if not layout.batched:
            raise OptionError("an unbatched sequence has no padding; cut it to its length instead of giving lengths")
        lengths = _as_lengths(lengths, x)
    if resets is not None:
        _expect_numbers("resets", resets)
        _expect_dimensions("resets", resets, x.dim() - 1 - axes)
        _expect_content("resets", resets, x)
        resets = layout.time_major(resets).to(x.device)
    case = Case(layout.time_major(x), arrange_state(spec, hx, layout.batched), lengths, resets)
    check_sequence(spec, case.x, case.hx, case.lengths, case.resets)
    # Where somebody traces, lengths have no values yet; the op looks at them when it runs.
    if case.lengths is not None and not torch.compiler.is_compiling() and not torch._C._len_torch_dispatch_stack():
        check_lengths(case.lengths, case.x.shape[0])
    return case, layout


def arrange_extra(spec: CellSpec, layout: Layout, x: Tensor, extra: Tensor) -> Tensor:
    """What a cell reads beside the time-major ``x``, as ``(T, B, E)`` of its type; it may come with all three axes.

    Raises:
        ShapeError: it is no tensor of the shape that goes with the input.
    """
    name, (T, B), E = str(spec.entry.extra), x.shape[:2], spec.extra_size
    _expect_numbers(name, extra)
    _expect_content(name, extra, x)
    axes = extra.dim() + (not layout.batched)
    if axes == 3:
        given, shape = layout.time_major(extra), (T, B, E)
    elif name == "static":
        given, shape = extra if layout.batched else extra.unsqueeze(0), (B, E)
    else:
        given, shape = layout.time_major(extra) if axes == 2 else extra, (T, B)
    if tuple(given.shape) != shape:
        raise ShapeError(f"{name} must have shape {shape}, not {tuple(given.shape)}, once time is first")
    given = given.to(x.device, x.dtype)
    return (given.unsqueeze(2) if shape == (T, B) and name != "static" else given).expand(T, B, E)


def arrange_state(spec: CellSpec, hx: Tensor | Sequence[Tensor] | None, batched: bool) -> Any:
    """The initial states with a batch axis, in a tuple; a single state comes, and goes, without one.

    Raises:
        ShapeError: they are not as many tensors as the cell has states, with as many axes as the input asks for.
    """
    if hx is None:
        return None
    shapes = spec.state_channels()
    given: Any = hx if isinstance(hx, tuple | list) else (hx,) if len(shapes) == 1 else ()
    if len(given) != len(shapes):
        raise ShapeError(f"hx must be {describe_states(spec)} of tensors, not {_describe(hx)}")
    for (name, shape), value in zip(shapes.items(), given, strict=True):
        _expect_numbers(name, value)
        _expect_dimensions(name, value, len(shape) + len(spec.kernel_size) + (2 if batched else 1))
    return tuple(given) if batched else tuple([value.unsqueeze(1) for value in given])


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The dtype that autocast asks for here; None where it is off, and for float64, which it leaves alone."""
    device = x.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return None
    return None if x.dtype == torch.float64 else torch.get_autocast_dtype(device)


def check_numbers(x: Tensor, hx: Sequence[Tensor] | None, weight: Tensor, names: Sequence[str] = ("h", "c")) -> None:
    """Input, states and weights live on one device and, outside autocast, have one dtype.

    Raises:
        ShapeError: they do not.
    """
    mixed = autocast_dtype(x) is not None
    for name, value in (("input", x), *([] if hx is None else zip(names, hx, strict=False))):
        if value.device != weight.device:
            raise ShapeError(f"the {name} is on {value.device}, the weights are on {weight.device}; move one of them")
        if value.dtype != weight.dtype and not mixed:
            raise ShapeError(
                f"the {name} has dtype {value.dtype}, the weights have {weight.dtype}; convert one of them"
            )


def _expect_dimensions(name: str, value: Tensor, count: int) -> None:
    if value.dim() != count:
        raise ShapeError(f"{name} must have {count} dimensions beside this input, not {value.dim()}")


def _expect_numbers(name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise ShapeError(f"{name} must be a torch.Tensor, not {_describe(value)}; torch.as_tensor converts it")
    if value.layout != torch.strided:
        raise ShapeError(f"{name} must be an ordinary dense tensor, not {value.layout}; use .to_dense()")


def _expect_content(name: str, value: Tensor, x: Tensor) -> None:
    if value.is_meta and not x.is_meta:
        raise ShapeError(f"{name} is on the meta device and has no content, but the input is on {x.device}")


def _as_lengths(lengths: Any, x: Tensor) -> Tensor:
    """Whole numbers as int64; what else there is, is left to be refused."""
    try:
        lengths = torch.as_tensor(lengths)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ShapeError(f"lengths must be whole numbers, one per row, not {lengths!r}: {error}") from None
    _expect_content("lengths", lengths, x)
    return lengths.to(torch.int64) if not lengths.numel() or "uint" in str(lengths.dtype) else lengths


def _describe(value: Any) -> str:
    size = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return type(value).__name__ + size


def refuse_beside_packed(**given: bool) -> None:
    """Raise an OptionError for an argument that cannot stand beside a PackedSequence."""
    for name, present in given.items():
        if present:
            raise OptionError(f"a PackedSequence cannot be combined with {name}; pass the padded tensor and lengths=")
