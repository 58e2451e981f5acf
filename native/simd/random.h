// Choices from a seed and a counter; see lstmkit/draw.h. Plain loops, which the compiler turns into vectors.
#pragma once

#include <cstdint>

#include "vector.h"

namespace lstmkit {
namespace {

LSTMKIT_INLINE std::uint64_t mix(std::uint64_t z) noexcept {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/// out[k] = chosen or otherwise for k < count, from the number `first` of the seed on.
template <typename Number>
void choose(std::uint64_t seed, std::uint64_t first, std::int16_t limit, Number chosen, Number otherwise, Number* out, Index count) noexcept {
    constexpr Index choices = 4, most = 256;
    std::uint64_t numbers[most];
    std::int16_t parts[choices * most];
    for (Index begin = 0; begin < count; begin += choices * most) {
        for (Index k = 0; k < most; ++k)
            numbers[k] = mix((seed + first + static_cast<std::uint64_t>(begin / choices + k)) * 0x9E3779B97F4A7C15u);
        __builtin_memcpy(parts, numbers, sizeof parts);
        const Index last = count - begin < choices * most ? count - begin : choices * most;
        for (Index k = 0; k < last; ++k) out[begin + k] = parts[k] < limit ? chosen : otherwise;
    }
}

}  // namespace
}  // namespace lstmkit
