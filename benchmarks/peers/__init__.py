"""Who takes part: one module per library, each with the function ``prepare(case, data) -> Prepared``."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.cases import (
    CELLS,
    KERAS,
    LOOP,
    ONNX,
    OPENVINO,
    OURS,
    OURS_FLOAT32,
    PLAIN,
    TORCH,
    TUNED,
)
from benchmarks.data import Values

# What keeps glibc from giving torch's large blocks back to the system after every call.
TUNED_MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
    "MALLOC_TOP_PAD_": str(1 << 28),
}


class Prepared(NamedTuple):
    """A case that is ready to run: ``run`` is what is timed, ``read`` turns its result into named arrays."""

    run: Callable[[], Any]
    read: Callable[[Any], Values]
    note: str = ""


@dataclass(frozen=True)
class Peer:
    """A library in a process of its own; ``changes`` are fields of the case that it does differently."""

    module: str
    environment: dict[str, str] = field(default_factory=dict[str, str])
    changes: dict[str, Any] = field(default_factory=dict[str, Any])


PEERS = {
    OURS: Peer("lstmkit_layer"),
    OURS_FLOAT32: Peer("lstmkit_layer", changes={"dtype": "float32"}),
    TORCH: Peer("torch_layer"),
    TUNED: Peer("torch_layer", TUNED_MALLOC),
    CELLS: Peer("torch_cells"),
    PLAIN: Peer("lstmkit_layer"),
    LOOP: Peer("torch_loop"),
    ONNX: Peer("onnxruntime_layer"),
    OPENVINO: Peer("openvino_layer"),
    KERAS: Peer("keras_layer", {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}),
}
