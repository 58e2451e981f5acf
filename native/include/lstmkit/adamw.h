// A step of AdamW over all weights of a model in one pass, which also clips the gradient and lets averages of the weights
// follow them.
//
// Source: Loshchilov & Hutter (2019), Decoupled Weight Decay Regularization, algorithm 2.
#pragma once

#include "lstmkit/dispatch.h"

namespace lstmkit {

/// `count` numbers that lie densely.
struct AdamwWeights {
    Index count;
    float* weights;
    const float* grad;  ///< or null: the weights stay, and their average follows
    float *mean, *square;  ///< the optimizer's memory
    float* steps;          ///< how many were taken, one number; counted on
    float* average;        ///< or null
    double decay;
};

struct AdamwStep {
    double rate, beta1, beta2, epsilon;
    double clip;           ///< the largest norm of all gradients together; infinity clips nothing
    double average_share;  ///< of the new weights in their average
};

/// Returns whether the step was taken: if `loss` or the norm is not finite, averages follow the weights as they are, and
/// nothing else happens. The same numbers for every count of threads.
bool run_adamw(const AdamwWeights* weights, Index count, const AdamwStep& step, double loss, int threads, InstructionSet set);

}  // namespace lstmkit
