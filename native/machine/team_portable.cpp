#include "lstmkit/machine.h"

namespace lstmkit {

bool is_forked_child() noexcept { return false; }

void around_fork(void (*)(), void (*)()) noexcept {}

const Openmp* openmp() noexcept { return nullptr; }

}  // namespace lstmkit
