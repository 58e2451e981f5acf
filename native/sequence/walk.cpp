#include "sequence/walk.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

namespace lstmkit {
namespace {

// Multiply-adds below which a second thread costs more than it saves.
constexpr Index share_work = 500'000;

void expect(bool condition, const std::string& what) {
    if (!condition) throw std::invalid_argument(what);
}

}  // namespace

void check_case(const LayerCase& layer) {
    expect(layer.steps >= 1 && layer.batch >= 0 && layer.inputs >= 0 && layer.units >= 1,
           "expected at least one step and unit and no negative size, got T=" + std::to_string(layer.steps) + " B=" +
               std::to_string(layer.batch) + " I=" + std::to_string(layer.inputs) + " H=" + std::to_string(layer.units));
    expect(layer.weight_input && layer.weight_recurrent && (layer.x || layer.batch == 0), "the input or a weight is null");
    expect(!layer.bias_input == !layer.bias_recurrent, "expected both biases or none");
    for (Index b = 0; layer.lengths && b < layer.batch; ++b)
        expect(layer.lengths[b] >= 0 && layer.lengths[b] <= layer.steps,
               "expected lengths in 0.." + std::to_string(layer.steps) + ", got " + std::to_string(layer.lengths[b]));
}

std::vector<Index> order_rows(const LayerCase& layer) {
    std::vector<Index> order(static_cast<std::size_t>(layer.batch));
    std::iota(order.begin(), order.end(), Index{0});
    if (layer.lengths)
        std::stable_sort(order.begin(), order.end(),
                         [&](Index a, Index b) { return layer.lengths[a] > layer.lengths[b]; });
    return order;
}

std::vector<Range> cut_shares(const LayerCase& layer, const std::vector<Index>& order, int threads, Index tile_rows) {
    Index total = 0;
    for (Index b : order) total += layer.lengths ? layer.lengths[b] : layer.steps;
    const Index work = total * gates * layer.units * (layer.inputs + layer.units);
    const Index count = std::max<Index>(1, std::min({static_cast<Index>(threads), layer.batch, work / share_work}));
    const Index grain = layer.batch >= 4 * tile_rows * count ? tile_rows : 1;
    std::vector<Range> shares;
    Index first = 0, row = 0, done = 0;
    for (Index share = 1; share <= count; ++share) {
        while (row < layer.batch && done * count < total * share) done += layer.lengths ? layer.lengths[order[row++]] : (++row, layer.steps);
        const Index last = share == count ? layer.batch : std::min(layer.batch, (row + grain / 2) / grain * grain);
        if (last > first) shares.push_back({first, last});
        first = std::max(first, last);
    }
    return shares;
}

std::vector<Range> cut_blocks(Range share, Index limit, Index tile_rows) {
    const Index rows = share.last - share.first, count = (rows + limit - 1) / limit;
    Index size = (rows + count - 1) / count;
    if (count > 1) size = (size + tile_rows - 1) / tile_rows * tile_rows;
    std::vector<Range> blocks;
    for (Index first = share.first; first < share.last; first += size)
        blocks.push_back({first, std::min(share.last, first + size)});
    return blocks;
}

void zero_padding(const LayerCase& layer, const Walk& walk, const Sequence<float>& values, Index width) noexcept {
    if (!values || !layer.lengths) return;
    for (Index r = 0; r < walk.rows(); ++r)
        for (Index t = walk.length(r); t < layer.steps; ++t) std::fill_n(values.at(t, walk.row(r)), width, 0.0f);
}

}  // namespace lstmkit
