"""The parameters of a cell as the native core takes them, by torch operations through which gradients flow back.

The core has one layout per kind of cell: gates without weights have rows of zeros, a bias is one vector for all sums,
and what options need is named. docs/explanation/core.md says which sums a cell has.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lstmkit.spec import CellSpec, Variant, activation_constants

# The core's heads end with a vector of any of its instruction sets.
_LARGEST_VECTOR = 16

_GATES = ("i", "f", "g", "o")


class CoreWeights(NamedTuple):
    """One direction of a layer as the core takes it."""

    tensors: dict[str, Tensor]
    """``input``, ``recurrent``; where there are any ``bias``, ``projection``, ``middle``, ``rounds``, vectors."""

    options: dict[str, Any]
    """What the core is told beside tensors; ``heads``, ``rounds`` and their ``rank`` too."""


def core_weights(spec: CellSpec, parameters: Mapping[str, Tensor]) -> CoreWeights:
    """Arrange one direction's parameters, by their names without endings, for the core."""
    return _ARRANGERS[spec.cell](spec, parameters)


def _arrange_lstm(spec: CellSpec, p: Mapping[str, Tensor]) -> CoreWeights:
    v, gates = spec.variant, spec.variant.gates_with_weights
    bias = spread(p["bias_ih"] + p["bias_hh"], gates) if spec.bias else None
    tensors = {"input": spread(p["weight_ih"], gates), "recurrent": spread(p["weight_hh"], gates)}
    tensors |= {"bias" if v.norm is None else "norm_bias": bias} if bias is not None else {}
    tensors |= {"projection": p["weight_hr"]} if "weight_hr" in p else {}
    tensors |= {"proj_bias": p["bias_hr"]} if "bias_hr" in p else {}
    if v.peephole_gates:
        own = p["weight_ch"].chunk(len(v.peephole_gates))
        tensors |= {f"peephole_{gate}": weight for gate, weight in zip(v.peephole_gates, own, strict=True)}
    tensors |= {name: spread(p[name], gates) for name in ("gain_ih", "gain_hh", "gain_gates") if name in p}
    tensors |= {name: p[name] for name in ("gain_c", "bias_c") if name in p}
    if v.full_gate_recurrence:
        columns = spread(p["weight_gates"], v.free_gates, ("i", "f", "o"), 1)
        tensors |= {"middle": spread(columns, v.free_gates)}
    return CoreWeights(tensors, {"cell": "lstm", **_variant_options(v)})


@cache
def _variant_options(v: Variant) -> Mapping[str, Any]:
    """What differs from the plain LSTM, which the core takes for granted."""
    return {name: value for name, value in _all_options(v).items() if value != _all_options(Variant()).get(name)}


def _all_options(v: Variant) -> dict[str, Any]:
    options: dict[str, Any] = {name: getattr(v, name) for name in ("input_gate", "forget_gate", "output_gate")}
    for name in ("gate_activation", "candidate_activation", "cell_activation"):
        curve, *constants = activation_constants(getattr(v, name))
        options[name] = (curve, *(constants or (1.0, 0.0)))
    options |= {name: getattr(v, name) for name in ("gate_clip", "cell_clip", "proj_clip", "zoneout_h", "zoneout_c")}
    if v.norm is not None:
        options |= {
            "norm": "gates" if v.norm.per_gate else "products",
            "cell_norm": v.norm.cell,
            "epsilon": v.norm.epsilon,
        }
    return options | {"gates_recur": v.full_gate_recurrence}


def spread(rows: Tensor, gates: tuple[str, ...], to: tuple[str, ...] = _GATES, dim: int = 0) -> Tensor:
    """Rows of gates that have weights, along ``dim``, with zeros for those of ``to`` that have none."""
    if gates == to:
        return rows
    own = dict(zip(gates, rows.chunk(len(gates), dim), strict=True))
    nothing = torch.zeros_like(own[gates[0]])
    return torch.cat([own.get(gate, nothing) for gate in to], dim)


def _arrange_lstm1997(spec: CellSpec, p: Mapping[str, Tensor]) -> CoreWeights:
    """Its squashing functions are those of tanh: 4 sigmoid(z) - 2 = 2 tanh(z / 2), 2 sigmoid(z) - 1 half of that."""
    variant = Variant(forget_gate="one", candidate_activation=("tanh", 2.0, 0.5), cell_activation=("tanh", 1.0, 0.5))
    tensors = {name: spread(p[own], variant.gates_with_weights) for name, own in _one_bias(spec).items()}
    return CoreWeights(tensors, {"cell": "lstm", "truncates": True, **_variant_options(variant)})


def _arrange_entity_aware(spec: CellSpec, p: Mapping[str, Tensor]) -> CoreWeights:
    """An LSTM whose input gate sees the static features, the last of its input, and nothing else."""
    H, E = p["weight_sh"].shape
    own, recurrent = p["weight_ih"], p["weight_hh"]
    gate = torch.cat([own.new_zeros(H, own.shape[1]), p["weight_sh"]], 1)
    tensors = {
        "input": torch.cat([gate, torch.cat([own, own.new_zeros(own.shape[0], E)], 1)]),
        "recurrent": torch.cat([recurrent.new_zeros(H, recurrent.shape[1]), recurrent]),
    }
    if spec.bias:
        tensors["bias"] = torch.cat([p["bias_sh"], p["bias_ih"]])
    return CoreWeights(tensors, {"cell": "lstm", **_variant_options(Variant())})


def _arrange_gru(spec: CellSpec, p: Mapping[str, Tensor]) -> CoreWeights:
    """The sums are the candidate's of the input, r, z, and the candidate's of the output before."""
    if not spec.reset_after:
        return _arrange_gru_before(spec, p)
    H = spec.hidden_size
    tensors = {"input": p["weight_ih"].roll(H, 0), "recurrent": p["weight_hh"]}
    if spec.bias:
        own, recurrent = p["bias_ih"], p["bias_hh"]
        tensors["bias"] = torch.cat([own[2 * H :], own[: 2 * H] + recurrent[: 2 * H], recurrent[2 * H :]])
    return CoreWeights(tensors, {"cell": "gru", **_variant_options(spec.variant)})


def _arrange_gru_before(spec: CellSpec, p: Mapping[str, Tensor]) -> CoreWeights:
    """What is reset goes into a product of its own."""
    recurrent, middle = p["weight_hh"].split([2 * spec.hidden_size, spec.hidden_size])
    tensors = {"input": p["weight_ih"], "recurrent": recurrent, "middle": middle}
    tensors |= {"bias": p["bias_ih"] + p["bias_hh"]} if spec.bias else {}
    return CoreWeights(tensors, {"cell": "gru_before", **_variant_options(spec.variant)})


def _arrange_multiplicative(spec: CellSpec, p: Mapping[str, Tensor]) -> CoreWeights:
    """The sums are both factors of m, of the output before and of the input, then the gates."""
    own = p["weight_ih"]
    tensors = {"input": torch.cat([p["weight_im"], own]), "recurrent": p["weight_hm"], "middle": p["weight_mh"]}
    tensors |= {"bias": torch.cat([own.new_zeros(2 * spec.hidden_size), p["bias_ih"]])} if spec.bias else {}
    return CoreWeights(tensors, {"cell": "multiplicative"})


def _arrange_mogrifier(spec: CellSpec, p: Mapping[str, Tensor]) -> CoreWeights:
    """A plain LSTM, and before it the matrices of the rounds, odd ones first."""
    parts = ("_right", "_left") if spec.rank else ("",)
    odd, even = (torch.cat([p[f"weight_{name}{part}"].flatten(1) for part in parts], 1) for name in "qr")
    tensors = {name: p[own] for name, own in _one_bias(spec).items()} | {"rounds": torch.cat([odd, even])}
    return CoreWeights(tensors, {"rounds": spec.rounds, "rank": spec.rank})


def _arrange_time_aware(spec: CellSpec, p: Mapping[str, Tensor]) -> CoreWeights:
    """The sums are those of the short-term memory, of the gates, and of the time that has passed, last in the input."""
    own, H = p["weight_ih"], spec.hidden_size
    passed = torch.cat([own.new_zeros(H, own.shape[1]), own.new_ones(H, 1)], 1)
    tensors = {
        "input": torch.cat([torch.nn.functional.pad(own, (0, 1)), passed]),
        "recurrent": p["weight_hh"],
        "middle": p["weight_d"],
    }
    tensors |= {"bias": torch.cat([p["bias_d"], p["bias_ih"], own.new_zeros(H)])} if spec.bias else {}
    return CoreWeights(tensors, {"cell": "time_aware"})


def _arrange_phased(spec: CellSpec, p: Mapping[str, Tensor]) -> CoreWeights:
    """The sums are the gates and, of the time alone, the turns that a unit's rhythm has made."""
    own = p["weight_ih"]
    pace = torch.exp(-p["log_period"])
    turns = torch.cat([own.new_zeros(own.shape[1], len(pace)), pace[None]]).T
    start = -p["shift"] * pace
    tensors = {
        "input": torch.cat([torch.nn.functional.pad(own, (0, 1)), turns]),
        "recurrent": p["weight_hh"],
        "bias": torch.cat([p["bias_ih"] if spec.bias else own.new_zeros(own.shape[0]), start]),
        "ratio": torch.sigmoid(p["ratio_logit"]),
    }
    return CoreWeights(tensors, {"cell": "phased", "leak": spec.leak})


def _arrange_on_lstm(spec: CellSpec, p: Mapping[str, Tensor]) -> CoreWeights:
    """The masters stand in the first units of sums of their own."""
    H, M = spec.hidden_size, spec.hidden_size // spec.chunk_size
    names = {"input": "weight{}_ih", "recurrent": "weight{}_hh"} | ({"bias": "bias{}_ih"} if spec.bias else {})
    tensors = {}
    for name, own in names.items():
        gates, masters = p[own.format("")], p[own.format("_master")].unflatten(0, (2, M))
        rest = masters.new_zeros(2, H - M, *masters.shape[2:])
        tensors[name] = torch.cat([gates, torch.cat([masters, rest], 1).flatten(0, 1)])
    return CoreWeights(tensors, {"cell": "on_lstm", "chunk_size": spec.chunk_size})


def _arrange_rnn(spec: CellSpec, p: Mapping[str, Tensor]) -> CoreWeights:
    tensors = {"input": p["weight_ih"], "recurrent": p["weight_hh"]}
    tensors |= {"bias": p["bias_ih"] + p["bias_hh"]} if spec.bias else {}
    variant = replace(spec.variant, candidate_activation=spec.nonlinearity)
    return CoreWeights(tensors, {"cell": "rnn", **_variant_options(variant)})


def _arrange_janet(spec: CellSpec, p: Mapping[str, Tensor]) -> CoreWeights:
    return CoreWeights({name: p[own] for name, own in _one_bias(spec).items()}, {"cell": "janet", "beta": spec.beta})


def _arrange_slstm(spec: CellSpec, p: Mapping[str, Tensor]) -> CoreWeights:
    tensors = {name: p[own] for name, own in _one_bias(spec).items()}
    H, heads = spec.hidden_size, spec.num_heads
    S = H // heads
    if heads > 1 and S % _LARGEST_VECTOR:
        # One head that sees all, of which it reads its own part.
        blocks = p["weight_hh"].reshape(4, heads, S, S)
        eye = torch.eye(heads, dtype=blocks.dtype, device=blocks.device)
        tensors["recurrent"] = torch.einsum("gnsk,nm->gnsmk", blocks, eye).reshape(4 * H, H)
        heads = 1
    return CoreWeights(tensors, {"cell": "slstm", "heads": heads})


def _one_bias(spec: CellSpec) -> dict[str, str]:
    return {"input": "weight_ih", "recurrent": "weight_hh"} | ({"bias": "bias_ih"} if spec.bias else {})


_ARRANGERS: dict[str, Callable[[CellSpec, Mapping[str, Tensor]], CoreWeights]] = {
    "lstm": _arrange_lstm,
    "lstm1997": _arrange_lstm1997,
    "entity_aware": _arrange_entity_aware,
    "gru": _arrange_gru,
    "rnn": _arrange_rnn,
    "janet": _arrange_janet,
    "slstm": _arrange_slstm,
    "multiplicative": _arrange_multiplicative,
    "mogrifier": _arrange_mogrifier,
    "time_aware": _arrange_time_aware,
    "phased": _arrange_phased,
    "on_lstm": _arrange_on_lstm,
}
