// The Phased LSTM: an LSTM's step, as far as a unit is open. Its fifth sum are the turns that a unit's rhythm has made.
#pragma once

#include "relatives.h"

namespace lstmkit {
namespace {

/// The largest whole number that is not above x.
LSTMKIT_INLINE Vector floor_of(Vector x) noexcept {
    constexpr Real all_whole = Real(Integer{1} << Format<Real>::mantissa);  // from here on every number is
    const Vector size = magnitude(x), near = with_sign((size + all_whole) - all_whole, x);
    return where_below(size, all_whole, near > x ? near - one : near, x);
}

/// The part of a period in which a unit is open; 1 where there is no unit, which divides by it.
LSTMKIT_INLINE Vector ratio_of(const Options& o, Index first, const Units& units) noexcept {
    const Vector ratio = units.load(o.ratio + first);
    return ratio == Vector{} ? Vector{} + one : ratio;
}

/// By the part of a period: where a unit opens, where it closes, and where it is closed.
LSTMKIT_INLINE Vector by_phase(Vector phase, Vector ratio, Vector opening, Vector closing, Vector closed) noexcept {
    return phase < Real(0.5) * ratio ? opening : phase < ratio ? closing : closed;
}

LSTMKIT_INLINE void phased_forward(const ForwardRow& row, const Units& units) noexcept {
    const auto sum = [&](Index k) noexcept { return sum_of(row, units, k, 5); };
    const Vector turns = sum(4), phase = turns - floor_of(turns), ratio = ratio_of(*row.options, row.first, units);
    const Vector rising = two * phase / ratio, open = by_phase(phase, ratio, rising, two - rising, row.options->leak * phase);
    const Vector c = units.load_vector(row.state);
    const auto [c_new, h_new] = lstm_step(sum(0), sum(1), sum(2), sum(3), c, [&](Index k, Vector gate) noexcept { keep(row, units, k, gate); });
    keep(row, units, 4, open);
    keep(row, units, 5, phase);
    leave(row, units, c, open * c_new + (one - open) * c, open * h_new + (one - open) * units.load(row.h_before));
}

LSTMKIT_INLINE void phased_backward(const BackwardRow& row, const Units& units) noexcept {
    const Vector i = kept_of(row, units, 0), f = kept_of(row, units, 1), g = kept_of(row, units, 2), o = kept_of(row, units, 3);
    const Vector open = kept_of(row, units, 4), phase = kept_of(row, units, 5), ratio = ratio_of(*row.options, row.first, units);
    const Vector c = units.load(row.cells_before), c_new = f * c + i * g, tanh_c = tanh(c_new);
    const Arriving in = arrive(row, units);
    units.store_vector(row.dh, (one - open) * in.dh);
    Vector dgates[gates];
    for (Index k = 0; k < gates; ++k) dgates[k] = grad_kept(row, units, k);
    const CellGradient grad = lstm_step_backward(i, f, g, o, tanh_c, c, open * in.dh, open * in.dc, dgates);
    units.store_vector(row.dstate, grad.c_before + (one - open) * in.dc);
    leave_sum(row, units, 0, grad.zi);
    leave_sum(row, units, 1, grad.zf);
    leave_sum(row, units, 2, grad.zg);
    leave_sum(row, units, 3, grad.zo);

    const Vector d = in.dh * (grad.h - units.load(row.h_before)) + in.dc * (c_new - c) + grad_kept(row, units, 4);
    const Vector slope = two / ratio, bend = slope * phase / ratio;
    leave_sum(row, units, 4, d * by_phase(phase, ratio, slope, -slope, Vector{} + row.options->leak));
    if (row.totals) units.add_vector(row.totals, d * by_phase(phase, ratio, -bend, bend, Vector{}));
}

}  // namespace
}  // namespace lstmkit
