"""One LSTM layer on the CPU: the native engine beside torch, in turn in one process.

Run ``python -m benchmarks.layer [--rounds 7] [--engine native] [--case NAME] [--json FILE]`` from the
repository's root. Results are checked against the float64 reference before anything is timed.
For the "tuned" columns of the notes start it with MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=17179869184
MALLOC_TOP_PAD_=268435456 in the environment, which keeps torch from giving its memory back after each call.
"""

import argparse
import json
import platform
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lstmkit import nn
from lstmkit.core import native_status


@dataclass(frozen=True)
class Case:
    """T, B, I, H; whether gradients are wanted; whether rows have lengths of 10 to 100 %."""

    sizes: tuple[int, int, int, int]
    train: bool = True
    lengths: bool = False
    bidirectional: bool = False


CASES = {
    "train 96,1024,64,64": Case((96, 1024, 64, 64)),
    "train 96,1024,32,32": Case((96, 1024, 32, 32)),
    "train 96,1024,8,64": Case((96, 1024, 8, 64)),
    "train 96,32,64,64": Case((96, 32, 64, 64)),
    "train 96,64,256,256": Case((96, 64, 256, 256)),
    "train 100,64,512,512": Case((100, 64, 512, 512)),
    "infer 96,1024,64,64": Case((96, 1024, 64, 64), train=False),
    "packed train 100,32,128,128": Case((100, 32, 128, 128), lengths=True),
    "bidirectional train 100,32,128,128": Case((100, 32, 128, 128), bidirectional=True),
}
ACCURACY = {"output": 1e-6, "gradient": 1e-5}


def make_run(case: Case, engine: str, dtype: torch.dtype = torch.float32) -> Callable[[], list[Tensor]]:
    T, B, I, H = case.sizes  # noqa: E741
    torch.manual_seed(0)
    layer = nn.LSTM(I, H, bidirectional=case.bidirectional, engine=engine).to(dtype)
    x, dy = torch.randn(T, B, I), torch.randn(T, B, H * (1 + case.bidirectional))
    lengths = torch.linspace(0.1 * T, T, B).long().clamp(1, T) if case.lengths else None
    x, dy = x.to(dtype).requires_grad_(case.train), dy.to(dtype)

    def run() -> list[Tensor]:
        with torch.set_grad_enabled(case.train):
            output, _ = layer(x, lengths=lengths)
            if not case.train:
                return [output]
            return [output, *torch.autograd.grad(output, [x, *layer.parameters()], dy)]

    return run


def check(case: Case, engine: str) -> dict[str, float]:
    """Largest difference from the float64 reference relative to the largest number, of output and gradients."""
    small = Case((min(case.sizes[0], 12), min(case.sizes[1], 40), *case.sizes[2:]), *list(vars(case).values())[1:])
    actual, expected = (
        [value.detach() for value in make_run(small, *options)()]
        for options in ((engine,), ("reference", torch.float64))
    )
    errors = [float((a - e).abs().max() / e.abs().max()) for a, e in zip(actual, expected, strict=True)]
    # Rounding grows with the square root of a sum's length.
    length = max(1.0, (case.sizes[2] + case.sizes[3]) / 64) ** 0.5
    found = {"output": errors[0], "gradient": max(errors[1:], default=0.0)}
    for name, error in found.items():
        if error > ACCURACY[name] * length:
            raise SystemExit(f"{engine}: the {name} is off by {error:.1e}; nothing was timed")
    return found


def seconds(run: Callable[[], list[Tensor]], at_least: float = 0.15) -> tuple[float, float]:
    """Median seconds of a call and page faults per call."""
    times: list[float] = []
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    while sum(times) < at_least or len(times) < 2:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return statistics.median(times), faults / len(times)


def measure(name: str, case: Case, engines: tuple[str, str], rounds: int) -> dict[str, Any]:
    errors = {engine: check(case, engine) for engine in engines}
    runs = {engine: make_run(case, engine) for engine in engines}
    for run in runs.values():
        run()
    found = [{engine: seconds(run) for engine, run in runs.items()} for _ in range(rounds)]
    ours, theirs = engines
    ratios = sorted(each[theirs][0] / each[ours][0] for each in found)
    T, B, I, H = case.sizes  # noqa: E741
    work = (3 if case.train else 1) * 8 * T * B * H * (I + H) * (1 + case.bidirectional)
    median = {engine: statistics.median(each[engine][0] for each in found) for engine in engines}
    return {
        "case": name,
        "milliseconds": {engine: 1e3 * value for engine, value in median.items()},
        "ratio": statistics.median(ratios),
        "spread": [ratios[0], ratios[-1]],
        "gigaflops": work / median[ours] / 1e9,
        "faults": {engine: statistics.median(each[engine][1] for each in found) for engine in engines},
        "errors": errors,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engine", default="native")
    parser.add_argument("--case", default="", help="only cases whose name holds this")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    machine = platform.processor() or platform.machine()
    print(f"{machine}, {torch.get_num_threads()} threads, {native_status().active}, torch {torch.__version__}")
    print(f"{'case':36} {given.engine:>9} {'torch':>9}   ratio (spread)        GF/s  faults ours/torch")
    rows = []
    for name, case in CASES.items():
        if given.case not in name:
            continue
        row = measure(name, case, (given.engine, "torch"), given.rounds)
        rows.append(row)
        ms, faults = row["milliseconds"], row["faults"]
        spread = "({:.2f}-{:.2f})".format(*row["spread"])
        print(
            f"{name:36} {ms[given.engine]:7.2f}ms {ms['torch']:7.2f}ms   {row['ratio']:5.2f} {spread:13}"
            f" {row['gigaflops']:7.0f}  {faults[given.engine]:.0f}/{faults['torch']:.0f}",
            flush=True,
        )
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
