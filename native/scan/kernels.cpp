// Compiled once per instruction set, for Float32 and Float64, like simd/kernels.cpp. The equations are those of
// docs/explanation/relatives.md.
#include "scan/kernels.h"

#include "activation.h"
#include "tile.h"

namespace lstmkit {
namespace {

LSTMKIT_INLINE Vector exponential_of(const Vector& x) noexcept {
    constexpr Real most = Format<Real>::most - 8;  // room for the factors beside it
    const Exponential<Vector> e = exponential(at_least(at_most(x, most), -most));
    return e.m * e.scale + e.scale;
}

/// sigma(z) = open and 1 - sigma(z) = shut, each as exact as the other.
struct Valve {
    Vector open, shut, e, inverse;  // e^-|z|, 1 / (1 + e)
};

LSTMKIT_INLINE Valve valve(Vector z) noexcept {
    const Vector e = exponential_of(-magnitude(z)), inverse = one / (one + e), small = e * inverse;
    return {where_below(z, 0, small, inverse), where_below(z, 0, inverse, small), e, inverse};
}

/// f / (f + i) and i / (f + i), by their quotient i / f, which is 1 + e^-zf over 1 + e^-zi; no quotient of two closed
/// gates is 0 / 0, because what is large is taken out of both.
LSTMKIT_INLINE void share(Vector zi, Vector zf, const Valve& i, const Valve& f, Vector& keep, Vector& add) noexcept {
    const Vector quotient = exponential_of(at_most(zi, 0) - at_most(zf, 0)) * (one + f.e) * i.inverse;
    keep = one / (one + quotient);
    add = quotient * keep;
}

/// The gates of `count` units, the numbers of z at distance `units`.
template <typename Row>
struct Gates {
    const Row& row;
    Index first, count;

    LSTMKIT_INLINE Vector operator[](Index gate) const noexcept {
        const Index at = gate * row.units + first;
        return load_up_to(row.z + at, count);
    }
    LSTMKIT_INLINE void write(Index gate, Vector value) const noexcept { store_up_to(row.dz + gate * row.units + first, value, count); }
};

struct MinLSTM {
    template <typename Row>
    static LSTMKIT_INLINE Vector forward(const Gates<Row>& z, Vector before) noexcept {
        const Vector zi = z[0], zf = z[1];
        Vector keep, add;
        share(zi, zf, valve(zi), valve(zf), keep, add);
        return keep * before + add * z[2];
    }
    template <typename Row>
    static LSTMKIT_INLINE Vector backward(const Gates<Row>& z, Vector before, Vector dh) noexcept {
        const Vector zi = z[0], zf = z[1];
        const Valve i = valve(zi), f = valve(zf);
        Vector keep, add;
        share(zi, zf, i, f, keep, add);
        const Vector slope = dh * (before - z[2]) * keep * add;
        z.write(0, -(slope * i.shut));
        z.write(1, slope * f.shut);
        z.write(2, dh * add);
        return dh * keep;
    }
};

struct MinGRU {
    template <typename Row>
    static LSTMKIT_INLINE Vector forward(const Gates<Row>& z, Vector before) noexcept {
        const Valve gate = valve(z[0]);
        return gate.shut * before + gate.open * z[1];
    }
    template <typename Row>
    static LSTMKIT_INLINE Vector backward(const Gates<Row>& z, Vector before, Vector dh) noexcept {
        const Valve gate = valve(z[0]);
        z.write(0, dh * (z[1] - before) * gate.open * gate.shut);
        z.write(1, dh * gate.open);
        return dh * gate.shut;
    }
};

template <typename Cell, Index G, bool streams>
LSTMKIT_INLINE void forward_units(const ScanRow<Precision>& row) noexcept {
    const auto write = [](Real* to, Vector value, Index count) noexcept {
        if constexpr (streams) stream(to, value);
        else store_up_to(to, value, count);
    };
    for (Index first = 0; first < row.units; first += lanes) {
        const Index count = streams || row.units - first >= lanes ? lanes : row.units - first;
        const Gates<ScanRow<Precision>> z{row, first, count};
        const Vector h = Cell::forward(z, load_up_to(row.h + first, count));
        store_up_to(row.h + first, h, count);
        write(row.y + first, h, count);
        for (Index gate = 0; row.kept && gate < G; ++gate) write(row.kept + gate * row.units + first, z[gate], count);
    }
}

template <typename Cell, Index G>
void forward(const ScanRow<Precision>& row) noexcept {
    if (row.streams) forward_units<Cell, G, true>(row);
    else forward_units<Cell, G, false>(row);
}

template <typename Cell>
void backward(const ScanRowBackward<Precision>& row) noexcept {
    for (Index first = 0; first < row.units; first += lanes) {
        const Index count = row.units - first < lanes ? row.units - first : lanes;
        const Gates<ScanRowBackward<Precision>> z{row, first, count};
        Vector dh = load_up_to(row.dh + first, count);
        if (row.grad_y) dh += load_up_to(row.grad_y + first, count);
        store_up_to(row.dh + first, Cell::backward(z, load_up_to(row.h_before + first, count), dh), count);
    }
}

template <Index V>
struct Affine {
    template <Index R>
    struct Rows {
        static void run(const AffineTile<Precision>& tile, Index first) noexcept {
            const AffineTile<Precision> t = tile;  // what is written might otherwise be a part of it
            fetch_some(t.fetch);
            Vector z[R][V];
#pragma GCC unroll 4
            for (Index v = 0; v < V; ++v) {
                const Vector bias = load(t.bias + v * lanes);
#pragma GCC unroll 12
                for (Index r = 0; r < R; ++r) z[r][v] = bias;
            }
            accumulate(z, t.x + first, t.inputs, t.weights);
            if (t.count == V * lanes) write(z, t, first, [](Real* to, Vector value) noexcept { store(to, value); });
            else write(z, t, first, [last = t.count - (V - 1) * lanes](Real* to, Vector value) noexcept { store_first(to, value, last); });
        }
        template <typename Last>
        static LSTMKIT_INLINE void write(const Vector (&z)[R][V], const AffineTile<Precision>& t, Index first, Last store_last) noexcept {
            Real* to[R];
#pragma GCC unroll 12
            for (Index r = 0; r < R; ++r) to[r] = t.z[first + r] + t.first;
#pragma GCC unroll 12
            for (Index r = 0; r < R; ++r) {
#pragma GCC unroll 4
                for (Index v = 0; v + 1 < V; ++v) store(to[r] + v * lanes, z[r][v]);
                store_last(to[r] + (V - 1) * lanes, z[r][V - 1]);
            }
        }
    };

    static void run(const AffineTile<Precision>& tile) noexcept { run_tiles<Rows, product_rows(tile_rows, V)>(tile.rows, tile); }
};

void affine(const AffineTile<Precision>& tile) noexcept { run_vectors<Affine>((tile.count + lanes - 1) / lanes, tile); }

template <Index R>
struct Narrow {
    static void run(const NarrowTile<Precision>& tile, Index first) noexcept {
        const NarrowTile<Precision> t = tile;  // what is written might otherwise be a part of it
        Vector sums[R] = {};
#pragma GCC unroll 12
        for (Index r = 0; r < R; ++r)
            if (t.add) sums[r] = load(t.sums + (first + r) * lanes);
        const Real *in = t.in + first * t.in_row, *weights = t.weights;
        for (Index k = 0; k < t.columns; k += lanes) {
            fetch_some(t.fetch);
            for (Index n = 0; n < lanes; n += 2, in += 2, weights += lanes) {
                const Vector w = load(weights);
#pragma GCC unroll 12
                for (Index r = 0; r < R; ++r) sums[r] += broadcast_some<2>(in + r * t.in_row) * w;
            }
        }
#pragma GCC unroll 12
        for (Index r = 0; r < R; ++r) {
            if (t.out) store_up_to(t.out[first + r], sum_of_pairs(sums[r]), t.count);
            else store(t.sums + (first + r) * lanes, sums[r]);
        }
    }
    /// In the first half of the lanes.
    static LSTMKIT_INLINE Vector sum_of_pairs(Vector x) noexcept {
        Integers even = {}, odd = {};
        for (Index lane = 0; lane < lanes; ++lane) even[lane] = 2 * lane % lanes, odd[lane] = even[lane] + 1;
        return shuffle(x, x, even) + shuffle(x, x, odd);
    }
};

void narrow(const NarrowTile<Precision>& tile) noexcept { run_tiles<Narrow, narrow_rows>(tile.rows, tile); }

void finish() noexcept { finish_streams(); }

constexpr ScanKernels<Precision> kernels = {affine, narrow, {forward<MinLSTM, 3>, forward<MinGRU, 2>}, {backward<MinLSTM>, backward<MinGRU>}, finish};

}  // namespace

namespace LSTMKIT_SET {
const ScanKernels<Precision>& table(const ScanKernels<Precision>*) noexcept { return kernels; }
}  // namespace LSTMKIT_SET
}  // namespace lstmkit
