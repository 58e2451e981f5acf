#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <thread>

#include "lstmkit/machine.h"

namespace lstmkit {

int available_threads() noexcept {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    // Fails on machines of more than CPU_SETSIZE processors; all of them are counted then.
    if (sched_getaffinity(0, sizeof mask, &mask) == 0) return std::max(1, CPU_COUNT(&mask));
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

static_assert(sizeof(std::atomic<unsigned>) == sizeof(unsigned), "a futex is a plain 32-bit word");

void sleep_while(const std::atomic<unsigned>& word, unsigned value) noexcept {
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void wake_all(const std::atomic<unsigned>& word) noexcept {
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace lstmkit
