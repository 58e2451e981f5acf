// Whether a call of a scan can be: what is checked before anything runs.
#pragma once

#include <stdexcept>

#include "lstmkit/layer.h"

namespace lstmkit {

inline void expect_scan(bool condition, const char* what) {
    if (!condition) throw std::invalid_argument(what);
}

/// What every layer of this kind is given.
template <typename Case>
void check_scan(const Case& layer, bool has_weights) {
    constexpr Index largest = Index{1} << 30;
    expect_scan(layer.steps >= 1 && layer.batch >= 0 && layer.inputs >= 0 && layer.units >= 1 && layer.outputs == layer.units && !layer.projected,
                "expected at least one step and unit, no negative size, and as many outputs as units");
    expect_scan(layer.steps <= largest && layer.batch <= largest && layer.inputs <= largest && layer.units <= largest, "expected sizes up to 2^30");
    expect_scan(has_weights && (layer.x || layer.batch == 0), "the input or the weight is null");
    for (Index b = 0; layer.lengths && b < layer.batch; ++b)
        expect_scan(layer.lengths[b] >= 0 && layer.lengths[b] <= layer.steps, "expected lengths in 0..T");
}

}  // namespace lstmkit
