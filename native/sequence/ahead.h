// What is too much for the caches: the list of what the next step reads of it, for a Fetch; and what may go past them.
#pragma once

#include "lstmkit/layer.h"

namespace lstmkit {

// Less than this is in the second-level caches anyway.
inline constexpr Index cached_bytes = 2 << 20;

/// Of cells and gates of all steps.
template <typename P>
Index trace_bytes(const Course& layer) noexcept {
    const Index states = layer.shape.states * Index{sizeof(Real<P>)}, kept = layer.shape.kept * Index{sizeof(Saved<P>)};
    return layer.steps * layer.batch * layer.units * (states + kept);
}

/// Whether every block of a row begins at a multiple of a vector, as what goes past the caches must.
template <typename Number>
bool is_aligned(const Sequence<Number>& values, Index vector_bytes) noexcept {
    const Index size = sizeof(Number);
    return reinterpret_cast<std::uintptr_t>(values.data) % static_cast<std::uintptr_t>(vector_bytes) == 0 &&
           values.step * size % vector_bytes == 0 && values.row * size % vector_bytes == 0;
}

/// Pieces that hold `bytes` wherever they begin.
inline Index pieces_of(Index bytes) noexcept { return (bytes + Fetch::line + Fetch::piece - 2) / Fetch::piece; }

/// One thread's list; its memory belongs to the caller.
class Ahead {
public:
    Ahead(const char** room, bool is_used) noexcept : room_(room), is_used_(is_used) {}

    void begin() noexcept { fetch_ = {room_, room_, 0}, last_ = room_, covered_ = nullptr; }
    bool is_used() const noexcept { return is_used_; }
    /// Adds `count` numbers, unless the piece before holds them.
    template <typename Number>
    void add(const Number* from, Index count) noexcept {
        const char* at = reinterpret_cast<const char*>(from);
        const char* const end = at + count * static_cast<Index>(sizeof(Number));
        at -= reinterpret_cast<std::uintptr_t>(at) % Fetch::line;
        if (covered_ && at >= covered_ && end <= covered_ + Fetch::piece) return;
        for (; at < end; at += Fetch::piece) *last_++ = covered_ = at;
    }
    /// To be brought over `halts` halts.
    Fetch* over(Index halts) noexcept {
        fetch_.last = last_;
        fetch_.pieces = halts > 0 ? (last_ - room_) / halts + 1 : 0;
        return is_used_ ? &fetch_ : nullptr;
    }

    /// What is still to be brought.
    Fetch* rest() noexcept { return is_used_ ? &fetch_ : nullptr; }

private:
    const char** room_;
    const char** last_ = nullptr;
    const char* covered_ = nullptr;
    Fetch fetch_{};
    bool is_used_;
};

}  // namespace lstmkit
