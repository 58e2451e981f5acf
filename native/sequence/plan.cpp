#include "sequence/plan.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace lstmkit {
namespace {

// Multiply-adds of a whole call below which a second thread costs more than it saves.
constexpr double share_work = 500'000;
// More are not asked for: what they need beside the weights would be too much.
constexpr double most_threads = 1024;
// Threads that divide the units of a row wait for the slowest at every step.
constexpr double meeting_cycles = 400;
// What one core has written and another reads: weights that others packed, once, and what other units give, at every step.
constexpr double handed_bytes_per_cycle = 4;
constexpr double first_cache = 24 << 10, second_cache = 768 << 10;

Index divide_up(Index a, Index b) noexcept { return (a + b - 1) / b; }

double all_steps(const Course& layer) noexcept {
    if (!layer.lengths) return static_cast<double>(layer.steps * layer.batch);
    double total = 0;
    for (Index b = 0; b < layer.batch; ++b) total += static_cast<double>(layer.lengths[b]);
    return total;
}

Index unit_weights(const Course& layer) noexcept {
    const CellShape& shape = layer.shape;
    return layer.inputs * shape.input + layer.outputs / layer.heads * shape.recurrent + layer.units * shape.middle_vectors * shape.middle +
           layer.rounds * layer.round_weights() / layer.units;
}

double weight_vectors(const Course& layer, Index blocks, const TileSizes& tile) noexcept {
    return static_cast<double>(blocks * unit_weights(layer)) / static_cast<double>(tile.depth);
}

double weight_bytes(const Course& layer, Index blocks, const TileSizes& tile) noexcept {
    return weight_vectors(layer, blocks, tile) * static_cast<double>(tile.vector_bytes);
}

/// Of bytes that `threads` threads have made together, those that each reads and others made.
double handed_cycles(double bytes, int threads) noexcept { return bytes * (threads - 1) / threads / handed_bytes_per_cycle; }

}  // namespace

double step_cycles(const Course& layer, Index rows, Index blocks, const TileSizes& tile) noexcept {
    const double vectors = weight_vectors(layer, blocks, tile), bytes = weight_bytes(layer, blocks, tile);
    const double load = bytes <= first_cache ? 1 : bytes <= second_cache ? 2 : 4;
    return vectors * std::max(static_cast<double>(rows), load * static_cast<double>(divide_up(rows, tile.rows)));
}

void check_heads(const Course& layer, Index lanes) {
    const Index units = layer.units / layer.heads;
    if (layer.heads > 1 && units % lanes != 0)
        throw std::invalid_argument("expected heads of whole vectors of " + std::to_string(lanes) + " units, got " + std::to_string(units));
}

Plan plan_layer(const Course& layer, int directions, int threads, const TileSizes& tile, bool whole_rows, Index handed) noexcept {
    const Index blocks = divide_up(layer.units, tile.lanes);
    const double work = all_steps(layer) * static_cast<double>(layer.units * unit_weights(layer));
    const int useful = static_cast<int>(std::clamp(work * directions / share_work, 1.0, std::clamp<double>(threads, 1, most_threads)));
    const int row_shares = static_cast<int>(std::clamp<Index>(divide_up(useful, directions), 1, std::max<Index>(layer.batch, 1)));
    const int unit_shares = static_cast<int>(std::min<Index>(useful, blocks));
    const Plan by_rows{std::min(useful, directions * row_shares), row_shares, 1}, by_units{unit_shares, 1, unit_shares};
    if (unit_shares < 2 || whole_rows || layer.projected) return by_rows;
    const double steps = static_cast<double>(layer.steps), turns = divide_up(directions * row_shares, by_rows.threads);
    const double cycles_by_rows = steps * turns * step_cycles(layer, divide_up(layer.batch, row_shares), blocks, tile) +
                                  handed_cycles(directions * weight_bytes(layer, blocks, tile), by_rows.threads);
    const double handed_bytes = static_cast<double>(layer.batch * blocks * handed * tile.vector_bytes);
    const double cycles_by_units =
        directions * steps * (step_cycles(layer, layer.batch, divide_up(blocks, unit_shares), tile) + meeting_cycles +
                              handed_cycles(handed_bytes, unit_shares));
    return cycles_by_units < cycles_by_rows ? by_units : by_rows;
}

}  // namespace lstmkit
