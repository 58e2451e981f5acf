// Sums of the lanes of many vectors. Included only by what is compiled once per instruction set.
#pragma once

#include "exchange.h"

namespace lstmkit {
namespace {

/// Of L / together rows: out[l] = the sum of those lanes of rows[l / together] that are l modulo `together`.
template <Index together, Index distance = lanes / 2>
LSTMKIT_INLINE Vector totals(Vector* rows) noexcept {
    constexpr Index apart = distance / together;
#pragma GCC unroll 16
    for (Index row = 0; row < apart; ++row) {
        const Exchanged now = exchange<distance>(rows[row], rows[row + apart]);
        rows[row] = now.upper + now.lower;
    }
    if constexpr (distance > together) return totals<together, distance / 2>(rows);
    else return rows[0];
}

/// to[r] = the sum of the lanes of parts[r], or its `together` sums, for whole vectors of them.
template <Index together = 1>
inline void add_up(const Real* parts, Index count, Real* to) noexcept {
    constexpr Index at_once = lanes / together;
    for (Index r = 0; r < count; r += at_once) {
        Vector rows[at_once];
#pragma GCC unroll 16
        for (Index l = 0; l < at_once; ++l) rows[l] = load(parts + (r + l) * lanes);
        store(to + r * together, totals<together>(rows));
    }
}

}  // namespace
}  // namespace lstmkit
