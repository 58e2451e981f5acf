// Sigmoid and tanh to 2 ulp. Results below the smallest normal number may be zero. NaN stays NaN.
#pragma once

#include <limits>

#include "exponential.h"

namespace lstmkit {
namespace {

constexpr Real one = 1, two = 2;
constexpr Integer sign_bit = std::numeric_limits<Integer>::min();

// e^-x = (m + 1) * 2^n; the order of the sum 1 + e^-x keeps the 1 while 2^n is large.
LSTMKIT_INLINE Vector sigmoid(Vector x) noexcept {
    constexpr Real most = Format<Real>::most;
    const Exponential e = exponential<-1>(at_least(at_most(x, most), -most));
    return one / ((e.m * e.scale + one) + e.scale);
}

// With m = e^2|x| - 1 and q = m / (m + 2): tanh is q, written as m/2 - m/2 q where m is small, because there the rounding
// of the division hardly counts; then the sign of x.
LSTMKIT_INLINE Vector tanh(Vector x) noexcept {
    const Integers sign = (Integers)x & sign_bit;
    const Vector size = at_most((Vector)((Integers)x & ~sign_bit), Format<Real>::tanh_is_one), zero = {};
    const Exponential e = exponential(size + size);
    const Vector m = e.m * e.scale + (e.scale - one);
    const Vector q = m / (m + two), half = Real(0.5) * m;
    const Vector result = m < zero + Real(0.9) ? half - half * q : q;
    return (Vector)((Integers)result | sign);
}

}  // namespace
}  // namespace lstmkit
