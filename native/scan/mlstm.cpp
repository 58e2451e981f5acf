#include "lstmkit/mlstm.h"

#include <cmath>
#include <limits>
#include <optional>

#include "scan/affine.h"
#include "scan/check.h"
#include "scan/mlstm_kernels.h"
#include "sequence/ahead.h"
#include "sequence/walk.h"
#include "threads/team.h"

namespace lstmkit {
namespace {

template <typename P>
void check_case(const MlstmCase<P>& layer) {
    check_scan(layer);
    expect_scan(layer.heads >= 1 && layer.units % layer.heads == 0, "expected heads that divide the units");
    expect_scan(!layer.first.memory == !layer.first.normaliser && !layer.first.memory == !layer.first.scale, "expected all first states or none");
}

/// The stabiliser of a head that remembers nothing.
template <typename P>
constexpr Real<P> empty = -std::numeric_limits<Real<P>>::infinity();

/// The states of one row's heads, in the kernels' order; what is padding there is zeros.
template <typename P>
class Heads {
public:
    Heads(const MlstmCase<P>& layer, const MlstmKernels<P>& kernels)
        : heads_(layer.heads), units_(layer.head_units()), padded_(kernels.padded(units_)), row_(kernels.memory_row(units_)),
          memory_(zeros<Real<P>>(heads_ * padded_ * row_)), normaliser_(zeros<Real<P>>(heads_ * padded_)) {}

    HeadMemory<P> at(Index head) const noexcept { return {&memory_[head * padded_ * row_], &normaliser_[head * padded_]}; }

    /// From states as the caller has them, or zeros.
    template <typename Number>
    void read(const MlstmState<Number>& from, Index b) noexcept {
        for (Index head = 0; head < heads_; ++head)
            for (Index k = 0, first = (b * heads_ + head) * units_; k < units_; ++k) {
                at(head).normaliser[k] = from.normaliser ? from.normaliser[first + k] : Real<P>{};
                for (Index v = 0; v < units_; ++v) number(head, k, v) = from.memory ? from.memory[(first + v) * units_ + k] : Real<P>{};
            }
    }
    void write(Index head, Real<P> factor, Real<P>* memory, Real<P>* normaliser) const noexcept {
        for (Index k = 0; k < units_; ++k) {
            normaliser[k] = factor * at(head).normaliser[k];
            for (Index v = 0; v < units_; ++v) memory[v * units_ + k] = factor * number(head, k, v);
        }
    }
    void scale(Index head, Real<P> factor) noexcept {
        for (Index k = 0; k < units_; ++k) {
            at(head).normaliser[k] *= factor;
            for (Index v = 0; v < units_; ++v) number(head, k, v) *= factor;
        }
    }
    /// Compact, in between_numbers less two, and back.
    void keep(Index head, Real<P>* to) const noexcept {
        for (Index k = 0; k < units_; ++k) std::copy_n(&number(head, k, 0), units_, to + k * units_);
        std::copy_n(at(head).normaliser, units_, to + units_ * units_);
    }
    void find(Index head, const Real<P>* kept) noexcept {
        for (Index k = 0; k < units_; ++k) std::copy_n(kept + k * units_, units_, &number(head, k, 0));
        std::copy_n(kept + units_ * units_, units_, at(head).normaliser);
    }
    void copy(const Heads& other) noexcept {
        std::copy_n(other.memory_.data(), heads_ * padded_ * row_, memory_.data());
        std::copy_n(other.normaliser_.data(), heads_ * padded_, normaliser_.data());
    }
    bool is_empty(Index head) const noexcept {
        const Real<P>* const n = at(head).normaliser;
        return std::all_of(n, n + units_, [](Real<P> number) { return number == 0; });
    }

private:
    Real<P>& number(Index head, Index k, Index v) const noexcept { return memory_[(head * padded_ + k) * row_ + v]; }

    Index heads_, units_, padded_, row_;
    Array<Real<P>> memory_, normaliser_;
};

/// What all threads read.
template <typename P>
struct Run {
    const MlstmCase<P>& layer;
    const Kernels<P>& kernels;
    const ScanKernels<P>& scans;
    const MlstmKernels<P>& chunks;
    Index wide, z_row;  // heads in whole vectors; products of a row in whole lines
    Array<Index> order;

    Run(const MlstmCase<P>& layer, InstructionSet set)
        : layer(layer), kernels(kernels_of<P>(set)), scans(scan_kernels_of<P>(set)), chunks(mlstm_kernels_of<P>(set)), wide(round_up(layer.heads, kernels.lanes)),
          z_row(round_up(layer.width(), 16)), order(layer.batch) {
        order_rows(layer, order.data());
    }
    AffineForward<P> affine() const { return {scans, kernels.lanes, layer.weight, layer.bias, layer.width(), layer.inputs}; }
    bool is_large(Index numbers_of_step) const noexcept { return layer.steps * layer.batch * numbers_of_step * Index{sizeof(Real<P>)} > cached_bytes; }
    Index between(Index chunk, Index b, Index head) const noexcept {
        return ((chunk * layer.batch + b) * layer.heads + head) * layer.between_numbers();
    }
};

/// Products of a row's steps.
template <typename P>
struct Products {
    const Real<P>* at;
    Index step;
};

/// The gates of one row, piece after piece of a chunk.
template <typename P>
class RowGates {
public:
    explicit RowGates(const Run<P>& run)
        : run_(run), m_(run.wide), lag_(run.wide), series_(zeros<Real<P>>(3 * run.wide * series_steps)), first_(chunk_steps * run.wide),
          share_(chunk_steps * run.wide), room_(run.chunks.gate_room(run.layer.heads)) {
        std::fill_n(m_.data(), run.wide, Real<P>{}), std::fill_n(lag_.data(), run.wide, Real<P>{});
    }

    void set(Index head, Real<P> m, Real<P> lag) noexcept { m_[head] = m, lag_[head] = lag; }
    Real<P> m(Index head) const noexcept { return m_[head]; }
    Real<P> lag(Index head) const noexcept { return lag_[head]; }
    /// From the scale that is kept to that which m stands for.
    Real<P> to_m(Index head) const noexcept { return std::exp(-lag_[head]); }
    const Real<P>* share(Index n) const noexcept { return &share_[n * run_.wide]; }

    /// The piece of the chunk that begins with its step n.
    Range next(const Walk& walk, Range chunk, Index n, const Products<P>& z) noexcept {
        if (is_reset(walk, chunk, n)) std::fill_n(m_.data(), run_.layer.heads, empty<P>);
        Index steps = 1;
        while (steps < std::min(run_.layer.piece_steps(), chunk.size() - n) && !is_reset(walk, chunk, n + steps)) ++steps;
        const GateSeries<P> to{series(0) + n, series(1) + n, series(2) + n, &first_[n * run_.wide], &share_[n * run_.wide]};
        return {n, n + run_.chunks.gates({run_.kernels, columns(n, z), steps, m_.data(), lag_.data(), to, room_.data()})};
    }
    GateColumns<P> columns(Index n, const Products<P>& z) const noexcept { return {z.at + n * z.step + 4 * run_.layer.units, z.step, run_.layer.heads}; }

    Piece<P> piece(Range steps, Index head, const Products<P>& z, const HeadMemory<P>& state, Real<P>* room) const noexcept {
        const Index S = run_.layer.head_units(), at = head * series_steps + steps.first;
        return {run_.kernels,    steps.size(),    S,   z.at + steps.first * z.step + head * S, z.step, run_.layer.units, series(0) + at, series(1) + at, series(2) + at,
                first_[steps.first * run_.wide + head], state, room};
    }

private:
    static bool is_reset(const Walk& walk, Range chunk, Index n) noexcept { return walk.is_reset(walk.time(chunk.first + n), 0); }
    Real<P>* series(Index which) const noexcept { return &series_[which * run_.wide * series_steps]; }

    const Run<P>& run_;
    Array<Real<P>> m_, lag_, series_, first_, share_, room_;
};

/// Calls row(Walk) for every row of one share.
template <typename P, typename Row>
void for_each_row(const Run<P>& run, int share, int shares, Row row) {
    const Range rows = cut_share(run.layer, run.order.data(), share, shares, 1);
    for (Index r = rows.first; r < rows.last; ++r) row(Walk(run.layer, run.order.data(), {r, r + 1}));
}

inline Range chunk_of(const Walk& walk, Index chunk) noexcept { return {chunk * chunk_steps, std::min(walk.steps(), (chunk + 1) * chunk_steps)}; }

/// The products of a chunk's steps, kept or in the room of a thread.
template <typename P>
class ChunkProducts {
public:
    ChunkProducts(const Run<P>& run, const AffineForward<P>* weight, bool is_kept) : run_(run), weight_(weight), room_(is_kept ? 0 : chunk_steps * run.z_row) {}

    template <typename Number>
    Products<P> find(const Walk& walk, Range chunk, const Sequence<Number>& kept) noexcept {
        const Index first = walk.time(chunk.first), b = walk.row(0);
        if (kept && !weight_) return {kept.at(first, b), (chunk.size() > 1 ? walk.time(chunk.first + 1) - first : 0) * kept.step};
        for (Index n = 0; n < chunk.size(); ++n) {
            const Index t = walk.time(chunk.first + n);
            x_[n] = run_.layer.x.at(t, b);
            rows_[n] = kept ? const_cast<Real<P>*>(kept.at(t, b)) : &room_[n * run_.z_row];
        }
        weight_->multiply(x_, chunk.size(), rows_);
        return {rows_[0], chunk.size() > 1 ? rows_[1] - rows_[0] : 0};
    }

private:
    const Run<P>& run_;
    const AffineForward<P>* weight_;
    Array<Real<P>> room_;
    const Real<P>* x_[chunk_steps];
    Real<P>* rows_[chunk_steps];
};

/// Rows on their way forward, on one thread.
template <typename P>
class ForwardPart {
public:
    ForwardPart(const Run<P>& run, const MlstmForward<P>& job, const AffineForward<P>& weight)
        : run_(run), job_(job), products_(run, &weight, bool(job.kept.z)), heads_(run.layer, run.chunks), gates_(run),
          room_(run.chunks.room_numbers(run.layer.head_units())),
          streams_(run.is_large(run.layer.units) && run.layer.head_units() % run.kernels.lanes == 0 &&
                   is_aligned(job.y, run.kernels.lanes * Index{sizeof(Real<P>)})) {}

    void run(const Walk& walk) noexcept {
        const Index b = walk.row(0), N = run_.layer.heads;
        heads_.read(run_.layer.first, b);
        for (Index head = 0; head < N; ++head) {
            const Real<P> m = run_.layer.first.scale ? run_.layer.first.scale[b * N + head] : 0;
            gates_.set(head, heads_.is_empty(head) && walk.steps() > 0 ? empty<P> : m, 0);
        }
        for (Index chunk = 0; chunk * chunk_steps < walk.steps(); ++chunk) step(walk, chunk);
        end(walk);
    }

private:
    void step(const Walk& walk, Index chunk) noexcept {
        const Range steps = chunk_of(walk, chunk);
        const Products<P> z = products_.find(walk, steps, job_.kept.z);
        if (job_.kept.between) keep(walk, chunk);
        for (Range piece{0, 0}; piece.last < steps.size();) {
            piece = gates_.next(walk, steps, piece.last, z);
            for (Index n = piece.first; n < piece.last; ++n) y_[n - piece.first] = job_.y.at(walk.time(steps.first + n), walk.row(0));
            for (Index head = 0; head < run_.layer.heads; ++head)
                run_.chunks.forward(gates_.piece(piece, head, z, heads_.at(head), room_.data()), y_, head * run_.layer.head_units(), streams_);
        }
    }

    void keep(const Walk& walk, Index chunk) const noexcept {
        for (Index head = 0; head < run_.layer.heads; ++head) {
            Real<P>* const to = job_.kept.between + run_.between(chunk, walk.row(0), head);
            Real<P>* const marks = to + run_.layer.between_numbers() - 2;
            heads_.keep(head, to);
            marks[0] = gates_.m(head), marks[1] = gates_.lag(head);
        }
    }

    void end(const Walk& walk) noexcept {
        const Index S = run_.layer.head_units();
        for (Index head = 0; head < run_.layer.heads && job_.last.memory; ++head) {
            const Index at = walk.row(0) * run_.layer.heads + head;
            heads_.write(head, gates_.to_m(head), job_.last.memory + at * S * S, job_.last.normaliser + at * S);
            job_.last.scale[at] = gates_.m(head);
        }
        zero_padding(run_.layer, walk, job_.y, {0, run_.layer.units});
    }

    const Run<P>& run_;
    const MlstmForward<P>& job_;
    ChunkProducts<P> products_;
    Heads<P> heads_;
    RowGates<P> gates_;
    Array<Real<P>> room_;
    bool streams_;
    Real<P>* y_[chunk_steps];
};

/// Rows on their way back, on one thread.
template <typename P>
class BackwardPart {
public:
    BackwardPart(const Run<P>& run, const MlstmBackward<P>& job, const AffineForward<P>* again, const AffineBackward<P>& weight, const AffineSums<P>& sums,
                 int share)
        : run_(run), job_(job), weight_(weight), sums_(sums), share_(share), products_(run, again, !again), gates_(run), heads_(run.layer, run.chunks),
          passing_(run.layer, run.chunks), d_heads_(run.layer, run.chunks), d_m_(zeros<Real<P>>(run.wide)), d_scale_(zeros<Real<P>>(run.wide)), d_behind_(run.wide),
          d_series_(zeros<Real<P>>(2 * run.wide * series_steps)), dz_(zeros<Real<P>>(chunk_steps * weight.in_row())),
          room_(run.chunks.room_numbers(run.layer.head_units())), gate_room_(run.chunks.gate_room(run.layer.heads)),
          fetched_(chunk_steps * pieces_of_row(run.layer)), ahead_(fetched_.data(), run.is_large(run.layer.width())) {
        std::fill_n(ones_, chunk_steps, &one_);
        for (Index n = 0; n + 1 < most_kept(run.layer); ++n) starts_[n].emplace(run.layer, run.chunks);
    }

    void run(const Walk& walk) noexcept {
        begin(walk);
        for (Index chunk = (walk.steps() + chunk_steps - 1) / chunk_steps; chunk-- > 0;) step(walk, chunk);
        end(walk);
    }

private:
    /// Of what belongs to a head of this row: the product of a gradient and its state, as the caller has them.
    double product(const MlstmState<const Real<P>>& d, const MlstmState<const Real<P>>& state, Index at) const noexcept {
        if (!d.memory || !state.memory) return 0;
        const Index S = run_.layer.head_units();
        double sum = 0;
        for (Index k = at * S * S; k < (at + 1) * S * S; ++k) sum += double(d.memory[k]) * state.memory[k];
        for (Index k = at * S; k < (at + 1) * S; ++k) sum += double(d.normaliser[k]) * state.normaliser[k];
        return sum;
    }

    void begin(const Walk& walk) noexcept {
        const MlstmState<const Real<P>>& upstream = job_.grad_last;
        d_heads_.read(upstream, walk.row(0));
        for (Index head = 0; head < run_.layer.heads; ++head) {
            const Index at = walk.row(0) * run_.layer.heads + head;
            const double same = product(upstream, job_.last, at);
            d_scale_[head] = Real<P>(same), d_m_[head] = Real<P>((upstream.scale ? double(upstream.scale[at]) : 0) - same);
        }
    }

    void step(const Walk& walk, Index chunk) noexcept {
        const Index b = walk.row(0);
        const Range steps = chunk_of(walk, chunk);
        for (Index n = 0; n < steps.size(); ++n) {
            const Index t = walk.time(steps.first + n);
            x_[n] = run_.layer.x.at(t, b), y_[n] = job_.y.at(t, b);
            grad_y_[n] = job_.grad_y ? job_.grad_y.at(t, b) : nullptr;
            if (job_.dx) dx_[n] = job_.dx.at(t, b);
        }
        z_ = products_.find(walk, steps, job_.kept.z);
        find(walk, chunk);
        cut(walk, steps);
        if (job_.grad_last.memory && steps.last == walk.steps())
            for (Index head = 0; head < run_.layer.heads; ++head) d_heads_.scale(head, gates_.to_m(head));
        for (Index n = count_; n-- > 0;) step_piece(n);
        Fetch* const fetch = list(walk, {std::max<Index>(0, steps.first - chunk_steps), steps.first}, steps.size());
        if (job_.dx) weight_.multiply(dz_.data(), steps.size(), dx_, fetch);
        if (job_.dweight) sums_.add(share_, steps.size(), x_, ones_, dz_.data(), weight_.in_row(), fetch);
    }

    /// The states that enter the chunk.
    void find(const Walk& walk, Index chunk) noexcept {
        for (Index head = 0; head < run_.layer.heads; ++head) {
            const Real<P>* const from = job_.kept.between + run_.between(chunk, walk.row(0), head);
            const Real<P>* const marks = from + run_.layer.between_numbers() - 2;
            heads_.find(head, from);
            gates_.set(head, marks[0], marks[1]);
        }
    }

    /// Cuts the chunk as forward did, and keeps the states that enter its first pieces; that of the last of these stays in heads_.
    void cut(const Walk& walk, Range steps) noexcept {
        count_ = 0;
        for (Index last = 0; last < steps.size(); ++count_) {
            pieces_[count_] = gates_.next(walk, steps, last, z_);
            last = pieces_[count_].last;
        }
        kept_ = std::min(count_, most_kept(run_.layer)) - 1;
        for (Index n = 0; n < kept_; ++n) {
            starts_[n]->copy(heads_);
            advance(heads_, n);
        }
    }
    static Index most_kept(const MlstmCase<P>& layer) noexcept { return chunk_steps / layer.piece_steps(); }

    void advance(const Heads<P>& heads, Index n) noexcept {
        for (Index head = 0; head < run_.layer.heads; ++head) run_.chunks.advance(gates_.piece(pieces_[n], head, z_, heads.at(head), room_.data()));
    }

    /// The states that enter piece n; where a chunk falls into many, once more from the last that is kept.
    const Heads<P>& enter(Index n) noexcept {
        if (n <= kept_) return n < kept_ ? *starts_[n] : heads_;
        passing_.copy(heads_);
        for (Index k = kept_; k < n; ++k) advance(passing_, k);
        return passing_;
    }

    void step_piece(Index n) noexcept {
        const Heads<P>& heads = enter(n);
        const Range steps = pieces_[n];
        const Index S = run_.layer.head_units();
        Real<P>*const d_write = d_series_.data(), *const d_read = d_write + run_.wide * series_steps, *const dz = &dz_[steps.first * weight_.in_row()];
        // The piece's own number is needed after the heads have left that of the piece before.
        std::copy_n(d_scale_.data(), run_.wide, d_behind_.data());
        for (Index head = 0; head < run_.layer.heads; ++head)
            run_.chunks.backward(gates_.piece(steps, head, z_, heads.at(head), room_.data()),
                                 {head * S, y_ + steps.first, grad_y_ + steps.first, d_heads_.at(head), d_write + head * series_steps,
                                  d_read + head * series_steps, &d_scale_[head], dz + head * S, weight_.in_row()});
        run_.chunks.gates_backward({run_.kernels, gates_.columns(steps.first, z_), steps.size(), d_write, d_read, d_behind_.data(), gates_.share(steps.first),
                                    d_m_.data(), dz + 4 * run_.layer.units, weight_.in_row(), gate_room_.data()});
    }

    /// Lists what the chunk of the steps `next` reads, to be brought while the products of `rows` rows are computed.
    Fetch* list(const Walk& walk, Range next, Index rows) noexcept {
        const Index b = walk.row(0), H = run_.layer.units;
        ahead_.begin();
        for (Index n = next.first; n < next.last; ++n) {
            const Index t = walk.time(n);
            if (job_.kept.z) ahead_.add(job_.kept.z.at(t, b), run_.layer.width());
            ahead_.add(job_.y.at(t, b), H);
            if (job_.grad_y) ahead_.add(job_.grad_y.at(t, b), H);
            ahead_.add(run_.layer.x.at(t, b), run_.layer.inputs);
        }
        return ahead_.over((job_.dx ? weight_.halts(rows) : 0) + (job_.dweight ? sums_.halts() : 0));
    }
    static Index pieces_of_row(const MlstmCase<P>& layer) noexcept {
        const Index size = sizeof(Real<P>);
        return pieces_of(layer.width() * size) + 2 * pieces_of(layer.units * size) + pieces_of(layer.inputs * size);
    }

    void end(const Walk& walk) noexcept {
        const Index S = run_.layer.head_units();
        const MlstmState<Real<P>>& to = job_.d_first;
        for (Index head = 0; head < run_.layer.heads && to.memory; ++head) {
            const Index at = walk.row(0) * run_.layer.heads + head;
            d_heads_.write(head, 1, to.memory + at * S * S, to.normaliser + at * S);
            to.scale[at] = Real<P>(d_m_[head] + product({to.memory, to.normaliser, to.scale}, run_.layer.first, at));
        }
        zero_padding(run_.layer, walk, job_.dx, {0, run_.layer.inputs});
    }

    const Run<P>& run_;
    const MlstmBackward<P>& job_;
    const AffineBackward<P>& weight_;
    const AffineSums<P>& sums_;
    int share_;
    ChunkProducts<P> products_;
    RowGates<P> gates_;
    Heads<P> heads_, passing_, d_heads_;
    std::optional<Heads<P>> starts_[chunk_steps / 16];
    Array<Real<P>> d_m_, d_scale_, d_behind_, d_series_, dz_, room_, gate_room_;
    Array<const char*> fetched_;
    Ahead ahead_;
    Products<P> z_{};
    Range pieces_[chunk_steps];
    Index count_ = 0, kept_ = 0;
    const Real<P>*x_[chunk_steps], *y_[chunk_steps], *grad_y_[chunk_steps], *ones_[chunk_steps];
    Real<P>* dx_[chunk_steps];
    Real<P> one_ = 1;
};

}  // namespace

template <typename P>
void run_mlstm(const MlstmForward<P>& job, int threads, InstructionSet set) {
    check_case(job.layer);
    expect_scan(job.y || job.layer.batch == 0, "the output is null");
    expect_scan(!job.kept.z || job.kept.between, "expected room for all that backward reads or for nothing");
    const Run<P> run(job.layer, set);
    const AffineForward<P> weight = run.affine();
    const int shares = row_shares(job.layer, job.layer.width(), threads);
    run_shares(shares, shares, [&](int share) {
        ForwardPart<P> part(run, job, weight);
        for_each_row(run, share, shares, [&](const Walk& walk) { part.run(walk); });
    });
}

template <typename P>
void run_mlstm(const MlstmBackward<P>& job, int threads, InstructionSet set) {
    check_case(job.layer);
    expect_scan((job.kept.between && job.y) || job.layer.batch == 0, "what forward wrote is null");
    expect_scan(!job.dweight == !job.dbias, "expected the gradients of weight and bias or of neither");
    const Run<P> run(job.layer, set);
    const AffineBackward<P> weight(run.kernels, job.layer.weight, job.layer.width(), job.layer.inputs);
    std::optional<AffineForward<P>> again;
    if (!job.kept.z) again.emplace(run.affine());
    const int shares = row_shares(job.layer, job.layer.width(), threads);
    const AffineSums<P> sums(run.kernels, job.layer.width(), job.layer.inputs, job.dweight ? shares : 0);
    run_shares(shares, shares, [&](int share) {
        BackwardPart<P> part(run, job, again ? &*again : nullptr, weight, sums, share);
        for_each_row(run, share, shares, [&](const Walk& walk) { part.run(walk); });
    });
    if (job.dweight) sums.join(job.dweight, job.dbias);
}

template void run_mlstm(const MlstmForward<Float32>&, int, InstructionSet);
template void run_mlstm(const MlstmForward<Float64>&, int, InstructionSet);
template void run_mlstm(const MlstmBackward<Float32>&, int, InstructionSet);
template void run_mlstm(const MlstmBackward<Float64>&, int, InstructionSet);

}  // namespace lstmkit
