// One row of an mLSTM on its way through its chunks: its states, its products and its gates.
#pragma once

#include <cmath>
#include <limits>

#include "scan/affine.h"
#include "scan/mlstm_kernels.h"
#include "sequence/walk.h"

namespace lstmkit {

/// The stabiliser of a head that remembers nothing.
template <typename P>
inline constexpr Real<P> empty = -std::numeric_limits<Real<P>>::infinity();

/// What all threads read.
template <typename P>
struct MlstmRun {
    const MlstmCase<P>& layer;
    const Kernels<P>& kernels;
    const ScanKernels<P>& scans;
    const MlstmKernels<P>& chunks;
    Index wide;             // heads in whole vectors
    Index together, units;  // heads of a group, and their units
    Array<Index> order;

    MlstmRun(const MlstmCase<P>& layer, InstructionSet set)
        : layer(layer), kernels(table_of<Kernels<P>>(set)), scans(table_of<ScanKernels<P>>(set)), chunks(table_of<MlstmKernels<P>>(set)),
          wide(round_up(layer.heads, kernels.lanes)), together(chunks.together(layer.head_units(), layer.heads)),
          units(together * layer.head_units()), order(layer.batch), root_(std::sqrt(Real<P>(layer.head_units()))),
          weight_(4 * layer.units * layer.inputs), bias_(layer.weights.side_bias ? 4 * layer.units : 0) {
        order_rows(layer, order.data());
        for (Index row = 0; row < 4 * layer.units; ++row) {
            const Real<P>* const from = layer.weights.sides + place(row) * layer.inputs;
            const Real<P> by = divisor(place(row));
            for (Index k = 0; k < layer.inputs; ++k) weight_[row * layer.inputs + k] = from[k] / by;
            if (layer.weights.side_bias) bias_[row] = layer.weights.side_bias[place(row)];
        }
    }
    Index groups() const noexcept { return layer.heads / together; }
    /// Of a row of the groups' weights, query, key, value and output gate with heads in turn: the row that the caller has.
    Index place(Index row) const noexcept {
        const Index group = row / (4 * units), side = row / units % 4, unit = row % units / together, head = row % together;
        return side * layer.units + (group * together + head) * layer.head_units() + unit;
    }
    /// Of a row of the caller's.
    Real<P> divisor(Index row) const noexcept { return row / layer.units == 1 ? root_ : Real<P>{1}; }
    AffineWeight<P> sides() const noexcept {
        return {weight_.data(), layer.weights.side_bias ? bias_.data() : nullptr, 4 * units, layer.inputs, groups()};
    }
    AffineWeight<P> gates() const noexcept { return {layer.weights.gates, layer.weights.gate_bias, 2 * layer.heads, layer.inputs}; }
    /// Numbers that are kept of a group, in whole lines of the caches; the last 16 are those beside memory and normaliser.
    Index group_numbers() const noexcept { return together * layer.between_numbers(); }
    Index between(Index chunk, Index b, Index group) const noexcept { return ((b * layer.chunks() + chunk) * groups() + group) * group_numbers(); }
    Index marks(Index chunk, Index b, Index head) const noexcept {
        return between(chunk, b, head / together) + group_numbers() - 16 + 2 * (head % together);
    }

private:
    Real<P> root_;
    Array<Real<P>> weight_, bias_;
};

inline Range chunk_of(const Walk& walk, Index chunk) noexcept { return {chunk * chunk_steps, std::min(walk.steps(), (chunk + 1) * chunk_steps)}; }

/// Memories and normalisers of some groups in the kernels' order; what is padding there is zeros.
template <typename P>
class Memories {
public:
    Memories(const MlstmRun<P>& run, Index count)
        : kernels_(run.chunks), heads_(run.layer.heads), together_(run.together), units_(run.layer.head_units()), width_(run.units),
          kept_numbers_(round_up(units_ * width_, 16)), padded_(run.chunks.padded(width_)), row_(run.chunks.memory_row(width_)),
          memory_(zeros<Real<P>>(count * memory_numbers())), normaliser_(zeros<Real<P>>(count * padded_)) {}

    HeadMemory<P> at(Index n) const noexcept { return {&memory_[n * memory_numbers()], &normaliser_[n * padded_]}; }

    /// All heads of row b from states as the caller has them, or zeros; as the n-th row here.
    template <typename Number>
    void read(const MlstmState<Number>& from, Index b, Index n = 0) noexcept {
        for (Index group = 0; group < heads_ / together_; ++group) clear(n * heads_ / together_ + group);
        for (Index head = 0; head < heads_; ++head)
            for (Index k = 0, first = (b * heads_ + head) * units_, own = n * heads_ + head; k < units_; ++k) {
                normaliser(own, k) = from.normaliser ? from.normaliser[first + k] : Real<P>{};
                for (Index v = 0; v < units_; ++v) number(own, k, v) = from.memory ? from.memory[(first + v) * units_ + k] : Real<P>{};
            }
    }
    void write(Index head, Real<P> factor, Real<P>* memory, Real<P>* to) const noexcept {
        for (Index k = 0; k < units_; ++k) {
            to[k] = factor * normaliser(head, k);
            for (Index v = 0; v < units_; ++v) memory[v * units_ + k] = factor * number(head, k, v);
        }
    }
    void scale(Index head, Real<P> factor) noexcept {
        for (Index k = 0; k < units_; ++k) {
            normaliser(head, k) *= factor;
            for (Index v = 0; v < units_; ++v) number(head, k, v) *= factor;
        }
    }
    bool is_empty(Index head) const noexcept {
        Index k = 0;
        while (k < units_ && normaliser(head, k) == 0) ++k;
        return k == units_;
    }
    /// A group in group_numbers, of which the last 16 are for the caller, and back.
    void keep(Index n, Real<P>* to) const noexcept {
        if (row_ == width_) leave(at(n).memory, units_ * width_, to);
        else
            for (Index k = 0; k < units_; ++k) leave(at(n).memory + k * row_, width_, to + k * width_);
        leave(at(n).normaliser, width_, to + kept_numbers_);
    }
    void find(Index n, const Real<P>* kept) noexcept {
        if (padded_ != width_) clear(n);
        if (row_ == width_) std::copy_n(kept, units_ * width_, at(n).memory);
        else
            for (Index k = 0; k < units_; ++k) std::copy_n(kept + k * width_, width_, at(n).memory + k * row_);
        std::copy_n(kept + kept_numbers_, width_, at(n).normaliser);
    }

private:
    Index memory_numbers() const noexcept { return padded_ / together_ * row_; }
    /// A row with NaN leaves some in the padding.
    void clear(Index n) noexcept {
        std::fill_n(at(n).memory, memory_numbers(), Real<P>{});
        std::fill_n(at(n).normaliser, padded_, Real<P>{});
    }
    void leave(const Real<P>* from, Index count, Real<P>* to) const noexcept {
        if (padded_ == width_) kernels_.leave(from, count, to);
        else std::copy_n(from, count, to);
    }
    Real<P>& number(Index head, Index k, Index v) const noexcept {
        return at(head / together_).memory[k * row_ + v * together_ + head % together_];
    }
    Real<P>& normaliser(Index head, Index k) const noexcept { return at(head / together_).normaliser[k * together_ + head % together_]; }

    const MlstmKernels<P>& kernels_;
    Index heads_, together_, units_, width_, kept_numbers_, padded_, row_;
    Array<Real<P>> memory_, normaliser_;
};

/// Packed, once for all threads.
template <typename P>
struct MlstmWeights {
    AffineForward<P> sides, gates;

    explicit MlstmWeights(const MlstmRun<P>& run)
        : sides(run.scans, run.kernels.lanes, run.kernels.tile_rows, run.sides()),
          gates(run.scans, run.kernels.lanes, run.kernels.tile_rows, run.gates()) {}
};

/// The products of a row's chunk, part by part. With weights they are multiplied and, where there is room, kept; else they are those
/// that were kept.
template <typename P>
class ChunkProducts {
public:
    ChunkProducts(const MlstmRun<P>& run, const MlstmWeights<P>* weights, Real<P>* kept)
        : run_(run), weights_(weights), kept_(kept), own_(weights ? chunk_steps * (row() + run.layer.gate_row()) : 0),
          input_row_(round_up(run.layer.inputs + 1, 16) | 16), inputs_(chunk_steps * input_row_) {
        for (Index n = 0; n < chunk_steps; ++n) {
            x_[n] = &inputs_[n * input_row_], inputs_[n * input_row_ + run.layer.inputs] = 1;
            if (weights) side_rows_[n] = own_.data() + n * row(), gate_rows_[n] = own_.data() + chunk_steps * row() + n * run.layer.gate_row();
        }
    }

    void enter(const Walk& walk, Index chunk) noexcept {
        const Range steps = chunk_of(walk, chunk);
        count_ = steps.size();
        for (Index n = 0; n < count_; ++n)
            std::copy_n(run_.layer.x.at(walk.time(steps.first + n), walk.row(0)), run_.layer.inputs, &inputs_[n * input_row_]);
        now_ = kept_ ? kept_ + (walk.row(0) * run_.layer.chunks() + chunk) * run_.layer.product_numbers() : nullptr;
    }
    /// The inputs of the chunk's steps, side by side in the caches, with a 1 behind each.
    const Real<P>* const* x() const noexcept { return x_; }
    /// Rows at distance gate_row.
    const Real<P>* gates() noexcept {
        return find(weights_ ? &weights_->gates : nullptr, run_.layer.gate_row(), 0, gate_rows_, run_.groups() * numbers(), nullptr);
    }
    /// Rows at distance row, valid until the next group's.
    const Real<P>* sides(Index group, Fetch* fetch = nullptr) noexcept {
        return find(weights_ ? &weights_->sides : nullptr, row(), group, side_rows_, group * numbers(), fetch);
    }
    Index halts() const noexcept { return run_.groups() * weights_->sides.halts(count_); }
    Index row() const noexcept { return run_.together * run_.layer.side_row(); }

private:
    Index numbers() const noexcept { return std::min(run_.layer.steps, chunk_steps) * row(); }

    const Real<P>* find(const AffineForward<P>* weight, Index row, Index group, Real<P>* const* rows, Index at, Fetch* fetch) noexcept {
        if (!weight) return now_ + at;
        weight->multiply(x_, count_, rows, fetch, group);
        if (now_) run_.chunks.leave(rows[0], count_ * row, now_ + at);
        return rows[0];
    }

    const MlstmRun<P>& run_;
    const MlstmWeights<P>* weights_;
    Real<P>*kept_, *now_ = nullptr;
    Array<Real<P>> own_;
    Index input_row_;
    Array<Real<P>> inputs_;
    Index count_ = 0;
    const Real<P>* x_[chunk_steps];
    Real<P>*side_rows_[chunk_steps], *gate_rows_[chunk_steps];
};

/// The gates of a row, and the pieces into which they cut a chunk.
template <typename P>
class RowGates {
public:
    RowGates(const MlstmRun<P>& run, bool is_backward)
        : run_(run), m_(zeros<Real<P>>(run.wide)), lag_(zeros<Real<P>>(run.wide)), series_(zeros<Real<P>>(3 * run.wide * series_steps)),
          first_(chunk_steps * run.wide), own_(is_backward ? run.wide * series_steps : 0), is_backward_(is_backward),
          given_(run.chunks.given_numbers(run.layer.heads)) {}

    void set(Index head, Real<P> m, Real<P> lag) noexcept { m_[head] = m, lag_[head] = lag; }
    Real<P> m(Index head) const noexcept { return m_[head]; }
    Real<P> lag(Index head) const noexcept { return lag_[head]; }
    /// From the scale that is kept to that which m stands for.
    Real<P> to_m(Index head) const noexcept { return std::exp(-lag_[head]); }

    /// Goes through a chunk whose products are `z`.
    void cut(const Walk& walk, Index chunk, const Real<P>* z) noexcept {
        const Range steps = chunk_of(walk, chunk);
        z_ = z, count_ = 0;
        for (Index n = 0; n < steps.size(); n = pieces_[count_++].last) pieces_[count_] = next(walk, steps, n);
    }
    Index pieces() const noexcept { return count_; }
    Range piece(Index n) const noexcept { return pieces_[n]; }

    /// One group of a piece; `sides` are the products of the chunk, in rows at distance `row`.
    Piece<P> of(Index n, Index group, const Real<P>* sides, Index row, const HeadMemory<P>& state, Real<P>* room) const noexcept {
        const Range steps = pieces_[n];
        const Index at = run_.together * (group * series_steps + steps.first);
        return {steps.size(), run_.units, run_.together, sides + steps.first * row, row, series(0) + at, series(1) + at, series(2) + at,
                &first_[steps.first * run_.wide + group * run_.together], state, room};
    }
    /// The series from the chunk's first step on.
    GatesBackward<P> backward(Index n, const Real<P>* d_write, const Real<P>* d_read, const Real<P>* d_state, Real<P>* d_m, Real<P>* dz,
                              Index dz_row) const noexcept {
        const Range steps = pieces_[n];
        const Index at = run_.together * steps.first;
        return {run_.layer.heads, run_.together, steps.size(), d_write + at, d_read + at, d_state, &own_[at], d_m, &given_[at],
                dz + steps.first * dz_row, dz_row};
    }

private:
    Range next(const Walk& walk, Range chunk, Index n) noexcept {
        if (is_reset(walk, chunk, n)) std::fill_n(m_.data(), run_.layer.heads, empty<P>);
        Index steps = 1;
        while (steps < chunk.size() - n && !is_reset(walk, chunk, n + steps)) ++steps;
        const Index at = run_.together * n;
        const GateSeries<P> to{series(0) + at, series(1) + at, series(2) + at, &first_[n * run_.wide], is_backward_ ? &own_[at] : nullptr};
        return {n, n + run_.chunks.gates({columns(n), steps, m_.data(), lag_.data(), to, &given_[at]})};
    }
    GateColumns<P> columns(Index n) const noexcept { return {z_ + n * run_.layer.gate_row(), run_.layer.gate_row(), run_.layer.heads, run_.together}; }
    static bool is_reset(const Walk& walk, Range chunk, Index n) noexcept { return walk.is_reset(walk.time(chunk.first + n), 0); }
    Real<P>* series(Index which) const noexcept { return &series_[which * run_.wide * series_steps]; }

    const MlstmRun<P>& run_;
    Array<Real<P>> m_, lag_, series_, first_, own_;
    bool is_backward_;
    Array<Real<P>> given_;
    const Real<P>* z_ = nullptr;
    Range pieces_[chunk_steps];
    Index count_ = 0;
};

}  // namespace lstmkit
