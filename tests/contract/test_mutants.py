"""A test of the tests: the hostile check must kill every seeded bug, and pass the real thing."""

from typing import Any

import pytest
import torch
from helpers.hostile import close, hostile, run_oracle, torch_layer
from helpers.mutants import MUTANTS, Run, with_step
from torch import Tensor

from lstmkit import nn
from lstmkit.ops import native_available
from lstmkit.reference import SequenceResult, run_sequence
from lstmkit.spec import CellSpec

SPEC = CellSpec(3, 5, num_layers=2, bidirectional=True)


DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["f64", "f32"])


def check(run: Run, *, nan_padding: bool, dtype: torch.dtype = torch.float64) -> None:
    """What the contract suite does to every engine, in short."""
    case = hostile(SPEC, dtype=dtype)
    x = case.x if nan_padding else case.clean + (torch.isnan(case.x) * 0.5)
    result = run(torch, SPEC, case.parameters, x, case.hx, lengths=case.lengths)
    expected = run_oracle(torch_layer(case), case, case.clean, case.hx)
    for actual, oracle in zip((result.output, *result.state), expected, strict=True):
        close(actual, oracle.detach())


@pytest.mark.parametrize("nan_padding", [True, False], ids=["nan", "finite"])
def test_hostile_check__matches_torch__unmutated(nan_padding: bool) -> None:
    check(run_sequence, nan_padding=nan_padding)


@DTYPES
@pytest.mark.parametrize("nan_padding", [True, False], ids=["nan", "finite"])
@pytest.mark.parametrize("name", MUTANTS)
def test_hostile_check__rejects_mutant(name: str, nan_padding: bool, dtype: torch.dtype) -> None:
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        check(MUTANTS[name], nan_padding=nan_padding, dtype=dtype)


def run_native(xp: Any, spec: CellSpec, parameters: Any, x: Tensor, state: Any, lengths: Tensor) -> Any:
    """The engine native in the shape of ``run_sequence``; ``parameters`` may be a mutant's."""
    layer = nn.LSTM(spec.input_size, spec.hidden_size, spec.num_layers, bidirectional=True, engine="native")
    layer.load_state_dict(parameters)
    with torch.no_grad():
        output, state = layer(x, state, lengths=lengths)
    return SequenceResult(output, state, None, None)


@pytest.mark.skipif(not native_available(), reason="the native core was not built")
@pytest.mark.parametrize("nan_padding", [True, False], ids=["nan", "finite"])
def test_hostile_check__matches_torch__native(nan_padding: bool) -> None:
    check(run_native, nan_padding=nan_padding, dtype=torch.float32)


def test_mutants__equals_eleven() -> None:
    assert len(MUTANTS) == 11


def test_mutated_step__matches_torch__without_its_mutation() -> None:
    check(with_step(torch.tanh, torch.tanh), nan_padding=True)
