// The loops that measure_peak times, one table per instruction set.
#pragma once

namespace lstmkit {

/// Runs `rounds` rounds and says how many operations they were.
using PeakLoop = double (*)(long rounds) noexcept;

/// Null where the set has no instruction for it.
struct PeakLoops {
    PeakLoop float32, float64, bfloat16;
};

}  // namespace lstmkit
