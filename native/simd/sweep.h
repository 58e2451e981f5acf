// Over numbers of any count, vector by vector. Included only by what is compiled once per instruction set.
#pragma once

#include "vector.h"

namespace lstmkit {
namespace {

/// Calls work(first, count) for every vector, of which the last may have fewer numbers than lanes.
template <typename Work>
LSTMKIT_INLINE void each_vector(Index count, Work work) noexcept {
    Index first = 0;
    for (; first + lanes <= count; first += lanes) work(first, lanes);
    if (first < count) work(first, count - first);
}

}  // namespace
}  // namespace lstmkit
