#include <optional>

#include "gemm/pack.h"
#include "sequence/ahead.h"
#include "sequence/check.h"
#include "sequence/gathered.h"
#include "sequence/plan.h"
#include "sequence/walk.h"
#include "threads/team.h"

namespace lstmkit {
namespace {

// So many rows of one step and of the next stay in the second-level cache beside the sums of the weights' gradients.
constexpr Index block_rows = 66;

// Steps are gathered up to so many rows before the weights' gradient takes them: enough that its tiles are seldom loaded
// and stored, few enough that the rows are still in the second-level cache. One step is enough where it has many rows, and
// sums that lie behind that cache are loaded and stored less often.
constexpr Index gathered_rows = 128, enough_rows = 48, rows_for_large_sums = 512, large_sums = 768 << 10;

/// One direction, ready to run: what all its threads read.
template <typename P>
struct Run {
    const BackwardJob<P>& job;
    const LayerCase<P>& layer;
    const Kernels<P>& kernels;
    Blocks sizes;
    PackedMatrix<P> recurrent, input, projection;
    Array<Stored<P>> recurrent_pack, input_pack, projection_pack, zero_h;
    Array<Real<P>> zero_c;
    SumMemory<P> sums;
    bool fetches = trace_bytes<P>(layer) > cached_bytes;
    bool streams = fetches && std::is_same_v<Stored<P>, Real<P>> && layer.inputs % kernels.lanes == 0 &&
                   is_aligned(job.gradients.x, kernels.lanes * Index{sizeof(Real<P>)});

    Run(const BackwardJob<P>& job, const Kernels<P>& kernels, const Plan& plan)
        : job(job), layer(job.layer), kernels(kernels), sizes(layer, kernels.lanes),
          recurrent(of_gates(layer.weight_recurrent, layer.outputs, plan.unit_shares)),
          input(of_gates(layer.weight_input, layer.inputs, plan.unit_shares)),
          projection({layer.weight_projection, layer.units, layer.units, 1, layer.outputs, 0}, sizes.wide_blocks(layer.outputs),
                     kernels.lanes, gates),
          recurrent_pack(recurrent.numbers()), input_pack(job.gradients.x ? input.numbers() : 0),
          projection_pack(layer.projected ? projection.numbers() : 0), zero_h(zeros<Stored<P>>(layer.outputs)),
          zero_c(zeros<Real<P>>(layer.units)), sums(sizes, layer.projected, wants_weights() ? plan.row_shares : 0) {}

    /// Of the list of what a step reads.
    Index pieces_per_row() const noexcept {
        const Index unit = sizeof(Real<P>);
        return gates * pieces_of(layer.units * unit) + 2 * pieces_of(layer.units * unit) + pieces_of(layer.inputs * unit) +
               pieces_of(layer.outputs * unit);
    }
    bool wants_weights() const noexcept { return job.gradients.weight_input != nullptr; }

    void pack(Index block) const noexcept {
        recurrent.fill(kernels, block, recurrent_pack.data());
        if (job.gradients.x) input.fill(kernels, block, input_pack.data());
        if (layer.projected && block < projection.blocks()) projection.fill(kernels, block, projection_pack.data());
    }

private:
    /// A weight [4H, columns], in groups of columns small enough that every member of a team has one.
    PackedMatrix<P> of_gates(const Stored<P>* weight, Index columns, int unit_shares) const noexcept {
        const Index group = std::clamp<Index>(sizes.blocks / unit_shares, 1, gates);
        return {{weight, columns, columns, 1, layer.units, layer.units}, sizes.blocks, kernels.lanes, group};
    }
};

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
    Part(const Run<P>& run, Gathered<P>& gathered, const Sources<P>& from, const WeightSums<P>& sums, const Ahead& ahead,
         const Member& member, Barrier* barrier) noexcept
        : run_(run), gathered_(gathered), from_(from), sums_(sums), ahead_(ahead), barrier_(barrier),
          groups_(share_of(run.recurrent.groups(), member)), input_groups_(share_of(run.input.groups(), member)) {
        // A member's columns of the recurrent product are those of its units; with a projection it has them all.
        const Index size = run.recurrent.group_vectors(), last = run.layer.projected ? run.sizes.blocks : groups_.last * size;
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

private:
    static Range share_of(Index count, const Member& member) noexcept {
        return {count * member.index / member.count, count * (member.index + 1) / member.count};
    }
    Range units() const noexcept {
        return {run_.sizes.first(blocks_.first), std::min(run_.sizes.units, run_.sizes.first(blocks_.last))};
    }
    Range outputs() const noexcept { return run_.layer.projected ? Range{0, run_.sizes.outputs} : units(); }
    Real<P>* dc(const Flow<P>& flow, Index r) const noexcept { return &flow.dc[r * run_.sizes.padded()]; }

    void begin(const Walk& walk, const Flow<P>& flow) const noexcept {
        const Upstream<P>& upstream = run_.job.upstream;
        for (Index r = 0; r < walk.rows(); ++r) {
            zero_flow(flow, r);
            const Index b = walk.row(r), h = outputs().first, c = units().first;
            if (upstream.h) std::copy_n(upstream.h.at(b) + h, outputs().size(), flow.d_output_rows[r] + h);
            if (upstream.c) std::copy_n(upstream.c.at(b) + c, units().size(), dc(flow, r) + c);
        }
    }

    void zero_flow(const Flow<P>& flow, Index r) const noexcept {
        const Index first = run_.sizes.first(blocks_.first), count = blocks_.size() * run_.sizes.lanes;
        if (run_.layer.projected)
            std::fill_n(flow.d_output_rows[r], run_.sizes.padded_outputs(), Real<P>{});
        else
            std::fill_n(flow.d_output_rows[r] + first, count, Real<P>{});
        std::fill_n(dc(flow, r) + first, count, Real<P>{});
    }

    void step(const Walk& walk, Index t, Index next, const Flow<P>& flow) noexcept {
        const Blocks& s = run_.sizes;
        const Index active = walk.active(t);
        if (run_.layer.projected) step_projection(walk, t, active, flow);
        for (Index r = 0; r < active; ++r) step_cell(walk, t, r, flow);
        if (ahead_.is_used()) list(walk, next);
        Fetch* const fetch = ahead_.over(halts(active, rows_ + active + (next == no_step ? 0 : walk.active(next))));
        if (barrier_) barrier_->wait();
        run_.recurrent.multiply(run_.kernels, &gathered_.dz[rows_ * s.gate_vectors()], s.gate_vectors(), gathered_.dz_block,
                                active, run_.recurrent_pack.data(), flow.d_output_rows.data(), groups_.first, groups_.last, fetch);
        for (Index r = 0; r < active; ++r)
            if (walk.is_reset(t, r)) zero_flow(flow, r);
        rows_ += active;
    }

    void step_projection(const Walk& walk, Index t, Index active, const Flow<P>& flow) noexcept {
        const Index wide = run_.sizes.wide(run_.sizes.outputs);
        for (Index r = 0; r < active; ++r) {
            Stored<P>* total = &gathered_.d_output[(rows_ + r) * wide];
            const Stored<P>* dy = at_or_null(run_.job.upstream.y, t, walk.row(r));
            for (Index k = 0; k < run_.sizes.outputs; ++k) total[k] = flow.d_output_rows[r][k] + (dy ? Real<P>(dy[k]) : 0);
            from_.d_output[rows_ + r] = total;
        }
        run_.projection.multiply(run_.kernels, &gathered_.d_output[rows_ * wide], wide, run_.sizes.gate_vectors(), active,
                                 run_.projection_pack.data(), flow.d_hidden_rows.data());
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
             (projected ? flow.d_hidden_rows : flow.d_output_rows)[r] + first, dc(flow, r) + first,
             &gathered_.dz[blocks_.first * gathered_.dz_block + slot * s.gate_vectors()],
             projected ? &gathered_.hidden[slot * s.wide(s.units)] : nullptr, units().size(), job.trace.gate_stride,
             job.upstream.trace.gate_stride, gathered_.dz_block});
        from_.x[slot] = run_.layer.x.at(t, b);
        from_.h[slot] = walk.before(t, r, job.y, run_.layer.h, run_.zero_h.data());
        if (job.gradients.x) from_.dx[slot] = job.gradients.x.at(t, b);
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
            for (Index gate = 0; gate < (whole ? 1 : gates); ++gate)
                ahead_.add(activations + gate * job.trace.gate_stride, (whole ? gates : 1) * own.size());
            ahead_.add(walk.before(next, r, job.trace.cells, run_.layer.c, run_.zero_c.data()) + own.first, own.size());
            if (job.upstream.y) ahead_.add(job.upstream.y.at(next, b) + outputs().first, outputs().size());
            ahead_.add(run_.layer.x.at(next, b), run_.layer.inputs);
            ahead_.add(walk.before(next, r, job.y, run_.layer.h, run_.zero_h.data()), run_.layer.outputs);
        }
    }

    /// Of the products of this step: those of the gathered rows too if they are too many after the next.
    Index halts(Index active, Index after_next) const noexcept {
        const Index tile = run_.kernels.tile_rows;
        const Index count = run_.recurrent.halts(active, tile, groups_.first, groups_.last);
        if (after_next <= gathered_.capacity) return count;
        const Index of_input = run_.job.gradients.x ? run_.input.halts(rows_ + active, tile, input_groups_.first, input_groups_.last) : 0;
        const Index columns = run_.wants_weights() ? run_.sizes.inputs + run_.sizes.outputs : 0;
        return count + of_input + columns / tile * blocks_.size();
    }

    /// Spends the gathered rows on the gradients of input and weights.
    void spend() noexcept {
        if (run_.job.gradients.x) spend_on_input();
        if (run_.wants_weights()) spend_on_weights();
        if (run_.wants_weights() && run_.layer.projected) spend_on_projection();
        rows_ = 0;
        // The others may still read what the next step will write.
        if (barrier_) barrier_->wait();
    }

    void spend_on_input() noexcept {
        run_.input.multiply(run_.kernels, gathered_.dz.data(), run_.sizes.gate_vectors(), gathered_.dz_block, rows_,
                            run_.input_pack.data(), gathered_.dx.rows(from_.dx), input_groups_.first, input_groups_.last,
                            ahead_.rest(), run_.streams);
        gathered_.dx.land(run_.kernels, from_.dx, rows_, input_columns());
    }

    void spend_on_weights() noexcept {
        const Blocks& s = run_.sizes;
        group_rows(run_.kernels, from_.x, rows_, s.inputs, from_.x_groups);
        group_rows(run_.kernels, from_.h, rows_, s.outputs, from_.h_groups);
        for (Index block = blocks_.first; block < blocks_.last; ++block) {
            const Right<P> dz = right({&gathered_.dz[block * gathered_.dz_block], s.gate_vectors()});
            Real<P>* sum = &sums_.weights[block * s.weight_numbers()];
            outer(s.inputs, from_.x, dz, sum);
            outer(s.outputs, from_.h, dz, sum + s.inputs * s.gate_vectors());
            outer(1, from_.ones, dz, &sums_.bias[block * s.gate_vectors()]);
        }
    }

    void spend_on_projection() noexcept {
        const Blocks& s = run_.sizes;
        group_rows(run_.kernels, from_.d_output, rows_, s.outputs, from_.d_output_groups);
        for (Index k = 0; k < s.wide_blocks(s.units); ++k)
            outer(s.outputs, from_.d_output, right({&gathered_.hidden[k * s.gate_vectors()], s.wide(s.units)}),
                  &sums_.projection[k * s.outputs * s.gate_vectors()]);
    }

    Right<P> right(Right<P> rows) const noexcept {
        return group_right(run_.kernels, rows, rows_, run_.sizes.gate_vectors(), from_.right_groups);
    }

    void outer(Index columns, const Stored<P>* const* in, const Right<P>& right, Real<P>* sum) noexcept {
        run_.kernels.outer({(rows_ + depth<P> - 1) / depth<P>, columns, in, right.data, right.row, sum, ahead_.rest()});
    }

    Range input_columns() const noexcept {
        return {run_.input.first_column(input_groups_.first), run_.input.first_column(input_groups_.last)};
    }

    void end(const Walk& walk, const Flow<P>& flow) const noexcept {
        const Gradients<P>& gradients = run_.job.gradients;
        for (Index r = 0; r < walk.rows(); ++r) {
            const Index b = walk.row(r), h = outputs().first, c = units().first;
            if (gradients.h) std::copy_n(flow.d_output_rows[r] + h, outputs().size(), gradients.h.at(b) + h);
            if (gradients.c) std::copy_n(dc(flow, r) + c, units().size(), gradients.c.at(b) + c);
        }
        zero_padding(run_.layer, walk, gradients.x, input_columns());
    }

    const Run<P>& run_;
    Gathered<P>& gathered_;
    Sources<P> from_;
    WeightSums<P> sums_;
    Ahead ahead_;
    Barrier* barrier_;
    Range groups_, input_groups_, blocks_;
    Index rows_ = 0;
};

/// How many rows a team gathers whose steps have up to `rows` rows.
template <typename P>
Index capacity(const Run<P>& run, Index rows, Index members) noexcept {
    const Index sums = run.sizes.blocks * run.sizes.weight_numbers() / members * Index{sizeof(Real<P>)};
    return std::max(rows, sums > large_sums ? rows_for_large_sums : rows < enough_rows ? gathered_rows : 0);
}

/// The rows of one share, one block of rows after the other.
template <typename P>
void run_rows(const Run<P>& run, const Index* order, Range share, const WeightSums<P>& sums) {
    const Index rows = capacity(run, std::min(share.size(), block_rows + run.kernels.tile_rows), 1);
    Gathered<P> gathered(run.sizes, run.layer.projected, run.job.gradients.x.data, rows);
    const SourceMemory<P> from(run.sizes, 1, rows);
    const Array<const char*> ahead(rows * run.pieces_per_row());
    Barrier alone(1);
    Part<P> part(run, gathered, from.of(0), sums, {ahead.data(), run.fetches}, {0, 1, alone}, nullptr);
    for_each_block(share, block_rows, run.kernels.tile_rows, [&](Range block) {
        const Walk walk(run.layer, order, block);
        part.run(walk, Flow<P>(run.sizes, run.layer.projected, walk.rows()));
    });
}

/// All rows, the hidden blocks divided among the members of a team.
template <typename P>
void run_units(const Run<P>& run, const Index* order, int members, const WeightSums<P>& sums) {
    const Walk walk(run.layer, order, {0, run.layer.batch});
    const Index rows = capacity(run, walk.rows(), members);
    Gathered<P> gathered(run.sizes, false, run.job.gradients.x.data, rows);
    const Flow<P> flow(run.sizes, false, walk.rows());
    const SourceMemory<P> from(run.sizes, members, rows);
    const Index pieces = walk.rows() * run.pieces_per_row();
    const Array<const char*> ahead(members * pieces);
    run_team(members, [&](const Member& member) noexcept {
        Part<P>(run, gathered, from.of(member.index), sums, {&ahead[member.index * pieces], run.fetches}, member, &member.barrier).run(walk, flow);
    });
}

template <typename Number>
void add(Number* to, const Number* more, Index count) noexcept {
    for (Index k = 0; k < count; ++k) to[k] += more[k];
}

/// Adds one block of the shares' sums in their order, so that the result does not depend on which finished first.
template <typename P>
void join(const Run<P>& run, Index block, int shares) noexcept {
    const Blocks& s = run.sizes;
    const WeightSums<P> sums = run.sums.of(0);
    const Index weights = block * s.weight_numbers(), bias = block * s.gate_vectors();
    for (int share = 1; share < shares; ++share) {
        add(sums.weights + weights, run.sums.of(share).weights + weights, s.weight_numbers());
        add(sums.bias + bias, run.sums.of(share).bias + bias, s.gate_vectors());
    }
    unpack_block(run.kernels, s, block, sums.weights + weights, sums.bias + bias, run.job.gradients);
    if (!run.layer.projected || block >= s.wide_blocks(s.units)) return;
    const Index numbers = s.outputs * s.gate_vectors();
    for (int share = 1; share < shares; ++share)
        add(sums.projection + block * numbers, run.sums.of(share).projection + block * numbers, numbers);
    unpack_projection<P>(s, block, sums.projection + block * numbers, run.job.gradients.weight_projection);
}

template <typename P>
void zero_weights(const BackwardJob<P>& job) noexcept {
    const Course& layer = job.layer;
    if (!job.gradients.weight_input) return;
    std::fill_n(job.gradients.weight_input, gates * layer.units * layer.inputs, Real<P>{});
    std::fill_n(job.gradients.weight_recurrent, gates * layer.units * layer.outputs, Real<P>{});
    std::fill_n(job.gradients.bias, gates * layer.units, Real<P>{});
    if (layer.projected) std::fill_n(job.gradients.weight_projection, layer.outputs * layer.units, Real<P>{});
}

}  // namespace

template <typename P>
void run_backward(const BackwardJob<P>* directions, int count, int threads, InstructionSet set) {
    check_jobs(directions, count);
    const Course& layer = directions[0].layer;
    if (layer.batch == 0) {
        std::for_each_n(directions, count, zero_weights<P>);
        return;
    }
    const Kernels<P>& kernels = kernels_of<P>(set);
    const Plan plan = plan_layer(layer, count, threads, tile_sizes(kernels));
    const Array<Index> order(layer.batch);
    order_rows(layer, order.data());
    std::optional<Run<P>> runs[most_directions];
    for (int d = 0; d < count; ++d) runs[d].emplace(directions[d], kernels, plan);
    const int blocks = static_cast<int>(runs[0]->sizes.blocks);
    run_shares(count * blocks, plan.threads, [&](int share) { runs[share % count]->pack(share / count); });
    if (plan.unit_shares > 1)
        for (int d = 0; d < count; ++d) {
            if (runs[d]->wants_weights()) runs[d]->sums.zero(0);
            run_units(*runs[d], order.data(), plan.unit_shares, runs[d]->sums.of(0));
        }
    else
        run_shares(count * plan.row_shares, plan.threads, [&](int share) {
            const Run<P>& run = *runs[share % count];
            const Range rows = cut_share(layer, order.data(), share / count, plan.row_shares, kernels.tile_rows);
            if (run.wants_weights()) run.sums.zero(share / count);
            run_rows(run, order.data(), rows, run.sums.of(share / count));
        });
    run_shares(count * blocks, plan.threads, [&](int share) {
        const Run<P>& run = *runs[share % count];
        if (run.wants_weights()) join(run, share / count, plan.row_shares);
    });
}

#define LSTMKIT_PRECISION(P) template void run_backward(const BackwardJob<P>*, int, int, InstructionSet);
LSTMKIT_EVERY_PRECISION
#undef LSTMKIT_PRECISION

}  // namespace lstmkit
