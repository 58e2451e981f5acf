// The LSTM with options that a unit needs no other for; docs/explanation/variants.md has the equations.
#pragma once

#include "curves.h"

namespace lstmkit {
namespace {

using Options = CellOptions<Precision>;
using ForwardRow = CellForward<Precision>;
using BackwardRow = CellBackward<Precision>;

/// Vector of an option at a row's first unit.
LSTMKIT_INLINE const Real* of_unit(const Real* option, Index first) noexcept { return option ? option + first : nullptr; }

/// A gate's sum with its peephole.
template <Index N>
LSTMKIT_INLINE Bundle<N> peep(const Bundle<N>& z, const Real* weights, Index first, const Units<N>& units, const Bundle<N>& c) noexcept {
    return weights ? z + units.load(weights + first) * c : z;
}

template <Index N>
LSTMKIT_INLINE Bundle<N> gate_of(const Options& o, Gate kind, const Bundle<N>& z) noexcept {
    return kind == Gate::free ? activate(o.gate, clip(z, o.gate_clip)) : filled<N>(one);
}

/// What is kept of the value before: all where the mask says so, or the part that no mask decides.
template <Index N>
LSTMKIT_INLINE Bundle<N> part_kept(const std::uint8_t* keeps, Real rate, const Units<N>& units) noexcept {
    return keeps ? units.load_choice(keeps) : filled<N>(rate);
}

/// The new value, or the old where it is kept; never a product with what is not taken, which may be infinite.
template <Index N>
LSTMKIT_INLINE Bundle<N> zone_out(const Bundle<N>& kept, const Bundle<N>& before, const Bundle<N>& after) noexcept {
    return each([](Vector k, Vector a, Vector b) noexcept {
        const Vector mixed = k * a + (one - k) * b;
        return k == Vector{} ? b : k == Vector{} + one ? a : mixed;
    }, kept, before, after);
}

template <Index N>
struct LstmGates {
    Bundle<N> i, f, g, o;
};

template <Index N>
LSTMKIT_INLINE void couple(const Options& o, LstmGates<N>& gate) noexcept {
    if (o.input_gate == Gate::coupled) gate.i = one - gate.f;
    if (o.forget_gate == Gate::coupled) gate.f = one - gate.i;
}

template <Index N>
LSTMKIT_INLINE Bundle<N> taken_up(const StepMasks<Precision>& masks, const Units<N>& units, const Bundle<N>& g) noexcept {
    return masks.candidate ? g * units.load(masks.candidate) : g;
}

template <Index N>
LSTMKIT_INLINE void keep_gates(const ForwardRow& row, const Units<N>& units, const LstmGates<N>& gate) noexcept {
    if (!row.kept) return;
    units.store(row.kept, gate.i);
    units.store(row.kept + row.kept_stride, gate.f);
    units.store(row.kept + 2 * row.kept_stride, gate.g);
    units.store(row.kept + 3 * row.kept_stride, gate.o);
}

/// What recurs, after zoneout.
template <Index N>
LSTMKIT_INLINE void leave(const ForwardRow& row, const Units<N>& units, const Bundle<N>& c_before, Bundle<N> c, Bundle<N> h) noexcept {
    const Options& o = row.options;
    if (row.h_before && (row.masks.keeps_h || o.zoneout_h > 0))
        h = zone_out(part_kept(row.masks.keeps_h, o.zoneout_h, units), units.load(row.h_before), h);
    if (row.masks.keeps_c || o.zoneout_c > 0) c = zone_out(part_kept(row.masks.keeps_c, o.zoneout_c, units), c_before, c);
    units.store_vectors(row.state, c);
    if (row.cells) units.store(row.cells, c);
    units.store(row.y, h);
}

template <Index N>
struct LstmForward {
    static LSTMKIT_INLINE void run(const ForwardRow& row, const Units<N>& units) noexcept {
        const Options& o = row.options;
        const Bundle<N> c = units.load_vectors(row.state);
        const auto sum = [&](Index k) noexcept { return units.load_vectors(row.sums + k * lanes, gates * lanes); };
        LstmGates<N> gate;
        gate.i = gate_of(o, o.input_gate, peep(sum(0), o.peepholes[0], row.first, units, c));
        gate.f = gate_of(o, o.forget_gate, peep(sum(1), o.peepholes[1], row.first, units, c));
        couple(o, gate);
        gate.g = activate(o.candidate, clip(sum(2), o.gate_clip));
        const Bundle<N> c_new = clip(gate.f * c + gate.i * taken_up(row.masks, units, gate.g), o.cell_clip);
        gate.o = gate_of(o, o.output_gate, peep(sum(3), o.peepholes[2], row.first, units, c_new));
        keep_gates(row, units, gate);
        leave(row, units, c, c_new, gate.o * activate(o.output, c_new));
    }
};

/// What flows into a step from its output and from the state after it.
template <Index N>
struct Arriving {
    Bundle<N> dh, dc;       // through the step
    Bundle<N> dc_past;      // past it, to the state before
};

template <Index N>
LSTMKIT_INLINE Arriving<N> arrive(const BackwardRow& row, const Units<N>& units) noexcept {
    const Options& o = row.options;
    Arriving<N> in{units.load_vectors(row.dh), units.load_vectors(row.dstate), {}};
    if (row.grad_y) in.dh = in.dh + units.load(row.grad_y);
    if (row.grad_cells) in.dc = in.dc + units.load(row.grad_cells);
    if (!row.hidden) {
        Bundle<N> past = {};
        if (row.masks.keeps_h || o.zoneout_h > 0) {
            const Bundle<N> kept = part_kept(row.masks.keeps_h, o.zoneout_h, units);
            past = kept * in.dh;
            in.dh = in.dh - past;
        }
        units.store_vectors(row.dh, past);
    }
    if (row.masks.keeps_c || o.zoneout_c > 0) {
        const Bundle<N> kept = part_kept(row.masks.keeps_c, o.zoneout_c, units);
        in.dc_past = kept * in.dc;
        in.dc = in.dc - in.dc_past;
    }
    return in;
}

template <Index N>
LSTMKIT_INLINE LstmGates<N> load_gates(const Saved<Precision>* from, Index stride, const Units<N>& units) noexcept {
    return {units.load(from), units.load(from + stride), units.load(from + 2 * stride), units.load(from + 3 * stride)};
}

/// Gradients of i and f from those of their products; a coupled gate passes its own on, and keeps none.
template <Index N>
LSTMKIT_INLINE void uncouple(const Options& o, Bundle<N>& di, Bundle<N>& df) noexcept {
    if (o.input_gate == Gate::coupled) df = df - di;
    if (o.forget_gate == Gate::coupled) di = di - df;
    if (o.input_gate != Gate::free) di = {};
    if (o.forget_gate != Gate::free) df = {};
}

/// Adds what a peephole passes on, and its own gradient.
template <Index N>
LSTMKIT_INLINE void peep_back(const BackwardRow& row, Index gate, const Units<N>& units, const Bundle<N>& dz, const Bundle<N>& c,
                              Bundle<N>& dc) noexcept {
    const Real* const weights = row.options.peepholes[gate];
    if (!weights) return;
    dc = dc + units.load(weights + row.first) * dz;
    if (row.totals) units.add_vectors(row.totals + (total::peepholes + gate) * row.totals_stride, dz * c);
}

template <Index N>
struct LstmBackward {
    static LSTMKIT_INLINE void run(const BackwardRow& row, const Units<N>& units) noexcept {
        const Options& o = row.options;
        const LstmGates<N> gate = load_gates(row.kept, row.kept_stride, units);
        LstmGates<N> grad = {};
        if (row.grad_kept) grad = load_gates(row.grad_kept, row.grad_kept_stride, units);
        const Bundle<N> c_before = units.load(row.cells_before), taken = taken_up(row.masks, units, gate.g);
        const Bundle<N> c_raw = gate.f * c_before + gate.i * taken, c = clip(c_raw, o.cell_clip);
        const Bundle<N> read = activate(o.output, c);
        const Arriving<N> in = arrive(row, units);

        Bundle<N> dc = in.dc + through(o.output, read, in.dh * gate.o);
        Bundle<N> dzo = {};
        if (o.output_gate == Gate::free) dzo = through_clip(o.gate, o.gate_clip, gate.o, in.dh * read + grad.o);
        peep_back(row, 2, units, dzo, c, dc);
        if (o.cell_clip < Options::none) dc = where_inside(c_raw, -o.cell_clip, o.cell_clip, dc);

        Bundle<N> di = dc * taken + grad.i, df = dc * c_before + grad.f;
        uncouple(o, di, df);
        Bundle<N> dc_before = dc * gate.f + in.dc_past;
        const Bundle<N> dzi = through_clip(o.gate, o.gate_clip, gate.i, di), dzf = through_clip(o.gate, o.gate_clip, gate.f, df);
        peep_back(row, 0, units, dzi, c_before, dc_before);
        peep_back(row, 1, units, dzf, c_before, dc_before);
        const Bundle<N> dzg = through_clip(o.candidate, o.gate_clip, gate.g, taken_up(row.masks, units, dc * gate.i) + grad.g);

        units.store_vectors(row.dstate, dc_before);
        if (row.hidden) units.store(row.hidden, gate.o * read);
        units.store_vectors(row.dz, dzi, row.dz_block);
        units.store_vectors(row.dz + lanes, dzf, row.dz_block);
        units.store_vectors(row.dz + 2 * lanes, dzg, row.dz_block);
        units.store_vectors(row.dz + 3 * lanes, dzo, row.dz_block);
    }
};

}  // namespace
}  // namespace lstmkit
