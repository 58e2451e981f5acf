// The sLSTM of Beck et al. (2024), equations 8-17, with the forget gate sigmoid; the states are c, n and m.
#pragma once

#include "relatives.h"

namespace lstmkit {
namespace {

/// e^x for x <= 0.
template <Index N>
LSTMKIT_INLINE Bundle<N> exponential_of(const Bundle<N>& x) noexcept {
    const Exponential<Bundle<N>> e = exponential(at_least(x, -Format<Real>::most));
    return e.m * e.scale + e.scale;
}

/// ln(1 + x) for 0 <= x <= 1, as 2 artanh(x / (2 + x)).
template <Index N>
LSTMKIT_INLINE Bundle<N> log_of_one_and(const Bundle<N>& x) noexcept {
    constexpr int terms = sizeof(Real) == 8 ? 17 : 8;
    const Bundle<N> s = x / (x + two), square = s * s;
    Bundle<N> sum = filled<N>(Real(1.0 / (2 * terms + 1)));
#pragma GCC unroll 20
    for (int k = terms - 1; k >= 0; --k) sum = sum * square + Real(1.0 / (2 * k + 1));
    return two * s * sum;
}

template <Index N>
LSTMKIT_INLINE Bundle<N> log_sigmoid(const Bundle<N>& x) noexcept {
    return at_most(x, Real{}) - log_of_one_and(exponential_of(-magnitude(x)));
}

/// a where x is 0, else b.
template <Index N>
LSTMKIT_INLINE Bundle<N> where_zero(const Bundle<N>& x, const Bundle<N>& a, const Bundle<N>& b) noexcept {
    return each([](Vector s, Vector p, Vector q) noexcept { return s == Vector{} ? p : q; }, x, a, b);
}

template <Index N>
LSTMKIT_INLINE Bundle<N> larger(const Bundle<N>& a, const Bundle<N>& b) noexcept {
    return each([](Vector p, Vector q) noexcept { return p > q ? p : p == p ? q : p; }, a, b);
}

template <Index N>
struct SlstmForward {
    static LSTMKIT_INLINE void run(const ForwardRow& row, const Units<N>& units) noexcept {
        const auto sum = [&](Index k) noexcept { return units.load_vectors(row.sums + k * lanes, 4 * lanes); };
        const auto state = [&](Index k) noexcept { return row.state + k * row.state_stride; };
        const Bundle<N> c = units.load_vectors(state(0)), n = units.load_vectors(state(1)), m = units.load_vectors(state(2));
        const Bundle<N> entering = sum(0), forget = sum(1), z = tanh(sum(2)), o = sigmoid(sum(3));
        const Bundle<N> staying = where_zero(n, entering, log_sigmoid(forget) + m), most = larger(staying, entering);
        const Bundle<N> i = exponential_of(entering - most), f = exponential_of(staying - most);
        const Bundle<N> c_new = f * c + i * z, n_new = f * n + i;
        const Bundle<N> after[] = {c_new, n_new, most};
        for (Index k = 0; k < 3; ++k) {
            units.store_vectors(state(k), after[k]);
            if (row.cells) units.store(row.cells + k * row.cell_stride, after[k]);
        }
        if (row.kept) {
            const Bundle<N> kept[] = {i, f, z, o, sigmoid(forget)};
            for (Index k = 0; k < 5; ++k) units.store(row.kept + k * row.kept_stride, kept[k]);
        }
        units.store(row.y, o * c_new / n_new);
    }
};

template <Index N>
struct SlstmBackward {
    static LSTMKIT_INLINE void run(const BackwardRow& row, const Units<N>& units) noexcept {
        const auto kept = [&](Index k) noexcept { return units.load(row.kept + k * row.kept_stride); };
        const auto before = [&](Index k) noexcept { return units.load(row.cells_before + k * row.before_stride); };
        const auto flow = [&](Index k) noexcept {
            const Bundle<N> d = units.load_vectors(row.dstate + k * row.state_stride);
            return row.grad_cells ? d + units.load(row.grad_cells + k * row.grad_cell_stride) : d;
        };
        const Bundle<N> i = kept(0), f = kept(1), z = kept(2), o = kept(3), c_before = before(0), n_before = before(1);
        const Bundle<N> nothing = {}, all = filled<N>(one), normaliser = units.load(row.cells + row.cell_stride);
        const Bundle<N> n = where_zero(normaliser, all, normaliser);  // it is 0 where there is no unit
        const Bundle<N> ratio = units.load(row.cells) / n;
        Bundle<N> dh = units.load_vectors(row.dh);
        if (row.grad_y) dh = dh + units.load(row.grad_y);
        units.store_vectors(row.dh, Bundle<N>{});

        const Bundle<N> d_output = dh * o / n, d_o = dh * ratio + grad_kept(row, units, 3);
        const Bundle<N> dc = flow(0) + d_output, dn = flow(1) - d_output * ratio;
        const Bundle<N> di = (dc * z + dn + grad_kept(row, units, 0)) * i, df = (dc * c_before + dn * n_before + grad_kept(row, units, 1)) * f;
        const Bundle<N> dz = dc * i + grad_kept(row, units, 2), dm = flow(2) - di - df;
        // The stabiliser is the larger of the two exponents, whose gate is one; of equal ones each has half.
        const Bundle<N> to_i = each([](Vector a, Vector b, Vector d) noexcept {
            const Vector all = Vector{} + one;
            return a == all ? (b == all ? Real(0.5) * d : d) : Vector{};
        }, i, f, dm);
        const Bundle<N> d_entering = di + to_i, d_staying = df + dm - to_i;
        const Bundle<N> past = where_zero(n_before, nothing, d_staying);
        units.store_vectors(row.dstate, dc * f);
        units.store_vectors(row.dstate + row.state_stride, dn * f);
        units.store_vectors(row.dstate + 2 * row.state_stride, past);
        units.store_vectors(row.dz, where_zero(n_before, d_entering + d_staying, d_entering), row.dz_block);
        units.store_vectors(row.dz + lanes, past * (one - kept(4)), row.dz_block);
        units.store_vectors(row.dz + 2 * lanes, dz * (one - z * z), row.dz_block);
        units.store_vectors(row.dz + 3 * lanes, d_o * o * (one - o), row.dz_block);
    }
};

}  // namespace
}  // namespace lstmkit
