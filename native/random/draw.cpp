#include "lstmkit/draw.h"

#include <algorithm>

#include "threads/team.h"

namespace lstmkit {
namespace {

constexpr Index choices = 4;    // of a number
constexpr Index share = 1 << 16;  // so many choices are worth a thread

template <typename Number, typename Choose>
void draw_shares(std::uint64_t seed, std::uint32_t times, Number chosen, Number otherwise, Number* out, Index count, int threads,
                 Choose choose) {
    if (times > 65535) return void(std::fill_n(out, count, chosen));
    // The choice is between signed numbers, of which the least are chosen.
    const std::int16_t limit = static_cast<std::int16_t>(static_cast<std::int32_t>(times) - (1 << 15));
    const int shares = static_cast<int>((count + share - 1) / share);
    run_shares(shares, std::min(threads, shares), [&](int part) {
        const Index first = part * share;
        choose(seed, static_cast<std::uint64_t>(first / choices), limit, chosen, otherwise, out + first, std::min(share, count - first));
    });
}

}  // namespace

template <typename P>
void draw(std::uint64_t seed, std::uint32_t times, Stored<P> chosen, Stored<P> otherwise, Stored<P>* out, Index count, int threads,
          InstructionSet set) {
    draw_shares(seed, times, chosen, otherwise, out, count, threads, table_of<Kernels<P>>(set).choose);
}

void draw_bytes(std::uint64_t seed, std::uint32_t times, std::uint8_t* out, Index count, int threads, InstructionSet set) {
    draw_shares<std::uint8_t>(seed, times, 1, 0, out, count, threads, table_of<Kernels<Float32>>(set).choose_bytes);
}

#define LSTMKIT_PRECISION(P) template void draw<P>(std::uint64_t, std::uint32_t, Stored<P>, Stored<P>, Stored<P>*, Index, int, InstructionSet);
LSTMKIT_EVERY_PRECISION
#undef LSTMKIT_PRECISION

}  // namespace lstmkit
