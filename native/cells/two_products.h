// Cells with a second product within their step: a first pass makes what it reads, the middle. The equations are those of
// docs/explanation/relatives.md.
#pragma once

#include "logarithm.h"
#include "relatives.h"

namespace lstmkit {
namespace {

// The GRU that resets before its product.

LSTMKIT_INLINE void gru_before_middle(const ForwardRow& row, const Units& units) noexcept {
    const Vector r = gate_of(*row.options, Gate::free, sum_of(row, units, 0, 3));
    keep(row, units, 0, r);
    units.store(row.middle, r * units.load_vector(row.state));
}

LSTMKIT_INLINE void gru_before_forward(const ForwardRow& row, const Units& units) noexcept {
    const Options& o = *row.options;
    const Vector z = gate_of(o, Gate::free, sum_of(row, units, 1, 3)), n = curve_of(o.candidate, clip(sum_of(row, units, 2, 3), o.gate_clip));
    keep(row, units, 1, z);
    keep(row, units, 2, n);
    leave_output(row, units, (one - z) * n + z * units.load_vector(row.state));
}

LSTMKIT_INLINE void gru_before_backward(const BackwardRow& row, const Units& units) noexcept {
    const Options& o = *row.options;
    const Vector z = kept_of(row, units, 1), n = kept_of(row, units, 2), dh = arrive_at_output(row, units);
    const Vector dz = dh * (units.load(row.cells_before) - n) + grad_kept(row, units, 1), dn = dh * (one - z) + grad_kept(row, units, 2);
    units.store_vector(row.dstate, dh * z);
    leave_sum(row, units, 1, through_clip(o.gate, o.gate_clip, z, dz));
    leave_sum(row, units, 2, through_clip(o.candidate, o.gate_clip, n, dn));
}

LSTMKIT_INLINE void gru_before_middle_backward(const BackwardRow& row, const Units& units) noexcept {
    const Vector r = kept_of(row, units, 0), h = units.load(row.cells_before), d = units.load(row.d_middle);
    units.store(row.middle, r * h);
    units.add_vector(row.dstate, d * r);
    leave_sum(row, units, 0, through_clip(row.options->gate, row.options->gate_clip, r, d * h + grad_kept(row, units, 0)));
}

// The multiplicative LSTM: the middle is a product of what the input and what the output before make of themselves.

LSTMKIT_INLINE void multiplicative_middle(const ForwardRow& row, const Units& units) noexcept {
    const Vector recurrent = sum_of(row, units, 0, 6), input = sum_of(row, units, 1, 6);
    keep(row, units, 4, recurrent);
    keep(row, units, 5, input);
    units.store(row.middle, input * recurrent);
}

LSTMKIT_INLINE void multiplicative_forward(const ForwardRow& row, const Units& units) noexcept {
    end_as_lstm(row, units, 2, 6, units.load_vector(row.state));
}

LSTMKIT_INLINE void multiplicative_backward(const BackwardRow& row, const Units& units) noexcept {
    units.store_vector(row.dstate, end_as_lstm_backward(row, units, 2, units.load(row.cells_before)));
}

LSTMKIT_INLINE void multiplicative_middle_backward(const BackwardRow& row, const Units& units) noexcept {
    const Vector recurrent = kept_of(row, units, 4), input = kept_of(row, units, 5), d = units.load(row.d_middle);
    units.store(row.middle, input * recurrent);
    leave_sum(row, units, 0, d * input);
    leave_sum(row, units, 1, d * recurrent);
}

// The time-aware LSTM: the middle is the memory, whose short-term part fades with the time that has passed, the last sum.

constexpr Real euler = Real(2.71828182845904523536);

/// The part of the short-term memory that is left.
LSTMKIT_INLINE Vector left_after(Vector passed) noexcept { return one / log_of(passed + euler); }

LSTMKIT_INLINE void time_aware_middle(const ForwardRow& row, const Units& units) noexcept {
    units.store(row.middle, units.load_vector(row.state));
}

LSTMKIT_INLINE void time_aware_forward(const ForwardRow& row, const Units& units) noexcept {
    const Vector brief = tanh(sum_of(row, units, 0, 6)), passed = sum_of(row, units, 5, 6);
    keep(row, units, 4, brief);
    keep(row, units, 5, passed);
    end_as_lstm(row, units, 1, 6, (units.load_vector(row.state) - brief) + brief * left_after(passed));
}

LSTMKIT_INLINE void time_aware_backward(const BackwardRow& row, const Units& units) noexcept {
    const Vector brief = kept_of(row, units, 4), passed = kept_of(row, units, 5), left = left_after(passed);
    const Vector dc = end_as_lstm_backward(row, units, 1, (units.load(row.cells_before) - brief) + brief * left);
    const Vector d_brief = dc * (left - one);
    units.store_vector(row.dstate, dc);
    leave_sum(row, units, 0, d_brief * (one - brief * brief));
    leave_sum(row, units, 5, -dc * brief * left * left / (passed + euler));
}

LSTMKIT_INLINE void time_aware_middle_backward(const BackwardRow& row, const Units& units) noexcept {
    units.store(row.middle, units.load(row.cells_before));
    units.add_vector(row.dstate, units.load(row.d_middle));
}

}  // namespace
}  // namespace lstmkit
