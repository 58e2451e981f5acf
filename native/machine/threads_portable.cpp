#include <algorithm>
#include <thread>

#include "lstmkit/machine.h"

namespace lstmkit {

int available_threads() noexcept { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

}  // namespace lstmkit
