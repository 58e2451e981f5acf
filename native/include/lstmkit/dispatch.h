// Which instruction set the kernels run with, and the table of kernels for each.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "lstmkit/machine.h"
#include "lstmkit/tiles.h"

namespace lstmkit {

/// The functions that exist once per instruction set and precision. All are thread-safe and allocate nothing.
template <typename P>
struct Kernels {
    /// Numbers in a vector, L, and rows in a register tile.
    Index lanes, tile_rows;
    /// out[k] = f(in[k]) for k < count; the functions that the cells use.
    void (*sigmoid)(const Real<P>* in, Real<P>* out, std::size_t count) noexcept;
    void (*tanh)(const Real<P>* in, Real<P>* out, std::size_t count) noexcept;
    /// to[k][l] = from[l][k] for k, l < L; rows at the distances given.
    void (*transpose)(const Real<P>* from, Index from_row, Real<P>* to, Index to_row) noexcept;
    void (*sum)(const SumTile<P>& tile) noexcept;
    void (*forward)(const ForwardTile<P>& tile) noexcept;
    void (*cell_backward)(const CellRow<P>& row) noexcept;
    void (*product)(const ProductTile<P>& tile) noexcept;
    void (*outer)(const OuterTile<P>& tile) noexcept;
    /// out[k] = the Stored nearest to in[k] for k < count.
    void (*round)(const Real<P>* in, Stored<P>* out, Index count) noexcept;
    /// out[2k], out[2k + 1] = even[k], odd[k] for k < count; null is zeros.
    void (*interleave)(const Stored<P>* even, const Stored<P>* odd, Stored<P>* out, Index count) noexcept;
    /// Random choices for lstmkit::draw, of a share that begins with a whole number of the seed.
    void (*choose)(std::uint64_t seed, std::uint64_t first, std::int16_t limit, Stored<P> chosen, Stored<P> otherwise, Stored<P>* out,
                   Index count) noexcept;
    void (*choose_bytes)(std::uint64_t seed, std::uint64_t first, std::int16_t limit, std::uint8_t chosen, std::uint8_t otherwise,
                         std::uint8_t* out, Index count) noexcept;
    /// The step of 1..step_rows rows of one layer through a cell, by Cell.
    void (*const* step)(const CellForward<P>* rows, Index count) noexcept;
    void (*const* step_backward)(const CellBackward<P>* rows, Index count) noexcept;
    /// The first pass of cells that have a middle, and the last one back; null of the others.
    void (*const* middle)(const CellForward<P>* rows, Index count) noexcept;
    void (*const* middle_backward)(const CellBackward<P>* rows, Index count) noexcept;
    /// A round of a Mogrifier LSTM: gates = 2 sigmoid(gates), to[k] = gates[k] * from[k] for k < count; gates are whole vectors.
    void (*mogrify)(const Stored<P>* from, Real<P>* gates, Stored<P>* to, Index count) noexcept;
    /// The same backwards: d, of what was written, becomes that of `from`; d_sums is that of the gates' sums, whole vectors.
    void (*mogrify_backward)(const Stored<P>* from, const Real<P>* gates, Real<P>* d, Stored<P>* d_sums, Index count) noexcept;
    /// After it other threads see what forward and steps wrote past the caches: once a run, because it waits for the memory.
    void (*finish)() noexcept;
};

/// The name that users write: "baseline", "avx2", ...
std::string_view name_of(InstructionSet set) noexcept;

/// Those names, with commas.
std::string names_of(const std::vector<InstructionSet>& sets);

/// The sets that this build holds code for, worst first.
const std::vector<InstructionSet>& compiled_sets();

/// The compiled sets that this machine can run, worst first; never empty.
const std::vector<InstructionSet>& usable_sets();

/// The set of that name; an empty name means the best usable one.
/// Throws std::invalid_argument if the name is unknown, not compiled or not on this machine.
InstructionSet choose_set(std::string_view name);

/// choose_set of the environment variable LSTMKIT_ISA, read once, on the first call.
InstructionSet default_set();

/// The functions of one kind that a usable set has: Kernels<P>, or another of the tables that tables.cpp lists.
/// Throws std::invalid_argument where the set is not usable.
template <typename Table>
const Table& table_of(InstructionSet set);

}  // namespace lstmkit
