// Rows of a table by their numbers, and sums of several: embeddings, and bags of things. Float32 and Float64.
#pragma once

#include <cstdint>

#include "lstmkit/layer.h"

namespace lstmkit {

/// Which rows are read: those of the numbers of a place are added up.
struct Lookup {
    Index rows, width;  ///< of the table
    Index places, things;
    const std::int64_t* numbers;  ///< [places][things]
    bool skips_zero;              ///< whether the number 0 stands for nothing
    bool is_mean;                 ///< whether a place's sum is divided by how many it adds
};

/// out [places, width] from table [rows, width]. Throws std::out_of_range for a number that is none of a row.
template <typename P>
void look_up(const Lookup& lookup, const Real<P>* table, Real<P>* out, int threads, InstructionSet set);

/// The transpose: the gradient of the table, zero where no row was read, from that of out as [places / inner, inner, width].
/// The same numbers for every count of threads.
template <typename P>
void look_up_backward(const Lookup& lookup, const Sequence<const Real<P>>& grad, Index inner, Real<P>* grad_table, int threads,
                      InstructionSet set);

}  // namespace lstmkit
