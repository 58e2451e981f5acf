#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "lstmkit/machine.h"

namespace lstmkit {
namespace {

/// One bed for all: who is woken for another's word sleeps again.
struct Sleepers {
    std::mutex mutex;
    std::condition_variable change;
};

// Never destroyed: threads may still sleep when the process ends.
Sleepers& sleepers() {
    static Sleepers* const one = new Sleepers;
    return *one;
}

}  // namespace

int available_threads() noexcept { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

void sleep_while(const std::atomic<unsigned>& word, unsigned value) noexcept {
    std::unique_lock<std::mutex> lock(sleepers().mutex);
    if (word == value) sleepers().change.wait(lock);
}

void wake_all(const std::atomic<unsigned>&) noexcept {
    // The lock, so that nobody is between the question and the bed.
    const std::lock_guard<std::mutex> lock(sleepers().mutex);
    sleepers().change.notify_all();
}

}  // namespace lstmkit
