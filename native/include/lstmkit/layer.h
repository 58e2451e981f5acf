// The directions of one LSTM layer over a whole sequence: forward, and backward through time.
// T steps, B rows, I inputs, H units, R outputs: the units themselves, or their projection (Sak et al. 2014) to fewer.
// The four gates are in the order i f g o. P is a precision.
// Nothing here is owned: every pointer belongs to the caller and must live through the call. Outputs must not overlap
// inputs or each other. Both functions are thread-safe and throw std::invalid_argument on a case that cannot be.
#pragma once

#include <cstdint>

#include "lstmkit/dispatch.h"

namespace lstmkit {

/// A view of [T, B, N]: number n of row b at step t is at(t, b)[n].
template <typename Number>
struct Sequence {
    Number* data = nullptr;
    Index step = 0, row = 0;

    Number* at(Index t, Index b) const noexcept { return data + t * step + b * row; }
    explicit operator bool() const noexcept { return data != nullptr; }
};

/// A view of [B, N]; null stands for zeros.
template <typename Number>
struct State {
    Number* data = nullptr;
    Index row = 0;

    Number* at(Index b) const noexcept { return data + b * row; }
    explicit operator bool() const noexcept { return data != nullptr; }
};

/// The way that a layer takes through time.
struct Course {
    Index steps, batch, inputs, units, outputs;
    bool projected;               ///< whether the outputs are a projection; they are the units where not
    const std::int64_t* lengths;  ///< [B] in 0..T, or null: all T. Steps beyond are never read
    const std::uint8_t* resets;   ///< [T, B] contiguous, or null; 1 zeroes the state before that step
    bool backwards;               ///< read the sequence from its end
    CellShape shape = {};         ///< G sums, S states, K kept numbers of a unit; those of a plain LSTM are 4, 1 and 4
    Index heads = 1;              ///< parts of the units between which there are no recurrent weights
    Index rounds = 0;             ///< of a Mogrifier LSTM, in which input and output before change each other in turn before a plain LSTM sees them
    Index rank = 0;               ///< Q, of the matrices with which they do; 0: full

    /// Weights of one round.
    Index round_weights() const noexcept { return rank ? rank * (inputs + units) : inputs * units; }
};

/// What regularisers have drawn for a layer; null is nothing.
template <typename P>
struct Masks {
    State<const Stored<P>> state;          ///< [B, R], multiplied with the output before where the sums read it
    Sequence<const Stored<P>> candidate;   ///< [T, B, H], multiplied with g
    Sequence<const std::uint8_t> keeps_h, keeps_c;  ///< [T, B, R] and [T, B, H]: 1 keeps what was before
};

/// What a layer is given. Cell states are Real in every precision; what is multiplied is Stored.
template <typename P>
struct LayerCase : Course {
    Sequence<const Stored<P>> x;                        ///< [T, B, I]
    State<const Stored<P>> h;                           ///< [B, R], before the first step
    State<const Real<P>> c;                             ///< [B, S, H], likewise
    const Stored<P> *weight_input, *weight_recurrent;   ///< [4H, I] and [4H, R], contiguous; as the shape says
    const Stored<P> *bias_input, *bias_recurrent;       ///< [4H] each, or null; of other shapes [GH], the second or both null
    const Stored<P>* weight_projection;                 ///< [R, H] if projected, else null
    const CellOptions<P>* options = nullptr;            ///< null: a plain LSTM
    Masks<P> masks = {};
    const Stored<P>* weight_middle = nullptr;           ///< [MH, VH] of a middle of V vectors that adds to M sums, else null
    const Stored<P>* weight_rounds = nullptr;           ///< [I, H] of the rounds 1, 3 ..., then [H, I] of the rounds 2, 4 ...; of a rank
                                                        ///< [Q, H] and [I, Q], then [Q, I] and [H, Q]; null without any
};

/// What every step left, as forward writes it and backward reads it. Zero beyond a row's length.
template <typename Cell, typename Gate>
struct Trace {
    Sequence<Cell> cells;        ///< [T, B, S, H] or null
    Sequence<Gate> activations;  ///< [T, B, K, H], what is kept, the gates after their activation first; or null
    Index gate_stride = 0;       ///< from one of them to the next
    Index cell_stride = 0;       ///< from one state to the next in cells
};

template <typename P>
using TraceOut = Trace<Real<P>, Saved<P>>;
template <typename P>
using TraceIn = Trace<const Real<P>, const Saved<P>>;

template <typename P>
struct ForwardResult {
    Sequence<Stored<P>> y;  ///< [T, B, R], zero beyond a row's length
    State<Stored<P>> h;     ///< [B, R], after each row's last step
    State<Real<P>> c;       ///< [B, S, H], likewise
    TraceOut<P> trace;
};

/// Gradients of the loss with respect to what forward gave; null is zero.
template <typename P>
struct Upstream {
    Sequence<const Stored<P>> y;
    State<const Real<P>> h, c;
    Trace<const Real<P>, const Stored<P>> trace;
};

/// Gradients with respect to what the layer was given; null is not wanted. The weights' come together or not at all.
template <typename P>
struct Gradients {
    Sequence<Stored<P>> x;                     ///< [T, B, I], zero beyond a row's length
    State<Real<P>> h, c;                       ///< [B, R], [B, S, H]
    Real<P> *weight_input, *weight_recurrent;  ///< [4H, I], [4H, R]
    Real<P>* bias;                             ///< [GH], of either bias
    Real<P>* weight_projection;                ///< [R, H] if projected, else null
    Real<P>* totals = nullptr;                 ///< [totals_of(options), H] of a cell's options
    Real<P>* projection_bias = nullptr;        ///< [R] if there is one, else null
    Real<P>* weight_middle = nullptr;          ///< [MH, VH] if there is a middle, else null
    Real<P>* weight_rounds = nullptr;          ///< likewise
};

/// One direction of a layer, forward.
template <typename P>
struct ForwardJob {
    LayerCase<P> layer;
    ForwardResult<P> result;
};

/// One direction of a layer, backward; `y` and `trace` are what forward wrote.
template <typename P>
struct BackwardJob {
    LayerCase<P> layer;
    Sequence<const Stored<P>> y;
    TraceIn<P> trace;
    Upstream<P> upstream;
    Gradients<P> gradients;
};

/// Most directions of a call.
inline constexpr int most_directions = 2;

/// Runs `count` directions of one layer, side by side where there are threads for it. They differ in nothing of their
/// course but the direction. Results depend on `threads` and the instruction set, and on nothing else outside the arguments.
template <typename P>
void run_forward(const ForwardJob<P>* directions, int count, int threads, InstructionSet set);

template <typename P>
void run_backward(const BackwardJob<P>* directions, int count, int threads, InstructionSet set);

}  // namespace lstmkit
