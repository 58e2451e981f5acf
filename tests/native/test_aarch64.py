"""The core built for AArch64 passes its C++ tests, with NEON, under an emulator; `make emulator` installs it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "native"
NEEDED = ("aarch64-linux-gnu-g++", "qemu-aarch64-static")
MISSING = [name for name in NEEDED if shutil.which(name) is None]


def tool(name: str) -> str:
    """A build tool of this environment, or else of the machine."""
    own = Path(sys.executable).parent / name
    return str(own) if own.exists() else name


def run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; make emulator installs them on Debian")
def test_aarch64__matches_its_own_cpp_tests(tmp_path: Path) -> None:
    options = [
        "-G",
        "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}",
        f"-DCMAKE_TOOLCHAIN_FILE={NATIVE / 'aarch64.cmake'}",
        "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror",
        "-DLSTMKIT_BUILD_TESTS=ON",
    ]
    run(tool("cmake"), "-S", str(NATIVE), "-B", str(tmp_path), *options)
    run(tool("cmake"), "--build", str(tmp_path))
    output = run(tool("ctest"), "--test-dir", str(tmp_path), "--output-on-failure", "--no-tests=error", "--verbose")
    assert "sigmoid neon: at most" in output
