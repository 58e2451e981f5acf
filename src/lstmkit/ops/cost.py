"""Where the native core is slower than ATen: what measurements taught, as a pure function."""

# The core gives whole rows to its threads. Fewer rows than this are slower than ATen's divided products as soon as
# the weights leave the second-level cache of 1 MiB; measured on two processors.
_FEW_ROWS = 4
_CACHED_BYTES = 1 << 20
_BYTES = {"float64": 8, "bfloat16": 2}


def native_drawback(sizes: tuple[int, int, int, int], dtype: str = "float32") -> str | None:
    """Why the native core would be slower than ATen for T, B, I and H; None where it is at least as fast.

    Example:
        >>> native_drawback((96, 32, 512, 512)) is None
        True
    """
    _, B, I, H = sizes  # noqa: E741
    # While compiling the batch may be a symbol: it is asked for last and never printed, so as to stay one.
    if 4 * H * (I + H) * _BYTES.get(dtype, 4) > _CACHED_BYTES and B < _FEW_ROWS:
        return (
            f"fewer than {_FEW_ROWS} rows cannot be divided among threads, and the weights are too large for one "
            "processor's cache"
        )
    return None
