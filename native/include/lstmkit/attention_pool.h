// The mean of a sequence's steps by weights that a small network gives each of them: softmax of v tanh(W x + b) over a
// row's own steps. Float32, Float64 and BFloat16.
//
// Source: Yang et al. (2016), Hierarchical Attention Networks for Document Classification, eq. 5 to 7.
#pragma once

#include <cstdint>

#include "lstmkit/layer.h"

namespace lstmkit {

template <typename P>
struct AttentionPool {
    Index steps, batch, features, units;
    const std::int64_t* lengths;   ///< [B], in 1..T, or null: all are T
    Sequence<const Stored<P>> x;   ///< [T, B, F]
    const Real<P>*weight, *bias, *v;  ///< [U, F], [U] and [U], contiguous
};

/// Numbers of a step's hidden units, with what pads them.
constexpr Index hidden_width(Index units) noexcept { return (units + 15) / 16 * 16; }

template <typename P>
struct AttentionPoolForward {
    AttentionPool<P> pool;
    Real<P>* pooled;  ///< [B, F]
    Real<P>* shares;  ///< [B, T], zero beyond a row's length
    Real<P>* hidden;  ///< [B, T, hidden_width], tanh(W x + b) for backward, of real steps alone
};

/// `shares` and `hidden` are what forward wrote. Null upstream gradients are zero.
template <typename P>
struct AttentionPoolBackward {
    AttentionPool<P> pool;
    const Real<P>*shares, *hidden;
    const Real<P>*grad_pooled, *grad_shares;  ///< [B, F] and [B, T], contiguous
    Sequence<Stored<P>> dx;                   ///< [T, B, F], zero beyond a row's length
    Real<P>*dweight, *dbias, *dv;
};

/// On up to `threads` threads. Throw std::invalid_argument, before anything is written, for a call that cannot be.
template <typename P>
void run_attention_pool(const AttentionPoolForward<P>& job, int threads, InstructionSet set);

template <typename P>
void run_attention_pool(const AttentionPoolBackward<P>& job, int threads, InstructionSet set);

}  // namespace lstmkit
