"""The contracts of pyproject.toml hold, and each of them catches what it is there to catch."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def lint(source: Path) -> subprocess.CompletedProcess[str]:
    command = "import sys; from importlinter.cli import lint_imports_command as run; run()"
    return subprocess.run(
        [sys.executable, "-c", command, "--config", str(ROOT / "pyproject.toml"), "--no-cache"],
        capture_output=True,
        text=True,
        cwd=source,
        env={**os.environ, "PYTHONPATH": str(source)},
        check=False,
    )


def test_imports__preserve_floors() -> None:
    result = lint(ROOT / "src")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("path", "text", "contract"),
    [
        ("spec/intruder.py", "from lstmkit import runtime", "Imports only go down"),
        ("reference/intruder.py", "from lstmkit import features", "Imports only go down"),
        ("attic/__init__.py", "", "every room has a floor"),
        ("runtime/intruder.py", "import torch", "never import what trains one"),
    ],
    ids=["upwards", "sideways", "room-without-a-floor", "torch-in-the-runtime"],
)
def test_contracts__reject_intruder(tmp_path: Path, path: str, text: str, contract: str) -> None:
    shutil.copytree(ROOT / "src" / "lstmkit", tmp_path / "lstmkit", ignore=shutil.ignore_patterns("__pycache__"))
    intruder = tmp_path / "lstmkit" / path
    intruder.parent.mkdir(exist_ok=True)
    intruder.write_text(text + "\n")
    result = lint(tmp_path)
    assert result.returncode != 0
    broken = [line for line in result.stdout.splitlines() if line.endswith("BROKEN")]
    assert any(contract in line for line in broken), result.stdout
