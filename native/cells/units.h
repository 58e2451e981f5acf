// A row of units, some vectors at a time.
#pragma once

#include "activation.h"
#include "bfloat16.h"

namespace lstmkit {
namespace {

/// N vectors of units side by side, the last with `count` units.
template <Index N>
struct Units {
    Index block, count;

    Index first() const noexcept { return block * lanes; }
    Index size(Index n) const noexcept { return n + 1 < N ? lanes : count; }

    /// Numbers of units, of which no more are there.
    template <typename Number>
    LSTMKIT_INLINE Bundle<N> load(const Number* units) const noexcept {
        Bundle<N> value;
#pragma GCC unroll 4
        for (Index n = 0; n < N; ++n) value.part[n] = load_up_to(units + first() + n * lanes, size(n));
        return value;
    }
    template <typename Number>
    LSTMKIT_INLINE void store(Number* units, const Bundle<N>& value) const noexcept {
#pragma GCC unroll 4
        for (Index n = 0; n < N; ++n) store_up_to(units + first() + n * lanes, value.part[n], size(n));
    }
    /// Where whole vectors are there, one in every `stride` numbers.
    LSTMKIT_INLINE Bundle<N> load_vectors(const Real* vectors, Index stride = lanes) const noexcept {
        Bundle<N> value;
#pragma GCC unroll 4
        for (Index n = 0; n < N; ++n) value.part[n] = lstmkit::load(vectors + (block + n) * stride);
        return value;
    }
    template <typename Number>
    LSTMKIT_INLINE void store_vectors(Number* vectors, const Bundle<N>& value, Index stride = lanes) const noexcept {
#pragma GCC unroll 4
        for (Index n = 0; n < N; ++n) lstmkit::store(vectors + (block + n) * stride, value.part[n]);
    }
    LSTMKIT_INLINE void add_vectors(Real* vectors, const Bundle<N>& value) const noexcept {
        store_vectors(vectors, load_vectors(vectors) + value);
    }
    /// 1 where `keeps` is not 0, else 0.
    LSTMKIT_INLINE Bundle<N> load_choice(const std::uint8_t* keeps) const noexcept {
        Bundle<N> value = {};
        for (Index n = 0; n < N; ++n)
            for (Index lane = 0; lane < size(n); ++lane) value.part[n][lane] = keeps[first() + n * lanes + lane] ? one : Real{};
        return value;
    }
};

/// Step<N>::run(row, units) for all units of a row.
template <template <Index> class Step, typename Row>
LSTMKIT_INLINE void run_units(const Row& row) noexcept {
    const Index whole = row.units / lanes, rest = row.units % lanes;
    Index block = 0;
    for (; block + 2 <= whole; block += 2) Step<2>::run(row, Units<2>{block, lanes});
    if (block < whole) Step<1>::run(row, Units<1>{block, lanes});
    if (rest) Step<1>::run(row, Units<1>{whole, rest});
}

template <Index N>
LSTMKIT_INLINE Bundle<N> filled(Real value) noexcept {
    Bundle<N> result;
#pragma GCC unroll 4
    for (Index n = 0; n < N; ++n) result.part[n] = Vector{} + value;
    return result;
}

/// `value` where `inside` is below the bound on either side, else 0.
template <Index N>
LSTMKIT_INLINE Bundle<N> where_inside(const Bundle<N>& inside, Real least, Real most, const Bundle<N>& value) noexcept {
    return each([least, most](Vector x, Vector y) noexcept { return (x > Vector{} + least) & (x < Vector{} + most) ? y : Vector{}; }, inside, value);
}

template <Index N>
LSTMKIT_INLINE Bundle<N> clip(const Bundle<N>& x, Real bound) noexcept {
    return bound < CellOptions<Precision>::none ? at_least(at_most(x, bound), -bound) : x;
}

}  // namespace
}  // namespace lstmkit
