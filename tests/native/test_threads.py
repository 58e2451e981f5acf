"""Threads, memory and Python's lock, seen from Python: the core takes part in a process and does not disturb it."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from lstmkit import nn
from lstmkit.ops import native_available

pytestmark = pytest.mark.skipif(not native_available(), reason="the native core was not built")


def run_python(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, f"exit code {result.returncode}\n{result.stdout}{result.stderr}"
    return result.stdout


def test_large_call__never_stops_other_python_threads() -> None:
    layer, x = nn.LSTM(64, 64, engine="native"), torch.randn(200, 256, 64)
    done, steps = threading.Event(), 0

    def run() -> None:
        with torch.no_grad():
            layer(x)
        done.set()

    before = sys.getswitchinterval()
    sys.setswitchinterval(10)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        while not done.is_set():
            steps += 1
            time.sleep(0.0005)
    finally:
        sys.setswitchinterval(before)
        thread.join()
    assert steps > 5


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_native__never_starts_a_second_team_beside_torchs() -> None:
    code = """
import os, torch
from lstmkit import nn
torch.set_num_threads(3)
a = torch.randn(700, 700)
(a @ a).exp().sum()
layer, x = nn.LSTM(32, 32, engine="native"), torch.randn(20, 300, 32)
before = len(os.listdir("/proc/self/task"))
with torch.no_grad():
    for _ in range(5):
        layer(x)
print(before, len(os.listdir("/proc/self/task")))
"""
    before, after = run_python(code).split()
    assert before == after
    assert int(before) >= 3


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="address space is measured in /proc")
def test_native__never_ends_the_process__without_memory() -> None:
    """Whatever allocation is the one that fails, in whatever thread: an error, then everything works again."""
    code = """
import resource, torch
from lstmkit import nn
from lstmkit.core import native_module

torch.set_num_threads(2)
layer, x = nn.LSTM(300, 500, engine="native"), torch.randn(3, 60, 300)
small = nn.LSTM(8, 64, engine="native"), torch.randn(40, 64, 8)

def train(layer, x):
    torch.autograd.grad(layer(x)[0].sum(), list(layer.parameters()))

for _ in range(2):
    train(*small)
seen = set()
for megabytes in range(0, 120, 4):
    native_module().release_memory()
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (megabytes << 20), resource.RLIM_INFINITY))
    try:
        train(layer, x)
        seen.add("done")
    except MemoryError:
        seen.add("MemoryError")
    except RuntimeError as error:
        assert "allocate memory" in str(error), error
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
train(layer, x)
print(*sorted(seen))
"""
    assert run_python(code).split() == ["MemoryError", "done"]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="page faults are counted by Linux")
def test_training_step__never_touches_fresh_pages__after_the_first() -> None:
    """torch's own layer touches 14,000 in a step of the first size. A few come from elsewhere in the process."""
    code = """
import resource, torch
from lstmkit import nn

torch.set_num_threads(2)

def count(T, B, I, H):
    layer, x = nn.LSTM(I, H, engine="native"), torch.randn(T, B, I)
    found = []
    for _ in range(25):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.autograd.grad(layer(x)[0].sum(), list(layer.parameters()))
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return sorted(found[5:])

print(*(count(*sizes)[10] for sizes in ((96, 256, 64, 64), (96, 64, 128, 128), (20, 16, 32, 32))))
"""
    assert run_python(code).split() == ["0", "0", "0"]
