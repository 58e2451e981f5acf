from itertools import product
from typing import Any

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
    request = EngineRequest()._replace(**{extra: True})
    with pytest.raises(EngineError, match=f"'torch' cannot run this: .*{reason}.*leave engine=None"):
        choose_engine(request, "torch")
    assert choose_engine(request, "reference").engine == "reference"


def test_choice__equals_what_was_asked_for() -> None:
    choice = choose_engine(EngineRequest(), "reference")
    assert choice.engine == "reference"
    assert "asked for" in choice.reason
    assert choice.rejected["torch"] == "engine='reference' was asked for"


NATIVE = EngineRequest(native_available=True)


@pytest.mark.parametrize("wanted", list(product([False, True], repeat=4)))
def test_choice__equals_native__whatever_it_can_do(wanted: tuple[bool, ...]) -> None:
    request = NATIVE._replace(**dict(zip(("lengths", "resets", "cells", "gates"), wanted, strict=True)))
    assert choose_engine(request).engine == choose_engine(request, "native").engine == "native"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"native_available": False}, "not built"),
        ({"device": "cuda"}, "on CPUs, not on cuda"),
        ({"dtype": "float16"}, "float32, float64, bfloat16, not float16"),
        ({"transforms": True}, "torch.func"),
        ({"activations": ("sigmoid", "gelu", "elu")}, "the native core has no activation gelu, elu"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_choice__rejects_native__with_its_reason(change: dict[str, Any], reason: str) -> None:
    request = NATIVE._replace(**change)
    assert reason in choose_engine(request).rejected["native"]
    with pytest.raises(EngineError, match=f"'native' cannot run this: .*{reason}"):
        choose_engine(request, "native")


@pytest.mark.parametrize(
    ("change", "chosen"),
    [
        ({"exporting": True}, "torch"),
        ({"exporting": True, "resets": True}, "reference"),
    ],
    ids=str,
)
def test_choice__never_exports_native__unless_asked_for(change: dict[str, Any], chosen: str) -> None:
    request = NATIVE._replace(**change)
    assert choose_engine(request).engine == chosen
    assert choose_engine(request, "native").engine == "native"


def test_choice__rejects_unknown_engine() -> None:
    with pytest.raises(OptionError, match="'cuda'; there are: native, torch, reference"):
        choose_engine(EngineRequest(), "cuda")


def test_choice__equals_its_explanation() -> None:
    lines = str(choose_engine(EngineRequest(gates=True))).splitlines()
    assert lines[0].startswith("reference: ")
    assert [line.partition(":")[0] for line in lines[1:]] == ["not native", "not torch"]
