// Who is inside a call of an object that serves one thread at a time.
#pragma once

#include <atomic>

namespace lstmkit {

/// Holds the flag while it lives, if nobody else does; never waits.
class Claim {
public:
    explicit Claim(std::atomic<bool>& flag) noexcept : flag_(flag), is_held_(!flag.exchange(true, std::memory_order_acquire)) {}
    ~Claim() {
        if (is_held_) flag_.store(false, std::memory_order_release);
    }
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;
    explicit operator bool() const noexcept { return is_held_; }

private:
    std::atomic<bool>& flag_;
    bool is_held_;
};

}  // namespace lstmkit
