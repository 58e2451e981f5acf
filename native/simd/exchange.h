// Rows and lanes that change places, by Eklundh's method. Included only by what is compiled once per instruction set.
#pragma once

#include "vector.h"

namespace lstmkit {
namespace {

struct Exchanged {
    Vector upper, lower;
};

/// Of two rows: the lanes of the upper one that have the bit `distance`, and those of the lower one that have it not, change places.
template <Index distance>
LSTMKIT_INLINE Exchanged exchange(Vector upper, Vector lower) noexcept {
    Integers low, high;
    for (Index lane = 0; lane < lanes; ++lane) {
        low[lane] = lane & distance ? lanes + lane - distance : lane;
        high[lane] = lane & distance ? lanes + lane : lane + distance;
    }
    return {shuffle(upper, lower, low), shuffle(upper, lower, high)};
}

/// A square of L / together rows, whose columns are `together` lanes each.
template <Index together, Index distance = lanes / 2>
LSTMKIT_INLINE void transpose_rows(Vector* rows) noexcept {
    constexpr Index apart = distance / together;
#pragma GCC unroll 16
    for (Index row = 0; row < lanes / together; ++row) {
        if (row & apart) continue;
        const Exchanged now = exchange<distance>(rows[row], rows[row + apart]);
        rows[row] = now.upper, rows[row + apart] = now.lower;
    }
    if constexpr (distance > together) transpose_rows<together, distance / 2>(rows);
}

template <Index together = 1>
inline void transpose(const Real* from, Index from_row, Real* to, Index to_row) noexcept {
    Vector rows[lanes / together];
#pragma GCC unroll 16
    for (Index row = 0; row < lanes / together; ++row) rows[row] = load(from + row * from_row);
    transpose_rows<together>(rows);
#pragma GCC unroll 16
    for (Index row = 0; row < lanes / together; ++row) store(to + row * to_row, rows[row]);
}

}  // namespace
}  // namespace lstmkit
