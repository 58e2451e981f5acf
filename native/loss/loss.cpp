#include "lstmkit/loss.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <type_traits>

#include "loss/kernels.h"
#include "sequence/gathered.h"
#include "threads/team.h"

namespace lstmkit {
namespace {

// Blocks whose gradients pass through a product together: long sums are seldom written, and all still fits the second-level cache.
constexpr Index together = 2;
// Rows whose scores, and whose gradients of so many blocks, stay in the caches until they are read.
constexpr Index rows_forward = 48, rows_backward = 512;
// So many multiply-adds are worth another thread.
constexpr double work_of_a_thread = 200'000;

/// Whether weights are rounded before they are multiplied.
template <typename P>
constexpr bool rounds = !std::is_same_v<Stored<P>, Real<P>>;

void expect(bool condition, const char* what) {
    if (!condition) throw std::invalid_argument(what);
}

template <typename P>
void check(const LossCase<P>& layer) {
    constexpr Index largest = Index{1} << 30;
    expect(layer.rows >= 0 && layer.features >= 1 && layer.classes >= 1, "expected at least one feature and class, and no negative size");
    expect(layer.rows <= largest && layer.features <= largest && layer.classes <= largest, "expected sizes up to 2^30");
    expect(layer.weight && layer.bias && (layer.rows == 0 || (layer.x && layer.targets)), "the input, the weight, the bias or the targets are null");
    for (Index r = 0; r < layer.rows; ++r) expect(layer.targets[r] >= 0 && layer.targets[r] < layer.classes, "expected targets in 0..C");
}

/// What all threads read.
template <typename P>
struct Run {
    const LossCase<P>& layer;
    const Kernels<P>& kernels;
    const LossKernels<P>& pointwise;
    int shares;

    Run(const LossCase<P>& layer, int threads, InstructionSet set)
        : layer(layer), kernels(table_of<Kernels<P>>(set)), pointwise(table_of<LossKernels<P>>(set)), shares(1) {
        const double work = double(layer.rows) * double(layer.features) * double(layer.classes) / work_of_a_thread;
        shares = static_cast<int>(std::clamp<double>(threads, 1, std::max(1.0, std::min(work, double(loss_blocks(layer.classes))))));
    }
    /// Blocks of one share.
    Range blocks(int share) const noexcept {
        const Index all = loss_blocks(layer.classes);
        return {all * share / shares, all * (share + 1) / shares};
    }
    /// Features in whole groups of D, and in whole vectors.
    Index deep() const noexcept { return round_up(layer.features, depth<P>); }
    Index wide() const noexcept { return round_up(layer.features, kernels.lanes); }
};

/// Some classes forward, on one thread.
template <typename P>
class ForwardPart {
public:
    ForwardPart(const Run<P>& run, const LossForward<P>& job, Real<P>* sums, Real<P>* own)
        : run_(run), job_(job), sums_(sums), own_(own), pack_(loss_block * run.deep()),
          rounded_(rounds<P> && !job.kept.weight ? loss_block * run.layer.features : 0), bias_(loss_block), scores_(rows_forward * loss_block),
          x_(rows_forward) {}

    void run(Range blocks) noexcept {
        const Index N = run_.layer.rows;
        for (Index block = blocks.first; block < blocks.last; ++block) {
            pack(block);
            for (Index first = 0; first < N; first += rows_forward) {
                const Range rows{first, std::min(N, first + rows_forward)};
                multiply(rows);
                const Index at = block * N + first;
                Stored<P>* const shares = job_.kept.shares ? job_.kept.shares + at * loss_block : nullptr;
                run_.pointwise.share({rows.size(), scores_.data(), shares, job_.kept.factors + at, sums_ + at});
                note_targets(block * loss_block, rows);
            }
        }
    }

private:
    /// Scores of classes that are none are as low as can be.
    void pack(Index block) noexcept {
        const Index L = run_.kernels.lanes, F = run_.layer.features, first_class = block * loss_block;
        const Index count = std::min(loss_block, run_.layer.classes - first_class);
        std::fill_n(bias_.data(), loss_block, std::numeric_limits<Real<P>>::lowest());
        std::copy_n(run_.layer.bias + first_class, count, bias_.data());
        const Stored<P>* const weight = round(first_class, count);
        for (Index first = 0; first < loss_block; first += L)
            pack_rows(run_.kernels, weight + first * F, F, std::clamp<Index>(count - first, 0, L),
                      pack_.data() + first / width() * width() * run_.deep() + first % width() * depth<P>, width());
    }

    /// The weights of some classes as they are multiplied.
    const Stored<P>* round(Index first, Index count) noexcept {
        const Index F = run_.layer.features;
        const Real<P>* const from = run_.layer.weight + first * F;
        if constexpr (!rounds<P>) return from;
        else {
            Stored<P>* const to = job_.kept.weight ? job_.kept.weight + first * F : rounded_.data();
            run_.kernels.round(from, to, count * F);
            return to;
        }
    }

    void multiply(Range rows) noexcept {
        for (Index r = rows.first; r < rows.last; ++r) x_[r - rows.first] = run_.layer.x + r * run_.layer.features;
        for (Index first = 0; first < loss_block; first += width())
            run_.kernels.sum({rows.size(), x_.data(), 0, run_.layer.features, pack_.data() + first * run_.deep(), width() / run_.kernels.lanes, 0,
                              bias_.data() + first, scores_.data() + first, loss_block});
    }

    void note_targets(Index first_class, Range rows) noexcept {
        for (Index r = rows.first; r < rows.last; ++r) {
            const Index k = run_.layer.targets[r] - first_class;
            if (k >= 0 && k < loss_block) own_[r] = scores_[(r - rows.first) * loss_block + k];
        }
    }

    /// Classes of a tile.
    Index width() const noexcept { return std::min(loss_block, gates * run_.kernels.lanes); }

    const Run<P>& run_;
    const LossForward<P>& job_;
    Real<P>*sums_, *own_;
    Array<Stored<P>> pack_, rounded_;  // by tiles: [F / D][width][D], and one block of weights
    Array<Real<P>> bias_, scores_;
    Array<const Stored<P>*> x_;
};

/// x as the right side of a product that sums over its rows, some of them at a time.
template <typename P>
class RowsToSum {
public:
    explicit RowsToSum(const Run<P>& run)
        : run_(run), pack_((run.layer.rows + rows_backward - 1) / rows_backward * matrix({0, rows_backward}).numbers()) {
        for (Index first = 0; first < run.layer.rows; first += rows_backward) {
            const PackedMatrix<P> some = matrix({first, std::min(run.layer.rows, first + rows_backward)});
            for (Index block = 0; block < some.blocks(); ++block) some.fill(run.kernels, block, pack(first));
        }
    }
    /// Rows in whole blocks.
    Index padded(Index rows) const noexcept { return round_up(rows, block_rows()); }
    /// out[r] (+)= the sum over these rows of in[r] * x.
    void multiply(Range rows, const Stored<P>* in, Index in_row, Index count, Real<P>* const* out) const noexcept {
        const PackedMatrix<P> some = matrix(rows);
        some.multiply(run_.kernels, in, in_row, block_rows(), count, pack(rows.first), out, 0, some.groups(), nullptr, false, rows.first > 0);
    }

private:
    // So few that little of a block is padding.
    static constexpr Index vectors = 2;

    Index block_rows() const noexcept { return vectors * run_.kernels.lanes; }
    PackedMatrix<P> matrix(Range rows) const noexcept {
        const Index features = run_.layer.features;
        return {{run_.layer.x + rows.first * features, features, features, 1, rows.size(), 0, vectors}, padded(rows.size()) / block_rows(),
                run_.kernels.lanes, gates};
    }
    Stored<P>* pack(Index first) const noexcept { return pack_.data() + first / rows_backward * matrix({0, rows_backward}).numbers(); }

    const Run<P>& run_;
    Array<Stored<P>> pack_;
};

/// Some classes on their way back, on one thread.
template <typename P>
class BackwardPart {
public:
    /// The gradient of x that these classes give is added up in `dx`.
    BackwardPart(const Run<P>& run, const LossBackward<P>& job, const RowsToSum<P>& x, Real<P>* dx)
        : run_(run), job_(job), x_(x), capacity_(x.padded(std::min(run.layer.rows, rows_backward))),
          pack_(classes * run.wide()), grads_(together * grads_block()), pairs_(capacity_ * loss_block), turned_(classes * capacity_),
          dbias_(classes), dx_(run.layer.rows), dweight_(classes) {
        for (Index r = 0; r < run.layer.rows; ++r) dx_[r] = dx + r * run.layer.features;
    }

    void run(Range all) noexcept {
        for (Index block = all.first; block < all.last; block += together) {
            const Range blocks{block, std::min(all.last, block + together)};
            const Index first_class = block * loss_block, count = std::min(blocks.size() * loss_block, run_.layer.classes - first_class);
            const PackedMatrix<P> matrix = pack(first_class, count, blocks.size());
            std::fill_n(dbias_.data(), classes, Real<P>{});
            for (Index k = 0; k < count; ++k) dweight_[k] = job_.dweight + (first_class + k) * run_.layer.features;
            for (Index first = 0; first < run_.layer.rows; first += rows_backward) {
                const Range rows{first, std::min(run_.layer.rows, first + rows_backward)};
                for (Index n = 0; n < blocks.size(); ++n) {
                    differentiate(blocks.first + n, rows, &grads_[n * grads_block()], &dbias_[n * loss_block]);
                    turn(x_.padded(rows.size()), &grads_[n * grads_block()], &turned_[n * loss_block * capacity_]);
                }
                matrix.multiply(run_.kernels, grads_.data(), loss_block, grads_block(), rows.size(), pack_.data(), dx_.data() + first, 0,
                                matrix.groups(), nullptr, false, block > all.first);
                x_.multiply(rows, turned_.data(), capacity_, count, dweight_.data());
            }
            std::copy_n(dbias_.data(), count, job_.dbias + first_class);
        }
    }

private:
    static constexpr Index classes = together * loss_block;

    // Blocks that lie a multiple of 4 KiB apart would fight for the same few lines of the caches.
    Index grads_block() const noexcept { return (capacity_ + spare_rows) * loss_block; }

    PackedMatrix<P> pack(Index first_class, Index count, Index blocks) const noexcept {
        const Index L = run_.kernels.lanes, F = run_.layer.features;
        const Stored<P>* weight = job_.kept.weight;
        if constexpr (!rounds<P>) weight = run_.layer.weight;
        const PackedMatrix<P> matrix({weight + first_class * F, F, F, 1, count, 0, loss_block / L}, blocks, L, gates);
        for (Index block = 0; block < blocks; ++block) matrix.fill(run_.kernels, block, pack_.data());
        return matrix;
    }

    /// The gradients of some rows' scores in one block.
    void differentiate(Index block, Range rows, Stored<P>* grads, Real<P>* totals) const noexcept {
        const Index at = block * run_.layer.rows + rows.first;
        const Real<P>* const upstream = job_.upstream + rows.first;
        run_.pointwise.gradient({rows.size(), job_.kept.shares + at * loss_block, job_.kept.factors + at, upstream, grads, totals});
        for (Index r = 0; r < rows.size(); ++r) {
            const Index k = run_.layer.targets[rows.first + r] - block * loss_block;
            if (k < 0 || k >= loss_block) continue;
            const Real<P> share = Real<P>(job_.kept.shares[(at + r) * loss_block + k]) * job_.kept.factors[at + r];
            grads[r * loss_block + k] = Stored<P>((share - 1) * upstream[r]);
            totals[k] -= upstream[r];
        }
        std::fill_n(grads + rows.size() * loss_block, (x_.padded(rows.size()) - rows.size()) * loss_block, Stored<P>{});
    }

    /// [rows][loss_block] to [loss_block][capacity].
    void turn(Index rows, Stored<P>* grads, Stored<P>* to) const noexcept {
        constexpr Index D = depth<P>;
        const Index L = run_.kernels.lanes;
        for (Index r = 0; D == 2 && r < rows; r += 2) {
            const Stored<P>* const even = grads + r * loss_block;
            run_.kernels.interleave(even, even + loss_block, &pairs_[r * loss_block], loss_block);
        }
        const Real<P>* const from = as_real<P>(D == 2 ? pairs_.data() : grads);
        for (Index k = 0; k < loss_block; k += L)
            for (Index r = 0; r < rows / D; r += L)
                run_.kernels.transpose(from + r * loss_block + k, loss_block, as_real<P>(to + k * capacity_) + r, capacity_ / D);
    }

    const Run<P>& run_;
    const LossBackward<P>& job_;
    const RowsToSum<P>& x_;
    Index capacity_;
    Array<Stored<P>> pack_, grads_, pairs_, turned_;  // grads [blocks][rows][loss_block], one block of them in pairs of rows, and [classes][rows]
    Array<Real<P>> dbias_;
    Array<Real<P>*> dx_, dweight_;
};

}  // namespace

template <typename P>
void run_loss(const LossForward<P>& job, int threads, InstructionSet set) {
    check(job.layer);
    expect(!job.layer.rows || (job.losses && job.kept.factors), "there is no room for the losses or their factors");
    expect(!rounds<P> || !job.kept.shares || job.kept.weight, "there is no room for the rounded weight");
    const Run<P> run(job.layer, threads, set);
    const Index N = job.layer.rows, blocks = loss_blocks(job.layer.classes);
    Array<Real<P>> sums(blocks * N), own(N), top(N), total(N);
    run_shares(run.shares, run.shares, [&](int share) {
        const FlushDenormals flush;
        ForwardPart<P>(run, job, sums.data(), own.data()).run(run.blocks(share));
    });
    run.pointwise.join({N, blocks, N, job.kept.factors, sums.data(), top.data(), total.data()});
    for (Index r = 0; r < N; ++r) job.losses[r] = top[r] - own[r] + std::log(total[r]);
}

template <typename P>
void run_loss(const LossBackward<P>& job, int threads, InstructionSet set) {
    check(job.layer);
    expect(!rounds<P> || job.kept.weight, "the rounded weight is null");
    expect(!job.layer.rows || (job.kept.shares && job.kept.factors && job.upstream && job.dx), "what forward kept, a gradient or its room is null");
    expect(job.dweight && job.dbias, "the room for a gradient is null");
    const Run<P> run(job.layer, threads, set);
    const Index numbers = job.layer.rows * job.layer.features;
    if (!job.layer.rows) {
        std::fill_n(job.dweight, job.layer.classes * job.layer.features, Real<P>{});
        std::fill_n(job.dbias, job.layer.classes, Real<P>{});
        return;
    }
    const RowsToSum<P> x(run);
    Array<Real<P>> more((run.shares - 1) * numbers);
    run_shares(run.shares, run.shares, [&](int share) {
        const FlushDenormals flush;
        BackwardPart<P>(run, job, x, share ? &more[(share - 1) * numbers] : job.dx).run(run.blocks(share));
    });
    // In their order, so that the result does not depend on which finished first.
    for (int share = 1; share < run.shares; ++share)
        for (Index k = 0; k < numbers; ++k) job.dx[k] += more[(share - 1) * numbers + k];
}

#define LSTMKIT_LOSS(P)                                                 \
    template void run_loss(const LossForward<P>&, int, InstructionSet); \
    template void run_loss(const LossBackward<P>&, int, InstructionSet);
LSTMKIT_LOSS(Float32)
LSTMKIT_LOSS(Float64)
LSTMKIT_LOSS(BFloat16)
#undef LSTMKIT_LOSS

}  // namespace lstmkit
