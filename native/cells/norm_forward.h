// The LSTM with layer normalisation, where a unit's step depends on its whole row: passes over the row.
#pragma once

#include "norm_options.h"

namespace lstmkit {
namespace {

/// What a row's stages leave each other.
struct ForwardNorms {
    Moments input, recurrent, gate[gates], cell;
};

struct NormForward {
    const ForwardRow& row;
    const Options& o;
    Index n, stride;
    ForwardNorms& norms;

    NormForward(const ForwardRow& row, ForwardNorms& norms) noexcept
        : row(row), o(*row.options), n(row.units), stride(sums_of(o) * lanes), norms(norms) {}

    // One after the other, of all rows.
    LSTMKIT_INLINE void normalise_sums() noexcept {
        if (o.norm == Norm::products) {
            norms.input = product_moments(0);
            norms.recurrent = product_moments(gates);
        }
        if (o.norm == Norm::gates) {
            if (o.input_gate == Gate::free) prepare_gate(0);
            if (o.forget_gate == Gate::free) prepare_gate(1);
            prepare_gate(2);
        }
    }
    LSTMKIT_INLINE void take_up() noexcept {
        Vector total = {};
        each_units(n, [&](const Units& units) noexcept { total += only(units, take_up(units)); });
        norms.cell.mean = one_column(n).share * total_of(total);
    }
    LSTMKIT_INLINE void normalise_cell() noexcept {
        if (o.cell_norm == CellNorm::none) return;
        const auto get = [&](Index, const Units& units) noexcept { return sum(0, units); };
        norms.cell.scale = scale_around(norms.cell.mean, one_column(n), n, o.epsilon, get);
    }
    LSTMKIT_INLINE void give_out() noexcept {
        if (o.norm == Norm::gates && o.output_gate == Gate::free) prepare_gate(3);
        each_units(n, [&](const Units& units) noexcept { give_out(units); });
    }

private:
    /// What shape_of says, which would be called for every row.
    static LSTMKIT_INLINE Index sums_of(const Options& o) noexcept {
        return (o.norm != Norm::products ? 1 : o.gates_recur ? 3 : 2) * gates;
    }
    LSTMKIT_INLINE Vector sum(Index k, const Units& units) const noexcept { return units.load_vector(row.sums + k * lanes, stride); }

    LSTMKIT_INLINE Moments product_moments(Index first) const noexcept {
        return moments_of(Columns<gates>::of_gates(o, n), n, o.epsilon, [&](Index k, const Units& units) noexcept { return sum(first + k, units); });
    }

    LSTMKIT_INLINE Vector seen(Index gate, const Units& units) const noexcept {
        return gate == 3 ? new_cell(units) : units.load_vector(row.state);
    }

    /// A gate's sum with its peephole, kept, and its moments.
    LSTMKIT_INLINE void prepare_gate(Index gate) noexcept {
        const Real* const peephole = gate == 2 ? nullptr : o.peepholes[gate == 3 ? 2 : gate];
        each_units(n, [&](const Units& units) noexcept {
            Vector z = sum(gate, units);
            if (peephole) z = peep(z, peephole, 0, units, seen(gate, units));
            units.store_vector(row.sums + gate * lanes, z, stride);
        });
        norms.gate[gate] = moments_of(one_column(n), n, o.epsilon, [&](Index, const Units& units) noexcept { return sum(gate, units); });
    }

    /// What backward normalises again.
    LSTMKIT_INLINE void keep(Index k, const Units& units, Vector centred) const noexcept {
        if (row.kept) units.leave(row.kept + (gates + k) * row.kept_stride, centred, row.streams);
    }

    /// What the clip before a gate's activation is given.
    LSTMKIT_INLINE Vector gate_sum(Index gate, const Units& units, Vector c) const noexcept {
        const Real* const bias = o.bias ? o.bias + gate * n : nullptr;
        if (o.norm == Norm::gates) {
            const Vector z = norms.gate[gate].centred(sum(gate, units));
            keep(gate, units, z);
            return affine(z * norms.gate[gate].scale, o.gain_gates + gate * n, bias, units);
        }
        const Vector x = norms.input.centred(sum(gate, units)), h = norms.recurrent.centred(sum(gates + gate, units));
        keep(gate, units, x);
        keep(gates + gate, units, h);
        Vector z = affine(x * norms.input.scale, o.gain_input + gate * n, bias, units) +
                   h * norms.recurrent.scale * units.load(o.gain_recurrent + gate * n);
        if (o.gates_recur) z += sum(2 * gates + gate, units);
        return gate == 2 ? z : peep(z, o.peepholes[gate == 3 ? 2 : gate], 0, units, c);
    }

    LSTMKIT_INLINE Vector gate_value(Index gate, Gate kind, const Units& units, Vector c) const noexcept {
        if (kind == Gate::free) return gate_of(o, kind, gate_sum(gate, units, c));
        if (o.norm == Norm::products) keep(gate, units, Vector{}), keep(gates + gate, units, Vector{});
        return Vector{} + one;
    }

    /// The cell state before its own normalisation, in place of the sum of i.
    LSTMKIT_INLINE Vector take_up(const Units& units) const noexcept {
        const Vector c = units.load_vector(row.state);
        LstmGates gate;
        gate.i = gate_value(0, o.input_gate, units, c);
        gate.f = gate_value(1, o.forget_gate, units, c);
        couple(o, gate);
        gate.g = curve_of(o.candidate, clip(gate_sum(2, units, c), o.gate_clip));
        if (row.kept) {
            units.leave(row.kept, gate.i, row.streams);
            units.leave(row.kept + row.kept_stride, gate.f, row.streams);
            units.leave(row.kept + 2 * row.kept_stride, gate.g, row.streams);
        }
        carry_gate(row, units, 1, gate.i);
        carry_gate(row, units, 2, gate.f);
        const Vector raw = gate.f * c + gate.i * taken_up(row.masks, units, gate.g);
        const Vector to_normalise = o.cell_norm == CellNorm::fed_back ? raw : clip(raw, o.cell_clip);
        units.store_vector(row.sums, to_normalise, stride);
        return to_normalise;
    }

    LSTMKIT_INLINE Vector new_cell(const Units& units) const noexcept {
        const Vector c = sum(0, units);
        return o.cell_norm == CellNorm::fed_back ? clip(affine(norms.cell.normal(c), o.gain_cell, o.bias_cell, units), o.cell_clip) : c;
    }

    LSTMKIT_INLINE void give_out(const Units& units) const noexcept {
        const Vector c = new_cell(units), gate = gate_value(3, o.output_gate, units, c);
        if (row.kept) units.leave(row.kept + 3 * row.kept_stride, gate, row.streams);
        carry_gate(row, units, 3, gate);
        const Vector read = o.cell_norm == CellNorm::read ? affine(norms.cell.normal(c), o.gain_cell, o.bias_cell, units) : c;
        leave(row, units, units.load_vector(row.state), c, gate * curve_of(o.output, read));
    }
};

template <typename Known>
LSTMKIT_FLATTEN inline void norm_forward(const ForwardRow* rows, Index count) noexcept {
    ForwardNorms norms[step_rows];
    each_row<Known, NormForward, &NormForward::normalise_sums>(rows, norms, count);
    each_row<Known, NormForward, &NormForward::take_up>(rows, norms, count);
    each_row<Known, NormForward, &NormForward::normalise_cell>(rows, norms, count);
    each_row<Known, NormForward, &NormForward::give_out>(rows, norms, count);
}

}  // namespace
}  // namespace lstmkit
