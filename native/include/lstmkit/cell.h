// What a recurrent cell is to the core: which sums it reads, what it carries and keeps, and its options.
// P is a precision; H units. Nothing here is owned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "lstmkit/precision.h"

namespace lstmkit {

using Index = std::ptrdiff_t;

/// lstm with any of its options; what else has kernels of its own. gru_before: a GRU that resets before the product.
enum class Cell { lstm, gru, rnn, janet, slstm, gru_before, multiplicative, time_aware, phased, on_lstm };
inline constexpr int most_cells = 10;

/// A unit's step reads `sums` sums. The input adds to `input` of them, from input_first on, and the output before to
/// `recurrent` of them: gates that both feed are fed once. A cell may have one product more within its step: its middle, which
/// a first pass makes of the sums so far and of the states before, adds to `middle` of the sums.
struct CellShape {
    Index sums = 4, input_first = 0, input = 4, recurrent_first = 0, recurrent = 4;
    Index kept = 4;           ///< numbers that backward needs of a step, those first that users are shown as gates
    Index states = 1;         ///< numbers carried from step to step, apart from the output
    bool whole_rows = false;  ///< whether a unit's step depends on the sums of others
    Index middle_first = 0, middle = 0;
    Index middle_vectors = 0;  ///< numbers of a unit in the middle
};

enum class Curve { sigmoid, tanh, hard_sigmoid, relu, softsign, identity };

/// tanh: alpha * tanh(beta * z); hard_sigmoid: alpha * z + beta within 0..1; the others have no constants.
struct Activation {
    Curve curve = Curve::tanh;
    double alpha = 1, beta = 1;
};

/// one: fixed; coupled: what its partner leaves of 1. Neither has weights, so their rows are zeros.
enum class Gate { free, one, coupled };

/// products: input's and recurrent sums, over all gates; gates: each gate's sum by itself.
enum class Norm { none, products, gates };
/// read: as the output reads it; fed_back: for good.
enum class CellNorm { none, read, fed_back };

/// The options of a cell; docs/explanation/variants.md has the equations. Vectors of H numbers, or 4H in the order i f g o.
template <typename P>
struct CellOptions {
    static constexpr Real<P> none = std::numeric_limits<Real<P>>::infinity();

    Cell cell = Cell::lstm;
    Gate input_gate = Gate::free, forget_gate = Gate::free, output_gate = Gate::free;
    Activation gate{Curve::sigmoid}, candidate, output;  ///< candidate: an RNN's too; output: of the cell state
    const Real<P>* peepholes[3] = {};                    ///< of i, f and o, or null
    Real<P> gate_clip = none, cell_clip = none, projection_clip = none;
    Real<P> zoneout_h = 0, zoneout_c = 0;  ///< parts of the state before that are kept, where no mask decides
    const Real<P>* projection_bias = nullptr;
    bool truncates = false;  ///< no gradient goes back through the recurrent sums
    bool gates_recur = false;  ///< full gate recurrence: the middle is the gates i, f and o of the step before
    Real<P> shift = 0;       ///< of a JANET's input gate
    const Real<P>* ratio = nullptr;  ///< H: the part of a period in which a unit of a Phased LSTM is open
    Real<P> leak = 0;                ///< of such a unit while it is closed
    Index chunk = 1;                 ///< units of an ON-LSTM for which one master unit speaks
    Norm norm = Norm::none;
    CellNorm cell_norm = CellNorm::none;
    Real<P> epsilon = 0;
    const Real<P> *gain_input = nullptr, *gain_recurrent = nullptr, *gain_gates = nullptr, *bias = nullptr;  ///< 4H or null
    const Real<P> *gain_cell = nullptr, *bias_cell = nullptr;
};

/// Where the gradients of options are added up: so many vectors of H numbers.
namespace total {
inline constexpr Index ratio = 0, peepholes = 0, plain = 3;
inline constexpr Index gain_input = 3, gain_recurrent = 7, gain_gates = 11, bias = 15, gain_cell = 19, bias_cell = 20, all = 21;
}  // namespace total

template <typename P>
Index totals_of(const CellOptions<P>& options) noexcept {
    if (options.norm != Norm::none || options.cell_norm != CellNorm::none) return total::all;
    if (options.cell == Cell::phased) return total::ratio + 1;
    const bool peeps = options.peepholes[0] || options.peepholes[1] || options.peepholes[2];
    return peeps ? total::plain : 0;
}

template <typename P>
CellShape shape_of(const CellOptions<P>& options) noexcept {
    switch (options.cell) {
        // n's input, r, z, n's recurrent sum; kept: r, z, n and its recurrent sum. The state is the output.
        case Cell::gru: return {4, 0, 3, 1, 3, 4, 1};
        case Cell::rnn: return {1, 0, 1, 0, 1, 1, 1};
        // kept: f, g, and what is let in
        case Cell::janet: return {2, 0, 2, 0, 2, 3, 1};
        // states c, n, m; kept: the gates stabilised, and sigmoid of the forget gate's sum
        case Cell::slstm: return {4, 0, 4, 0, 4, 5, 3};
        // r, z, n; the middle is what r leaves of the state
        case Cell::gru_before: return {3, 0, 3, 0, 2, 3, 1, false, 2, 1, 1};
        // the recurrent factor of the middle, the input's, i, f, g, o; kept: the gates, then both factors
        case Cell::multiplicative: return {6, 1, 5, 0, 1, 6, 1, false, 2, 4, 1};
        // the short-term memory of the middle, which is c; i, f, g, o; the time that has passed. kept: the gates, then memory and time
        case Cell::time_aware: return {6, 1, 5, 1, 4, 6, 1, false, 0, 1, 1};
        // i, f, g, o, and of the input alone the turns that a unit's rhythm has made; kept: the gates, and the part of a turn
        case Cell::phased: return {5, 0, 5, 0, 4, 6, 1};
        // i, f, g, o and the masters f and i; kept: the gates, and the masters' softmaxes
        case Cell::on_lstm: return {6, 0, 6, 0, 6, 8, 1, true};
        case Cell::lstm: break;
    }
    CellShape shape;
    shape.whole_rows = options.norm != Norm::none || options.cell_norm != CellNorm::none;
    // Backward normalises the sums again.
    if (options.norm == Norm::products) shape.sums = 8, shape.recurrent_first = 4, shape.kept = 12;
    if (options.norm == Norm::gates) shape.kept = 8;
    if (options.gates_recur) {
        shape.states = 4, shape.middle = 4, shape.middle_vectors = 3;  // c, i, f, o
        // What gates add to their sums is normalised with them, but not with the products.
        if (options.norm == Norm::products) shape.middle_first = 8, shape.sums = 12;
    }
    return shape;
}

/// Rows that take a step together: while one waits for a sum over all of its units, the next computes.
inline constexpr Index step_rows = 2;

/// Vectors of units that backward of a whole row takes for itself.
inline constexpr Index scratch_vectors = 7;

/// What a row's step needs beside its options: masks at this step. null is none.
template <typename P>
struct StepMasks {
    const Stored<P>* candidate = nullptr;                         ///< [H], multiplied with g
    const std::uint8_t *keeps_h = nullptr, *keeps_c = nullptr;    ///< [R], [H]: 1 keeps what was before
};

/// One row's step through some units, whole blocks of L but for the last.
template <typename P>
struct CellForward {
    const CellOptions<P>* options;
    Index first, units;         ///< the first unit, for the options' vectors alone: all else begins there
    Real<P>* sums;              ///< block j at sums + j * sums * L: [sums][L]; left in any state
    Stored<P>* middle;          ///< [middle_vectors] of [units], written by the first pass; or null
    Real<P>* state;             ///< [states] at distance state_stride, each padded to L; updated
    Index state_stride;
    const Stored<P>* h_before;  ///< the output before, for what of it is kept; null where there is a projection
    StepMasks<P> masks;
    Stored<P>* y;               ///< written
    Real<P>* cells;             ///< the states after, at distance cell_stride, or null
    Index cell_stride;
    Stored<P>* kept;            ///< at distance kept_stride, or null
    Index kept_stride;
    bool streams;               ///< whether cells and kept go past the caches, whole vectors at multiples of their size
};

/// The same backwards; null gradients are zero.
template <typename P>
struct CellBackward {
    const CellOptions<P>* options;
    Index first, units;
    const Stored<P>* kept;
    Index kept_stride;
    const Real<P>* cells;  ///< the states after
    Index cell_stride;
    const Real<P>* cells_before;
    Index before_stride;
    StepMasks<P> masks;
    const Stored<P>* h_before;  ///< as forward was given it
    const Stored<P>* grad_y;
    const Real<P>* grad_cells;
    Index grad_cell_stride;
    const Stored<P>* grad_kept;
    Index grad_kept_stride;
    Real<P>* dh;      ///< of this step's output, padded; then what goes past the sums to the output before
    Real<P>* dstate;  ///< [states] at distance state_stride, each padded; updated
    Index state_stride;
    Stored<P>* dz;  ///< block j at dz + j * dz_block: [sums][L], written
    Index dz_block;
    Stored<P>* middle;        ///< as forward had it, written by the last pass; or null
    const Real<P>* d_middle;  ///< its gradient, which that pass reads
    Stored<P>* hidden;       ///< the output before a projection, written; or null
    Real<P>* totals;         ///< vector k of the options' gradients at totals + k * totals_stride, added to; or null
    Index totals_stride;
    Real<P>* scratch;        ///< scratch_vectors vectors of units, padded, where the shape says whole_rows
};

}  // namespace lstmkit
