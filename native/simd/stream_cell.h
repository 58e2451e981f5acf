// The LSTM's step of lstm.h where speed counts most: a sigmoid times a tanh needs one division, not two, and gates
// beyond 24 are as good as open or shut. Absolute error below 3e-7; NaN stays NaN.
#pragma once

#include "activation.h"

namespace lstmkit {
namespace {

struct StreamStep {
    Vector c, h;
};

/// min(max(x, -bound), bound); the order of the arguments lets NaN pass.
LSTMKIT_INLINE Vector limit(Vector x, float bound) noexcept {
#if defined(__AVX512F__)
    const __m512 high = _mm512_set1_ps(bound), low = _mm512_set1_ps(-bound);
    return (Vector)_mm512_max_ps(low, _mm512_min_ps(high, (__m512)x));
#elif defined(__AVX2__)
    const __m256 high = _mm256_set1_ps(bound), low = _mm256_set1_ps(-bound);
    return (Vector)_mm256_max_ps(low, _mm256_min_ps(high, (__m256)x));
#else
    const Vector high = Vector{} + bound, low = Vector{} - bound;
    x = x > high ? high : x;  // false for NaN
    return x < low ? low : x;
#endif
}

/// 1 + e^-x, the inverse of the sigmoid.
LSTMKIT_INLINE Vector inverse_sigmoid(Vector x) noexcept {
    const Exponential e = exponential(limit(-x, 24.0f));
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
