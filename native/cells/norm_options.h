// An LSTM's normalisations as the compiler knows them: with nothing else to ask for, half of the instructions are left.
#pragma once

#include "moments.h"

namespace lstmkit {
namespace {

/// Whether an LSTM has no options but normalisations.
inline bool has_only_norms(const Options& o, const StepMasks<Precision>& masks) noexcept {
    const auto is_tanh = [](const Activation& a) noexcept { return a.curve == Curve::tanh && a.alpha == 1 && a.beta == 1; };
    return o.input_gate == Gate::free && o.forget_gate == Gate::free && o.output_gate == Gate::free && o.gate.curve == Curve::sigmoid &&
           is_tanh(o.candidate) && is_tanh(o.output) && !o.peepholes[0] && !o.peepholes[1] && !o.peepholes[2] &&
           !(o.gate_clip < Options::none) && !(o.cell_clip < Options::none) && o.zoneout_h == 0 && o.zoneout_c == 0 && !o.gates_recur &&
           !masks.candidate && !masks.keeps_h && !masks.keeps_c;
}

/// What the compiler knows of options: nothing, or that there are these normalisations and nothing else.
struct AnyOptions {
    static LSTMKIT_INLINE Options of(const Options& o) noexcept { return o; }
    static constexpr bool masks = true;
};
template <Norm norm, CellNorm cell_norm>
struct OnlyNorms {
    static LSTMKIT_INLINE Options of(const Options& o) noexcept {
        Options known;
        known.norm = norm, known.cell_norm = cell_norm, known.epsilon = o.epsilon, known.bias = o.bias;
        known.gain_input = o.gain_input, known.gain_recurrent = o.gain_recurrent, known.gain_gates = o.gain_gates;
        known.gain_cell = o.gain_cell, known.bias_cell = o.bias_cell;
        return known;
    }
    static constexpr bool masks = false;
};

/// One stage of all rows. The options are made known for each stage anew, or the compiler would lose sight of them.
template <typename Known, typename Step, void (Step::*stage)() noexcept, typename Row, typename Norms>
LSTMKIT_INLINE void each_row(const Row* rows, Norms* norms, Index count) noexcept {
    for (Index r = 0; r < count; ++r) {
        const Options known = Known::of(*rows[r].options);
        Row row = rows[r];
        row.options = &known;
        if (!Known::masks) row.masks = {};
        (Step(row, norms[r]).*stage)();
    }
}

/// run(known) with what the compiler is to know of these rows: of each definition by itself, or of none.
template <typename Row, typename Run>
LSTMKIT_INLINE void with_known_options(const Row& row, Run run) noexcept {
    const Options& o = *row.options;
    const auto is = [&](Norm norm, CellNorm cell_norm) noexcept { return o.norm == norm && o.cell_norm == cell_norm; };
    if (!has_only_norms(o, row.masks)) return run(AnyOptions{});
    if (is(Norm::products, CellNorm::read)) return run(OnlyNorms<Norm::products, CellNorm::read>{});
    if (is(Norm::products, CellNorm::fed_back)) return run(OnlyNorms<Norm::products, CellNorm::fed_back>{});
    if (is(Norm::gates, CellNorm::none)) return run(OnlyNorms<Norm::gates, CellNorm::none>{});
    if (is(Norm::gates, CellNorm::fed_back)) return run(OnlyNorms<Norm::gates, CellNorm::fed_back>{});
    run(AnyOptions{});
}

}  // namespace
}  // namespace lstmkit
