#include <optional>

#include "gemm/pack.h"
#include "lstmkit/memory.h"
#include "sequence/ahead.h"
#include "sequence/check.h"
#include "sequence/landing.h"
#include "sequence/plan.h"
#include "sequence/walk.h"
#include "threads/team.h"

namespace lstmkit {
namespace {

// So many rows of one step stay in the second-level cache beside one block of weights.
constexpr Index block_rows = 192;

template <typename P>
bool goes_past_caches(const Course& layer, const TraceOut<P>& trace, Index lanes) noexcept {
    const Index vector_bytes = lanes * Index{sizeof(Real<P>)};
    return trace.cells && trace.activations && trace_bytes<P>(layer) > cached_bytes && layer.units % lanes == 0 &&
           trace.gate_stride % lanes == 0 && is_aligned(trace.cells, vector_bytes) && is_aligned(trace.activations, vector_bytes);
}

/// One direction, ready to run: what all its threads read.
template <typename P>
struct Run {
    const LayerCase<P>& layer;
    const ForwardResult<P>& result;
    const Kernels<P>& kernels;
    Blocks sizes;
    bool streams, fetches;
    PackedMatrix<P> projection;
    Array<Stored<P>> weights, projection_pack, zeros;
    Array<Real<P>> bias;

    Run(const ForwardJob<P>& job, const Kernels<P>& kernels)
        : layer(job.layer), result(job.result), kernels(kernels), sizes(layer, kernels.lanes),
          streams(goes_past_caches<P>(layer, result.trace, kernels.lanes)),
          fetches(layer.steps * layer.batch * layer.inputs * Index{sizeof(Stored<P>)} > cached_bytes),
          // The product needs the weight the other way round.
          projection({layer.weight_projection, layer.outputs, 1, layer.units, layer.units, 0}, sizes.wide_blocks(layer.units),
                     kernels.lanes, gates),
          weights(sizes.blocks * sizes.packed_numbers(depth<P>)), projection_pack(layer.projected ? projection.numbers() : 0),
          zeros(layer.outputs), bias(sizes.blocks * sizes.gate_vectors()) {
        std::fill_n(zeros.data(), layer.outputs, Stored<P>{});
    }

    /// Of the list of what a step reads.
    Index pieces_per_row() const noexcept { return pieces_of(layer.inputs * Index{sizeof(Stored<P>)}); }

    void pack(Index block) noexcept {
        pack_block(kernels, layer, sizes, block, &weights[block * sizes.packed_numbers(depth<P>)], &bias[block * sizes.gate_vectors()]);
        if (layer.projected && block < projection.blocks()) projection.fill(kernels, block, projection_pack.data());
    }
};

/// Where each row of one step is read and written.
template <typename P>
struct Pointers {
    const Stored<P> **x, **h;
    Stored<P> **y, **hidden;
    Real<P>** cells;
    Saved<P>** activations;
    const char** ahead;
};

template <typename P>
class PointerMemory {
public:
    PointerMemory(Index rows, Index pieces) : inputs_(2 * rows), outputs_(2 * rows), cells_(rows), activations_(rows), ahead_(rows * pieces), rows_(rows), pieces_(pieces) {}
    /// Those of the rows from `first` on.
    Pointers<P> from(Index first) const noexcept {
        return {&inputs_[first], &inputs_[rows_ + first], &outputs_[first], &outputs_[rows_ + first], &cells_[first],
                &activations_[first], &ahead_[first * pieces_]};
    }

private:
    Array<const Stored<P>*> inputs_;
    Array<Stored<P>*> outputs_;
    Array<Real<P>*> cells_;
    Array<Saved<P>*> activations_;
    Array<const char*> ahead_;
    Index rows_, pieces_;
};

/// What a block of rows carries from step to step: c, and within a step what is projected.
template <typename P>
struct Carried {
    Array<Real<P>> c;
    Array<Stored<P>> hidden;  // [rows][wide]
    Landing<P> projection;

    Carried(const Blocks& s, bool projected, Index rows)
        : c(rows * s.padded()), hidden(projected ? rows * s.wide(s.units) : 0), projection(projected ? rows : 0, s.outputs) {
        std::fill_n(hidden.data(), projected ? rows * s.wide(s.units) : 0, Stored<P>{});
    }
};

/// Some rows and some hidden blocks of a direction, on one thread. The others of a team have the other hidden blocks.
template <typename P>
class Part {
public:
    Part(const Run<P>& run, const Walk& walk, Range blocks, const Pointers<P>& pointers, const Carried<P>& carried,
         Barrier* barrier) noexcept
        : run_(run), walk_(walk), blocks_(blocks), to_(pointers), carried_(carried), ahead_(pointers.ahead, run.fetches), barrier_(barrier),
          units_{run.sizes.first(blocks.first), std::min(run.sizes.units, run.sizes.first(blocks.last))},
          outputs_(run.layer.projected ? Range{0, run.sizes.outputs} : units_) {}

    void run() noexcept {
        begin();
        for (Index n = 0; n < walk_.steps(); ++n) {
            step(walk_.time(n), n + 1 < walk_.steps() ? walk_.time(n + 1) : no_step);
            is_reversed_ = !is_reversed_;
        }
        end();
    }

private:
    Real<P>* c(Index r) const noexcept { return &carried_.c[r * run_.sizes.padded()]; }

    void begin() const noexcept {
        for (Index r = 0; r < walk_.rows(); ++r) {
            zero_cells(r);
            if (run_.layer.c) std::copy_n(run_.layer.c.at(walk_.row(r)) + units_.first, units_.size(), c(r) + units_.first);
            if (run_.layer.projected) to_.hidden[r] = &carried_.hidden[r * run_.sizes.wide(run_.sizes.units)];
        }
    }

    void zero_cells(Index r) const noexcept {
        std::fill_n(c(r) + units_.first, blocks_.size() * run_.sizes.lanes, Real<P>{});
    }

    void step(Index t, Index next) noexcept {
        const Index active = walk_.active(t);
        aim(t, active);
        if (ahead_.is_used()) list(next);
        const Index halts = (active + run_.kernels.tile_rows - 1) / run_.kernels.tile_rows * blocks_.size();
        Fetch* const fetch = ahead_.over(halts);
        for (Index r = 0; r < active; ++r)
            if (walk_.is_reset(t, r)) zero_cells(r);
        for (Index n = 0; n < blocks_.size(); ++n)
            step_block(is_reversed_ ? blocks_.last - 1 - n : blocks_.first + n, active, fetch);
        if (run_.layer.projected) project(active);
        if (barrier_) barrier_->wait();
    }

    void project(Index rows) const noexcept {
        const Blocks& s = run_.sizes;
        run_.projection.multiply(run_.kernels, carried_.hidden.data(), s.wide(s.units), s.gate_vectors(), rows,
                                 run_.projection_pack.data(), carried_.projection.rows(to_.y));
        carried_.projection.land(run_.kernels, to_.y, rows, {0, s.outputs});
    }

    void aim(Index t, Index rows) const noexcept {
        const ForwardResult<P>& out = run_.result;
        const Sequence<const Stored<P>> y{out.y.data, out.y.step, out.y.row};
        for (Index r = 0; r < rows; ++r) {
            const Index b = walk_.row(r);
            to_.x[r] = run_.layer.x.at(t, b);
            to_.h[r] = walk_.before(t, r, y, run_.layer.h, run_.zeros.data());
            to_.y[r] = out.y.at(t, b);
            if (out.trace.cells) to_.cells[r] = out.trace.cells.at(t, b);
            if (out.trace.activations) to_.activations[r] = out.trace.activations.at(t, b);
        }
    }

    /// Lists what the step at time `next` reads.
    void list(Index next) noexcept {
        ahead_.begin();
        if (next == no_step) return;
        for (Index r = 0, rows = walk_.active(next); r < rows; ++r) ahead_.add(run_.layer.x.at(next, walk_.row(r)), run_.layer.inputs);
    }

    void step_block(Index block, Index rows, Fetch* fetch) const noexcept {
        const Blocks& s = run_.sizes;
        const ForwardResult<P>& out = run_.result;
        const Index ahead = run_.layer.backwards ? -1 : 1;
        run_.kernels.forward({rows, to_.x, s.inputs, to_.h, s.outputs,
                              &run_.weights[block * s.packed_numbers(depth<P>)], &run_.bias[block * s.gate_vectors()],
                              carried_.c.data() + s.first(block), s.padded(), s.first(block), s.count(block),
                              run_.layer.projected ? to_.hidden : to_.y,
                              out.trace.cells ? to_.cells : nullptr,
                              out.trace.activations ? to_.activations : nullptr, out.trace.gate_stride,
                              run_.layer.projected ? 0 : ahead * out.y.step, ahead * out.trace.cells.step,
                              ahead * out.trace.activations.step, run_.streams, fetch});
    }

    void end() const noexcept {
        const ForwardResult<P>& out = run_.result;
        for (Index r = 0; r < walk_.rows(); ++r) {
            const Index b = walk_.row(r), first = outputs_.first;
            const Stored<P>* untouched = run_.layer.h ? run_.layer.h.at(b) : run_.zeros.data();
            const Stored<P>* last = walk_.length(r) ? out.y.at(walk_.last_time(r), b) : untouched;
            if (out.h) std::copy_n(last + first, outputs_.size(), out.h.at(b) + first);
            if (out.c) std::copy_n(c(r) + units_.first, units_.size(), out.c.at(b) + units_.first);
        }
        zero_padding(run_.layer, walk_, out.y, outputs_);
        zero_padding(run_.layer, walk_, out.trace.cells, units_);
        for (Index gate = 0; gate < gates && out.trace.activations; ++gate) {
            Sequence<Saved<P>> values = out.trace.activations;
            values.data += gate * out.trace.gate_stride;
            zero_padding(run_.layer, walk_, values, units_);
        }
    }

    const Run<P>& run_;
    const Walk& walk_;
    Range blocks_;
    Pointers<P> to_;
    const Carried<P>& carried_;
    Ahead ahead_;
    bool is_reversed_ = false;  // to and fro through the blocks: the weights that were read last are still near
    Barrier* barrier_;
    Range units_, outputs_;
};

/// The rows of one share, one block of rows after the other.
template <typename P>
void run_rows(const Run<P>& run, const Index* order, Range share) {
    for_each_block(share, block_rows, run.kernels.tile_rows, [&](Range rows) {
        const Walk walk(run.layer, order, rows);
        const PointerMemory<P> pointers(walk.rows(), run.pieces_per_row());
        const Carried<P> carried(run.sizes, run.layer.projected, walk.rows());
        Part<P>(run, walk, {0, run.sizes.blocks}, pointers.from(0), carried, nullptr).run();
    });
}

/// All rows, the hidden blocks divided among the members of a team.
template <typename P>
void run_units(const Run<P>& run, const Index* order, int members) {
    const Walk walk(run.layer, order, {0, run.layer.batch});
    const PointerMemory<P> pointers(walk.rows() * members, run.pieces_per_row());
    const Carried<P> carried(run.sizes, false, walk.rows());
    run_team(members, [&](const Member& member) noexcept {
        const Index blocks = run.sizes.blocks;
        const Range own{blocks * member.index / member.count, blocks * (member.index + 1) / member.count};
        Part<P>(run, walk, own, pointers.from(walk.rows() * member.index), carried, &member.barrier).run();
    });
}

}  // namespace

template <typename P>
void run_forward(const ForwardJob<P>* directions, int count, int threads, InstructionSet set) {
    check_jobs(directions, count);
    const Course& layer = directions[0].layer;
    if (layer.batch == 0) return;
    const Kernels<P>& kernels = kernels_of<P>(set);
    const Plan plan = plan_layer(layer, count, threads, tile_sizes(kernels));
    const Array<Index> order(layer.batch);
    order_rows(layer, order.data());
    std::optional<Run<P>> runs[most_directions];
    for (int d = 0; d < count; ++d) runs[d].emplace(directions[d], kernels);
    const int blocks = static_cast<int>(runs[0]->sizes.blocks);
    run_shares(count * blocks, plan.threads, [&](int share) { runs[share % count]->pack(share / count); });
    if (plan.unit_shares > 1) {
        for (int d = 0; d < count; ++d) run_units(*runs[d], order.data(), plan.unit_shares);
        return;
    }
    run_shares(count * plan.row_shares, plan.threads, [&](int share) {
        const Range rows = cut_share(layer, order.data(), share / count, plan.row_shares, kernels.tile_rows);
        run_rows(*runs[share % count], order.data(), rows);
    });
}

#define LSTMKIT_PRECISION(P) template void run_forward(const ForwardJob<P>*, int, int, InstructionSet);
LSTMKIT_EVERY_PRECISION
#undef LSTMKIT_PRECISION

}  // namespace lstmkit
