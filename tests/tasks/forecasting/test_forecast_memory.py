"""A thousand series of ten thousand points fit within 2 GB in all: the table, its arrays, torch and the training."""

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("resource", reason="only POSIX tells a process its peak memory")

WORKER = textwrap.dedent(
    """
    import pathlib, resource, sys
    import numpy as np, pandas as pd
    from lstmkit.tasks.forecasting import Forecaster

    series, rows = 1000, 10_000
    ids = np.repeat(np.array([f"series {k}" for k in range(series)], object), rows)
    ds = np.tile(pd.date_range("2020-01-01", periods=rows, freq="h").to_numpy(), series)
    table = pd.DataFrame({"unique_id": ids, "ds": ds, "y": np.random.default_rng(0).normal(0, 1, series * rows)})
    forecaster = Forecaster(horizon=24, max_steps=2, batch_size=64, quiet=True, device="cpu").fit(table)
    assert len(forecaster.predict(h=1)) == series
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        # Linux counts to ru_maxrss what the parent had at its worst before this program began.
        print(int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(peak if sys.platform == "darwin" else peak * 1024)
    """
)


def test_fit__never_takes_two_gigabytes__ten_million_rows():
    found = subprocess.run([sys.executable, "-c", WORKER], check=True, text=True, capture_output=True)
    assert int(found.stdout) < 2e9
