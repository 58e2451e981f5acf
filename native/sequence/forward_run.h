// One direction on its way forward: what all its threads read, and what each block of rows has for itself.
#pragma once

#include "gemm/pack.h"
#include "lstmkit/memory.h"
#include "sequence/ahead.h"
#include "sequence/landing.h"
#include "sequence/plan.h"
#include "sequence/rounds.h"

namespace lstmkit {

// With fewer rows than this the input's share of several steps is summed up at once, so that its weights are read once for
// all of them: with less than two tiles, and with more where they come from behind the second-level cache.
inline constexpr Index merged_rows = 48, cached_weights = 512 << 10;

template <typename P>
bool goes_past_caches(const Course& layer, const TraceOut<P>& trace, Index lanes) noexcept {
    const Index vector_bytes = lanes * Index{sizeof(Real<P>)};
    return trace.cells && trace.activations && trace_bytes<P>(layer) > cached_bytes && layer.units % lanes == 0 &&
           trace.gate_stride % lanes == 0 && trace.cell_stride % lanes == 0 && is_aligned(trace.cells, vector_bytes) && is_aligned(trace.activations, vector_bytes);
}

/// One direction, ready to run: what all its threads read.
template <typename P>
struct ForwardRun {
    const LayerCase<P>& layer;
    const ForwardResult<P>& result;
    const Kernels<P>& kernels;
    Blocks sizes;
    bool streams, merges, fetches;
    PackedMatrix<P> projection;
    Rounds<P> rounds;
    Array<Stored<P>> weights, projection_pack, zeros;
    Array<Real<P>> bias;

    /// `rows`: of a step in one share.
    ForwardRun(const ForwardJob<P>& job, const Kernels<P>& kernels, Index rows)
        : layer(job.layer), result(job.result), kernels(kernels), sizes(layer, kernels.lanes),
          streams(goes_past_caches<P>(layer, result.trace, kernels.lanes)), merges(is_merged(rows)),
          fetches(!merges && !layer.options && layer.steps * layer.batch * layer.inputs * Index{sizeof(Stored<P>)} > cached_bytes),
          // The product needs the weight the other way round.
          projection({layer.weight_projection, layer.outputs, 1, layer.units, layer.units, 0, gates}, sizes.wide_blocks(layer.units),
                     kernels.lanes, gates),
          rounds(kernels, sizes, layer.weight_rounds),
          weights(sizes.blocks * sizes.packed_numbers(depth<P>)), projection_pack(layer.projected ? projection.numbers() : 0),
          zeros(layer.outputs), bias(sizes.blocks * sizes.sums()) {
        std::fill_n(zeros.data(), layer.outputs, Stored<P>{});
    }

    /// Of the list of what a step reads.
    Index pieces_per_row() const noexcept { return pieces_of(layer.inputs * Index{sizeof(Stored<P>)}); }
    /// Rows of sums that are kept in memory, for steps of up to `rows` rows.
    Index summed_rows(Index rows) const noexcept { return merges ? std::max(rows, merged_rows) : layer.options ? rows : 0; }
    /// Numbers of all sums of a row.
    Index row_sums() const noexcept { return sizes.blocks * sizes.sums(); }

    /// Of what is packed, the blocks first.
    Index packs() const noexcept { return sizes.blocks + rounds.sizes.matrices(); }
    void pack(Index block) noexcept {
        if (block >= sizes.blocks) return rounds.pack(block - sizes.blocks + 1);
        pack_block(kernels, layer, sizes, block, &weights[block * sizes.packed_numbers(depth<P>)], &bias[block * sizes.sums()]);
        if (layer.projected && block < projection.blocks()) projection.fill(kernels, block, projection_pack.data());
    }

private:
    bool is_merged(Index rows) const noexcept {
        const Index bytes = sizes.blocks * sizes.packed_input(depth<P>) * Index{sizeof(Stored<P>)};
        return layer.steps > 1 && layer.inputs > 0 && !layer.rounds && 2 * rows <= (bytes > cached_weights ? merged_rows : 2 * kernels.tile_rows);
    }
};

/// Where each row of one step is read and written.
template <typename P>
struct Pointers {
    const Stored<P> **x, **h, **middle;
    Stored<P> **y, **hidden;
    Real<P>** cells;
    Saved<P>** activations;
    const char** ahead;
};

template <typename P>
class PointerMemory {
public:
    /// `rows`: of a step, or of several whose inputs are read at once.
    PointerMemory(Index rows, Index pieces) : inputs_(3 * rows), outputs_(2 * rows), cells_(rows), activations_(rows),
        ahead_(rows * pieces), rows_(rows), pieces_(pieces) {}
    /// Those of the rows from `first` on.
    Pointers<P> from(Index first) const noexcept {
        return {&inputs_[first], &inputs_[rows_ + first], &inputs_[2 * rows_ + first], &outputs_[first], &outputs_[rows_ + first], &cells_[first],
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

/// What a block of rows carries from step to step: its states; and within a step its sums, what is projected, the output
/// before where it is masked, its middle, and what rounds make.
template <typename P>
struct Carried {
    Array<Real<P>> states, sums;  // [rows][S][padded], [summed rows][blocks][G][L]
    Array<Stored<P>> hidden;      // [rows][wide]
    Array<Stored<P>> masked;      // [rows][R]
    Array<Stored<P>> middle;      // [rows][V]
    Array<Stored<P>> values;      // of a RoundRoom, as the next two
    Array<Real<P>> round_sums;
    Array<const Stored<P>*> within;
    Landing<P> projection;

    Carried(const ForwardRun<P>& run, Index rows)
        : states(rows * run.sizes.shape.states * run.sizes.padded()), sums(run.summed_rows(rows) * run.row_sums()),
          hidden(zeros<Stored<P>>(run.layer.projected ? rows * run.sizes.wide(run.sizes.units) : 0)),
          masked(run.layer.masks.state ? rows * run.sizes.outputs : 0), middle(rows * run.sizes.middle()),
          values(rows * run.rounds.sizes.last().all_values()), round_sums(rows * run.rounds.sizes.last().all_sums()),
          within(run.sizes.rank ? rows : 0),
          projection(run.layer.projected ? rows : 0, run.sizes.outputs) {}
};

}  // namespace lstmkit
