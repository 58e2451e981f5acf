// Which instruction set the kernels run with, and the table of kernels for each.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "lstmkit/machine.h"
#include "lstmkit/tiles.h"

namespace lstmkit {

/// The functions that exist once per instruction set. All are thread-safe and allocate nothing.
struct Kernels {
    /// Floats in a vector, L, and rows in a register tile.
    Index lanes, tile_rows;
    /// Sum of a[k] * b[k] for k < count; a, b: [count], any alignment, read only.
    float (*dot)(const float* a, const float* b, std::size_t count) noexcept;
    /// out[k] = f(in[k]) for k < count; the functions that the cells use.
    void (*sigmoid)(const float* in, float* out, std::size_t count) noexcept;
    void (*tanh)(const float* in, float* out, std::size_t count) noexcept;
    void (*forward)(const ForwardTile& tile) noexcept;
    void (*cell_backward)(const CellRow& row) noexcept;
    void (*product)(const ProductTile& tile) noexcept;
    void (*outer)(const OuterTile& tile) noexcept;
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
