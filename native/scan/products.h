// Small products of matrices that lie row by row in the caches, in register tiles. Included only by what is compiled once per
// instruction set.
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

/// The terms that a row adds up: all, those up to the row itself, or those from it on.
enum class Terms { all, up_to_row, from_row };

/// sum over k < count of left(r, k) * right[k][:]; terms beyond a row are zeros on the left, and tiles skip most of them.
struct Factors {
    const Real* left;
    Index left_row, left_term;  // from r to r + 1, from k to k + 1
    const Real* right;
    Index right_row, count;
    Terms terms = Terms::all;
};

/// left[r][k] * right[k][:].
LSTMKIT_INLINE Factors plain(Panel left, Panel right, Index count, Terms terms = Terms::all) noexcept {
    return {left.data, left.row, 1, right.data, right.row, count, terms};
}
/// left[k][r] * right[k][:].
LSTMKIT_INLINE Factors turned(Panel left, Panel right, Index count, Terms terms = Terms::all) noexcept {
    return {left.data, 1, left.row, right.data, right.row, count, terms};
}

/// Rows and columns, whole vectors, of one product or the sum of two, written or added to what is there.
struct Product {
    Index rows, columns;
    Factors one, other;
    Panel out;
    bool add;
};

/// Rows of a tile of `vectors` vectors: what the registers hold beside a row of the right side and a number of the left.
constexpr Index rows_of_tile(Index vectors) noexcept { return tile_rows == 6 ? (vectors == 1 ? 16 : 24 / vectors) : vectors == 1 ? 8 : 12 / vectors; }

template <Index R, Index V>
LSTMKIT_INLINE void add_factors(Vector (&sums)[R][V], const Factors& f, Index first, Index column) noexcept {
    const Index from = f.terms == Terms::from_row ? first : 0, end = first + R;
    const Index to = f.terms == Terms::up_to_row && end < f.count ? end : f.count;
    constexpr Index pointers = (R + 3) / 4;
    const Real* left[pointers];
#pragma GCC unroll 4
    for (Index n = 0; n < pointers; ++n) left[n] = f.left + (first + 4 * n) * f.left_row + from * f.left_term;
    const Real* right = f.right + from * f.right_row + column;
    for (Index k = from; k < to; ++k, right += f.right_row) {
        Vector w[V];
#pragma GCC unroll 4
        for (Index v = 0; v < V; ++v) w[v] = load(right + v * lanes);
#pragma GCC unroll 16
        for (Index r = 0; r < R; ++r) {
            const Vector value = broadcast(left[r / 4] + r % 4 * f.left_row);
#pragma GCC unroll 4
            for (Index v = 0; v < V; ++v) sums[r][v] += value * w[v];
        }
#pragma GCC unroll 4
        for (Index n = 0; n < pointers; ++n) left[n] += f.left_term;
    }
}

struct ProductColumns {
    const Product& product;
    Index column;
};

template <Index V>
struct Multiply {
    template <Index R>
    struct Rows {
        static void run(const ProductColumns& t, Index first) noexcept {
            const Product& p = t.product;
            Vector sums[R][V] = {};
            if (p.add)
#pragma GCC unroll 16
                for (Index r = 0; r < R; ++r)
#pragma GCC unroll 4
                    for (Index v = 0; v < V; ++v) sums[r][v] = load(p.out.at(first + r, t.column + v * lanes));
            add_factors(sums, p.one, first, t.column);
            add_factors(sums, p.other, first, t.column);
#pragma GCC unroll 16
            for (Index r = 0; r < R; ++r)
#pragma GCC unroll 4
                for (Index v = 0; v < V; ++v) store(p.out.at(first + r, t.column + v * lanes), sums[r][v]);
        }
    };

    static void run(const Product& product, Index column) noexcept { run_tiles<Rows, rows_of_tile(V)>(product.rows, ProductColumns{product, column}); }
};

void multiply(const Product& product) noexcept {
    for (Index column = 0; column < product.columns; column += gates * lanes) switch ((product.columns - column) / lanes) {
            case 1: Multiply<1>::run(product, column); break;
            case 2: Multiply<2>::run(product, column); break;
            case 3: Multiply<3>::run(product, column); break;
            default: Multiply<4>::run(product, column);
        }
}

/// out[l] = the sum of all lanes of rows[l]: at distance d = L/2 .. 1 rows with that bit and lanes with it change places.
template <Index distance = lanes / 2>
LSTMKIT_INLINE Vector totals(Vector* rows) noexcept {
    Integers low, high;
    for (Index lane = 0; lane < lanes; ++lane) {
        low[lane] = lane & distance ? lanes + lane - distance : lane;
        high[lane] = lane & distance ? lanes + lane : lane + distance;
    }
#pragma GCC unroll 16
    for (Index row = 0; row < distance; ++row)
        rows[row] = shuffle(rows[row], rows[row + distance], low) + shuffle(rows[row], rows[row + distance], high);
    if constexpr (distance > 1) return totals<distance / 2>(rows);
    else return rows[0];
}

/// to[r] = the sum of the lanes of parts[r], for whole vectors of r.
LSTMKIT_INLINE void add_up(const Real* parts, Index count, Real* to) noexcept {
    for (Index r = 0; r < count; r += lanes) {
        Vector rows[lanes];
#pragma GCC unroll 16
        for (Index l = 0; l < lanes; ++l) rows[l] = load(parts + (r + l) * lanes);
        store(to + r, totals(rows));
    }
}

}  // namespace
}  // namespace lstmkit
