"""The contracts of pyproject.toml hold, and each of them catches what it is there to catch."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# An editable install answers for lstmkit before PYTHONPATH does; the copy with the intruder must be seen instead.
LINT = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if not type(finder).__module__.startswith("_editable")]
from importlinter.cli import lint_imports_command
lint_imports_command()
"""


def lint(source: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINT, "--config", str(ROOT / "pyproject.toml"), "--no-cache"],
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
    ("path", "text", "said"),
    [
        ("spec/intruder.py", "from lstmkit import runtime", "lstmkit.spec is not allowed to import lstmkit.runtime"),
        (
            "reference/intruder.py",
            "from lstmkit import features",
            "lstmkit.reference is not allowed to import lstmkit.features",
        ),
        ("attic/__init__.py", "", "lstmkit.attic"),
        ("runtime/intruder.py", "import torch", "lstmkit.runtime is not allowed to import torch"),
    ],
    ids=["upwards", "sideways", "room-without-a-floor", "torch-in-the-runtime"],
)
def test_contracts__reject_intruder(tmp_path: Path, path: str, text: str, said: str) -> None:
    shutil.copytree(ROOT / "src" / "lstmkit", tmp_path / "lstmkit", ignore=shutil.ignore_patterns("__pycache__"))
    intruder = tmp_path / "lstmkit" / path
    intruder.parent.mkdir(exist_ok=True)
    intruder.write_text(text + "\n")
    result = lint(tmp_path)
    assert result.returncode != 0
    assert "BROKEN" in result.stdout
    assert said in result.stdout
