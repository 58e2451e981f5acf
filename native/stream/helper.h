// A second thread for one stream.
#pragma once

#include <memory>

namespace lstmkit {

/// Takes half of a work while it is there. It spins for a while after each half, then sleeps until the next offer;
/// an offer that it does not take at once stays with the caller, so a late, absent or forked-away helper costs nothing.
/// One caller at a time.
class Helper {
public:
    Helper();
    ~Helper();
    Helper(const Helper&) = delete;
    Helper& operator=(const Helper&) = delete;

    /// Calls work(0) and work(1), each once, perhaps at the same time. `work` must not throw.
    template <typename Work>
    void split(Work& work) noexcept {
        split([](void* context, int half) noexcept { (*static_cast<Work*>(context))(half); }, &work);
    }

private:
    using Call = void (*)(void* context, int half) noexcept;
    struct Shared;

    void split(Call call, void* context) noexcept;

    std::unique_ptr<Shared> shared_;
};

}  // namespace lstmkit
