"""pyproject.toml, constraints.txt and the package say the same."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import lstmkit
from lstmkit.spec import EXTRAS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def packages_of(extra: str) -> set[str]:
    """The packages of an extra, with those of the extras that it names."""
    found: set[str] = set()
    for requirement in PROJECT["optional-dependencies"][extra]:
        name = re.split(r"[\[<>=]", requirement, maxsplit=1)[0]
        inner = re.search(r"\[(.*)\]", requirement)
        found |= set().union(*map(packages_of, inner[1].split(","))) if name == "lstmkit" and inner else {name}
    return found


def test_extras__equal_pyproject() -> None:
    declared = {extra: packages_of(extra) for extra in PROJECT["optional-dependencies"] if extra not in ("all", "dev")}
    assert {extra: set(modules) for extra, modules in EXTRAS.items()} == declared


def test_extra_all__equals_union_of_extras() -> None:
    assert packages_of("all") == set().union(*EXTRAS.values())


def test_installed_torch__equals_pin() -> None:
    pin = (ROOT / "constraints.txt").read_text().split()
    assert f"torch=={version('torch').partition('+')[0]}" in pin


def test_version__equals_installed_metadata() -> None:
    assert version("lstmkit") == lstmkit.__version__
