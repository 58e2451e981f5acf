import subprocess
import sys

import pytest

# A process of its own, so that the peak is that of reading alone. Linux counts it in KiB, macOS in bytes.
PROGRAM = """
import resource, sys
import numpy as np, pyarrow as pa
from lstmkit.data import read_table

series, length = 1000, 10_000
ids = pa.array([f"series_{i}" for i in range(series)]).take(pa.array(np.repeat(np.arange(series), length)))
times = pa.array(np.tile(np.arange(length) * 3_600_000_000_000, series).view("M8[ns]"))
values = np.random.default_rng(0).normal(size=series * length)
table = pa.table({"unique_id": ids, "ds": times, "y": values})
read = read_table(table).series
assert len(read) == series and (read.lengths == length).all() and str(read.frequency) == "h"
assert (read.target(617) == values[617 * length : 618 * length]).all()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak * (1 if sys.platform == "darwin" else 1024))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the peak memory in this way")
def test_read_table__never_takes_two_gigabytes__ten_million_rows():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1.6e9
