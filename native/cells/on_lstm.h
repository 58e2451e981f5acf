// The ON-LSTM, whose master gates are sums over a whole row: of each, a softmax over the M chunks of units, added up. The sums
// are i, f, g, o, and of the masters f and i, in the first M units; kept: the gates, the masters i and f, and both softmaxes.
#pragma once

#include "moments.h"
#include "slstm.h"

namespace lstmkit {
namespace {

constexpr Index ordered_sums = 6;

/// Those of a vector's units that are among the first `count`.
LSTMKIT_INLINE Units among(const Units& units, Index count) noexcept {
    const Index rest = count - units.block * lanes;
    return {units.block, rest < 0 ? 0 : rest < units.count ? rest : units.count};
}

struct OrderedForward {
    const ForwardRow row;
    const Index n, chunk, masters;

    explicit OrderedForward(const ForwardRow& row) noexcept
        : row(row), n(row.units), chunk(row.options->chunk), masters(row.units / row.options->chunk) {}

    void run() const noexcept {
        become_softmax(4, 6);
        become_softmax(5, 7);
        add_up();
        each_units(n, [&](const Units& units) noexcept { step(units); });
    }

private:
    LSTMKIT_INLINE Vector sum(Index k, const Units& units) const noexcept { return sum_of(row, units, k, ordered_sums); }
    LSTMKIT_INLINE void put(Index k, const Units& units, Vector value) const noexcept {
        units.store_vector(row.sums + k * lanes, value, ordered_sums * lanes);
    }
    Real& number(Index k, Index unit) const noexcept { return row.sums[(unit / lanes * ordered_sums + k) * lanes + unit % lanes]; }

    Real largest_of(Index k) const noexcept {
        Vector most = Vector{} + number(k, 0);
        each_units(masters, [&](const Units& units) noexcept {
            Vector x = sum(k, units);
            for (Index lane = units.count; lane < lanes; ++lane) x[lane] = most[lane];
            most = larger(most, x);
        });
        Real found = most[0];
        for (Index lane = 1; lane < lanes; ++lane) found = most[lane] > found || most[lane] != most[lane] ? most[lane] : found;
        return found;
    }

    /// In place of a master's sums; zeros where it has none.
    void become_softmax(Index k, Index to_keep) const noexcept {
        const Real largest = largest_of(k);
        Vector total = {};
        each_units(n, [&](const Units& units) noexcept {
            const Vector e = only(among(units, masters), exponential_of(sum(k, units) - largest));
            total += e;
            put(k, units, e);
        });
        total = total_of(total);
        each_units(n, [&](const Units& units) noexcept {
            const Vector share = sum(k, units) / total;
            put(k, units, share);
            keep(row, units, to_keep, share);
        });
    }

    /// The part of each softmax up to a chunk, for every unit of the chunk.
    void add_up() const noexcept {
        Real f = 0, i = 0;
        for (Index unit = 0; unit < masters; ++unit) {
            number(4, unit) = f += number(4, unit);
            number(5, unit) = i += number(5, unit);
        }
        if (chunk == 1) return;
        for (Index unit = n; unit-- > 0;) {
            number(4, unit) = number(4, unit / chunk);
            number(5, unit) = number(5, unit / chunk);
        }
    }

    LSTMKIT_INLINE void step(const Units& units) const noexcept {
        const Vector c = units.load_vector(row.state), master_f = sum(4, units), master_i = one - sum(5, units), overlap = master_f * master_i;
        const Vector i = sigmoid(sum(0, units)), f = sigmoid(sum(1, units)), g = tanh(sum(2, units)), o = sigmoid(sum(3, units));
        const Vector forgets = f * overlap + (master_f - overlap), enters = i * overlap + (master_i - overlap);
        const Vector after = forgets * c + enters * g, kept[] = {i, f, g, o, master_i, master_f};
        for (Index k = 0; k < ordered_sums; ++k) keep(row, units, k, kept[k]);
        leave(row, units, c, after, o * tanh(after));
    }
};

struct OrderedBackward {
    const BackwardRow row;
    const Index n, chunk, masters, padded;

    explicit OrderedBackward(const BackwardRow& row) noexcept
        : row(row), n(row.units), chunk(row.options->chunk), masters(row.units / row.options->chunk),
          padded((row.units + lanes - 1) / lanes * lanes) {}

    void run() const noexcept {
        each_units(n, [&](const Units& units) noexcept { step(units); });
        from_parts();
        through_softmax(2, 6, 4);
        through_softmax(3, 7, 5);
    }

private:
    /// Vectors of the whole row: gradients of the masters f and i, then of their softmaxes.
    Real* vector(Index k) const noexcept { return row.scratch + k * padded; }

    LSTMKIT_INLINE void step(const Units& units) const noexcept {
        const auto kept = [&](Index k) noexcept { return kept_of(row, units, k); };
        const Vector i = kept(0), f = kept(1), g = kept(2), o = kept(3), master_i = kept(4), master_f = kept(5), overlap = master_f * master_i;
        const Vector forgets = f * overlap + (master_f - overlap), enters = i * overlap + (master_i - overlap);
        const Arriving in = arrive(row, units);
        const Vector c = units.load(row.cells_before), tanh_c = tanh(units.load(row.cells));
        const Vector dc = in.dc + in.dh * o * (one - tanh_c * tanh_c), d_forgets = dc * c, d_enters = dc * g;
        const Vector d_overlap = d_forgets * (f - one) + d_enters * (i - one);
        const Vector di = d_enters * overlap + grad_kept(row, units, 0), df = d_forgets * overlap + grad_kept(row, units, 1);
        const Vector dg = dc * enters + grad_kept(row, units, 2), d_o = in.dh * tanh_c + grad_kept(row, units, 3);
        units.store_vector(row.dstate, dc * forgets);
        units.store_vector(vector(0), d_forgets + d_overlap * master_i + grad_kept(row, units, 5));
        units.store_vector(vector(1), -(d_enters + d_overlap * master_f + grad_kept(row, units, 4)));
        leave_sum(row, units, 0, di * i * (one - i));
        leave_sum(row, units, 1, df * f * (one - f));
        leave_sum(row, units, 2, dg * (one - g * g));
        leave_sum(row, units, 3, d_o * o * (one - o));
    }

    /// A part of a softmax has a share in all chunks from its own on.
    void from_parts() const noexcept {
        const Real *const of_f = vector(0), *const of_i = vector(1);
        Real *const to_f = vector(2), *const to_i = vector(3), f = 0, i = 0;
        for (Index master = masters; master-- > 0; to_f[master] = f, to_i[master] = i)
            for (Index unit = master * chunk; unit < (master + 1) * chunk; ++unit) f += of_f[unit], i += of_i[unit];
        for (Index rest = masters; rest < padded; ++rest) to_f[rest] = to_i[rest] = 0;
    }

    void through_softmax(Index grads, Index kept, Index to) const noexcept {
        Vector total = {};
        each_units(n, [&](const Units& units) noexcept { total += kept_of(row, units, kept) * units.load_vector(vector(grads)); });
        total = total_of(total);
        each_units(n, [&](const Units& units) noexcept {
            leave_sum(row, units, to, kept_of(row, units, kept) * (units.load_vector(vector(grads)) - total));
        });
    }
};

LSTMKIT_FLATTEN inline void on_lstm_forward(const ForwardRow* rows, Index count) noexcept {
    for (Index r = 0; r < count; ++r) OrderedForward(rows[r]).run();
}

LSTMKIT_FLATTEN inline void on_lstm_backward(const BackwardRow* rows, Index count) noexcept {
    for (Index r = 0; r < count; ++r) OrderedBackward(rows[r]).run();
}

}  // namespace
}  // namespace lstmkit
