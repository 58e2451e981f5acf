// GRU, RNN and JANET, whose state is their output; the equations are those of docs/explanation/relatives.md. And what other
// relatives share.
#pragma once

#include "lstm.h"
#include "lstm_variant.h"

namespace lstmkit {
namespace {

LSTMKIT_INLINE void keep(const ForwardRow& row, const Units& units, Index k, Vector value) noexcept {
    if (row.kept) units.leave(row.kept + k * row.kept_stride, value, row.streams);
}

LSTMKIT_INLINE Vector kept_of(const BackwardRow& row, const Units& units, Index k) noexcept {
    return units.load(row.kept + k * row.kept_stride);
}

LSTMKIT_INLINE Vector sum_of(const ForwardRow& row, const Units& units, Index k, Index sums) noexcept {
    return units.load_vector(row.sums + k * lanes, sums * lanes);
}

LSTMKIT_INLINE void leave_sum(const BackwardRow& row, const Units& units, Index k, Vector d) noexcept {
    units.store_vector(row.dz + k * lanes, d, row.dz_block);
}

LSTMKIT_INLINE void leave_output(const ForwardRow& row, const Units& units, Vector h) noexcept {
    units.store_vector(row.state, h);
    if (row.cells) units.leave(row.cells, h, row.streams);
    units.store(row.y, h);
}

/// All that flows into the output, which is the state; nothing goes past the sums but through the state.
LSTMKIT_INLINE Vector arrive_at_output(const BackwardRow& row, const Units& units) noexcept {
    Vector dh = units.load_vector(row.dh) + units.load_vector(row.dstate);
    if (row.grad_y) dh = dh + units.load(row.grad_y);
    if (row.grad_cells) dh = dh + units.load(row.grad_cells);
    units.store_vector(row.dh, Vector{});
    return dh;
}

LSTMKIT_INLINE Vector grad_kept(const BackwardRow& row, const Units& units, Index k) noexcept {
    return row.grad_kept ? units.load(row.grad_kept + k * row.grad_kept_stride) : Vector{};
}

// A step that ends as a plain LSTM's: from four sums in the order i f g o, the first that are kept.

LSTMKIT_INLINE void end_as_lstm(const ForwardRow& row, const Units& units, Index first, Index sums, Vector c) noexcept {
    const auto sum = [&](Index k) noexcept { return sum_of(row, units, first + k, sums); };
    const auto [after, h] = lstm_step(sum(0), sum(1), sum(2), sum(3), c, [&](Index k, Vector gate) noexcept { keep(row, units, k, gate); });
    leave(row, units, c, after, h);
}

/// The gradient of the memory that the gates were given.
LSTMKIT_INLINE Vector end_as_lstm_backward(const BackwardRow& row, const Units& units, Index first, Vector c) noexcept {
    const Arriving in = arrive(row, units);
    Vector dgates[gates];
    for (Index k = 0; k < gates; ++k) dgates[k] = grad_kept(row, units, k);
    const CellGradient grad = lstm_step_backward(kept_of(row, units, 0), kept_of(row, units, 1), kept_of(row, units, 2), kept_of(row, units, 3),
                                                 tanh(units.load(row.cells)), c, in.dh, in.dc, dgates);
    leave_sum(row, units, first, grad.zi);
    leave_sum(row, units, first + 1, grad.zf);
    leave_sum(row, units, first + 2, grad.zg);
    leave_sum(row, units, first + 3, grad.zo);
    return grad.c_before;
}

LSTMKIT_INLINE void gru_forward(const ForwardRow& row, const Units& units) noexcept {
    const auto sum = [&](Index k) noexcept { return units.load_vector(row.sums + k * lanes, 4 * lanes); };
    const Vector before = units.load_vector(row.state), remembered = sum(3);
    const Options& o = *row.options;
    const Vector r = gate_of(o, Gate::free, sum(1)), z = gate_of(o, Gate::free, sum(2));
    const Vector n = curve_of(o.candidate, clip(sum(0) + r * remembered, o.gate_clip));
    if (row.kept) {
        units.leave(row.kept, r, row.streams);
        units.leave(row.kept + row.kept_stride, z, row.streams);
        units.leave(row.kept + 2 * row.kept_stride, n, row.streams);
        units.leave(row.kept + 3 * row.kept_stride, remembered, row.streams);
    }
    leave_output(row, units, (one - z) * n + z * before);
}

LSTMKIT_INLINE void gru_backward(const BackwardRow& row, const Units& units) noexcept {
    const auto kept = [&](Index k) noexcept { return units.load(row.kept + k * row.kept_stride); };
    const Vector r = kept(0), z = kept(1), n = kept(2), remembered = kept(3), before = units.load(row.cells_before);
    const Vector dh = arrive_at_output(row, units);
    const Vector dn = dh * (one - z) + grad_kept(row, units, 2), dz = dh * (before - n) + grad_kept(row, units, 1);
    const Options& o = *row.options;
    const Vector dsum = through_clip(o.candidate, o.gate_clip, n, dn), dr = dsum * remembered + grad_kept(row, units, 0);
    units.store_vector(row.dstate, dh * z);
    units.store_vector(row.dz, dsum, row.dz_block);
    units.store_vector(row.dz + lanes, through_clip(o.gate, o.gate_clip, r, dr), row.dz_block);
    units.store_vector(row.dz + 2 * lanes, through_clip(o.gate, o.gate_clip, z, dz), row.dz_block);
    units.store_vector(row.dz + 3 * lanes, dsum * r, row.dz_block);
}

LSTMKIT_INLINE void rnn_forward(const ForwardRow& row, const Units& units) noexcept {
    const Vector h = activate(row.options->candidate, clip(units.load_vector(row.sums), row.options->gate_clip));
    if (row.kept) units.leave(row.kept, h, row.streams);
    leave_output(row, units, h);
}

LSTMKIT_INLINE void rnn_backward(const BackwardRow& row, const Units& units) noexcept {
    const Vector dh = arrive_at_output(row, units) + grad_kept(row, units, 0);
    units.store_vector(row.dstate, Vector{});
    const Options& o = *row.options;
    units.store_vector(row.dz, through_clip(o.candidate, o.gate_clip, units.load(row.kept), dh), row.dz_block);
}

LSTMKIT_INLINE void janet_forward(const ForwardRow& row, const Units& units) noexcept {
    const Vector s = units.load_vector(row.sums, 2 * lanes), before = units.load_vector(row.state);
    const Vector f = sigmoid(s), g = tanh(units.load_vector(row.sums + lanes, 2 * lanes));
    const Vector let_in = one - sigmoid(s - row.options->shift);
    if (row.kept) {
        units.leave(row.kept, f, row.streams);
        units.leave(row.kept + row.kept_stride, g, row.streams);
        units.leave(row.kept + 2 * row.kept_stride, let_in, row.streams);
    }
    leave_output(row, units, f * before + let_in * g);
}

LSTMKIT_INLINE void janet_backward(const BackwardRow& row, const Units& units) noexcept {
    const auto kept = [&](Index k) noexcept { return units.load(row.kept + k * row.kept_stride); };
    const Vector f = kept(0), g = kept(1), let_in = kept(2), dh = arrive_at_output(row, units);
    const Vector df = dh * units.load(row.cells_before) + grad_kept(row, units, 0), dg = dh * let_in + grad_kept(row, units, 1);
    units.store_vector(row.dstate, dh * f);
    units.store_vector(row.dz, df * f * (one - f) - dh * g * let_in * (one - let_in), row.dz_block);
    units.store_vector(row.dz + lanes, dg * (one - g * g), row.dz_block);
}

}  // namespace
}  // namespace lstmkit
