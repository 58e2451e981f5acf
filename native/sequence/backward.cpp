#include <algorithm>

#include "gemm/pack.h"
#include "lstmkit/memory.h"
#include "threads/team.h"
#include "sequence/walk.h"

namespace lstmkit {
namespace {

constexpr Index block_rows = 96;

// Steps are gathered up to so many rows before the weights' gradient takes them: more where it is too large for the
// second-level cache and each visit to it costs a trip to memory.
constexpr Index few_rows = 96, many_rows = 256, large_units = 192;

/// What all threads read.
struct Run {
    const LayerCase& layer;
    const Sequence<const float>& y;
    const Trace<const float>& trace;
    const Upstream& upstream;
    const Gradients& gradients;
    const Kernels& kernels;
    Blocks sizes;
    TransposedPack recurrent, input;
    const float *recurrent_pack, *input_pack, *zeros;

    bool wants_weights() const noexcept { return gradients.weight_input != nullptr; }
};

/// The packed gradient of the weights that one share of the rows adds up.
struct WeightSums {
    Array<float> weights, bias;  // [blocks][I + H][4][L], [blocks][4][L]

    explicit WeightSums(const Blocks& s) : weights(s.blocks * s.weight_floats()), bias(s.blocks * s.gate_vectors()) {
        std::fill_n(weights.data(), s.blocks * s.weight_floats(), 0.0f);
        std::fill_n(bias.data(), s.blocks * s.gate_vectors(), 0.0f);
    }
};

// Rows of dz between the last of one block and the first of the next: without them blocks lie a multiple of 4 KiB apart
// and fight for the same few lines of the caches.
constexpr Index spare_rows = 7;

/// The gradients of the pre-activations of several steps, and where their rows come from and go to.
struct Gathered {
    Index capacity, rows = 0, dz_block;
    Array<float> dz;  // [blocks][capacity + spare_rows][4][L]
    Array<const float*> x, h, ones;
    Array<float*> dx;
    float one = 1.0f;

    Gathered(const Blocks& s, Index capacity)
        : capacity(capacity), dz_block((capacity + spare_rows) * s.gate_vectors()), dz(s.blocks * dz_block), x(capacity), h(capacity), ones(capacity), dx(capacity) {
        std::fill_n(ones.data(), capacity, &one);
    }
};

/// What flows from step to step: [rows][padded] each.
struct Carried {
    Array<float> dh, dc;
    Array<float*> dh_rows;

    Carried(const Run& run, const Walk& walk)
        : dh(walk.rows() * run.sizes.padded()), dc(walk.rows() * run.sizes.padded()), dh_rows(walk.rows()) {
        const Index padded = run.sizes.padded();
        std::fill_n(dh.data(), walk.rows() * padded, 0.0f);
        std::fill_n(dc.data(), walk.rows() * padded, 0.0f);
        for (Index r = 0; r < walk.rows(); ++r) {
            dh_rows[r] = &dh[r * padded];
            if (run.upstream.h) std::copy_n(run.upstream.h.at(walk.row(r)), run.sizes.units, dh_rows[r]);
            if (run.upstream.c) std::copy_n(run.upstream.c.at(walk.row(r)), run.sizes.units, &dc[r * padded]);
        }
    }
};

const float* at_or_null(const Sequence<const float>& values, Index t, Index b) noexcept {
    return values ? values.at(t, b) : nullptr;
}

void step_cell(const Run& run, const Walk& walk, Index t, Index r, const Carried& carried, const Gathered& gathered) noexcept {
    const Blocks& s = run.sizes;
    const Index b = walk.row(r), slot = gathered.rows + r, ahead = run.layer.backwards ? 1 : -1;
    run.kernels.cell_backward({run.trace.activations.at(t, b), run.trace.cells.at(t, b),
                               walk.before(t, r, run.trace.cells, run.layer.c, run.zeros),
                               at_or_null(run.upstream.y, t, b), at_or_null(run.upstream.trace.cells, t, b),
                               at_or_null(run.upstream.trace.activations, t, b), &carried.dh[r * s.padded()],
                               &carried.dc[r * s.padded()], &gathered.dz[slot * s.gate_vectors()], s.units,
                               run.trace.gate_stride, run.upstream.trace.gate_stride,
                               gathered.dz_block, ahead * run.upstream.y.step,
                               ahead * run.trace.cells.step, ahead * run.trace.activations.step});
    gathered.x[slot] = run.layer.x.at(t, b);
    gathered.h[slot] = walk.before(t, r, run.y, run.layer.h, run.zeros);
    if (run.gradients.x) gathered.dx[slot] = run.gradients.x.at(t, b);
}

void step(const Run& run, const Walk& walk, Index t, const Carried& carried, Gathered& gathered) noexcept {
    const Blocks& s = run.sizes;
    const Index active = walk.active(t);
    for (Index r = 0; r < active; ++r) step_cell(run, walk, t, r, carried, gathered);
    run.recurrent.multiply(run.kernels, &gathered.dz[gathered.rows * s.gate_vectors()],
                           gathered.dz_block, active, run.recurrent_pack, carried.dh_rows.data());
    for (Index r = 0; r < active; ++r) {
        if (!walk.is_reset(t, r)) continue;
        std::fill_n(&carried.dh[r * s.padded()], s.padded(), 0.0f);
        std::fill_n(&carried.dc[r * s.padded()], s.padded(), 0.0f);
    }
    gathered.rows += active;
}

/// Spends the gathered rows on the gradients of input and weights.
void spend(const Run& run, Gathered& gathered, const WeightSums& sums) noexcept {
    const Blocks& s = run.sizes;
    if (run.gradients.x)
        run.input.multiply(run.kernels, gathered.dz.data(), gathered.dz_block, gathered.rows, run.input_pack, gathered.dx.data());
    for (Index block = 0; block < s.blocks && run.wants_weights(); ++block) {
        const float* dz = &gathered.dz[block * gathered.dz_block];
        float* sum = &sums.weights[block * s.weight_floats()];
        run.kernels.outer({gathered.rows, s.inputs, gathered.x.data(), dz, sum});
        run.kernels.outer({gathered.rows, s.units, gathered.h.data(), dz, sum + s.inputs * s.gate_vectors()});
        run.kernels.outer({gathered.rows, 1, gathered.ones.data(), dz, &sums.bias[block * s.gate_vectors()]});
    }
    gathered.rows = 0;
}

void run_block(const Run& run, const Walk& walk, Gathered& gathered, const WeightSums& sums) {
    const Carried carried(run, walk);
    for (Index n = walk.steps(); n-- > 0;) {
        const Index t = walk.time(n);
        if (gathered.rows + walk.active(t) > gathered.capacity) spend(run, gathered, sums);
        step(run, walk, t, carried, gathered);
    }
    spend(run, gathered, sums);
    for (Index r = 0; r < walk.rows(); ++r) {
        const Index b = walk.row(r), first = r * run.sizes.padded();
        if (run.gradients.h) std::copy_n(&carried.dh[first], run.sizes.units, run.gradients.h.at(b));
        if (run.gradients.c) std::copy_n(&carried.dc[first], run.sizes.units, run.gradients.c.at(b));
    }
    zero_padding(run.layer, walk, run.gradients.x, run.sizes.inputs);
}

/// Adds the shares in their order, so that the result does not depend on which finished first.
void join(const Blocks& s, Index block, const std::vector<WeightSums>& sums, const Gradients& gradients) noexcept {
    float* weights = &sums[0].weights[block * s.weight_floats()];
    float* bias = &sums[0].bias[block * s.gate_vectors()];
    for (std::size_t share = 1; share < sums.size(); ++share) {
        const float* more = &sums[share].weights[block * s.weight_floats()];
        const float* more_bias = &sums[share].bias[block * s.gate_vectors()];
        for (Index k = 0; k < s.weight_floats(); ++k) weights[k] += more[k];
        for (Index k = 0; k < s.gate_vectors(); ++k) bias[k] += more_bias[k];
    }
    unpack_block(s, block, weights, bias, gradients);
}

void zero_weights(const LayerCase& layer, const Gradients& gradients) noexcept {
    if (!gradients.weight_input) return;
    std::fill_n(gradients.weight_input, gates * layer.units * layer.inputs, 0.0f);
    std::fill_n(gradients.weight_recurrent, gates * layer.units * layer.units, 0.0f);
    std::fill_n(gradients.bias, gates * layer.units, 0.0f);
}

}  // namespace

void run_backward(const LayerCase& layer, const Sequence<const float>& y, const Trace<const float>& trace,
                  const Upstream& upstream, const Gradients& gradients, int threads, InstructionSet set) {
    check_case(layer);
    if (layer.batch == 0) return zero_weights(layer, gradients);
    const Kernels& kernels = kernels_of(set);
    const Blocks sizes(layer, kernels.lanes);
    const std::vector<Index> order = order_rows(layer);
    const std::vector<Range> shares = cut_shares(layer, order, threads, kernels.tile_rows);
    const int count = static_cast<int>(shares.size());
    const TransposedPack recurrent(sizes, layer.units), input(sizes, layer.inputs);
    const Array<float> recurrent_pack(recurrent.floats()), input_pack(input.floats()), zeros(sizes.padded());
    std::fill_n(zeros.data(), sizes.padded(), 0.0f);
    run_shares(count, [&](int share) noexcept {
        for (Index block = share; block < sizes.blocks; block += count) {
            recurrent.fill(layer.weight_recurrent, block, recurrent_pack.data());
            if (gradients.x) input.fill(layer.weight_input, block, input_pack.data());
        }
    });
    const Run run{layer, y, trace, upstream, gradients, kernels, sizes, recurrent, input,
                  recurrent_pack.data(), input_pack.data(), zeros.data()};
    std::vector<WeightSums> sums;
    sums.reserve(shares.size());
    for (int share = 0; share < count; ++share) sums.emplace_back(sizes);
    run_shares(count, [&](int share) {
        const std::vector<Range> blocks = cut_blocks(shares[static_cast<std::size_t>(share)], block_rows, kernels.tile_rows);
        const Index most = blocks[0].last - blocks[0].first;
        Gathered gathered(sizes, std::max(most, layer.units < large_units ? few_rows : many_rows));
        for (Range rows : blocks) run_block(run, Walk(layer, order, rows), gathered, sums[static_cast<std::size_t>(share)]);
    });
    if (!run.wants_weights()) return;
    run_shares(count, [&](int share) noexcept {
        for (Index block = share; block < sizes.blocks; block += count) join(sizes, block, sums, gradients);
    });
}

}  // namespace lstmkit
