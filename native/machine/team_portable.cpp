#include "lstmkit/machine.h"

namespace lstmkit {

bool is_forked_child() noexcept { return false; }

OpenmpParallel openmp_parallel() noexcept { return nullptr; }

}  // namespace lstmkit
