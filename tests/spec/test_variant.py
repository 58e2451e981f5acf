"""Options of a variant that cannot be, or exclude each other, are refused with the reason and the alternative."""

from typing import Any

import pytest

from lstmkit import nn
from lstmkit.spec import CellSpec, OptionError, Variant

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"forget_gate": "none"}, "forget_gate must be one of free, one, coupled, not 'none'"),
    ({"output_gate": "coupled"}, "output_gate must be one of free, one, not 'coupled'"),
    ({"input_gate": 1}, "input_gate must be one of"),
    ({"input_gate": "coupled", "forget_gate": "coupled"}, "cannot both be coupled: one of them must be free"),
    ({"input_gate": "one", "forget_gate": "coupled"}, "would be zero forever; let the other be free"),
    ({"input_gate": "coupled", "forget_gate": "one"}, "would be zero forever"),
    ({"peepholes": True}, "peepholes must be letters of i, f and o, such as 'ifo', not True"),
    ({"peepholes": "ig"}, "peepholes must be letters"),
    ({"peepholes": "ii"}, "peepholes must be letters"),
    (
        {"peepholes": "ifo", "forget_gate": "one"},
        "a peephole into f needs that gate, but forget_gate is 'one'; there could be peepholes='io'",
    ),
    ({"peepholes": "i", "input_gate": "coupled"}, "a peephole into i needs that gate, but input_gate is 'coupled'"),
    (
        {"full_gate_recurrence": True, "input_gate": "one", "forget_gate": "one", "output_gate": "one"},
        "full_gate_recurrence needs a gate that is free; here none is",
    ),
    ({"full_gate_recurrence": 1}, "full_gate_recurrence must be True or False, not 1"),
    ({"layer_norm": True}, "layer_norm must be None or one of ba, ba_feedback, per_gate, per_gate_feedback, not True"),
    ({"layer_norm": ["ba"]}, "layer_norm must be None or one of"),
    ({"gate_activation": "swish"}, "gate_activation must be one of sigmoid, .*hard_shrink, not 'swish'"),
    ({"cell_activation": ("relu", 1, 2)}, "cell_activation: 'relu' takes no constants, not 2"),
    ({"cell_activation": ("tanh", 1)}, "'tanh' takes two constants, alpha and beta, not 1"),
    ({"cell_activation": ["elu"]}, "'elu' takes one constant, alpha, not 0"),
    ({"cell_activation": ("elu", 1, 2)}, "'elu' takes one constant, alpha, not 2"),
    ({"cell_activation": ("tanh", 1, float("nan"))}, "must be a name, or a name with its constants"),
    ({"cell_activation": ("elu", True)}, "must be a name, or a name with its constants"),
    ({"cell_activation": ("elu", "1")}, "must be a name, or a name with its constants"),
    ({"cell_activation": ()}, "must be a name, or a name with its constants"),
    ({"candidate_activation": None}, "candidate_activation must be a name"),
    ({"cell_clip": 0}, "cell_clip must be None or a bound above 0, not 0"),
    ({"gate_clip": True}, "gate_clip must be None or a bound above 0, not True"),
    ({"gate_clip": float("inf")}, "gate_clip must be None or a bound above 0, not inf"),
    ({"zoneout_h": 1}, r"zoneout_h must be a probability in \[0, 1\), not 1; at 1 no unit would ever change"),
    ({"zoneout_c": -0.1}, r"zoneout_c must be a probability in \[0, 1\), not -0.1"),
    ({"zoneout_c": float("nan")}, "zoneout_c must be a probability"),
    ({"proj_bias": True}, "proj_bias belongs to a projection; give proj_size too"),
    ({"proj_clip": 1.0}, "proj_clip belongs to a projection"),
    ({"peephole": "ifo"}, "an LSTM has no options 'peephole'; it knows: .*peepholes"),
    ({"skip": "dense"}, "skip must be 'none' or 'residual' or 'highway', not 'dense'"),
    ({"skip": "residual"}, "needs num_layers of at least 2"),
    ({"hidden_size": [4, 5], "skip": "highway"}, r"needs layers of one size, not \(4, 5\); a proj_size makes"),
    ({"hidden_size": []}, "hidden_size names 0 layers"),
    ({"hidden_size": [4, 0]}, "hidden_size must be a whole number of at least 1, not 0"),
    ({"hidden_size": [0, 4]}, r"sizes of layers must be whole numbers of at least 1, not \(0, 4\)"),
    ({"hidden_size": [4, 5], "num_layers": 3}, "hidden_size names 2 layers, num_layers 3"),
    ({"hidden_size": [4, 6], "proj_size": 5}, "proj_size must be smaller than hidden_size, not 5 >= 4"),
    ({"forget_bias": 1.0, "forget_gate": "coupled"}, "needs a forget gate with weights of its own, but .* 'coupled'"),
    ({"init": "chrono", "t_max": 9, "forget_gate": "one"}, "forget_gate is 'one': they never do"),
    ({"checkpoint_steps": 4, "peepholes": "o"}, "checkpoint_steps is there for the plain LSTM; .* with peepholes"),
    ({"checkpoint_steps": 4, "state_dropout": 0.1}, "does not go with state_dropout"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=str)
def test_layer__rejects_impossible_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        nn.LSTM(**({"input_size": 3, "hidden_size": 5} | options))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"variant": [1]}, "a cell's variant must be its options by name"),
        ({"variant": {"peepholes": 3}}, "peepholes must be letters"),
        ({"variant": {"layer_norm": {}}}, "layer_norm must be None"),
        ({"variant": {"forget_gate": []}}, "forget_gate must be one of"),
        ({"variant": {"cell_activation": [[], 1, 2]}}, "cell_activation must be a name"),
        ({"layer_sizes": 3}, "layer_sizes a list"),
        ({"layer_sizes": [5, "x"], "num_layers": 2}, "sizes of layers must be whole numbers"),
        ({"layer_sizes": [5, 4], "num_layers": 2}, "must name 2 sizes, of which the last is 5"),
        (
            {"cell": "gru", "variant": {"peepholes": "o"}},
            "the cell 'gru' has no option peepholes; it has: reset_after, gate_activation",
        ),
    ],
    ids=str,
)
def test_document__rejects_hostile(document: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CellSpec.from_dict({"input_size": 3, "hidden_size": 5} | document)


def test_sizes__equal_plain__where_they_agree() -> None:
    assert CellSpec(3, 5, 2, layer_sizes=(5, 5)) == CellSpec(3, 5, 2)
    assert nn.LSTM(3, [5, 5]).spec == nn.LSTM(3, 5, 2).spec
    assert repr(nn.LSTM(3, [4, 5])) == "LSTM(3, [4, 5], num_layers=2)"


def test_plain__equals_no_changes() -> None:
    assert Variant(cell_activation=("tanh", 1.0, 1.0)).changes() == {}
    assert "variant" not in CellSpec(3, 5).to_dict()
