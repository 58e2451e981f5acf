"""What an import may load, and how long the root may take."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "pandas", "typer", "statsforecast", "matplotlib", "accelerate")


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    "module",
    [
        "lstmkit",
        "lstmkit.spec",
        "lstmkit.reference",
        "lstmkit.features",
        "lstmkit.runtime",
        "lstmkit.interop",
        "lstmkit.cli",
    ],
)
def test_import__never_loads_training_packages(module: str) -> None:
    loaded = run(f"import sys, {module}; print(*(name for name in {HEAVY} if name in sys.modules))")
    assert loaded == ""


def test_import_probe__rejects_module_that_loads_torch() -> None:
    assert run("import sys, lstmkit.nn; print('torch' in sys.modules)") == "True"


def test_import_of_root__never_takes_150_ms() -> None:
    code = "import time; start = time.perf_counter(); import lstmkit; print(time.perf_counter() - start)"
    assert min(float(run(code)) for _ in range(5)) < 0.150
