// Register tiles: `R` rows by up to four vectors, accumulated without touching memory.
#pragma once

#include "bfloat16.h"

namespace lstmkit {
namespace {

// 24 accumulators, 4 weights and 2 broadcasts fill 32 registers; 12, 1 and 1 fill 16.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr Index tile_rows = 6;
#else
constexpr Index tile_rows = 3;
#endif

/// Function<R>::run for R = rows in 1..limit.
template <template <Index> class Function, Index limit>
LSTMKIT_INLINE auto* tile_of(Index rows) noexcept {
    if constexpr (limit > 1)
        if (rows < limit) return tile_of<Function, limit - 1>(rows);
    return &Function<limit>::run;
}

/// Calls Function<R>::run(tile, first row) over all rows, in tiles of nearly one size.
template <template <Index> class Function, Index limit = tile_rows, typename Tile>
LSTMKIT_INLINE void run_tiles(Index rows, const Tile& tile) noexcept {
    const Index tiles = (rows + limit - 1) / limit;
    Index first = 0;
    for (Index n = 0; n < tiles; ++n) {
        const Index size = (rows - first) / (tiles - n) + ((rows - first) % (tiles - n) != 0);
        tile_of<Function, limit>(size)(tile, first);
        first += size;
    }
}

/// Calls Function<V>::run(tile) for V = vectors in 1..4.
template <template <Index> class Function, typename Tile>
LSTMKIT_INLINE void run_vectors(Index vectors, const Tile& tile) noexcept {
    switch (vectors) {
        case 4: return Function<4>::run(tile);
        case 3: return Function<3>::run(tile);
        case 2: return Function<2>::run(tile);
        default: return Function<1>::run(tile);
    }
}

/// sums[r][v] += value of row r * w[v], where read(row) gives the value.
template <Index R, Index V, typename Read>
LSTMKIT_INLINE void add_products(Vector (&sums)[R][V], const Factor* const (&row)[R], const Factor* weights, Read read) noexcept {
    decltype(load_factors(weights)) w[V];
#pragma GCC unroll 4
    for (Index v = 0; v < V; ++v) w[v] = load_factors(weights + v * lanes * depth<Precision>);
#pragma GCC unroll 12
    for (Index r = 0; r < R; ++r) {
        const auto value = read(row[r]);
#pragma GCC unroll 4
        for (Index v = 0; v < V; ++v) sums[r][v] = multiply_add(value, w[v], sums[r][v]);
    }
}

/// sums[r][v] += sum over k < count of in[r][k] * weights[k][v]; returns the weights behind the last.
template <Index R, Index V>
LSTMKIT_INLINE const Factor* accumulate(Vector (&sums)[R][V], const Factor* const* in, Index count,
                                        const Factor* weights) noexcept {
    constexpr Index taken = depth<Precision>, next = V * lanes * taken;
    const Factor* row[R];
#pragma GCC unroll 12
    for (Index r = 0; r < R; ++r) row[r] = in[r];
    Index k = 0;
    for (; k + taken <= count; k += taken, weights += next)
        add_products(sums, row, weights, [k](const Factor* at) noexcept { return broadcast_factors(at + k); });
    if (taken == 1 || k == count) return weights;
    add_products(sums, row, weights, [k](const Factor* at) noexcept { return broadcast_last(at + k); });
    return weights + next;
}

/// In float32 and float64 so many terms, and a quarter more at most, are added up before they join a long sum: its every term would
/// lose what a large number cannot hold. Fewer where each product is rounded before it is added.
#if defined(__FMA__) || defined(__aarch64__)
constexpr Index fused_terms = 64;
#else
constexpr Index fused_terms = 16;
#endif
constexpr Index run_terms = sizeof(Factor) >= 4 ? fused_terms : std::numeric_limits<Index>::max() / 4;

/// Terms of a sum: [R] rows -> [count].
struct Terms {
    const Factor* const* in;
    Index count;
};

/// Moves sums to where others are set aside already, or none, and begins anew.
template <Index R, Index V>
LSTMKIT_INLINE void put_aside(Vector (&sums)[R][V], Vector (&aside)[R][V], bool joins) noexcept {
#pragma GCC unroll 12
    for (Index r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (Index v = 0; v < V; ++v) {
            aside[r][v] = joins ? aside[r][v] + sums[r][v] : sums[r][v];
            sums[r][v] = Vector{};
        }
}

/// sums[r][v] += sum over all terms of in[r][k] * weights[k][v].
template <Index R, Index V, Index N>
LSTMKIT_INLINE void sum_up(Vector (&sums)[R][V], const Terms (&parts)[N], const Factor* weights) noexcept {
    Vector aside[R][V];
    bool has_aside = false;
    Index terms = 0;
    for (const Terms& part : parts)
        for (Index first = 0; first < part.count; first += run_terms) {
            const Index count = part.count - first < run_terms ? part.count - first : run_terms;
            if (terms + count > run_terms + run_terms / 4) {
                put_aside(sums, aside, has_aside);
                has_aside = true;
                terms = 0;
            }
            const Factor* row[R];
#pragma GCC unroll 12
            for (Index r = 0; r < R; ++r) row[r] = part.in[r] + first;
            weights = accumulate(sums, row, count, weights);
            terms += count;
        }
    if (!has_aside) return;
#pragma GCC unroll 12
    for (Index r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (Index v = 0; v < V; ++v) sums[r][v] += aside[r][v];
}

}  // namespace
}  // namespace lstmkit
