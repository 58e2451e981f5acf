#include "lstmkit/lookup.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "lookup/kernels.h"
#include "lstmkit/dispatch.h"
#include "threads/team.h"

namespace lstmkit {

namespace {

// So many numbers to read or write are worth another thread.
constexpr double numbers_of_a_thread = 100'000;

void check(const Lookup& lookup) {
    if (lookup.rows < 0 || lookup.width < 1 || lookup.places < 0 || lookup.things < 0)
        throw std::invalid_argument("expected at least one column and no negative size");
    for (Index k = 0; k < lookup.places * lookup.things; ++k)
        if (lookup.numbers[k] < 0 || lookup.numbers[k] >= lookup.rows)
            throw std::out_of_range("the number " + std::to_string(lookup.numbers[k]) + " is none of the " + std::to_string(lookup.rows) +
                                    " rows of the table");
}

int shares_of(double numbers, Index most, int threads) noexcept {
    return static_cast<int>(std::clamp<double>(threads, 1, std::max(1.0, std::min(double(most), numbers / numbers_of_a_thread))));
}

template <typename P>
void copy_rows(const Lookup& lookup, const Real<P>* table, Real<P>* out) noexcept {
    for (Index n = 0; n < lookup.places; ++n) std::copy_n(table + lookup.numbers[n] * lookup.width, lookup.width, out + n * lookup.width);
}

Index cut(Index count, int share, int shares) noexcept { return count * share / shares; }

}  // namespace

template <typename P>
void look_up(const Lookup& lookup, const Real<P>* table, Real<P>* out, int threads, InstructionSet set) {
    const LookupKernels<P>& kernels = table_of<LookupKernels<P>>(set);
    check(lookup);
    const int shares = shares_of(double(lookup.places) * double(lookup.things) * double(lookup.width), lookup.places, threads);
    run_shares(shares, shares, [&](int share) {
        const Index first = cut(lookup.places, share, shares);
        Lookup own = lookup;
        own.places = cut(lookup.places, share + 1, shares) - first;
        own.numbers += first * lookup.things;
        if (lookup.things == 1 && !lookup.skips_zero)
            copy_rows<P>(own, table, out + first * lookup.width);
        else
            kernels.read(own, table, out + first * lookup.width, 0, lookup.width);
    });
}

template <typename P>
void look_up_backward(const Lookup& lookup, const Sequence<const Real<P>>& grad, Index inner, Real<P>* grad_table, int threads,
                      InstructionSet set) {
    const LookupKernels<P>& kernels = table_of<LookupKernels<P>>(set);
    check(lookup);
    if (inner < 1) throw std::invalid_argument("expected at least one place inside");
    // Several threads may add to one row, so each has columns of its own.
    const Index width = lookup.width, vectors = (width + kernels.lanes - 1) / kernels.lanes;
    const int shares = shares_of((double(lookup.rows) + double(lookup.places) * double(lookup.things)) * double(width), vectors, threads);
    run_shares(shares, shares, [&](int share) {
        const Index first = cut(vectors, share, shares) * kernels.lanes;
        const Index count = std::min(width, cut(vectors, share + 1, shares) * kernels.lanes) - first;
        if (count == width)
            std::fill_n(grad_table, lookup.rows * width, Real<P>{});
        else
            for (Index row = 0; row < lookup.rows; ++row) std::fill_n(grad_table + row * width + first, count, Real<P>{});
        kernels.write(lookup, grad, inner, grad_table, first, count);
    });
}

#define LSTMKIT_PRECISION(P)                                                                            \
    template void look_up<P>(const Lookup&, const Real<P>*, Real<P>*, int, InstructionSet);              \
    template void look_up_backward<P>(const Lookup&, const Sequence<const Real<P>>&, Index, Real<P>*, int, InstructionSet);
LSTMKIT_PRECISION(Float32)
LSTMKIT_PRECISION(Float64)
#undef LSTMKIT_PRECISION

}  // namespace lstmkit
