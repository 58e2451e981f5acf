// What this machine's arithmetic can do at most: the yardstick of the benchmarks.
#pragma once

#include <string_view>

#include "lstmkit/machine.h"

namespace lstmkit {

/// Operations per second of one thread, measured for about `seconds`: independent multiply-adds between registers and
/// nothing else. `number` is "float32", "float64" or "bfloat16" (products of bfloat16 added up in float32).
/// Throws std::invalid_argument if the set is not usable, the number unknown, or the set cannot multiply it.
double measure_peak(InstructionSet set, std::string_view number, double seconds);

}  // namespace lstmkit
