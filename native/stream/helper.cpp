#include "stream/helper.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "lstmkit/machine.h"

namespace lstmkit {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto patience = std::chrono::microseconds(50);
constexpr int spins = 256;

}  // namespace

struct Helper::Shared {
    // Odd: a work is offered. Who makes the next even number of it has taken the work.
    alignas(64) std::atomic<unsigned> offer{0};
    Call call = nullptr;
    void* context = nullptr;
    alignas(64) std::atomic<unsigned> finished{0};
    alignas(64) std::atomic<bool> is_asleep{false};
    std::atomic<bool> is_over{false};
    std::thread thread;

    bool take(unsigned offered) noexcept { return offer.compare_exchange_strong(offered, offered + 1); }

    void watch() noexcept {
        Clock::time_point last = Clock::now();
        while (!is_over) {
            unsigned seen = offer;
            for (int spin = 0; spin < spins && seen % 2 == 0 && !is_over; ++spin, seen = offer) pause_briefly();
            if (seen % 2 == 1 && take(seen)) {
                call(context, 1);
                finished.store(seen, std::memory_order_release);
                last = Clock::now();
            } else if (seen % 2 == 0 && Clock::now() - last > patience) {
                sleep(seen);
                last = Clock::now();
            }
        }
    }

    void sleep(unsigned seen) noexcept {
        is_asleep = true;
        if (!is_over) sleep_while(offer, seen);
        is_asleep = false;
    }

    void rouse() noexcept {
        if (is_asleep) wake_all(offer);
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
    shared_->offer += 2;
    shared_->rouse();
    shared_->thread.join();
}

void Helper::split(Call call, void* context) noexcept {
    Shared& s = *shared_;
    if (is_forked_child()) {
        call(context, 0);
        return call(context, 1);
    }
    s.call = call;
    s.context = context;
    const unsigned offered = s.offer + 1;
    s.offer = offered;
    s.rouse();
    call(context, 0);
    if (s.take(offered)) return call(context, 1);
    for (int spin = 0; s.finished.load(std::memory_order_acquire) != offered; ++spin) {
        if (spin < spins)
            pause_briefly();
        else
            std::this_thread::yield();
    }
}

}  // namespace lstmkit
