// Compiled once per instruction set, like simd/stream_kernels.cpp.
#include "adamw/kernels.h"

#include "sweep.h"

namespace lstmkit {
namespace {

LSTMKIT_INLINE Vector square_root(Vector x) noexcept {
#if defined(__AVX512F__)
    return (Vector)_mm512_maskz_sqrt_ps(0xffff, (__m512)x);
#elif defined(__AVX2__)
    return (Vector)_mm256_sqrt_ps((__m256)x);
#else
    for (Index lane = 0; lane < lanes; ++lane) x[lane] = __builtin_sqrtf(x[lane]);
    return x;
#endif
}

double square(const float* numbers, Index count) noexcept {
    Vector sums[4] = {};
    Index first = 0;
    for (; first + 4 * lanes <= count; first += 4 * lanes)
#pragma GCC unroll 4
        for (Index n = 0; n < 4; ++n) {
            const Vector x = load(numbers + first + n * lanes);
            sums[n] += x * x;
        }
    each_vector(count - first, [&](Index at, Index some) noexcept {
        const Vector x = load_up_to(numbers + first + at, some);
        sums[0] += x * x;
    });
    double total = 0;
    for (Index n = 0; n < 4; ++n)
        for (Index lane = 0; lane < lanes; ++lane) total += double(sums[n][lane]);
    return total;
}

template <bool averages>
LSTMKIT_INLINE void step_all(const AdamwWeights& w, const AdamwFactors& f) noexcept {
    each_vector(w.count, [&](Index at, Index count) noexcept {
        const Vector grad = load_up_to(w.grad + at, count) * f.grad;
        const Vector mean = load_up_to(w.mean + at, count), square = load_up_to(w.square + at, count);
        const Vector next_mean = mean + (grad - mean) * f.taken1, next_square = square * f.beta2 + grad * grad * f.taken2;
        store_up_to(w.mean + at, next_mean, count);
        store_up_to(w.square + at, next_square, count);
        const Vector kept = load_up_to(w.weights + at, count) * f.kept;
        const Vector weights = kept - next_mean * f.rate / (square_root(next_square) * f.root + f.epsilon);
        store_up_to(w.weights + at, weights, count);
        if constexpr (averages) {
            const Vector average = load_up_to(w.average + at, count);
            store_up_to(w.average + at, average + (weights - average) * f.share, count);
        }
    });
}

void step(const AdamwWeights& weights, const AdamwFactors& factors) noexcept {
    weights.average ? step_all<true>(weights, factors) : step_all<false>(weights, factors);
}

void follow(const float* weights, float* average, Index count, float share) noexcept {
    each_vector(count, [&](Index at, Index some) noexcept {
        const Vector before = load_up_to(average + at, some);
        store_up_to(average + at, before + (load_up_to(weights + at, some) - before) * share, some);
    });
}

constexpr AdamwKernels kernels = {square, step, follow};

}  // namespace

namespace LSTMKIT_SET {
const AdamwKernels& table(const AdamwKernels*) noexcept { return kernels; }
}  // namespace LSTMKIT_SET
}  // namespace lstmkit
