// The LSTM with layer normalisation, where a unit's step depends on its whole row: passes over the row, which is in the first cache.
#pragma once

#include "lstm_variant.h"

namespace lstmkit {
namespace {

LSTMKIT_INLINE float root_of(float x) noexcept { return __builtin_sqrtf(x); }
LSTMKIT_INLINE double root_of(double x) noexcept { return __builtin_sqrt(x); }

/// x where there are units, 0 where a vector is padded.
LSTMKIT_INLINE Vector only(const Units& units, Vector x) noexcept {
    if (units.count == lanes) return x;
    for (Index lane = units.count; lane < lanes; ++lane) x[lane] = 0;
    return x;
}

/// Which of N columns are there: 1 or 0 for each. What is not there is zeros.
template <Index N>
struct Columns {
    Real present[N];
    Real share;  ///< of a number in their mean

    /// Of the gates i f g o those that have weights.
    static Columns of_gates(const Options& o, Index n) noexcept {
        const Gate kinds[] = {o.input_gate, o.forget_gate, Gate::free, o.output_gate};
        Columns columns{};
        Index count = 0;
        for (Index k = 0; k < N; ++k) count += kinds[k] == Gate::free, columns.present[k] = kinds[k] == Gate::free;
        columns.share = one / static_cast<Real>(count * n);
        return columns;
    }

    LSTMKIT_INLINE Vector mean_of(const Vector (&sums)[N]) const noexcept {
        if constexpr (N == 1) return share * total_of(sums[0]);
        else return share * total_of((sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
    /// One over the root of the variance, from sums of squares.
    LSTMKIT_INLINE Real scale_of(const Vector (&squares)[N], Real epsilon) const noexcept {
        return one / root_of(mean_of(squares)[0] + epsilon);
    }
};

LSTMKIT_INLINE Columns<1> one_column(Index n) noexcept { return {{one}, one / static_cast<Real>(n)}; }

struct Moments {
    Vector mean;
    Real scale;

    LSTMKIT_INLINE Vector centred(Vector x) const noexcept { return x - mean; }
    LSTMKIT_INLINE Vector normal(Vector x) const noexcept { return centred(x) * scale; }
};

/// Of columns together, of which get(k, units) gives the numbers.
template <Index N, typename Get>
LSTMKIT_INLINE Moments moments_of(const Columns<N>& columns, Index n, Real epsilon, Get get) noexcept {
    Vector sums[N] = {}, squares[N] = {};  // several, or each addition would wait for the last
    each_units(n, [&](const Units& units) noexcept {
#pragma GCC unroll 4
        for (Index k = 0; k < N; ++k) sums[k] += only(units, get(k, units));
    });
    const Vector mean = columns.mean_of(sums);
    each_units(n, [&](const Units& units) noexcept {
#pragma GCC unroll 4
        for (Index k = 0; k < N; ++k) {
            const Vector x = columns.present[k] * only(units, get(k, units) - mean);
            squares[k] += x * x;
        }
    });
    return {mean, columns.scale_of(squares, epsilon)};
}

/// x * gain + bias, the bias perhaps null.
LSTMKIT_INLINE Vector affine(Vector x, const Real* gain, const Real* bias, const Units& units) noexcept {
    x = x * units.load(gain);
    return bias ? x + units.load(bias) : x;
}

/// Through the normalisation of columns together and their gains: centred(k, units) are the numbers before it less their mean,
/// grad(k, units) the gradients behind gain and bias, leave(k, units, d) takes those of the numbers. The totals of gains and of
/// biases, and the gains, lie one behind the other; totals are null where they are not wanted.
template <Index N>
struct NormGradient {
    Columns<N> columns;
    Index n;
    Real epsilon;
    const Real* gains;
    Real *gain_totals, *bias_totals;
    Index totals_stride;

    template <typename Centred, typename Grad, typename Leave>
    LSTMKIT_INLINE void run(Centred centred, Grad grad, Leave leave) const noexcept {
        Vector sums[N] = {}, products[N] = {}, squares[N] = {};
        each_units(n, [&](const Units& units) noexcept {
#pragma GCC unroll 4
            for (Index k = 0; k < N; ++k) {
                const Vector x = only(units, centred(k, units)), d = only(units, grad(k, units)) * units.load(gains + k * n);
                sums[k] += d;
                products[k] += d * x;
                squares[k] += x * x;
            }
        });
        const Real scale = columns.scale_of(squares, epsilon);
        const Vector mean = columns.mean_of(sums), slope = columns.mean_of(products) * (scale * scale);
        each_units(n, [&](const Units& units) noexcept {
#pragma GCC unroll 4
            for (Index k = 0; k < N; ++k) {
                const Vector x = centred(k, units), behind = only(units, grad(k, units));
                if (gain_totals) units.add_vector(gain_totals + k * totals_stride, behind * (x * scale));
                if (bias_totals) units.add_vector(bias_totals + k * totals_stride, behind);
                const Vector d = behind * units.load(gains + k * n) - mean - slope * x;
                leave(k, units, only(units, columns.present[k] * scale * d));
            }
        });
    }
};

struct NormForward {
    ForwardRow row;
    const Options& o;
    Index n, stride;
    Moments input{}, recurrent{}, gate_moments[gates] = {}, cell{};

    explicit NormForward(const ForwardRow& row) noexcept
        : row(row), o(row.options), n(row.units), stride(shape_of(o).sums * lanes) {}

    // One after the other, of all rows.
    void normalise_sums() noexcept {
        if (o.norm == Norm::products) {
            input = product_moments(0);
            recurrent = product_moments(gates);
        }
        if (o.norm == Norm::gates) {
            if (o.input_gate == Gate::free) prepare_gate(0);
            if (o.forget_gate == Gate::free) prepare_gate(1);
            prepare_gate(2);
        }
    }
    void take_up() const noexcept {
        each_units(n, [&](const Units& units) noexcept { take_up(units); });
    }
    void normalise_cell() noexcept {
        if (o.cell_norm != CellNorm::none) cell = moments_of(one_column(n), n, o.epsilon, [&](Index, const Units& units) noexcept { return sum(0, units); });
    }
    void give_out() noexcept {
        if (o.norm == Norm::gates && o.output_gate == Gate::free) prepare_gate(3);
        each_units(n, [&](const Units& units) noexcept { give_out(units); });
        if (row.streams) finish_streams();
    }

private:
    LSTMKIT_INLINE Vector sum(Index k, const Units& units) const noexcept { return units.load_vector(row.sums + k * lanes, stride); }

    Moments product_moments(Index first) const noexcept {
        return moments_of(Columns<gates>::of_gates(o, n), n, o.epsilon, [&](Index k, const Units& units) noexcept { return sum(first + k, units); });
    }

    LSTMKIT_INLINE Vector seen(Index gate, const Units& units) const noexcept {
        return gate == 3 ? new_cell(units) : units.load_vector(row.state);
    }

    /// A gate's sum with its peephole, kept, and its moments.
    void prepare_gate(Index gate) noexcept {
        const Real* const peephole = gate == 2 ? nullptr : o.peepholes[gate == 3 ? 2 : gate];
        each_units(n, [&](const Units& units) noexcept {
            Vector z = sum(gate, units);
            if (peephole) z = peep(z, peephole, 0, units, seen(gate, units));
            units.store_vector(row.sums + gate * lanes, z, stride);
        });
        gate_moments[gate] = moments_of(one_column(n), n, o.epsilon, [&](Index, const Units& units) noexcept { return sum(gate, units); });
    }

    /// What backward normalises again.
    LSTMKIT_INLINE void keep(Index k, const Units& units, Vector centred) const noexcept {
        if (row.kept) units.leave(row.kept + (gates + k) * row.kept_stride, centred, row.streams);
    }

    /// What the clip before a gate's activation is given.
    LSTMKIT_INLINE Vector gate_sum(Index gate, const Units& units, Vector c) const noexcept {
        const Real* const bias = o.bias ? o.bias + gate * n : nullptr;
        if (o.norm == Norm::gates) {
            const Vector z = gate_moments[gate].centred(sum(gate, units));
            keep(gate, units, z);
            return affine(z * gate_moments[gate].scale, o.gain_gates + gate * n, bias, units);
        }
        const Vector x = input.centred(sum(gate, units)), h = recurrent.centred(sum(gates + gate, units));
        keep(gate, units, x);
        keep(gates + gate, units, h);
        Vector z = affine(x * input.scale, o.gain_input + gate * n, bias, units) +
                   h * recurrent.scale * units.load(o.gain_recurrent + gate * n);
        if (o.gates_recur) z += sum(2 * gates + gate, units);
        return gate == 2 ? z : peep(z, o.peepholes[gate == 3 ? 2 : gate], 0, units, c);
    }

    LSTMKIT_INLINE Vector gate_value(Index gate, Gate kind, const Units& units, Vector c) const noexcept {
        if (kind == Gate::free) return gate_of(o, kind, gate_sum(gate, units, c));
        if (o.norm == Norm::products) keep(gate, units, Vector{}), keep(gates + gate, units, Vector{});
        return Vector{} + one;
    }

    /// The cell state before its own normalisation, in place of the sum of i.
    LSTMKIT_INLINE void take_up(const Units& units) const noexcept {
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
        units.store_vector(row.sums, o.cell_norm == CellNorm::fed_back ? raw : clip(raw, o.cell_clip), stride);
    }

    LSTMKIT_INLINE Vector new_cell(const Units& units) const noexcept {
        const Vector c = sum(0, units);
        return o.cell_norm == CellNorm::fed_back ? clip(affine(cell.normal(c), o.gain_cell, o.bias_cell, units), o.cell_clip) : c;
    }

    LSTMKIT_INLINE void give_out(const Units& units) const noexcept {
        const Vector c = new_cell(units), gate = gate_value(3, o.output_gate, units, c);
        if (row.kept) units.leave(row.kept + 3 * row.kept_stride, gate, row.streams);
        carry_gate(row, units, 3, gate);
        const Vector read = o.cell_norm == CellNorm::read ? affine(cell.normal(c), o.gain_cell, o.bias_cell, units) : c;
        leave(row, units, units.load_vector(row.state), c, gate * curve_of(o.output, read));
    }
};

LSTMKIT_FLATTEN inline void norm_forward(const ForwardRow* rows, Index count) noexcept {
    static_assert(step_rows == 2);
    NormForward first(rows[0]), second(rows[count - 1]);
    const auto each_row = [&](auto stage) noexcept {
        stage(first);
        if (count > 1) stage(second);
    };
    each_row([](NormForward& step) noexcept { step.normalise_sums(); });
    each_row([](NormForward& step) noexcept { step.take_up(); });
    each_row([](NormForward& step) noexcept { step.normalise_cell(); });
    each_row([](NormForward& step) noexcept { step.give_out(); });
}

/// Vectors of the whole row that backward needs beside what it is given.
enum Scratch : Index { raw, grad_c, past, zi, zf, zg, zo, work, scratch_size };
static_assert(scratch_size == scratch_vectors);

struct NormBackward {
    BackwardRow row;
    const Options& o;
    Index n, padded;
    Moments cell{};

    explicit NormBackward(const BackwardRow& row) noexcept
        : row(row), o(row.options), n(row.units), padded((row.units + lanes - 1) / lanes * lanes) {}

    // One after the other, of all rows.
    void normalise_cell() noexcept {
        each_units(n, [&](const Units& units) noexcept {
            const LstmGates gate = load_gates(row.kept, row.kept_stride, units);
            put(raw, units, gate.f * units.load(row.cells_before) + gate.i * taken_up(row.masks, units, gate.g));
        });
        if (o.cell_norm != CellNorm::none)
            cell = moments_of(one_column(n), n, o.epsilon, [&](Index, const Units& units) noexcept { return normalised_cell(units); });
    }
    void from_output() const noexcept {
        each_units(n, [&](const Units& units) noexcept { from_output(units); });
    }
    void into_cell() const noexcept {
        if (o.cell_norm == CellNorm::read) through_cell(work, [&](const Units& units, Vector d) noexcept { put(grad_c, units, get(grad_c, units) + d); });
        if (o.norm == Norm::gates && o.output_gate == Gate::free) through_gate(3);
        each_units(n, [&](const Units& units) noexcept { into_cell(units); });
    }
    void from_cell() const noexcept {
        if (o.cell_norm == CellNorm::fed_back) through_cell(grad_c, [&](const Units& units, Vector d) noexcept { put(grad_c, units, d); });
        each_units(n, [&](const Units& units) noexcept { from_cell(units); });
        if (o.norm == Norm::gates) {
            if (o.input_gate == Gate::free) through_gate(0);
            if (o.forget_gate == Gate::free) through_gate(1);
            through_gate(2);
        }
        each_units(n, [&](const Units& units) noexcept { into_state(units); });
    }
    void leave_sums() const noexcept {
        if (o.norm == Norm::products) through_products();
        else leave_gates(0);
    }

private:
    Real* vector(Index k) const noexcept { return row.scratch + k * padded; }
    LSTMKIT_INLINE Vector get(Index k, const Units& units) const noexcept { return units.load_vector(vector(k)); }
    LSTMKIT_INLINE void put(Index k, const Units& units, Vector value) const noexcept { units.store_vector(vector(k), value); }
    Real* total(Index k) const noexcept { return row.totals ? row.totals + k * row.totals_stride : nullptr; }

    /// What is normalised of the cell state, and the state that recurs, as forward had them.
    LSTMKIT_INLINE Vector normalised_cell(const Units& units) const noexcept {
        return o.cell_norm == CellNorm::read ? clip(get(raw, units), o.cell_clip) : get(raw, units);
    }
    LSTMKIT_INLINE Vector clipped(const Units& units) const noexcept {
        return o.cell_norm == CellNorm::fed_back ? affine(cell.normal(get(raw, units)), o.gain_cell, o.bias_cell, units) : get(raw, units);
    }

    /// From the output to the output gate's activation and to the cell state as it was read.
    LSTMKIT_INLINE void from_output(const Units& units) const noexcept {
        const Vector c = clip(clipped(units), o.cell_clip), gate = units.load(row.kept + 3 * row.kept_stride);
        const Arriving in = arrive(row, units);
        const Vector read = curve_of(o.output, o.cell_norm == CellNorm::read ? affine(cell.normal(c), o.gain_cell, o.bias_cell, units) : c);
        const Vector d_o = in.dh * read + arrive_at_gates(row, units).o;
        put(zo, units, o.output_gate == Gate::free ? through_clip(o.gate, o.gate_clip, gate, d_o) : Vector{});
        const Vector d_read = through(o.output, read, in.dh * gate);
        put(work, units, d_read);
        put(grad_c, units, o.cell_norm == CellNorm::read ? in.dc : in.dc + d_read);
        put(past, units, in.dc_past);
        if (row.hidden) units.store(row.hidden, gate * read);
    }

    /// Through the cell state's normalisation, from the gradients in a vector of scratch.
    template <typename Leave>
    LSTMKIT_INLINE void through_cell(Index grads, Leave leave) const noexcept {
        const NormGradient<1> through{one_column(n), n, o.epsilon, o.gain_cell, total(total::gain_cell),
                                      o.bias_cell ? total(total::bias_cell) : nullptr, 0};
        through.run([&](Index, const Units& units) noexcept { return cell.centred(normalised_cell(units)); },
                    [&](Index, const Units& units) noexcept { return get(grads, units); },
                    [&](Index, const Units& units, Vector d) noexcept { leave(units, d); });
    }

    /// Through a gate's own normalisation.
    void through_gate(Index gate) const noexcept {
        const Stored<Precision>* const kept = row.kept + (gates + gate) * row.kept_stride;
        const NormGradient<1> through{one_column(n), n, o.epsilon, o.gain_gates + gate * n,
                                      total(total::gain_gates + gate), o.bias ? total(total::bias + gate) : nullptr, 0};
        through.run([&](Index, const Units& units) noexcept { return units.load(kept); },
                    [&](Index, const Units& units) noexcept { return get(zi + gate, units); },
                    [&](Index, const Units& units, Vector d) noexcept { put(zi + gate, units, d); });
    }

    /// All of the cell state's gradient, before its clip.
    LSTMKIT_INLINE void into_cell(const Units& units) const noexcept {
        Vector d = get(grad_c, units);
        const Vector c = clipped(units);
        peep_back(row, 2, units, get(zo, units), clip(c, o.cell_clip), d);
        put(grad_c, units, o.cell_clip < Options::none ? where_inside(c, -o.cell_clip, o.cell_clip, d) : d);
    }

    LSTMKIT_INLINE void from_cell(const Units& units) const noexcept {
        const LstmGates gate = load_gates(row.kept, row.kept_stride, units), grad = arrive_at_gates(row, units);
        const Vector dc = get(grad_c, units);
        Vector di = dc * taken_up(row.masks, units, gate.g) + grad.i, df = dc * units.load(row.cells_before) + grad.f;
        uncouple(o, di, df);
        put(zi, units, through_clip(o.gate, o.gate_clip, gate.i, di));
        put(zf, units, through_clip(o.gate, o.gate_clip, gate.f, df));
        put(zg, units, through_clip(o.candidate, o.gate_clip, gate.g, taken_up(row.masks, units, dc * gate.i) + grad.g));
        put(past, units, get(past, units) + dc * gate.f);
    }

    LSTMKIT_INLINE void into_state(const Units& units) const noexcept {
        Vector dc = get(past, units);
        const Vector before = units.load(row.cells_before);
        peep_back(row, 0, units, get(zi, units), before, dc);
        peep_back(row, 1, units, get(zf, units), before, dc);
        units.store_vector(row.dstate, dc);
    }

    LSTMKIT_INLINE void leave_sum(Index sum, const Units& units, Vector d) const noexcept {
        units.store_vector(row.dz + sum * lanes, d, row.dz_block);
    }

    void leave_gates(Index first) const noexcept {
        each_units(n, [&](const Units& units) noexcept {
            for (Index gate = 0; gate < gates; ++gate) leave_sum(first + gate, units, get(zi + gate, units));
        });
    }

    /// Through the normalisations of both products.
    void through_products() const noexcept {
        through_product(0, o.gain_input, total::gain_input, o.bias != nullptr);
        through_product(gates, o.gain_recurrent, total::gain_recurrent, false);
        if (o.gates_recur) leave_gates(2 * gates);
    }

    void through_product(Index first, const Real* gain, Index gain_total, bool has_bias) const noexcept {
        const NormGradient<gates> through{Columns<gates>::of_gates(o, n), n, o.epsilon, gain, total(gain_total),
                                          has_bias ? total(total::bias) : nullptr, row.totals_stride};
        through.run([&](Index k, const Units& units) noexcept { return units.load(row.kept + (gates + first + k) * row.kept_stride); },
                    [&](Index k, const Units& units) noexcept { return get(zi + k, units); },
                    [&](Index k, const Units& units, Vector d) noexcept { leave_sum(first + k, units, d); });
    }
};

LSTMKIT_FLATTEN inline void norm_backward(const BackwardRow* rows, Index count) noexcept {
    static_assert(step_rows == 2);
    NormBackward first(rows[0]), second(rows[count - 1]);
    const auto each_row = [&](auto stage) noexcept {
        stage(first);
        if (count > 1) stage(second);
    };
    each_row([](NormBackward& step) noexcept { step.normalise_cell(); });
    each_row([](NormBackward& step) noexcept { step.from_output(); });
    each_row([](NormBackward& step) noexcept { step.into_cell(); });
    each_row([](NormBackward& step) noexcept { step.from_cell(); });
    each_row([](NormBackward& step) noexcept { step.leave_sums(); });
}

}  // namespace
}  // namespace lstmkit
