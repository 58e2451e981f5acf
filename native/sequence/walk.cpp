#include "sequence/walk.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

namespace lstmkit {
namespace {

void expect(bool condition, const std::string& what) {
    if (!condition) throw std::invalid_argument(what);
}

}  // namespace

void check_count(int directions) {
    expect(directions >= 1 && directions <= most_directions, "expected 1 or 2 directions, got " + std::to_string(directions));
}

template <typename P>
void check_case(const LayerCase<P>& layer) {
    expect(layer.steps >= 1 && layer.batch >= 0 && layer.inputs >= 0 && layer.units >= 1,
           "expected at least one step and unit and no negative size, got T=" + std::to_string(layer.steps) + " B=" +
               std::to_string(layer.batch) + " I=" + std::to_string(layer.inputs) + " H=" + std::to_string(layer.units));
    expect(layer.weight_input && layer.weight_recurrent && (layer.x || layer.batch == 0), "the input or a weight is null");
    expect(!layer.bias_input == !layer.bias_recurrent, "expected both biases or none");
    expect(!layer.weight_projection == !layer.projected, "expected a weight for a projection, and for nothing else");
    expect(layer.outputs >= 1 && (layer.projected || layer.outputs == layer.units), "expected as many outputs as units, or a projection");
    for (Index b = 0; layer.lengths && b < layer.batch; ++b)
        expect(layer.lengths[b] >= 0 && layer.lengths[b] <= layer.steps,
               "expected lengths in 0.." + std::to_string(layer.steps) + ", got " + std::to_string(layer.lengths[b]));
}

void order_rows(const Course& layer, Index* order) noexcept {
    std::iota(order, order + layer.batch, Index{0});
    if (!layer.lengths) return;
    // By row where lengths are equal: the sort is stable without the memory that a stable sort takes.
    std::sort(order, order + layer.batch, [&](Index a, Index b) {
        return layer.lengths[a] != layer.lengths[b] ? layer.lengths[a] > layer.lengths[b] : a < b;
    });
}

namespace {

/// The first row of a share: where that part of all steps is done, on the border of a tile where there are many.
Index first_row(const Course& layer, const Index* order, int share, int count, Index grain) noexcept {
    if (share == count || !layer.lengths) {
        const Index row = layer.batch * share / count;
        return share == count ? layer.batch : std::min(layer.batch, (row + grain / 2) / grain * grain);
    }
    Index total = 0, done = 0, row = 0;
    for (Index b = 0; b < layer.batch; ++b) total += layer.lengths[b];
    while (row < layer.batch && done * count < total * share) done += layer.lengths[order[row++]];
    return std::min(layer.batch, (row + grain / 2) / grain * grain);
}

}  // namespace

Range cut_share(const Course& layer, const Index* order, int share, int count, Index tile_rows) noexcept {
    const Index grain = layer.batch >= 4 * tile_rows * count ? tile_rows : 1;
    return {first_row(layer, order, share, count, grain), first_row(layer, order, share + 1, count, grain)};
}

#define LSTMKIT_PRECISION(P) template void check_case(const LayerCase<P>&);
LSTMKIT_EVERY_PRECISION
#undef LSTMKIT_PRECISION

}  // namespace lstmkit
