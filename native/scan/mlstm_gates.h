// The gates of a piece of an mLSTM, steps side by side in the lanes. Included only by mlstm_kernels.cpp.
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
// The state before a piece goes half of this way and half of that of the piece before at once, and must still weigh a rounding, e^-17.
constexpr Real most_way = is_wide ? 600 : 70;
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

/// Columns of z [steps][2N] as series, those of f behind those of i; what is behind the last step repeats it.
template <Index G>
inline void to_series(const GateColumns<Precision>& at, Index steps, Real* to) noexcept {
    constexpr Index square = lanes / G;
    for (Index t = 0; t < steps; t += square)
        for (Index column = 0; column < 2 * at.heads; column += lanes) {
            Vector rows[square];
#pragma GCC unroll 16
            for (Index r = 0; r < square; ++r) rows[r] = load(at.z + (t + r < steps ? t + r : steps - 1) * at.step + column);
            transpose_rows<G>(rows);
#pragma GCC unroll 16
            for (Index r = 0; r < square; ++r) store(to + (column + r * G) * series_steps + t * G, rows[r]);
        }
}

template <Index G>
inline void to_columns(const GatesBackward<Precision>& c) noexcept {
    constexpr Index square = lanes / G;
    for (Index t = 0; t < c.steps; t += square)
        for (Index column = 0; column < 2 * c.heads; column += lanes) {
            const Index count = 2 * c.heads - column < lanes ? 2 * c.heads - column : lanes;
            Vector rows[square];
#pragma GCC unroll 16
            for (Index r = 0; r < square; ++r) rows[r] = load(c.given + (column + r * G) * series_steps + t * G);
            transpose_rows<G>(rows);
#pragma GCC unroll 16
            for (Index r = 0; r < square; ++r)
                if (t + r < c.steps) store_up_to(c.dz + (t + r) * c.dz_step + column, rows[r], count);
        }
}

/// In every lane its head's number of the first step, or of the last.
template <Index G>
LSTMKIT_INLINE Vector first_of(Vector x) noexcept {
    Integers which = {};
    for (Index lane = 0; lane < lanes; ++lane) which[lane] = lane % G;
    return shuffle(x, x, which);
}
template <Index G>
LSTMKIT_INLINE Vector last_of(Vector x) noexcept {
    Integers which = {};
    for (Index lane = 0; lane < lanes; ++lane) which[lane] = lanes - G + lane % G;
    return shuffle(x, x, which);
}
/// Lanes that move up, or down, with those of `other` where none come from.
template <Index distance>
LSTMKIT_INLINE Vector move_up(Vector x, Vector other) noexcept {
    Integers which = {};
    for (Index lane = 0; lane < lanes; ++lane) which[lane] = lane < distance ? lanes + lane : lane - distance;
    return shuffle(x, other, which);
}
template <Index distance>
LSTMKIT_INLINE Vector move_down(Vector x, Vector other) noexcept {
    Integers which = {};
    for (Index lane = 0; lane < lanes; ++lane) which[lane] = lane < lanes - distance ? lane + distance : lanes + lane;
    return shuffle(x, other, which);
}
/// Of each step and all before it, or all behind it; `none` changes nothing that it is joined with.
template <Index distance, typename Join>
LSTMKIT_INLINE Vector scan_up(Vector x, Vector none, Join join) noexcept {
    x = join(move_up<distance>(x, none), x);
    if constexpr (2 * distance < lanes) return scan_up<2 * distance>(x, none, join);
    else return x;
}
template <Index distance, typename Join>
LSTMKIT_INLINE Vector scan_down(Vector x, Vector none, Join join) noexcept {
    x = join(move_down<distance>(x, none), x);
    if constexpr (2 * distance < lanes) return scan_down<2 * distance>(x, none, join);
    else return x;
}

LSTMKIT_INLINE Vector sum_of(Vector a, Vector b) noexcept { return a + b; }
LSTMKIT_INLINE Vector product_of(Vector a, Vector b) noexcept { return a * b; }
/// Where one is NaN, what is now.
LSTMKIT_INLINE Vector larger_of(Vector before, Vector now) noexcept { return now <= before ? before : now; }

/// Heads together; their series hold at first what was written, the largest of it and the decay.
template <Index G>
struct GateGroup {
    const GatesForward<Precision>& c;
    Index head;
    Real *written, *largest, *decay;

    GateGroup(const GatesForward<Precision>& c, Index head) noexcept
        : c(c), head(head), written(c.to.write + head * series_steps), largest(c.to.read + head * series_steps),
          decay(c.to.least + head * series_steps) {}

    /// A NaN goes into the decay, so that it stays.
    LSTMKIT_INLINE void scan(const Real* given_i, const Real* f) noexcept {
        const Vector nothing = {};
        const Vector first = log_sigmoid(load(f)), m = broadcast_some<G>(c.m + head) + first_of<G>(first);
        store_first(c.m + head, m, G);
        Vector sum = nothing, most = m;
        for (Index k = 0; k < c.steps * G; k += lanes) {
            const Vector log_i = load(given_i + k), log_f = k > 0 ? log_sigmoid(load(f + k)) : move_up<G>(move_down<G>(first, nothing), nothing);
            const Vector up_to = sum + scan_up<G>(log_i == log_i ? log_f : log_i, nothing, sum_of), now = log_i - up_to;
            const Vector up_to_most = larger_of(most, scan_up<G>(now, nothing - infinity, larger_of));
            store(decay + k, up_to), store(written + k, now), store(largest + k, up_to_most);
            sum = last_of<G>(up_to), most = last_of<G>(up_to_most);
        }
    }

    /// Whether what is written up to a step leaves the range; also where the first NaN comes, which what is before it must not see.
    bool is_too_far(Index step) const noexcept {
        bool is = false;
        for (Index n = 0; n < G; ++n) {
            const Real first = largest[n], last = largest[step * G + n];
            is |= last - first > most_way || (last != last && first == first);
        }
        return is;
    }

    LSTMKIT_INLINE void write(Index steps) noexcept {
        const Index end = (steps - 1) * G;
        const Vector first = broadcast_some<G>(largest), last = broadcast_some<G>(largest + end), half = Real(0.5) * (last - first);
        const Vector m = broadcast_some<G>(c.m + head), nothing = {};
        const Vector weight = e_to_any((m - first) - broadcast_some<G>(c.lag + head) - half);
        store_first(c.to.first + head, m == nothing - infinity ? nothing : weight, G);
        store_first(c.m + head, last + broadcast_some<G>(decay + end), G), store_first(c.lag + head, half, G);
        Vector before = m;
        for (Index k = 0; k < steps * G; k += lanes) {
            const Vector now = load(written + k), most = load(largest + k);
            if (c.to.own) store(c.to.own + head * series_steps + k, own_share(move_up<G>(most, before), now));
            before = last_of<G>(most);
            store(written + k, e_to_any((now - first) - half)), store(largest + k, e_to(half - (most - first)));
            store(decay + k, e_to(at_least(at_most(-(most + load(decay + k)), most_power), least_power)));
        }
    }

private:
    static LSTMKIT_INLINE Vector own_share(Vector before, Vector now) noexcept {
        const Vector nothing = {}, half = nothing + Real(0.5), all = before > now ? nothing : nothing + one;
        return before == now ? half : all;
    }
};

Index given_numbers(Index heads) noexcept { return (2 * heads + lanes - 1) / lanes * lanes * series_steps; }

Index gates_of(const GatesForward<Precision>& c) noexcept {
    Index steps = c.steps;
    of_together(c.at.together, [&](auto together) noexcept {
        constexpr Index G = together;
        const Index N = c.at.heads;
        to_series<G>(c.at, steps, c.given);
        for (Index head = 0; head < N; head += G) GateGroup<G>(c, head).scan(c.given + head * series_steps, c.given + (N + head) * series_steps);
        for (Index head = 0; head < N; head += G)
            while (steps > 1 && GateGroup<G>(c, head).is_too_far(steps - 1)) --steps;
        for (Index head = 0; head < N; head += G) GateGroup<G>(c, head).write(steps);
    });
    return steps;
}

/// A log f has its share of all that is written later and read earlier, and of the state behind, whose scale it is.
template <Index G>
LSTMKIT_INLINE void group_backward(const GatesBackward<Precision>& c, Index head, Real* log_i, Real* f) noexcept {
    const Vector nothing = {}, all = nothing + one;
    Vector decay = broadcast_some<G>(c.d_state + head), d_m = broadcast_some<G>(c.d_m + head);
    for (Index k = (c.steps * G - 1) / lanes * lanes; k >= 0; k -= lanes) {
        const Index count = c.steps * G - k < lanes ? c.steps * G - k : lanes, at = head * series_steps + k;
        const Vector d_write = load_up_to(c.d_write + at, count), own = load_up_to(c.own + at, count);
        const Vector decays = decay + scan_down<G>(load_up_to(c.d_read + at, count) - d_write, nothing, sum_of);
        const Vector before = d_m * scan_down<G>(all - own, all, product_of);
        store(log_i + k, d_write + own * move_down<G>(before, d_m));
        store(f + k, (decays + before) * sigmoid(-load(f + k)));
        decay = first_of<G>(decays), d_m = first_of<G>(before);
    }
    store_first(c.d_m + head, d_m, G);
}

void gates_backward(const GatesBackward<Precision>& c) noexcept {
    of_together(c.together, [&](auto together) noexcept {
        constexpr Index G = together;
        const Index N = c.heads;
        for (Index head = 0; head < N; head += G) group_backward<G>(c, head, c.given + head * series_steps, c.given + (N + head) * series_steps);
        to_columns<G>(c);
    });
}

}  // namespace
}  // namespace lstmkit
