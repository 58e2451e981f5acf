"""How many processes there are and which this is, as ``torchrun``, ``accelerate launch`` and MPI say it; no torch."""

import os

_NUMBERS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
_COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")


def process_number() -> int:
    """The number of this process among those that train one model together; 0 is the main one, and one alone.

    Example:
        >>> process_number()
        0
    """
    return _first(_NUMBERS, 0)


def process_count() -> int:
    """How many processes train one model together.

    Example:
        >>> process_count()
        1
    """
    return _first(_COUNTS, 1)


def is_main_process() -> bool:
    """Whether this process is the one that prints and writes files.

    Example:
        >>> is_main_process()
        True
    """
    return process_number() == 0


def _first(names: tuple[str, ...], otherwise: int) -> int:
    """The first of these variables of the environment that is a number."""
    return next((int(text) for name in names if (text := os.environ.get(name, "")).isdecimal()), otherwise)
