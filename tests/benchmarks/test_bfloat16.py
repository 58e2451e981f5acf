"""The measurement of what bfloat16 does to a forget gate's gradient."""

import pytest

from benchmarks.bfloat16 import errors
from lstmkit.ops import native_available


@pytest.mark.skipif(not native_available(), reason="the native core was not built")
def test_forget_gradient__matches_float64__a_thousand_steps_remembered() -> None:
    ours, torchs, saved = errors(1000)
    assert ours < 0.01
    assert saved < 0.01
    assert torchs > 0.5  # or the case would show nothing
