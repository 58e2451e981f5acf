// Compiled once per instruction set and precision, with LSTMKIT_SET (a namespace), LSTMKIT_VECTOR (bytes in a register)
// and LSTMKIT_PRECISION.
#include "lstmkit/dispatch.h"
#include "cell_steps.h"
#include "exchange.h"
#include "lstm.h"
#include "mogrifier.h"
#include "random.h"
#include "tile.h"
#include "vector.h"

namespace lstmkit {
namespace {

template <Vector (*function)(const Vector&) noexcept>
void apply(const Real* in, Real* out, std::size_t count) noexcept {
    std::size_t k = 0;
    for (; k + lanes <= count; k += lanes) store(out + k, function(load(in + k)));
    if (k < count) store_first(out + k, function(load_first(in + k, count - k)), count - k);
}

void sigmoid_all(const Real* in, Real* out, std::size_t count) noexcept { apply<sigmoid<Vector>>(in, out, count); }
void tanh_all(const Real* in, Real* out, std::size_t count) noexcept { apply<tanh<Vector>>(in, out, count); }

template <Index V>
struct Sum {
    template <Index R>
    struct Rows {
        static void run(const SumTile<Precision>& t, Index first) noexcept {
            Real* const out = t.out + first * t.out_row;
            Vector sums[R][V] = {};
            const Factor* row[R];
#pragma GCC unroll 12
            for (Index r = 0; r < R; ++r) row[r] = t.in[first + r] + t.first;
            sum_up(sums, {{row, t.columns}}, t.weights);
#pragma GCC unroll 12
            for (Index r = 0; r < R; ++r)
#pragma GCC unroll 4
                for (Index v = 0; v < V; ++v) {
                    Real* const at = out + r * t.out_row + v * lanes;
                    store(at, load(v < t.added ? at : t.bias + v * lanes) + sums[r][v]);
                }
        }
    };

    static void run(const SumTile<Precision>& tile) noexcept { run_tiles<Rows, product_rows(tile_rows, V)>(tile.rows, tile); }
};

void sum(const SumTile<Precision>& tile) noexcept { run_vectors<Sum>(tile.vectors, tile); }

template <Index R>
struct Forward {
    static void run(const ForwardTile<Precision>& t, Index first) noexcept {
        fetch_some(t.fetch);
        Vector z[R][gates] = {};
        sum_up(z, {{t.x + first, t.inputs}, {t.h + first, t.outputs}}, t.weights);
#pragma GCC unroll 6
        for (Index r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (Index gate = 0; gate < gates; ++gate)
                z[r][gate] += load((t.sums ? t.sums + (first + r) * t.sums_row : t.bias) + gate * lanes);
        finish(t, first, z);
    }

    static LSTMKIT_INLINE void finish(const ForwardTile<Precision>& t, Index first, const Vector (&z)[R][gates]) noexcept {
        Bundle<R> gate[gates], c;
#pragma GCC unroll 6
        for (Index r = 0; r < R; ++r) {
#pragma GCC unroll 4
            for (Index n = 0; n < gates; ++n) gate[n].part[r] = z[r][n];
            c.part[r] = load(t.c + (first + r) * t.c_row);
        }
        const auto keep = [&t, first](Index n, const Bundle<R>& value) noexcept {
            if (t.activations) leave(t, t.activations + first, t.first + n * t.gate_stride, value, t.activations_ahead);
        };
        const auto [c_after, h] = lstm_step(gate[0], gate[1], gate[2], gate[3], c, keep);
        if (t.cells) leave(t, t.cells + first, t.first, c_after, t.cells_ahead);
        write(t.y + first, t.first, h, t.count, t.y_ahead);
#pragma GCC unroll 6
        for (Index r = 0; r < R; ++r) store(t.c + (first + r) * t.c_row, c_after.part[r]);
    }

    template <typename Number>
    static LSTMKIT_INLINE void leave(const ForwardTile<Precision>& t, Number* const* rows, Index at, const Bundle<R>& value,
                                     Index ahead) noexcept {
        if (!t.streams) return write(rows, at, value, t.count, ahead);
#pragma GCC unroll 6
        for (Index r = 0; r < R; ++r) stream(rows[r] + at, value.part[r]);
    }

    template <typename Number>
    static LSTMKIT_INLINE void write(Number* const* rows, Index at, const Bundle<R>& value, Index count, Index ahead) noexcept {
#pragma GCC unroll 6
        for (Index r = 0; r < R; ++r) {
            store_up_to(rows[r] + at, value.part[r], count);
            prefetch_to_write(rows[r] + at + ahead);
        }
    }
};

void forward(const ForwardTile<Precision>& tile) noexcept { run_tiles<Forward>(tile.rows, tile); }

LSTMKIT_INLINE void cell_backward_block(const CellRow<Precision>& row, Index block, Index count, Vector tanh_c) noexcept {
    const Index u = block * lanes, s = row.gate_stride;
    const auto* a = row.activations + u;
    Vector dh = load(row.dh + u), dc = load(row.dc + u);
    if (row.grad_y) dh += load_up_to(row.grad_y + u, count);
    if (row.grad_cells) dc += load_up_to(row.grad_cells + u, count);
    Vector dgates[gates];
    if (row.grad_activations)
        for (Index gate = 0; gate < gates; ++gate)
            dgates[gate] = load_up_to(row.grad_activations + u + gate * row.grad_gate_stride, count);
    const CellGradient grad = lstm_step_backward(
        load_up_to(a, count), load_up_to(a + s, count), load_up_to(a + 2 * s, count), load_up_to(a + 3 * s, count),
        tanh_c, load_up_to(row.cells_before + u, count), dh, dc,
        row.grad_activations ? dgates : nullptr);
    store(row.dc + u, grad.c_before);
    if (row.hidden) store_up_to(row.hidden + u, grad.h, count);
    Factor* dz = row.dz + block * row.dz_block;
    store(dz, grad.zi);
    store(dz + lanes, grad.zf);
    store(dz + 2 * lanes, grad.zg);
    store(dz + 3 * lanes, grad.zo);
}

/// N blocks, of which the last has `count` units.
template <Index N>
LSTMKIT_INLINE void cell_backward_blocks(const CellRow<Precision>& row, Index first, Index count) noexcept {
    Bundle<N> c;
#pragma GCC unroll 4
    for (Index n = 0; n < N; ++n) c.part[n] = load_up_to(row.cells + (first + n) * lanes, n + 1 < N ? lanes : count);
    const Bundle<N> tanh_c = tanh(c);
#pragma GCC unroll 4
    for (Index n = 0; n < N; ++n) cell_backward_block(row, first + n, n + 1 < N ? lanes : count, tanh_c.part[n]);
}

void cell_backward(const CellRow<Precision>& given) noexcept {
    const CellRow<Precision> row = given;  // else every store might change it
    const Index whole = row.units / lanes, rest = row.units % lanes;
    Index block = 0;
    for (; block + 4 <= whole; block += 4) cell_backward_blocks<4>(row, block, lanes);
    for (; block + 2 <= whole; block += 2) cell_backward_blocks<2>(row, block, lanes);
    if (block < whole) cell_backward_blocks<1>(row, block, lanes);
    if (rest) cell_backward_blocks<1>(row, whole, rest);
}

template <Index V>
struct Product {
    template <Index R>
    struct Rows {
        static void run(const ProductTile<Precision>& t, Index first) noexcept {
            const Index last = t.count - (V - 1) * lanes;
            Vector sums[R][V] = {};
            if (t.add)
#pragma GCC unroll 12
                for (Index r = 0; r < R; ++r)
#pragma GCC unroll 4
                    for (Index v = 0; v < V; ++v)
                        sums[r][v] = load_up_to(t.out[first + r] + t.first + v * lanes, v + 1 < V ? lanes : last);
            const Factor* weights = t.weights;
            const Factor* row[R];
            for (Index block = 0; block < t.blocks; ++block) {
                fetch_some(t.fetch);
#pragma GCC unroll 12
                for (Index r = 0; r < R; ++r) row[r] = t.in + block * t.in_block + (first + r) * t.in_row;
                weights = accumulate(sums, row, t.block_rows, weights);
            }
#pragma GCC unroll 12
            for (Index r = 0; r < R; ++r) {
                Real* out = t.out[first + r] + t.first;
#pragma GCC unroll 4
                for (Index v = 0; v < V; ++v)
                    if (t.streams)
                        stream(out + v * lanes, sums[r][v]);
                    else
                        store_up_to(out + v * lanes, sums[r][v], v + 1 < V ? lanes : last);
            }
        }
    };

    static void run(const ProductTile<Precision>& tile) noexcept {
        run_tiles<Rows, product_rows(tile_rows, V)>(tile.rows, tile);
        if (tile.streams) finish_streams();
    }
};

void product(const ProductTile<Precision>& tile) noexcept { run_vectors<Product>(tile.vectors, tile); }

template <Index V>
struct Outer {
    template <Index R>
    struct Columns {
        static void run(const OuterTile<Precision>& t, Index first) noexcept {
            fetch_some(t.fetch);
            Real* sum = t.sum + first * V * lanes;
            Vector sums[R][V];
#pragma GCC unroll 12
            for (Index r = 0; r < R; ++r)
#pragma GCC unroll 4
                for (Index v = 0; v < V; ++v) {
                    sums[r][v] = load(sum + (r * V + v) * lanes);
                    // Of the next tile, while this one is busy: large sums lie behind the second-level cache.
                    prefetch_to_write(sum + ((R + r) * V + v) * lanes);
                }
            const Factor* right = t.right;
            const Factor* columns[R];
            for (Index group = 0; group < t.groups; ++group, right += t.right_group) {
#pragma GCC unroll 12
                for (Index r = 0; r < R; ++r) columns[r] = t.in[group] + (t.first + first + r) * depth<Precision>;
                add_products(sums, columns, right, [](const Factor* at) noexcept { return broadcast_factors(at); });
            }
#pragma GCC unroll 12
            for (Index r = 0; r < R; ++r)
#pragma GCC unroll 4
                for (Index v = 0; v < V; ++v) store(sum + (r * V + v) * lanes, sums[r][v]);
        }
    };

    static void run(const OuterTile<Precision>& tile) noexcept { run_tiles<Columns, product_rows(tile_rows, V)>(tile.columns, tile); }
};

void outer(const OuterTile<Precision>& tile) noexcept { run_vectors<Outer>(tile.vectors, tile); }

void round(const Real* in, Factor* out, Index count) noexcept {
    Index k = 0;
    for (; k + lanes <= count; k += lanes) store(out + k, load(in + k));
    if (k < count) store_up_to(out + k, load_first(in + k, count - k), count - k);
}

template <typename Number>
void interleave(const Number* even, const Number* odd, Number* out, Index count) noexcept {
    if constexpr (depth<Precision> == 2) return interleave_pairs(even, odd, out, count);
    for (Index k = 0; k < count; ++k) {
        out[2 * k] = even[k];
        out[2 * k + 1] = odd ? odd[k] : Number{};
    }
}

using Steps = LSTMKIT_SET::CellSteps<Precision>;
constexpr bool is_whole = has_cells<Precision>;
constexpr Kernels<Precision> kernels = {
    lanes, tile_rows, sigmoid_all, tanh_all, transpose<>, sum, forward, cell_backward, product, outer, round, interleave, choose<Factor>,
    choose<std::uint8_t>, is_whole ? Steps::forward : nullptr, is_whole ? Steps::backward : nullptr, is_whole ? Steps::middle : nullptr,
    is_whole ? Steps::middle_backward : nullptr, mogrify, mogrify_backward, finish_streams};

}  // namespace

namespace LSTMKIT_SET {
const Kernels<Precision>& table(const Kernels<Precision>*) noexcept { return kernels; }
}  // namespace LSTMKIT_SET
}  // namespace lstmkit
