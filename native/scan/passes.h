// A matrix on its way through the steps of a piece, in registers. Included only by what is compiled once per instruction set.
#pragma once

#include "tile.h"

namespace lstmkit {
namespace {

/// Row r at data + r * row; rows are whole vectors.
struct Panel {
    Real* data;
    Index row;

    LSTMKIT_INLINE Real* at(Index r, Index column) const noexcept { return data + r * row + column; }
};

/// At each step t, in order or backwards: matrix[r][:] += write_row[t][r] * write[t][:], then out[t][:] = sum over r of
/// read_row[t][r] * matrix[r][:]. That is every product of an mLSTM: with its memory, its gradient, and both turned.
struct Pass {
    Index rows, columns, steps;
    Panel write_row, write, read_row, matrix, out;
    bool backwards;
};

// Vectors of a row that one walk through the steps takes along, and rows: 16 registers of 32, or 8 of 16.
constexpr bool has_many_registers = tile_rows == 6;
constexpr Index most_pass_vectors = has_many_registers ? 4 : 2;
constexpr Index pass_rows(Index vectors) noexcept { return (has_many_registers ? 16 : 8) / vectors; }

struct PassColumns {
    const Pass& pass;
    Index column;
};

/// What takes a pass's sums: its `out`, or someone else, while the registers are busy.
struct ToOut {};

template <Index V>
struct PassBlock {
    // One sum after the other would wait for the latency of each.
    static constexpr Index parts = V == 1 ? 4 : 2;

    template <Index R>
    struct Rows {
        static void run(const PassColumns& t, Index first) noexcept { take_all(t.pass, first, t.column, ToOut{}); }

        /// Of `together` matrices, whose numbers take turns in the lanes.
        template <Index together = 1, typename Take>
        static LSTMKIT_INLINE void take_all(const Pass& given, Index first, Index column, [[maybe_unused]] Take take) noexcept {
            const Pass p = given;
            const Index from = p.backwards ? p.steps - 1 : 0, sign = p.backwards ? -1 : 1;
            const Real *write_row = p.write_row.at(from, first * together), *write = p.write.at(from, column),
                       *read_row = p.read_row.at(from, first * together);
            Real* out = p.out.at(from, column);
            Vector matrix[R][V];
#pragma GCC unroll 16
            for (Index r = 0; r < R; ++r)
#pragma GCC unroll 4
                for (Index v = 0; v < V; ++v) matrix[r][v] = load(p.matrix.at(first + r, column + v * lanes));
            for (Index step = 0; step < p.steps; ++step) {
                Vector w[V], sums[parts][V] = {};
#pragma GCC unroll 4
                for (Index v = 0; v < V; ++v) {
                    w[v] = load(write + v * lanes);
                    if (first > 0) sums[0][v] = load(out + v * lanes);
                }
#pragma GCC unroll 16
                for (Index r = 0; r < R; ++r) {
                    const Vector add = broadcast_some<together>(write_row + r * together), read = broadcast_some<together>(read_row + r * together);
#pragma GCC unroll 4
                    for (Index v = 0; v < V; ++v) matrix[r][v] += add * w[v], sums[r % parts][v] += read * matrix[r][v];
                }
#pragma GCC unroll 4
                for (Index v = 0; v < V; ++v) {
#pragma GCC unroll 4
                    for (Index n = 1; n < parts; ++n) sums[0][v] += sums[n][v];
                    if constexpr (std::is_same_v<Take, ToOut>) store(out + v * lanes, sums[0][v]);
                    else take(from + sign * step, column + v * lanes, sums[0][v]);
                }
                write_row += sign * p.write_row.row, write += sign * p.write.row, read_row += sign * p.read_row.row, out += sign * p.out.row;
            }
#pragma GCC unroll 16
            for (Index r = 0; r < R; ++r)
#pragma GCC unroll 4
                for (Index v = 0; v < V; ++v) store(p.matrix.at(first + r, column + v * lanes), matrix[r][v]);
        }
    };

    static void run(const PassColumns& t) noexcept { run_tiles<Rows, pass_rows(V)>(t.pass.rows, t); }
};

inline void walk(const Pass& pass) noexcept {
    for (Index column = 0; column < pass.columns; column += most_pass_vectors * lanes) {
        const Index left = (pass.columns - column) / lanes;
        if (left == 1) PassBlock<1>::run({pass, column});
        else if (left == 2 || most_pass_vectors == 2) PassBlock<2>::run({pass, column});
        else if (left == 3) PassBlock<3>::run({pass, column});
        else PassBlock<most_pass_vectors>::run({pass, column});
    }
}

}  // namespace
}  // namespace lstmkit
