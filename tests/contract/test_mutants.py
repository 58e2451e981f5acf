"""A test of the tests: the hostile check must kill every seeded bug, and pass the real thing."""

import pytest
import torch
from helpers.hostile import close, hostile, run_oracle, torch_layer
from helpers.mutants import MUTANTS, Run, with_step

from lstmkit.reference import run_sequence
from lstmkit.spec import CellSpec

SPEC = CellSpec(3, 5, num_layers=2, bidirectional=True)


def check(run: Run, *, nan_padding: bool) -> None:
    """What the contract suite does to every engine, in short."""
    case = hostile(SPEC)
    x = case.x if nan_padding else case.clean + (torch.isnan(case.x) * 0.5)
    result = run(torch, SPEC, case.parameters, x, case.hx, lengths=case.lengths)
    expected = run_oracle(torch_layer(case), case, case.clean, case.hx)
    for actual, oracle in zip(result[:3], expected, strict=True):
        close(actual, oracle.detach())


@pytest.mark.parametrize("nan_padding", [True, False], ids=["nan", "finite"])
def test_hostile_check__matches_torch__unmutated(nan_padding: bool) -> None:
    check(run_sequence, nan_padding=nan_padding)


@pytest.mark.parametrize("nan_padding", [True, False], ids=["nan", "finite"])
@pytest.mark.parametrize("name", MUTANTS)
def test_hostile_check__rejects_mutant(name: str, nan_padding: bool) -> None:
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        check(MUTANTS[name], nan_padding=nan_padding)


def test_mutants__equals_eleven() -> None:
    assert len(MUTANTS) == 11


def test_mutated_step__matches_torch__without_its_mutation() -> None:
    check(with_step(torch.tanh, torch.tanh), nan_padding=True)
