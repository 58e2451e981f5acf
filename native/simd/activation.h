// Sigmoid and tanh to 2 ulp. Results below the smallest normal number may be zero. NaN stays NaN.
#pragma once

#include <limits>

#include "exponential.h"

namespace lstmkit {
namespace {

constexpr Real one = 1, two = 2;
constexpr Integer sign_bit = std::numeric_limits<Integer>::min();

LSTMKIT_INLINE Vector clamp(Vector x, Real bound) noexcept {
    const Vector high = Vector{} + bound, low = Vector{} - bound;
    x = x > high ? high : x;  // false for NaN, which passes
    return x < low ? low : x;
}

// The order of the sum 1 + e^-x keeps the 1 while 2^n is large.
LSTMKIT_INLINE Vector sigmoid(Vector x) noexcept {
    const Exponential e = exponential(clamp(-x, Format<Real>::most));
    return one / ((e.m * e.scale + one) + e.scale);
}

// With m = e^2|x| - 1 and q = m / (m + 2): tanh is q, written as m/2 - m/2 q where m is small and as 1 - 2 / (m + 2)
// where it is large, because there the rounding of the division hardly counts; then the sign of x.
LSTMKIT_INLINE Vector tanh(Vector x) noexcept {
    const Integers sign = (Integers)x & sign_bit;
    const Vector size = (Vector)((Integers)x & ~sign_bit), zero = {};
    const Vector limit = zero + Format<Real>::tanh_is_one;
    const Vector clamped = size > limit ? limit : size;
    const Exponential e = exponential(clamped + clamped);
    const Vector m = e.m * e.scale + (e.scale - one);
    const auto is_small = m < zero + Real(0.9), is_large = m > zero + two;
    const Vector q = (is_large ? zero - two : m) / (m + two), half = Real(0.5) * m;
    const Vector rest = is_small ? half - half * q : q;
    return (Vector)((Integers)(is_large ? one + q : rest) | sign);
}

}  // namespace
}  // namespace lstmkit
