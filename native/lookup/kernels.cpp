// Compiled once per instruction set, for Float32 and Float64, like simd/kernels.cpp.
#include "lookup/kernels.h"

#include "tile.h"

namespace lstmkit {
namespace {

constexpr Index most_vectors = 8;

/// One place: its numbers, and what its sum is multiplied with.
struct Place {
    const std::int64_t *first, *last;
    bool skips_zero;
    Real scale;

    LSTMKIT_INLINE Place(const Lookup& lookup, Index n) noexcept
        : first(lookup.numbers + n * lookup.things), last(first + lookup.things), skips_zero(lookup.skips_zero), scale(1) {
        if (!lookup.is_mean) return;
        Index found = 0;
        for (const std::int64_t* number = first; number < last; ++number) found += is_there(*number);
        if (found > 1) scale = 1 / Real(found);
    }
    LSTMKIT_INLINE bool is_there(std::int64_t number) const noexcept { return !skips_zero || number != 0; }
};

/// V vectors of columns, of which the last has `last` numbers.
template <Index V>
struct Read {
    static void run(const Lookup& lookup, const Real* table, Real* out, Index last) noexcept {
        for (Index n = 0; n < lookup.places; ++n, out += lookup.width) {
            const Place place(lookup, n);
            Vector sums[V] = {};
            for (const std::int64_t* number = place.first; number < place.last; ++number) {
                if (!place.is_there(*number)) continue;
                const Real* const row = table + *number * lookup.width;
#pragma GCC unroll 8
                for (Index v = 0; v < V; ++v) sums[v] += load_up_to(row + v * lanes, v + 1 < V ? lanes : last);
            }
#pragma GCC unroll 8
            for (Index v = 0; v < V; ++v) store_up_to(out + v * lanes, sums[v] * place.scale, v + 1 < V ? lanes : last);
        }
    }
};

struct Gradient {
    const Sequence<const Real>& view;
    Index inner;
};

template <Index V>
struct Write {
    static void run(const Lookup& lookup, const Gradient& grad, Index first, Real* table, Index last) noexcept {
        for (Index n = 0; n < lookup.places; ++n) {
            const Place place(lookup, n);
            const Real* const from = grad.view.at(n / grad.inner, n % grad.inner) + first;
            Vector sums[V];
#pragma GCC unroll 8
            for (Index v = 0; v < V; ++v) sums[v] = load_up_to(from + v * lanes, v + 1 < V ? lanes : last) * place.scale;
            for (const std::int64_t* number = place.first; number < place.last; ++number) {
                if (!place.is_there(*number)) continue;
                Real* const row = table + *number * lookup.width;
#pragma GCC unroll 8
                for (Index v = 0; v < V; ++v) {
                    const Index count = v + 1 < V ? lanes : last;
                    store_up_to(row + v * lanes, load_up_to(row + v * lanes, count) + sums[v], count);
                }
            }
        }
    }
};

/// Calls Function<V>::run(..., last) on up to 8 vectors of columns at a time.
template <template <Index> class Function, Index V = most_vectors, typename... Arguments>
LSTMKIT_INLINE void run_columns(Index count, const Arguments&... arguments) noexcept {
    if constexpr (V > 1)
        if (count <= (V - 1) * lanes) return run_columns<Function, V - 1>(count, arguments...);
    Function<V>::run(arguments..., count - (V - 1) * lanes);
}

template <typename Run>
LSTMKIT_INLINE void cut_columns(Index first, Index count, Run run) noexcept {
    constexpr Index most = most_vectors * lanes;
    for (; count > 0; first += most, count -= most) run(first, count < most ? count : most);
}

void read(const Lookup& lookup, const Real* table, Real* out, Index first, Index count) noexcept {
    cut_columns(first, count, [&](Index at, Index some) noexcept { run_columns<Read>(some, lookup, table + at, out + at); });
}

void write(const Lookup& lookup, const Sequence<const Real>& grad, Index inner, Real* grad_table, Index first, Index count) noexcept {
    cut_columns(first, count, [&](Index at, Index some) noexcept { run_columns<Write>(some, lookup, Gradient{grad, inner}, at, grad_table + at); });
}

constexpr LookupKernels<Precision> kernels = {lanes, read, write};

}  // namespace

namespace LSTMKIT_SET {
const LookupKernels<Precision>& table(const LookupKernels<Precision>*) noexcept { return kernels; }
}  // namespace LSTMKIT_SET
}  // namespace lstmkit
