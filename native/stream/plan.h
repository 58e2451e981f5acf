// What a step of a layer costs, and whether a second thread makes it shorter.
#pragma once

#include "lstmkit/tiles.h"

namespace lstmkit {

/// The weights that a step reads, each once.
struct StepWeights {
    Index blocks, vectors;     ///< of hidden units; of weights in a block
    Index vector_bytes;
    double cycles_per_vector;  ///< that arithmetic takes, with weights at hand
};

/// Processor cycles of one thread's step through so many of the blocks.
double step_cycles(const StepWeights& weights, Index blocks) noexcept;

/// Blocks of the first of two halves; even, because blocks go through the kernel in pairs. 0 or all: there is no second.
Index first_half(Index blocks) noexcept;

/// Whether two threads need clearly less time than one.
bool is_worth_sharing(const StepWeights& weights) noexcept;

}  // namespace lstmkit
