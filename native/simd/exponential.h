// e^x = (m + 1) * 2^n with m = e^y - 1 and y in [-ln 2 / 2, ln 2 / 2], for both kinds of Real.
#pragma once

#include "bundle.h"

namespace lstmkit {
namespace {

/// What depends on the format of the numbers.
template <typename Number>
struct Format;

template <>
struct Format<float> {
    static constexpr int mantissa = 23;
    static constexpr Unsigned exponent_of_one = 127;
    static constexpr float most = 88;         // e^most and e^-most are normal numbers
    static constexpr float tanh_is_one = 10;  // from here on
    // ln 2 in two parts; the first has so few bits that n times it is exact.
    static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    // (e^y - 1 - y) / y^2, the highest power first: fitted for the least absolute error of e^y, which is 2.5e-10.
    static constexpr float powers[] = {1.99476548e-4f, 1.39350945e-3f, 8.33320431e-3f, 4.16664630e-2f, 1.66666657e-1f, 0.5f};
};

template <>
struct Format<double> {
    static constexpr int mantissa = 52;
    static constexpr Unsigned exponent_of_one = 1023;
    static constexpr double most = 708;
    static constexpr double tanh_is_one = 20;
    static constexpr double ln2_high = 0.693145751953125, ln2_low = 1.42860682030941723212e-6;
    // Taylor's series, whose rest is below a tenth of an ulp.
    static constexpr double powers[] = {1 / 6227020800.0, 1 / 479001600.0, 1 / 39916800.0, 1 / 3628800.0,
                                        1 / 362880.0,     1 / 40320.0,     1 / 5040.0,     1 / 720.0,
                                        1 / 120.0,        1 / 24.0,        1 / 6.0,        1 / 2.0};
};

template <typename V>
struct Exponential {
    V m;      // e^y - 1
    V scale;  // 2^n
};

/// e^(sign x), for sign 1 or -1 and |x| <= Format::most; V is a Vector or a Bundle.
template <int sign = 1, typename V>
LSTMKIT_INLINE Exponential<V> exponential(const V& x) noexcept {
    using F = Format<Real>;
    constexpr Real log2_e = Real(1.44269504088896340736);
    constexpr Real round = Real(Integer{3} << (F::mantissa - 1));  // adding it leaves the nearest whole number in the low bits
    const V rounded = x * (sign * log2_e) + round;
    const V n = rounded - round;
    const V y = (sign > 0 ? x - n * F::ln2_high : -(n * F::ln2_high) - x) - n * F::ln2_low;
    V p = y * F::powers[0] + F::powers[1];
#pragma GCC unroll 16
    for (unsigned k = 2; k < sizeof F::powers / sizeof(Real); ++k) p = p * y + F::powers[k];
    return {p * (y * y) + y, power_of_two<F::mantissa, F::exponent_of_one>(rounded)};
}

}  // namespace
}  // namespace lstmkit
