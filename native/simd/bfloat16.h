// Vectors of bfloat16: loaded and stored as vectors of as many floats, multiplied as pairs. Exact where the instruction set
// has no instruction for them, but for the rounding of a pair's sum.
#pragma once

#include "vector.h"

namespace lstmkit {
namespace {

constexpr Index words = LSTMKIT_VECTOR / 4;

typedef float Floats __attribute__((vector_size(LSTMKIT_VECTOR)));
typedef std::uint32_t Words __attribute__((vector_size(LSTMKIT_VECTOR)));
typedef std::uint16_t Halves __attribute__((vector_size(LSTMKIT_VECTOR / 2)));

/// The bits of `count` <= words numbers, each in a word of its own; reads nothing beyond.
LSTMKIT_INLINE Words load_words(const bfloat16* from, Index count) noexcept {
    Halves halves = {};
    if (__builtin_expect(count == words, 1)) __builtin_memcpy(&halves, from, sizeof halves);
#if defined(__AVX512BW__)
    else halves = (Halves)_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << count) - 1), from);
#else
    else
        for (Index lane = 0; lane < count; ++lane) halves[lane] = from[lane].bits;
#endif
    return __builtin_convertvector(halves, Words);
}

LSTMKIT_INLINE Halves round_to_halves(Floats value) noexcept {
#if defined(__AVX512BF16__)
    return (Halves)_mm512_cvtneps_pbh((__m512)value);
#else
    const Words bits = (Words)value, kept = bits >> 16;
    const Words rounded = (bits + 0x7fff + (kept & 1)) >> 16;
    return __builtin_convertvector(value == value ? rounded : (kept | 0x40), Halves);
#endif
}

LSTMKIT_INLINE Floats load_up_to(const bfloat16* from, Index count) noexcept { return (Floats)(load_words(from, count) << 16); }

/// The nearest bfloat16 of each number.
LSTMKIT_INLINE void store_up_to(bfloat16* to, Floats value, Index count) noexcept {
    const Halves halves = round_to_halves(value);
    if (__builtin_expect(count == words, 1)) __builtin_memcpy(to, &halves, sizeof halves);
#if defined(__AVX512BW__)
    else _mm256_mask_storeu_epi16(to, static_cast<__mmask16>((1u << count) - 1), (__m256i)halves);
#else
    else
        for (Index lane = 0; lane < count; ++lane) to[lane].bits = halves[lane];
#endif
}

LSTMKIT_INLINE void store(bfloat16* to, Floats value) noexcept { store_up_to(to, value, words); }

/// Half a line: nothing is won beyond the caches.
LSTMKIT_INLINE void stream(bfloat16* to, Floats value) noexcept { store(to, value); }

LSTMKIT_INLINE Floats size_of(Floats value) noexcept { return (Floats)((Words)value & 0x7fffffff); }
LSTMKIT_INLINE Floats with_sign_of(Floats value, Floats size) noexcept { return (Floats)(((Words)value & 0x80000000) | (Words)size); }

LSTMKIT_INLINE Floats load_up_to(const activation16* from, Index count) noexcept {
    const Floats value = load_up_to(&from->folded, count), size = size_of(value);
    return size >= activation16::least ? with_sign_of(value, 1 - size * (1 / activation16::units)) : value;
}

LSTMKIT_INLINE void store_up_to(activation16* to, Floats value, Index count) noexcept {
    const Floats size = size_of(value), missing = activation16::units - size * activation16::units;
    const Floats folded = with_sign_of(value, missing > activation16::least ? missing : Floats{} + activation16::least);
    store_up_to(&to->folded, size > 0.5f ? folded : value, count);
}

LSTMKIT_INLINE void stream(activation16* to, Floats value) noexcept { store_up_to(to, value, words); }

/// A pair of numbers in each lane, the first of them in the lower half.
struct Pairs {
    Words bits;
};

LSTMKIT_INLINE Pairs load_factors(const bfloat16* from) noexcept {
    Pairs pairs;
    __builtin_memcpy(&pairs, from, sizeof pairs);
    return pairs;
}

LSTMKIT_INLINE Pairs broadcast_factors(const bfloat16* from) noexcept {
    std::uint32_t bits;
    __builtin_memcpy(&bits, from, sizeof bits);
    return {Words{} + bits};
}

/// One number and a zero; reads nothing behind it.
LSTMKIT_INLINE Pairs broadcast_last(const bfloat16* from) noexcept { return {Words{} + from->bits}; }

LSTMKIT_INLINE Floats multiply_add(Pairs a, Pairs b, Floats sum) noexcept {
#if defined(__AVX512BF16__)
    return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a.bits, (__m512bh)b.bits);
#else
    constexpr std::uint32_t upper = 0xffff0000;
    sum += (Floats)(a.bits << 16) * (Floats)(b.bits << 16);
    return sum + (Floats)(a.bits & upper) * (Floats)(b.bits & upper);
#endif
}

/// out[k] = the pair of even[k] and odd[k] for k < count; null is zeros.
LSTMKIT_INLINE void interleave_pairs(const bfloat16* even, const bfloat16* odd, bfloat16* out, Index count) noexcept {
    Index k = 0;
    for (; k + words <= count; k += words) {
        const Words pair = load_words(even + k, words) | (odd ? load_words(odd + k, words) << 16 : Words{});
        __builtin_memcpy(out + 2 * k, &pair, sizeof pair);
    }
    for (; k < count; ++k) {
        out[2 * k] = even[k];
        out[2 * k + 1].bits = odd ? odd[k].bits : std::uint16_t{0};
    }
}

}  // namespace
}  // namespace lstmkit
