// Sums of the lanes of many vectors. Included only by what is compiled once per instruction set.
#pragma once

#include "vector.h"

namespace lstmkit {
namespace {

/// out[l] = the sum of all lanes of rows[l]: at distance d = L/2 .. 1 rows with that bit and lanes with it change places.
template <Index distance = lanes / 2>
LSTMKIT_INLINE Vector totals(Vector* rows) noexcept {
    Integers low, high;
    for (Index lane = 0; lane < lanes; ++lane) {
        low[lane] = lane & distance ? lanes + lane - distance : lane;
        high[lane] = lane & distance ? lanes + lane : lane + distance;
    }
#pragma GCC unroll 16
    for (Index row = 0; row < distance; ++row)
        rows[row] = shuffle(rows[row], rows[row + distance], low) + shuffle(rows[row], rows[row + distance], high);
    if constexpr (distance > 1) return totals<distance / 2>(rows);
    else return rows[0];
}

/// to[r] = the sum of the lanes of parts[r], for whole vectors of r.
inline void add_up(const Real* parts, Index count, Real* to) noexcept {
    for (Index r = 0; r < count; r += lanes) {
        Vector rows[lanes];
#pragma GCC unroll 16
        for (Index l = 0; l < lanes; ++l) rows[l] = load(parts + (r + l) * lanes);
        store(to + r, totals(rows));
    }
}

}  // namespace
}  // namespace lstmkit
