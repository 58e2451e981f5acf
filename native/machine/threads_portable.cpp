#include <algorithm>
#include <thread>

#include "lstmkit/machine.h"

namespace lstmkit {

int available_threads() noexcept { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

void sleep_while(const std::atomic<unsigned>&, unsigned) noexcept { std::this_thread::yield(); }

void wake_all(const std::atomic<unsigned>&) noexcept {}

}  // namespace lstmkit
