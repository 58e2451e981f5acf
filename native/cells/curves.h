// The activations that a cell can be given, and their slopes by their own values.
#pragma once

#include "units.h"

namespace lstmkit {
namespace {

// Functions of their own: in every place where a cell has a choice they would be too much code.
__attribute__((noinline)) Vector activate(const Activation& a, Vector z) noexcept {
    const Real alpha = static_cast<Real>(a.alpha), beta = static_cast<Real>(a.beta);
    switch (a.curve) {
        case Curve::sigmoid: return sigmoid(z);
        case Curve::tanh: return a.alpha == 1 && a.beta == 1 ? tanh(z) : alpha * tanh(beta * z);
        case Curve::hard_sigmoid: return at_least(at_most(alpha * z + beta, one), Real{});
        case Curve::relu: return at_least(z, Real{});
        case Curve::softsign: return z / (magnitude(z) + one);
        case Curve::identity: break;
    }
    return z;
}

/// value * slope where the activation is y.
LSTMKIT_INLINE Vector through(const Activation& a, Vector y, Vector value) noexcept {
    const Real alpha = static_cast<Real>(a.alpha), beta = static_cast<Real>(a.beta);
    switch (a.curve) {
        case Curve::sigmoid: return value * y * (one - y);
        case Curve::tanh: return value * (beta * (alpha - y * y / alpha));
        case Curve::hard_sigmoid: return where_inside(y, Real{}, one, alpha * value);
        case Curve::relu: return where_inside(y, Real{}, CellOptions<Precision>::none, value);
        case Curve::softsign: {
            const Vector rest = one - magnitude(y);
            return value * (rest * rest);
        }
        case Curve::identity: break;
    }
    return value;
}

/// The same behind a clip of what is activated to +-bound: nothing comes through where it cut.
LSTMKIT_INLINE Vector through_clip(const Activation& a, Real bound, Vector y, Vector value) noexcept {
    const Vector slope = through(a, y, value);
    if (!(bound < CellOptions<Precision>::none)) return slope;
    // As they are saved, or a narrower number would hide the cut.
    using Kept = Stored<Precision>;
    const Real least = static_cast<Kept>(activate(a, Vector{} - bound)[0]), most = static_cast<Kept>(activate(a, Vector{} + bound)[0]);
    return where_inside(y, least, most, slope);
}

}  // namespace
}  // namespace lstmkit
