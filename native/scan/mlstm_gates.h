// The gates of a piece of an mLSTM, heads side by side in the lanes. Included only by mlstm_kernels.cpp.
//
// With decays b_t = sum of log f from behind the first step up to t, so that one step alone is not rounded, and with written_s =
// log i_s - b_s, the weight D of relatives.md is e^(written_s - M_t), where M_t = m_t - b_t is the largest of what was written so
// far. It is the product of e^(written_s - c) and e^(c - M_t), with c in the middle of what M goes through: of a number for s and
// one for t. So a piece ends where M has gone further than these can hold.
#pragma once

#include "activation.h"
#include "exchange.h"
#include "scan/mlstm_kernels.h"

namespace lstmkit {
namespace {

constexpr bool is_wide = sizeof(Real) == 8;
constexpr Real most_way = is_wide ? 600 : 120;
// Between these e^x is a normal number.
constexpr Real least_power = is_wide ? -708 : -87, most_power = is_wide ? 700 : 80;
constexpr Real infinity = std::numeric_limits<Real>::infinity();

/// e^x for what is in range.
LSTMKIT_INLINE Vector e_to(Vector x) noexcept {
    const Exponential<Vector> e = exponential(x);
    return e.m * e.scale + e.scale;
}

/// The same, zero below it.
LSTMKIT_INLINE Vector e_to_any(Vector x) noexcept { return where_below(x, least_power, Vector{}, e_to(at_least(x, least_power))); }

/// log(1 + x) for x in 0..1, as 2 atanh(x / (2 + x)).
LSTMKIT_INLINE Vector log_of_one_and(Vector x) noexcept {
    const Vector s = x / (x + two), square = s * s;
    constexpr int last = is_wide ? 33 : 15;
    Vector sum = Vector{} + Real(1) / last;
#pragma GCC unroll 20
    for (int n = last - 2; n > 0; n -= 2) sum = sum * square + Real(1) / n;
    return two * s * sum;
}

LSTMKIT_INLINE Vector log_sigmoid(Vector z) noexcept { return at_most(z, 0) - log_of_one_and(e_to_any(-magnitude(z))); }

// A vector of two numbers has no halves.
constexpr Index most_together = lanes >= 4 ? 2 : 1;

/// Calls work(a constant) of how many heads are together.
template <typename Work>
LSTMKIT_INLINE void of_together(Index together, Work work) noexcept {
    if (together == 1) work(std::integral_constant<Index, 1>{});
    else work(std::integral_constant<Index, most_together>{});
}

/// `lanes` heads from `head` on, in rows [steps][lanes].
struct GateBlock {
    const GatesForward<Precision>& c;
    Index head, count;
    Real *written, *largest, *decay;

    GateBlock(const GatesForward<Precision>& c, Index head) noexcept
        : c(c), head(head), count(c.at.heads - head < lanes ? c.at.heads - head : lanes), written(c.room + head * 3 * series_steps),
          largest(written + series_steps * lanes), decay(largest + series_steps * lanes) {}

    /// Returns the steps that stay within range.
    Index scan(Index steps) noexcept {
        const auto log_f = [&](Index t) noexcept { return log_sigmoid(load_up_to(c.at.z + t * c.at.step + c.at.heads + head, count)); };
        Vector sum = {}, most = load(c.m + head) + log_f(0);
        store(c.m + head, most);
        for (Index t = 0; t < steps; ++t) {
            if (t > 0) sum += log_f(t);
            const Vector now = load_up_to(c.at.z + t * c.at.step + head, count) - sum;
            most = (most < now) | (now != now) ? now : most;  // a NaN stays
            store(decay + t * lanes, sum), store(written + t * lanes, now), store(largest + t * lanes, most);
        }
        while (steps > 1 && is_too_far(load(largest), load(largest + (steps - 1) * lanes))) --steps;
        return steps;
    }

    void write(Index steps) noexcept {
        const Vector first = load(largest), last = load(largest + (steps - 1) * lanes), half = Real(0.5) * (last - first);
        const Vector m = load(c.m + head), weight = e_to_any((m - first) - load(c.lag + head) - half), nothing = {};
        store(c.to.first + head, m == nothing - infinity ? nothing : weight);
        if (c.to.share) divide(steps, m);
        for (Index t = 0; t < steps; ++t) {
            const Vector now = load(written + t * lanes), most = load(largest + t * lanes);
            store(written + t * lanes, e_to_any((now - first) - half)), store(largest + t * lanes, e_to(half - (most - first)));
            const Vector power = at_least(at_most(-(most + load(decay + t * lanes)), most_power), least_power);
            if (t == steps - 1) store(c.m + head, last + load(decay + t * lanes)), store(c.lag + head, half);
            store(decay + t * lanes, e_to(power));
        }
        of_together(c.at.together, [&](auto together) noexcept {
            turn<together>(written, steps, c.to.write), turn<together>(largest, steps, c.to.read), turn<together>(decay, steps, c.to.least);
        });
    }

private:
    /// Also where the first NaN comes, which what is before it must not see.
    static LSTMKIT_INLINE bool is_too_far(Vector first, Vector last) noexcept {
        bool is = false;
        for (Index lane = 0; lane < lanes; ++lane) is |= last[lane] - first[lane] > most_way || (last[lane] != last[lane] && first[lane] == first[lane]);
        return is;
    }
    void divide(Index steps, Vector most) noexcept {
        const Vector nothing = {};
        const Index wide = (c.at.heads + lanes - 1) / lanes * lanes;
        for (Index t = 0; t < steps; ++t, most = load(largest + (t - 1) * lanes)) {
            const Vector now = load(written + t * lanes), share = most > now ? nothing + one : nothing;
            store(c.to.share + t * wide + head, most == now ? nothing + Real(0.5) : share);
        }
    }
    template <Index together>
    void turn(const Real* from, Index steps, Real* to) noexcept {
        for (Index t = 0; t < steps; t += lanes / together)
            transpose<together>(from + t * lanes, lanes, to + head * series_steps + t * together, together * series_steps);
    }
};

Index gate_room(Index heads) noexcept { return (heads + lanes - 1) / lanes * lanes * 3 * series_steps; }

Index gates_of(const GatesForward<Precision>& c) noexcept {
    Index steps = c.steps;
    for (Index head = 0; head < c.at.heads; head += lanes) steps = GateBlock(c, head).scan(steps);
    for (Index head = 0; head < c.at.heads; head += lanes) GateBlock(c, head).write(steps);
    return steps;
}

/// A log f has its share of all that is written later and read earlier, and of the state behind, whose scale it is.
void gates_backward(const GatesBackward<Precision>& c) noexcept {
    const Index N = c.at.heads, wide = (N + lanes - 1) / lanes * lanes;
    Real* const d_write = c.room;
    Real* const d_read = d_write + series_steps * lanes;
    for (Index head = 0; head < N; head += lanes) {
        const Index count = N - head < lanes ? N - head : lanes;
        of_together(c.at.together, [&](auto together) noexcept {
            constexpr Index G = together;
            for (Index t = 0; t < c.steps; t += lanes / G) {
                const Index from = head * series_steps + t * G;
                transpose<G>(c.d_write + from, G * series_steps, d_write + t * lanes, lanes);
                transpose<G>(c.d_read + from, G * series_steps, d_read + t * lanes, lanes);
            }
        });
        Vector decay = load(c.d_state + head), d_m = load(c.d_m + head);
        for (Index t = c.steps; t-- > 0;) {
            const Vector d = load(d_write + t * lanes), share = load(c.share + t * wide + head);
            const Vector shut = sigmoid(-load_up_to(c.at.z + t * c.at.step + N + head, count));
            decay += load(d_read + t * lanes) - d;
            Real* const to = c.dz + t * c.dz_step + head;
            store_up_to(to, d + (one - share) * d_m, count);
            d_m *= share;
            store_up_to(to + N, (decay + d_m) * shut, count);
        }
        store(c.d_m + head, d_m);
    }
}

}  // namespace
}  // namespace lstmkit
