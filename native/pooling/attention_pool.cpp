#include "lstmkit/attention_pool.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "gemm/pack.h"
#include "lstmkit/memory.h"
#include "pooling/kernels.h"
#include "sequence/gathered.h"
#include "threads/team.h"

namespace lstmkit {

namespace {

// Rows pass in blocks of about so many steps: enough that a product reads its weights seldom, few enough for the caches.
constexpr Index block_steps = 96;
// So many multiply-adds are worth another thread.
constexpr double work_of_a_thread = 200'000;

void expect(bool condition, const char* what) {
    if (!condition) throw std::invalid_argument(what);
}

template <typename P>
void check(const AttentionPool<P>& pool) {
    constexpr Index largest = Index{1} << 30;
    for (Index size : {pool.steps, pool.features, pool.units}) expect(size >= 1 && size <= largest, "expected sizes in 1..2^30");
    expect(pool.batch >= 0 && pool.batch <= largest, "expected a batch of 0..2^30 rows");
    expect(pool.x || pool.batch == 0, "the input is null");
    for (Index b = 0; pool.lengths && b < pool.batch; ++b)
        expect(pool.lengths[b] >= 1 && pool.lengths[b] <= pool.steps, "expected lengths in 1..T");
}

/// Sizes and weights as all threads read them.
template <typename P>
struct Run {
    const AttentionPool<P>& pool;
    const Kernels<P>& kernels;
    const PoolKernels<P>& pools;
    Index vectors, width;  // of the hidden units, padded
    Array<Real<P>> v;

    Run(const AttentionPool<P>& pool, InstructionSet set)
        : pool(pool), kernels(table_of<Kernels<P>>(set)), pools(table_of<PoolKernels<P>>(set)), vectors((pool.units + kernels.lanes - 1) / kernels.lanes),
          width(vectors * kernels.lanes), v(zeros<Real<P>>(width)) {
        std::copy_n(pool.v, pool.units, v.data());
    }
    Index length(Index b) const noexcept { return pool.lengths ? pool.lengths[b] : pool.steps; }
    Index capacity() const noexcept { return block_steps + pool.steps; }
    int shares(int threads) const noexcept {
        const double work = double(pool.steps) * double(pool.batch) * double(pool.features) * double(pool.units);
        return static_cast<int>(std::clamp<double>(threads, 1, std::max(1.0, std::min(double(pool.batch), work / work_of_a_thread))));
    }
    /// Calls work(rows) for blocks of rows of one share.
    template <typename Work>
    void for_each_block(int share, int shares, Work work) const noexcept {
        const Index last = pool.batch * (share + 1) / shares;
        for (Index b = pool.batch * share / shares; b < last;) {
            const Index first = b;
            for (Index steps = 0; b < last && steps < block_steps; ++b) steps += length(b);
            work(Range{first, b});
        }
    }
    /// Points to the steps of some rows; returns their number.
    Index gather(Range rows, const Stored<P>** x) const noexcept {
        Index slot = 0;
        for (Index b = rows.first; b < rows.last; ++b)
            for (Index t = 0; t < length(b); ++t) x[slot++] = pool.x.at(t, b);
        return slot;
    }
    /// The weight as the numbers that are multiplied.
    Array<Stored<P>> stored_weight() const {
        Array<Stored<P>> weight(pool.units * pool.features);
        kernels.round(pool.weight, weight.data(), pool.units * pool.features);
        return weight;
    }
};

/// W and b as the tiles of a sum read them: blocks of up to 4 vectors of units, each [F / D][V][L][D].
template <typename P>
class PackedUnits {
public:
    explicit PackedUnits(const Run<P>& run)
        : run_(run), depth_(round_up(run.pool.features, depth<P>)), weights_(zeros<Stored<P>>(depth_ * run.width)), bias_(zeros<Real<P>>(run.width)) {
        constexpr Index D = depth<P>;
        const Index L = run.kernels.lanes, features = run.pool.features;
        for (Index u = 0; u < run.pool.units; ++u) {
            const Index block = u / (gates * L);
            Stored<P>* const to = weights_.data() + block * gates * L * depth_ + u % (gates * L) * D;
            for (Index k = 0; k < features; ++k) to[k / D * D * vectors(block) * L + k % D] = Stored<P>(run.pool.weight[u * features + k]);
            bias_[u] = run.pool.bias[u];
        }
    }
    /// out[r] = b + W x[r], rows at distance `out_row`.
    void multiply(const Stored<P>* const* x, Index rows, Real<P>* out, Index out_row) const noexcept {
        const Index wide = gates * run_.kernels.lanes;
        for (Index block = 0; block * wide < run_.width; ++block)
            run_.kernels.sum({rows, x, 0, run_.pool.features, weights_.data() + block * wide * depth_, vectors(block), 0,
                              bias_.data() + block * wide, out + block * wide, out_row});
    }

private:
    Index vectors(Index block) const noexcept { return std::min<Index>(gates, run_.vectors - block * gates); }

    const Run<P>& run_;
    Index depth_;
    Array<Stored<P>> weights_;
    Array<Real<P>> bias_;
};

template <typename Number>
void soften(const Number* scores, Index count, Number* shares) noexcept {
    const Number most = *std::max_element(scores, scores + count);
    Number total = 0;
    for (Index t = 0; t < count; ++t) total += shares[t] = std::exp(scores[t] - most);
    for (Index t = 0; t < count; ++t) shares[t] /= total;
}

template <typename P>
class ForwardPart {
public:
    ForwardPart(const Run<P>& run, const AttentionPoolForward<P>& job, const PackedUnits<P>& weight)
        : run_(run), job_(job), weight_(weight), x_(run.pool.steps), scores_(run.pool.steps) {}

    void run(Range rows) noexcept {
        for (Index b = rows.first; b < rows.last; ++b) run_row(b);
    }

private:
    void run_row(Index b) noexcept {
        const Index T = run_.pool.steps, width = hidden_width(run_.pool.units), length = run_.gather({b, b + 1}, x_.data());
        Real<P>*const hidden = job_.hidden + b * T * width, *const shares = job_.shares + b * T;
        weight_.multiply(x_.data(), length, hidden, width);
        run_.pools.score({length, width, run_.vectors, run_.v.data()}, hidden, scores_.data());
        soften(scores_.data(), length, shares);
        std::fill(shares + length, shares + T, Real<P>{});
        run_.pools.mix({length, run_.pool.features, x_.data()}, shares, job_.pooled + b * run_.pool.features);
    }

    const Run<P>& run_;
    const AttentionPoolForward<P>& job_;
    const PackedUnits<P>& weight_;
    Array<const Stored<P>*> x_;
    Array<Real<P>> scores_;
};

/// The gradients of the weights, of which every share of the rows adds up its own: v and b, and W as [F][V][L] per block of
/// 4 vectors of units.
template <typename P>
class Sums {
public:
    Sums(const Run<P>& run, int shares)
        : run_(run), shares_(shares), numbers_(run.width * (run.pool.features + 2)), all_(zeros<Real<P>>(shares * numbers_)) {}
    Real<P>* v(int share) const noexcept { return all_.data() + share * numbers_; }
    Real<P>* bias(int share) const noexcept { return v(share) + run_.width; }
    Real<P>* weight(int share) const noexcept { return bias(share) + run_.width; }

    /// Adds the shares in their order, so that the result does not depend on which finished first.
    void join(const AttentionPoolBackward<P>& job) const noexcept {
        Real<P>* const total = all_.data();
        for (int share = 1; share < shares_; ++share)
            for (Index k = 0; k < numbers_; ++k) total[k] += v(share)[k];
        std::copy_n(v(0), run_.pool.units, job.dv);
        std::copy_n(bias(0), run_.pool.units, job.dbias);
        const Index features = run_.pool.features, wide = gates * run_.kernels.lanes;
        for (Index u = 0; u < run_.pool.units; ++u) {
            const Index block = u / wide, columns = std::min(wide, run_.width - block * wide);
            const Real<P>* const from = weight(0) + block * wide * features + u % wide;
            for (Index k = 0; k < features; ++k) job.dweight[u * features + k] = from[k * columns];
        }
    }

private:
    const Run<P>& run_;
    int shares_;
    Index numbers_;
    Array<Real<P>> all_;
};

/// W to multiply with from the right.
template <typename P>
class TurnedUnits {
public:
    explicit TurnedUnits(const Run<P>& run)
        : run_(run), stored_(run.stored_weight()),
          matrix_({stored_.data(), run.pool.features, run.pool.features, 1, run.pool.units, 0, 1}, run.vectors, run.kernels.lanes, gates),
          pack_(matrix_.numbers()) {
        for (Index block = 0; block < matrix_.blocks(); ++block) matrix_.fill(run.kernels, block, pack_.data());
    }
    /// out[r] = dz[r] W.
    void multiply(const Stored<P>* dz, Index rows, Real<P>* const* out) const noexcept {
        matrix_.multiply(run_.kernels, dz, run_.width, run_.kernels.lanes, rows, pack_.data(), out);
    }

private:
    const Run<P>& run_;
    Array<Stored<P>> stored_;
    PackedMatrix<P> matrix_;
    Array<Stored<P>> pack_;
};

template <typename P>
class BackwardPart {
public:
    BackwardPart(const Run<P>& run, const AttentionPoolBackward<P>& job, const TurnedUnits<P>& weight, const Sums<P>& sums, int share)
        : run_(run), job_(job), weight_(weight), sums_(sums), share_(share), x_(run.capacity()), dx_(run.capacity()), dscores_(run.capacity()),
          dz_(run.capacity() * run.width), more_(run.capacity() * run.pool.features), more_rows_(run.capacity()), x_groups_(room(run.pool.features)),
          dz_groups_(room(run.width)), nothing_(zeros<Real<P>>(run.pool.features)) {
        for (Index slot = 0; slot < run.capacity(); ++slot) more_rows_[slot] = &more_[slot * run.pool.features];
    }

    void run(Range rows) noexcept {
        const Index slots = run_.gather(rows, x_.data());
        Index slot = 0;
        for (Index b = rows.first; b < rows.last; slot += run_.length(b++)) differentiate_scores(b, slot);
        weight_.multiply(dz_.data(), slots, more_rows_.data());
        slot = 0;
        for (Index b = rows.first; b < rows.last; slot += run_.length(b++)) finish(b, slot);
        add_weights(slots);
    }

private:
    static Index padded(Index rows) noexcept { return round_up(rows, depth<P>); }
    Index room(Index columns) const noexcept { return depth<P> == 1 ? 0 : padded(run_.capacity()) * columns; }
    const Real<P>* grad(Index b) const noexcept { return job_.grad_pooled ? job_.grad_pooled + b * run_.pool.features : nothing_.data(); }

    void differentiate_scores(Index b, Index slot) noexcept {
        const Index T = run_.pool.steps, width = hidden_width(run_.pool.units), length = run_.length(b);
        const Real<P>* const shares = job_.shares + b * T;
        Real<P>* const d = &dscores_[slot];
        for (Index t = 0; t < length; ++t) d[t] = job_.grad_shares ? job_.grad_shares[b * T + t] : Real<P>{};
        run_.pools.mix_backward({length, run_.pool.features, &x_[slot]}, grad(b), d);
        Real<P> mean = 0;
        for (Index t = 0; t < length; ++t) mean += shares[t] * d[t];
        for (Index t = 0; t < length; ++t) d[t] = shares[t] * (d[t] - mean);
        run_.pools.score_backward({length, width, run_.vectors, run_.v.data()},
                                  {job_.hidden + b * T * width, d, &dz_[slot * run_.width], sums_.v(share_), sums_.bias(share_)});
    }

    void finish(Index b, Index slot) noexcept {
        const Index length = run_.length(b), features = run_.pool.features;
        for (Index t = 0; t < length; ++t) dx_[t] = job_.dx.at(t, b);
        run_.pools.finish(more_rows_[slot], job_.shares + b * run_.pool.steps, grad(b), length, features, dx_.data());
        for (Index t = length; t < run_.pool.steps; ++t) std::fill_n(job_.dx.at(t, b), features, Stored<P>{});
    }

    void add_weights(Index slots) noexcept {
        const Index wide = gates * run_.kernels.lanes;
        group_rows(run_.kernels, x_.data(), slots, run_.pool.features, x_groups_.data());
        const Right<P> right = group_right(run_.kernels, Right<P>{dz_.data(), run_.width}, slots, run_.width, dz_groups_.data());
        for (Index first = 0; first < run_.width; first += wide)
            run_.kernels.outer({padded(slots) / depth<P>, 0, run_.pool.features, x_.data(), right.data + first * depth<P>, right.row,
                                std::min(wide, run_.width - first) / run_.kernels.lanes, sums_.weight(share_) + first * run_.pool.features, nullptr});
    }

    const Run<P>& run_;
    const AttentionPoolBackward<P>& job_;
    const TurnedUnits<P>& weight_;
    const Sums<P>& sums_;
    int share_;
    Array<const Stored<P>*> x_;
    Array<Stored<P>*> dx_;
    Array<Real<P>> dscores_;
    Array<Stored<P>> dz_;   // [slots][width]
    Array<Real<P>> more_;   // [slots][F]
    Array<Real<P>*> more_rows_;
    Array<Stored<P>> x_groups_, dz_groups_;
    Array<Real<P>> nothing_;
};

}  // namespace

template <typename P>
void run_attention_pool(const AttentionPoolForward<P>& job, int threads, InstructionSet set) {
    check(job.pool);
    const Run<P> run(job.pool, set);
    const PackedUnits<P> weight(run);
    const int shares = run.shares(threads);
    run_shares(shares, shares, [&](int share) {
        ForwardPart<P> part(run, job, weight);
        run.for_each_block(share, shares, [&](Range rows) { part.run(rows); });
    });
}

template <typename P>
void run_attention_pool(const AttentionPoolBackward<P>& job, int threads, InstructionSet set) {
    check(job.pool);
    const Run<P> run(job.pool, set);
    const TurnedUnits<P> weight(run);
    const int shares = run.shares(threads);
    const Sums<P> sums(run, shares);
    run_shares(shares, shares, [&](int share) {
        BackwardPart<P> part(run, job, weight, sums, share);
        run.for_each_block(share, shares, [&](Range rows) { part.run(rows); });
    });
    sums.join(job);
}

#define LSTMKIT_PRECISION(P)                                                                 \
    template void run_attention_pool(const AttentionPoolForward<P>&, int, InstructionSet);  \
    template void run_attention_pool(const AttentionPoolBackward<P>&, int, InstructionSet);
LSTMKIT_PRECISION(Float32)
LSTMKIT_PRECISION(Float64)
LSTMKIT_PRECISION(BFloat16)
#undef LSTMKIT_PRECISION

}  // namespace lstmkit
