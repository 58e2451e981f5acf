#include <algorithm>

#include "gemm/pack.h"
#include "lstmkit/memory.h"
#include "threads/team.h"
#include "sequence/walk.h"

namespace lstmkit {
namespace {

// So many rows of one step stay in the second-level cache beside one block of weights.
constexpr Index block_rows = 96;

/// What all threads read.
struct Run {
    const LayerCase& layer;
    const ForwardResult& result;
    const Kernels& kernels;
    Blocks sizes;
    const float *weights, *bias, *zeros;
};

/// Where each row of one step is read and written.
struct Pointers {
    Array<const float*> x, h;
    Array<float*> y, cells, activations;

    explicit Pointers(Index rows) : x(rows), h(rows), y(rows), cells(rows), activations(rows) {}
};

void aim(const Run& run, const Walk& walk, Index t, Index rows, const Pointers& to) noexcept {
    const ForwardResult& out = run.result;
    const Sequence<const float> y{out.y.data, out.y.step, out.y.row};
    for (Index r = 0; r < rows; ++r) {
        const Index b = walk.row(r);
        to.x[r] = run.layer.x.at(t, b);
        to.h[r] = walk.before(t, r, y, run.layer.h, run.zeros);
        to.y[r] = out.y.at(t, b);
        if (out.trace.cells) to.cells[r] = out.trace.cells.at(t, b);
        if (out.trace.activations) to.activations[r] = out.trace.activations.at(t, b);
    }
}

void step(const Run& run, const Walk& walk, Index t, const Pointers& rows, float* c) noexcept {
    const Blocks& s = run.sizes;
    const Index active = walk.active(t);
    aim(run, walk, t, active, rows);
    for (Index r = 0; r < active; ++r)
        if (walk.is_reset(t, r)) std::fill_n(c + r * s.padded(), s.padded(), 0.0f);
    const ForwardResult& out = run.result;
    const Index ahead = run.layer.backwards ? -1 : 1;
    for (Index block = 0; block < s.blocks; ++block)
        run.kernels.forward({active, rows.x.data(), s.inputs, rows.h.data(), s.units,
                             run.weights + block * s.weight_floats(), run.bias + block * s.gate_vectors(),
                             c + s.first(block), s.padded(), s.first(block), s.count(block), rows.y.data(),
                             out.trace.cells ? rows.cells.data() : nullptr,
                             out.trace.activations ? rows.activations.data() : nullptr, out.trace.gate_stride,
                             ahead * out.y.step, ahead * out.trace.cells.step, ahead * out.trace.activations.step});
}

void run_block(const Run& run, const Walk& walk, const Pointers& rows, float* c) noexcept {
    const Index H = run.sizes.units, padded = run.sizes.padded();
    std::fill_n(c, walk.rows() * padded, 0.0f);
    for (Index r = 0; r < walk.rows() && run.layer.c; ++r) std::copy_n(run.layer.c.at(walk.row(r)), H, c + r * padded);
    for (Index n = 0; n < walk.steps(); ++n) step(run, walk, walk.time(n), rows, c);
    const ForwardResult& out = run.result;
    for (Index r = 0; r < walk.rows(); ++r) {
        const Index b = walk.row(r);
        const float* untouched = run.layer.h ? run.layer.h.at(b) : run.zeros;
        if (out.h) std::copy_n(walk.length(r) ? out.y.at(walk.last_time(r), b) : untouched, H, out.h.at(b));
        if (out.c) std::copy_n(c + r * padded, H, out.c.at(b));
    }
    zero_padding(run.layer, walk, out.y, H);
    zero_padding(run.layer, walk, out.trace.cells, H);
    for (Index gate = 0; gate < gates && out.trace.activations; ++gate) {
        Sequence<float> values = out.trace.activations;
        values.data += gate * out.trace.gate_stride;
        zero_padding(run.layer, walk, values, H);
    }
}

}  // namespace

void run_forward(const LayerCase& layer, const ForwardResult& result, int threads, InstructionSet set) {
    check_case(layer);
    if (layer.batch == 0) return;
    const Kernels& kernels = kernels_of(set);
    const Blocks sizes(layer, kernels.lanes);
    const std::vector<Index> order = order_rows(layer);
    const std::vector<Range> shares = cut_shares(layer, order, threads, kernels.tile_rows);
    const int count = static_cast<int>(shares.size());
    const Array<float> weights(sizes.blocks * sizes.weight_floats()), bias(sizes.blocks * sizes.gate_vectors()),
        zeros(sizes.padded());
    std::fill_n(zeros.data(), sizes.padded(), 0.0f);
    run_shares(count, [&](int share) noexcept {
        for (Index block = share; block < sizes.blocks; block += count)
            pack_block(layer, sizes, block, &weights[block * sizes.weight_floats()], &bias[block * sizes.gate_vectors()]);
    });
    const Run run{layer, result, kernels, sizes, weights.data(), bias.data(), zeros.data()};
    run_shares(count, [&](int share) noexcept {
        for (Range rows : cut_blocks(shares[static_cast<std::size_t>(share)], block_rows, kernels.tile_rows)) {
            const Walk walk(layer, order, rows);
            const Pointers pointers(walk.rows());
            const Array<float> c(walk.rows() * sizes.padded());
            run_block(run, walk, pointers, c.data());
        }
    });
}

}  // namespace lstmkit
