// The chunk of an mLSTM: up to chunk_steps steps of one head of one row, forward and backward, as products of matrices.
// Legend: s is the step that wrote, t the step that reads; S units of a head, L = chunk_steps, V = lanes.
#pragma once

#include "lstmkit/dispatch.h"
#include "lstmkit/mlstm.h"

namespace lstmkit {

/// What the gates decide, number by number; see docs/explanation/relatives.md.
template <typename P>
struct ChunkScales {
    Real<P> input[chunk_steps];         ///< log i
    Real<P> decay[chunk_steps];         ///< sum of log f, from the chunk's first step on
    Real<P> wall[chunk_steps];          ///< how many resets lie before
    Real<P> m[chunk_steps];             ///< the stabiliser
    Real<P> least[chunk_steps];         ///< e^-m
    Real<P> from_first[chunk_steps];    ///< with what weight a step reads the state before the chunk
    Real<P> to_last[chunk_steps];       ///< with what weight what it writes is in the state behind the chunk
    Real<P> kept;                       ///< what is left there of the state before
};

/// Where a head's numbers stand in a row of products.
struct HeadColumns {
    Index query, key, value, output, units;
};

/// A head's memory [keys][values] in the kernels' own order, and its normaliser [keys]; both padded with zeros.
template <typename P>
struct HeadMemory {
    Real<P>*memory, *normaliser;
};

template <typename P>
struct ChunkForward {
    const Kernels<P>& kernels;
    Index steps;
    const Real<P>* const* z;  ///< [steps] -> a row of products
    HeadColumns at;
    const ChunkScales<P>& scales;
    HeadMemory<P> state;  ///< updated
    Real<P>* const* y;    ///< [steps] -> [H], the head's units written
    Real<P>* const* raw;  ///< likewise before the output gate
    Real<P>* room;        ///< room_numbers
};

template <typename P>
struct ChunkBackward {
    const Kernels<P>& kernels;
    Index steps;
    const Real<P>* const* z;
    HeadColumns at;
    const ChunkScales<P>& scales;
    HeadMemory<P> state;           ///< before the chunk
    const Real<P>* const* grad_y;  ///< [steps] -> [H] or null
    const Real<P>* const* raw;
    HeadMemory<P> d_state;        ///< the gradient of the state behind the chunk, and then of that before it
    Real<P>*d_input, *d_decay;    ///< [steps], written: of log i and of each decay
    Real<P>* const* dz;           ///< [steps] -> a row, the head's query, key, value and output gate written
    Real<P>* room;
};

/// They exist once per instruction set and precision, are thread-safe and allocate nothing.
template <typename P>
struct MlstmKernels {
    /// Units rounded up as the normaliser has them; a memory has the square of it.
    Index (*padded)(Index units) noexcept;
    Index (*room_numbers)(Index units) noexcept;
    /// from [units][units], compact, and back.
    void (*unpack)(const Real<P>* from, Index units, Real<P>* memory) noexcept;
    void (*pack)(const Real<P>* memory, Index units, Real<P>* to) noexcept;
    void (*forward)(const ChunkForward<P>& chunk) noexcept;
    void (*backward)(const ChunkBackward<P>& chunk) noexcept;
};

/// Of a usable set.
template <typename P>
const MlstmKernels<P>& mlstm_kernels_of(InstructionSet set);

}  // namespace lstmkit
