"""Vectors that others publish, where they lie beside the checkout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[3] / "shared" / "golden"

Case = dict[str, Any]


def read(name: str) -> list[Case]:
    """The cases of a file, none where it is absent."""
    file = GOLDEN / name
    return json.loads(file.read_text()) if file.exists() else []


def cases(name: str, wanted: Callable[[Case], bool]) -> Any:
    """A parametrisation over some cases of a file, or one skipped stand-in where it is absent."""
    found = [pytest.param(case, id=case["id"]) for case in read(name) if wanted(case)]
    reason = f"the published vectors {name} are not on this machine"
    stand_in = [pytest.param({}, id="absent", marks=pytest.mark.skip(reason=reason))]
    return pytest.mark.parametrize("case", found or stand_in)
