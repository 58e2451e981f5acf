"""The install succeeds where nothing can be compiled."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("CMakeLists.txt", "LICENSE", "README.md", "native", "pyproject.toml", "src")


def test_wheel__preserves_package__without_a_compiler(tmp_path: Path) -> None:
    tree, tools = tmp_path / "tree", tmp_path / "bin"
    tools.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        tree.mkdir(exist_ok=True)
        copy(ROOT / name, tree / name)
    kept = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX")}
    result = subprocess.run(
        [sys.executable, "-c", "import scikit_build_core.build as build; build.build_wheel('dist')"],
        cwd=tree,
        env={**kept, "PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = (tree / "dist").glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "lstmkit/core/status.py" in names
    assert "lstmkit/py.typed" in names
    assert not any(name.endswith((".so", ".pyd")) for name in names)
