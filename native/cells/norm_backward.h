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

struct NormBackward {
    const BackwardRow& row;
    const Options& o;
    Index n, padded;
    BackwardNorms& norms;

    NormBackward(const BackwardRow& row, BackwardNorms& norms) noexcept
        : row(row), o(*row.options), n(row.units), padded((row.units + lanes - 1) / lanes * lanes), norms(norms) {}

    // One after the other, of all rows.
    LSTMKIT_INLINE void normalise_cell() noexcept {
        Vector total = {};
        each_units(n, [&](const Units& units) noexcept {
            const LstmGates gate = load_gates(row.kept, row.kept_stride, units);
            put(raw, units, gate.f * units.load(row.cells_before) + gate.i * taken_up(row.masks, units, gate.g));
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
    LSTMKIT_INLINE void leave_sums() noexcept {
        each_units(n, [&](const Units& units) noexcept { leave_sums(units); });
    }

private:
    LSTMKIT_INLINE Vector get(Index k, const Units& units) const noexcept { return units.load_vector(row.scratch + k * padded); }
    LSTMKIT_INLINE void put(Index k, const Units& units, Vector value) const noexcept { units.store_vector(row.scratch + k * padded, value); }
    LSTMKIT_INLINE Real* total(Index k) const noexcept { return row.totals ? row.totals + k * row.totals_stride : nullptr; }

    LSTMKIT_INLINE Real share() const noexcept { return one / static_cast<Real>(n); }
    /// Back through a normalisation and its gain, of which gain and bias are vector `at` of the totals and `bias_at`.
    LSTMKIT_INLINE Vector back(const Slope& slope, const Units& units, Vector x, Vector d, const Real* gain, Index at, const Real* bias,
                               Index bias_at) const noexcept {
        d = only(units, d);
        if (row.totals) {
            units.add_vector(total(at), d * (x * slope.scale));
            if (bias) units.add_vector(total(bias_at), d);
        }
        return only(units, slope.back(x, d * units.load(gain)));
    }
    LSTMKIT_INLINE Vector back_through_cell(const Units& units, Vector d) const noexcept {
        return back(norms.through_cell, units, centred_cell(units), d, o.gain_cell, total::gain_cell, o.bias_cell, total::bias_cell);
    }
    LSTMKIT_INLINE Vector back_through_gate(Index gate, const Units& units, Vector d) const noexcept {
        return back(norms.through_gate[gate], units, kept_sum(gate, units), d, o.gain_gates + gate * n, total::gain_gates + gate, o.bias,
                    total::bias + gate);
    }

    LSTMKIT_INLINE Vector back_to_input(Index k, const Units& units, Vector d) const noexcept {
        return back(norms.through_input, units, kept_sum(k, units), d, o.gain_input + k * n, total::gain_input + k, o.bias, total::bias + k);
    }
    LSTMKIT_INLINE Vector back_to_recurrence(Index k, const Units& units, Vector d) const noexcept {
        return back(norms.through_recurrent, units, kept_sum(gates + k, units), d, o.gain_recurrent + k * n, total::gain_recurrent + k,
                    nullptr, 0);
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

    /// What is normalised of the cell state, and the state that recurs, as forward had them.
    LSTMKIT_INLINE Vector normalised_cell(const Units& units) const noexcept {
        return o.cell_norm == CellNorm::read ? clip(get(raw, units), o.cell_clip) : get(raw, units);
    }
    LSTMKIT_INLINE Vector clipped(const Units& units) const noexcept {
        return o.cell_norm == CellNorm::fed_back ? affine(norms.cell.normal(get(raw, units)), o.gain_cell, o.bias_cell, units) : get(raw, units);
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

    /// All of the cell state's gradient, before its clip.
    LSTMKIT_INLINE void into_cell(const Units& units, SlopeSums& sums) const noexcept {
        Vector d = get(grad_c, units), dz = get(zo, units);
        if (o.cell_norm == CellNorm::read) d += back_through_cell(units, get(d_read, units));
        if (is_normal(3)) put(zo, units, dz = back_through_gate(3, units, dz));
        const Vector c = clipped(units);
        peep_back(row, 2, units, dz, clip(c, o.cell_clip), d);
        d = o.cell_clip < Options::none ? where_inside(c, -o.cell_clip, o.cell_clip, d) : d;
        put(grad_c, units, d);
        if (o.cell_norm == CellNorm::fed_back) sums.take(units, centred_cell(units), d * units.load(o.gain_cell));
    }

    LSTMKIT_INLINE void from_cell(const Units& units, SlopeSums& input, SlopeSums& recurrent, SlopeSums (&gate_sums)[3]) const noexcept {
        const LstmGates gate = load_gates(row.kept, row.kept_stride, units), grad = arrive_at_gates(row, units);
        Vector dc = get(grad_c, units);
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

    /// Through the normalisations of the sums, and by the peepholes to the state before.
    LSTMKIT_INLINE void leave_sums(const Units& units) const noexcept {
        Vector dc = {};
        const Vector before = units.load(row.cells_before);
#pragma GCC unroll 4
        for (Index k = 0; k < gates; ++k) {
            Vector dz = get(zi + k, units);
            if (k < 3 && is_normal(k)) dz = back_through_gate(k, units, dz);
            if (k < 2) peep_back(row, k, units, dz, before, dc);
            const bool is_product = o.norm == Norm::products, has_weights = kind_of(o, k) == Gate::free;
            leave_sum(k, units, is_product && has_weights ? back_to_input(k, units, dz) : dz);
            if (is_product) leave_sum(gates + k, units, has_weights ? back_to_recurrence(k, units, dz) : dz);
            if (is_product && o.gates_recur) leave_sum(2 * gates + k, units, dz);
        }
        if (o.peepholes[0] || o.peepholes[1]) units.add_vector(row.dstate, dc);
    }

    LSTMKIT_INLINE void leave_sum(Index sum, const Units& units, Vector d) const noexcept {
        units.store_vector(row.dz + sum * lanes, d, row.dz_block);
    }
};

template <typename Known>
LSTMKIT_FLATTEN inline void norm_backward(const BackwardRow* rows, Index count) noexcept {
    BackwardNorms norms[step_rows];
    each_row<Known, NormBackward, &NormBackward::normalise_cell>(rows, norms, count);
    each_row<Known, NormBackward, &NormBackward::from_output>(rows, norms, count);
    each_row<Known, NormBackward, &NormBackward::into_cell>(rows, norms, count);
    each_row<Known, NormBackward, &NormBackward::from_cell>(rows, norms, count);
    each_row<Known, NormBackward, &NormBackward::leave_sums>(rows, norms, count);
}

}  // namespace
}  // namespace lstmkit
