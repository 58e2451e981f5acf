// Which instruction set the kernels run with, and the table of kernels for each.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "lstmkit/machine.h"

namespace lstmkit {

/// The functions that exist once per instruction set.
struct Kernels {
    /// Sum of a[k] * b[k] for k < count; a, b: [count], any alignment, read only. Thread-safe, allocates nothing.
    float (*dot)(const float* a, const float* b, std::size_t count) noexcept;
};

/// The name that users write: "baseline", "avx2", ...
std::string_view name_of(InstructionSet set) noexcept;

/// The sets that this build holds code for, worst first.
const std::vector<InstructionSet>& compiled_sets();

/// The compiled sets that this machine can run, worst first; never empty.
const std::vector<InstructionSet>& usable_sets();

/// The set of that name; an empty name means the best usable one.
/// Throws std::invalid_argument if the name is unknown, not compiled or not on this machine.
InstructionSet choose_set(std::string_view name);

/// choose_set of the environment variable LSTMKIT_ISA, read once, on the first call.
InstructionSet default_set();

/// The kernels of a usable set.
const Kernels& kernels_of(InstructionSet set);

}  // namespace lstmkit
