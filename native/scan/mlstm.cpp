#include "lstmkit/mlstm.h"

#include <optional>

#include "scan/check.h"
#include "scan/mlstm_row.h"
#include "sequence/ahead.h"
#include "threads/team.h"

namespace lstmkit {
namespace {

template <typename P>
void check_case(const MlstmCase<P>& layer) {
    check_scan(layer, layer.weights.sides && layer.weights.gates);
    expect_scan(!layer.weights.side_bias == !layer.weights.gate_bias, "expected both biases or none");
    expect_scan(layer.heads >= 1 && layer.units % layer.heads == 0, "expected heads that divide the units");
    expect_scan(!layer.first.memory == !layer.first.normaliser && !layer.first.memory == !layer.first.scale, "expected all first states or none");
}

/// Calls row(Walk) for every row of one share.
template <typename P, typename Row>
void for_each_row(const MlstmRun<P>& run, int share, int shares, Row row) {
    const Range rows = cut_share(run.layer, run.order.data(), share, shares, 1);
    for (Index r = rows.first; r < rows.last; ++r) row(Walk(run.layer, run.order.data(), {r, r + 1}));
}

template <typename P>
bool is_large(const MlstmCase<P>& layer, Index numbers_of_step) noexcept {
    return layer.steps * layer.batch * numbers_of_step * Index{sizeof(Real<P>)} > cached_bytes;
}

/// Rows on their way forward, on one thread.
template <typename P>
class ForwardPart {
public:
    ForwardPart(const MlstmRun<P>& run, const MlstmForward<P>& job, const MlstmWeights<P>& weights)
        : run_(run), job_(job), products_(run, &weights, job.kept.products), states_(run, run.groups()), gates_(run, false),
          room_(run.chunks.room_numbers(run.units)),
          streams_(is_large(run.layer, run.layer.units) && run.units % run.kernels.lanes == 0 &&
                   is_aligned(job.y, run.kernels.lanes * Index{sizeof(Real<P>)})),
          fetched_(chunk_steps * pieces_of(run.layer.inputs * Index{sizeof(Real<P>)})),
          ahead_(fetched_.data(), is_large(run.layer, run.layer.inputs)) {}

    void run(const Walk& walk) noexcept {
        const Index b = walk.row(0), N = run_.layer.heads;
        states_.read(run_.layer.first, b);
        for (Index head = 0; head < N; ++head) {
            const Real<P> m = run_.layer.first.scale ? run_.layer.first.scale[b * N + head] : 0;
            gates_.set(head, states_.is_empty(head) && walk.steps() > 0 ? empty<P> : m, 0);
        }
        for (Index chunk = 0; chunk * chunk_steps < walk.steps(); ++chunk) step(walk, chunk);
        end(walk);
    }

private:
    void step(const Walk& walk, Index chunk) noexcept {
        const Range steps = chunk_of(walk, chunk);
        for (Index n = 0; n < steps.size(); ++n) y_[n] = job_.y.at(walk.time(steps.first + n), walk.row(0));
        products_.enter(walk, chunk);
        if (job_.kept.between) keep(walk, chunk);
        gates_.cut(walk, chunk, products_.gates());
        Fetch* const fetch = list(walk, {steps.last, std::min(walk.steps(), steps.last + chunk_steps)});
        for (Index group = 0; group < run_.groups(); ++group) {
            const Real<P>* const z = products_.sides(group, fetch);
            for (Index n = 0; n < gates_.pieces(); ++n)
                run_.chunks.forward(gates_.of(n, group, z, products_.row(), states_.at(group), room_.data()), y_ + gates_.piece(n).first,
                                    group * run_.units, streams_);
        }
    }

    /// Lists the inputs of the steps `next`, to be brought during the products of these.
    Fetch* list(const Walk& walk, Range next) noexcept {
        if (!ahead_.is_used()) return nullptr;
        ahead_.begin();
        for (Index n = next.first; n < next.last; ++n) ahead_.add(run_.layer.x.at(walk.time(n), walk.row(0)), run_.layer.inputs);
        return ahead_.over(products_.halts());
    }

    void keep(const Walk& walk, Index chunk) const noexcept {
        const Index b = walk.row(0);
        for (Index group = 0; group < run_.groups(); ++group) states_.keep(group, job_.kept.between + run_.between(chunk, b, group));
        for (Index head = 0; head < run_.layer.heads; ++head) {
            Real<P>* const marks = job_.kept.between + run_.marks(chunk, b, head);
            marks[0] = gates_.m(head), marks[1] = gates_.lag(head);
        }
    }

    void end(const Walk& walk) noexcept {
        const Index S = run_.layer.head_units();
        for (Index head = 0; head < run_.layer.heads && job_.last.memory; ++head) {
            const Index at = walk.row(0) * run_.layer.heads + head;
            states_.write(head, gates_.to_m(head), job_.last.memory + at * S * S, job_.last.normaliser + at * S);
            job_.last.scale[at] = gates_.m(head);
        }
        run_.chunks.finish();
        zero_padding(run_.layer, walk, job_.y, {0, run_.layer.units});
    }

    const MlstmRun<P>& run_;
    const MlstmForward<P>& job_;
    ChunkProducts<P> products_;
    Memories<P> states_;
    RowGates<P> gates_;
    Array<Real<P>> room_;
    bool streams_;
    Array<const char*> fetched_;
    Ahead ahead_;
    Real<P>* y_[chunk_steps];
};

/// The gradients through the products: of the input, chunk by chunk, and of the weights, a sum for each share of the rows.
template <typename P>
struct MlstmWeightsBackward {
    AffineBackward<P> sides, gates;
    AffineSums<P> side_sums, gate_sums;

    MlstmWeightsBackward(const MlstmRun<P>& run, int shares)
        : sides(run.kernels, run.scans, run.sides()), gates(run.kernels, run.scans, run.gates()),
          side_sums(run.kernels, 4 * run.units, run.layer.inputs, shares, run.groups()),
          gate_sums(run.kernels, 2 * run.layer.heads, run.layer.inputs, shares) {}
};

/// Rows on their way back, on one thread: a few at once, chunk by chunk, because what they read of a step lies side by side in memory.
template <typename P>
class BackwardPart {
public:
    BackwardPart(const MlstmRun<P>& run, const MlstmBackward<P>& job, const MlstmWeights<P>* again, const MlstmWeightsBackward<P>& weights,
                 int share)
        : run_(run), job_(job), weights_(weights), share_(share), at_once_(rows_at_once(run.layer)),
          products_(run, again, const_cast<Real<P>*>(job.kept.products)), gates_(run, true),
          d_states_(run, at_once_ * run.groups()), starts_(run, most_kept + 1), d_m_(zeros<Real<P>>(at_once_ * run.wide)),
          d_scale_(zeros<Real<P>>(at_once_ * run.wide)), d_scales_((chunk_steps + 1) * run.wide), d_series_(zeros<Real<P>>(2 * run.wide * series_steps)),
          dz_(zeros<Real<P>>(chunk_steps * weights.sides.in_row())), d_gates_(zeros<Real<P>>(chunk_steps * weights.gates.in_row())),
          dx_sums_(chunk_steps * run.kernels.lanes),
          room_(run.chunks.room_numbers(run.units)),
          fetched_(chunk_steps * pieces_of_row(run.layer) + pieces_of_chunk(run.layer)),
          ahead_(fetched_.data(), is_large(run.layer, 2 * run.layer.units + run.layer.inputs)) {}

    /// The most that run takes.
    Index at_once() const noexcept { return at_once_; }
    void run(Range rows) noexcept {
        rows_ = rows;
        for (row_ = 0; row_ < rows.size(); ++row_) begin(walk_of(row_));
        for (Index chunk = run_.layer.chunks(); chunk-- > 0;)
            for (row_ = 0; is_in(row_, chunk); ++row_) step(walk_of(row_), chunk);
        for (row_ = 0; row_ < rows.size(); ++row_) end(walk_of(row_));
    }

private:
    /// So many that the gradients of their memories leave most of the second-level cache to the rest.
    static Index rows_at_once(const MlstmCase<P>& layer) noexcept {
        constexpr Index most = 8, bytes = 256 << 10;
        const Index each = layer.heads * layer.head_units() * layer.head_units() * Index{sizeof(Real<P>)};
        return std::clamp<Index>(bytes / each, 1, most);
    }
    Walk walk_of(Index row) const noexcept { return {run_.layer, run_.order.data(), Range{rows_.first + row, rows_.first + row + 1}}; }
    /// The first rows are the longest.
    bool is_in(Index row, Index chunk) const noexcept { return row < rows_.size() && chunk * chunk_steps < walk_of(row).steps(); }

    // A chunk is one piece, unless resets or gates that forget much cut it.
    static constexpr Index most_kept = 4;

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
        d_states_.read(upstream, walk.row(0), row_);
        for (Index head = 0; head < run_.layer.heads; ++head) {
            const Index at = walk.row(0) * run_.layer.heads + head, own = row_ * run_.wide + head;
            const double same = product(upstream, job_.last, at);
            d_scale_[own] = Real<P>(same), d_m_[own] = Real<P>((upstream.scale ? double(upstream.scale[at]) : 0) - same);
        }
    }

    void step(const Walk& walk, Index chunk) noexcept {
        const Index b = walk.row(0);
        const Range steps = chunk_of(walk, chunk);
        for (Index n = 0; n < steps.size(); ++n) {
            const Index t = walk.time(steps.first + n);
            y_[n] = job_.y.at(t, b);
            grad_y_[n] = job_.grad_y ? job_.grad_y.at(t, b) : nullptr;
            if (job_.dx) dx_[n] = job_.dx.at(t, b);
        }
        products_.enter(walk, chunk);
        cut(walk, chunk);
        fetch_ = list_next(chunk, steps.size());
        InputGradient<P> dx{steps.size(), dx_, dx_sums_.data()};
        for (Index group = 0; group < run_.groups(); ++group) {
            step_group(run_.between(chunk, b, group), group, dz_.data());
            if (job_.d_weights.sides)
                weights_.side_sums.add(share_, steps.size(), products_.x(), nullptr, dz_.data(), weights_.sides.in_row(), nullptr, group);
            if (job_.dx) weights_.sides.multiply(dz_.data(), group, dx, false);
        }
        step_gates();
        if (job_.d_weights.sides)
            weights_.gate_sums.add(share_, steps.size(), products_.x(), nullptr, d_gates_.data(), weights_.gates.in_row());
        if (job_.dx) weights_.gates.multiply(d_gates_.data(), 0, dx, true);
    }

    void cut(const Walk& walk, Index chunk) noexcept {
        for (Index head = 0; head < run_.layer.heads; ++head) {
            const Real<P>* const marks = job_.kept.between + run_.marks(chunk, walk.row(0), head);
            gates_.set(head, marks[0], marks[1]);
        }
        gates_.cut(walk, chunk, products_.gates());
        if (job_.grad_last.memory && chunk_of(walk, chunk).last == walk.steps())
            for (Index head = 0; head < run_.layer.heads; ++head) d_states_.scale(row_ * run_.layer.heads + head, gates_.to_m(head));
    }

    void step_group(Index kept, Index group, Real<P>* dz) noexcept {
        const Real<P>* const z = products_.sides(group);
        const Index most = std::min(gates_.pieces(), most_kept) - 1, row = weights_.sides.in_row();
        auto piece = [&](Index n, Index from) noexcept { return gates_.of(n, group, z, products_.row(), starts_.at(from), room_.data()); };
        starts_.find(0, job_.kept.between + kept);
        for (Index n = 0; n < most; ++n) run_.chunks.advance(piece(n, n), starts_.at(n + 1));
        for (Index n = gates_.pieces(); n-- > 0;) {
            // Where a chunk falls into more pieces than usual, once more from the last state that is kept.
            const Index passing = most_kept;
            for (Index k = most; k < n; ++k) run_.chunks.advance(piece(k, k == most ? k : passing), starts_.at(passing));
            const Index first = gates_.piece(n).first, head = group * run_.together, at = head * series_steps + run_.together * first;
            run_.chunks.backward(piece(n, n <= most ? n : passing),
                                 {group * run_.units, y_ + first, grad_y_ + first, d_states_.at(row_ * run_.groups() + group), &d_series_[at],
                                  &d_series_[run_.wide * series_steps + at], &d_scales_[(gates_.pieces() - n) * run_.wide + head],
                                  dz + first * row, row, fetch_});
        }
    }

    /// d_scales_ has the number behind the chunk's last piece, then those before each, of which the last is for the chunk before.
    void step_gates() noexcept {
        const Index count = gates_.pieces(), row = weights_.gates.in_row();
        Real<P>* const d_scale = &d_scale_[row_ * run_.wide];
        std::copy_n(d_scale, run_.wide, d_scales_.data());
        for (Index n = count; n-- > 0;)
            run_.chunks.gates_backward(gates_.backward(n, d_series_.data(), &d_series_[run_.wide * series_steps],
                                                       &d_scales_[(count - 1 - n) * run_.wide], &d_m_[row_ * run_.wide], d_gates_.data(), row));
        std::copy_n(&d_scales_[count * run_.wide], run_.wide, d_scale);
    }

    /// Lists what comes next, to be brought while the heads take `steps` steps: this chunk of the next row, or the first's chunk before.
    Fetch* list_next(Index chunk, Index steps) noexcept {
        if (!ahead_.is_used()) return nullptr;
        ahead_.begin();
        const bool is_same = is_in(row_ + 1, chunk);
        if (is_same || chunk > 0) list(walk_of(is_same ? row_ + 1 : 0), is_same ? chunk : chunk - 1);
        return ahead_.over(steps * run_.groups());
    }
    void list(const Walk& walk, Index chunk) noexcept {
        const Index b = walk.row(0), H = run_.layer.units;
        const Range next = chunk_of(walk, chunk);
        for (Index n = next.first; n < next.last; ++n) {
            const Index t = walk.time(n);
            ahead_.add(job_.y.at(t, b), H);
            if (job_.grad_y) ahead_.add(job_.grad_y.at(t, b), H);
            ahead_.add(run_.layer.x.at(t, b), run_.layer.inputs);
        }
        const MlstmCase<P>& layer = run_.layer;
        ahead_.add(job_.kept.between + run_.between(chunk, b, 0), layer.heads * layer.between_numbers());
        if (job_.kept.products) ahead_.add(job_.kept.products + (b * layer.chunks() + chunk) * layer.product_numbers(), layer.product_numbers());
    }
    static Index pieces_of_chunk(const MlstmCase<P>& layer) noexcept {
        const Index size = sizeof(Real<P>);
        return pieces_of(layer.heads * layer.between_numbers() * size) + pieces_of(layer.product_numbers() * size);
    }
    static Index pieces_of_row(const MlstmCase<P>& layer) noexcept {
        const Index size = sizeof(Real<P>);
        return 2 * pieces_of(layer.units * size) + pieces_of(layer.inputs * size);
    }

    void end(const Walk& walk) noexcept {
        const Index S = run_.layer.head_units();
        const MlstmState<Real<P>>& to = job_.d_first;
        for (Index head = 0; head < run_.layer.heads && to.memory; ++head) {
            const Index at = walk.row(0) * run_.layer.heads + head;
            d_states_.write(row_ * run_.layer.heads + head, 1, to.memory + at * S * S, to.normaliser + at * S);
            to.scale[at] = Real<P>(d_m_[row_ * run_.wide + head] + product({to.memory, to.normaliser, to.scale}, run_.layer.first, at));
        }
        zero_padding(run_.layer, walk, job_.dx, {0, run_.layer.inputs});
    }

    const MlstmRun<P>& run_;
    const MlstmBackward<P>& job_;
    const MlstmWeightsBackward<P>& weights_;
    int share_;
    Index at_once_;
    Range rows_{};
    Index row_ = 0;  // which of them is on its way
    ChunkProducts<P> products_;
    RowGates<P> gates_;
    Memories<P> d_states_, starts_;  // of one head: the states that enter its first pieces, and one that passes
    Array<Real<P>> d_m_, d_scale_;   // [rows][wide]
    Array<Real<P>> d_scales_, d_series_, dz_, d_gates_, dx_sums_, room_;
    Array<const char*> fetched_;
    Ahead ahead_;
    Fetch* fetch_ = nullptr;
    const Real<P>*y_[chunk_steps], *grad_y_[chunk_steps];
    Real<P>* dx_[chunk_steps];
};

}  // namespace

template <typename P>
void run_mlstm(const MlstmForward<P>& job, int threads, InstructionSet set) {
    check_case(job.layer);
    expect_scan(job.y || job.layer.batch == 0, "the output is null");
    expect_scan(!job.kept.products || job.kept.between, "expected room for all that backward reads or for nothing");
    const MlstmRun<P> run(job.layer, set);
    const MlstmWeights<P> weights(run);
    const int shares = row_shares(job.layer, job.layer.width(), threads);
    run_shares(shares, shares, [&](int share) {
        ForwardPart<P> part(run, job, weights);
        for_each_row(run, share, shares, [&](const Walk& walk) { part.run(walk); });
    });
}

template <typename P>
void run_mlstm(const MlstmBackward<P>& job, int threads, InstructionSet set) {
    check_case(job.layer);
    expect_scan((job.kept.between && job.y) || job.layer.batch == 0, "what forward wrote is null");
    const MlstmParameters<Real<P>>& to = job.d_weights;
    expect_scan(!to.sides == !to.gates && !to.sides == !to.side_bias && !to.sides == !to.gate_bias, "expected the gradients of all parameters or of none");
    const MlstmRun<P> run(job.layer, set);
    std::optional<MlstmWeights<P>> again;
    if (!job.kept.products) again.emplace(run);
    const int shares = row_shares(job.layer, job.layer.width(), threads);
    const MlstmWeightsBackward<P> weights(run, to.sides ? shares : 0);
    run_shares(shares, shares, [&](int share) {
        BackwardPart<P> part(run, job, again ? &*again : nullptr, weights, share);
        for_each_block(cut_share(run.layer, run.order.data(), share, shares, 1), part.at_once(), 1, [&](Range rows) { part.run(rows); });
    });
    if (!to.sides) return;
    weights.side_sums.join(to.sides, to.side_bias, [&](Index row) { return run.place(row); });
    for (Index row = job.layer.units; row < 2 * job.layer.units; ++row)
        for (Index k = 0; k < job.layer.inputs; ++k) to.sides[row * job.layer.inputs + k] /= run.divisor(row);
    weights.gate_sums.join(to.gates, to.gate_bias);
}

template void run_mlstm(const MlstmForward<Float32>&, int, InstructionSet);
template void run_mlstm(const MlstmForward<Float64>&, int, InstructionSet);
template void run_mlstm(const MlstmBackward<Float32>&, int, InstructionSet);
template void run_mlstm(const MlstmBackward<Float64>&, int, InstructionSet);

}  // namespace lstmkit
