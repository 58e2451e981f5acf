// GRU, RNN and JANET, whose state is their output; the equations are those of docs/explanation/relatives.md.
#pragma once

#include "lstm_variant.h"

namespace lstmkit {
namespace {

template <Index N>
LSTMKIT_INLINE void leave_output(const ForwardRow& row, const Units<N>& units, const Bundle<N>& h) noexcept {
    units.store_vectors(row.state, h);
    if (row.cells) units.store(row.cells, h);
    units.store(row.y, h);
}

/// All that flows into the output, which is the state; nothing goes past the sums but through the state.
template <Index N>
LSTMKIT_INLINE Bundle<N> arrive_at_output(const BackwardRow& row, const Units<N>& units) noexcept {
    Bundle<N> dh = units.load_vectors(row.dh) + units.load_vectors(row.dstate);
    if (row.grad_y) dh = dh + units.load(row.grad_y);
    if (row.grad_cells) dh = dh + units.load(row.grad_cells);
    units.store_vectors(row.dh, Bundle<N>{});
    return dh;
}

template <Index N>
LSTMKIT_INLINE Bundle<N> grad_kept(const BackwardRow& row, const Units<N>& units, Index k) noexcept {
    return row.grad_kept ? units.load(row.grad_kept + k * row.grad_kept_stride) : Bundle<N>{};
}

template <Index N>
struct GruForward {
    static LSTMKIT_INLINE void run(const ForwardRow& row, const Units<N>& units) noexcept {
        const auto sum = [&](Index k) noexcept { return units.load_vectors(row.sums + k * lanes, 4 * lanes); };
        const Bundle<N> before = units.load_vectors(row.state), remembered = sum(3);
        const Bundle<N> r = sigmoid(sum(1)), z = sigmoid(sum(2)), n = tanh(sum(0) + r * remembered);
        if (row.kept) {
            units.store(row.kept, r);
            units.store(row.kept + row.kept_stride, z);
            units.store(row.kept + 2 * row.kept_stride, n);
            units.store(row.kept + 3 * row.kept_stride, remembered);
        }
        leave_output(row, units, (one - z) * n + z * before);
    }
};

template <Index N>
struct GruBackward {
    static LSTMKIT_INLINE void run(const BackwardRow& row, const Units<N>& units) noexcept {
        const auto kept = [&](Index k) noexcept { return units.load(row.kept + k * row.kept_stride); };
        const Bundle<N> r = kept(0), z = kept(1), n = kept(2), remembered = kept(3), before = units.load(row.cells_before);
        const Bundle<N> dh = arrive_at_output(row, units);
        const Bundle<N> dn = dh * (one - z) + grad_kept(row, units, 2), dz = dh * (before - n) + grad_kept(row, units, 1);
        const Bundle<N> dsum = dn * (one - n * n), dr = dsum * remembered + grad_kept(row, units, 0);
        units.store_vectors(row.dstate, dh * z);
        units.store_vectors(row.dz, dsum, row.dz_block);
        units.store_vectors(row.dz + lanes, dr * r * (one - r), row.dz_block);
        units.store_vectors(row.dz + 2 * lanes, dz * z * (one - z), row.dz_block);
        units.store_vectors(row.dz + 3 * lanes, dsum * r, row.dz_block);
    }
};

template <Index N>
struct RnnForward {
    static LSTMKIT_INLINE void run(const ForwardRow& row, const Units<N>& units) noexcept {
        const Bundle<N> h = activate(row.options.candidate, units.load_vectors(row.sums));
        if (row.kept) units.store(row.kept, h);
        leave_output(row, units, h);
    }
};

template <Index N>
struct RnnBackward {
    static LSTMKIT_INLINE void run(const BackwardRow& row, const Units<N>& units) noexcept {
        const Bundle<N> dh = arrive_at_output(row, units) + grad_kept(row, units, 0);
        units.store_vectors(row.dstate, Bundle<N>{});
        units.store_vectors(row.dz, through(row.options.candidate, units.load(row.kept), dh), row.dz_block);
    }
};

template <Index N>
struct JanetForward {
    static LSTMKIT_INLINE void run(const ForwardRow& row, const Units<N>& units) noexcept {
        const Bundle<N> s = units.load_vectors(row.sums, 2 * lanes), before = units.load_vectors(row.state);
        const Bundle<N> f = sigmoid(s), g = tanh(units.load_vectors(row.sums + lanes, 2 * lanes));
        const Bundle<N> let_in = one - sigmoid(s - row.options.shift);
        if (row.kept) {
            units.store(row.kept, f);
            units.store(row.kept + row.kept_stride, g);
            units.store(row.kept + 2 * row.kept_stride, let_in);
        }
        leave_output(row, units, f * before + let_in * g);
    }
};

template <Index N>
struct JanetBackward {
    static LSTMKIT_INLINE void run(const BackwardRow& row, const Units<N>& units) noexcept {
        const auto kept = [&](Index k) noexcept { return units.load(row.kept + k * row.kept_stride); };
        const Bundle<N> f = kept(0), g = kept(1), let_in = kept(2), dh = arrive_at_output(row, units);
        const Bundle<N> df = dh * units.load(row.cells_before) + grad_kept(row, units, 0), dg = dh * let_in + grad_kept(row, units, 1);
        units.store_vectors(row.dstate, dh * f);
        units.store_vectors(row.dz, df * f * (one - f) - dh * g * let_in * (one - let_in), row.dz_block);
        units.store_vectors(row.dz + lanes, dg * (one - g * g), row.dz_block);
    }
};

}  // namespace
}  // namespace lstmkit
