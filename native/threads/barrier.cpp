#include "threads/barrier.h"

#include <algorithm>

#include "lstmkit/machine.h"

namespace lstmkit {
namespace {

// In pauses. The most is 20 to 50 microseconds: longer than a step, shorter than what the system gives a thread at once.
constexpr int most_patience = 1000, least_patience = 100;

}  // namespace

Barrier::Barrier(int count) noexcept
    : count_(count), patience_(count <= available_threads() ? most_patience : least_patience) {}

void Barrier::wait() noexcept {
    // Cannot change before this thread has come.
    const unsigned round = round_.load(std::memory_order_relaxed);
    if (come_.fetch_add(1) + 1 == count_) return open(round);
    if (!spin(round)) sleep(round);
}

void Barrier::open(unsigned round) noexcept {
    come_.store(0, std::memory_order_relaxed);
    round_ = round + 1;
    if (sleepers_ > 0) wake_all(round_);
}

/// Where spinning was in vain, the next time is shorter; where it was not, as long as can be.
bool Barrier::spin(unsigned round) noexcept {
    const int patience = patience_.load(std::memory_order_relaxed);
    for (int pause = 0; pause < patience; ++pause) {
        if (has_opened(round)) {
            if (patience < most_patience) patience_.store(most_patience, std::memory_order_relaxed);
            return true;
        }
        pause_briefly();
    }
    patience_.store(std::max(patience / 2, least_patience), std::memory_order_relaxed);
    return false;
}

void Barrier::sleep(unsigned round) noexcept {
    ++sleepers_;
    while (!has_opened(round)) sleep_while(round_, round);
    --sleepers_;
}

}  // namespace lstmkit
