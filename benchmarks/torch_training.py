"""Training as it is written in plain torch, in both of its precisions, in turn with ours."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

ROUNDS = 6


def train(
    module: nn.Module,
    loss: Callable[[Any], Tensor],
    batches: Iterable[Any],
    make_optimizer: Callable[[Any], torch.optim.Optimizer],
    *,
    clip: float = 1.0,
    bfloat16: bool = False,
) -> None:
    """A step for each batch; with ``bfloat16`` under autocast."""
    optimizer = make_optimizer(module.parameters())
    for batch in batches:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            value = loss(batch)
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()


def adamw(learning_rate: float) -> Callable[[Any], torch.optim.Optimizer]:
    """The fastest AdamW that torch has."""
    return lambda weights: torch.optim.AdamW(weights, lr=learning_rate, fused=True)


def take_turns(runs: Mapping[str, Callable[[], object]], count: int, unit: str) -> dict[str, float]:
    """How many units a second each run does, and how many times faster ``lstmkit`` is than the fastest other.

    Args:
        runs: By name; all are run in turn, several times, and the fastest time of each counts.
        count: Units of a run.
        unit: What they are, such as ``"words"``.
    """
    torch.set_num_threads(1)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    best = {name: min(times) for name, times in seconds.items()}
    ours = best["lstmkit"]
    return {
        **{f"{name}_{unit}_per_second": count / found for name, found in best.items()},
        **{f"times_{name}": found / ours for name, found in best.items() if name != "lstmkit"},
        "times_faster": min(found for name, found in best.items() if name != "lstmkit") / ours,
    }
