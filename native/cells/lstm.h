// The pointwise part of the LSTM, forward and backward; the equations are those of docs/explanation/lstm.md.
#pragma once

#include "activation.h"

namespace lstmkit {
namespace {

template <typename V>
struct CellStep {
    V c, h;
};

/// z: pre-activations in the order i f g o; c: the cell state before; keep(gate, value) takes each gate as soon as it is
/// known, so that it need not be held. V is a Vector or a Bundle.
template <typename V, typename Keep>
LSTMKIT_INLINE CellStep<V> lstm_step(const V& zi, const V& zf, const V& zg, const V& zo, const V& c_before, Keep keep) noexcept {
    const V i = sigmoid(zi);
    keep(0, i);
    const V g = tanh(zg);
    keep(2, g);
    const V f = sigmoid(zf);
    keep(1, f);
    const V c = f * c_before + i * g;
    const V o = sigmoid(zo);
    keep(3, o);
    return {c, o * tanh(c)};
}

struct CellGradient {
    Vector zi, zf, zg, zo, c_before, h;
};

/// dh, dc: gradients of this step's output and cell state; dgates: of the gates themselves, mostly null.
LSTMKIT_INLINE CellGradient lstm_step_backward(Vector i, Vector f, Vector g, Vector o, Vector tanh_c, Vector c_before,
                                               Vector dh, Vector dc, const Vector* dgates) noexcept {
    const Vector dh_o = dh * o;
    dc = dh_o * (one - tanh_c * tanh_c) + dc;
    Vector di = dc * g, df = dc * c_before, dg = dc * i, d_o = dh * tanh_c;
    if (dgates) di += dgates[0], df += dgates[1], dg += dgates[2], d_o += dgates[3];
    return {di * i * (one - i), df * f * (one - f), dg * (one - g * g), d_o * o * (one - o), dc * f, o * tanh_c};
}

}  // namespace
}  // namespace lstmkit
