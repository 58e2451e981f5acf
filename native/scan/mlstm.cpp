#include "lstmkit/mlstm.h"

#include <cmath>
#include <limits>

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

/// What of a head's state is one number: its stabiliser, and whether it remembers nothing.
struct Mark {
    double m = 0;
    bool empty = true;
};

double log_sigmoid(double z) noexcept { return std::min(z, 0.0) - std::log1p(std::exp(-std::fabs(z))); }

/// The gates of one head in one chunk.
template <typename P>
struct ChunkGates {
    double input[chunk_steps], forget[chunk_steps];  // logarithms
    bool reset[chunk_steps];
    Mark before[chunk_steps];
    ChunkScales<P> scales;

    /// Returns the mark behind the chunk.
    Mark set(Mark mark, Index steps) noexcept {
        constexpr double most = sizeof(Real<P>) == 4 ? 80 : 700, smallest = std::numeric_limits<Real<P>>::min();
        const double m_first = mark.m;
        double decay = 0, walls = 0;
        bool unbroken = !mark.empty;
        scales = {};
        for (Index t = 0; t < steps; ++t) {
            if (reset[t]) mark.empty = true, unbroken = false, ++walls;
            before[t] = mark;
            decay += forget[t];
            const double kept = mark.empty ? input[t] : forget[t] + mark.m;
            mark = {kept > input[t] || std::isnan(kept) ? kept : input[t], false};
            scales.input[t] = Real<P>(input[t]), scales.decay[t] = Real<P>(decay), scales.wall[t] = Real<P>(walls), scales.m[t] = Real<P>(mark.m);
            scales.least[t] = Real<P>(std::max(smallest, std::exp(std::min(-mark.m, most))));
            scales.from_first[t] = unbroken ? Real<P>(std::exp(decay + m_first - mark.m)) : Real<P>(0);
        }
        for (Index s = 0; s < steps; ++s)
            if (scales.wall[s] == scales.wall[steps - 1]) scales.to_last[s] = Real<P>(std::exp(scales.decay[steps - 1] - scales.decay[s] + input[s] - mark.m));
        scales.kept = scales.from_first[steps - 1];
        return mark;
    }

    /// From gradients of log i and the decays to those of log i and f before its sigmoid. `excess` is what the stabiliser's
    /// own gradient has beyond the state's: it goes the way of the larger gate.
    void differentiate(Index steps, const Real<P>* d_input, const Real<P>* d_decay, double& excess, double* di, double* df) const noexcept {
        double decays = 0;
        for (Index t = steps; t-- > 0;) {
            decays += d_decay[t];
            di[t] = d_input[t], df[t] = decays;
            const double kept = forget[t] + before[t].m;
            const double share = before[t].empty || kept < input[t] ? 0 : kept > input[t] ? 1 : 0.5;
            di[t] += (1 - share) * excess, df[t] += share * excess;
            excess *= share;
            df[t] *= -std::expm1(forget[t]);
        }
    }
};

/// The states of one row's heads, in the kernels' order.
template <typename P>
class Heads {
public:
    Heads(const MlstmCase<P>& layer, const MlstmKernels<P>& kernels)
        : kernels_(kernels), heads_(layer.heads), units_(layer.head_units()), padded_(kernels.padded(units_)),
          memory_(heads_ * padded_ * padded_), normaliser_(heads_ * padded_), compact_(units_ * units_) {}

    HeadMemory<P> at(Index head) const noexcept { return {&memory_[head * padded_ * padded_], &normaliser_[head * padded_]}; }

    /// From states as the caller has them, or zeros.
    template <typename Number>
    void read(const MlstmState<Number>& from, Index b) noexcept {
        for (Index head = 0; head < heads_; ++head) {
            const Index at = b * heads_ + head;
            turn(from.memory ? from.memory + at * units_ * units_ : nullptr);
            unpack(head, compact_.data(), from.normaliser ? from.normaliser + at * units_ : nullptr);
        }
    }
    void write(Index head, Real<P>* memory, Real<P>* normaliser) noexcept {
        kernels_.pack(at(head).memory, units_, compact_.data());
        for (Index k = 0; k < units_; ++k)
            for (Index v = 0; v < units_; ++v) memory[v * units_ + k] = compact_[k * units_ + v];
        std::copy_n(at(head).normaliser, units_, normaliser);
    }
    void keep(Index head, const Mark& mark, Real<P>* to) const noexcept {
        kernels_.pack(at(head).memory, units_, to);
        std::copy_n(at(head).normaliser, units_, to + units_ * units_);
        to[units_ * (units_ + 1)] = Real<P>(mark.m), to[units_ * (units_ + 1) + 1] = Real<P>(mark.empty);
    }
    Mark find(Index head, const Real<P>* kept) noexcept {
        unpack(head, kept, kept + units_ * units_);
        return {kept[units_ * (units_ + 1)], kept[units_ * (units_ + 1) + 1] != 0};
    }
    bool is_empty(Index head) const noexcept {
        const Real<P>* const n = at(head).normaliser;
        return std::all_of(n, n + units_, [](Real<P> number) { return number == 0; });
    }

private:
    void turn(const Real<P>* memory) noexcept {
        for (Index k = 0; k < units_; ++k)
            for (Index v = 0; v < units_; ++v) compact_[k * units_ + v] = memory ? memory[v * units_ + k] : Real<P>{};
    }
    void unpack(Index head, const Real<P>* memory, const Real<P>* normaliser) noexcept {
        const HeadMemory<P> to = at(head);
        kernels_.unpack(memory, units_, to.memory);
        std::fill_n(to.normaliser, padded_, Real<P>{});
        if (normaliser) std::copy_n(normaliser, units_, to.normaliser);
    }

    const MlstmKernels<P>& kernels_;
    Index heads_, units_, padded_;
    Array<Real<P>> memory_, normaliser_, compact_;
};

/// What all threads read.
template <typename P>
struct Run {
    const MlstmCase<P>& layer;
    const Kernels<P>& kernels;
    const MlstmKernels<P>& chunks;
    Array<Index> order;

    Run(const MlstmCase<P>& layer, InstructionSet set)
        : layer(layer), kernels(kernels_of<P>(set)), chunks(mlstm_kernels_of<P>(set)), order(layer.batch) {
        order_rows(layer, order.data());
    }
    bool fetches() const noexcept { return layer.steps * layer.batch * layer.width() * Index{sizeof(Real<P>)} > cached_bytes; }
    HeadColumns columns(Index head) const noexcept {
        const Index S = layer.head_units(), H = layer.units, at = head * S;
        return {at, H + at, 2 * H + at, 3 * H + at, S};
    }
    Index input_column(Index head) const noexcept { return 4 * layer.units + head; }
    Index forget_column(Index head) const noexcept { return input_column(head) + layer.heads; }
    Index between(Index chunk, Index b, Index head) const noexcept {
        return ((chunk * layer.batch + b) * layer.heads + head) * layer.between_numbers();
    }
    void gates(const Walk& walk, Range steps, Index head, const Real<P>* const* z, ChunkGates<P>& to) const noexcept {
        const Index i = input_column(head), f = forget_column(head);
        for (Index n = 0; n < steps.size(); ++n) {
            to.input[n] = z[n][i], to.forget[n] = log_sigmoid(z[n][f]);
            to.reset[n] = walk.is_reset(walk.time(steps.first + n), 0);
        }
    }
};

/// Calls row(Walk) for every row of one share.
template <typename P, typename Row>
void for_each_row(const Run<P>& run, int share, int shares, Row row) {
    const Range rows = cut_share(run.layer, run.order.data(), share, shares, 1);
    for (Index r = rows.first; r < rows.last; ++r) row(Walk(run.layer, run.order.data(), {r, r + 1}));
}

/// Rows on their way forward, on one thread.
template <typename P>
class ForwardPart {
public:
    ForwardPart(const Run<P>& run, const MlstmForward<P>& job, const AffineForward<P>& weight)
        : run_(run), job_(job), weight_(weight), heads_(run.layer, run.chunks), marks_(run.layer.heads),
          z_(job.kept.z ? 0 : chunk_steps * run.layer.width()), room_(run.chunks.room_numbers(run.layer.head_units())) {}

    void run(const Walk& walk) noexcept {
        const Index b = walk.row(0);
        const MlstmState<const Real<P>>& first = run_.layer.first;
        heads_.read(first, b);
        for (Index head = 0; head < run_.layer.heads; ++head)
            marks_[head] = {first.scale ? double(first.scale[b * run_.layer.heads + head]) : 0, heads_.is_empty(head)};
        for (Index n = 0; n < walk.steps(); n += chunk_steps) step(walk, {n, std::min(walk.steps(), n + chunk_steps)});
        end(walk);
    }

private:
    void step(const Walk& walk, Range steps) noexcept {
        const Index b = walk.row(0);
        for (Index n = 0; n < steps.size(); ++n) {
            const Index t = walk.time(steps.first + n);
            x_[n] = run_.layer.x.at(t, b);
            rows_[n] = job_.kept.z ? job_.kept.z.at(t, b) : &z_[n * run_.layer.width()];
            y_[n] = job_.y.at(t, b);
            if (job_.kept.raw) raw_[n] = job_.kept.raw.at(t, b);
        }
        weight_.multiply(x_, steps.size(), rows_);
        for (Index head = 0; head < run_.layer.heads; ++head) {
            if (job_.kept.between) heads_.keep(head, marks_[head], job_.kept.between + run_.between(steps.first / chunk_steps, b, head));
            run_.gates(walk, steps, head, rows_, gates_);
            marks_[head] = gates_.set(marks_[head], steps.size());
            run_.chunks.forward({run_.kernels, steps.size(), rows_, run_.columns(head), gates_.scales, heads_.at(head), y_,
                                 job_.kept.raw ? raw_ : nullptr, room_.data()});
        }
    }

    void end(const Walk& walk) noexcept {
        const Index S = run_.layer.head_units();
        for (Index head = 0; head < run_.layer.heads && job_.last.memory; ++head) {
            const Index at = walk.row(0) * run_.layer.heads + head;
            heads_.write(head, job_.last.memory + at * S * S, job_.last.normaliser + at * S);
            job_.last.scale[at] = Real<P>(marks_[head].m);
        }
        zero_padding(run_.layer, walk, job_.y, {0, run_.layer.units});
    }

    const Run<P>& run_;
    const MlstmForward<P>& job_;
    const AffineForward<P>& weight_;
    Heads<P> heads_;
    Array<Mark> marks_;
    Array<Real<P>> z_, room_;
    ChunkGates<P> gates_;
    const Real<P>* x_[chunk_steps];
    Real<P>*rows_[chunk_steps], *y_[chunk_steps], *raw_[chunk_steps];
};

/// Rows on their way back, on one thread.
template <typename P>
class BackwardPart {
public:
    BackwardPart(const Run<P>& run, const MlstmBackward<P>& job, const AffineBackward<P>& weight, const AffineSums<P>& sums, int share)
        : run_(run), job_(job), weight_(weight), sums_(sums), share_(share), heads_(run.layer, run.chunks), d_heads_(run.layer, run.chunks),
          excess_(run.layer.heads), dz_(zeros<Real<P>>(chunk_steps * weight.in_row())), room_(run.chunks.room_numbers(run.layer.head_units())),
          pieces_(chunk_steps * pieces_of_row(run.layer)), ahead_(pieces_.data(), run.fetches()) {
        std::fill_n(ones_, chunk_steps, &one_);
    }

    void run(const Walk& walk) noexcept {
        begin(walk);
        for (Index chunk = (walk.steps() + chunk_steps - 1) / chunk_steps; chunk-- > 0;)
            step(walk, {chunk * chunk_steps, std::min(walk.steps(), (chunk + 1) * chunk_steps)});
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
            excess_[head] = (upstream.scale ? double(upstream.scale[at]) : 0) - product(upstream, job_.last, at);
        }
    }

    void step(const Walk& walk, Range steps) noexcept {
        const Index b = walk.row(0);
        for (Index n = 0; n < steps.size(); ++n) {
            const Index t = walk.time(steps.first + n);
            rows_[n] = job_.kept.z.at(t, b), raw_[n] = job_.kept.raw.at(t, b), x_[n] = run_.layer.x.at(t, b);
            grad_y_[n] = job_.grad_y ? job_.grad_y.at(t, b) : nullptr;
            dz_rows_[n] = &dz_[n * weight_.in_row()];
            if (job_.dx) dx_[n] = job_.dx.at(t, b);
        }
        for (Index head = 0; head < run_.layer.heads; ++head) step_head(walk, steps, head);
        Fetch* const fetch = list(walk, {std::max<Index>(0, steps.first - chunk_steps), steps.first}, steps.size());
        if (job_.dx) weight_.multiply(dz_.data(), steps.size(), dx_, fetch);
        if (job_.dweight) sums_.add(share_, steps.size(), x_, ones_, dz_.data(), weight_.in_row(), fetch);
    }

    /// Lists what the chunk of the steps `next` reads, to be brought while the products of `rows` rows are computed.
    Fetch* list(const Walk& walk, Range next, Index rows) noexcept {
        const Index b = walk.row(0), H = run_.layer.units;
        ahead_.begin();
        for (Index n = next.first; n < next.last; ++n) {
            const Index t = walk.time(n);
            ahead_.add(job_.kept.z.at(t, b), run_.layer.width());
            ahead_.add(job_.kept.raw.at(t, b), H);
            if (job_.grad_y) ahead_.add(job_.grad_y.at(t, b), H);
            ahead_.add(run_.layer.x.at(t, b), run_.layer.inputs);
        }
        return ahead_.over((job_.dx ? weight_.halts(rows) : 0) + (job_.dweight ? sums_.halts() : 0));
    }
    static Index pieces_of_row(const MlstmCase<P>& layer) noexcept {
        const Index size = sizeof(Real<P>);
        return pieces_of(layer.width() * size) + 2 * pieces_of(layer.units * size) + pieces_of(layer.inputs * size);
    }

    void step_head(const Walk& walk, Range steps, Index head) noexcept {
        Real<P> d_input[chunk_steps], d_decay[chunk_steps];
        double di[chunk_steps], df[chunk_steps];
        const Mark mark = heads_.find(head, job_.kept.between + run_.between(steps.first / chunk_steps, walk.row(0), head));
        run_.gates(walk, steps, head, rows_, gates_);
        gates_.set(mark, steps.size());
        run_.chunks.backward({run_.kernels, steps.size(), rows_, run_.columns(head), gates_.scales, heads_.at(head), grad_y_, raw_,
                              d_heads_.at(head), d_input, d_decay, dz_rows_, room_.data()});
        gates_.differentiate(steps.size(), d_input, d_decay, excess_[head], di, df);
        for (Index n = 0; n < steps.size(); ++n) {
            dz_rows_[n][run_.input_column(head)] = Real<P>(di[n]);
            dz_rows_[n][run_.forget_column(head)] = Real<P>(df[n]);
        }
    }

    void end(const Walk& walk) noexcept {
        const Index S = run_.layer.head_units();
        const MlstmState<Real<P>>& to = job_.d_first;
        for (Index head = 0; head < run_.layer.heads && to.memory; ++head) {
            const Index at = walk.row(0) * run_.layer.heads + head;
            d_heads_.write(head, to.memory + at * S * S, to.normaliser + at * S);
            to.scale[at] = Real<P>(excess_[head] + product({to.memory, to.normaliser, to.scale}, run_.layer.first, at));
        }
        zero_padding(run_.layer, walk, job_.dx, {0, run_.layer.inputs});
    }

    const Run<P>& run_;
    const MlstmBackward<P>& job_;
    const AffineBackward<P>& weight_;
    const AffineSums<P>& sums_;
    int share_;
    Heads<P> heads_, d_heads_;
    Array<double> excess_;
    Array<Real<P>> dz_, room_;
    Array<const char*> pieces_;
    Ahead ahead_;
    ChunkGates<P> gates_;
    const Real<P>*rows_[chunk_steps], *raw_[chunk_steps], *x_[chunk_steps], *grad_y_[chunk_steps], *ones_[chunk_steps];
    Real<P>*dz_rows_[chunk_steps], *dx_[chunk_steps];
    Real<P> one_ = 1;
};

}  // namespace

template <typename P>
void run_mlstm(const MlstmForward<P>& job, int threads, InstructionSet set) {
    check_case(job.layer);
    expect_scan(job.y || job.layer.batch == 0, "the output is null");
    expect_scan(!job.kept.z == !job.kept.raw && !job.kept.z == !job.kept.between, "expected room for all that backward reads or for nothing");
    const Run<P> run(job.layer, set);
    const AffineForward<P> weight(scan_kernels_of<P>(set), run.kernels.lanes, job.layer.weight, job.layer.bias, job.layer.width(), job.layer.inputs);
    const int shares = row_shares(job.layer, job.layer.width(), threads);
    run_shares(shares, shares, [&](int share) {
        ForwardPart<P> part(run, job, weight);
        for_each_row(run, share, shares, [&](const Walk& walk) { part.run(walk); });
    });
}

template <typename P>
void run_mlstm(const MlstmBackward<P>& job, int threads, InstructionSet set) {
    check_case(job.layer);
    expect_scan((job.kept.z && job.kept.raw && job.kept.between) || job.layer.batch == 0, "what forward wrote is null");
    expect_scan(!job.dweight == !job.dbias, "expected the gradients of weight and bias or of neither");
    const Run<P> run(job.layer, set);
    const AffineBackward<P> weight(run.kernels, job.layer.weight, job.layer.width(), job.layer.inputs);
    const int shares = row_shares(job.layer, job.layer.width(), threads);
    const AffineSums<P> sums(run.kernels, job.layer.width(), job.layer.inputs, job.dweight ? shares : 0);
    run_shares(shares, shares, [&](int share) {
        BackwardPart<P> part(run, job, weight, sums, share);
        for_each_row(run, share, shares, [&](const Walk& walk) { part.run(walk); });
    });
    if (job.dweight) sums.join(job.dweight, job.dbias);
}

template void run_mlstm(const MlstmForward<Float32>&, int, InstructionSet);
template void run_mlstm(const MlstmForward<Float64>&, int, InstructionSet);
template void run_mlstm(const MlstmBackward<Float32>&, int, InstructionSet);
template void run_mlstm(const MlstmBackward<Float64>&, int, InstructionSet);

}  // namespace lstmkit
