"""Floor 1: the way to the C++ core; what it can do here, and whether it is here at all."""

from lstmkit.core.status import NativeStatus, bfloat16_gain, native_module, native_status

__all__ = ["NativeStatus", "bfloat16_gain", "native_module", "native_status"]
