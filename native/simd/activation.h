// Sigmoid and tanh to 2 ulp. Results below the smallest normal number may be zero. NaN stays NaN.
#pragma once

#include "exponential.h"

namespace lstmkit {
namespace {

constexpr Real one = 1, two = 2;

// e^-x = (m + 1) * 2^n; the order of the sum 1 + e^-x keeps the 1 while 2^n is large.
template <typename V>
LSTMKIT_INLINE V sigmoid(const V& x) noexcept {
    constexpr Real most = Format<Real>::most;
    const Exponential<V> e = exponential<-1>(at_least(at_most(x, most), -most));
    return one / ((e.m * e.scale + one) + e.scale);
}

// With m = e^2|x| - 1 and q = m / (m + 2): tanh is q, written as m/2 - m/2 q where m is small, because there the rounding
// of the division hardly counts; then the sign of x.
template <typename V>
LSTMKIT_INLINE V tanh(const V& x) noexcept {
    const V size = at_most(magnitude(x), Format<Real>::tanh_is_one);
    const Exponential<V> e = exponential(size + size);
    const V m = e.m * e.scale + (e.scale - one);
    const V q = m / (m + two), half = Real(0.5) * m;
    return with_sign(where_below(m, Real(0.9), half - half * q, q), x);
}

}  // namespace
}  // namespace lstmkit
