#include "lstmkit/machine.h"

namespace lstmkit {

// Slower on denormal numbers, not wrong.
FlushDenormals::FlushDenormals() noexcept : before_(0) {}

FlushDenormals::~FlushDenormals() = default;

}  // namespace lstmkit
