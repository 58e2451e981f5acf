// A second thread for one stream.
#pragma once

#include <chrono>
#include <memory>

namespace lstmkit {

/// What has come of sharing one kind of work: two halves that are done again and again.
struct Experience {
    int near = 0;           ///< the half whose memory was last read here: it may still be in this core's cache
    unsigned resting = 4;   ///< calls to go until the helper is asked; at first some, to learn what they take without it
    unsigned in_vain = 0;   ///< attempts without success
    unsigned helped = 0;    ///< calls since the last rest
    bool is_rung = false;   ///< whether the helper was woken and not seen since
    std::chrono::nanoseconds alone = std::chrono::nanoseconds::max();  ///< the least that a call took without it
};

/// Takes half of a work while it is there. It spins for a while after each half, then sleeps until it is woken; a half that
/// it does not take at once stays with the caller. Where it comes too late, because its processor has other work or the
/// calls are far apart, or where the work takes no less time with it, because its core is far away, it is asked ever more
/// rarely: a helper in vain costs next to nothing. One caller at a time.
class Helper {
public:
    Helper();
    ~Helper();
    Helper(const Helper&) = delete;
    Helper& operator=(const Helper&) = delete;

    /// Calls work(0) and work(1), each once, perhaps at the same time. `work` must not throw.
    template <typename Work>
    void split(Work& work, Experience& experience) noexcept {
        split([](void* context, int half) noexcept { (*static_cast<Work*>(context))(half); }, &work, experience);
    }

private:
    using Call = void (*)(void* context, int half) noexcept;
    struct Shared;

    void split(Call call, void* context, Experience& experience) noexcept;
    bool is_askable(Experience& experience) const noexcept;
    bool share(Call call, void* context, Experience& experience) noexcept;

    std::unique_ptr<Shared> shared_;
};

}  // namespace lstmkit
