// One layer of StreamWeights: its packed numbers and its sizes.
#pragma once

#include "lstmkit/stream.h"
#include "stream/kernels.h"
#include "stream/plan.h"

namespace lstmkit {

struct PackedLayer {
    Index inputs, units, outputs;    ///< I, H, R
    Index lanes, blocks, groups;     ///< L; hidden blocks; groups of 4L outputs of the projection, or 0
    LayerView view;
    StepWeights read, projected;     ///< what the step's kernel reads, and what the projection reads
    Array<Word> weights, constants, projection;

    PackedLayer(const StreamLayer& layer, StreamPrecision precision, const StreamKernels& kernels);

    /// Floats of c, and of the output before a projection, in whole vectors.
    Index padded_units() const noexcept { return blocks * lanes; }
    /// Floats of h in whole vectors.
    Index padded_outputs() const noexcept { return groups ? groups * gates * lanes : padded_units(); }
};

}  // namespace lstmkit
