"""Eleven bugs that recurrent code has really had, each as a wrong ``run_sequence``."""

from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from lstmkit.reference import CELLS, SequenceResult, Weights, layer, run_sequence
from lstmkit.spec import CellSpec

Run = Callable[..., SequenceResult]
Parameters = Mapping[str, Tensor]


def _reorder(order: tuple[int, ...]) -> Callable[[Parameters], dict[str, Tensor]]:
    def change(parameters: Parameters) -> dict[str, Tensor]:
        return {
            name: value if "hr" in name else torch.cat([value.chunk(4)[k] for k in order])
            for name, value in parameters.items()
        }

    return change


def _drop_recurrent_bias(parameters: Parameters) -> dict[str, Tensor]:
    return {name: value * 0 if "bias_hh" in name else value for name, value in parameters.items()}


def _share_directions(parameters: Parameters) -> dict[str, Tensor]:
    return {name: parameters[name.removesuffix("_reverse")] for name in parameters}


def _with_parameters(change: Callable[[Parameters], dict[str, Tensor]]) -> Run:
    def run(xp: Any, spec: CellSpec, parameters: Parameters, *args: Any, **options: Any) -> SequenceResult:
        return run_sequence(xp, spec, change(parameters), *args, **options)

    return run


def with_step(candidate: Callable[[Tensor], Tensor], squash: Callable[[Tensor], Tensor]) -> Run:
    def step(
        xp: Any, from_input: Tensor, state: tuple[Tensor, ...], w: Weights
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        h, c = state
        i, f, g, o = (from_input + h @ w.recurrent.T).chunk(4, 1)
        gates = (i.sigmoid(), f.sigmoid(), candidate(g), o.sigmoid())
        c = gates[1] * c + gates[0] * gates[2]
        h = gates[3] * squash(c)
        return h, (h, c), gates

    def run(*args: Any, **options: Any) -> SequenceResult:
        with patch.dict(CELLS, lstm=CELLS["lstm"]._replace(step=step)):
            return run_sequence(*args, **options)

    return run


def _never_reverse(*args: Any, **options: Any) -> SequenceResult:
    real = layer._run_direction
    with patch.object(layer, "_run_direction", lambda *a, **k: real(*a, **{**k, "backwards": False})):
        return run_sequence(*args, **options)


def _repeat_first_half(*args: Any, **options: Any) -> SequenceResult:
    result = run_sequence(*args, **options)
    half = result.output.shape[2] // 2
    return result._replace(output=torch.cat([result.output[:, :, :half]] * 2, 2))


def _swap_states(
    xp: Any, spec: CellSpec, parameters: Parameters, x: Tensor, state: Any, **options: Any
) -> SequenceResult:
    return run_sequence(xp, spec, parameters, x, (state[1], state[0]), **options)


def _ignore_state(
    xp: Any, spec: CellSpec, parameters: Parameters, x: Tensor, state: Any, **options: Any
) -> SequenceResult:
    return run_sequence(xp, spec, parameters, x, None, **options)


def _leak_padding(*args: Any, lengths: Any = None, **options: Any) -> SequenceResult:
    return run_sequence(*args, **options)


MUTANTS: dict[str, Run] = {
    "i and f swapped": _with_parameters(_reorder((1, 0, 2, 3))),
    "g and o swapped": _with_parameters(_reorder((0, 1, 3, 2))),
    "sigmoid on the candidate": with_step(torch.sigmoid, torch.tanh),
    "no tanh on the output": with_step(torch.tanh, lambda c: c),
    "recurrent bias dropped": _with_parameters(_drop_recurrent_bias),
    "backward direction not reversed": _never_reverse,
    "directions share weights": _with_parameters(_share_directions),
    "second half repeats the first": _repeat_first_half,
    "h and c swapped": _swap_states,
    "initial state ignored": _ignore_state,
    "padding leaks": _leak_padding,
}
