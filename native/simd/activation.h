// Sigmoid and tanh to 2 ulp, from one core: e^x = (m + 1) * 2^n with m = e^y - 1 and y in [-ln 2 / 2, ln 2 / 2].
// Results below the smallest normal number may be zero. NaN stays NaN.
#pragma once

#include "vector.h"

namespace lstmkit {
namespace LSTMKIT_SET {

struct Exponential {
    Vector m;      // e^y - 1
    Vector scale;  // 2^n
};

/// |x| <= 88.
LSTMKIT_INLINE Exponential exponential(Vector x) noexcept {
    constexpr float log2_e = 1.44269504f;
    constexpr float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves the nearest whole number in the low bits
    // ln 2 in two parts; the first has so few bits that n times it is exact.
    constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    const Vector rounded = x * log2_e + round;
    const Vector n = rounded - round;
    const Vector y = (x - n * ln2_high) - n * ln2_low;
    // Minimax coefficients of Cephes' expf.
    Vector p = y * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * y + 8.3334519073e-3f;
    p = p * y + 4.1665795894e-2f;
    p = p * y + 1.6666665459e-1f;
    p = p * y + 5.0000001201e-1f;
    const Integers exponent = ((Integers)rounded << 23) + 0x3f800000;
    return {p * (y * y) + y, (Vector)exponent};
}

LSTMKIT_INLINE Vector clamp(Vector x, float bound) noexcept {
    const Vector high = Vector{} + bound, low = Vector{} - bound;
    x = x > high ? high : x;  // false for NaN, which passes
    return x < low ? low : x;
}

// The order of the sum 1 + e^-x keeps the 1 while 2^n is large.
LSTMKIT_INLINE Vector sigmoid(Vector x) noexcept {
    const Exponential e = exponential(clamp(-x, 88.0f));
    return 1.0f / ((e.m * e.scale + 1.0f) + e.scale);
}

// With m = e^2|x| - 1 and q = m / (m + 2): tanh is q, written as m/2 - m/2 q where m is small and as 1 - 2 / (m + 2)
// where it is large, because there the rounding of the division hardly counts; then the sign of x.
LSTMKIT_INLINE Vector tanh(Vector x) noexcept {
    const Integers sign = (Integers)x & INT32_MIN;
    const Vector size = (Vector)((Integers)x & INT32_MAX), zero = {};
    const Vector limit = zero + 10.0f;
    const Vector clamped = size > limit ? limit : size;
    const Exponential e = exponential(clamped + clamped);
    const Vector m = e.m * e.scale + (e.scale - 1.0f);
    const Integers is_small = m < zero + 0.9f, is_large = m > zero + 2.0f;
    const Vector q = (is_large ? zero - 2.0f : m) / (m + 2.0f), half = 0.5f * m;
    const Vector rest = is_small ? half - half * q : q;
    return (Vector)((Integers)(is_large ? 1.0f + q : rest) | sign);
}

}  // namespace LSTMKIT_SET
}  // namespace lstmkit
