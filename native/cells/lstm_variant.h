// The LSTM with options that a unit needs no other for; docs/explanation/variants.md has the equations.
#pragma once

#include "curves.h"

namespace lstmkit {
namespace {

using Options = CellOptions<Precision>;
using ForwardRow = CellForward<Precision>;
using BackwardRow = CellBackward<Precision>;

/// A gate's sum with its peephole.
LSTMKIT_INLINE Vector peep(Vector z, const Real* weights, Index first, const Units& units, Vector c) noexcept {
    return weights ? z + units.load(weights + first) * c : z;
}

LSTMKIT_INLINE Vector gate_of(const Options& o, Gate kind, Vector z) noexcept {
    if (kind != Gate::free) return Vector{} + one;
    z = clip(z, o.gate_clip);
    return __builtin_expect(o.gate.curve == Curve::sigmoid, 1) ? sigmoid(z) : activate(o.gate, z);
}

LSTMKIT_INLINE Vector curve_of(const Activation& a, Vector z) noexcept {
    return __builtin_expect(a.curve == Curve::tanh && a.alpha == 1 && a.beta == 1, 1) ? tanh(z) : activate(a, z);
}

/// What is kept of the value before: all where the mask says so, or the part that no mask decides.
LSTMKIT_INLINE Vector part_kept(const std::uint8_t* keeps, Real rate, const Units& units) noexcept {
    return keeps ? units.load_choice(keeps) : (Vector{} + rate);
}

/// The new value, or the old where it is kept; never a product with what is not taken, which may be infinite.
LSTMKIT_INLINE Vector zone_out(Vector kept, Vector before, Vector after) noexcept {
    const Vector mixed = kept * before + (one - kept) * after;
    return kept == Vector{} ? after : kept == Vector{} + one ? before : mixed;
}

struct LstmGates {
    Vector i, f, g, o;
};

/// With full gate recurrence the gates i, f and o are states 1, 2 and 3.
LSTMKIT_INLINE void carry_gate(const ForwardRow& row, const Units& units, Index state, Vector gate) noexcept {
    if (!row.options->gates_recur) return;
    units.store_vector(row.state + state * row.state_stride, gate);
    if (row.cells) units.leave(row.cells + state * row.cell_stride, gate, row.streams);
}

LSTMKIT_INLINE void couple(const Options& o, LstmGates& gate) noexcept {
    if (o.input_gate == Gate::coupled) gate.i = one - gate.f;
    if (o.forget_gate == Gate::coupled) gate.f = one - gate.i;
}

LSTMKIT_INLINE Vector taken_up(const StepMasks<Precision>& masks, const Units& units, Vector g) noexcept {
    return masks.candidate ? g * units.load(masks.candidate) : g;
}

LSTMKIT_INLINE void keep_gates(const ForwardRow& row, const Units& units, const LstmGates& gate) noexcept {
    if (!row.kept) return;
    units.leave(row.kept, gate.i, row.streams);
    units.leave(row.kept + row.kept_stride, gate.f, row.streams);
    units.leave(row.kept + 2 * row.kept_stride, gate.g, row.streams);
    units.leave(row.kept + 3 * row.kept_stride, gate.o, row.streams);
}

/// What recurs, after zoneout.
LSTMKIT_INLINE void leave(const ForwardRow& row, const Units& units, Vector c_before, Vector c, Vector h) noexcept {
    const Options& o = *row.options;
    if (row.h_before && (row.masks.keeps_h || o.zoneout_h > 0))
        h = zone_out(part_kept(row.masks.keeps_h, o.zoneout_h, units), units.load(row.h_before), h);
    if (row.masks.keeps_c || o.zoneout_c > 0) c = zone_out(part_kept(row.masks.keeps_c, o.zoneout_c, units), c_before, c);
    units.store_vector(row.state, c);
    if (row.cells) units.leave(row.cells, c, row.streams);
    units.store(row.y, h);
}

LSTMKIT_INLINE void lstm_forward(const ForwardRow& row, const Units& units) noexcept {
    const Options& o = *row.options;
    const Vector c = units.load_vector(row.state);
    const auto sum = [&](Index k) noexcept { return units.load_vector(row.sums + k * lanes, gates * lanes); };
    LstmGates gate;
    gate.i = gate_of(o, o.input_gate, peep(sum(0), o.peepholes[0], row.first, units, c));
    gate.f = gate_of(o, o.forget_gate, peep(sum(1), o.peepholes[1], row.first, units, c));
    couple(o, gate);
    gate.g = curve_of(o.candidate, clip(sum(2), o.gate_clip));
    const Vector c_new = clip(gate.f * c + gate.i * taken_up(row.masks, units, gate.g), o.cell_clip);
    gate.o = gate_of(o, o.output_gate, peep(sum(3), o.peepholes[2], row.first, units, c_new));
    keep_gates(row, units, gate);
    carry_gate(row, units, 1, gate.i);
    carry_gate(row, units, 2, gate.f);
    carry_gate(row, units, 3, gate.o);
    leave(row, units, c, c_new, gate.o * curve_of(o.output, c_new));
}

/// What flows into a step from its output and from the state after it.
struct Arriving {
    Vector dh, dc;       // through the step
    Vector dc_past;      // past it, to the state before
};

LSTMKIT_INLINE Arriving arrive(const BackwardRow& row, const Units& units) noexcept {
    const Options& o = *row.options;
    Arriving in{units.load_vector(row.dh), units.load_vector(row.dstate), {}};
    if (row.grad_y) in.dh = in.dh + units.load(row.grad_y);
    if (row.grad_cells) in.dc = in.dc + units.load(row.grad_cells);
    if (!row.hidden) {
        Vector past = {};
        if (row.masks.keeps_h || o.zoneout_h > 0) {
            const Vector kept = part_kept(row.masks.keeps_h, o.zoneout_h, units);
            past = kept * in.dh;
            in.dh = in.dh - past;
        }
        units.store_vector(row.dh, past);
    }
    if (row.masks.keeps_c || o.zoneout_c > 0) {
        const Vector kept = part_kept(row.masks.keeps_c, o.zoneout_c, units);
        in.dc_past = kept * in.dc;
        in.dc = in.dc - in.dc_past;
    }
    return in;
}

LSTMKIT_INLINE LstmGates load_gates(const Stored<Precision>* from, Index stride, const Units& units) noexcept {
    return {units.load(from), units.load(from + stride), units.load(from + 2 * stride), units.load(from + 3 * stride)};
}

/// What flows into the gates beside what their step makes of them.
LSTMKIT_INLINE LstmGates arrive_at_gates(const BackwardRow& row, const Units& units) noexcept {
    LstmGates grad = {};
    if (row.grad_kept) grad = load_gates(row.grad_kept, row.grad_kept_stride, units);
    if (!row.options->gates_recur) return grad;
    const auto carried = [&](Index state) noexcept {
        const Vector d = units.load_vector(row.dstate + state * row.state_stride);
        return row.grad_cells ? d + units.load(row.grad_cells + state * row.grad_cell_stride) : d;
    };
    return {grad.i + carried(1), grad.f + carried(2), grad.g, grad.o + carried(3)};
}

/// Gradients of i and f from those of their products; a coupled gate passes its own on, and keeps none.
LSTMKIT_INLINE void uncouple(const Options& o, Vector& di, Vector& df) noexcept {
    if (o.input_gate == Gate::coupled) df = df - di;
    if (o.forget_gate == Gate::coupled) di = di - df;
    if (o.input_gate != Gate::free) di = Vector{};
    if (o.forget_gate != Gate::free) df = Vector{};
}

/// Adds what a peephole passes on, and its own gradient.
LSTMKIT_INLINE void peep_back(const BackwardRow& row, Index gate, const Units& units, Vector dz, Vector c,
                              Vector& dc) noexcept {
    const Real* const weights = row.options->peepholes[gate];
    if (!weights) return;
    dc = dc + units.load(weights + row.first) * dz;
    if (row.totals) units.add_vector(row.totals + (total::peepholes + gate) * row.totals_stride, dz * c);
}

LSTMKIT_INLINE void lstm_backward(const BackwardRow& row, const Units& units) noexcept {
    const Options& o = *row.options;
    const LstmGates gate = load_gates(row.kept, row.kept_stride, units), grad = arrive_at_gates(row, units);
    const Vector c_before = units.load(row.cells_before), taken = taken_up(row.masks, units, gate.g);
    const Vector c_raw = gate.f * c_before + gate.i * taken, c = clip(c_raw, o.cell_clip);
    const Vector read = curve_of(o.output, c);
    const Arriving in = arrive(row, units);

    Vector dc = in.dc + through(o.output, read, in.dh * gate.o);
    Vector dzo = {};
    if (o.output_gate == Gate::free) dzo = through_clip(o.gate, o.gate_clip, gate.o, in.dh * read + grad.o);
    peep_back(row, 2, units, dzo, c, dc);
    if (o.cell_clip < Options::none) dc = where_inside(c_raw, -o.cell_clip, o.cell_clip, dc);

    Vector di = dc * taken + grad.i, df = dc * c_before + grad.f;
    uncouple(o, di, df);
    Vector dc_before = dc * gate.f + in.dc_past;
    const Vector dzi = through_clip(o.gate, o.gate_clip, gate.i, di), dzf = through_clip(o.gate, o.gate_clip, gate.f, df);
    peep_back(row, 0, units, dzi, c_before, dc_before);
    peep_back(row, 1, units, dzf, c_before, dc_before);
    const Vector dzg = through_clip(o.candidate, o.gate_clip, gate.g, taken_up(row.masks, units, dc * gate.i) + grad.g);

    units.store_vector(row.dstate, dc_before);
    if (row.hidden) units.store(row.hidden, gate.o * read);
    units.store_vector(row.dz, dzi, row.dz_block);
    units.store_vector(row.dz + lanes, dzf, row.dz_block);
    units.store_vector(row.dz + 2 * lanes, dzg, row.dz_block);
    units.store_vector(row.dz + 3 * lanes, dzo, row.dz_block);
}

LSTMKIT_INLINE void lstm_middle(const ForwardRow& row, const Units& units) noexcept {
    for (Index k = 0; k < 3; ++k) units.store(row.middle + k * row.units, units.load_vector(row.state + (1 + k) * row.state_stride));
}

LSTMKIT_INLINE void lstm_middle_backward(const BackwardRow& row, const Units& units) noexcept {
    for (Index k = 0; k < 3; ++k) {
        units.store(row.middle + k * row.units, units.load(row.cells_before + (1 + k) * row.before_stride));
        units.store_vector(row.dstate + (1 + k) * row.state_stride, units.load(row.d_middle + k * row.units));
    }
}

}  // namespace
}  // namespace lstmkit
