// What the kernels of streams take. Products read words of 32 bits: one float, two bfloat16 or four bytes.
// L = lanes, G = 4 gates in the order i f g o. Nothing here owns memory.
#pragma once

#include <cstdint>

#include "lstmkit/machine.h"
#include "lstmkit/tiles.h"

namespace lstmkit {

using Word = std::int32_t;

enum class StreamPrecision;

/// One layer's packed weights.
struct LayerView {
    Index blocks;                      ///< hidden blocks of L units
    Index input_words, state_words;    ///< of a row of x and of h
    Index input_stride, state_stride;  ///< the same, rounded up to whole vectors
    const Word* weights;               ///< [blocks][input_words + state_words][G][L]
    const Word* constants;             ///< [blocks][constant_count][G][L]
};

/// The bias; and with int8 scale and offset of the input's share, scale and offset of the recurrent share.
enum Constant : Index { bias, input_scale, input_offset, state_scale, state_offset, constant_count };

/// A row in words, and what a unit of its numbers is worth.
struct Operand {
    const Word* words;
    float unit;
};

/// One step of one row through the blocks first..last.
struct StepTile {
    const LayerView* layer;
    Operand x, h;
    const float* z;  ///< [blocks][G][L], what bias and input gave, or null: x is read instead
    Index first, last;
    bool is_reversed;  ///< last block first; every other step, so that the weights read last are found in the cache
    float *c, *out;    ///< [blocks * L], the cell state, updated, and the output
};

/// One step of several rows through one block.
struct RowsTile {
    const LayerView* layer;
    Index block, rows;
    const Word *x, *h;              ///< [rows][input_stride], [rows][state_stride]
    const float *x_units, *h_units;  ///< [rows]
    float *const *c, *const *out;   ///< [rows] -> [blocks * L]
};

/// z[r][block] = bias + the input's share, for several rows that may be steps of one sequence.
struct InputsTile {
    const LayerView* layer;
    Index block, rows;
    const Word* x;         ///< [rows][input_stride]
    const float* x_units;  ///< [rows]
    float* z;              ///< [rows][blocks][G][L]
};

/// out[r] = weights * in[r]; always float32.
struct ProjectionTile {
    Index rows, groups, units;
    const Word* weights;         ///< [groups][units][G][L]
    const float* const* in;  ///< [rows] -> [units]
    float* const* out;       ///< [rows] -> [groups * G * L]
};

/// The kernels of one precision.
struct PrecisionKernels {
    Index ways;                ///< numbers in a word
    double cycles_per_vector;  ///< of arithmetic on a vector of weights, measured
    /// Writes `count` numbers as words, zeros up to whole vectors behind them; returns their unit.
    float (*prepare)(const float* in, Index count, Word* out) noexcept;
    void (*step)(const StepTile& tile) noexcept;
    void (*rows)(const RowsTile& tile) noexcept;
    void (*inputs)(const InputsTile& tile) noexcept;
};

/// The kernels of one instruction set.
struct StreamKernels {
    Index lanes;
    PrecisionKernels precisions[3];  ///< by StreamPrecision
    bool (*is_finite)(const float* in, Index count) noexcept;
    void (*project)(const ProjectionTile& tile) noexcept;

    const PrecisionKernels& of(StreamPrecision precision) const noexcept { return precisions[static_cast<int>(precision)]; }
};

}  // namespace lstmkit
