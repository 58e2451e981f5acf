"""Where the native core is slower than ATen: what measurements taught, as a pure function."""

_MEBIBYTE = 1 << 20
_BYTES = {"float64": 8, "bfloat16": 2}

# Of weights: what the processors' own caches hold together, and what the one that they share holds.
_OWN_CACHES, _SHARED_CACHE = 4 * _MEBIBYTE, 24 * _MEBIBYTE


def native_drawback(sizes: tuple[int, int, int, int], dtype: str = "float32", *, gradients: bool = True) -> str | None:
    """Why the native core would be slower than ATen for T, B, I and H; None where it is at least as fast.

    ``python -m benchmarks.grid`` judges the rule.

    Example:
        >>> native_drawback((96, 32, 512, 512)) is None
        True
    """
    T, B, I, H = sizes  # noqa: E741
    weights = 4 * H * (I + H) * _BYTES.get(dtype, 4)
    # While compiling the batch may be a symbol: it is asked for last and never printed, so as to stay one.
    if weights <= _OWN_CACHES:
        return None
    if T == 1 and weights <= _SHARED_CACHE and B >= 16:
        return "one step of many rows does not repay arranging weights that are too large for the caches"
    if gradients:
        return None
    if weights > _SHARED_CACHE and (B < 2 or 8 < B < 64):
        return "so few rows do not repay reading weights that are too large for the shared cache at every step"
    if T >= 128 and B < 2:
        return "one row does not repay reading weights that are too large for the processors' own caches at every step"
    return None
