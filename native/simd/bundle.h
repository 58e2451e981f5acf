// Several vectors on their way through one formula side by side: each operation is done for all of them before the next, so
// that none waits for the latency of its own last one. The formulas are written once, for a Vector or for a Bundle.
#pragma once

#include "vector.h"

namespace lstmkit {
namespace {

template <Index N>
struct Bundle {
    Vector part[N];
};

/// function(part...) for every part.
template <Index N, typename Function, typename... More>
LSTMKIT_INLINE Bundle<N> each(Function function, const Bundle<N>& first, const More&... more) noexcept {
    Bundle<N> result;
#pragma GCC unroll 8
    for (Index k = 0; k < N; ++k) result.part[k] = function(first.part[k], more.part[k]...);
    return result;
}

#define LSTMKIT_OPERATOR(sign)                                                                          \
    template <Index N>                                                                                  \
    LSTMKIT_INLINE Bundle<N> operator sign(const Bundle<N>& a, const Bundle<N>& b) noexcept {        \
        return each([](Vector x, Vector y) noexcept { return x sign y; }, a, b);                        \
    }                                                                                                   \
    template <Index N>                                                                                  \
    LSTMKIT_INLINE Bundle<N> operator sign(const Bundle<N>& a, Real b) noexcept {                     \
        return each([b](Vector x) noexcept { return x sign b; }, a);                                    \
    }                                                                                                   \
    template <Index N>                                                                                  \
    LSTMKIT_INLINE Bundle<N> operator sign(Real a, const Bundle<N>& b) noexcept {                     \
        return each([a](Vector x) noexcept { return a sign x; }, b);                                    \
    }
LSTMKIT_OPERATOR(+)
LSTMKIT_OPERATOR(-)
LSTMKIT_OPERATOR(*)
LSTMKIT_OPERATOR(/)
#undef LSTMKIT_OPERATOR

template <Index N>
LSTMKIT_INLINE Bundle<N> operator-(const Bundle<N>& a) noexcept {
    return each([](Vector x) noexcept { return -x; }, a);
}

// What Vector has as functions.
template <Index N>
LSTMKIT_INLINE Bundle<N> at_most(const Bundle<N>& a, Real bound) noexcept {
    return each([bound](Vector x) noexcept { return at_most(x, bound); }, a);
}
template <Index N>
LSTMKIT_INLINE Bundle<N> at_least(const Bundle<N>& a, Real bound) noexcept {
    return each([bound](Vector x) noexcept { return at_least(x, bound); }, a);
}
template <Index N>
LSTMKIT_INLINE Bundle<N> magnitude(const Bundle<N>& a) noexcept {
    return each([](Vector x) noexcept { return magnitude(x); }, a);
}
template <Index N>
LSTMKIT_INLINE Bundle<N> with_sign(const Bundle<N>& size, const Bundle<N>& sign) noexcept {
    return each([](Vector x, Vector y) noexcept { return with_sign(x, y); }, size, sign);
}
template <Index N>
LSTMKIT_INLINE Bundle<N> where_below(const Bundle<N>& a, Real bound, const Bundle<N>& below, const Bundle<N>& otherwise) noexcept {
    return each([bound](Vector x, Vector y, Vector z) noexcept { return where_below(x, bound, y, z); }, a, below, otherwise);
}
template <int mantissa, Unsigned exponent_of_one, Index N>
LSTMKIT_INLINE Bundle<N> power_of_two(const Bundle<N>& rounded) noexcept {
    return each([](Vector x) noexcept { return power_of_two<mantissa, exponent_of_one>(x); }, rounded);
}

}  // namespace
}  // namespace lstmkit
