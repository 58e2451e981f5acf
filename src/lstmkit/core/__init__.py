"""Floor 1: the way to the C++ core; what it can do here, and whether it is here at all."""

from lstmkit.core.status import NativeStatus, native_module, native_status

__all__ = ["NativeStatus", "native_module", "native_status"]
