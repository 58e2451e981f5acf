// Compiled once per instruction set: chains of multiply-adds that never leave the registers.
#include "peak_set.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace lstmkit {
namespace LSTMKIT_SET {

// More chains than the latency of two units in flight, fewer than the registers.
#if defined(__AVX512F__) || defined(__aarch64__)
static constexpr int chains = 24;
#else
static constexpr int chains = 12;
#endif

template <typename Real>
static double multiply_adds(long rounds) noexcept {
    typedef Real Numbers __attribute__((vector_size(LSTMKIT_VECTOR)));
    constexpr int lanes = LSTMKIT_VECTOR / sizeof(Real);
    // Read anew for each chain, or the compiler would know that all are the same.
    volatile Real half = Real(0.5);
    const Numbers b = Numbers{} + half, c = Numbers{} + half;
    Numbers sums[chains];
#pragma GCC unroll 24
    for (int k = 0; k < chains; ++k) sums[k] = Numbers{} + half;
    for (long round = 0; round < rounds; ++round)
#pragma GCC unroll 24
        for (int k = 0; k < chains; ++k) sums[k] = sums[k] * b + c;
#pragma GCC unroll 24
    for (int k = 1; k < chains; ++k) sums[0] += sums[k];
    volatile Real kept = sums[0][0];
    static_cast<void>(kept);
    return 2.0 * lanes * chains * rounds;
}

#if defined(__AVX512BF16__)
static double bfloat16_dots(long rounds) noexcept {
    volatile short half = 0x3f00;
    volatile float start = 0;
    const __m512bh b = (__m512bh)_mm512_set1_epi16(half);
    __m512 sums[chains];
#pragma GCC unroll 24
    for (int k = 0; k < chains; ++k) sums[k] = _mm512_set1_ps(start);
    for (long round = 0; round < rounds; ++round)
#pragma GCC unroll 24
        for (int k = 0; k < chains; ++k) sums[k] = _mm512_dpbf16_ps(sums[k], b, b);
#pragma GCC unroll 24
    for (int k = 1; k < chains; ++k) sums[0] += sums[k];
    volatile float kept = sums[0][0];
    static_cast<void>(kept);
    return 4.0 * (LSTMKIT_VECTOR / sizeof(float)) * chains * rounds;
}
#else
static constexpr PeakLoop bfloat16_dots = nullptr;
#endif

static constexpr PeakLoops loops = {multiply_adds<float>, multiply_adds<double>, bfloat16_dots};

const PeakLoops& table(const PeakLoops*) noexcept { return loops; }

}  // namespace LSTMKIT_SET
}  // namespace lstmkit
