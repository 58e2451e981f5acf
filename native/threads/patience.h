// How long a thread spins before it sleeps.
#pragma once

#include <atomic>
#include <chrono>

namespace lstmkit {

/// Where spinning was in vain, the next time is shorter, because the others may need this very processor; where it was
/// not, as long as can be.
class Patience {
public:
    explicit Patience(std::chrono::nanoseconds least) noexcept : least_(least) {}

    /// Whoever is waited for was seen to take so long.
    void wait_at_least(std::chrono::nanoseconds least) noexcept { least_ = least; }

    /// Spins until the word is no longer `value`, or patience is over; returns whether it has changed.
    bool spin_while(const std::atomic<unsigned>& word, unsigned value) noexcept;

private:
    static constexpr std::chrono::nanoseconds most_ = std::chrono::microseconds(50);

    std::chrono::nanoseconds least_, now_ = most_;
};

}  // namespace lstmkit
