from dataclasses import replace
from itertools import product

import pytest

from lstmkit.ops import ENGINES, EngineRequest, choose_engine
from lstmkit.spec import EngineError, OptionError

EXTRAS = ("resets", "cells", "gates", "transforms")


@pytest.mark.parametrize("wanted", list(product([False, True], repeat=5)))
def test_choice__matches_what_aten_can_do(wanted: tuple[bool, ...]) -> None:
    request = EngineRequest(**dict(zip(("lengths", *EXTRAS), wanted, strict=True)))
    choice = choose_engine(request)
    assert choice.engine == ("reference" if any(wanted[1:]) else "torch")
    assert set(choice.rejected) == set(ENGINES[: ENGINES.index(choice.engine)])
    assert all(choice.rejected.values())
    assert choice.reason


@pytest.mark.parametrize(
    ("extra", "reason"), [*zip(EXTRAS, ["no resets", "cell states", "gates", "transforms"], strict=True)]
)
def test_choice__rejects_torch__with_its_reason(extra: str, reason: str) -> None:
    request = replace(EngineRequest(), **{extra: True})
    with pytest.raises(EngineError, match=f"'torch' cannot run this: .*{reason}.*leave engine=None"):
        choose_engine(request, "torch")
    assert choose_engine(request, "reference").engine == "reference"


def test_choice__equals_what_was_asked_for() -> None:
    choice = choose_engine(EngineRequest(), "reference")
    assert choice.engine == "reference"
    assert "asked for" in choice.reason
    assert choice.rejected["torch"] == "engine='reference' was asked for"


def test_choice__rejects_native__not_built_yet() -> None:
    with pytest.raises(EngineError, match="'native' cannot run this: the native kernels are not part of this version"):
        choose_engine(EngineRequest(native_available=True), "native")


def test_choice__rejects_unknown_engine() -> None:
    with pytest.raises(OptionError, match="'cuda'; there are: native, torch, reference"):
        choose_engine(EngineRequest(), "cuda")


def test_choice__equals_its_explanation() -> None:
    lines = str(choose_engine(EngineRequest(gates=True))).splitlines()
    assert lines[0].startswith("reference: ")
    assert [line.partition(":")[0] for line in lines[1:]] == ["not native", "not torch"]
