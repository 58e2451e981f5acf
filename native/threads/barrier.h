// Where the threads of a team wait for each other.
#pragma once

#include <atomic>

namespace lstmkit {

/// Lets nobody pass before all `count` have come, again and again. What was written before wait() is seen after it.
/// Spins, because the next step is a microsecond away; then sleeps, because the others may need this very processor.
class Barrier {
public:
    explicit Barrier(int count) noexcept;
    Barrier(const Barrier&) = delete;
    Barrier& operator=(const Barrier&) = delete;

    void wait() noexcept;

private:
    bool has_opened(unsigned round) const noexcept { return round_.load() != round; }
    bool spin(unsigned round) noexcept;
    void sleep(unsigned round) noexcept;
    void open(unsigned round) noexcept;

    const int count_;
    // Lines of their own: those who wait read one while those who come write the other.
    alignas(64) std::atomic<int> come_{0}, sleepers_{0}, patience_;
    alignas(64) std::atomic<unsigned> round_{0};
};

}  // namespace lstmkit
