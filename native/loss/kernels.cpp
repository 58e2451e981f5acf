// Compiled once per instruction set, for Float32, Float64 and BFloat16, like simd/kernels.cpp.
#include "loss/kernels.h"

#include "bfloat16.h"
#include "exponential.h"

namespace lstmkit {
namespace {

constexpr Index parts = loss_block / lanes;
constexpr Real lowest = std::numeric_limits<Real>::lowest();

/// e^x for x <= 0, where what is below the smallest normal number becomes that; NaN stays NaN.
LSTMKIT_INLINE Vector exponential_of(Vector x) noexcept {
    const Exponential<Vector> e = exponential(at_least(x, 1 - Format<Real>::most));
    return e.m * e.scale + e.scale;
}

LSTMKIT_INLINE Vector larger(Vector a, Vector b) noexcept { return a > b ? a : b; }

/// The largest of all lanes, in each of them.
template <Index distance = lanes / 2>
LSTMKIT_INLINE Vector largest_of(Vector x) noexcept {
    Integers other;
    for (Index lane = 0; lane < lanes; ++lane) other[lane] = lane ^ distance;
    x = larger(x, shuffle(x, x, other));
    if constexpr (distance > 1) return largest_of<distance / 2>(x);
    else return x;
}

void share(const ShareTile<Precision>& t) noexcept {
    for (Index r = 0; r < t.rows; ++r) {
        const Real* const scores = t.scores + r * loss_block;
        Vector highest = Vector{} + lowest, sum = {};
#pragma GCC unroll 4
        for (Index k = 0; k < parts; ++k) highest = larger(load(scores + k * lanes), highest);
        highest = largest_of(highest);
#pragma GCC unroll 4
        for (Index k = 0; k < parts; ++k) {
            const Vector share = exponential_of(load(scores + k * lanes) - highest);
            if (t.shares) store(t.shares + r * loss_block + k * lanes, share);
            sum += share;
        }
        t.highest[r] = highest[0];
        t.sums[r] = total_of(sum)[0];
    }
}

void join(const JoinTile<Precision>& t) noexcept {
    for (Index first = 0; first < t.rows; first += lanes) {
        const Index count = t.rows - first < lanes ? t.rows - first : lanes;
        Vector top = Vector{} + lowest, total = {};
        for (Index b = 0; b < t.blocks; ++b) top = larger(load_up_to(t.highest + b * t.distance + first, count), top);
        for (Index b = 0; b < t.blocks; ++b) {
            Real* const at = t.highest + b * t.distance + first;
            const Vector factor = exponential_of(load_up_to(at, count) - top);
            total += factor * load_up_to(t.sums + b * t.distance + first, count);
            store_up_to(at, factor, count);
        }
        for (Index b = 0; b < t.blocks; ++b) {
            Real* const at = t.highest + b * t.distance + first;
            store_up_to(at, load_up_to(at, count) / total, count);
        }
        store_up_to(t.top + first, top, count);
        store_up_to(t.total + first, total, count);
    }
}

void gradient(const GradientTile<Precision>& t) noexcept {
    Vector totals[parts];
#pragma GCC unroll 4
    for (Index k = 0; k < parts; ++k) totals[k] = load(t.totals + k * lanes);
    for (Index r = 0; r < t.rows; ++r) {
        const Vector factor = Vector{} + t.factors[r] * t.upstream[r];
#pragma GCC unroll 4
        for (Index k = 0; k < parts; ++k) {
            const Vector value = load_up_to(t.shares + r * loss_block + k * lanes, lanes) * factor;
            store(t.out + r * loss_block + k * lanes, value);
            totals[k] += value;
        }
    }
#pragma GCC unroll 4
    for (Index k = 0; k < parts; ++k) store(t.totals + k * lanes, totals[k]);
}

constexpr LossKernels<Precision> kernels = {share, join, gradient};

}  // namespace

namespace LSTMKIT_SET {
const LossKernels<Precision>& table(const LossKernels<Precision>*) noexcept { return kernels; }
}  // namespace LSTMKIT_SET
}  // namespace lstmkit
