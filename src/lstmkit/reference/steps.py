"""Which steps of a padded batch are real, and where a state begins anew."""

from typing import NamedTuple

from lstmkit.reference.arrays import Array, Namespace, device_of


class Steps(NamedTuple):
    """Which steps are real, and before which the state is zeroed; None means all and none."""

    active: Array | None  # (T, B, 1) bool
    resets: Array | None  # (T, B, 1) bool, False in the padding


def mark_steps(xp: Namespace, x: Array, lengths: Array | None, resets: Array | None) -> Steps:
    """Turn lengths ``(B,)`` and resets ``(T, B)`` into masks over the steps of ``x``."""
    active = None
    if lengths is not None:
        active = (xp.arange(x.shape[0], **device_of(x))[:, None] < lengths[None, :])[:, :, None]
    if resets is not None:
        resets = resets[:, :, None]
        resets = resets if active is None else resets & active
    return Steps(active, resets)


def widen(mask: Array, value: Array, leading: int = 0) -> Array:
    """A mask ``(..., B, 1)`` of rows, for a value with ``leading`` axes before and any number behind them."""
    return mask.reshape(*mask.shape, *[1] * (value.ndim - leading - mask.ndim))
