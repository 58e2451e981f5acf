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

// A step of a share takes as long as if it had so many rows more: its weights are read, and its last tile is seldom full.
constexpr Index rows_per_step = 2;

/// The first row of a share, on the border of a tile where there are many. One is full when each of the next would have less.
Index first_row(const Course& layer, const Index* order, int share, int count, Index grain) noexcept {
    if (share == count) return layer.batch;
    const auto length = [&](Index row) noexcept { return layer.lengths ? layer.lengths[order[row]] : layer.steps; };
    Index row = 0, rest = 0;
    for (Index b = 0; b < layer.batch; ++b) rest += length(b);
    for (Index others = count - 1; others >= count - share; --others) {
        Index own = row < layer.batch ? rows_per_step * length(row) : 0;
        for (; row < layer.batch; rest -= length(row++)) {
            const Index half = length(row) / 2;  // its row goes where the larger part of it lies
            if ((own + half) * others >= rest - half + others * rows_per_step * length(row)) break;
            own += length(row);
        }
    }
    return std::min(layer.batch, (row + grain / 2) / grain * grain);
}

}  // namespace

Range cut_share(const Course& layer, const Index* order, int share, int count, Index tile_rows) noexcept {
    const Index grain = layer.batch >= 4 * tile_rows * count ? tile_rows : 1;
    return {first_row(layer, order, share, count, grain), first_row(layer, order, share + 1, count, grain)};
}

}  // namespace lstmkit
