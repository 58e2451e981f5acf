#include "stream/helper.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "lstmkit/machine.h"
#include "threads/patience.h"

namespace lstmkit {
namespace {

using Clock = std::chrono::steady_clock;

// It may come in the middle of a step that is done without it, and has to be there when the next begins.
constexpr std::chrono::nanoseconds least_patience = std::chrono::microseconds(12), most_patience = std::chrono::milliseconds(1);
constexpr int spins = 256;
// Calls between two attempts: at most 2 to the power of this.
constexpr unsigned longest_rest = 10;
constexpr unsigned awake = 1;
// Calls of which one is held against the clock. With help the fourth: the first ones read what is still in the other core's cache.
constexpr unsigned sample = 16, settled = 4;

void rest(Experience& e) noexcept {
    e.resting = 1u << e.in_vain;
    e.in_vain = std::min(e.in_vain + 1, longest_rest);
    e.helped = 0;
}

template <typename Work>
std::chrono::nanoseconds time_of(Work work) noexcept {
    const Clock::time_point start = Clock::now();
    work();
    return Clock::now() - start;
}

}  // namespace

struct Helper::Shared {
    // Odd: a half is offered. Who makes the next even number of it has taken the half.
    alignas(64) std::atomic<unsigned> offer{0};
    Call call = nullptr;
    void* context = nullptr;
    int half = 0;
    std::atomic<std::chrono::nanoseconds> patience{least_patience};
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
                patience.wait_at_least(this->patience.load(std::memory_order_relaxed));
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
bool Helper::is_askable(Experience& e) const noexcept {
    if (e.resting > 0) --e.resting;
    if (is_forked_child()) return false;
    const unsigned place = shared_->place;
    return place == awake ? e.is_rung || e.resting == 0 : place == shared_->bell && e.resting == 0;
}

/// Whether the helper took its half. If not, both were done here.
bool Helper::share(Call call, void* context, Experience& e) noexcept {
    Shared& s = *shared_;
    s.call = call;
    s.context = context;
    s.half = 1 - e.near;
    s.patience.store(2 * std::clamp(e.alone, least_patience / 2, most_patience / 2), std::memory_order_relaxed);
    const unsigned offered = s.offer + 1;
    s.offer = offered;
    // It will be there in some microseconds, for this offer or for a later one.
    const bool rings = s.place != awake;
    if (rings) s.wake();
    call(context, e.near);
    const bool is_late = s.take(offered);
    e.is_rung = rings && is_late;
    if (is_late) {
        e.near = 1 - e.near;
        call(context, e.near);
        return false;
    }
    for (int spin = 0; s.finished.load(std::memory_order_acquire) != offered; ++spin) {
        if (spin < spins)
            pause_briefly();
        else
            std::this_thread::yield();
    }
    // While it is there it is asked in every call, until it comes late or is no help.
    e.resting = 0;
    return true;
}

void Helper::split(Call call, void* context, Experience& e) noexcept {
    if (!is_askable(e)) {
        const auto both = [&]() noexcept {
            call(context, e.near);
            e.near = 1 - e.near;
            call(context, e.near);
        };
        if (e.in_vain == 0 || e.resting % sample == 0)
            e.alone = std::min(e.alone, time_of(both));
        else
            both();
        return;
    }
    bool is_helped = false;
    const auto shared = [&]() noexcept { is_helped = share(call, context, e); };
    if (++e.helped % sample != settled) {
        shared();
        if (!is_helped) rest(e);
    } else if (const auto time = time_of(shared); is_helped && time < e.alone / 8 * 7) {
        e.in_vain = 0;
    } else {
        rest(e);
    }
}

}  // namespace lstmkit
