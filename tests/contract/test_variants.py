"""What is asked of the options of the LSTM beside the contract of the family: names, and what the core streams."""

import json
from pathlib import Path

import pytest
import torch
from helpers.specs import ALONE_SPECS, make_spec

import lstmkit
from lstmkit import nn
from lstmkit.spec import CellSpec, EngineError


def test_state_dict__equals_torch__plain() -> None:
    ours, theirs = nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2), torch.nn.LSTM(3, 4, 2, False, proj_size=2)
    assert [name for name in ours.state_dict() if "reverse" not in name and "bias" not in name] == list(
        theirs.state_dict()
    )


@pytest.mark.parametrize("spec", ALONE_SPECS.values(), ids=ALONE_SPECS)
def test_state_dict__equals_specification(spec: CellSpec) -> None:
    layer = nn.build(spec)
    assert {name: tuple(value.shape) for name, value in layer.state_dict().items()} == spec.parameter_shapes()
    assert layer.spec == spec
    assert CellSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    for option in spec.variant.changes():
        assert f"{option}=" in repr(layer)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_stream__rejects_precision__that_needs_the_core(precision: str, tmp_path: Path) -> None:
    nn.save_model(tmp_path / "m.safetensors", nn.build(make_spec(peepholes="o")))
    with pytest.raises(EngineError, match=f"{precision} needs the native core, which runs the plain LSTM alone"):
        lstmkit.load(tmp_path / "m.safetensors").stream(precision=precision)  # pyright: ignore
