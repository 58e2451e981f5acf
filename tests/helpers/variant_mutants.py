"""Bugs that an LSTM with options could have: as the wrong option, or as a wrong piece of the reference."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from lstmkit.reference import lstm_variant, sequence

Options = dict[str, Any]

# Name -> what is asked for, what is done instead; both have the same parameters.
WRONG_OPTIONS: dict[str, tuple[Options, Options]] = {
    "coupled the other way": ({"forget_gate": "coupled"}, {"input_gate": "coupled"}),
    "forget gate for input gate": ({"forget_gate": "one"}, {"input_gate": "one"}),
    "normalised cell does not recur": ({"layer_norm": "ba_feedback"}, {"layer_norm": "ba"}),
    "normalised cell recurs": ({"layer_norm": "ba"}, {"layer_norm": "ba_feedback"}),
    "rates of zoneout exchanged": ({"zoneout_h": 0.1, "zoneout_c": 0.4}, {"zoneout_h": 0.4, "zoneout_c": 0.1}),
    "zoneout keeps what it should change": ({"zoneout_c": 0.3}, {"zoneout_c": 0.7}),
    "no expectation of zoneout": ({"zoneout_h": 0.1}, {}),
    "the older hard sigmoid": (
        {"gate_activation": "hard_sigmoid"},
        {"gate_activation": ("hard_sigmoid", 0.2, 0.5)},
    ),
    "alpha forgotten": ({"candidate_activation": ("elu", 0.5)}, {"candidate_activation": "elu"}),
    "gelu by the logistic function": ({"cell_activation": "gelu"}, {"cell_activation": "silu"}),
    "candidate squashed": ({"candidate_activation": "identity"}, {}),
    "output squashed": ({"cell_activation": "identity"}, {}),
    "cell not clipped": ({"cell_clip": 0.4}, {}),
    "gates not clipped": ({"gate_clip": 0.4}, {}),
    "cell clipped for gates": ({"gate_clip": 0.4}, {"cell_clip": 0.4}),
    "residual forgotten": ({"skip": "residual", "num_layers": 2}, {"num_layers": 2}),
}


def _late_peephole() -> AbstractContextManager[Any]:
    """The output gate sees the cell state that the other gates saw."""
    real, seen = lstm_variant._gate, {}

    def gate(xp: Any, z: Any, letter: str, c: Any, w: Any) -> Any:
        seen[letter] = c
        return real(xp, z, letter, seen["f"] if letter == "o" else c, w)

    return patch.object(lstm_variant, "_gate", gate)


def _unbiased_variance(xp: Any, z: Any, w: Any) -> Any:
    z = z - z.mean(-1)[..., None]
    return z / xp.sqrt((z * z).sum(-1)[..., None] / max(z.shape[-1] - 1, 1) + w.variant.norm.epsilon)


def _piece(name: str, replacement: Any, module: Any = lstm_variant) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.object(module, name, replacement)


def _without(argument: int, name: str) -> Callable[[], AbstractContextManager[Any]]:
    """A piece that gives its argument back unchanged."""
    return _piece(name, lambda *arguments: arguments[argument])


def _layers_exchanged(spec: Any, state: Any) -> Any:
    return [tuple(value[k : k + 1] for value in state) for k in reversed(range(spec.num_layers))]


# Name -> what is asked for, and the piece that is broken meanwhile.
WRONG_PIECES: dict[str, tuple[Options, Callable[[], AbstractContextManager[Any]]]] = {
    "output gate sees the cell before": ({"peepholes": "ifo"}, _late_peephole),
    "peepholes forgotten": ({"peepholes": "f"}, _piece("_finish", lambda xp, z, gate, c, w: z)),
    "variance of n - 1": ({"layer_norm": "per_gate"}, _piece("_normalise", _unbiased_variance)),
    "cell read without norm": ({"layer_norm": "ba"}, _without(1, "_read")),
    "projection not clipped": ({"proj_size": 2, "proj_clip": 0.1}, _without(1, "clip")),
    "gates before forgotten": (
        {"full_gate_recurrence": True},
        _piece("_sums", lambda xp, x, h, before, *rest, real=lstm_variant._sums: real(xp, x, h, [], *rest)),
    ),
    "highway carries the layer alone": (
        {"skip": "highway", "num_layers": 2},
        _piece("pass_by", lambda *arguments: arguments[-1], sequence),
    ),
    "states of layers exchanged": (
        {"num_layers": 2, "peepholes": "o"},
        _piece("split_states", _layers_exchanged, sequence),
    ),
}
