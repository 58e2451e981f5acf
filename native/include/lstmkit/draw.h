// Random choices from a seed and a counter, so that they depend on nothing else: SplitMix64 of Steele, Lea & Flood, Fast
// splittable pseudorandom number generators, OOPSLA 2014. Each of its numbers makes four choices.
#pragma once

#include <cstddef>
#include <cstdint>

namespace lstmkit {

/// out[k] = chosen with probability `times` / 65536, else `otherwise`, for k < count.
template <typename Number>
void draw(std::uint64_t seed, std::uint32_t times, Number chosen, Number otherwise, Number* out, std::ptrdiff_t count,
          int threads);

}  // namespace lstmkit
