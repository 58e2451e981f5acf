// A vector of LSTMKIT_LANES floats. Included only by kernels.cpp, once per instruction set; no standard library inline
// functions may be used there, or the linker could keep a copy that the machine cannot run.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "lstmkit/tiles.h"

namespace lstmkit {
namespace LSTMKIT_SET {

inline constexpr Index lanes = LSTMKIT_LANES;

typedef float Vector __attribute__((vector_size(LSTMKIT_LANES * sizeof(float))));
typedef std::int32_t Integers __attribute__((vector_size(LSTMKIT_LANES * sizeof(float))));

#define LSTMKIT_INLINE inline __attribute__((always_inline))

/// lanes floats from any address.
LSTMKIT_INLINE Vector load(const float* from) noexcept {
    Vector value;
    __builtin_memcpy(&value, from, sizeof value);
    return value;
}

LSTMKIT_INLINE void store(float* to, Vector value) noexcept { __builtin_memcpy(to, &value, sizeof value); }

/// The first `count` < lanes floats, zeros behind them; reads nothing beyond.
LSTMKIT_INLINE Vector load_first(const float* from, Index count) noexcept {
#if defined(__AVX512F__)
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
#else
    Vector value = {};
    for (Index lane = 0; lane < count; ++lane) value[lane] = from[lane];
    return value;
#endif
}

/// Writes the first `count` < lanes floats and nothing beyond.
LSTMKIT_INLINE void store_first(float* to, Vector value, Index count) noexcept {
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), value);
#else
    for (Index lane = 0; lane < count; ++lane) to[lane] = value[lane];
#endif
}

LSTMKIT_INLINE Vector load_up_to(const float* from, Index count) noexcept {
    return __builtin_expect(count == lanes, 1) ? load(from) : load_first(from, count);
}

LSTMKIT_INLINE void store_up_to(float* to, Vector value, Index count) noexcept {
    if (__builtin_expect(count == lanes, 1))
        store(to, value);
    else
        store_first(to, value, count);
}

/// Bring the line at an address, which need not exist, into the second-level cache.
LSTMKIT_INLINE void prefetch(const float* at) noexcept { __builtin_prefetch(at, 0, 2); }
LSTMKIT_INLINE void prefetch_to_write(const float* at) noexcept { __builtin_prefetch(at, 1, 2); }

/// One float in every lane. By way of integers, because Vector{} + x is not x for x = -0.
LSTMKIT_INLINE Vector broadcast(const float* from) noexcept {
    std::int32_t bits;
    __builtin_memcpy(&bits, from, sizeof bits);
    return (Vector)(Integers{} + bits);
}

LSTMKIT_INLINE float sum(Vector value) noexcept {
    float total = 0;
    for (Index lane = 0; lane < lanes; ++lane) total += value[lane];
    return total;
}

}  // namespace LSTMKIT_SET
}  // namespace lstmkit
