#include "lstmkit/scan.h"

#include <stdexcept>

#include "gemm/pack.h"
#include "lstmkit/memory.h"
#include "scan/kernels.h"
#include "sequence/walk.h"
#include "threads/team.h"

namespace lstmkit {
namespace {

// So many steps of rows pass through the product at once: enough that its weights are seldom read, few enough that what
// the scan reads of it is still in the second-level cache.
constexpr Index block_slots = 128;

// Multiply-adds that are worth another thread.
constexpr double work_of_a_thread = 200'000;

template <typename P>
int share_count(const ScanCase<P>& layer, int threads) noexcept {
    const double work = double(layer.steps) * double(layer.batch) * double(layer.inputs + 16) * double(scan_gates(layer.cell) * layer.units);
    const Index most = std::min<Index>(layer.batch, static_cast<Index>(1 + work / work_of_a_thread));
    return static_cast<int>(std::clamp<Index>(threads, 1, std::max<Index>(1, most)));
}

void expect(bool condition, const char* what) {
    if (!condition) throw std::invalid_argument(what);
}

template <typename P>
void check_case(const ScanCase<P>& layer) {
    constexpr Index largest = Index{1} << 30;
    expect(layer.steps >= 1 && layer.batch >= 0 && layer.inputs >= 0 && layer.units >= 1 && layer.outputs == layer.units && !layer.projected,
           "expected at least one step and unit, no negative size, and as many outputs as units");
    expect(std::max({layer.steps, layer.batch, layer.inputs, layer.units}) <= largest, "expected sizes up to 2^30");
    expect(layer.weight && (layer.x || layer.batch == 0), "the input or the weight is null");
    for (Index b = 0; layer.lengths && b < layer.batch; ++b)
        expect(layer.lengths[b] >= 0 && layer.lengths[b] <= layer.steps, "expected lengths in 0..T");
}

/// What all threads read.
template <typename P>
struct Run {
    const ScanCase<P>& layer;
    const Kernels<P>& kernels;
    const ScanKernels<P>& scans;
    Index width, lanes4;  // of all gates; of a block of columns
    Array<Real<P>> bias, nothing;

    Run(const ScanCase<P>& layer, InstructionSet set)
        : layer(layer), kernels(kernels_of<P>(set)), scans(scan_kernels_of<P>(set)), width(scan_gates(layer.cell) * layer.units),
          lanes4(gates * kernels.lanes), bias(zeros<Real<P>>(width)), nothing(zeros<Real<P>>(layer.units)) {
        if (layer.bias) std::copy_n(layer.bias, width, bias.data());
    }
    Index blocks(Index columns) const noexcept { return (columns + lanes4 - 1) / lanes4; }
    Index wide(Index columns) const noexcept { return blocks(columns) * lanes4; }
    int cell() const noexcept { return static_cast<int>(layer.cell); }
    const Real<P>* before(const Walk& walk, Index t, Index r, const Sequence<const Real<P>>& y) const noexcept {
        return walk.before(t, r, y, layer.h, nothing.data());
    }
};

/// Calls run(Walk) for blocks of rows of one share.
template <typename P, typename Block>
void for_each_walk(const Run<P>& run, const Index* order, int share, int shares, Block block) {
    const Range rows = cut_share(run.layer, order, share, shares, run.kernels.tile_rows);
    for_each_block(rows, block_slots, run.kernels.tile_rows, [&](Range part) { block(Walk(run.layer, order, part)); });
}

Index steps_of_block(const Walk& walk) noexcept { return std::max<Index>(1, block_slots / walk.rows()); }

/// Rows on their way forward, on one thread.
template <typename P>
class ForwardPart {
public:
    ForwardPart(const Run<P>& run, const ScanForward<P>& job, const PackedMatrix<P>& weight, const Real<P>* pack)
        : run_(run), job_(job), weight_(weight), pack_(pack), wide_(run.wide(run.layer.inputs)), x_(zeros<Real<P>>(block_slots * wide_)),
          z_(job.z ? 0 : block_slots * run.width), rows_(block_slots) {}

    void run(const Walk& walk) noexcept {
        for (Index n = 0; n < walk.steps(); n += steps_of_block(walk)) {
            const Index last = std::min(walk.steps(), n + steps_of_block(walk));
            multiply(walk, {n, last});
            scan(walk, {n, last});
        }
        end(walk);
    }

private:
    void multiply(const Walk& walk, Range steps) noexcept {
        Index slot = 0;
        for (Index n = steps.first; n < steps.last; ++n) {
            const Index t = walk.time(n), active = walk.active(t);
            for (Index r = 0; r < active; ++r, ++slot) {
                std::copy_n(run_.layer.x.at(t, walk.row(r)), run_.layer.inputs, &x_[slot * wide_]);
                rows_[slot] = job_.z ? job_.z.at(t, walk.row(r)) : &z_[slot * run_.width];
            }
        }
        if (run_.layer.inputs == 0)
            for (Index s = 0; s < slot; ++s) std::fill_n(rows_[s], run_.width, Real<P>{});
        weight_.multiply(run_.kernels, x_.data(), wide_, run_.lanes4, slot, pack_, rows_.data());
    }

    void scan(const Walk& walk, Range steps) noexcept {
        const Sequence<const Real<P>> y{job_.y.data, job_.y.step, job_.y.row};
        Index slot = 0;
        for (Index n = steps.first; n < steps.last; ++n) {
            const Index t = walk.time(n), active = walk.active(t);
            for (Index r = 0; r < active; ++r, ++slot)
                run_.scans.forward[run_.cell()]({run_.layer.units, rows_[slot], run_.bias.data(), run_.before(walk, t, r, y),
                                                 job_.y.at(t, walk.row(r))});
        }
    }

    void end(const Walk& walk) const noexcept {
        for (Index r = 0; r < walk.rows() && job_.h; ++r) {
            const Index b = walk.row(r);
            const Real<P>* untouched = run_.layer.h ? run_.layer.h.at(b) : run_.nothing.data();
            std::copy_n(walk.length(r) ? job_.y.at(walk.last_time(r), b) : untouched, run_.layer.units, job_.h.at(b));
        }
        zero_padding(run_.layer, walk, job_.y, {0, run_.layer.units});
    }

    const Run<P>& run_;
    const ScanForward<P>& job_;
    const PackedMatrix<P>& weight_;
    const Real<P>* pack_;
    Index wide_;
    Array<Real<P>> x_, z_;  // [slots][wide(I)], [slots][GH]
    Array<Real<P>*> rows_;
};

/// Gradients of the weights as the outer product adds them up: [blocks][I][4L] and [blocks][4L].
template <typename P>
struct Sums {
    Real<P>*weight, *bias;
};

/// Rows on their way back, on one thread.
template <typename P>
class BackwardPart {
public:
    BackwardPart(const Run<P>& run, const ScanBackward<P>& job, const PackedMatrix<P>& weight, const Real<P>* pack, Sums<P> sums)
        : run_(run), job_(job), weight_(weight), pack_(pack), sums_(sums), wide_(run.wide(run.width)), dz_(zeros<Real<P>>(block_slots * wide_)),
          dh_(block_slots * run.layer.units), x_(block_slots), ones_(block_slots), dx_(block_slots) {
        std::fill_n(ones_.data(), block_slots, &one_);
    }

    void run(const Walk& walk) noexcept {
        const Index H = run_.layer.units;
        for (Index r = 0; r < walk.rows(); ++r) {
            if (job_.grad_h) std::copy_n(job_.grad_h.at(walk.row(r)), H, &dh_[r * H]);
            else std::fill_n(&dh_[r * H], H, Real<P>{});
        }
        for (Index last = walk.steps(); last > 0; last -= std::min(last, steps_of_block(walk)))
            spend(scan(walk, {std::max<Index>(0, last - steps_of_block(walk)), last}));
        for (Index r = 0; r < walk.rows() && job_.dh; ++r) std::copy_n(&dh_[r * H], H, job_.dh.at(walk.row(r)));
        zero_padding(run_.layer, walk, job_.dx, {0, run_.layer.inputs});
    }

private:
    /// Returns how many slots it filled.
    Index scan(const Walk& walk, Range steps) noexcept {
        const Index H = run_.layer.units;
        Index slot = 0;
        for (Index n = steps.last; n-- > steps.first;) {
            const Index t = walk.time(n), active = walk.active(t);
            for (Index r = 0; r < active; ++r, ++slot) {
                const Index b = walk.row(r);
                Real<P>* const dh = &dh_[r * H];
                run_.scans.backward[run_.cell()]({H, job_.z.at(t, b), run_.bias.data(), run_.before(walk, t, r, job_.y),
                                                  job_.grad_y ? job_.grad_y.at(t, b) : nullptr, dh, &dz_[slot * wide_]});
                if (walk.is_reset(t, r)) std::fill_n(dh, H, Real<P>{});
                x_[slot] = run_.layer.x.at(t, b);
                if (job_.dx) dx_[slot] = job_.dx.at(t, b);
            }
        }
        return slot;
    }

    void spend(Index slots) noexcept {
        if (job_.dx) weight_.multiply(run_.kernels, dz_.data(), wide_, run_.lanes4, slots, pack_, dx_.data());
        for (Index block = 0; block < run_.blocks(run_.width) && job_.dweight; ++block) {
            const Real<P>* const dz = &dz_[block * run_.lanes4];
            run_.kernels.outer({slots, run_.layer.inputs, x_.data(), dz, wide_, sums_.weight + block * run_.layer.inputs * run_.lanes4, nullptr});
            run_.kernels.outer({slots, 1, ones_.data(), dz, wide_, sums_.bias + block * run_.lanes4, nullptr});
        }
    }

    const Run<P>& run_;
    const ScanBackward<P>& job_;
    const PackedMatrix<P>& weight_;
    const Real<P>* pack_;
    Sums<P> sums_;
    Index wide_;
    Array<Real<P>> dz_, dh_;  // [slots][wide(GH)], [rows][H]
    Array<const Real<P>*> x_, ones_;
    Array<Real<P>*> dx_;
    Real<P> one_ = 1;
};

/// The shares' sums in their order, so that the result does not depend on which finished first.
template <typename P>
void join(const Run<P>& run, const ScanBackward<P>& job, const Real<P>* sums, Index numbers, int shares) noexcept {
    const Index I = run.layer.inputs;
    for (Index row = 0; row < run.width; ++row) {
        const Index block = row / run.lanes4, lane = row % run.lanes4;
        for (Index k = 0; k <= I; ++k) {  // the last one is the bias
            const Real<P>* at = sums + (k < I ? (block * I + k) * run.lanes4 : run.wide(run.width) * I + block * run.lanes4) + lane;
            Real<P> total = 0;
            for (int share = 0; share < shares; ++share) total += at[share * numbers];
            (k < I ? job.dweight[row * I + k] : job.dbias[row]) = total;
        }
    }
}

template <typename P>
Array<Real<P>> pack(const Run<P>& run, const PackedMatrix<P>& weight) {
    Array<Real<P>> packed(weight.numbers());
    for (Index block = 0; block < weight.blocks(); ++block) weight.fill(run.kernels, block, packed.data());
    return packed;
}

}  // namespace

template <typename P>
void run_scan(const ScanForward<P>& job, int threads, InstructionSet set) {
    check_case(job.layer);
    expect(job.y || job.layer.batch == 0, "the output is null");
    const Run<P> run(job.layer, set);
    const Index I = job.layer.inputs;
    // The product needs the weight the other way round.
    const PackedMatrix<P> weight({job.layer.weight, run.width, 1, I, I, 0}, run.blocks(I), run.kernels.lanes, gates);
    const Array<Real<P>> packed = pack(run, weight);
    const Array<Index> order(job.layer.batch);
    order_rows(job.layer, order.data());
    const int shares = share_count(job.layer, threads);
    run_shares(shares, shares, [&](int share) {
        ForwardPart<P> part(run, job, weight, packed.data());
        for_each_walk(run, order.data(), share, shares, [&](const Walk& walk) { part.run(walk); });
    });
}

template <typename P>
void run_scan(const ScanBackward<P>& job, int threads, InstructionSet set) {
    check_case(job.layer);
    expect((job.y && job.z) || job.layer.batch == 0, "what forward wrote is null");
    expect(!job.dweight == !job.dbias, "expected the gradients of weight and bias or of neither");
    const Run<P> run(job.layer, set);
    const Index I = job.layer.inputs, wide = run.wide(run.width);
    const PackedMatrix<P> weight({job.layer.weight, I, I, 1, run.width, 0}, run.blocks(run.width), run.kernels.lanes, gates);
    const Array<Real<P>> packed = pack(run, weight);
    const Array<Index> order(job.layer.batch);
    order_rows(job.layer, order.data());
    const int shares = share_count(job.layer, threads);
    const Index numbers = job.dweight ? wide * (I + 1) : 0;
    const Array<Real<P>> sums = zeros<Real<P>>(shares * numbers);
    run_shares(shares, shares, [&](int share) {
        Real<P>* const own = sums.data() + share * numbers;
        BackwardPart<P> part(run, job, weight, packed.data(), {own, own + wide * I});
        for_each_walk(run, order.data(), share, shares, [&](const Walk& walk) { part.run(walk); });
    });
    if (job.dweight) join(run, job, sums.data(), numbers, shares);
}

template void run_scan(const ScanForward<Float32>&, int, InstructionSet);
template void run_scan(const ScanForward<Float64>&, int, InstructionSet);
template void run_scan(const ScanBackward<Float32>&, int, InstructionSet);
template void run_scan(const ScanBackward<Float64>&, int, InstructionSet);

}  // namespace lstmkit
