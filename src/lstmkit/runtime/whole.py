"""A recurrent stage over whole sequences in the native core: a stream for one, a pool for many."""

from types import ModuleType
from typing import Any

import numpy as np

from lstmkit.core import native_status
from lstmkit.runtime.native_recurrence import NativePool, NativeRecurrence
from lstmkit.runtime.recurrence import Array, State
from lstmkit.spec import CellSpec


def run_whole(core: ModuleType, spec: CellSpec, packed: Any, x: Array, state: State) -> tuple[Array, ...]:
    """Run a stack that is not bidirectional.

    Args:
        core: The native core.
        spec: The stack.
        packed: Its packed weights.
        x: ``(B, T, I)``.
        state: h ``(L, B, R)`` and c ``(L, B, H)`` before the first step.

    Returns:
        The output ``(B, T, R)``, and h and c after the last step.

    Raises:
        DataError: a number is not finite.
    """
    h, c = state
    if len(x) == 1:
        stream = NativeRecurrence(core, spec, packed, 1)
        stream.write_state(np.ascontiguousarray(h), np.ascontiguousarray(c))
        output = stream.run(np.ascontiguousarray(x[0], np.float32))[None]
        return output, *stream.read_state()
    pool = NativePool(core, spec, packed, len(x), native_status().threads)
    for row in range(len(x)):
        pool.write_state(row, h[:, row].copy(), c[:, row].copy())
    steps = [pool.step(step, None) for step in np.ascontiguousarray(x.swapaxes(0, 1), np.float32)]
    states = [pool.read_state(row) for row in range(len(x))]
    last_h, last_c = (np.concatenate([pair[k] for pair in states], axis=1) for k in (0, 1))
    return np.stack(steps, axis=1), last_h, last_c
