#include "sequence/walk.h"

#include <algorithm>
#include <numeric>

namespace lstmkit {
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

}  // namespace lstmkit
