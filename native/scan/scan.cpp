#include "lstmkit/scan.h"

#include <optional>

#include "scan/affine.h"
#include "scan/check.h"
#include "sequence/ahead.h"
#include "sequence/walk.h"
#include "threads/team.h"

namespace lstmkit {
namespace {

// So many steps of rows pass through the product at once: enough that its weights are seldom read, few enough that what
// the scan reads of it is still in the second-level cache.
constexpr Index block_slots = 128;

/// What all threads read.
template <typename P>
struct Run {
    const ScanCase<P>& layer;
    const Kernels<P>& kernels;
    const ScanKernels<P>& scans;
    Index width;  // of all gates
    Array<Real<P>> nothing;
    Array<Index> order;

    Run(const ScanCase<P>& layer, InstructionSet set)
        : layer(layer), kernels(table_of<Kernels<P>>(set)), scans(table_of<ScanKernels<P>>(set)), width(scan_gates(layer.cell) * layer.units),
          nothing(zeros<Real<P>>(layer.units)), order(layer.batch) {
        order_rows(layer, order.data());
    }
    AffineWeight<P> weight() const noexcept { return {layer.weight, layer.bias, width, layer.inputs}; }
    /// Whether rows of a large sequence are whole vectors at multiples of their size, which may go past the caches.
    template <typename Number>
    bool streams(const Sequence<Number>& to, Index numbers) const noexcept {
        return fetches() && numbers % kernels.lanes == 0 && is_aligned(to, kernels.lanes * Index{sizeof(Number)});
    }
    bool fetches() const noexcept { return layer.steps * layer.batch * width * Index{sizeof(Real<P>)} > cached_bytes; }
    int cell() const noexcept { return static_cast<int>(layer.cell); }
    const Real<P>* before(const Walk& walk, Index t, Index r, const Sequence<const Real<P>>& y) const noexcept {
        return walk.before(t, r, y, layer.h, nothing.data());
    }
};

/// Calls run(Walk) for blocks of rows of one share.
template <typename P, typename Block>
void for_each_walk(const Run<P>& run, int share, int shares, Block block) {
    const Range rows = cut_share(run.layer, run.order.data(), share, shares, run.kernels.tile_rows);
    for_each_block(rows, block_slots, run.kernels.tile_rows, [&](Range part) { block(Walk(run.layer, run.order.data(), part)); });
}

Index steps_of_block(const Walk& walk) noexcept { return std::max<Index>(1, block_slots / walk.rows()); }

/// Rows on their way forward, on one thread.
template <typename P>
class ForwardPart {
public:
    ForwardPart(const Run<P>& run, const ScanForward<P>& job, const AffineForward<P>& weight)
        : run_(run), job_(job), weight_(weight), streams_(run.streams(job.y, run.layer.units) && (!job.z || run.streams(job.z, run.layer.units))),
          z_(is_direct() ? 0 : block_slots * run.width), h_(block_slots * run.layer.units), x_(block_slots), rows_(block_slots),
          pieces_(block_slots * pieces_of(run.layer.inputs * Index{sizeof(Real<P>)})), ahead_(pieces_.data(), run.fetches()) {}

    void run(const Walk& walk) noexcept {
        begin(walk);
        for (Index n = 0; n < walk.steps(); n += steps_of_block(walk)) {
            const Index last = std::min(walk.steps(), n + steps_of_block(walk));
            multiply(walk, {n, last}, {last, std::min(walk.steps(), last + steps_of_block(walk))});
            scan(walk, {n, last});
        }
        end(walk);
    }

private:
    /// Whether products are written where backward finds them: what goes past the caches is read here first.
    bool is_direct() const noexcept { return job_.z && !streams_; }

    void begin(const Walk& walk) noexcept {
        const Index H = run_.layer.units;
        for (Index r = 0; r < walk.rows(); ++r) std::copy_n(run_.layer.h ? run_.layer.h.at(walk.row(r)) : run_.nothing.data(), H, &h_[r * H]);
    }

    /// While the inputs of the steps `next` are brought.
    void multiply(const Walk& walk, Range steps, Range next) noexcept {
        ahead_.begin();
        for (Index n = next.first; n < next.last; ++n)
            for (Index t = walk.time(n), r = 0, active = walk.active(t); r < active; ++r) ahead_.add(run_.layer.x.at(t, walk.row(r)), run_.layer.inputs);
        Index slot = 0;
        for (Index n = steps.first; n < steps.last; ++n) {
            const Index t = walk.time(n), active = walk.active(t);
            for (Index r = 0; r < active; ++r, ++slot) {
                x_[slot] = run_.layer.x.at(t, walk.row(r));
                rows_[slot] = is_direct() ? job_.z.at(t, walk.row(r)) : &z_[slot * run_.width];
            }
        }
        weight_.multiply(x_.data(), slot, rows_.data(), ahead_.over(weight_.halts(slot)));
    }

    void scan(const Walk& walk, Range steps) noexcept {
        const Index H = run_.layer.units;
        Index slot = 0;
        for (Index n = steps.first; n < steps.last; ++n) {
            const Index t = walk.time(n), active = walk.active(t);
            for (Index r = 0; r < active; ++r, ++slot) {
                const Index b = walk.row(r);
                if (walk.is_reset(t, r)) std::fill_n(&h_[r * H], H, Real<P>{});
                run_.scans.forward[run_.cell()]({H, rows_[slot], &h_[r * H], job_.y.at(t, b), job_.z && streams_ ? job_.z.at(t, b) : nullptr, streams_});
            }
        }
    }

    void end(const Walk& walk) const noexcept {
        const Index H = run_.layer.units;
        if (streams_) run_.scans.finish();
        for (Index r = 0; r < walk.rows() && job_.h; ++r) std::copy_n(&h_[r * H], H, job_.h.at(walk.row(r)));
        zero_padding(run_.layer, walk, job_.y, {0, H});
    }

    const Run<P>& run_;
    const ScanForward<P>& job_;
    const AffineForward<P>& weight_;
    bool streams_;
    Array<Real<P>> z_, h_;  // [slots][GH], [rows][H]
    Array<const Real<P>*> x_;
    Array<Real<P>*> rows_;
    Array<const char*> pieces_;
    Ahead ahead_;
};

/// Rows on their way back, on one thread.
template <typename P>
class BackwardPart {
public:
    BackwardPart(const Run<P>& run, const ScanBackward<P>& job, const AffineForward<P>* again, const AffineBackward<P>& weight,
                 const AffineSums<P>& sums, int share)
        : run_(run), job_(job), again_(again), weight_(weight), sums_(sums), share_(share), wide_(weight.in_row()), streams_(run.streams(job.dx, run.layer.inputs)),
          z_(again ? block_slots * run.width : 0), rows_(block_slots), dz_(zeros<Real<P>>(block_slots * wide_)),
          dh_(block_slots * run.layer.units), x_(block_slots), ones_(block_slots), dx_(block_slots),
          pieces_(block_slots * pieces_of_row(run)), ahead_(pieces_.data(), run.fetches()) {
        std::fill_n(ones_.data(), block_slots, &one_);
    }

    void run(const Walk& walk) noexcept {
        const Index H = run_.layer.units;
        for (Index r = 0; r < walk.rows(); ++r) {
            if (job_.grad_h) std::copy_n(job_.grad_h.at(walk.row(r)), H, &dh_[r * H]);
            else std::fill_n(&dh_[r * H], H, Real<P>{});
        }
        for (Index last = walk.steps(); last > 0; last -= std::min(last, steps_of_block(walk))) {
            const Range steps{std::max<Index>(0, last - steps_of_block(walk)), last};
            const Index slots = aim(walk, steps);
            if (again_) again_->multiply(x_.data(), slots, rows_.data());
            scan(walk, steps);
            spend(slots, list(walk, {std::max<Index>(0, steps.first - steps_of_block(walk)), steps.first}, slots));
        }
        for (Index r = 0; r < walk.rows() && job_.dh; ++r) std::copy_n(&dh_[r * H], H, job_.dh.at(walk.row(r)));
        zero_padding(run_.layer, walk, job_.dx, {0, run_.layer.inputs});
    }

private:
    /// Returns how many slots the steps fill.
    Index aim(const Walk& walk, Range steps) noexcept {
        Index slot = 0;
        for (Index n = steps.last; n-- > steps.first;) {
            const Index t = walk.time(n), active = walk.active(t);
            for (Index r = 0; r < active; ++r, ++slot) {
                const Index b = walk.row(r);
                rows_[slot] = again_ ? &z_[slot * run_.width] : const_cast<Real<P>*>(job_.z.at(t, b));
                x_[slot] = run_.layer.x.at(t, b);
                if (job_.dx) dx_[slot] = job_.dx.at(t, b);
            }
        }
        return slot;
    }

    void scan(const Walk& walk, Range steps) noexcept {
        const Index H = run_.layer.units;
        Index slot = 0;
        for (Index n = steps.last; n-- > steps.first;) {
            const Index t = walk.time(n), active = walk.active(t);
            for (Index r = 0; r < active; ++r, ++slot) {
                const Index b = walk.row(r);
                Real<P>* const dh = &dh_[r * H];
                run_.scans.backward[run_.cell()]({H, rows_[slot], run_.before(walk, t, r, job_.y), job_.grad_y ? job_.grad_y.at(t, b) : nullptr, dh, &dz_[slot * wide_]});
                if (walk.is_reset(t, r)) std::fill_n(dh, H, Real<P>{});
            }
        }
    }

    void spend(Index slots, Fetch* fetch) noexcept {
        InputGradient<P> dx{slots, dx_.data(), nullptr};
        if (job_.dx) weight_.multiply(dz_.data(), 0, dx, true, fetch, streams_);
        if (job_.dweight) sums_.add(share_, slots, x_.data(), ones_.data(), dz_.data(), wide_, fetch);
    }

    /// Lists what the steps `next` read, to be brought while the products of these slots are computed.
    Fetch* list(const Walk& walk, Range next, Index slots) noexcept {
        const Index H = run_.layer.units;
        ahead_.begin();
        for (Index n = next.last; n-- > next.first;) {
            const Index t = walk.time(n);
            for (Index r = 0, active = walk.active(t); r < active; ++r) {
                const Index b = walk.row(r);
                if (!again_) ahead_.add(job_.z.at(t, b), run_.width);
                ahead_.add(job_.y.at(t, b), H);
                if (job_.grad_y) ahead_.add(job_.grad_y.at(t, b), H);
                ahead_.add(run_.layer.x.at(t, b), run_.layer.inputs);
            }
        }
        return ahead_.over((job_.dx ? weight_.halts(slots) : 0) + (job_.dweight ? sums_.halts() : 0));
    }
    static Index pieces_of_row(const Run<P>& run) noexcept {
        const Index size = sizeof(Real<P>);
        return pieces_of(run.width * size) + 2 * pieces_of(run.layer.units * size) + pieces_of(run.layer.inputs * size);
    }

    const Run<P>& run_;
    const ScanBackward<P>& job_;
    const AffineForward<P>* again_;
    const AffineBackward<P>& weight_;
    const AffineSums<P>& sums_;
    int share_;
    Index wide_;
    bool streams_;
    Array<Real<P>> z_;  // [slots][GH]
    Array<Real<P>*> rows_;
    Array<Real<P>> dz_, dh_;  // [slots][wide(GH)], [rows][H]
    Array<const Real<P>*> x_, ones_;
    Array<Real<P>*> dx_;
    Array<const char*> pieces_;
    Ahead ahead_;
    Real<P> one_ = 1;
};

}  // namespace

template <typename P>
void run_scan(const ScanForward<P>& job, int threads, InstructionSet set) {
    check_scan(job.layer, job.layer.weight);
    expect_scan(job.y || job.layer.batch == 0, "the output is null");
    const Run<P> run(job.layer, set);
    const AffineForward<P> weight(run.scans, run.kernels.lanes, run.kernels.tile_rows, run.weight());
    const int shares = row_shares(job.layer, run.width, threads);
    run_shares(shares, shares, [&](int share) {
        ForwardPart<P> part(run, job, weight);
        for_each_walk(run, share, shares, [&](const Walk& walk) { part.run(walk); });
    });
}

template <typename P>
void run_scan(const ScanBackward<P>& job, int threads, InstructionSet set) {
    check_scan(job.layer, job.layer.weight);
    expect_scan(job.y || job.layer.batch == 0, "what forward wrote is null");
    expect_scan(!job.dweight == !job.dbias, "expected the gradients of weight and bias or of neither");
    const Run<P> run(job.layer, set);
    const AffineBackward<P> weight(run.kernels, run.scans, run.weight());
    std::optional<AffineForward<P>> again;
    if (!job.z) again.emplace(run.scans, run.kernels.lanes, run.kernels.tile_rows, run.weight());
    const int shares = row_shares(job.layer, run.width, threads);
    const AffineSums<P> sums(run.kernels, run.width, job.layer.inputs, job.dweight ? shares : 0);
    run_shares(shares, shares, [&](int share) {
        BackwardPart<P> part(run, job, again ? &*again : nullptr, weight, sums, share);
        for_each_walk(run, share, shares, [&](const Walk& walk) { part.run(walk); });
    });
    if (job.dweight) sums.join(job.dweight, job.dbias);
}

template void run_scan(const ScanForward<Float32>&, int, InstructionSet);
template void run_scan(const ScanForward<Float64>&, int, InstructionSet);
template void run_scan(const ScanBackward<Float32>&, int, InstructionSet);
template void run_scan(const ScanBackward<Float64>&, int, InstructionSet);

}  // namespace lstmkit
