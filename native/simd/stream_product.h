// What differs between the precisions of a stream: how numbers become words, and how words are multiplied.
#pragma once

#include "stream/kernels.h"
#include "vector.h"

#if defined(__SSE2__) && !defined(__AVX2__)
#include <emmintrin.h>
#endif

namespace lstmkit {
namespace {

typedef std::uint16_t Halves __attribute__((vector_size(LSTMKIT_VECTOR / 2)));
typedef std::uint8_t Bytes __attribute__((vector_size(LSTMKIT_VECTOR / 4)));
typedef std::int16_t Shorts __attribute__((vector_size(LSTMKIT_VECTOR)));

template <typename Value>
LSTMKIT_INLINE Value load_as(const Word* from) noexcept {
    static_assert(sizeof(Value) == sizeof(Vector));
    Value value;
    __builtin_memcpy(&value, from, sizeof value);
    return value;
}

template <typename Value>
LSTMKIT_INLINE void store_as(void* to, Value value) noexcept {
    __builtin_memcpy(to, &value, sizeof value);
}

LSTMKIT_INLINE Integers broadcast_word(const Word* from) noexcept {
    Word word;
    __builtin_memcpy(&word, from, sizeof word);
    return Integers{} + word;
}

constexpr Word infinity_bits = 0x7f800000;

/// The bits of the largest |in[k]|, which order as the numbers do; at least infinity_bits if one is not finite.
LSTMKIT_INLINE Word largest_bits(const float* in, Index count) noexcept {
    Integers largest = {};
    for (Index k = 0; k < count; k += lanes) {
        const Integers size = (Integers)load_up_to(in + k, count - k < lanes ? count - k : lanes) & INT32_MAX;
        largest = size > largest ? size : largest;
    }
#if defined(__AVX512F__)
    return _mm512_reduce_max_epi32((__m512i)largest);
#else
    Word most = 0;
    for (Index lane = 0; lane < lanes; ++lane) most = largest[lane] > most ? largest[lane] : most;
    return most;
#endif
}

/// Calls write(k, vector) for each vector of `count` floats, zeros behind the last.
template <typename Write>
LSTMKIT_INLINE void for_each_vector(const float* in, Index count, Write write) noexcept {
    Index k = 0;
    for (; k + lanes <= count; k += lanes) write(k, load(in + k));
    if (k < count) write(k, load_first(in + k, count - k));
}

struct FloatWords {
    using Sum = Vector;
    static constexpr Index ways = 1;
    static constexpr double cycles_per_vector = 0.8;
    static constexpr bool is_scaled = false;

    static float prepare(const float* in, Index count, Word* out) noexcept {
        for_each_vector(in, count, [&](Index k, Vector value) noexcept { store_as(out + k, value); });
        return 1;
    }
    static LSTMKIT_INLINE void add(Vector& sum, Integers weights, Integers x) noexcept {
        sum += (Vector)x * (Vector)weights;
    }
};

struct HalfWords {
    using Sum = Vector;
    static constexpr Index ways = 2;
#if defined(__AVX512BF16__)
    static constexpr double cycles_per_vector = 0.8;
#else
    static constexpr double cycles_per_vector = 1.7;
#endif
    static constexpr bool is_scaled = false;

    static float prepare(const float* in, Index count, Word* out) noexcept {
        auto* halves = reinterpret_cast<char*>(out);
        for_each_vector(in, count, [&](Index k, Vector value) noexcept {
            const Integers bits = (Integers)value;
            const Integers rounded = bits + 0x7fff + ((bits >> 16) & 1);
            store_as(halves + 2 * k, __builtin_convertvector((rounded >> 16) & 0xffff, Halves));
        });
        return 1;
    }
    static LSTMKIT_INLINE void add(Vector& sum, Integers weights, Integers x) noexcept {
#if defined(__AVX512BF16__)
        sum = (Vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)weights);
#else
        sum += (Vector)(x << 16) * (Vector)(weights << 16);
        sum += (Vector)(x & ~0xffff) * (Vector)(weights & ~0xffff);
#endif
    }
};

struct ByteWords {
    using Sum = Integers;
    static constexpr Index ways = 4;
#if defined(__AVX512VNNI__)
    static constexpr double cycles_per_vector = 0.8;
#else
    static constexpr double cycles_per_vector = 2.6;
#endif
    static constexpr bool is_scaled = true;

    /// Numbers of -127..127 units with 128 added, which the weights' offset takes away again.
    static float prepare(const float* in, Index count, Word* out) noexcept {
        constexpr float round = 12582912.0f, smallest = 1e-30f;
        const Word bits = largest_bits(in, count);
        float largest;
        __builtin_memcpy(&largest, &bits, sizeof largest);
        const float inverse = largest > smallest ? 127.0f / largest : 0.0f;
        auto* bytes = reinterpret_cast<char*>(out);
        for_each_vector(in, count, [&](Index k, Vector value) noexcept {
            const Integers rounded = (Integers)(value * inverse + round) + 128;
            store_as(bytes + k, __builtin_convertvector(rounded & 0xff, Bytes));
        });
        return largest / 127.0f;
    }
    static LSTMKIT_INLINE void add(Integers& sum, Integers weights, Integers x) noexcept {
#if defined(__AVX512VNNI__)
        sum = (Integers)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x, (__m512i)weights);
#else
        const Integers low = Integers{} + 0x00ff00ff;
        sum += sum_of_pairs((Shorts)weights << 8 >> 8, (Shorts)(x & low));
        sum += sum_of_pairs((Shorts)weights >> 8, (Shorts)((x >> 8) & low));
#endif
    }

private:
    /// a[2k] * b[2k] + a[2k + 1] * b[2k + 1]
    static LSTMKIT_INLINE Integers sum_of_pairs(Shorts a, Shorts b) noexcept {
#if defined(__AVX512BW__)
        return (Integers)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
        return (Integers)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
        return (Integers)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
        const Integers x = (Integers)a, y = (Integers)b;
        return (x << 16 >> 16) * (y << 16 >> 16) + (x >> 16) * (y >> 16);
#endif
    }
};

/// sums[r][v] += row r times vector v, for B blocks of G vectors side by side.
template <class P, Index R, Index B>
LSTMKIT_INLINE void accumulate_words(typename P::Sum (&sums)[R][B * gates], const Word* const (&in)[R], Index words,
                                     const Word* const (&weights)[B]) noexcept {
    for (Index k = 0; k < words; ++k) {
        Integers w[B * gates];
#pragma GCC unroll 4
        for (Index b = 0; b < B; ++b)
#pragma GCC unroll 4
            for (Index gate = 0; gate < gates; ++gate)
                w[b * gates + gate] = load_as<Integers>(weights[b] + (k * gates + gate) * lanes);
#pragma GCC unroll 6
        for (Index r = 0; r < R; ++r) {
            const Integers x = broadcast_word(in[r] + k);
#pragma GCC unroll 16
            for (Index v = 0; v < B * gates; ++v) P::add(sums[r][v], w[v], x);
        }
    }
}

/// Where one block's share of a product finds its weights and constants.
template <Index B>
struct Factors {
    const Word *weights[B], *scale[B], *offset[B];
};

/// z[r][v] += what accumulate_words gives, in the units of the numbers.
template <class P, Index R, Index B>
LSTMKIT_INLINE void add_product(Vector (&z)[R][B * gates], const Word* const (&in)[R], const float (&units)[R],
                                Index words, const Factors<B>& factors) noexcept {
    if constexpr (P::is_scaled) {
        Integers sums[R][B * gates];
#pragma GCC unroll 6
        for (Index r = 0; r < R; ++r)
#pragma GCC unroll 16
            for (Index v = 0; v < B * gates; ++v)
                sums[r][v] = load_as<Integers>(factors.offset[v / gates] + v % gates * lanes);
        accumulate_words<P, R, B>(sums, in, words, factors.weights);
#pragma GCC unroll 6
        for (Index r = 0; r < R; ++r)
#pragma GCC unroll 16
            for (Index v = 0; v < B * gates; ++v)
                z[r][v] += __builtin_convertvector(sums[r][v], Vector) *
                           (load_as<Vector>(factors.scale[v / gates] + v % gates * lanes) * units[r]);
    } else {
        accumulate_words<P, R, B>(z, in, words, factors.weights);
    }
}

}  // namespace
}  // namespace lstmkit
