#include "threads/patience.h"

#include <algorithm>

#include "lstmkit/machine.h"

namespace lstmkit {
namespace {

// Pauses between two looks at the clock, about two microseconds.
constexpr int spins = 64;

}  // namespace

bool Patience::spin_while(const std::atomic<unsigned>& word, unsigned value) noexcept {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point end = Clock::now() + std::max(now_, least_);
    do {
        for (int spin = 0; spin < spins; ++spin) {
            if (word != value) {
                now_ = most_;
                return true;
            }
            pause_briefly();
        }
    } while (Clock::now() < end);
    now_ /= 2;
    return false;
}

}  // namespace lstmkit
