// Compiled once per instruction set, for Float32, Float64 and BFloat16, like simd/kernels.cpp.
#include "pooling/kernels.h"

#include "activation.h"
#include "sweep.h"
#include "tile.h"

namespace lstmkit {
namespace {

template <Index N>
LSTMKIT_INLINE Vector score_vectors(Real* hidden, const Real* v) noexcept {
    Bundle<N> z;
#pragma GCC unroll 4
    for (Index n = 0; n < N; ++n) z.part[n] = load(hidden + n * lanes);
    const Bundle<N> a = tanh(z);
    Vector sum = {};
#pragma GCC unroll 4
    for (Index n = 0; n < N; ++n) {
        store(hidden + n * lanes, a.part[n]);
        sum += a.part[n] * load(v + n * lanes);
    }
    return sum;
}

void score(const HiddenRows<Precision>& t, Real* hidden, Real* scores) noexcept {
    for (Index r = 0; r < t.rows; ++r, hidden += t.width) {
        Vector sum = {};
        Index n = 0;
        for (; n + 4 <= t.vectors; n += 4) sum += score_vectors<4>(hidden + n * lanes, t.v + n * lanes);
        for (; n < t.vectors; ++n) sum += score_vectors<1>(hidden + n * lanes, t.v + n * lanes);
        scores[r] = total_of(sum)[0];
    }
}

void score_backward(const HiddenRows<Precision>& t, const HiddenGradient<Precision>& grad) noexcept {
    for (Index n = 0; n < t.vectors; ++n) {
        const Vector v = load(t.v + n * lanes);
        const Real* hidden = grad.hidden + n * lanes;
        Factor* dz = grad.dz + n * lanes;
        Vector dv = load(grad.dv + n * lanes), dbias = load(grad.dbias + n * lanes);
        for (Index r = 0; r < t.rows; ++r, hidden += t.width, dz += t.vectors * lanes) {
            const Vector a = load(hidden), d = broadcast(grad.dscores + r), dsum = d * v * (one - a * a);
            dv += d * a;
            dbias += dsum;
            store(dz, dsum);
        }
        store(grad.dv + n * lanes, dv);
        store(grad.dbias + n * lanes, dbias);
    }
}

void mix(const Steps<Precision>& t, const Real* shares, Real* out) noexcept {
    each_vector(t.features, [&](Index first, Index count) noexcept {
        Vector sum = {};
        for (Index r = 0; r < t.rows; ++r) sum += load_up_to(t.x[r] + first, count) * broadcast(shares + r);
        store_up_to(out + first, sum, count);
    });
}

void mix_backward(const Steps<Precision>& t, const Real* grad, Real* dshares) noexcept {
    for (Index r = 0; r < t.rows; ++r) {
        Vector sum = {};
        each_vector(t.features, [&](Index first, Index count) noexcept {
            sum += load_up_to(t.x[r] + first, count) * load_up_to(grad + first, count);
        });
        dshares[r] += total_of(sum)[0];
    }
}

void finish(const Real* more, const Real* shares, const Real* grad, Index rows, Index features, Factor* const* dx) noexcept {
    for (Index r = 0; r < rows; ++r, more += features) {
        const Vector share = broadcast(shares + r);
        each_vector(features, [&](Index first, Index count) noexcept {
            store_up_to(dx[r] + first, load_up_to(more + first, count) + share * load_up_to(grad + first, count), count);
        });
    }
}

constexpr PoolKernels<Precision> kernels = {score, score_backward, mix, mix_backward, finish};

}  // namespace

namespace LSTMKIT_SET {
const PoolKernels<Precision>& table(const PoolKernels<Precision>*) noexcept { return kernels; }
}  // namespace LSTMKIT_SET
}  // namespace lstmkit
