// The sLSTM of Beck et al. (2024), equations 8-17, with the forget gate sigmoid; the states are c, n and m.
#pragma once

#include "logarithm.h"
#include "relatives.h"

namespace lstmkit {
namespace {

struct LogSigmoid {
    Vector log, value;
};

/// ln(sigmoid(x)) and sigmoid(x), of one exponential.
LSTMKIT_INLINE LogSigmoid log_sigmoid(Vector x) noexcept {
    const Vector e = exponential_of(-magnitude(x)), larger_half = one / (e + one);
    return {at_most(x, Real{}) - log_of_one_and(e), where_below(x, Real{}, e * larger_half, larger_half)};
}

/// a where x is 0, else b.
LSTMKIT_INLINE Vector where_zero(Vector x, Vector a, Vector b) noexcept {
    return x == Vector{} ? a : b;
}

LSTMKIT_INLINE Vector larger(Vector a, Vector b) noexcept {
    return a > b ? a : a == a ? b : a;
}

LSTMKIT_INLINE void slstm_forward(const ForwardRow& row, const Units& units) noexcept {
    const auto sum = [&](Index k) noexcept { return units.load_vector(row.sums + k * lanes, 4 * lanes); };
    const auto state = [&](Index k) noexcept { return row.state + k * row.state_stride; };
    const Vector c = units.load_vector(state(0)), n = units.load_vector(state(1)), m = units.load_vector(state(2));
    const Vector entering = sum(0), forget = sum(1), z = tanh(sum(2)), o = sigmoid(sum(3));
    const LogSigmoid remembered = log_sigmoid(forget);
    const Vector staying = where_zero(n, entering, remembered.log + m), most = larger(staying, entering);
    const Vector i = exponential_of(entering - most), f = exponential_of(staying - most);
    const Vector c_new = f * c + i * z, n_new = f * n + i;
    const Vector after[] = {c_new, n_new, most};
    for (Index k = 0; k < 3; ++k) {
        units.store_vector(state(k), after[k]);
        if (row.cells) units.leave(row.cells + k * row.cell_stride, after[k], row.streams);
    }
    if (row.kept) {
        const Vector kept[] = {i, f, z, o, remembered.value};
        for (Index k = 0; k < 5; ++k) units.leave(row.kept + k * row.kept_stride, kept[k], row.streams);
    }
    units.store(row.y, o * c_new / n_new);
}

LSTMKIT_INLINE void slstm_backward(const BackwardRow& row, const Units& units) noexcept {
    const auto kept = [&](Index k) noexcept { return units.load(row.kept + k * row.kept_stride); };
    const auto before = [&](Index k) noexcept { return units.load(row.cells_before + k * row.before_stride); };
    const auto flow = [&](Index k) noexcept {
        const Vector d = units.load_vector(row.dstate + k * row.state_stride);
        return row.grad_cells ? d + units.load(row.grad_cells + k * row.grad_cell_stride) : d;
    };
    const Vector i = kept(0), f = kept(1), z = kept(2), o = kept(3), c_before = before(0), n_before = before(1);
    const Vector nothing = {}, all = Vector{} + one, normaliser = units.load(row.cells + row.cell_stride);
    const Vector n = where_zero(normaliser, all, normaliser);  // it is 0 where there is no unit
    const Vector ratio = units.load(row.cells) / n;
    Vector dh = units.load_vector(row.dh);
    if (row.grad_y) dh = dh + units.load(row.grad_y);
    units.store_vector(row.dh, Vector{});

    const Vector d_output = dh * o / n, d_o = dh * ratio + grad_kept(row, units, 3);
    const Vector dc = flow(0) + d_output, dn = flow(1) - d_output * ratio;
    const Vector di = (dc * z + dn + grad_kept(row, units, 0)) * i, df = (dc * c_before + dn * n_before + grad_kept(row, units, 1)) * f;
    const Vector dz = dc * i + grad_kept(row, units, 2), dm = flow(2) - di - df;
    // The stabiliser is the larger of the two exponents, whose gate is one; of equal ones each has half.
    const Vector to_i = i == all ? (f == all ? Real(0.5) * dm : dm) : nothing;
    const Vector d_entering = di + to_i, d_staying = df + dm - to_i;
    const Vector past = where_zero(n_before, nothing, d_staying);
    units.store_vector(row.dstate, dc * f);
    units.store_vector(row.dstate + row.state_stride, dn * f);
    units.store_vector(row.dstate + 2 * row.state_stride, past);
    units.store_vector(row.dz, where_zero(n_before, d_entering + d_staying, d_entering), row.dz_block);
    units.store_vector(row.dz + lanes, past * (one - kept(4)), row.dz_block);
    units.store_vector(row.dz + 2 * lanes, dz * (one - z * z), row.dz_block);
    units.store_vector(row.dz + 3 * lanes, d_o * o * (one - o), row.dz_block);
}

}  // namespace
}  // namespace lstmkit
