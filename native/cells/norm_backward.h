// The LSTM with layer normalisation, backwards: each pass over a row adds up what the next subtracts.
#pragma once

#include "norm_options.h"

namespace lstmkit {
namespace {

/// Vectors of the whole row that backward needs beside what it is given.
enum Scratch : Index { raw, grad_c, zi, zf, zg, zo, d_read, scratch_size };
static_assert(scratch_size == scratch_vectors);

struct BackwardNorms {
    Moments cell;
    Slope through_cell, through_gate[gates], through_input, through_recurrent;
};

/// What rows add to the gradients of a gain and a bias: of one normalisation, and of all behind a gate.
struct AffineTotals {
    Vector gain = {}, bias = {};
};
struct GateTotals {
    AffineTotals of_input, of_recurrence, of_gate;
};

struct NormBackward {
    const BackwardRow& row;
    const Options& o;
    Index n, padded;
    BackwardNorms& norms;

    NormBackward(const BackwardRow& row, BackwardNorms& norms) noexcept
        : row(row), o(*row.options), n(row.units), padded((row.units + lanes - 1) / lanes * lanes), norms(norms) {}

    // One after the other, of all rows.
    LSTMKIT_INLINE void normalise_cell() noexcept {
        if (o.cell_norm == CellNorm::none && has_raw_cell()) return;
        Vector total = {};
        each_units(n, [&](const Units& units) noexcept {
            if (!has_raw_cell()) {
                const LstmGates gate = load_gates(row.kept, row.kept_stride, units);
                put(raw, units, gate.f * units.load(row.cells_before) + gate.i * taken_up(row.masks, units, gate.g));
            }
            total += only(units, normalised_cell(units));
        });
        if (o.cell_norm == CellNorm::none) return;
        const Vector mean = one_column(n).share * total_of(total);
        const auto get = [&](Index, const Units& units) noexcept { return normalised_cell(units); };
        norms.cell = {mean, scale_around(mean, one_column(n), n, o.epsilon, get)};
    }
    LSTMKIT_INLINE void from_output() noexcept {
        SlopeSums cell_sums, gate_sums;
        each_units(n, [&](const Units& units) noexcept { from_output(units, cell_sums, gate_sums); });
        if (o.cell_norm == CellNorm::read) norms.through_cell = cell_sums.slope(share(), o.epsilon);
        if (is_normal(3)) norms.through_gate[3] = gate_sums.slope(share(), o.epsilon);
    }
    LSTMKIT_INLINE void into_cell() noexcept {
        if (!has_sums_in_cell()) return;
        SlopeSums sums;
        each_units(n, [&](const Units& units) noexcept { into_cell(units, sums); });
        if (o.cell_norm == CellNorm::fed_back) norms.through_cell = sums.slope(share(), o.epsilon);
    }
    LSTMKIT_INLINE void from_cell() noexcept {
        SlopeSums input_sums, recurrent_sums, gate_sums[3];
        each_units(n, [&](const Units& units) noexcept { from_cell(units, input_sums, recurrent_sums, gate_sums); });
        if (o.norm == Norm::products) {
            const Real of_all = Columns<gates>::of_gates(o, n).share;
            norms.through_input = input_sums.slope(of_all, o.epsilon), norms.through_recurrent = recurrent_sums.slope(of_all, o.epsilon);
        }
        for (Index gate = 0; gate < 3; ++gate)
            if (is_normal(gate)) norms.through_gate[gate] = gate_sums[gate].slope(share(), o.epsilon);
    }
    /// Of one gate, through the normalisations of its sums, and by its peephole to the state before.
    LSTMKIT_INLINE void leave_sums(Index k, const Units& units, GateTotals& totals) const noexcept {
        Vector dz = get(zi + k, units);
        if (k < 3 && is_normal(k)) dz = back_through_gate(k, units, dz, totals.of_gate);
        if (k < 2 && o.peepholes[k]) {
            Vector dc = {};
            peep_back(row, k, units, dz, units.load(row.cells_before), dc);
            units.add_vector(row.dstate, dc);
        }
        const bool is_product = o.norm == Norm::products, has_weights = kind_of(o, k) == Gate::free;
        leave_sum(k, units, is_product && has_weights ? back_to_input(k, units, dz, totals.of_input) : dz);
        if (is_product) leave_sum(gates + k, units, has_weights ? back_to_recurrence(k, units, dz, totals.of_recurrence) : dz);
        if (is_product && o.gates_recur) leave_sum(2 * gates + k, units, dz);
    }
    /// Adds them to the gradients of the gate's gains and bias.
    LSTMKIT_INLINE void add(Index k, const Units& units, const GateTotals& totals) const noexcept {
        if (!row.totals || kind_of(o, k) != Gate::free) return;
        if (o.norm == Norm::products) {
            units.add_vector(total(total::gain_input + k), totals.of_input.gain);
            units.add_vector(total(total::gain_recurrent + k), totals.of_recurrence.gain);
            if (o.bias) units.add_vector(total(total::bias + k), totals.of_input.bias);
        } else if (k < 3 && is_normal(k)) {
            add(units, totals.of_gate, total::gain_gates + k, o.bias, total::bias + k);
        }
    }

private:
    LSTMKIT_INLINE Vector get(Index k, const Units& units) const noexcept { return units.load_vector(row.scratch + k * padded); }
    LSTMKIT_INLINE void put(Index k, const Units& units, Vector value) const noexcept { units.store_vector(row.scratch + k * padded, value); }
    LSTMKIT_INLINE Real* total(Index k) const noexcept { return row.totals ? row.totals + k * row.totals_stride : nullptr; }

    LSTMKIT_INLINE Real share() const noexcept { return one / static_cast<Real>(n); }
    /// Back through a normalisation and its gain.
    LSTMKIT_INLINE Vector back(const Slope& slope, const Units& units, Vector x, Vector d, const Real* gain, AffineTotals& totals) const noexcept {
        d = only(units, d);
        totals.gain += d * (x * slope.scale);
        totals.bias += d;
        return only(units, slope.back(x, d * units.load(gain)));
    }
    /// To vector `gain` of the totals and to `bias_at`, where there is such a bias.
    LSTMKIT_INLINE void add(const Units& units, const AffineTotals& totals, Index gain, const Real* bias, Index bias_at) const noexcept {
        if (!row.totals) return;
        units.add_vector(total(gain), totals.gain);
        if (bias) units.add_vector(total(bias_at), totals.bias);
    }
    LSTMKIT_INLINE Vector back_through_cell(const Units& units, Vector d) const noexcept {
        AffineTotals totals;
        d = back(norms.through_cell, units, centred_cell(units), d, o.gain_cell, totals);
        add(units, totals, total::gain_cell, o.bias_cell, total::bias_cell);
        return d;
    }
    LSTMKIT_INLINE Vector back_through_gate(Index gate, const Units& units, Vector d, AffineTotals& totals) const noexcept {
        return back(norms.through_gate[gate], units, kept_sum(gate, units), d, o.gain_gates + gate * n, totals);
    }
    LSTMKIT_INLINE Vector back_to_input(Index k, const Units& units, Vector d, AffineTotals& totals) const noexcept {
        return back(norms.through_input, units, kept_sum(k, units), d, o.gain_input + k * n, totals);
    }
    LSTMKIT_INLINE Vector back_to_recurrence(Index k, const Units& units, Vector d, AffineTotals& totals) const noexcept {
        return back(norms.through_recurrent, units, kept_sum(gates + k, units), d, o.gain_recurrent + k * n, totals);
    }

    /// Whether a gate's sum is normalised by itself.
    LSTMKIT_INLINE bool is_normal(Index gate) const noexcept { return o.norm == Norm::gates && kind_of(o, gate) == Gate::free; }
    /// What was normalised of a sum, less its mean.
    LSTMKIT_INLINE Vector kept_sum(Index k, const Units& units) const noexcept { return units.load(row.kept + (gates + k) * row.kept_stride); }

    /// Into the first cache, for the next passes, by one that has an activation to compute.
    LSTMKIT_INLINE void bring_sums(const Units& units) const noexcept {
        const Index count = o.norm == Norm::products ? 2 * gates : o.norm == Norm::gates ? gates : 0;
        for (Index k = 0; k < count; ++k) __builtin_prefetch(row.kept + (gates + k) * row.kept_stride + units.block * lanes, 0, 3);
    }

    /// The same for what the last pass writes.
    LSTMKIT_INLINE void bring_gradients(const Units& units) const noexcept {
        const Index count = o.norm == Norm::products ? 2 * gates : gates;
        for (Index k = 0; k < count; ++k) __builtin_prefetch(row.dz + k * lanes + units.block * row.dz_block, 1, 3);
    }

    /// Whether the state that recurs is what was made of the gates, so that there is no need to make it again.
    LSTMKIT_INLINE bool has_raw_cell() const noexcept {
        return o.cell_norm != CellNorm::fed_back && !(o.cell_clip < Options::none) && o.zoneout_c == 0 && !row.masks.keeps_c;
    }
    LSTMKIT_INLINE Vector raw_cell(const Units& units) const noexcept { return has_raw_cell() ? units.load(row.cells) : get(raw, units); }
    /// What is normalised of the cell state, and the state that recurs, as forward had them.
    LSTMKIT_INLINE Vector normalised_cell(const Units& units) const noexcept {
        return o.cell_norm == CellNorm::read ? clip(raw_cell(units), o.cell_clip) : raw_cell(units);
    }
    LSTMKIT_INLINE Vector clipped(const Units& units) const noexcept {
        return o.cell_norm == CellNorm::fed_back ? affine(norms.cell.normal(raw_cell(units)), o.gain_cell, o.bias_cell, units) : raw_cell(units);
    }
    LSTMKIT_INLINE Vector centred_cell(const Units& units) const noexcept { return norms.cell.centred(normalised_cell(units)); }

    /// From the output to the output gate's activation and to the cell state as it was read.
    LSTMKIT_INLINE void from_output(const Units& units, SlopeSums& cell_sums, SlopeSums& gate_sums) const noexcept {
        const Vector c = clip(clipped(units), o.cell_clip), gate = units.load(row.kept + 3 * row.kept_stride);
        const Arriving in = arrive(row, units);
        const Vector read = curve_of(o.output, o.cell_norm == CellNorm::read ? affine(norms.cell.normal(c), o.gain_cell, o.bias_cell, units) : c);
        const Vector d_o = in.dh * read + arrive_at_gates(row, units).o, d = through(o.output, read, in.dh * gate);
        const Vector dz = o.output_gate == Gate::free ? through_clip(o.gate, o.gate_clip, gate, d_o) : Vector{};
        bring_sums(units);
        put(zo, units, dz);
        put(d_read, units, d);
        put(grad_c, units, o.cell_norm == CellNorm::read ? in.dc : in.dc + d);
        units.store_vector(row.dstate, in.dc_past);
        if (row.hidden) units.store(row.hidden, gate * read);
        if (o.cell_norm == CellNorm::read) cell_sums.take(units, centred_cell(units), d * units.load(o.gain_cell));
        if (is_normal(3)) gate_sums.take(units, kept_sum(3, units), dz * units.load(o.gain_gates + 3 * n));
    }

    /// Whether a normalisation follows the cell state, or one came before its output gate: a pass of its own adds up for it.
    LSTMKIT_INLINE bool has_sums_in_cell() const noexcept { return o.cell_norm == CellNorm::fed_back || is_normal(3); }

    /// All of the cell state's gradient, before its clip.
    LSTMKIT_INLINE Vector into_cell(const Units& units) const noexcept {
        Vector d = get(grad_c, units), dz = get(zo, units);
        if (o.cell_norm == CellNorm::read) d += back_through_cell(units, get(d_read, units));
        if (is_normal(3)) {
            AffineTotals totals;
            put(zo, units, dz = back_through_gate(3, units, dz, totals));
            add(units, totals, total::gain_gates + 3, o.bias, total::bias + 3);
        }
        const Vector c = clipped(units);
        peep_back(row, 2, units, dz, clip(c, o.cell_clip), d);
        return o.cell_clip < Options::none ? where_inside(c, -o.cell_clip, o.cell_clip, d) : d;
    }
    LSTMKIT_INLINE void into_cell(const Units& units, SlopeSums& sums) const noexcept {
        const Vector d = into_cell(units);
        put(grad_c, units, d);
        if (o.cell_norm == CellNorm::fed_back) sums.take(units, centred_cell(units), d * units.load(o.gain_cell));
    }

    LSTMKIT_INLINE void from_cell(const Units& units, SlopeSums& input, SlopeSums& recurrent, SlopeSums (&gate_sums)[3]) const noexcept {
        const LstmGates gate = load_gates(row.kept, row.kept_stride, units), grad = arrive_at_gates(row, units);
        bring_gradients(units);
        Vector dc = has_sums_in_cell() ? get(grad_c, units) : into_cell(units);
        if (o.cell_norm == CellNorm::fed_back) dc = back_through_cell(units, dc);
        Vector di = dc * taken_up(row.masks, units, gate.g) + grad.i, df = dc * units.load(row.cells_before) + grad.f;
        uncouple(o, di, df);
        const Vector dg = taken_up(row.masks, units, dc * gate.i) + grad.g;
        const Vector dz[] = {through_clip(o.gate, o.gate_clip, gate.i, di), through_clip(o.gate, o.gate_clip, gate.f, df),
                             through_clip(o.candidate, o.gate_clip, gate.g, dg), get(zo, units)};
        units.add_vector(row.dstate, dc * gate.f);
#pragma GCC unroll 4
        for (Index k = 0; k < gates; ++k) {
            if (k < 3) put(zi + k, units, dz[k]);
            if (o.norm == Norm::products) {
                input.take(units, kept_sum(k, units), dz[k] * units.load(o.gain_input + k * n));
                recurrent.take(units, kept_sum(gates + k, units), dz[k] * units.load(o.gain_recurrent + k * n));
            }
            if (k < 3 && is_normal(k)) gate_sums[k].take(units, kept_sum(k, units), dz[k] * units.load(o.gain_gates + k * n));
        }
    }

    LSTMKIT_INLINE void leave_sum(Index sum, const Units& units, Vector d) const noexcept {
        units.store_vector(row.dz + sum * lanes, d, row.dz_block);
    }
};

/// The last stage, of all rows at once: they share the gains, and what they add to their gradients.
template <typename Known, Index count>
LSTMKIT_INLINE void leave_sums(const BackwardRow* rows, BackwardNorms* norms) noexcept {
    const Options known = Known::of(*rows[0].options);
    BackwardRow own[count];
    for (Index r = 0; r < count; ++r) own[r] = rows[r], own[r].options = &known;
#pragma GCC unroll 4
    for (Index k = 0; k < gates; ++k)
        each_units(rows[0].units, [&](const Units& units) noexcept {
            GateTotals totals;
#pragma GCC unroll 2
            for (Index r = 0; r < count; ++r) NormBackward(own[r], norms[r]).leave_sums(k, units, totals);
            NormBackward(own[0], norms[0]).add(k, units, totals);
        });
}

template <typename Known>
LSTMKIT_FLATTEN inline void norm_backward(const BackwardRow* rows, Index count) noexcept {
    BackwardNorms norms[step_rows];
    each_row<Known, NormBackward, &NormBackward::normalise_cell>(rows, norms, count);
    each_row<Known, NormBackward, &NormBackward::from_output>(rows, norms, count);
    each_row<Known, NormBackward, &NormBackward::into_cell>(rows, norms, count);
    each_row<Known, NormBackward, &NormBackward::from_cell>(rows, norms, count);
    static_assert(step_rows == 2);
    if (count == step_rows) leave_sums<Known, step_rows>(rows, norms);
    else leave_sums<Known, 1>(rows, norms);
}

}  // namespace
}  // namespace lstmkit
