// Random choices from a seed and a counter, so that they depend on nothing else: SplitMix64 of Steele, Lea & Flood, Fast
// splittable pseudorandom number generators, OOPSLA 2014. Each of its numbers makes four choices, its lowest bits first.
#pragma once

#include "lstmkit/dispatch.h"

namespace lstmkit {

/// out[k] = chosen with probability `times` / 65536, else `otherwise`, for k < count.
template <typename P>
void draw(std::uint64_t seed, std::uint32_t times, Stored<P> chosen, Stored<P> otherwise, Stored<P>* out, Index count, int threads,
          InstructionSet set);

/// The same with 1 for what is chosen, else 0.
void draw_bytes(std::uint64_t seed, std::uint32_t times, std::uint8_t* out, Index count, int threads, InstructionSet set);

}  // namespace lstmkit
