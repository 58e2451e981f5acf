// Some numbers of a step. Nothing here owns memory.
#pragma once

#include "lstmkit/adamw.h"

namespace lstmkit {

/// What a step multiplies with; of the decay what is left of a weight, of each memory what it takes in.
struct AdamwFactors {
    float grad, kept, taken1, beta2, taken2, epsilon, rate, root, share;
};

/// They exist once per instruction set, are thread-safe and allocate nothing.
struct AdamwKernels {
    double (*square)(const float* numbers, Index count) noexcept;
    void (*step)(const AdamwWeights& weights, const AdamwFactors& factors) noexcept;
    void (*follow)(const float* weights, float* average, Index count, float share) noexcept;
};

}  // namespace lstmkit
