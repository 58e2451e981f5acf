#include <optional>

#include "sequence/check.h"
#include "sequence/forward_run.h"
#include "sequence/walk.h"
#include "threads/team.h"

namespace lstmkit {
namespace {

// So many rows of one step stay in the second-level cache beside one block of weights.
constexpr Index block_rows = 192;

/// Some rows and some hidden blocks of a direction, on one thread. The others of a team have the other hidden blocks.
template <typename P>
class Part {
public:
    Part(const ForwardRun<P>& run, const Walk& walk, Range blocks, const Pointers<P>& pointers, const Carried<P>& carried,
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
    /// State `k` of row r.
    Real<P>* state(Index r, Index k = 0) const noexcept {
        return &carried_.states[(r * run_.sizes.shape.states + k) * run_.sizes.padded()];
    }
    Stored<P>* middle(Index r) const noexcept { return carried_.middle.data() + r * run_.sizes.middle(); }
    /// Of a row among those that are summed up, in one hidden block.
    Real<P>* sums(Index row, Index block) const noexcept { return &carried_.sums[row * run_.row_sums() + block * run_.sizes.sums()]; }

    void begin() const noexcept {
        for (Index r = 0; r < walk_.rows(); ++r) {
            zero_states(r);
            for (Index k = 0; k < run_.sizes.shape.states && run_.layer.c; ++k)
                std::copy_n(run_.layer.c.at(walk_.row(r)) + k * run_.sizes.units + units_.first, units_.size(), state(r, k) + units_.first);
            to_.middle[r] = middle(r);
            if (run_.layer.projected) to_.hidden[r] = &carried_.hidden[r * run_.sizes.wide(run_.sizes.units)];
        }
    }

    void zero_states(Index r) const noexcept {
        for (Index k = 0; k < run_.sizes.shape.states; ++k)
            std::fill_n(state(r, k) + units_.first, blocks_.size() * run_.sizes.lanes, Real<P>{});
    }

    void step(Index t, Index next) noexcept {
        const Index active = walk_.active(t);
        if (run_.merges) sum_inputs(t);
        aim(t, active);
        run_.rounds.run(active, to_.x, to_.h, {run_.rounds.sizes.last(), carried_.values.data(), carried_.round_sums.data(), carried_.within.data()});
        if (ahead_.is_used()) list(next);
        const Index halts = (active + run_.kernels.tile_rows - 1) / run_.kernels.tile_rows * blocks_.size();
        Fetch* const fetch = ahead_.over(halts);
        for (Index r = 0; r < active; ++r)
            if (walk_.is_reset(t, r)) zero_states(r);
        each_block([&](Index block) {
            if (run_.layer.options) sum_block(block, active);
            else step_block(block, active, fetch);
        });
        if (run_.sizes.shape.middle) {
            step_cells(run_.kernels.middle, t, active);
            each_block([&](Index block) { sum_middle(block, active); });
        }
        if (run_.layer.options) step_cells(run_.kernels.step, t, active);
        if (run_.layer.projected) project(t, active);
        if (barrier_) barrier_->wait();
        if (run_.merges) first_sum_ += active;
    }

    template <typename Work>
    void each_block(Work work) const noexcept {
        for (Index n = 0; n < blocks_.size(); ++n) work(is_reversed_ ? blocks_.last - 1 - n : blocks_.first + n);
    }

    /// Sums up the input's share of as many steps as there is room for, if that of the step at time t is not yet there.
    void sum_inputs(Index t) noexcept {
        if (first_sum_ < last_sum_) return;
        first_sum_ = last_sum_ = 0;
        const Index room = run_.summed_rows(walk_.rows());
        for (const Index forwards = run_.layer.backwards ? -1 : 1; t >= 0 && t < walk_.steps(); t += forwards) {
            const Index rows = walk_.active(t);
            if (last_sum_ + rows > room) break;
            for (Index r = 0; r < rows; ++r) to_.x[last_sum_ + r] = run_.layer.x.at(t, walk_.row(r));
            last_sum_ += rows;
        }
        for (Index block = blocks_.first; block < blocks_.last; ++block) sum_input(block, last_sum_);
    }

    void sum_input(Index block, Index rows) const noexcept {
        const CellShape& shape = run_.sizes.shape;
        sum_share({to_.x, 0, run_.sizes.inputs, 0, shape.input_first, shape.input, {}, {}}, block, rows, 0);
    }

    /// The sums of one block, for a cell's step or for its first pass.
    void sum_block(Index block, Index rows) const noexcept {
        const Blocks& s = run_.sizes;
        const CellShape& shape = s.shape;
        if (!run_.merges) sum_input(block, rows);
        sum_share({to_.h, s.first_seen(block), s.seen(), s.packed_input(depth<P>), shape.recurrent_first, shape.recurrent, by_input(), {}},
                  block, rows, first_sum_);
    }

    void sum_middle(Index block, Index rows) const noexcept {
        const Blocks& s = run_.sizes;
        const CellShape& shape = s.shape;
        const Range by_recurrence{shape.recurrent_first, shape.recurrent_first + shape.recurrent};
        sum_share({to_.middle, 0, s.middle(), s.packed_outer(depth<P>), shape.middle_first, shape.middle, by_input(), by_recurrence},
                  block, rows, first_sum_);
    }

    Range by_input() const noexcept {
        const CellShape& shape = run_.sizes.shape;
        return {shape.input_first, shape.input_first + shape.input};
    }

    /// What some columns of rows add to sums, of which others have begun some.
    struct Share {
        const Stored<P>* const* in;
        Index first_column, columns;
        Index weights;  ///< where they begin in a block's pack
        Index first, count;
        Range begun, also_begun;

        bool is_begun(Index sum) const noexcept {
            return (sum >= begun.first && sum < begun.last) || (sum >= also_begun.first && sum < also_begun.last);
        }
    };

    void sum_share(const Share& share, Index block, Index rows, Index first_row) const noexcept {
        const Blocks& s = run_.sizes;
        const Stored<P>* const weights = &run_.weights[block * s.packed_numbers(depth<P>) + share.weights];
        each_part(share.count, [&](Index part, Index count) {
            const Index first = share.first + part, offset = first * s.lanes;
            Index added = 0;
            while (added < count && share.is_begun(first + added)) ++added;
            run_.kernels.sum({rows, share.in, share.first_column, share.columns,
                              weights + part * s.lanes * round_up(share.columns, depth<P>), count, added,
                              &run_.bias[block * s.sums() + offset], sums(first_row, block) + offset, run_.row_sums()});
        });
    }

    /// A pass of the cell over the rows of a step.
    void step_cells(void (*const* passes)(const CellForward<P>*, Index) noexcept, Index t, Index active) const noexcept {
        static_assert(step_rows == 2);
        const auto pass = passes[static_cast<int>(run_.layer.options->cell)];
        for (Index r = 0; r < active; r += step_rows) {
            const Index count = std::min(step_rows, active - r);
            const CellForward<P> rows[] = {cell_row(t, r), cell_row(t, r + count - 1)};
            pass(rows, count);
        }
    }

    CellForward<P> cell_row(Index t, Index r) const noexcept {
        const Blocks& s = run_.sizes;
        const Masks<P>& masks = run_.layer.masks;
        const TraceOut<P>& trace = run_.result.trace;
        const Index b = walk_.row(r), first = units_.first;
        const bool projected = run_.layer.projected;
        const StepMasks<P> own{shift(masks.candidate, t, b, first), projected ? nullptr : shift(masks.keeps_h, t, b, first),
                               shift(masks.keeps_c, t, b, first)};
        return {run_.layer.options, first, units_.size(), sums(first_sum_ + r, blocks_.first), middle(r), state(r) + first, s.padded(),
                projected ? nullptr : h_before(t, r) + first, own, (projected ? to_.hidden : to_.y)[r] + first,
                trace.cells ? to_.cells[r] + first : nullptr, trace.cell_stride,
                trace.activations ? kept_by_cell<P>(to_.activations[r]) + first : nullptr, trace.gate_stride, run_.streams};
    }

    template <typename Number>
    static Number* shift(const Sequence<Number>& values, Index t, Index b, Index first) noexcept {
        return values ? values.at(t, b) + first : nullptr;
    }

    const Stored<P>* h_before(Index t, Index r) const noexcept {
        const Sequence<Stored<P>>& y = run_.result.y;
        return walk_.before(t, r, Sequence<const Stored<P>>{y.data, y.step, y.row}, run_.layer.h, run_.zeros.data());
    }

    void project(Index t, Index rows) const noexcept {
        const Blocks& s = run_.sizes;
        run_.projection.multiply(run_.kernels, carried_.hidden.data(), s.wide(s.units), s.gate_vectors(), rows,
                                 run_.projection_pack.data(), carried_.projection.rows(to_.y));
        carried_.projection.land(run_.kernels, to_.y, rows, {0, s.outputs});
        for (Index r = 0; r < rows && run_.layer.options; ++r) settle_projection(t, r);
    }

    /// Bias, clip and zoneout of what was projected.
    void settle_projection(Index t, Index r) const noexcept {
        const CellOptions<P>& o = *run_.layer.options;
        const std::uint8_t* const keeps = shift(run_.layer.masks.keeps_h, t, walk_.row(r), 0);
        const Stored<P>* const before = h_before(t, r);
        Stored<P>* const y = to_.y[r];
        for (Index k = 0; k < run_.sizes.outputs; ++k) {
            Real<P> value = y[k];
            if (o.projection_bias) value += o.projection_bias[k];
            value = value > o.projection_clip ? o.projection_clip : value < -o.projection_clip ? -o.projection_clip : value;
            if (keeps) value = keeps[k] ? Real<P>(before[k]) : value;
            else if (o.zoneout_h > 0) value = o.zoneout_h * before[k] + (1 - o.zoneout_h) * value;
            y[k] = value;
        }
    }

    void aim(Index t, Index rows) const noexcept {
        const ForwardResult<P>& out = run_.result;
        for (Index r = 0; r < rows; ++r) {
            const Index b = walk_.row(r);
            if (!run_.merges) to_.x[r] = run_.layer.x.at(t, b);
            to_.h[r] = h_before(t, r);
            if (run_.layer.masks.state) to_.h[r] = mask(to_.h[r], r);
            to_.y[r] = out.y.at(t, b);
            if (out.trace.cells) to_.cells[r] = out.trace.cells.at(t, b);
            if (out.trace.activations) to_.activations[r] = out.trace.activations.at(t, b);
        }
    }

    /// The output before, as the sums read it: a member of a team makes it whole for itself, of which others see the same.
    const Stored<P>* mask(const Stored<P>* h, Index r) const noexcept {
        const Stored<P>* const factors = run_.layer.masks.state.at(walk_.row(r));
        Stored<P>* const to = &carried_.masked[r * run_.sizes.outputs];
        for (Index k = 0; k < run_.sizes.outputs; ++k) to[k] = Real<P>(h[k]) * Real<P>(factors[k]);
        return to;
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
        const Index input = run_.merges ? s.packed_input(depth<P>) : 0;
        run_.kernels.forward({rows, to_.x, run_.merges ? 0 : s.inputs, to_.h, s.outputs,
                              &run_.weights[block * s.packed_numbers(depth<P>) + input], &run_.bias[block * s.sums()],
                              run_.merges ? sums(first_sum_, block) : nullptr, run_.row_sums(),
                              carried_.states.data() + s.first(block), s.padded(), s.first(block), s.count(block),
                              run_.layer.projected ? to_.hidden : to_.y,
                              out.trace.cells ? to_.cells : nullptr,
                              out.trace.activations ? to_.activations : nullptr, out.trace.gate_stride,
                              run_.layer.projected ? 0 : ahead * out.y.step, ahead * out.trace.cells.step,
                              ahead * out.trace.activations.step, run_.streams, fetch});
    }

    void end() const noexcept {
        const ForwardResult<P>& out = run_.result;
        if (run_.streams) run_.kernels.finish();
        for (Index r = 0; r < walk_.rows(); ++r) {
            const Index b = walk_.row(r), first = outputs_.first;
            const Stored<P>* untouched = run_.layer.h ? run_.layer.h.at(b) : run_.zeros.data();
            const Stored<P>* last = walk_.length(r) ? out.y.at(walk_.last_time(r), b) : untouched;
            if (out.h) std::copy_n(last + first, outputs_.size(), out.h.at(b) + first);
            for (Index k = 0; k < run_.sizes.shape.states && out.c; ++k)
                std::copy_n(state(r, k) + units_.first, units_.size(), out.c.at(b) + k * run_.sizes.units + units_.first);
        }
        zero_padding(run_.layer, walk_, out.y, outputs_);
        zero_trace(out.trace.cells, out.trace.cell_stride, run_.sizes.shape.states);
        zero_trace(out.trace.activations, out.trace.gate_stride, run_.sizes.shape.kept);
    }

    template <typename Number>
    void zero_trace(Sequence<Number> values, Index stride, Index count) const noexcept {
        for (Index k = 0; k < count && values; ++k, values.data += stride) zero_padding(run_.layer, walk_, values, units_);
    }

    const ForwardRun<P>& run_;
    const Walk& walk_;
    Range blocks_;
    Pointers<P> to_;
    const Carried<P>& carried_;
    Ahead ahead_;
    Index first_sum_ = 0, last_sum_ = 0;  // rows whose input's share is summed up and waits
    bool is_reversed_ = false;  // to and fro through the blocks: the weights that were read last are still near
    Barrier* barrier_;
    Range units_, outputs_;
};

/// The rows of one share, one block of rows after the other.
template <typename P>
void run_rows(const ForwardRun<P>& run, const Index* order, Range share) {
    for_each_block(share, block_rows, run.kernels.tile_rows, [&](Range rows) {
        const Walk walk(run.layer, order, rows);
        const PointerMemory<P> pointers(std::max(walk.rows(), run.summed_rows(walk.rows())), run.pieces_per_row());
        const Carried<P> carried(run, walk.rows());
        Part<P>(run, walk, {0, run.sizes.blocks}, pointers.from(0), carried, nullptr).run();
    });
}

/// All rows, the hidden blocks divided among the members of a team.
template <typename P>
void run_units(ForwardRun<P>& run, const Index* order, int members) {
    const Walk walk(run.layer, order, {0, run.layer.batch});
    const Index rows = std::max(walk.rows(), run.summed_rows(walk.rows()));
    const PointerMemory<P> pointers(rows * members, run.pieces_per_row());
    const Carried<P> carried(run, walk.rows());
    run_team(members, [&](const Member& member) noexcept {
        const Index blocks = run.sizes.blocks;
        const Range own{blocks * member.index / member.count, blocks * (member.index + 1) / member.count};
        // By the one that reads them: from core to core they would take longer than to be packed.
        for (Index block = own.first; block < own.last; ++block) run.pack(block);
        Part<P>(run, walk, own, pointers.from(rows * member.index), carried, &member.barrier).run();
    });
}

}  // namespace

template <typename P>
void run_forward(const ForwardJob<P>* directions, int count, int threads, InstructionSet set) {
    check_jobs(directions, count);
    const Course& layer = directions[0].layer;
    if (layer.batch == 0) return;
    const Kernels<P>& kernels = table_of<Kernels<P>>(set);
    check_heads(layer, kernels.lanes);
    const Plan plan = plan_layer(layer, count, threads, tile_sizes(kernels), needs_whole_rows(directions[0].layer));
    const Array<Index> order(layer.batch);
    order_rows(layer, order.data());
    std::optional<ForwardRun<P>> runs[most_directions];
    const Index rows = (layer.batch + plan.row_shares - 1) / plan.row_shares;
    for (int d = 0; d < count; ++d) runs[d].emplace(directions[d], kernels, rows);
    if (plan.unit_shares > 1) {
        for (int d = 0; d < count; ++d) run_units(*runs[d], order.data(), plan.unit_shares);
        return;
    }
    const int packs = static_cast<int>(runs[0]->packs());
    run_shares(count * packs, plan.threads, [&](int share) { runs[share % count]->pack(share / count); });
    run_shares(count * plan.row_shares, plan.threads, [&](int share) {
        const Range rows = cut_share(layer, order.data(), share / count, plan.row_shares, kernels.tile_rows);
        run_rows(*runs[share % count], order.data(), rows);
    });
}

#define LSTMKIT_PRECISION(P) template void run_forward(const ForwardJob<P>*, int, int, InstructionSet);
LSTMKIT_EVERY_PRECISION
#undef LSTMKIT_PRECISION

}  // namespace lstmkit
