"""``make bench``: every benchmark, one after the other."""

import subprocess
import sys

from benchmarks.forecasting import CASES

for case in CASES:
    subprocess.run([sys.executable, "-m", "benchmarks.forecasting", case], check=True)
