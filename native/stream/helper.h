// A second thread for one stream.
#pragma once

#include <memory>

namespace lstmkit {

/// Takes half of a work while it is there. It spins for a while after each half, then sleeps until it is woken; a half that
/// it does not take at once stays with the caller. Where it comes too late again and again, because its processor has
/// other work or the calls are far apart, it is asked ever more rarely: a helper in vain costs next to nothing.
/// One caller at a time.
class Helper {
public:
    Helper();
    ~Helper();
    Helper(const Helper&) = delete;
    Helper& operator=(const Helper&) = delete;

    /// Calls work(0) and work(1), each once, perhaps at the same time: `first` here, the other perhaps there. Returns the
    /// half that was done last here. `work` must not throw.
    template <typename Work>
    int split(Work& work, int first) noexcept {
        return split([](void* context, int half) noexcept { (*static_cast<Work*>(context))(half); }, &work, first);
    }

private:
    using Call = void (*)(void* context, int half) noexcept;
    struct Shared;

    int split(Call call, void* context, int first) noexcept;
    bool is_askable() noexcept;
    void rest() noexcept;

    std::unique_ptr<Shared> shared_;
    bool is_rung_ = false;                ///< and was not seen since
    unsigned in_vain_ = 0, resting_ = 0;  ///< attempts without success; calls to go until the next attempt
};

}  // namespace lstmkit
