#include "lstmkit/loss.h"

#include <cmath>
#include <stdexcept>

#include "loss/kernels.h"
#include "sequence/gathered.h"
#include "threads/team.h"

namespace lstmkit {
namespace {

// Blocks whose gradients pass through a product together: long sums are seldom written, and all still fits the second-level cache.
constexpr Index together = 4;
// Rows whose scores, and whose gradients of so many blocks, stay in the caches until they are read.
constexpr Index rows_forward = 96, rows_backward = 512;
// So many multiply-adds are worth another thread.
constexpr double work_of_a_thread = 200'000;

constexpr Index groups_of_blocks(Index classes) noexcept { return (loss_blocks(classes) + together - 1) / together; }

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
        : layer(layer), kernels(kernels_of<P>(set)), pointwise(loss_kernels_of<P>(set)), shares(1) {
        const double work = double(layer.rows) * double(layer.features) * double(layer.classes) / work_of_a_thread;
        shares = static_cast<int>(std::clamp<double>(threads, 1, std::max(1.0, std::min(work, double(groups_of_blocks(layer.classes))))));
    }
    /// Groups of blocks of one share.
    Range groups(int share) const noexcept {
        const Index all = groups_of_blocks(layer.classes);
        return {all * share / shares, all * (share + 1) / shares};
    }
    /// Features in whole groups of what a transposition moves.
    Index padded() const noexcept { return round_up(layer.features, kernels.lanes * depth<P>); }
};

/// Rows of weights in the precision of the products, with zeros behind them.
template <typename P>
class RoundedWeights {
public:
    RoundedWeights(const Run<P>& run, Index rows) : run_(run), rows_(rows), data_(zeros<Stored<P>>(rows * run.padded())) {}
    /// Takes the weights of the classes from `first` on.
    Index take(Index first) const noexcept {
        const Index count = std::min(rows_, run_.layer.classes - first), features = run_.layer.features;
        for (Index r = 0; r < count; ++r) run_.kernels.round(run_.layer.weight + (first + r) * features, at(r), features);
        for (Index r = count; r < rows_; ++r) std::fill_n(at(r), features, Stored<P>{});
        return count;
    }
    Stored<P>* at(Index row) const noexcept { return data_.data() + row * run_.padded(); }

private:
    const Run<P>& run_;
    Index rows_;
    Array<Stored<P>> data_;
};

/// Some classes forward, on one thread.
template <typename P>
class ForwardPart {
public:
    ForwardPart(const Run<P>& run, const LossForward<P>& job, Real<P>* sums, Real<P>* own)
        : run_(run), job_(job), sums_(sums), own_(own), weights_(run, loss_block), pack_(loss_block * run.padded()), bias_(loss_block),
          scores_(rows_forward * loss_block), x_(rows_forward) {}

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
        const Index L = run_.kernels.lanes, D = depth<P>, padded = run_.padded(), count = weights_.take(block * loss_block);
        std::fill_n(bias_.data(), loss_block, std::numeric_limits<Real<P>>::lowest());
        std::copy_n(run_.layer.bias + block * loss_block, count, bias_.data());
        for (Index first = 0; first < loss_block; first += L) {
            Stored<P>* const to = pack_.data() + first / width() * width() * padded + first % width() * D;
            for (Index k = 0; k < padded; k += L * D)
                run_.kernels.transpose(as_real(weights_.at(first) + k), padded / D, as_real(to + k * width()), width());
        }
    }

    void multiply(Range rows) noexcept {
        for (Index r = rows.first; r < rows.last; ++r) x_[r - rows.first] = run_.layer.x + r * run_.layer.features;
        for (Index first = 0; first < loss_block; first += width())
            run_.kernels.sum({rows.size(), x_.data(), 0, run_.layer.features, pack_.data() + first * run_.padded(), width() / run_.kernels.lanes,
                              0, bias_.data() + first, scores_.data() + first, loss_block});
    }

    void note_targets(Index first_class, Range rows) noexcept {
        for (Index r = rows.first; r < rows.last; ++r) {
            const Index k = run_.layer.targets[r] - first_class;
            if (k >= 0 && k < loss_block) own_[r] = scores_[(r - rows.first) * loss_block + k];
        }
    }

    /// Classes of a tile.
    Index width() const noexcept { return std::min(loss_block, gates * run_.kernels.lanes); }
    /// D numbers side by side, moved as one Real without a look at them.
    static Real<P>* as_real(Stored<P>* numbers) noexcept { return reinterpret_cast<Real<P>*>(numbers); }

    const Run<P>& run_;
    const LossForward<P>& job_;
    Real<P>*sums_, *own_;
    RoundedWeights<P> weights_;
    Array<Stored<P>> pack_;  // by tiles: [F / D][width][D]
    Array<Real<P>> bias_, scores_;
    Array<const Stored<P>*> x_;
};

/// Some classes on their way back, on one thread.
template <typename P>
class BackwardPart {
public:
    /// The gradient of x that these classes give is added up in `dx`; `pairs` is x as the outer product takes it.
    BackwardPart(const Run<P>& run, const LossBackward<P>& job, const Stored<P>* pairs, Real<P>* dx)
        : run_(run), job_(job), pairs_(pairs), capacity_(std::min(run.layer.rows, rows_backward)), weights_(run, together * loss_block),
          pack_(together * loss_block * run.padded()), grads_(together * grads_block()), room_(round_up(capacity_, depth<P>) * loss_block),
          dweight_(together * loss_block * run.padded()), dbias_(together * loss_block), rows_(capacity_), dx_(run.layer.rows) {
        for (Index r = 0; r < run.layer.rows; ++r) dx_[r] = dx + r * run.layer.features;
    }

    void run(Range groups) noexcept {
        for (Index group = groups.first; group < groups.last; ++group) {
            const Index first_class = group * together * loss_block, count = weights_.take(first_class);
            const Range blocks{group * together, group * together + loss_blocks(count)};
            const PackedMatrix<P> matrix = pack(count, blocks.size());
            std::fill_n(dweight_.data(), blocks.size() * loss_block * run_.padded(), Real<P>{});
            std::fill_n(dbias_.data(), blocks.size() * loss_block, Real<P>{});
            for (Index first = 0; first < run_.layer.rows; first += rows_backward) {
                const Range rows{first, std::min(run_.layer.rows, first + rows_backward)};
                differentiate(blocks, rows);
                matrix.multiply(run_.kernels, grads_.data(), loss_block, grads_block(), rows.size(), pack_.data(), dx_.data() + first, 0,
                                matrix.groups(), nullptr, false, group > groups.first);
                for (Index n = 0; n < blocks.size(); ++n) add_outer(n, rows);
            }
            write(first_class, count);
        }
    }

private:
    // Blocks that lie a multiple of 4 KiB apart would fight for the same few lines of the caches.
    Index grads_block() const noexcept { return (capacity_ + spare_rows) * loss_block; }

    PackedMatrix<P> pack(Index classes, Index blocks) const noexcept {
        const Index L = run_.kernels.lanes;
        const PackedMatrix<P> matrix({weights_.at(0), run_.layer.features, run_.padded(), 1, classes, 0, loss_block / L}, blocks, L, gates);
        for (Index block = 0; block < blocks; ++block) matrix.fill(run_.kernels, block, pack_.data());
        return matrix;
    }

    /// The gradients of the scores of these rows.
    void differentiate(Range blocks, Range rows) noexcept {
        const Index N = run_.layer.rows;
        for (Index block = blocks.first; block < blocks.last; ++block) {
            const Index n = block - blocks.first, at = block * N + rows.first;
            Stored<P>* const grads = &grads_[n * grads_block()];
            Real<P>* const totals = &dbias_[n * loss_block];
            run_.pointwise.gradient({rows.size(), job_.kept.shares + at * loss_block, job_.kept.factors + at, job_.upstream + rows.first, grads,
                                      totals});
            for (Index r = 0; r < rows.size(); ++r) {
                const Index k = run_.layer.targets[rows.first + r] - block * loss_block;
                if (k < 0 || k >= loss_block) continue;
                const Real<P> upstream = job_.upstream[rows.first + r];
                const Real<P> share = Real<P>(job_.kept.shares[(at + r) * loss_block + k]) * job_.kept.factors[at + r];
                grads[r * loss_block + k] = Stored<P>((share - 1) * upstream);
                totals[k] -= upstream;
            }
        }
    }

    /// Adds what the rows give to the gradient of one block's weights.
    void add_outer(Index n, Range rows) noexcept {
        const Index L = run_.kernels.lanes, padded = run_.padded();
        for (Index r = 0; r < rows.size(); ++r) rows_[r] = &grads_[n * grads_block() + r * loss_block];
        group_rows(run_.kernels, rows_.data(), rows.size(), loss_block, room_.data());
        for (Index first = 0; first < run_.layer.features; first += gates * L) {
            const Index vectors = std::min(gates, (run_.layer.features - first + L - 1) / L);
            run_.kernels.outer({round_up(rows.size(), depth<P>) / depth<P>, 0, loss_block, rows_.data(),
                                pairs_ + rows.first * padded + first * depth<P>, padded * depth<P>, vectors,
                                &dweight_[(n * padded + first) * loss_block], nullptr});
        }
    }

    void write(Index first_class, Index count) const noexcept {
        const Index L = run_.kernels.lanes, features = run_.layer.features, padded = run_.padded();
        std::copy_n(dbias_.data(), count, job_.dbias + first_class);
        for (Index k = 0; k < count; ++k)
            for (Index first = 0; first < features; first += gates * L) {
                const Index width = std::min(gates * L, round_up(features - first, L));
                const Real<P>* const from = &dweight_[(k / loss_block * padded + first) * loss_block + k % loss_block * width];
                std::copy_n(from, std::min(width, features - first), job_.dweight + (first_class + k) * features + first);
            }
    }

    const Run<P>& run_;
    const LossBackward<P>& job_;
    const Stored<P>* pairs_;
    Index capacity_;
    RoundedWeights<P> weights_;
    Array<Stored<P>> pack_, grads_, room_;  // grads [blocks][rows][64], room for one block of them in groups of D
    Array<Real<P>> dweight_, dbias_;        // [blocks][tiles of features][64][width], [blocks][64]
    Array<const Stored<P>*> rows_;
    Array<Real<P>*> dx_;
};

/// x in groups of D rows with their numbers in turn, and zeros behind its features.
template <typename P>
Array<Stored<P>> pair_rows(const Run<P>& run) {
    const Index N = run.layer.rows, F = run.layer.features, padded = run.padded();
    Array<Stored<P>> pairs = zeros<Stored<P>>(round_up(N, depth<P>) * padded);
    for (Index r = 0; r < N; r += depth<P>) {
        const Stored<P>* const row = run.layer.x + r * F;
        if constexpr (depth<P> == 2) run.kernels.interleave(row, r + 1 < N ? row + F : nullptr, &pairs[r * padded], F);
        else std::copy_n(row, F, &pairs[r * padded]);
    }
    return pairs;
}

}  // namespace

template <typename P>
void run_loss(const LossForward<P>& job, int threads, InstructionSet set) {
    const Run<P> run(job.layer, threads, set);
    check(job.layer);
    const Index N = job.layer.rows, blocks = loss_blocks(job.layer.classes);
    Array<Real<P>> sums(blocks * N), own(N), top(N), total(N);
    run_shares(run.shares, run.shares, [&](int share) {
        const FlushDenormals flush;
        const Range groups = run.groups(share);
        ForwardPart<P>(run, job, sums.data(), own.data()).run({groups.first * together, std::min(blocks, groups.last * together)});
    });
    run.pointwise.join({N, blocks, N, job.kept.factors, sums.data(), top.data(), total.data()});
    for (Index r = 0; r < N; ++r) job.losses[r] = top[r] - own[r] + std::log(total[r]);
}

template <typename P>
void run_loss(const LossBackward<P>& job, int threads, InstructionSet set) {
    const Run<P> run(job.layer, threads, set);
    check(job.layer);
    const Index numbers = job.layer.rows * job.layer.features;
    const Array<Stored<P>> pairs = pair_rows(run);
    Array<Real<P>> more((run.shares - 1) * numbers);
    run_shares(run.shares, run.shares, [&](int share) {
        const FlushDenormals flush;
        BackwardPart<P>(run, job, pairs.data(), share ? &more[(share - 1) * numbers] : job.dx).run(run.groups(share));
    });
    // In their order, so that the result does not depend on which finished first.
    for (int share = 1; share < run.shares; ++share)
        for (Index k = 0; k < numbers; ++k) job.dx[k] += more[(share - 1) * numbers + k];
}

#define LSTMKIT_LOSS(P)                                                     \
    template void run_loss(const LossForward<P>&, int, InstructionSet); \
    template void run_loss(const LossBackward<P>&, int, InstructionSet);
LSTMKIT_LOSS(Float32)
LSTMKIT_LOSS(Float64)
LSTMKIT_LOSS(BFloat16)
#undef LSTMKIT_LOSS

}  // namespace lstmkit
