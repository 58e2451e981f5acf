#include "stream/plan.h"

#include <algorithm>

namespace lstmkit {
namespace {

// Measured on a Zen 5. What the second cache holds is found there in the next step, which reads the other way round.
constexpr double second_cache = 1 << 20, second_bytes_per_cycle = 45, beyond_bytes_per_cycle = 28;

// To hand over a half and to hear that it is done, some lines of memory pass from core to core.
constexpr double handing_cycles = 800;

// For less, a second processor has better things to do.
constexpr double least_gain = 1.25;

}  // namespace

double step_cycles(const StepWeights& weights, Index blocks) noexcept {
    const double vectors = static_cast<double>(blocks * weights.vectors);
    const double bytes = vectors * static_cast<double>(weights.vector_bytes), near = std::min(bytes, second_cache);
    return std::max(vectors * weights.cycles_per_vector,
                    near / second_bytes_per_cycle + (bytes - near) / beyond_bytes_per_cycle);
}

Index first_half(Index blocks) noexcept { return (blocks + 2) / 4 * 2; }

bool is_worth_sharing(const StepWeights& weights) noexcept {
    const Index first = first_half(weights.blocks), second = weights.blocks - first;
    if (first == 0 || second <= 0) return false;
    const double two = step_cycles(weights, std::max(first, second)) + handing_cycles;
    return step_cycles(weights, weights.blocks) > least_gain * two;
}

}  // namespace lstmkit
