// A row of units, one vector at a time: what one of them waits for, the processor does for the next ones meanwhile.
#pragma once

#include "activation.h"
#include "bfloat16.h"

namespace lstmkit {
namespace {

/// One vector of units, of which `count` are there.
struct Units {
    Index block, count;

    /// Numbers of units, of which no more are there.
    template <typename Number>
    LSTMKIT_INLINE Vector load(const Number* units) const noexcept {
        return load_up_to(units + block * lanes, count);
    }
    template <typename Number>
    LSTMKIT_INLINE void store(Number* units, Vector value) const noexcept {
        store_up_to(units + block * lanes, value, count);
    }
    /// For nobody who reads it soon.
    template <typename Number>
    LSTMKIT_INLINE void leave(Number* units, Vector value, bool streams) const noexcept {
        if (streams) stream(units + block * lanes, value);
        else store(units, value);
    }
    /// Where whole vectors are there, one in every `stride` numbers.
    LSTMKIT_INLINE Vector load_vector(const Real* vectors, Index stride = lanes) const noexcept {
        return lstmkit::load(vectors + block * stride);
    }
    template <typename Number>
    LSTMKIT_INLINE void store_vector(Number* vectors, Vector value, Index stride = lanes) const noexcept {
        lstmkit::store(vectors + block * stride, value);
    }
    LSTMKIT_INLINE void add_vector(Real* vectors, Vector value) const noexcept { store_vector(vectors, load_vector(vectors) + value); }
    /// 1 where `keeps` is not 0, else 0.
    LSTMKIT_INLINE Vector load_choice(const std::uint8_t* keeps) const noexcept {
        typedef std::uint8_t Bytes __attribute__((vector_size(lanes)));
        Bytes bytes = {};
        if (__builtin_expect(count == lanes, 1)) __builtin_memcpy(&bytes, keeps + block * lanes, sizeof bytes);
        else
            for (Index lane = 0; lane < count; ++lane) bytes[lane] = keeps[block * lanes + lane];
        return __builtin_convertvector(bytes, Integers) != Integers{} ? Vector{} + one : Vector{};
    }
};

/// function(units) for all units of a row. The whole vectors by themselves: inlined, they have no bounds to check.
template <typename Function>
LSTMKIT_INLINE void each_units(Index count, Function function) noexcept {
    const Index whole = count / lanes;
    for (Index block = 0; block < whole; ++block) function(Units{block, lanes});
    if (const Index rest = count % lanes) function(Units{whole, rest});
}

/// `value` where `inside` is below the bound on either side, else 0.
LSTMKIT_INLINE Vector where_inside(Vector inside, Real least, Real most, Vector value) noexcept {
    return (inside > Vector{} + least) & (inside < Vector{} + most) ? value : Vector{};
}

LSTMKIT_INLINE Vector clip(Vector x, Real bound) noexcept {
    return bound < CellOptions<Precision>::none ? at_least(at_most(x, bound), -bound) : x;
}

}  // namespace
}  // namespace lstmkit
