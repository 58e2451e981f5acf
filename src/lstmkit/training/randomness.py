"""The states of the random generators: taken, put back, and forked for one run."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

# A state is tensors, with one of uint8 per torch generator, and numbers that JSON can hold.
Randomness = tuple[dict[str, Tensor], dict[str, Any]]


def capture() -> Randomness:
    """The states of torch (every device), NumPy and Python."""
    tensors = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors |= {f"cuda{index}": state for index, state in enumerate(torch.cuda.get_rng_state_all())}
    numpy_state = np.random.get_state(legacy=False)
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    version, words, gauss = random.getstate()
    return tensors, {"numpy": numpy_state, "python": [version, list(words), gauss]}


def restore(tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Put the states back that :func:`capture` took."""
    torch.set_rng_state(tensors["cpu"])
    for name in tensors.keys() - {"cpu"}:
        torch.cuda.set_rng_state(tensors[name], int(name.removeprefix("cuda")))
    key = np.array(numbers["numpy"]["state"]["key"], dtype=np.uint32)
    np.random.set_state({**numbers["numpy"], "state": {**numbers["numpy"]["state"], "key": key}})
    version, words, gauss = numbers["python"]
    random.setstate((version, tuple(words), gauss))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed every generator for a block, and leave them afterwards as they were."""
    before = capture()
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        yield
    finally:
        restore(*before)
