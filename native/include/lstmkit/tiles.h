// What the kernels take. A tile is a few rows by all four gates of one block of `lanes` hidden units.
// Rows are given by pointers, so that any strides, any order and shrinking batches cost nothing.
// L = lanes, G = 4 gates in the order i f g o. Nothing here owns memory; outputs never overlap inputs.
#pragma once

#include <cstddef>

namespace lstmkit {

using Index = std::ptrdiff_t;

inline constexpr Index gates = 4;

/// One step of `rows` rows through one hidden block.
struct ForwardTile {
    Index rows;
    const float* const* x;  ///< [rows] -> [inputs]
    Index inputs;
    const float* const* h;  ///< [rows] -> [units], the output of the step before
    Index units;
    const float* weights;  ///< [inputs + units][G][L], packed
    const float* bias;     ///< [G][L], packed
    float* c;              ///< row r of the block at c + r * c_row: [L], updated
    Index c_row;
    Index first;               ///< the block's first unit
    Index count;               ///< units in the block, 1..L
    float* const* y;           ///< [rows] -> [units], written at first..first + count
    float* const* cells;       ///< the same, or null
    float* const* activations; ///< [rows] -> [G] of [units] at distance gate_stride, or null
    Index gate_stride;
    Index y_ahead, cells_ahead, activations_ahead;  ///< from here to the next step: where memory is fetched ahead
};

/// What one row's backward step through the cell needs; null gradients are zero.
struct CellRow {
    const float* activations;        ///< [G] of [units] at distance gate_stride
    const float* cells;              ///< [units]
    const float* cells_before;       ///< [units]
    const float* grad_y;             ///< [units] or null
    const float* grad_cells;         ///< [units] or null
    const float* grad_activations;   ///< like activations, or null
    const float* dh;                 ///< [units rounded up to L]
    float* dc;                       ///< [units rounded up to L], updated
    float* dz;                       ///< block j at dz + j * dz_block: [G][L], written
    Index units, gate_stride, grad_gate_stride, dz_block;
    Index grad_y_ahead, cells_ahead, activations_ahead;  ///< from here to the next step
};

/// out[r][first..first + count] (+)= sum over blocks j and k < G*L of dz[j][r][k] * weights[j][k][...].
struct ProductTile {
    Index rows;
    const float* dz;  ///< block j at dz + j * dz_block: [rows][G][L]
    Index dz_block, blocks;
    const float* weights;  ///< [blocks][G*L][vectors*L], packed
    Index vectors;         ///< 1..4, the vectors that hold `count` columns
    float* const* out;
    Index first, count;
    bool add;  ///< to what is there, instead of replacing it
};

/// sum[k][G][L] += sum over rows of in[r][k] * dz[r][G][L], for k < columns.
struct OuterTile {
    Index rows, columns;
    const float* const* in;  ///< [rows] -> [columns]
    const float* dz;         ///< [rows][G][L]
    float* sum;              ///< [columns][G][L]
};

}  // namespace lstmkit
