"""``python -m benchmarks.scan``: training of layers without products in their recurrence, beside our LSTM, in one run.

Each layer's output and gradients are checked against its step-by-step form first. Then all take turns, forward and
backward, and the table has the median of each: time per step, which should fall as sequences grow; LSTM's time over it;
and LSTM's operations over its own, which that ratio cannot reach while both multiply equally well. With ``--write`` the
tables go into docs/explanation/performance.md.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.machine import describe_machine
from benchmarks.pages import PERFORMANCE, write_between_markers
from benchmarks.report import machine_text
from lstmkit import nn
from lstmkit.core import native_status

LENGTHS = (64, 256, 1024, 4096)
INPUTS = (8, 128)
BATCH, HIDDEN = 8, 128
GOAL = 4.0
# Of float32, relative to the largest number: exponential gates amplify rounding from step to step.
TOLERANCE = 1e-4
CHECKED_STEPS = 150

# Multiply-adds of a step and row forward, from inputs and units; backward needs twice as many. What an engine computes
# again is not counted.
Count = Callable[[int, int], int]


class Contender(NamedTuple):
    name: str
    make: Callable[..., Any]
    count: Count


def _mlstm(heads: int) -> Count:
    def count(inputs: int, H: int) -> int:
        return (4 * H + 2 * heads) * inputs + 2 * H * H // heads

    return count


# The heads of an mLSTM decide how much it multiplies: each has a memory of its own, H / heads units wide and high.
CONTENDERS = (
    Contender("LSTM", lambda inputs, H: nn.LSTM(inputs, H, engine="native"), lambda inputs, H: 4 * H * (inputs + H)),
    Contender("MinLSTM", nn.MinLSTM, lambda inputs, H: 3 * H * inputs),
    Contender("MinGRU", nn.MinGRU, lambda inputs, H: 2 * H * inputs),
    Contender("MLSTM, 1 head", nn.MLSTM, _mlstm(1)),
    *(Contender(f"MLSTM, {heads} heads", partial(nn.MLSTM, num_heads=heads), _mlstm(heads)) for heads in (4, 8, 16)),
)


def train(layer: Any, x: Tensor, weights: Tensor) -> list[Tensor]:
    """Output and all gradients of one step of training."""
    output = layer(x)[0]
    return [output.detach(), *torch.autograd.grad(output, [x, *layer.parameters()], weights)]


def check(contender: Contender, inputs: int) -> float:
    """The largest difference between the layer and its step-by-step form.

    Raises:
        SystemExit: it is too large, so no time would mean anything.
    """
    layer, twin = (contender.make(inputs, HIDDEN, **form) for form in ({}, {"form": "recurrent"}))
    twin.load_state_dict(layer.state_dict())
    x = torch.randn(CHECKED_STEPS, BATCH, inputs, requires_grad=True)
    weights = torch.randn(CHECKED_STEPS, BATCH, HIDDEN)
    pairs = zip(train(layer, x, weights), train(twin, x, weights), strict=True)
    error = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    if not error <= TOLERANCE:
        raise SystemExit(f"{contender.name} is wrong: off by {error:.1e} from its step-by-step form")
    return error


def measure(steps: int, inputs: int, rounds: int, with_dx: bool) -> list[dict[str, Any]]:
    """All contenders at one length, in turn."""
    x = torch.randn(steps, BATCH, inputs, requires_grad=with_dx)
    weights = torch.randn(steps, BATCH, HIDDEN)
    layers = {contender.name: contender.make(inputs, HIDDEN) for contender in CONTENDERS}
    times: dict[str, list[float]] = {name: [] for name in layers}
    for turn in range(rounds + 1):
        for name, layer in layers.items():
            start = time.perf_counter()
            layer(x)[0].backward(weights)
            if turn:  # the first one takes memory
                times[name].append(time.perf_counter() - start)
            x.grad = None
            layer.zero_grad(set_to_none=True)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    lstm = CONTENDERS[0]
    return [
        {
            "layer": name,
            "inputs": inputs,
            "steps": steps,
            "microseconds_per_step": 1e6 * seconds[name] / steps,
            "ratio": seconds[lstm.name] / seconds[name],
            "operations_ratio": lstm.count(inputs, HIDDEN) / count(inputs, HIDDEN),
        }
        for name, _, count in CONTENDERS
    ]


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """One line per layer, one column per length."""
    lengths = sorted({row["steps"] for row in rows})
    yield f"{'us per step, (LSTM / it)':24}" + "".join(f"{f'T = {T}':>18}" for T in lengths) + f"{'operations':>14}"
    for name, *_ in CONTENDERS:
        own = {row["steps"]: row for row in rows if row["layer"] == name}
        cells = [f"{own[T]['microseconds_per_step']:.2f} ({own[T]['ratio']:.2f}x)" for T in lengths]
        operations = own[lengths[-1]]["operations_ratio"]
        yield f"{name:24}" + "".join(f"{cell:>18}" for cell in cells) + f"{operations:>13.2f}x"


def verdicts(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Whether each layer does what it should: cheaper steps in longer sequences, 4 times as fast as LSTM at last."""
    for name, *_ in CONTENDERS[1:]:
        own = [row for row in rows if row["layer"] == name]
        costs = [row["microseconds_per_step"] for row in own]
        falls = all(later <= 1.05 * earlier for earlier, later in pairwise(costs))
        met = "met" if own[-1]["ratio"] >= GOAL else "missed"
        yield f"{name}: cost per step {'falls' if falls else 'rises'}; {GOAL:.0f}x {met} with {own[-1]['ratio']:.2f}x"


def page(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The same for the docs, one table per number of inputs, the verdict beside each layer."""
    for inputs in sorted({row["inputs"] for row in rows}):
        own = [row for row in rows if row["inputs"] == inputs]
        lengths = sorted({row["steps"] for row in own})
        heads = [f"I = {inputs}", *(f"T = {T:,}" for T in lengths), "operations", "verdict"]
        yield from ("", f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads))
        said = dict(line.split(": ", 1) for line in verdicts(own))
        for name, *_ in CONTENDERS:
            times = {row["steps"]: row for row in own if row["layer"] == name}
            cells = [f"{times[T]['microseconds_per_step']:.2f} (**{times[T]['ratio']:.2f}x**)" for T in lengths]
            operations = f"{times[lengths[-1]]['operations_ratio']:.2f}x"
            yield f"| {' | '.join([name, *cells, operations, said.get(name, '')])} |"


def main() -> None:
    """Check, measure, print; write JSON and the docs where they are asked for."""
    given = _parse()
    if not native_status().available:
        raise SystemExit(f"there is no native core to measure: {native_status().reason}")
    machine = describe_machine()
    every: list[dict[str, Any]] = []
    for inputs in given.inputs:
        torch.manual_seed(0)
        for contender in CONTENDERS[1:]:
            print(f"{contender.name} is right to {check(contender, inputs):.0e}")
        print(f"B = {BATCH}, I = {inputs}, H = {HIDDEN}, float32, {torch.get_num_threads()} threads")
        rows = [row for T in given.lengths for row in measure(T, inputs, given.rounds, not given.no_dx)]
        print(*table(rows), *verdicts(rows), sep="\n")
        every += rows
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "rows": every}, indent=1))
    if given.write:
        head = f"{machine_text(machine)} Training steps, B, H = {BATCH}, {HIDDEN}, float32."
        write_between_markers(PERFORMANCE, "scan", "\n".join([head, *page(every)]))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scan", description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="steps of the sequences")
    parser.add_argument("--inputs", type=int, nargs="+", default=INPUTS, help="features per step, I; a table for each")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each")
    parser.add_argument("--no-dx", action="store_true", help="the input is data: nobody wants its gradient")
    parser.add_argument("--json", type=Path, help="where the results go")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/explanation/performance.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
