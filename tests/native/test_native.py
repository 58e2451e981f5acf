"""The native core: every compiled path agrees, dispatch can be forced, and the C++ tests pass."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lstmkit.core import native_module, native_status

ROOT = Path(__file__).parents[2]
COMPILER = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)

core = native_module()
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler on this machine")
needs_core = pytest.mark.skipif(core is None and COMPILER is None, reason="no C++ compiler was there to build the core")
SETS = native_status().compiled


@needs_compiler
def test_core__never_absent__where_a_compiler_is() -> None:
    assert native_status().available, native_status().reason


@needs_core
def test_status__matches_operating_system() -> None:
    status = native_status()
    assert status.threads == len(os.sched_getaffinity(0))
    flags = next(
        (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), ""
    ).split()
    for name, flag in {"avx2": "avx2", "avx512": "avx512bw", "avx512_bf16": "avx512_bf16"}.items():
        assert (name in status.found) == (flag in flags)


@needs_core
@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("count", [0, 1, 7, 16, 63, 64, 65, 1001])
def test_sigmoid__matches_float64__any_count(instruction_set: str, count: int) -> None:
    assert core is not None
    if instruction_set not in core.machine_sets():
        pytest.skip(f"this machine does not have {instruction_set}")
    random = np.random.default_rng(count)
    x, out = random.normal(size=count + 1).astype(np.float32)[1:], np.full(count + 2, np.nan, np.float32)
    core.sigmoid(x, out[1:-1], instruction_set)
    np.testing.assert_allclose(out[1:-1], 1 / (1 + np.exp(-x.astype(float))), rtol=2.5e-7)
    assert np.isnan(out[[0, -1]]).all()


@needs_core
def test_sigmoid__rejects_what_it_cannot_read() -> None:
    assert core is not None
    a = np.ones(6, np.float32)
    with pytest.raises(ValueError, match="6 and 5"):
        core.sigmoid(a, a[:5])
    for bad in (a[::2], a.astype(int), a.reshape(2, 3)):
        with pytest.raises(TypeError):
            core.sigmoid(bad, bad)
    with pytest.raises(ValueError, match=f"no instruction set is called 'mmx'; usable here: {SETS[0]}"):
        core.sigmoid(a, a, "mmx")


def active_set(wanted: str) -> str:
    code = "from lstmkit.core import native_status as s; print(s().active, s().reason)"
    env = {**os.environ, "LSTMKIT_ISA": wanted}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout


@needs_core
def test_environment_variable__equals_active_set() -> None:
    assert core is not None
    usable = [name for name in core.compiled_sets() if name in core.machine_sets()]
    for name in usable:
        assert active_set(name).split() == [name]
    assert active_set("").split() == [usable[-1]]


@needs_core
def test_environment_variable__rejects_unknown_set() -> None:
    assert "LSTMKIT_ISA=mmx: no instruction set is called 'mmx'" in active_set("mmx")


@needs_compiler
@pytest.mark.parametrize("sanitize", ["", "address,undefined", "thread"], ids=["plain", "address", "thread"])
def test_cpp__matches_its_own_tests(tmp_path: Path, sanitize: str) -> None:
    if sanitize and not sanitizer_links(sanitize, tmp_path):
        pytest.skip(f"this compiler cannot link the sanitizers {sanitize}")
    build = tmp_path / "build"
    options = [
        "-G",
        "Ninja",
        "-DLSTMKIT_BUILD_TESTS=ON",
        f"-DLSTMKIT_SANITIZE={sanitize}",
        "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror",
    ]
    run(tool("cmake"), "-S", str(ROOT / "native"), "-B", str(build), f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}", *options)
    run(tool("cmake"), "--build", str(build))
    run(tool("ctest"), "--test-dir", str(build), "--output-on-failure", "--no-tests=error", "--parallel", "2")


def tool(name: str) -> str:
    """A build tool of this environment, or else of the machine."""
    own = Path(sys.executable).parent / name
    return str(own) if own.exists() else name


def run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def sanitizer_links(sanitize: str, folder: Path) -> bool:
    source = folder / "probe.cpp"
    source.write_text("int main() { return 0; }\n")
    command = [str(COMPILER), f"-fsanitize={sanitize}", str(source), "-o", str(folder / "probe")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
