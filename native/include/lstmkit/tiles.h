// What the kernels take. A tile is a few rows by all four gates of one block of `lanes` hidden units.
// Rows are given by pointers, so that any strides, any order and shrinking batches cost nothing.
// P is a precision; L = lanes, G = 4 gates in the order i f g o, D = depth. Nothing here owns memory; outputs never overlap
// inputs. Sums are taken D terms at a time: what is packed holds D rows side by side, number by number.
#pragma once

#include <cstddef>

#include "lstmkit/cell.h"

namespace lstmkit {

inline constexpr Index gates = 4;

/// Rows of a product's tile of `vectors` vectors: one alone needs more rows to hide the latency of a multiply-add.
constexpr Index product_rows(Index tile_rows, Index vectors) noexcept { return vectors > 1 ? tile_rows : 2 * tile_rows; }

/// Memory that the next step reads, in pieces. Tiles bring some of it into the second-level cache while they compute,
/// because a step that waited for all of it at once would wait long.
struct Fetch {
    static constexpr Index line = 64, piece = 4 * line;  ///< bytes; a piece begins with a line
    const char *const *next, *const *last;
    Index pieces;  ///< at each halt of a tile, or between a driver's own works
};

/// One halt. Never a function of its own, or the linker could keep that of an instruction set which the machine lacks.
static inline __attribute__((always_inline)) void fetch_some(Fetch* fetch) noexcept {
    if (!fetch) return;
    const char* const* const last = fetch->last - fetch->next < fetch->pieces ? fetch->last : fetch->next + fetch->pieces;
    for (; fetch->next < last; ++fetch->next)
#pragma GCC unroll 4
        for (Index line = 0; line < Fetch::piece; line += Fetch::line) __builtin_prefetch(*fetch->next + line, 0, 2);
}

/// out[r][V][L] = sum over k < columns of in[r][first + k] * weights[k][V][L], added to what is there or to a bias.
template <typename P>
struct SumTile {
    Index rows;
    const Stored<P>* const* in;  ///< [rows] -> [first + columns]
    Index first, columns;
    const Stored<P>* weights;  ///< [columns / D][V][L][D], rounded up with zeros; packed
    Index vectors;             ///< V, 1..4
    Index added;               ///< so many of the vectors are added to what is there, the others to the bias
    const Real<P>* bias;       ///< [V][L], packed
    Real<P>* out;              ///< row r at out + r * out_row
    Index out_row;
};

/// One step of `rows` rows through one hidden block of a plain LSTM.
template <typename P>
struct ForwardTile {
    Index rows;
    const Stored<P>* const* x;  ///< [rows] -> [inputs]
    Index inputs;
    const Stored<P>* const* h;  ///< [rows] -> [outputs], the output of the step before
    Index outputs;
    const Stored<P>* weights;  ///< [inputs / D][G][L][D], then [outputs / D] likewise, both rounded up with zeros; packed
    const Real<P>* bias;       ///< [G][L], packed
    const Real<P>* sums;       ///< row r at sums + r * sums_row: [G][L], bias and the input's share; or null
    Index sums_row;
    Real<P>* c;                ///< row r of the block at c + r * c_row: [L], updated
    Index c_row;
    Index first;                   ///< the block's first unit
    Index count;                   ///< units in the block, 1..L
    Stored<P>* const* y;           ///< [rows] -> [units], written at first..first + count
    Real<P>* const* cells;         ///< the same, or null
    Saved<P>* const* activations;  ///< [rows] -> [G] of [units] at distance gate_stride, or null
    Index gate_stride;
    Index y_ahead, cells_ahead, activations_ahead;  ///< from here to the next step: where memory is fetched ahead
    bool streams;                                   ///< whether the trace goes past the caches: nobody reads it soon
    Fetch* fetch;                                   ///< or null
};

/// What one row's backward step through the cell needs; null gradients are zero.
template <typename P>
struct CellRow {
    const Saved<P>* activations;       ///< [G] of [units] at distance gate_stride
    const Real<P>* cells;              ///< [units]
    const Real<P>* cells_before;       ///< [units]
    const Stored<P>* grad_y;           ///< [units] or null
    const Real<P>* grad_cells;         ///< [units] or null
    const Stored<P>* grad_activations; ///< like activations, or null
    const Real<P>* dh;                 ///< [units rounded up to L]
    Real<P>* dc;                       ///< [units rounded up to L], updated
    Stored<P>* dz;                     ///< block j at dz + j * dz_block: [G][L], written
    Stored<P>* hidden;                 ///< [units], written with the units' outputs before a projection, or null
    Index units, gate_stride, grad_gate_stride, dz_block;
};

/// out[r][first..first + count] (+)= sum over blocks j and k < block_rows of in[j][r][k] * weights[j][k][...].
template <typename P>
struct ProductTile {
    Index rows;
    const Stored<P>* in;  ///< row r of block j at in + j * in_block + r * in_row: [block_rows], as dz has it
    Index in_row, in_block, blocks;
    Index block_rows;          ///< a multiple of L
    const Stored<P>* weights;  ///< [blocks][block_rows / D][vectors*L][D], packed
    Index vectors;             ///< 1..4, the vectors that hold `count` columns
    Real<P>* const* out;
    Index first, count;
    bool add;      ///< to what is there, instead of replacing it
    bool streams;  ///< whether what is written, whole vectors at multiples of their size, goes past the caches
    Fetch* fetch;  ///< or null
};

/// sum[k][V][L] += sum over rows of in[r][first + k] * right[r][V][L], for k < columns. Rows come in groups of D.
template <typename P>
struct OuterTile {
    Index groups, first, columns;
    const Stored<P>* const* in;  ///< [groups] -> [first + columns][D]
    const Stored<P>* right;      ///< group g at right + g * right_group: [V][L][D]
    Index right_group;
    Index vectors;  ///< V, 1..4
    Real<P>* sum;   ///< [columns][V][L]
    Fetch* fetch;  ///< or null
};

}  // namespace lstmkit
