// The normalisation of numbers over a whole row, which is in the first cache: its moments, and the way back through it.
#pragma once

#include "lstm_variant.h"

namespace lstmkit {
namespace {

LSTMKIT_INLINE float root_of(float x) noexcept { return __builtin_sqrtf(x); }
LSTMKIT_INLINE double root_of(double x) noexcept { return __builtin_sqrt(x); }

/// x where there are units, 0 where a vector is padded.
LSTMKIT_INLINE Vector only(const Units& units, Vector x) noexcept {
    if (units.count == lanes) return x;
    Integers lane;
    for (Index k = 0; k < lanes; ++k) lane[k] = static_cast<Integer>(k);
    return lane < Integers{} + static_cast<Integer>(units.count) ? x : Vector{};
}

LSTMKIT_INLINE Gate kind_of(const Options& o, Index gate) noexcept {
    return gate == 0 ? o.input_gate : gate == 1 ? o.forget_gate : gate == 2 ? Gate::free : o.output_gate;
}

/// Which of N columns are there: 1 or 0 for each. What is not there is zeros.
template <Index N>
struct Columns {
    Real present[N];
    Real share;  ///< of a number in their mean

    /// Of the gates i f g o those that have weights.
    static LSTMKIT_INLINE Columns of_gates(const Options& o, Index n) noexcept {
        Columns columns{};
        Index count = 0;
#pragma GCC unroll 4
        for (Index k = 0; k < N; ++k) count += kind_of(o, k) == Gate::free, columns.present[k] = kind_of(o, k) == Gate::free;
        columns.share = one / static_cast<Real>(count * n);
        return columns;
    }

    LSTMKIT_INLINE Vector mean_of(const Vector (&sums)[N]) const noexcept {
        if constexpr (N == 1) return share * total_of(sums[0]);
        else return share * total_of((sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
};

LSTMKIT_INLINE Columns<1> one_column(Index n) noexcept { return {{one}, one / static_cast<Real>(n)}; }

struct Moments {
    Vector mean;
    Real scale;

    LSTMKIT_INLINE Vector centred(Vector x) const noexcept { return x - mean; }
    LSTMKIT_INLINE Vector normal(Vector x) const noexcept { return centred(x) * scale; }
};

/// One over the root of the variance around the mean, of columns together, of which get(k, units) gives the numbers.
template <Index N, typename Get>
LSTMKIT_INLINE Real scale_around(Vector mean, const Columns<N>& columns, Index n, Real epsilon, Get get) noexcept {
    Vector squares[N] = {};  // several, or each addition would wait for the last
    each_units(n, [&](const Units& units) noexcept {
#pragma GCC unroll 4
        for (Index k = 0; k < N; ++k) {
            const Vector x = columns.present[k] * only(units, get(k, units) - mean);
            squares[k] += x * x;
        }
    });
    return one / root_of(columns.mean_of(squares)[0] + epsilon);
}

template <Index N, typename Get>
LSTMKIT_INLINE Moments moments_of(const Columns<N>& columns, Index n, Real epsilon, Get get) noexcept {
    Vector sums[N] = {};
    each_units(n, [&](const Units& units) noexcept {
#pragma GCC unroll 4
        for (Index k = 0; k < N; ++k) sums[k] += only(units, get(k, units));
    });
    const Vector mean = columns.mean_of(sums);
    return {mean, scale_around(mean, columns, n, epsilon, get)};
}

/// x * gain + bias, the bias perhaps null.
LSTMKIT_INLINE Vector affine(Vector x, const Real* gain, const Real* bias, const Units& units) noexcept {
    x = x * units.load(gain);
    return bias ? x + units.load(bias) : x;
}

/// The way back through a normalisation, of x less their mean and of the gradients d behind it.
struct Slope {
    Vector mean, slope;
    Real scale;

    LSTMKIT_INLINE Vector back(Vector x, Vector d) const noexcept { return scale * (d - mean - slope * x); }
};

/// What it is made of, added up over the row. One sum for all columns: between its terms there is enough else to do.
struct SlopeSums {
    Vector sum = {}, products = {}, squares = {};

    LSTMKIT_INLINE void take(const Units& units, Vector x, Vector d) noexcept {
        x = only(units, x), d = only(units, d);
        sum += d;
        products += d * x;
        squares += x * x;
    }
    /// `share`: of a number in their mean.
    LSTMKIT_INLINE Slope slope(Real share, Real epsilon) const noexcept {
        const Real scale = one / root_of(share * total_of(squares)[0] + epsilon);
        return {share * total_of(sum), share * total_of(products) * (scale * scale), scale};
    }
};

}  // namespace
}  // namespace lstmkit
