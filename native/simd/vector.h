// A vector of LSTMKIT_VECTOR bytes of Real. Included only by kernels.cpp, once per instruction set and precision, in an
// unnamed namespace each time; no standard library inline functions may be used there, or the linker could keep a copy
// that the machine cannot run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#if defined(__AVX2__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12 warns of its own header
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#include "lstmkit/tiles.h"

namespace lstmkit {
namespace {

using Precision = LSTMKIT_PRECISION;
using Real = lstmkit::Real<Precision>;
using Factor = Stored<Precision>;
using Integer = std::conditional_t<sizeof(Real) == 8, std::int64_t, std::int32_t>;
using Unsigned = std::make_unsigned_t<Integer>;

constexpr Index lanes = LSTMKIT_VECTOR / sizeof(Real);

typedef Real Vector __attribute__((vector_size(LSTMKIT_VECTOR)));
typedef Integer Integers __attribute__((vector_size(LSTMKIT_VECTOR)));
typedef Unsigned Bits __attribute__((vector_size(LSTMKIT_VECTOR)));

// Inline, and a function in which everything is.
#if !defined(LSTMKIT_INLINE)
#define LSTMKIT_INLINE inline __attribute__((always_inline))
#define LSTMKIT_FLATTEN __attribute__((flatten))
#else
#define LSTMKIT_FLATTEN
#endif

/// lanes numbers from any address.
LSTMKIT_INLINE Vector load(const Real* from) noexcept {
    Vector value;
    __builtin_memcpy(&value, from, sizeof value);
    return value;
}

LSTMKIT_INLINE void store(Real* to, Vector value) noexcept { __builtin_memcpy(to, &value, sizeof value); }

#if defined(__AVX512F__)
LSTMKIT_INLINE __m512 load_masked(const float* from, unsigned mask) noexcept {
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), from);
}
LSTMKIT_INLINE __m512d load_masked(const double* from, unsigned mask) noexcept {
    return _mm512_maskz_loadu_pd(static_cast<__mmask8>(mask), from);
}
LSTMKIT_INLINE void store_masked(float* to, __m512 value, unsigned mask) noexcept {
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>(mask), value);
}
LSTMKIT_INLINE void store_masked(double* to, __m512d value, unsigned mask) noexcept {
    _mm512_mask_storeu_pd(to, static_cast<__mmask8>(mask), value);
}
#endif

/// The smaller of x and bound, and the larger; x where it is NaN. As intrinsics, because GCC 12 makes two operations of `? :`;
/// masked, because it warns of its own header's plain ones.
#if defined(__AVX512F__)
LSTMKIT_INLINE Vector at_most(__m512 x, float bound) noexcept { return (Vector)_mm512_maskz_min_ps(0xffff, _mm512_set1_ps(bound), x); }
LSTMKIT_INLINE Vector at_most(__m512d x, double bound) noexcept { return (Vector)_mm512_maskz_min_pd(0xff, _mm512_set1_pd(bound), x); }
LSTMKIT_INLINE Vector at_least(__m512 x, float bound) noexcept { return (Vector)_mm512_maskz_max_ps(0xffff, _mm512_set1_ps(bound), x); }
LSTMKIT_INLINE Vector at_least(__m512d x, double bound) noexcept { return (Vector)_mm512_maskz_max_pd(0xff, _mm512_set1_pd(bound), x); }
#else
LSTMKIT_INLINE Vector at_most(Vector x, Real bound) noexcept {
    const Vector bounds = Vector{} + bound;
    return x > bounds ? bounds : x;
}
LSTMKIT_INLINE Vector at_least(Vector x, Real bound) noexcept {
    const Vector bounds = Vector{} + bound;
    return x < bounds ? bounds : x;
}
#endif

constexpr Integer sign_bit = std::numeric_limits<Integer>::min();

LSTMKIT_INLINE Vector magnitude(Vector x) noexcept { return (Vector)((Integers)x & ~sign_bit); }
/// `size`, which is not negative, with the sign of `sign`.
LSTMKIT_INLINE Vector with_sign(Vector size, Vector sign) noexcept { return (Vector)((Integers)size | ((Integers)sign & sign_bit)); }
LSTMKIT_INLINE Vector where_below(Vector x, Real bound, Vector below, Vector otherwise) noexcept {
    return x < Vector{} + bound ? below : otherwise;
}
/// 2^n, where the low bits of `rounded` are n.
template <int mantissa, Unsigned exponent_of_one>
LSTMKIT_INLINE Vector power_of_two(Vector rounded) noexcept {
    return (Vector)(((Bits)rounded << mantissa) + (exponent_of_one << mantissa));
}

/// The first `count` < lanes numbers, zeros behind them; reads nothing beyond.
LSTMKIT_INLINE Vector load_first(const Real* from, Index count) noexcept {
#if defined(__AVX512F__)
    return load_masked(from, (1u << count) - 1);
#else
    Vector value = {};
    for (Index lane = 0; lane < count; ++lane) value[lane] = from[lane];
    return value;
#endif
}

/// Writes the first `count` < lanes numbers and nothing beyond.
LSTMKIT_INLINE void store_first(Real* to, Vector value, Index count) noexcept {
#if defined(__AVX512F__)
    store_masked(to, value, (1u << count) - 1);
#else
    for (Index lane = 0; lane < count; ++lane) to[lane] = value[lane];
#endif
}

LSTMKIT_INLINE Vector load_up_to(const Real* from, Index count) noexcept {
    return __builtin_expect(count == lanes, 1) ? load(from) : load_first(from, count);
}

LSTMKIT_INLINE void store_up_to(Real* to, Vector value, Index count) noexcept {
    if (__builtin_expect(count == lanes, 1))
        store(to, value);
    else
        store_first(to, value, count);
}

/// Bring the line at an address, which need not exist, into the second-level cache.
LSTMKIT_INLINE void prefetch_to_write(const void* at) noexcept { __builtin_prefetch(at, 1, 2); }

/// Writes a whole vector past the caches to a multiple of its size; another thread sees it after finish_streams.
#if defined(__AVX512F__)
LSTMKIT_INLINE void stream(float* to, __m512 value) noexcept { _mm512_stream_ps(to, value); }
LSTMKIT_INLINE void stream(double* to, __m512d value) noexcept { _mm512_stream_pd(to, value); }
LSTMKIT_INLINE void finish_streams() noexcept { _mm_sfence(); }
#else
LSTMKIT_INLINE void stream(Real* to, Vector value) noexcept { store(to, value); }
LSTMKIT_INLINE void finish_streams() noexcept {}
#endif

/// One number in every lane. By way of integers, because Vector{} + x is not x for x = -0.
LSTMKIT_INLINE Vector broadcast(const Real* from) noexcept {
    Integer bits;
    __builtin_memcpy(&bits, from, sizeof bits);
    return (Vector)(Integers{} + bits);
}

/// What a product multiplies: a vector of it, one number in every lane, and the last of an odd count likewise.
LSTMKIT_INLINE Vector load_factors(const Real* from) noexcept { return load(from); }
LSTMKIT_INLINE Vector broadcast_factors(const Real* from) noexcept { return broadcast(from); }

LSTMKIT_INLINE Vector broadcast_last(const Real* from) noexcept { return broadcast(from); }

LSTMKIT_INLINE Vector multiply_add(Vector a, Vector b, Vector sum) noexcept { return sum + a * b; }

/// Lanes of a, numbered from 0, and of b, numbered from L, as `which` says; constants make it one instruction.
LSTMKIT_INLINE Vector shuffle(Vector a, Vector b, Integers which) noexcept {
#if defined(__clang__)
    Vector value;
    for (Index lane = 0; lane < lanes; ++lane) value[lane] = which[lane] < lanes ? a[which[lane]] : b[which[lane] - lanes];
    return value;
#else
    return __builtin_shuffle(a, b, which);
#endif
}

/// One number in all lanes, or two in turn.
template <Index count>
LSTMKIT_INLINE Vector broadcast_some(const Real* from) noexcept {
    if constexpr (count == 1) return broadcast(from);
    else if constexpr (sizeof(Real) == 4) {
        typedef std::int64_t Pairs __attribute__((vector_size(LSTMKIT_VECTOR)));
        std::int64_t pair;
        __builtin_memcpy(&pair, from, sizeof pair);
        return (Vector)(Pairs{} + pair);
    } else {
        Integers which;
        for (Index lane = 0; lane < lanes; ++lane) which[lane] = lane % count;
        const Vector pair = {from[0], from[1]};
        return shuffle(pair, pair, which);
    }
}

/// The sum of all lanes, in each of them.
template <Index distance = lanes / 2>
LSTMKIT_INLINE Vector total_of(Vector x) noexcept {
    Integers other;
    for (Index lane = 0; lane < lanes; ++lane) other[lane] = lane ^ distance;
    x += shuffle(x, x, other);
    if constexpr (distance > 1) return total_of<distance / 2>(x);
    else return x;
}

}  // namespace
}  // namespace lstmkit
