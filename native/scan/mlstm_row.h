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
    Index wide;  // heads in whole vectors
    Array<Index> order;

    MlstmRun(const MlstmCase<P>& layer, InstructionSet set)
        : layer(layer), kernels(kernels_of<P>(set)), scans(scan_kernels_of<P>(set)), chunks(mlstm_kernels_of<P>(set)),
          wide(round_up(layer.heads, kernels.lanes)), order(layer.batch) {
        order_rows(layer, order.data());
    }
    AffineWeight<P> sides() const noexcept { return {layer.weight, layer.bias, 4 * layer.head_units(), layer.inputs, layer.heads}; }
    AffineWeight<P> gates() const noexcept {
        const Index first = 4 * layer.units;
        return {layer.weight + first * layer.inputs, layer.bias ? layer.bias + first : nullptr, 2 * layer.heads, layer.inputs};
    }
    Index between(Index chunk, Index b, Index head) const noexcept {
        return ((b * layer.chunks() + chunk) * layer.heads + head) * layer.between_numbers();
    }
};

inline Range chunk_of(const Walk& walk, Index chunk) noexcept { return {chunk * chunk_steps, std::min(walk.steps(), (chunk + 1) * chunk_steps)}; }

/// Memories and normalisers of some heads in the kernels' order; what is padding there is zeros.
template <typename P>
class Memories {
public:
    Memories(const MlstmRun<P>& run, Index count)
        : kernels_(run.chunks), count_(count), units_(run.layer.head_units()), kept_numbers_(run.layer.memory_numbers()),
          padded_(run.chunks.padded(units_)), row_(run.chunks.memory_row(units_)),
          memory_(zeros<Real<P>>(count * padded_ * row_)), normaliser_(zeros<Real<P>>(count * padded_)) {}

    HeadMemory<P> at(Index n) const noexcept { return {&memory_[n * padded_ * row_], &normaliser_[n * padded_]}; }

    /// All heads of row b from states as the caller has them, or zeros.
    template <typename Number>
    void read(const MlstmState<Number>& from, Index b) noexcept {
        for (Index n = 0; n < count_; ++n) clear(n);
        for (Index n = 0; n < count_; ++n)
            for (Index k = 0, first = (b * count_ + n) * units_; k < units_; ++k) {
                at(n).normaliser[k] = from.normaliser ? from.normaliser[first + k] : Real<P>{};
                for (Index v = 0; v < units_; ++v) number(n, k, v) = from.memory ? from.memory[(first + v) * units_ + k] : Real<P>{};
            }
    }
    void write(Index n, Real<P> factor, Real<P>* memory, Real<P>* normaliser) const noexcept {
        for (Index k = 0; k < units_; ++k) {
            normaliser[k] = factor * at(n).normaliser[k];
            for (Index v = 0; v < units_; ++v) memory[v * units_ + k] = factor * number(n, k, v);
        }
    }
    void scale(Index n, Real<P> factor) noexcept {
        for (Index k = 0; k < units_; ++k) {
            at(n).normaliser[k] *= factor;
            for (Index v = 0; v < units_; ++v) number(n, k, v) *= factor;
        }
    }
    /// In between_numbers, of which the last 16 are for the caller, and back.
    void keep(Index n, Real<P>* to) const noexcept {
        for (Index k = 0; k < units_; ++k) leave(&number(n, k, 0), to + k * units_);
        leave(at(n).normaliser, to + kept_numbers_);
    }
    void find(Index n, const Real<P>* kept) noexcept {
        if (padded_ != units_) clear(n);
        if (row_ == units_) std::copy_n(kept, units_ * units_, &number(n, 0, 0));
        else
            for (Index k = 0; k < units_; ++k) std::copy_n(kept + k * units_, units_, &number(n, k, 0));
        std::copy_n(kept + kept_numbers_, units_, at(n).normaliser);
    }
    bool is_empty(Index n) const noexcept {
        const Real<P>* const normaliser = at(n).normaliser;
        return std::all_of(normaliser, normaliser + units_, [](Real<P> number) { return number == 0; });
    }

private:
    /// A row with NaN leaves some in the padding.
    void clear(Index n) noexcept {
        std::fill_n(at(n).memory, padded_ * row_, Real<P>{});
        std::fill_n(at(n).normaliser, padded_, Real<P>{});
    }
    void leave(const Real<P>* from, Real<P>* to) const noexcept {
        if (padded_ == units_) kernels_.leave(from, units_, to);
        else std::copy_n(from, units_, to);
    }
    Real<P>& number(Index n, Index k, Index v) const noexcept { return memory_[(n * padded_ + k) * row_ + v]; }

    const MlstmKernels<P>& kernels_;
    Index count_, units_, kept_numbers_, padded_, row_;
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
        : run_(run), weights_(weights), kept_(kept), own_(weights ? chunk_steps * (run.layer.side_row() + run.layer.gate_row()) : 0),
          input_row_(round_up(run.layer.inputs + 1, 16) | 16), inputs_(chunk_steps * input_row_) {
        for (Index n = 0; n < chunk_steps; ++n) x_[n] = &inputs_[n * input_row_], inputs_[n * input_row_ + run.layer.inputs] = 1;
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
        const Index row = run_.layer.gate_row(), at = run_.layer.heads * head_numbers();
        return find(weights_ ? &weights_->gates : nullptr, row, 0, own_.data() + chunk_steps * run_.layer.side_row(), at, nullptr);
    }
    /// Rows at distance side_row, valid until the next head's.
    const Real<P>* sides(Index head, Fetch* fetch = nullptr) noexcept {
        return find(weights_ ? &weights_->sides : nullptr, run_.layer.side_row(), head, own_.data(), head * head_numbers(), fetch);
    }
    Index halts() const noexcept { return run_.layer.heads * weights_->sides.halts(count_); }

private:
    Index head_numbers() const noexcept { return std::min(run_.layer.steps, chunk_steps) * run_.layer.side_row(); }

    const Real<P>* find(const AffineForward<P>* weight, Index row, Index group, Real<P>* own, Index at, Fetch* fetch) noexcept {
        if (!weight) return now_ + at;
        for (Index n = 0; n < count_; ++n) rows_[n] = own + n * row;
        weight->multiply(x_, count_, rows_, fetch, group);
        if (now_) run_.chunks.leave(own, count_ * row, now_ + at);
        return own;
    }

    const MlstmRun<P>& run_;
    const MlstmWeights<P>* weights_;
    Real<P>*kept_, *now_ = nullptr;
    Array<Real<P>> own_;
    Index input_row_;
    Array<Real<P>> inputs_;
    Index count_ = 0;
    const Real<P>* x_[chunk_steps];
    Real<P>* rows_[chunk_steps];
};

/// The gates of a row, and the pieces into which they cut a chunk.
template <typename P>
class RowGates {
public:
    RowGates(const MlstmRun<P>& run, bool is_backward)
        : run_(run), m_(zeros<Real<P>>(run.wide)), lag_(zeros<Real<P>>(run.wide)), series_(zeros<Real<P>>(3 * run.wide * series_steps)),
          first_(chunk_steps * run.wide), share_(is_backward ? chunk_steps * run.wide : 0), is_backward_(is_backward),
          room_(run.chunks.gate_room(run.layer.heads)) {}

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

    /// One head of a piece; `sides` are the products of the chunk.
    Piece<P> of(Index n, Index head, const Real<P>* sides, const HeadMemory<P>& state, Real<P>* room) const noexcept {
        const Range steps = pieces_[n];
        const Index row = run_.layer.side_row(), at = head * series_steps + steps.first;
        return {run_.kernels, steps.size(), run_.layer.head_units(), sides + steps.first * row, row, series(0) + at, series(1) + at, series(2) + at,
                first_[steps.first * run_.wide + head], state, room};
    }
    /// The series of the heads from the chunk's first step on.
    GatesBackward<P> backward(Index n, const Real<P>* d_write, const Real<P>* d_read, const Real<P>* d_state, Real<P>* d_m, Real<P>* dz,
                              Index dz_row) const noexcept {
        const Range steps = pieces_[n];
        return {run_.kernels, columns(steps.first), steps.size(), d_write + steps.first, d_read + steps.first, d_state,
                &share_[steps.first * run_.wide], d_m, dz + steps.first * dz_row, dz_row, room_.data()};
    }

private:
    Range next(const Walk& walk, Range chunk, Index n) noexcept {
        if (is_reset(walk, chunk, n)) std::fill_n(m_.data(), run_.layer.heads, empty<P>);
        Index steps = 1;
        while (steps < chunk.size() - n && !is_reset(walk, chunk, n + steps)) ++steps;
        Real<P>* const share = is_backward_ ? &share_[n * run_.wide] : nullptr;
        const GateSeries<P> to{series(0) + n, series(1) + n, series(2) + n, &first_[n * run_.wide], share};
        return {n, n + run_.chunks.gates({run_.kernels, columns(n), steps, m_.data(), lag_.data(), to, room_.data()})};
    }
    GateColumns<P> columns(Index n) const noexcept { return {z_ + n * run_.layer.gate_row(), run_.layer.gate_row(), run_.layer.heads}; }
    static bool is_reset(const Walk& walk, Range chunk, Index n) noexcept { return walk.is_reset(walk.time(chunk.first + n), 0); }
    Real<P>* series(Index which) const noexcept { return &series_[which * run_.wide * series_steps]; }

    const MlstmRun<P>& run_;
    Array<Real<P>> m_, lag_, series_, first_, share_;
    bool is_backward_;
    Array<Real<P>> room_;
    const Real<P>* z_ = nullptr;
    Range pieces_[chunk_steps];
    Index count_ = 0;
};

}  // namespace lstmkit
