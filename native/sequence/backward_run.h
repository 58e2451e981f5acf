// One direction on its way back: what all its threads read.
#pragma once

#include "sequence/ahead.h"
#include "sequence/plan.h"
#include "sequence/sums.h"

namespace lstmkit {

/// One direction, ready to run: what all its threads read.
template <typename P>
struct BackwardRun {
    const BackwardJob<P>& job;
    const LayerCase<P>& layer;
    const Kernels<P>& kernels;
    Blocks sizes;
    int unit_shares;
    PackedMatrix<P> recurrent, input, middle, projection;  // recurrent: of the first head
    RoundsBackward<P> rounds;
    Array<Stored<P>> recurrent_pack, input_pack, middle_pack, projection_pack, zero_h;
    Array<Real<P>> zero_c;
    SumMemory<P> sums;
    bool fetches = trace_bytes<P>(layer) > cached_bytes;
    bool streams = fetches && std::is_same_v<Stored<P>, Real<P>> && layer.inputs % kernels.lanes == 0 &&
                   is_aligned(job.gradients.x, kernels.lanes * Index{sizeof(Real<P>)});

    BackwardRun(const BackwardJob<P>& job, const Kernels<P>& kernels, const Plan& plan)
        : job(job), layer(job.layer), kernels(kernels), sizes(layer, kernels.lanes), unit_shares(plan.unit_shares),
          recurrent(recurrent_of(0)), input(of_gates(layer.weight_input, layer.inputs, layer.units, layer.shape.input)),
          middle(of_gates(layer.weight_middle, sizes.middle(), layer.units, layer.shape.middle)),
          projection({layer.weight_projection, layer.units, layer.units, 1, layer.outputs, 0, gates}, sizes.wide_blocks(layer.outputs),
                     kernels.lanes, gates),
          rounds(kernels, sizes, layer.weight_rounds),
          recurrent_pack(layer.heads * recurrent.numbers()), input_pack(needs_input() ? input.numbers() : 0),
          middle_pack(middle.numbers()), projection_pack(layer.projected ? projection.numbers() : 0), zero_h(zeros<Stored<P>>(layer.outputs)),
          zero_c(zeros<Real<P>>(layer.units)),
          sums(sizes, layer.projected, totals(), wants_weights() ? plan.row_shares : 0) {}

    /// Vectors of gradients of the cell's options.
    Index totals() const noexcept { return layer.options ? totals_of(*layer.options) : 0; }
    /// The recurrent weights of one head, from its sums to the outputs it sees.
    PackedMatrix<P> recurrent_of(Index head) const noexcept {
        const Index units = layer.units / layer.heads;
        return of_gates(layer.weight_recurrent + head * units * sizes.seen(), sizes.seen(), units, layer.shape.recurrent);
    }
    Stored<P>* recurrent_pack_of(Index head) const noexcept { return &recurrent_pack[head * recurrent.numbers()]; }

    /// Of the list of what a step reads.
    Index pieces_per_row() const noexcept {
        const Index unit = sizeof(Real<P>);
        return layer.shape.kept * pieces_of(layer.units * unit) + 2 * layer.shape.states * pieces_of(layer.units * unit) + pieces_of(layer.inputs * unit) +
               pieces_of(layer.outputs * unit);
    }
    /// Whether the gradient of the input is needed, by the caller or by the rounds before a step.
    bool needs_input() const noexcept { return job.gradients.x || layer.rounds; }
    /// Of what is packed and joined, the blocks first.
    Index packs() const noexcept { return sizes.blocks + rounds.forward.sizes.matrices(); }
    bool wants_weights() const noexcept { return job.gradients.weight_input != nullptr; }

    void pack(Index block) const noexcept {
        if (block >= sizes.blocks) return rounds.pack(block - sizes.blocks + 1);
        const Index each = recurrent.blocks(), head = block / each;
        recurrent_of(head).fill(kernels, block % each, recurrent_pack_of(head));
        if (needs_input()) input.fill(kernels, block, input_pack.data());
        if (layer.shape.middle) middle.fill(kernels, block, middle_pack.data());
        if (layer.projected && block < projection.blocks()) projection.fill(kernels, block, projection_pack.data());
    }

    void join(Index block, int shares) const noexcept {
        if (block < sizes.blocks) join_sums(kernels, sizes, sums, block, shares, job.gradients);
        else join_round_matrix(kernels, sizes, sums, block - sizes.blocks + 1, shares, job.gradients);
    }

    /// The same, of one head and some groups of columns.
    void pack_columns(Range groups, Range input_groups) noexcept {
        for (Index block = 0; block < sizes.blocks; ++block) {
            recurrent.fill(kernels, block, recurrent_pack.data(), groups.first, groups.last);
            if (job.gradients.x) input.fill(kernels, block, input_pack.data(), input_groups.first, input_groups.last);
        }
    }

private:
    /// A weight [count * H, columns] or one head's part of it, in groups of columns small enough that every member of a team
    /// has one.
    PackedMatrix<P> of_gates(const Stored<P>* weight, Index columns, Index units, Index count) const noexcept {
        const Index group = std::clamp<Index>(sizes.blocks / unit_shares, 1, gates), L = kernels.lanes;
        return {{weight, columns, columns, 1, units, layer.units, count}, (units + L - 1) / L, L, group};
    }
};

}  // namespace lstmkit
