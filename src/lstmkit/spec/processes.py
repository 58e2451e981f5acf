"""Which of several processes this is, as ``torchrun``, ``accelerate launch`` and MPI say it: without torch."""

import os

_RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")


def process_number() -> int:
    """The number of this process among those that train one model together; 0 is the main one, and one alone.

    Example:
        >>> process_number()
        0
    """
    for name in _RANKS:
        if (number := os.environ.get(name, "")).isdecimal():
            return int(number)
    return 0


def is_main_process() -> bool:
    """Whether this process is the one that prints and writes files.

    Example:
        >>> is_main_process()
        True
    """
    return process_number() == 0
