// The last layer of a language model and its loss in one: the cross entropy of softmax(W x + b), whose scores never leave the
// caches. N rows, F features, C classes. Float32, Float64 and BFloat16.
// Nothing here is owned: every pointer belongs to the caller. Outputs must not overlap inputs or each other. Both functions
// are thread-safe and throw std::invalid_argument, before anything is written, on a case that cannot be.
#pragma once

#include <cstdint>

#include "lstmkit/dispatch.h"

namespace lstmkit {

/// Classes of a block; the last one may have fewer.
inline constexpr Index loss_block = 128;

constexpr Index loss_blocks(Index classes) noexcept { return (classes + loss_block - 1) / loss_block; }

template <typename P>
struct LossCase {
    Index rows, features, classes;
    const Stored<P>* x;           ///< [N, F], contiguous like all that follows
    const Real<P>*weight, *bias;  ///< [C, F] and [C]
    const std::int64_t* targets;  ///< [N] in 0..C
};

/// The softmax is shares * factors: what forward leaves for backward.
template <typename Share, typename Number>
struct LossKept {
    Share* shares;    ///< [blocks][N][loss_block], relative to the largest of the row in its block; forward may be given null
    Number* factors;  ///< [blocks][N]
    Share* weight;    ///< [C, F], rounded; may be null where Stored is Real, and where shares are
};

template <typename P>
struct LossForward {
    LossCase<P> layer;
    LossKept<Stored<P>, Real<P>> kept;
    Real<P>* losses;  ///< [N], in nats
};

template <typename P>
struct LossBackward {
    LossCase<P> layer;
    LossKept<const Stored<P>, const Real<P>> kept;
    const Real<P>* upstream;  ///< [N], gradients of the losses
    Real<P>*dx, *dweight, *dbias;
};

/// Run on up to `threads` threads; each has some of the classes for itself.
template <typename P>
void run_loss(const LossForward<P>& job, int threads, InstructionSet set);

template <typename P>
void run_loss(const LossBackward<P>& job, int threads, InstructionSet set);

}  // namespace lstmkit
