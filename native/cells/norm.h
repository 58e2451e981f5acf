// The LSTM with layer normalisation, where a unit's step depends on its whole row: one pass over the row after the other.
#pragma once

#include "lstm_variant.h"

namespace lstmkit {
namespace {

/// A number for every unit of a row, one vector in every `stride` numbers.
struct Column {
    Real* at;
    Index stride;
};

LSTMKIT_INLINE Real total_of(Vector x) noexcept {
    Real sum = 0;
    for (Index lane = 0; lane < lanes; ++lane) sum += x[lane];
    return sum;
}

/// function(block, mask) for each block of a row; the mask is 1 for units and 0 for what pads the last block.
template <typename Function>
LSTMKIT_INLINE void each_block(Index units, Function function) noexcept {
    const Index whole = units / lanes, rest = units % lanes;
    const Vector all = Vector{} + one;
    for (Index block = 0; block < whole; ++block) function(block, all);
    if (rest == 0) return;
    Vector mask = {};
    for (Index lane = 0; lane < rest; ++lane) mask[lane] = one;
    function(whole, mask);
}

LSTMKIT_INLINE Vector get(const Column& column, Index block) noexcept { return load(column.at + block * column.stride); }
LSTMKIT_INLINE void put(const Column& column, Index block, Vector value) noexcept { store(column.at + block * column.stride, value); }

/// Makes the columns together have mean 0 and variance 1; returns what they were multiplied with. What pads them stays 0.
inline Real normalise(const Column* columns, Index count, Index units, Real epsilon) noexcept {
    const Real share = one / static_cast<Real>(count * units);
    Vector sum = {}, squares = {};
    for (Index k = 0; k < count; ++k) each_block(units, [&](Index b, Vector mask) noexcept { sum += mask * get(columns[k], b); });
    const Real mean = share * total_of(sum);
    for (Index k = 0; k < count; ++k)
        each_block(units, [&](Index b, Vector mask) noexcept {
            const Vector x = mask * (get(columns[k], b) - mean);
            put(columns[k], b, x);
            squares += x * x;
        });
    const Real scale = one / __builtin_sqrt(share * total_of(squares) + epsilon);
    for (Index k = 0; k < count; ++k) each_block(units, [&](Index b, Vector) noexcept { put(columns[k], b, scale * get(columns[k], b)); });
    return scale;
}

/// Gradients of what was normalised, in place of those of the normalised `values`.
inline void normalise_back(const Column* values, const Column* grads, Index count, Index units, Real scale) noexcept {
    const Real share = one / static_cast<Real>(count * units);
    Vector sum = {}, product = {};
    for (Index k = 0; k < count; ++k)
        each_block(units, [&](Index b, Vector) noexcept {
            const Vector d = get(grads[k], b);
            sum += d;
            product += d * get(values[k], b);
        });
    const Real mean = share * total_of(sum), slope = share * total_of(product);
    for (Index k = 0; k < count; ++k)
        each_block(units, [&](Index b, Vector mask) noexcept {
            put(grads[k], b, mask * (scale * (get(grads[k], b) - mean - slope * get(values[k], b))));
        });
}

/// Numbers of units [units], zeros behind them.
LSTMKIT_INLINE Vector option_at(const Real* option, Index block, Index units) noexcept {
    return load_up_to(option + block * lanes, units - block * lanes < lanes ? units - block * lanes : lanes);
}

/// column = column * gain + bias, both [units] or null.
inline void scale_and_shift(const Column& column, const Real* gain, const Real* bias, Index units) noexcept {
    each_block(units, [&](Index b, Vector) noexcept {
        Vector x = get(column, b);
        if (gain) x *= option_at(gain, b, units);
        if (bias) x += option_at(bias, b, units);
        put(column, b, x);
    });
}

/// Adds the gradients of gain and bias to vectors of totals; grads becomes that of `values`.
inline void scale_and_shift_back(const Column& values, const Column& grads, const Real* gain, Real* gain_total, Real* bias_total,
                                 Index units) noexcept {
    each_block(units, [&](Index b, Vector) noexcept {
        const Vector d = get(grads, b);
        if (gain_total) store(gain_total + b * lanes, load(gain_total + b * lanes) + d * get(values, b));
        if (bias_total) store(bias_total + b * lanes, load(bias_total + b * lanes) + d);
        if (gain) put(grads, b, d * option_at(gain, b, units));
    });
}

/// The gates that have weights, by their number among i f g o.
struct FreeGates {
    Index which[gates], count = 0;

    explicit FreeGates(const Options& o) noexcept {
        const bool has[] = {o.input_gate == Gate::free, o.forget_gate == Gate::free, true, o.output_gate == Gate::free};
        for (Index gate = 0; gate < gates; ++gate)
            if (has[gate]) which[count++] = gate;
    }
};

/// One family of sums, i f g o from `first` on, of the gates that have weights.
struct Family {
    Column columns[gates];

    Family(const FreeGates& free, Real* sums, Index first, Index stride) noexcept {
        for (Index k = 0; k < free.count; ++k) columns[k] = {sums + (first + free.which[k]) * lanes, stride};
    }
};

/// The first half of a step: the products' shares normalised and added up into the first four sums.
inline void join_products(const ForwardRow& row, const FreeGates& free) noexcept {
    const Options& o = row.options;
    const Index stride = 8 * lanes;
    const Family input(free, row.sums, 0, stride), recurrent(free, row.sums, gates, stride);
    normalise(input.columns, free.count, row.units, o.epsilon);
    normalise(recurrent.columns, free.count, row.units, o.epsilon);
    for (Index k = 0; k < free.count; ++k) {
        const Index gate = free.which[k] * row.units;
        each_block(row.units, [&](Index b, Vector) noexcept {
            Vector z = get(input.columns[k], b) * option_at(o.gain_input + gate, b, row.units) +
                       get(recurrent.columns[k], b) * option_at(o.gain_recurrent + gate, b, row.units);
            if (o.bias) z += option_at(o.bias + gate, b, row.units);
            put(input.columns[k], b, z);
        });
    }
}

/// A gate's own normalisation, kept before it.
inline void normalise_gate(const ForwardRow& row, Index gate, const Column& sums) noexcept {
    const Options& o = row.options;
    if (row.kept)
        each_block(row.units, [&](Index b, Vector) noexcept {
            const Index count = row.units - b * lanes < lanes ? row.units - b * lanes : lanes;
            store_up_to(row.kept + (gates + gate) * row.kept_stride + b * lanes, get(sums, b), count);
        });
    normalise(&sums, 1, row.units, o.epsilon);
    scale_and_shift(sums, o.gain_gates + gate * row.units, o.bias ? o.bias + gate * row.units : nullptr, row.units);
}

inline void norm_forward(const ForwardRow& row) noexcept {
    const Options& o = row.options;
    const FreeGates free(o);
    const Index stride = (o.norm == Norm::products ? 2 : 1) * gates * lanes, n = row.units;
    const auto column = [&](Index gate) noexcept { return Column{row.sums + gate * lanes, stride}; };
    const Column c_new = column(0), read = column(1);  // in place of sums that have been taken
    if (o.norm == Norm::products) {
        if (row.kept)
            for (Index k = 0; k < 2 * gates; ++k)
                each_units(n, [&](const Units& units) noexcept {
                    units.leave(row.kept + (gates + k) * row.kept_stride, units.load_vector(row.sums + k * lanes, stride), row.streams);
                });
        join_products(row, free);
    }
    for (Index gate = 0; gate < 3; ++gate) {
        if ((gate == 0 && o.input_gate != Gate::free) || (gate == 1 && o.forget_gate != Gate::free)) continue;
        if (gate < 2 && o.peepholes[gate])
            each_block(n, [&](Index b, Vector) noexcept {
                put(column(gate), b, get(column(gate), b) + option_at(o.peepholes[gate], b, n) * load(row.state + b * lanes));
            });
        if (o.norm == Norm::gates) normalise_gate(row, gate, column(gate));
    }
    each_units(n, [&](const Units& units) noexcept {
        const auto sum = [&](Index k) noexcept { return units.load_vector(row.sums + k * lanes, stride); };
        const auto c = units.load_vector(row.state);
        auto i = gate_of(o, o.input_gate, sum(0)), f = gate_of(o, o.forget_gate, sum(1));
        if (o.input_gate == Gate::coupled) i = one - f;
        if (o.forget_gate == Gate::coupled) f = one - i;
        const auto g = activate(o.candidate, clip(sum(2), o.gate_clip));
        if (row.kept) {
            units.leave(row.kept, i, row.streams);
            units.leave(row.kept + row.kept_stride, f, row.streams);
            units.leave(row.kept + 2 * row.kept_stride, g, row.streams);
        }
        units.store_vector(c_new.at, f * c + i * taken_up(row.masks, units, g), stride);
    });
    if (o.cell_norm == CellNorm::fed_back) {
        normalise(&c_new, 1, n, o.epsilon);
        scale_and_shift(c_new, o.gain_cell, o.bias_cell, n);
    }
    each_units(n, [&](const Units& units) noexcept {
        const auto c = clip(units.load_vector(c_new.at, stride), o.cell_clip);
        units.store_vector(c_new.at, c, stride);
        units.store_vector(read.at, c, stride);
    });
    if (o.output_gate == Gate::free) {
        const Column z = column(3);
        if (o.peepholes[2])
            each_block(n, [&](Index b, Vector) noexcept { put(z, b, get(z, b) + option_at(o.peepholes[2], b, n) * get(c_new, b)); });
        if (o.norm == Norm::gates) normalise_gate(row, 3, z);
    }
    if (o.cell_norm == CellNorm::read) {
        normalise(&read, 1, n, o.epsilon);
        scale_and_shift(read, o.gain_cell, o.bias_cell, n);
    }
    each_units(n, [&](const Units& units) noexcept {
        const auto gate = gate_of(o, o.output_gate, units.load_vector(row.sums + 3 * lanes, stride));
        if (row.kept) units.leave(row.kept + 3 * row.kept_stride, gate, row.streams);
        const auto h = gate * activate(o.output, units.load_vector(read.at, stride));
        leave(row, units, units.load_vector(row.state), units.load_vector(c_new.at, stride), h);
    });
    if (row.streams) finish_streams();
}

/// Vectors of the whole row that backward needs beside what it is given.
enum Scratch : Index { raw, raw_norm, c_after, read_norm, cell_read, grad_c, zi, zf, zg, zo, norm_i, norm_f, norm_g, norm_o, past, scratch_size };
static_assert(scratch_size == scratch_vectors);

struct NormBackward {
    const BackwardRow& row;
    const Options& o;
    FreeGates free;
    Index n, padded;

    explicit NormBackward(const BackwardRow& row) noexcept
        : row(row), o(row.options), free(o), n(row.units), padded((row.units + lanes - 1) / lanes * lanes) {}

    Real* vector(Index k) const noexcept { return row.scratch + k * padded; }
    Column column(Index k) const noexcept { return {vector(k), lanes}; }
    Real* total(Index k) const noexcept { return row.totals ? row.totals + k * row.totals_stride : nullptr; }

    void run() const noexcept {
        Real scale_raw = 0, scale_read = 0;
        recompute(scale_raw, scale_read);
        to_output_gate(scale_read);
        to_gates(scale_raw);
        if (o.norm == Norm::products) to_products();
        else leave_sums(zi, 0);
    }

    /// The cell's way through the step, as forward took it.
    void recompute(Real& scale_raw, Real& scale_read) const noexcept {
        each_units(n, [&](const Units& units) noexcept {
            const auto gate = load_gates(row.kept, row.kept_stride, units);
            const auto c = gate.f * units.load(row.cells_before) + gate.i * taken_up(row.masks, units, gate.g);
            units.store_vector(vector(raw), c);
            units.store_vector(vector(c_after), c);
        });
        if (o.cell_norm == CellNorm::fed_back) {
            const Column c = column(c_after);
            scale_raw = normalise(&c, 1, n, o.epsilon);
            copy(c_after, raw_norm);
            scale_and_shift(c, o.gain_cell, o.bias_cell, n);
            copy(c_after, raw);  // what the clip was given
        }
        each_units(n, [&](const Units& units) noexcept {
            const auto c = clip(units.load_vector(vector(c_after)), o.cell_clip);
            units.store_vector(vector(c_after), c);
            units.store_vector(vector(cell_read), c);
        });
        if (o.cell_norm == CellNorm::read) {
            const Column c = column(cell_read);
            scale_read = normalise(&c, 1, n, o.epsilon);
            copy(cell_read, read_norm);
            scale_and_shift(c, o.gain_cell, o.bias_cell, n);
        }
    }

    void copy(Index from, Index to) const noexcept {
        each_block(n, [&](Index b, Vector) noexcept { put(column(to), b, get(column(from), b)); });
    }

    /// From the output to the output gate's sum and to the cell state before its clip.
    void to_output_gate(Real scale_read) const noexcept {
        each_units(n, [&](const Units& units) noexcept {
            const auto in = arrive(row, units);
            const auto gate = units.load(row.kept + 3 * row.kept_stride);
            const auto read = activate(o.output, units.load_vector(vector(cell_read)));
            auto d_o = in.dh * read;
            if (row.grad_kept) d_o = d_o + units.load(row.grad_kept + 3 * row.grad_kept_stride);
            units.store_vector(vector(zo), o.output_gate == Gate::free ? through_clip(o.gate, o.gate_clip, gate, d_o) : d_o - d_o);
            units.store_vector(vector(cell_read), through(o.output, read, in.dh * gate));
            units.store_vector(vector(grad_c), in.dc);
            units.store_vector(vector(past), in.dc_past);
            if (row.hidden) units.store(row.hidden, gate * read);
        });
        const Column dc = column(cell_read), values = column(read_norm);
        if (o.cell_norm == CellNorm::read) {
            scale_and_shift_back(values, dc, o.gain_cell, total(total::gain_cell), o.bias_cell ? total(total::bias_cell) : nullptr, n);
            normalise_back(&values, &dc, 1, n, scale_read);
        }
        if (o.norm == Norm::gates && o.output_gate == Gate::free) gate_back(3, zo);
        each_units(n, [&](const Units& units) noexcept {
            auto d = units.load_vector(vector(grad_c)) + units.load_vector(vector(cell_read));
            peep_back(row, 2, units, units.load_vector(vector(zo)), units.load_vector(vector(c_after)), d);
            if (o.cell_clip < Options::none) d = where_inside(units.load_vector(vector(raw)), -o.cell_clip, o.cell_clip, d);
            units.store_vector(vector(grad_c), d);
        });
    }

    /// Through a gate's own normalisation: `grads` is then of its sum.
    void gate_back(Index gate, Index grads) const noexcept {
        const Column values = column(norm_i + gate), d = column(grads);
        each_units(n, [&](const Units& units) noexcept {
            units.store_vector(values.at, units.load(row.kept + (gates + gate) * row.kept_stride));
        });
        const Real scale = normalise(&values, 1, n, o.epsilon);
        scale_and_shift_back(values, d, o.gain_gates + gate * n, total(total::gain_gates + gate), o.bias ? total(total::bias + gate) : nullptr, n);
        normalise_back(&values, &d, 1, n, scale);
    }

    void to_gates(Real scale_raw) const noexcept {
        if (o.cell_norm == CellNorm::fed_back) {
            const Column d = column(grad_c), values = column(raw_norm);
            scale_and_shift_back(values, d, o.gain_cell, total(total::gain_cell), o.bias_cell ? total(total::bias_cell) : nullptr, n);
            normalise_back(&values, &d, 1, n, scale_raw);
        }
        each_units(n, [&](const Units& units) noexcept {
            const auto gate = load_gates(row.kept, row.kept_stride, units);
            auto grad = gate;
            if (row.grad_kept) grad = load_gates(row.grad_kept, row.grad_kept_stride, units);
            const auto dc = units.load_vector(vector(grad_c));
            auto di = dc * taken_up(row.masks, units, gate.g), df = dc * units.load(row.cells_before);
            auto dg = taken_up(row.masks, units, dc * gate.i);
            if (row.grad_kept) di = di + grad.i, df = df + grad.f, dg = dg + grad.g;
            uncouple(o, di, df);
            units.store_vector(vector(zi), through_clip(o.gate, o.gate_clip, gate.i, di));
            units.store_vector(vector(zf), through_clip(o.gate, o.gate_clip, gate.f, df));
            units.store_vector(vector(zg), through_clip(o.candidate, o.gate_clip, gate.g, dg));
            units.store_vector(vector(past), units.load_vector(vector(past)) + dc * gate.f);
        });
        if (o.norm == Norm::gates)
            for (Index k = 0; k < free.count; ++k)
                if (free.which[k] < 3) gate_back(free.which[k], zi + free.which[k]);
        each_units(n, [&](const Units& units) noexcept {
            auto dc = units.load_vector(vector(past));
            const auto before = units.load(row.cells_before);
            peep_back(row, 0, units, units.load_vector(vector(zi)), before, dc);
            peep_back(row, 1, units, units.load_vector(vector(zf)), before, dc);
            units.store_vector(row.dstate, dc);
        });
    }

    /// Through the normalisation of both products.
    void to_products() const noexcept {
        for (Index family = 0; family < 2; ++family) {
            Column values[gates], grads[gates];
            for (Index k = 0; k < free.count; ++k) {
                const Index gate = free.which[k];
                values[k] = column(norm_i + gate), grads[k] = column(gate == 0 ? raw : gate == 1 ? raw_norm : gate == 2 ? c_after : read_norm);
                each_units(n, [&](const Units& units) noexcept {
                    units.store_vector(values[k].at, units.load(row.kept + (gates * (1 + family) + gate) * row.kept_stride));
                });
                each_block(n, [&](Index b, Vector) noexcept { put(grads[k], b, get(column(zi + gate), b)); });
            }
            const Real scale = normalise(values, free.count, n, o.epsilon);
            for (Index k = 0; k < free.count; ++k) {
                const Index gate = free.which[k];
                const Real* const gain = (family ? o.gain_recurrent : o.gain_input) + gate * n;
                Real* const bias = o.bias && !family ? total(total::bias + gate) : nullptr;
                scale_and_shift_back(values[k], grads[k], gain, total((family ? total::gain_recurrent : total::gain_input) + gate), bias, n);
            }
            normalise_back(values, grads, free.count, n, scale);
            for (Index gate = 0; gate < gates; ++gate) leave_sum(nullptr, family * gates + gate);
            for (Index k = 0; k < free.count; ++k) leave_sum(grads[k].at, family * gates + free.which[k]);
        }
    }

    void leave_sums(Index from, Index to) const noexcept {
        for (Index gate = 0; gate < gates; ++gate) leave_sum(vector(from + gate), to + gate);
    }

    void leave_sum(const Real* grads, Index to) const noexcept {
        each_block(n, [&](Index b, Vector) noexcept {
            store(row.dz + to * lanes + b * row.dz_block, grads ? load(grads + b * lanes) : Vector{});
        });
    }
};

}  // namespace
}  // namespace lstmkit
