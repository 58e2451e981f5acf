#include "stream/helper.h"

#include <chrono>
#include <system_error>

#include "lstmkit/machine.h"

namespace lstmkit {
namespace {

constexpr auto patience = std::chrono::microseconds(50);
constexpr int spins = 256;

}  // namespace

struct Helper::Shared {
    // 2n + 1: work n is offered; 2n + 2: somebody has taken it. Only who changes the one to the other may do it.
    alignas(64) std::atomic<std::uint64_t> offer{0};
    Call call = nullptr;
    void* context = nullptr;
    alignas(64) std::atomic<std::uint64_t> finished{0};
    alignas(64) std::atomic<bool> is_asleep{false};
    std::atomic<bool> is_over{false};
    std::mutex mutex;
    std::condition_variable wake;
    std::thread thread;

    bool is_offered() const noexcept { return offer % 2 == 1; }

    bool take(std::uint64_t offered) noexcept { return offer.compare_exchange_strong(offered, offered + 1); }

    void sleep() {
        std::unique_lock<std::mutex> lock(mutex);
        is_asleep = true;
        wake.wait(lock, [&] { return is_over || is_offered(); });
        is_asleep = false;
    }

    void rouse() noexcept {
        const std::lock_guard<std::mutex> lock(mutex);
        wake.notify_one();
    }

    void watch() {
        auto last = std::chrono::steady_clock::now();
        while (!is_over) {
            for (int spin = 0; spin < spins && !is_offered() && !is_over; ++spin) relax_processor();
            const std::uint64_t offered = offer;
            if (offered % 2 == 1 && take(offered)) {
                call(context, 1);
                finished.store(offered, std::memory_order_release);
                last = std::chrono::steady_clock::now();
            } else if (std::chrono::steady_clock::now() - last > patience) {
                sleep();
                last = std::chrono::steady_clock::now();
            }
        }
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
    const std::uint64_t offered = s.offer + 1;
    s.offer = offered;
    if (s.is_asleep) s.rouse();
    call(context, 0);
    if (s.take(offered)) return call(context, 1);
    for (int spin = 0; s.finished.load(std::memory_order_acquire) != offered; ++spin) {
        if (spin < spins)
            relax_processor();
        else
            std::this_thread::yield();
    }
}

}  // namespace lstmkit
