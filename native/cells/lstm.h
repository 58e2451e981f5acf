// The pointwise part of the LSTM, forward and backward; the equations are those of docs/explanation/lstm.md.
#pragma once

#include "activation.h"

namespace lstmkit {
namespace {

struct CellStep {
    Vector i, f, g, o, c, h;
};

/// z: pre-activations in the order i f g o; c: the cell state before.
LSTMKIT_INLINE CellStep lstm_step(Vector zi, Vector zf, Vector zg, Vector zo, Vector c) noexcept {
    CellStep step;
    step.i = sigmoid(zi);
    step.f = sigmoid(zf);
    step.g = tanh(zg);
    step.o = sigmoid(zo);
    step.c = step.f * c + step.i * step.g;
    step.h = step.o * tanh(step.c);
    return step;
}

struct CellGradient {
    Vector zi, zf, zg, zo, c_before, h;
};

/// dh, dc: gradients of this step's output and cell state; di..d_o: of the gates themselves, mostly zero.
LSTMKIT_INLINE CellGradient lstm_step_backward(Vector i, Vector f, Vector g, Vector o, Vector c, Vector c_before,
                                               Vector dh, Vector dc, const Vector* dgates) noexcept {
    const Vector tanh_c = tanh(c), dh_o = dh * o;
    dc = dh_o * (one - tanh_c * tanh_c) + dc;
    Vector di = dc * g, df = dc * c_before, dg = dc * i, d_o = dh * tanh_c;
    if (dgates) di += dgates[0], df += dgates[1], dg += dgates[2], d_o += dgates[3];
    return {di * i * (one - i), df * f * (one - f), dg * (one - g * g), d_o * o * (one - o), dc * f, o * tanh_c};
}

}  // namespace
}  // namespace lstmkit
