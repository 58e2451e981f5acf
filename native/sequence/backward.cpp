#include <cmath>
#include <limits>
#include <optional>

#include "sequence/backward_run.h"
#include "sequence/check.h"
#include "sequence/walk.h"
#include "threads/team.h"

namespace lstmkit {
namespace {

// So many rows of one step and of the next stay in the second-level cache beside the sums of the weights' gradients.
constexpr Index block_rows = 66;

// Steps are gathered up to so many rows before the weights' gradient takes them: enough that its tiles are seldom loaded
// and stored, few enough that the rows are still in the second-level cache, half as many of twice the sums. One step is enough
// where it has many rows, and sums that lie behind that cache are loaded and stored less often.
constexpr Index gathered_sums = 128 * gates, enough_rows = 48, rows_for_large_sums = 512, large_sums = 768 << 10;

template <typename Number>
const Number* at_or_null(const Sequence<const Number>& values, Index t, Index b) noexcept {
    return values ? values.at(t, b) : nullptr;
}

template <typename Number>
Number* shift(Number* values, Index by) noexcept {
    return values ? values + by : nullptr;
}

/// Some rows and some hidden blocks of a direction, on one thread. The others of a team have the other hidden blocks.
template <typename P>
class Part {
public:
    Part(const BackwardRun<P>& run, Gathered<P>& gathered, const Sources<P>& from, const WeightSums<P>& sums, const Ahead& ahead,
         Real<P>* scratch, const Member& member, Barrier* barrier) noexcept
        : run_(run), gathered_(gathered), from_(from), sums_(sums), ahead_(ahead), scratch_(scratch), barrier_(barrier),
          groups_(share_of(run.recurrent.groups(), member)), input_groups_(share_of(run.input.groups(), member)) {
        // A member's columns of the recurrent product are those of its units; where rows are whole it has them all.
        const Index size = run.recurrent.group_vectors(), last = needs_whole_rows(run.layer) ? run.sizes.blocks : groups_.last * size;
        blocks_ = {groups_.first * size, std::min(run.sizes.blocks, last)};
    }

    void run(const Walk& walk, const Flow<P>& flow) noexcept {
        begin(walk, flow);
        for (Index n = walk.steps(); n-- > 0;) {
            const Index t = walk.time(n);
            if (rows_ + walk.active(t) > gathered_.capacity) spend();
            step(walk, t, n > 0 ? walk.time(n - 1) : no_step, flow);
        }
        spend();
        end(walk, flow);
    }

    /// What a member of a team reads it packs itself, and what it adds up is its own: from core to core it would take longer.
    void prepare(BackwardRun<P>& run) const noexcept {
        run.pack_columns(groups_, input_groups_);
        if (run.wants_weights()) run.sums.zero_blocks(run.sizes, 0, blocks_);
    }
    void finish() const noexcept {
        if (barrier_) barrier_->wait();
        for (Index block = blocks_.first; block < blocks_.last && run_.wants_weights(); ++block)
            join_sums(run_.kernels, run_.sizes, run_.sums, block, 1, run_.job.gradients);
    }

private:
    static Range share_of(Index count, const Member& member) noexcept {
        return {count * member.index / member.count, count * (member.index + 1) / member.count};
    }
    Range units() const noexcept {
        return {run_.sizes.first(blocks_.first), std::min(run_.sizes.units, run_.sizes.first(blocks_.last))};
    }
    Range outputs() const noexcept { return run_.layer.projected ? Range{0, run_.sizes.outputs} : units(); }
    /// Of state k of row r.
    Real<P>* d_state(const Flow<P>& flow, Index r, Index k = 0) const noexcept {
        return &flow.d_states[(r * run_.sizes.shape.states + k) * run_.sizes.padded()];
    }

    void begin(const Walk& walk, const Flow<P>& flow) const noexcept {
        const Upstream<P>& upstream = run_.job.upstream;
        for (Index r = 0; r < walk.rows(); ++r) {
            zero_flow(flow, r);
            const Index b = walk.row(r), h = outputs().first, c = units().first;
            if (upstream.h) std::copy_n(upstream.h.at(b) + h, outputs().size(), flow.d_output_rows[r] + h);
            for (Index k = 0; k < run_.sizes.shape.states && upstream.c; ++k)
                std::copy_n(upstream.c.at(b) + k * run_.sizes.units + c, units().size(), d_state(flow, r, k) + c);
        }
    }

    void zero_flow(const Flow<P>& flow, Index r) const noexcept {
        const Index first = run_.sizes.first(blocks_.first), count = blocks_.size() * run_.sizes.lanes;
        if (run_.layer.projected)
            std::fill_n(flow.d_output_rows[r], run_.sizes.padded_outputs(), Real<P>{});
        else
            std::fill_n(flow.d_output_rows[r] + first, count, Real<P>{});
        for (Index k = 0; k < run_.sizes.shape.states; ++k) std::fill_n(d_state(flow, r, k) + first, count, Real<P>{});
    }

    void step(const Walk& walk, Index t, Index next, const Flow<P>& flow) noexcept {
        const Blocks& s = run_.sizes;
        const Index active = walk.active(t);
        if (ahead_.is_used()) list(walk, next);
        Fetch* const fetch = ahead_.over(halts(active, rows_ + active + (next == no_step ? 0 : walk.active(next))));
        if (run_.layer.projected) step_projection(walk, t, active, flow);
        if (run_.layer.options) step_options(run_.kernels.step_backward, walk, t, active, flow, fetch);
        if (s.shape.middle) step_middle(walk, t, active, flow, fetch);
        for (Index r = 0; r < active; ++r) {
            if (!run_.layer.options) step_cell(walk, t, r, flow);
            source(walk, t, r);
        }
        if (s.rounds) run_.rounds.repeat(active, from_.x + rows_, from_.h + rows_, gathered_.rounds, rows_);
        if (barrier_) barrier_->wait();
        if (!run_.layer.options) {
            run_.recurrent.multiply(run_.kernels, &gathered_.dz[rows_ * s.sums()], s.sums(), gathered_.dz_block, active,
                                    run_.recurrent_pack.data(), flow.d_output_rows.data(), groups_.first, groups_.last, fetch);
        } else if (!run_.layer.options->truncates) {
            add_recurrent(walk, active, flow, fetch);
        }
        if (s.rounds) step_rounds(active, flow);
        for (Index r = 0; r < active; ++r)
            if (walk.is_reset(t, r)) zero_flow(flow, r);
        rows_ += active;
    }

    /// From what the LSTM read back to the input and the output before.
    void step_rounds(Index active, const Flow<P>& flow) const noexcept {
        const Blocks& s = run_.sizes;
        const RoundMemory<P>& memory = gathered_.rounds;
        run_.input.multiply(run_.kernels, &gathered_.dz[rows_ * s.sums()], s.sums(), gathered_.dz_block, active, run_.input_pack.data(),
                            memory.d_x_rows.data());
        run_.rounds.run(active, flow.d_output_rows.data(), memory, rows_);
        for (Index r = 0; r < active && run_.job.gradients.x; ++r)
            run_.kernels.round(memory.d_x_rows[r], from_.dx[rows_ + r], s.inputs);
    }

    /// Adds what flows to the output before through the sums to what goes past them.
    void add_recurrent(const Walk& walk, Index active, const Flow<P>& flow, Fetch* fetch) const noexcept {
        const Blocks& s = run_.sizes;
        const Stored<P>* const dz = &gathered_.dz[rows_ * s.sums() + s.shape.recurrent_first * s.lanes];
        const State<const Stored<P>>& mask = run_.layer.masks.state;
        Real<P>* const* const to = mask ? flow.unmasked_rows.data() : flow.d_output_rows.data();
        for (Index head = 0; head < run_.layer.heads; ++head) {
            const Index last = run_.layer.heads > 1 ? run_.recurrent.groups() : groups_.last;
            run_.recurrent_of(head).multiply(run_.kernels, dz + head * run_.recurrent.blocks() * gathered_.dz_block, s.sums(),
                                             gathered_.dz_block, active, run_.recurrent_pack_of(head), to, groups_.first, last,
                                             fetch, false, !mask, head * s.seen());
        }
        for (Index r = 0; r < active && mask; ++r)
            for (Index k = 0; k < s.outputs; ++k) flow.d_output_rows[r][k] += Real<P>(mask.at(walk.row(r))[k]) * to[r][k];
    }

    /// Where a row that is gathered came from, and where its gradient goes.
    void source(const Walk& walk, Index t, Index r) const noexcept {
        const Index b = walk.row(r), slot = rows_ + r;
        from_.x[slot] = run_.layer.x.at(t, b);
        from_.middle[slot] = gathered_.middle.data() + slot * run_.sizes.middle();
        from_.h[slot] = walk.before(t, r, run_.job.y, run_.layer.h, run_.zero_h.data());
        if (run_.job.gradients.x) from_.dx[slot] = run_.job.gradients.x.at(t, b);
        if (!run_.layer.masks.state) return;
        const Stored<P>* const factors = run_.layer.masks.state.at(b);
        Stored<P>* const masked = &gathered_.masked[slot * run_.sizes.outputs];
        for (Index k = 0; k < run_.sizes.outputs; ++k) masked[k] = Real<P>(from_.h[slot][k]) * Real<P>(factors[k]);
        from_.h[slot] = masked;
    }

    void step_projection(const Walk& walk, Index t, Index active, const Flow<P>& flow) noexcept {
        const Index wide = run_.sizes.wide(run_.sizes.outputs);
        for (Index r = 0; r < active; ++r) {
            Stored<P>* total = &gathered_.d_output[(rows_ + r) * wide];
            const Stored<P>* dy = at_or_null(run_.job.upstream.y, t, walk.row(r));
            for (Index k = 0; k < run_.sizes.outputs; ++k) {
                const Real<P> arriving = flow.d_output_rows[r][k] + (dy ? Real<P>(dy[k]) : 0);
                const Real<P> inside = run_.layer.options ? unsettle(walk, t, r, k, arriving, flow.d_output_rows[r][k]) : arriving;
                total[k] = inside;
                if (run_.wants_weights()) sums_.projection_bias[k] += inside;
            }
            from_.d_output[rows_ + r] = total;
        }
        run_.projection.multiply(run_.kernels, &gathered_.d_output[rows_ * wide], wide, run_.sizes.gate_vectors(), active,
                                 run_.projection_pack.data(), flow.d_hidden_rows.data());
    }

    /// Of one number of an output, what flows through its zoneout and clip; what goes past them replaces what flowed in.
    Real<P> unsettle(const Walk& walk, Index t, Index r, Index k, Real<P> arriving, Real<P>& past) const noexcept {
        const CellOptions<P>& o = *run_.layer.options;
        const Sequence<const std::uint8_t>& keeps = run_.layer.masks.keeps_h;
        const Real<P> kept = keeps ? Real<P>(keeps.at(t, walk.row(r))[k] != 0) : o.zoneout_h;
        past = kept * arriving;
        if (!(o.projection_clip < CellOptions<P>::none) || kept == 1) return arriving - past;
        // What was mixed into the output is taken out again, which leaves its rounding.
        const Real<P> y = run_.job.y.at(t, walk.row(r))[k], rest = 1 - kept;
        const Real<P> before = kept > 0 ? Real<P>(walk.before(t, r, run_.job.y, run_.layer.h, run_.zero_h.data())[k]) : 0;
        const Real<P> bound = rest < 1 ? o.projection_clip * (1 - 16 * std::numeric_limits<Real<P>>::epsilon()) : o.projection_clip;
        return std::abs((y - kept * before) / rest) < bound ? arriving - past : Real<P>{};
    }

    /// A pass of the cell over the rows of a step.
    void step_options(void (*const* passes)(const CellBackward<P>*, Index) noexcept, const Walk& walk, Index t, Index active,
                      const Flow<P>& flow, Fetch* fetch) const noexcept {
        static_assert(step_rows == 2);
        const auto pass = passes[static_cast<int>(run_.layer.options->cell)];
        for (Index r = 0; r < active; r += step_rows) {
            const Index count = std::min(step_rows, active - r);
            const CellBackward<P> rows[] = {cell_row(walk, t, r, flow, 0), cell_row(walk, t, r + count - 1, flow, 1)};
            pass(rows, count);
            fetch_some(fetch);
        }
    }

    /// Through the product with the middle, and on to what that was made of.
    void step_middle(const Walk& walk, Index t, Index active, const Flow<P>& flow, Fetch* fetch) const noexcept {
        const Blocks& s = run_.sizes;
        run_.middle.multiply(run_.kernels, &gathered_.dz[rows_ * s.sums() + s.shape.middle_first * s.lanes], s.sums(), gathered_.dz_block,
                             active, run_.middle_pack.data(), flow.d_middle_rows.data());
        step_options(run_.kernels.middle_backward, walk, t, active, flow, fetch);
    }

    CellBackward<P> cell_row(const Walk& walk, Index t, Index r, const Flow<P>& flow, Index number) const noexcept {
        const Blocks& s = run_.sizes;
        const BackwardJob<P>& job = run_.job;
        const Masks<P>& masks = run_.layer.masks;
        const bool projected = run_.layer.projected, is_first = walk.is_first(t, r) && !walk.is_reset(t, r);
        const Index b = walk.row(r), slot = rows_ + r, first = units().first;
        const Real<P>* const before = walk.before(t, r, job.trace.cells, run_.layer.c, run_.zero_c.data());
        const Index before_stride = walk.is_reset(t, r) || (is_first && !run_.layer.c) ? 0 : is_first ? s.units : job.trace.cell_stride;
        const StepMasks<P> own{shift(at_or_null(masks.candidate, t, b), first),
                               projected ? nullptr : shift(at_or_null(masks.keeps_h, t, b), first),
                               shift(at_or_null(masks.keeps_c, t, b), first)};
        return {run_.layer.options, first, units().size(), kept_by_cell<P>(job.trace.activations.at(t, b)) + first, job.trace.gate_stride,
                job.trace.cells.at(t, b) + first, job.trace.cell_stride, before + first, before_stride, own,
                projected ? nullptr : walk.before(t, r, job.y, run_.layer.h, run_.zero_h.data()) + first,
                projected ? nullptr : shift(at_or_null(job.upstream.y, t, b), first),
                shift(at_or_null(job.upstream.trace.cells, t, b), first), job.upstream.trace.cell_stride,
                shift(at_or_null(job.upstream.trace.activations, t, b), first), job.upstream.trace.gate_stride,
                (projected ? flow.d_hidden_rows : flow.d_output_rows)[r] + first, d_state(flow, r) + first, s.padded(),
                &gathered_.dz[blocks_.first * gathered_.dz_block + slot * s.sums()], gathered_.dz_block,
                gathered_.middle.data() + slot * s.middle(), flow.d_middle.data() + r * s.middle(),
                projected ? &gathered_.hidden[slot * s.wide(s.units)] : nullptr,
                run_.totals() && run_.wants_weights() ? sums_.totals + first : nullptr, s.padded(),
                shift(scratch_, number * scratch_vectors * s.padded())};
    }

    void step_cell(const Walk& walk, Index t, Index r, const Flow<P>& flow) noexcept {
        const Blocks& s = run_.sizes;
        const BackwardJob<P>& job = run_.job;
        const bool projected = run_.layer.projected;
        const Index b = walk.row(r), slot = rows_ + r, first = units().first;
        run_.kernels.cell_backward(
            {job.trace.activations.at(t, b) + first, job.trace.cells.at(t, b) + first,
             walk.before(t, r, job.trace.cells, run_.layer.c, run_.zero_c.data()) + first,
             projected ? nullptr : shift(at_or_null(job.upstream.y, t, b), first),
             shift(at_or_null(job.upstream.trace.cells, t, b), first),
             shift(at_or_null(job.upstream.trace.activations, t, b), first),
             (projected ? flow.d_hidden_rows : flow.d_output_rows)[r] + first, d_state(flow, r) + first,
             &gathered_.dz[blocks_.first * gathered_.dz_block + slot * s.sums()],
             projected ? &gathered_.hidden[slot * s.wide(s.units)] : nullptr, units().size(), job.trace.gate_stride,
             job.upstream.trace.gate_stride, gathered_.dz_block});
    }

    /// Lists what the step at time `next` reads.
    void list(const Walk& walk, Index next) noexcept {
        ahead_.begin();
        if (next == no_step) return;
        const BackwardJob<P>& job = run_.job;
        const Range own = units();
        const bool whole = own.size() == job.trace.gate_stride;
        for (Index r = 0, rows = walk.active(next); r < rows; ++r) {
            const Index b = walk.row(r);
            const Saved<P>* const activations = job.trace.activations.at(next, b) + own.first;
            const Index kept = run_.layer.shape.kept;
            for (Index k = 0; k < (whole ? 1 : kept); ++k)
                ahead_.add(activations + k * job.trace.gate_stride, (whole ? kept : 1) * own.size());
            const Real<P>* const before = walk.before(next, r, job.trace.cells, run_.layer.c, run_.zero_c.data()) + own.first;
            for (Index k = 0; k < run_.layer.shape.states; ++k) ahead_.add(before + k * job.trace.cell_stride, own.size());
            if (job.upstream.y) ahead_.add(job.upstream.y.at(next, b) + outputs().first, outputs().size());
            ahead_.add(run_.layer.x.at(next, b), run_.layer.inputs);
            ahead_.add(walk.before(next, r, job.y, run_.layer.h, run_.zero_h.data()), run_.layer.outputs);
        }
    }

    /// Of this step's cells and products: those of the gathered rows too if they are too many after the next.
    Index halts(Index active, Index after_next) const noexcept {
        const Index tile = run_.kernels.tile_rows, of_cells = run_.layer.options ? (active + step_rows - 1) / step_rows : 0;
        const Index count = of_cells + run_.layer.heads * run_.recurrent.halts(active, tile, groups_.first, groups_.last);
        if (after_next <= gathered_.capacity) return count;
        const Index of_input = run_.job.gradients.x ? run_.input.halts(rows_ + active, tile, input_groups_.first, input_groups_.last) : 0;
        const Index columns = run_.wants_weights() ? run_.sizes.inputs + run_.sizes.seen() : 0;
        return count + of_input + columns / tile * blocks_.size();
    }

    /// Spends the gathered rows on the gradients of input and weights.
    void spend() noexcept {
        if (run_.job.gradients.x && !run_.sizes.rounds) spend_on_input();
        if (run_.wants_weights())
            Spending<P>{run_.kernels, run_.sizes, gathered_, from_, sums_, rows_, ahead_.rest()}.run(blocks_, run_.layer.projected);
        rows_ = 0;
        // The others may still read what the next step will write.
        if (barrier_) barrier_->wait();
    }

    void spend_on_input() noexcept {
        const Blocks& s = run_.sizes;
        run_.input.multiply(run_.kernels, &gathered_.dz[s.shape.input_first * s.lanes], s.sums(), gathered_.dz_block, rows_,
                            run_.input_pack.data(), gathered_.dx.rows(from_.dx), input_groups_.first, input_groups_.last,
                            ahead_.rest(), run_.streams);
        gathered_.dx.land(run_.kernels, from_.dx, rows_, input_columns());
    }

    Range input_columns() const noexcept {
        return {run_.input.first_column(input_groups_.first), run_.input.first_column(input_groups_.last)};
    }

    void end(const Walk& walk, const Flow<P>& flow) const noexcept {
        const Gradients<P>& gradients = run_.job.gradients;
        for (Index r = 0; r < walk.rows(); ++r) {
            const Index b = walk.row(r), h = outputs().first, c = units().first;
            if (gradients.h) std::copy_n(flow.d_output_rows[r] + h, outputs().size(), gradients.h.at(b) + h);
            for (Index k = 0; k < run_.sizes.shape.states && gradients.c; ++k)
                std::copy_n(d_state(flow, r, k) + c, units().size(), gradients.c.at(b) + k * run_.sizes.units + c);
        }
        zero_padding(run_.layer, walk, gradients.x, input_columns());
    }

    const BackwardRun<P>& run_;
    Gathered<P>& gathered_;
    Sources<P> from_;
    WeightSums<P> sums_;
    Ahead ahead_;
    Real<P>* scratch_;
    Barrier* barrier_;
    Range groups_, input_groups_, blocks_;
    Index rows_ = 0;
};

/// How many rows a team gathers whose steps have up to `rows` rows.
template <typename P>
Index capacity(const BackwardRun<P>& run, Index rows, Index members) noexcept {
    const Index sums = run.sizes.blocks * run.sizes.weight_numbers() / members * Index{sizeof(Real<P>)};
    return std::max(rows, sums > large_sums ? rows_for_large_sums : rows < enough_rows ? gathered_sums / std::max(gates, run.sizes.shape.sums) : 0);
}

/// The rows of one share, one block of rows after the other.
template <typename P>
void run_rows(const BackwardRun<P>& run, const Index* order, Range share, const WeightSums<P>& sums) {
    const Index rows = capacity(run, std::min(share.size(), block_rows + run.kernels.tile_rows), 1);
    Gathered<P> gathered(run.sizes, run.layer.projected, run.job.gradients.x.data, run.layer.masks.state.data, rows,
                         std::min(share.size(), block_rows + run.kernels.tile_rows));
    const SourceMemory<P> from(run.sizes, 1, rows);
    const Array<const char*> ahead(rows * run.pieces_per_row());
    const Array<Real<P>> scratch(run.layer.shape.whole_rows ? step_rows * scratch_vectors * run.sizes.padded() : 0);
    Barrier alone(1);
    Part<P> part(run, gathered, from.of(0), sums, {ahead.data(), run.fetches}, scratch.data(), {0, 1, alone}, nullptr);
    for_each_block(share, block_rows, run.kernels.tile_rows, [&](Range block) {
        const Walk walk(run.layer, order, block);
        part.run(walk, Flow<P>(run.sizes, run.layer.projected, run.layer.masks.state.data, walk.rows()));
    });
}

/// All rows, the hidden blocks divided among the members of a team.
template <typename P>
void run_units(BackwardRun<P>& run, const Index* order, int members) {
    const Walk walk(run.layer, order, {0, run.layer.batch});
    const Index rows = capacity(run, walk.rows(), members);
    Gathered<P> gathered(run.sizes, false, run.job.gradients.x.data, false, rows, walk.rows());
    const Flow<P> flow(run.sizes, false, false, walk.rows());
    const SourceMemory<P> from(run.sizes, members, rows);
    const Index pieces = walk.rows() * run.pieces_per_row();
    const Array<const char*> ahead(members * pieces);
    const WeightSums<P> sums = run.wants_weights() ? run.sums.of(0) : WeightSums<P>{};
    if (run.wants_weights()) run.sums.zero_rest(0);
    run_team(members, [&](const Member& member) noexcept {
        Part<P> part(run, gathered, from.of(member.index), sums, {&ahead[member.index * pieces], run.fetches}, nullptr, member,
                     &member.barrier);
        part.prepare(run);
        part.run(walk, flow);
        part.finish();
    });
}

}  // namespace

template <typename P>
void run_backward(const BackwardJob<P>* directions, int count, int threads, InstructionSet set) {
    check_jobs(directions, count);
    const Course& layer = directions[0].layer;
    if (layer.batch == 0) {
        std::for_each_n(directions, count, zero_gradients<P>);
        return;
    }
    const Kernels<P>& kernels = table_of<Kernels<P>>(set);
    check_heads(layer, kernels.lanes);
    const Plan plan = plan_layer(layer, count, threads, tile_sizes(kernels), needs_whole_rows(directions[0].layer), layer.shape.sums);
    const Array<Index> order(layer.batch);
    order_rows(layer, order.data());
    std::optional<BackwardRun<P>> runs[most_directions];
    for (int d = 0; d < count; ++d) runs[d].emplace(directions[d], kernels, plan);
    if (plan.unit_shares > 1) {
        for (int d = 0; d < count; ++d) run_units(*runs[d], order.data(), plan.unit_shares);
        return;
    }
    const int packs = static_cast<int>(runs[0]->packs());
    run_shares(count * packs, plan.threads, [&](int share) { runs[share % count]->pack(share / count); });
    run_shares(count * plan.row_shares, plan.threads, [&](int share) {
        const BackwardRun<P>& run = *runs[share % count];
        const Range rows = cut_share(layer, order.data(), share / count, plan.row_shares, kernels.tile_rows);
        if (run.wants_weights()) run.sums.zero(share / count);
        run_rows(run, order.data(), rows, run.sums.of(share / count));
    });
    run_shares(count * packs, plan.threads, [&](int share) {
        if (runs[share % count]->wants_weights()) runs[share % count]->join(share / count, plan.row_shares);
    });
}

#define LSTMKIT_PRECISION(P) template void run_backward(const BackwardJob<P>*, int, int, InstructionSet);
LSTMKIT_EVERY_PRECISION
#undef LSTMKIT_PRECISION

}  // namespace lstmkit
