#include "lstmkit/draw.h"

#include <algorithm>

#include "lstmkit/precision.h"
#include "threads/team.h"

namespace lstmkit {
namespace {

// So many choices are worth a thread.
constexpr std::ptrdiff_t share = 1 << 16, choices = 4;

std::uint64_t mix(std::uint64_t z) noexcept {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

}  // namespace

template <typename Number>
void draw(std::uint64_t seed, std::uint32_t times, Number chosen, Number otherwise, Number* out, std::ptrdiff_t count, int threads) {
    // The choice is between signed numbers, of which the least are chosen.
    const std::int32_t limit = static_cast<std::int32_t>(times) - (1 << 15);
    const Number both[] = {otherwise, chosen};  // looked up: nobody could foretell a branch
    const std::ptrdiff_t shares = (count + share - 1) / share;
    run_shares(static_cast<int>(shares), std::min<int>(threads, static_cast<int>(shares)), [&](int part) noexcept {
        const std::ptrdiff_t last = std::min(count, (part + 1) * share);
        std::ptrdiff_t k = part * share;
        const auto choose = [&](std::ptrdiff_t many) noexcept {
            const std::uint64_t number = mix((seed + static_cast<std::uint64_t>(k / choices)) * 0x9E3779B97F4A7C15u);
            for (std::ptrdiff_t n = 0; n < many; ++n) out[k + n] = both[static_cast<std::int16_t>(number >> 16 * n) < limit];
        };
        for (; k + choices <= last; k += choices) choose(choices);
        choose(last - k);
    });
}

#define LSTMKIT_DRAW(Number) template void draw(std::uint64_t, std::uint32_t, Number, Number, Number*, std::ptrdiff_t, int);
LSTMKIT_DRAW(std::uint8_t)
LSTMKIT_DRAW(float)
LSTMKIT_DRAW(double)
LSTMKIT_DRAW(bfloat16)
#undef LSTMKIT_DRAW

}  // namespace lstmkit
