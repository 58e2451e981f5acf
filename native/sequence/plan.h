// How the threads of one call divide a layer: the model of costs, and nothing else.
#pragma once

#include "lstmkit/layer.h"

namespace lstmkit {

/// The kernels' side of a case.
struct TileSizes {
    Index lanes, rows;
    Index depth;  ///< terms of a sum that one multiply-add takes
    Index vector_bytes;
};

template <typename P>
TileSizes tile_sizes(const Kernels<P>& kernels) noexcept {
    return {kernels.lanes, kernels.tile_rows, depth<P>, kernels.lanes * Index{sizeof(Real<P>)}};
}

struct Plan {
    int threads;      ///< at most so many run at the same time
    int row_shares;   ///< into which the rows of every direction are cut; shares never wait for each other
    int unit_shares;  ///< into which the hidden units are cut instead; these threads meet at every step
};

/// The cheaper of the two ways to spend `threads` threads on `directions` directions, as step_cycles estimates it.
/// One of the two kinds of shares is 1; all three are where there is too little work for a second thread.
/// Rows are cut alone where they must stay whole. `handed`: numbers of a unit that others read at every step, its output
/// forward and the gradients of its sums backward.
Plan plan_layer(const Course& layer, int directions, int threads, const TileSizes& tile, bool whole_rows = false, Index handed = 1) noexcept;

/// Throws std::invalid_argument where a head does not end with a vector.
void check_heads(const Course& layer, Index lanes);

/// Whether a unit's step reads what belongs to others: their sums, their part of a masked output, of a middle or of a round, one head's outputs alone.
template <typename P>
bool needs_whole_rows(const LayerCase<P>& layer) noexcept {
    return layer.projected || layer.shape.whole_rows || layer.shape.middle || layer.rounds || layer.heads > 1 || layer.masks.state;
}

/// Estimated processor cycles of one step of `rows` rows through `blocks` hidden blocks on one thread. Each tile of rows
/// needs, for every `depth` inputs, 4 fused multiply-adds per row and 4 vectors of weights: one cycle each from the first-level
/// cache, 2 from the second, 4 from what lies behind. The larger of the two counts.
double step_cycles(const Course& layer, Index rows, Index blocks, const TileSizes& tile) noexcept;

}  // namespace lstmkit
