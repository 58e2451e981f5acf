// The LSTM's step of lstm.h where speed counts most: a sigmoid times a tanh needs one division, not two, and gates
// beyond 24 are as good as open or shut. Absolute error below 3e-7; NaN stays NaN.
#pragma once

#include "activation.h"

namespace lstmkit {
namespace {

struct StreamStep {
    Vector c, h;
};

LSTMKIT_INLINE Vector limit(Vector x, Real bound) noexcept { return at_least(at_most(x, bound), -bound); }

/// 1 + e^-x, the inverse of the sigmoid.
LSTMKIT_INLINE Vector inverse_sigmoid(Vector x) noexcept {
    const Exponential e = exponential<-1>(limit(x, 24.0f));
    return (e.m * e.scale + 1.0f) + e.scale;
}

/// e^2x - 1, which is to e^2x + 1 as the tanh is to 1.
LSTMKIT_INLINE Vector twice_minus_one(Vector x) noexcept {
    const Vector bounded = limit(x, 10.0f);
    const Exponential e = exponential(bounded + bounded);
    return e.m * e.scale + (e.scale - 1.0f);
}

LSTMKIT_INLINE StreamStep stream_step(Vector zi, Vector zf, Vector zg, Vector zo, Vector c) noexcept {
    const Vector g = twice_minus_one(zg);
    c = c / inverse_sigmoid(zf) + g / ((g + 2.0f) * inverse_sigmoid(zi));
    const Vector m = twice_minus_one(c);
    return {c, m / ((m + 2.0f) * inverse_sigmoid(zo))};
}

}  // namespace
}  // namespace lstmkit
