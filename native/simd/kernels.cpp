// Compiled once per instruction set with LSTMKIT_SET (a namespace) and LSTMKIT_LANES (floats in a register).
#include "lstmkit/dispatch.h"
#include "vector.h"

namespace lstmkit {
namespace LSTMKIT_SET {

// Enough independent sums to hide the latency of a fused multiply-add.
inline constexpr std::size_t chains = 4;

static float dot(const float* a, const float* b, std::size_t count) noexcept {
    Vector sums[chains] = {};
    std::size_t k = 0;
    for (; k + chains * lanes <= count; k += chains * lanes)
        for (std::size_t chain = 0; chain < chains; ++chain)
            sums[chain] += load(a + k + chain * lanes) * load(b + k + chain * lanes);
    float total = sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
    for (; k < count; ++k) total += a[k] * b[k];
    return total;
}

extern const Kernels kernels = {dot};

}  // namespace LSTMKIT_SET
}  // namespace lstmkit
