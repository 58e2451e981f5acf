// Register tiles: `R` rows by up to four vectors, accumulated without touching memory.
#pragma once

#include "vector.h"

namespace lstmkit {
namespace {

// 24 accumulators, 4 weights and 2 broadcasts fill 32 registers; 12, 1 and 1 fill 16.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr Index tile_rows = 6;
#else
constexpr Index tile_rows = 3;
#endif

/// Calls run<R>(first, R rows) over `rows` rows in tiles of nearly one size; R is a constant of the call.
template <typename Run>
LSTMKIT_INLINE void for_each_tile(Index rows, Run run) noexcept {
    const Index tiles = (rows + tile_rows - 1) / tile_rows;
    Index first = 0;
    for (Index tile = 0; tile < tiles; ++tile) {
        const Index size = (rows - first) / (tiles - tile) + ((rows - first) % (tiles - tile) != 0);
        run(first, size);
        first += size;
    }
}

/// The table of `Function<R>::run` for R in 1..tile_rows.
template <template <Index> class Function>
LSTMKIT_INLINE auto* tile_of(Index rows) noexcept {
    switch (rows) {
#if defined(__AVX512F__) || defined(__aarch64__)
        case 6: return &Function<6>::run;
        case 5: return &Function<5>::run;
        case 4: return &Function<4>::run;
#endif
        case 3: return &Function<3>::run;
        case 2: return &Function<2>::run;
        default: return &Function<1>::run;
    }
}

/// sums[r][v] += sum over k of in[r][k] * weights[k][v]; returns the weights behind the last.
template <Index R, Index V>
LSTMKIT_INLINE const Real* accumulate(Vector (&sums)[R][V], const Real* const* in, Index count,
                                      const Real* weights) noexcept {
    const Real* row[R];
#pragma GCC unroll 6
    for (Index r = 0; r < R; ++r) row[r] = in[r];
    for (Index k = 0; k < count; ++k, weights += V * lanes) {
        Vector w[V];
#pragma GCC unroll 4
        for (Index v = 0; v < V; ++v) w[v] = load(weights + v * lanes);
#pragma GCC unroll 6
        for (Index r = 0; r < R; ++r) {
            const Vector value = broadcast(row[r] + k);
#pragma GCC unroll 4
            for (Index v = 0; v < V; ++v) sums[r][v] += value * w[v];
        }
    }
    return weights;
}

}  // namespace
}  // namespace lstmkit
