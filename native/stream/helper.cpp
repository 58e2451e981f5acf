#include "stream/helper.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "lstmkit/machine.h"
#include "threads/patience.h"

namespace lstmkit {
namespace {

// Longer than most steps: it may come in the middle of one.
constexpr std::chrono::nanoseconds least_patience = std::chrono::microseconds(12);
constexpr int spins = 256;
// Calls between two attempts: at most 2 to the power of this.
constexpr unsigned longest_rest = 10;
constexpr unsigned awake = 1;

}  // namespace

struct Helper::Shared {
    // Odd: a half is offered. Who makes the next even number of it has taken the half.
    alignas(64) std::atomic<unsigned> offer{0};
    Call call = nullptr;
    void* context = nullptr;
    int half = 0;
    alignas(64) std::atomic<unsigned> finished{0};
    // The bell is even. Where the thread is: awake, or asleep until the bell is no longer this.
    alignas(64) std::atomic<unsigned> bell{0}, place{awake};
    std::atomic<bool> is_over{false};
    std::thread thread;

    bool take(unsigned offered) noexcept { return offer.compare_exchange_strong(offered, offered + 1); }

    void watch() noexcept {
        Patience patience(least_patience);
        while (!is_over) {
            const unsigned seen = offer;
            if (seen % 2 == 0) {
                if (!patience.spin_while(offer, seen)) sleep();
            } else if (take(seen)) {
                call(context, half);
                finished.store(seen, std::memory_order_release);
            }
        }
    }

    void sleep() noexcept {
        const unsigned now = bell;
        place = now;
        while (bell == now && !is_over) sleep_while(bell, now);
        place = awake;
    }

    void wake() noexcept {
        bell += 2;
        wake_all(bell);
    }
};

Helper::Helper() : shared_(std::make_unique<Shared>()) {
    shared_->thread = std::thread([shared = shared_.get()] {
        const FlushDenormals flush;
        shared->watch();
    });
}

Helper::~Helper() {
    if (is_forked_child()) {
        // The thread stayed in the parent and cannot be joined; what it shares is left alone.
        static_cast<void>(shared_.release());
        return;
    }
    shared_->is_over = true;
    shared_->wake();
    shared_->thread.join();
}

/// Whether an offer is worth the trouble.
bool Helper::is_askable() noexcept {
    if (resting_ > 0) --resting_;
    if (is_forked_child()) return false;
    const unsigned place = shared_->place;
    return place == awake ? is_rung_ || resting_ == 0 : place == shared_->bell && resting_ == 0;
}

void Helper::rest() noexcept {
    resting_ = 1u << in_vain_;
    in_vain_ = std::min(in_vain_ + 1, longest_rest);
}

int Helper::split(Call call, void* context, int first) noexcept {
    Shared& s = *shared_;
    const int second = 1 - first;
    if (!is_askable()) {
        call(context, first);
        call(context, second);
        return second;
    }
    s.call = call;
    s.context = context;
    s.half = second;
    const unsigned offered = s.offer + 1;
    s.offer = offered;
    // It will be there in some microseconds, for this offer or for a later one.
    const bool rings = s.place != awake;
    if (rings) s.wake();
    call(context, first);
    if (s.take(offered)) {
        is_rung_ = rings;
        rest();
        call(context, second);
        return second;
    }
    is_rung_ = false;
    in_vain_ = resting_ = 0;
    for (int spin = 0; s.finished.load(std::memory_order_acquire) != offered; ++spin) {
        if (spin < spins)
            pause_briefly();
        else
            std::this_thread::yield();
    }
    return first;
}

}  // namespace lstmkit
