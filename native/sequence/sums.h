// The gradients of the weights: sums that each share of the rows has for itself, packed as the tiles add to them; how
// gathered rows are spent on them, and how the shares' sums become one result.
#pragma once

#include "sequence/gathered.h"

namespace lstmkit {

/// The packed gradient of the weights that one share of the rows adds up.
template <typename P>
struct WeightSums {
    Real<P> *weights, *bias;   ///< [blocks] of [I][input][L], [R][recurrent][L] and [V][middle][L], [blocks][G][L]
    Real<P>* projection;       ///< [wide blocks of H][R][4L] where there is one
    Real<P>* projection_bias;  ///< [R], likewise
    Real<P>* totals;           ///< [totals_of(options)][padded H]
    Real<P>* rounds;           ///< matrix m at RoundSizes::packed_before(m, 1): parts of [columns][vectors][L]
};

template <typename P>
class SumMemory {
public:
    const Index totals;  ///< vectors of gradients of the cell's options

    SumMemory(const Blocks& s, bool projected, Index totals, int shares)
        : totals(totals), weights_(s.blocks * s.weight_numbers()), bias_(s.blocks * s.sums()), projection_(projected ? s.projection_numbers() : 0),
          outputs_(projected ? s.outputs : 0), totals_(totals * s.padded()),
          numbers_(weights_ + bias_ + projection_ + outputs_ + totals_ + RoundSizes(s).all_packed(1)),
          all_(shares * numbers_) {}
    void zero(int share) const noexcept { std::fill_n(&all_[share * numbers_], numbers_, Real<P>{}); }
    /// The same in parts: what some blocks have, and what belongs to none.
    void zero_blocks(const Blocks& s, int share, Range blocks) const noexcept {
        const WeightSums<P> sums = of(share);
        std::fill_n(sums.weights + blocks.first * s.weight_numbers(), blocks.size() * s.weight_numbers(), Real<P>{});
        std::fill_n(sums.bias + blocks.first * s.sums(), blocks.size() * s.sums(), Real<P>{});
    }
    void zero_rest(int share) const noexcept {
        std::fill_n(&all_[share * numbers_ + weights_ + bias_], numbers_ - weights_ - bias_, Real<P>{});
    }
    WeightSums<P> of(int share) const noexcept {
        Real<P>* const first = &all_[share * numbers_];
        Real<P>* const projection = first + weights_ + bias_;
        Real<P>* const totals_of_options = projection + projection_ + outputs_;
        return {first, first + weights_, projection, projection + projection_, totals_of_options, totals_of_options + totals_};
    }

private:
    Index weights_, bias_, projection_, outputs_, totals_, numbers_;
    Array<Real<P>> all_;
};

/// Some gathered rows, to be spent on the sums of one share.
template <typename P>
struct Spending {
    const Kernels<P>& kernels;
    const Blocks& sizes;
    const Gathered<P>& gathered;
    const Sources<P>& from;
    const WeightSums<P>& sums;
    Index rows;
    Fetch* fetch;

    /// Adds what they give to the gradients of some hidden blocks, and to that of a projection.
    void run(Range blocks, bool projected) const noexcept {
        group_rows(kernels, from.x, rows, sizes.inputs, from.x_groups);
        group_rows(kernels, from.h, rows, sizes.outputs, from.h_groups);
        if (sizes.shape.middle) group_rows(kernels, from.middle, rows, sizes.middle(), from.middle_groups);
        for (Index block = blocks.first; block < blocks.last; ++block) add_block(block);
        if (projected) add_projection();
        for (Index m = 1; m <= gathered.rounds.sizes.matrices(); ++m) add_round_matrix(m);
    }

private:
    void add_block(Index block) const noexcept {
        const CellShape& shape = sizes.shape;
        const Right<P> dz = right({&gathered.dz[block * gathered.dz_block], sizes.sums()}, sizes.sums());
        Real<P>* const sum = &sums.weights[block * sizes.weight_numbers()];
        const Range seen{sizes.first_seen(block), sizes.first_seen(block) + sizes.seen()};
        add_share({0, sizes.inputs}, from.x, dz, shape.input_first, shape.input, sum);
        add_share(seen, from.h, dz, shape.recurrent_first, shape.recurrent, sum + sizes.inputs * sizes.input_sums());
        add_share({0, sizes.middle()}, from.middle, dz, shape.middle_first, shape.middle, sum + sizes.outer_numbers());
        add_share({0, 1}, from.ones, dz, 0, shape.sums, &sums.bias[block * sizes.sums()]);
    }
    /// The products of some columns of `in` with `count` sums.
    void add_share(Range columns, const Stored<P>* const* in, const Right<P>& dz, Index first_sum, Index count, Real<P>* sum) const noexcept {
        each_part(count, [&](Index first, Index part) {
            outer(columns, in, dz, {first_sum + first, first_sum + first + part}, sum + first * sizes.lanes * columns.size());
        });
    }
    void add_projection() const noexcept {
        group_rows(kernels, from.d_output, rows, sizes.outputs, from.d_output_groups);
        const Index gate_vectors = sizes.gate_vectors(), wide = sizes.wide(sizes.units);
        for (Index k = 0; k < sizes.wide_blocks(sizes.units); ++k)
            outer({0, sizes.outputs}, from.d_output, right({&gathered.hidden[k * gate_vectors], wide}, gate_vectors), {0, gates},
                  &sums.projection[k * sizes.outputs * gate_vectors]);
    }
    void add_round_matrix(Index m) const noexcept {
        const RoundMemory<P>& memory = gathered.rounds;
        const State<Stored<P>> read = memory.room(0).values_of(m - 1), d_sums = memory.d_sums_of(m, 0);
        const Index columns = memory.sizes.columns(m), L = sizes.lanes;
        for (Index r = 0; r < rows; ++r) from.middle[r] = read.at(r);
        group_rows(kernels, from.middle, rows, columns, from.middle_groups);
        Real<P>* const sum = sums.rounds + memory.sizes.packed_before(m, 1);
        each_part(memory.sizes.vectors(m), [&](Index first, Index count) {
            const Right<P> ds = right({d_sums.data + first * L, d_sums.row}, count * L);
            outer({0, columns}, from.middle, ds, {0, count}, sum + first * L * columns);
        });
    }
    Right<P> right(Right<P> at, Index columns) const noexcept { return group_right(kernels, at, rows, columns, from.right_groups); }

    /// Adds the products of some columns of `in` with some vectors of the right side.
    void outer(Range columns, const Stored<P>* const* in, const Right<P>& right, Range vectors, Real<P>* sum) const noexcept {
        kernels.outer({(rows + depth<P> - 1) / depth<P>, columns.first, columns.size(), in,
                       right.data + vectors.first * sizes.lanes * depth<P>, right.row, vectors.size(), sum, fetch});
    }
};

template <typename Number>
void add(Number* to, const Number* more, Index count) noexcept {
    for (Index k = 0; k < count; ++k) to[k] += more[k];
}

/// What belongs to no block.
template <typename P>
void join_options(const Blocks& s, const SumMemory<P>& memory, int shares, const Gradients<P>& to) noexcept {
    const WeightSums<P> sums = memory.of(0);
    const Index outputs = to.projection_bias ? s.outputs : 0;
    for (int share = 1; share < shares; ++share) {
        add(sums.totals, memory.of(share).totals, memory.totals * s.padded());
        add(sums.projection_bias, memory.of(share).projection_bias, outputs);
    }
    for (Index k = 0; k < memory.totals; ++k) std::copy_n(sums.totals + k * s.padded(), s.units, to.totals + k * s.units);
    std::copy_n(sums.projection_bias, outputs, to.projection_bias);
}

/// Adds one block of the shares' sums in their order, so that the result does not depend on which finished first.
template <typename P>
void join_sums(const Kernels<P>& kernels, const Blocks& s, const SumMemory<P>& memory, Index block, int shares,
               const Gradients<P>& to) noexcept {
    const WeightSums<P> sums = memory.of(0);
    const Index weights = block * s.weight_numbers(), bias = block * s.sums();
    for (int share = 1; share < shares; ++share) {
        add(sums.weights + weights, memory.of(share).weights + weights, s.weight_numbers());
        add(sums.bias + bias, memory.of(share).bias + bias, s.sums());
    }
    unpack_block(kernels, s, block, sums.weights + weights, sums.bias + bias, to);
    if (block == 0) join_options(s, memory, shares, to);
    if (!to.weight_projection || block >= s.wide_blocks(s.units)) return;
    const Index numbers = s.outputs * s.gate_vectors();
    for (int share = 1; share < shares; ++share)
        add(sums.projection + block * numbers, memory.of(share).projection + block * numbers, numbers);
    unpack_projection<P>(s, block, sums.projection + block * numbers, to.weight_projection);
}

/// The same of a matrix of the rounds.
template <typename P>
void join_round_matrix(const Kernels<P>& kernels, const Blocks& s, const SumMemory<P>& memory, Index m, int shares, const Gradients<P>& to) noexcept {
    const RoundSizes sizes(s);
    const Index first = sizes.packed_before(m, 1), columns = sizes.columns(m), L = s.lanes;
    Real<P>* const sum = memory.of(0).rounds + first;
    for (int share = 1; share < shares; ++share) add(sum, memory.of(share).rounds + first, sizes.vectors(m) * L * columns);
    each_part(sizes.vectors(m), [&](Index part, Index count) {
        for (Index v = 0; v < count; ++v)
            unpack_rows(kernels, sum + part * L * columns + v * L, columns, std::min(L, sizes.rows(m) - (part + v) * L),
                        sizes.weight(to.weight_rounds, m) + (part + v) * L * columns, count * L);
    });
}

/// What the gradients of a batch without rows are.
template <typename P>
void zero_gradients(const BackwardJob<P>& job) noexcept {
    const Course& layer = job.layer;
    const Gradients<P>& to = job.gradients;
    if (!to.weight_input) return;
    std::fill_n(to.weight_input, layer.shape.input * layer.units * layer.inputs, Real<P>{});
    std::fill_n(to.weight_recurrent, layer.shape.recurrent * layer.units * (layer.outputs / layer.heads), Real<P>{});
    std::fill_n(to.bias, layer.shape.sums * layer.units, Real<P>{});
    if (to.weight_middle) std::fill_n(to.weight_middle, layer.shape.middle * layer.units * layer.shape.middle_vectors * layer.units, Real<P>{});
    if (to.weight_rounds) std::fill_n(to.weight_rounds, layer.rounds * layer.round_weights(), Real<P>{});
    if (to.totals) std::fill_n(to.totals, totals_of(*job.layer.options) * layer.units, Real<P>{});
    if (to.projection_bias) std::fill_n(to.projection_bias, layer.outputs, Real<P>{});
    if (layer.projected) std::fill_n(to.weight_projection, layer.outputs * layer.units, Real<P>{});
}

}  // namespace lstmkit
