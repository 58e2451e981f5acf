// One direction of one LSTM layer over a whole sequence: forward, and backward through time.
// T steps, B rows, I inputs, H units; the four gates are in the order i f g o. All numbers are float32.
// Nothing here is owned: every pointer belongs to the caller and must live through the call. Outputs must not overlap
// inputs or each other. Both functions are thread-safe and throw std::invalid_argument on a case that cannot be.
#pragma once

#include <cstdint>

#include "lstmkit/dispatch.h"

namespace lstmkit {

/// A view of [T, B, N]: number n of row b at step t is at(t, b)[n].
template <typename Float>
struct Sequence {
    Float* data = nullptr;
    Index step = 0, row = 0;

    Float* at(Index t, Index b) const noexcept { return data + t * step + b * row; }
    explicit operator bool() const noexcept { return data != nullptr; }
};

/// A view of [B, N]; null stands for zeros.
template <typename Float>
struct State {
    Float* data = nullptr;
    Index row = 0;

    Float* at(Index b) const noexcept { return data + b * row; }
    explicit operator bool() const noexcept { return data != nullptr; }
};

/// What a layer is given.
struct LayerCase {
    Index steps, batch, inputs, units;
    Sequence<const float> x;                        ///< [T, B, I]
    State<const float> h, c;                        ///< [B, H], before the first step
    const float *weight_input, *weight_recurrent;   ///< [4H, I] and [4H, H], contiguous
    const float *bias_input, *bias_recurrent;       ///< [4H] each, or null
    const std::int64_t* lengths;                    ///< [B] in 0..T, or null: all T. Steps beyond are never read
    const std::uint8_t* resets;                     ///< [T, B] contiguous, or null; 1 zeroes the state before that step
    bool backwards;                                 ///< read the sequence from its end
};

/// What every step left, as forward writes it and backward reads it. Zero beyond a row's length.
template <typename Float>
struct Trace {
    Sequence<Float> cells;        ///< [T, B, H] or null
    Sequence<Float> activations;  ///< [T, B, 4, H], the gates after their activation, or null
    Index gate_stride = 0;        ///< from one gate to the next in activations
};

struct ForwardResult {
    Sequence<float> y;  ///< [T, B, H], zero beyond a row's length
    State<float> h, c;  ///< [B, H], after each row's last step
    Trace<float> trace;
};

/// Gradients of the loss with respect to what forward gave; null is zero.
struct Upstream {
    Sequence<const float> y;
    State<const float> h, c;
    Trace<const float> trace;
};

/// Gradients with respect to what the layer was given; null is not wanted. The weights' four come together or not at all.
struct Gradients {
    Sequence<float> x;                       ///< [T, B, I], zero beyond a row's length
    State<float> h, c;                       ///< [B, H]
    float *weight_input, *weight_recurrent;  ///< [4H, I], [4H, H]
    float* bias;                             ///< [4H], of either bias
};

/// Results depend on `threads` and the instruction set, and on nothing else outside the arguments.
void run_forward(const LayerCase& layer, const ForwardResult& result, int threads, InstructionSet set);

/// `y` and `trace` are what forward wrote.
void run_backward(const LayerCase& layer, const Sequence<const float>& y, const Trace<const float>& trace,
                  const Upstream& upstream, const Gradients& gradients, int threads, InstructionSet set);

}  // namespace lstmkit
