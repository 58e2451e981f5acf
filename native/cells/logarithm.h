// Exponentials and logarithms of vectors, beyond what sigmoid and tanh need.
#pragma once

#include "activation.h"

namespace lstmkit {
namespace {

/// e^x for x <= 0.
LSTMKIT_INLINE Vector exponential_of(Vector x) noexcept {
    const Exponential<Vector> e = exponential(at_least(x, -Format<Real>::most));
    return e.m * e.scale + e.scale;
}

/// ln(1 + x) for 0 <= x <= 1, as 2 artanh(x / (2 + x)).
LSTMKIT_INLINE Vector log_of_one_and(Vector x) noexcept {
    constexpr int terms = sizeof(Real) == 8 ? 17 : 8;
    const Vector s = x / (x + two), square = s * s;
    Vector sum = Vector{} + (Real(1.0 / (2 * terms + 1)));
#pragma GCC unroll 20
    for (int k = terms - 1; k >= 0; --k) sum = sum * square + Real(1.0 / (2 * k + 1));
    return two * s * sum;
}

/// ln(x): n ln 2 and that of the part of x in 1..2.
LSTMKIT_INLINE Vector log_of(Vector x) noexcept {
    using F = Format<Real>;
    constexpr Integer fraction = (Integer{1} << F::mantissa) - 1, exponent_of_one = static_cast<Integer>(F::exponent_of_one);
    const Integers exponent = ((Integers)x >> F::mantissa) - exponent_of_one;
    const Vector part = (Vector)(((Integers)x & fraction) | (exponent_of_one << F::mantissa));
    const Vector log = __builtin_convertvector(exponent, Vector) * Real(0.69314718055994530942) + log_of_one_and(part - one);
    constexpr Real infinity = std::numeric_limits<Real>::infinity(), nothing = std::numeric_limits<Real>::quiet_NaN();
    const Vector rest = x == Vector{} ? Vector{} - infinity : x > Vector{} ? x : Vector{} + nothing;
    return (x > Vector{}) & (x < Vector{} + infinity) ? log : rest;
}

}  // namespace
}  // namespace lstmkit
