// Layers of mLSTM cells, whose memory is a matrix; many steps at once, chunk after chunk. Float32 and Float64.
// N heads of S units, H = N * S.
#pragma once

#include "lstmkit/layer.h"

namespace lstmkit {

/// Between two states that are kept for backward.
inline constexpr Index chunk_steps = 64;

/// The states of all rows, contiguous; null stands for zeros in what is read. Memory and normaliser are kept times e^-m.
template <typename Number>
struct MlstmState {
    Number* memory = nullptr;      ///< [B, N, S values, S keys]
    Number* normaliser = nullptr;  ///< [B, N, S]
    Number* scale = nullptr;       ///< [B, N], m
};

/// Sides are query, key, value and output gate [H each], head after head, the key's products divided by sqrt(S) before its bias is
/// added; gates are log i and f before its sigmoid [N each]. Contiguous.
template <typename Number>
struct MlstmParameters {
    Number *sides = nullptr, *gates = nullptr;          ///< [4H, I] and [2N, I]
    Number *side_bias = nullptr, *gate_bias = nullptr;  ///< [4H] and [2N], or null
};

template <typename P>
struct MlstmCase : Course {
    Index heads;
    Sequence<const Real<P>> x;
    MlstmState<const Real<P>> first;
    MlstmParameters<const Real<P>> weights;

    Index width() const noexcept { return 4 * units + 2 * heads; }
    Index head_units() const noexcept { return units / heads; }
    Index chunks() const noexcept { return (steps + chunk_steps - 1) / chunk_steps; }
    /// Numbers of one head's state between two chunks: memory, normaliser and two more, each in whole lines of the caches.
    Index memory_numbers() const noexcept { return (head_units() * head_units() + 15) / 16 * 16; }
    Index between_numbers() const noexcept { return memory_numbers() + (head_units() + 15) / 16 * 16 + 16; }
    /// Products of a step, of one head's sides and of all heads' gates, in whole lines of the caches; and of one row's chunk.
    Index side_row() const noexcept { return (4 * head_units() + 15) / 16 * 16; }
    Index gate_row() const noexcept { return (2 * heads + 15) / 16 * 16; }
    Index product_numbers() const noexcept { return (steps < chunk_steps ? steps : chunk_steps) * (heads * side_row() + gate_row()); }
};

/// What backward reads again; null where it is not to come. Without products it multiplies again.
template <typename Number>
struct MlstmKept {
    Number* products = nullptr;  ///< [B, chunks, product_numbers], with their bias
    Number* between = nullptr;   ///< [B, chunks, N, between_numbers], the states that enter each chunk
};

template <typename P>
struct MlstmForward {
    MlstmCase<P> layer;
    Sequence<Real<P>> y;  ///< [T, B, H], zero beyond a row's length
    MlstmState<Real<P>> last;
    MlstmKept<Real<P>> kept;
};

/// `y` is what forward wrote. Upstream: gradients of output and last states; null is zero. Gradients: null is not wanted; all parameters' come together.
template <typename P>
struct MlstmBackward {
    MlstmCase<P> layer;
    MlstmState<const Real<P>> last;
    MlstmKept<const Real<P>> kept;
    Sequence<const Real<P>> y, grad_y;
    MlstmState<const Real<P>> grad_last;
    Sequence<Real<P>> dx;
    MlstmState<Real<P>> d_first;
    MlstmParameters<Real<P>> d_weights;
};

/// Run one direction on up to `threads` threads. Throw std::invalid_argument, before anything is written, for a call that
/// cannot be.
template <typename P>
void run_mlstm(const MlstmForward<P>& job, int threads, InstructionSet set);

template <typename P>
void run_mlstm(const MlstmBackward<P>& job, int threads, InstructionSet set);

}  // namespace lstmkit
