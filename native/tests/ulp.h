// Errors in units of the last place.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

/// |actual - expected| in units of the last place of `expected`; HUGE_VAL where only one is NaN.
/// Below twice the smallest normal number, where denormals begin and results are cut off, all numbers are alike.
template <typename Real, typename Wide>
double ulps(Real actual, Wide expected) {
    using Limits = std::numeric_limits<Real>;
    if (std::isnan(expected)) return std::isnan(actual) ? 0 : HUGE_VAL;
    if (std::fabs(actual) < 2 * Limits::min() && std::fabs(expected) < 2 * Limits::min()) return 0;
    const int exponent = std::max(expected == 0 ? Limits::min_exponent : std::ilogb(expected) + 1, Limits::min_exponent);
    const double error = static_cast<double>(std::ldexp(std::fabs(actual - expected), Limits::digits - exponent));
    return std::isnan(error) ? HUGE_VAL : error;
}
