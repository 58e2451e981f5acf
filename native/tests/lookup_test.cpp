// Lookups forward and backward against sums in double, on every instruction set.
#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "lstmkit/lookup.h"

namespace {

using lstmkit::Float32;
using lstmkit::Float64;
using lstmkit::Index;
using lstmkit::Lookup;

struct Sizes {
    Index rows, width, outer, inner, things;
    bool skips_zero, is_mean;
    int threads;
};

/// Exactly as long as needed, so that a sanitizer sees a step beyond.
template <typename P>
using Numbers = std::vector<lstmkit::Real<P>>;

template <typename P>
struct Case {
    Sizes sizes;
    Numbers<P> table, grad;
    std::vector<std::int64_t> numbers;

    explicit Case(const Sizes& s) : sizes(s) {
        std::mt19937 random(static_cast<unsigned>(s.rows + 10 * s.width + 100 * s.outer));
        std::normal_distribution<double> normal;
        for (Index k = 0; k < s.rows * s.width; ++k) table.push_back(lstmkit::Real<P>(float(normal(random))));
        for (Index k = 0; k < places() * s.width; ++k) grad.push_back(lstmkit::Real<P>(float(normal(random))));
        for (Index k = 0; k < places() * s.things; ++k) numbers.push_back(random() % 3 == 0 ? 0 : std::int64_t(random() % unsigned(s.rows)));
        // A row that nobody reads says nothing.
        if (s.skips_zero) std::fill_n(table.begin(), s.width, lstmkit::Real<P>(NAN));
    }
    Index places() const { return sizes.outer * sizes.inner; }
    Lookup lookup() const { return {sizes.rows, sizes.width, places(), sizes.things, numbers.data(), sizes.skips_zero, sizes.is_mean}; }
    /// Calls work(place, row, share) for everything that is read.
    template <typename Work>
    void each(Work work) const {
        for (Index n = 0; n < places(); ++n) {
            std::vector<std::int64_t> read;
            for (Index k = 0; k < sizes.things; ++k)
                if (const std::int64_t row = numbers[size_t(n * sizes.things + k)]; row != 0 || !sizes.skips_zero) read.push_back(row);
            for (std::int64_t row : read) work(n, row, sizes.is_mean ? 1.0 / double(read.size()) : 1.0);
        }
    }
};

template <typename P>
void near(const Numbers<P>& actual, const std::vector<double>& right, const std::string& what) {
    double scale = 1, worst = 0;
    for (double value : right) scale = std::max(scale, std::fabs(value));
    for (std::size_t k = 0; k < right.size(); ++k) {
        const double error = std::fabs(double(actual[k]) - right[k]);
        worst = error <= worst ? worst : error;  // a NaN stays
    }
    check(worst <= scale * (sizeof(lstmkit::Real<P>) == 8 ? 1e-14 : 2e-5), what + " off by " + std::to_string(worst / scale));
}

template <typename P>
void lookup_matches_double(const Sizes& s, lstmkit::InstructionSet set) {
    const Case<P> k(s);
    const std::string name = std::string(lstmkit::name_of(set)) + " width " + std::to_string(s.width) + " ";
    std::vector<double> out(size_t(k.places() * s.width)), table(size_t(s.rows * s.width));
    k.each([&](Index place, Index row, double share) {
        for (Index column = 0; column < s.width; ++column) {
            out[size_t(place * s.width + column)] += share * double(k.table[size_t(row * s.width + column)]);
            table[size_t(row * s.width + column)] += share * double(k.grad[size_t(place * s.width + column)]);
        }
    });
    Numbers<P> found(out.size(), lstmkit::Real<P>(NAN)), spread(table.size(), lstmkit::Real<P>(NAN)), alone = spread;
    lstmkit::look_up<P>(k.lookup(), k.table.data(), found.data(), s.threads, set);
    near<P>(found, out, name + "rows");
    // With the inner axis first in memory, as a layer's gradient has it.
    Numbers<P> turned(k.grad.size());
    for (Index n = 0; n < k.places(); ++n)
        std::copy_n(&k.grad[size_t(n * s.width)], s.width, &turned[size_t((n % s.inner * s.outer + n / s.inner) * s.width)]);
    lstmkit::look_up_backward<P>(k.lookup(), {turned.data(), s.width, s.outer * s.width}, s.inner, spread.data(), s.threads, set);
    near<P>(spread, table, name + "gradient");
    lstmkit::look_up_backward<P>(k.lookup(), {k.grad.data(), s.inner * s.width, s.width}, s.inner, alone.data(), 1, set);
    check(alone == spread, name + "the same for every count of threads");
}

template <typename P>
void every_lookup_matches_double() {
    for (lstmkit::InstructionSet set : lstmkit::usable_sets())
        for (bool bag : {false, true})
            for (const Sizes& s : {Sizes{5, 3, 2, 3, 1, bag, false, 1}, {1, 1, 1, 1, 1, false, bag, 2}, {40, 17, 3, 1, 5, bag, bag, 2}, {30, 129, 4, 5, 7, bag, bag, 3},
                                   {300, 100, 50, 9, 30, bag, bag, 2}, {3, 300, 2, 2, 2, bag, false, 2}, {4, 64, 0, 1, 3, bag, bag, 2}, {4, 8, 3, 1, 0, bag, bag, 1}})
                lookup_matches_double<P>(s, set);
}

void numbers_of_no_row_are_refused() {
    std::vector<float> table(6), out(2);
    for (std::int64_t bad : {std::int64_t(-1), std::int64_t(3), std::int64_t(1) << 40}) {
        const Lookup lookup{3, 2, 1, 1, &bad, false, false};
        bool is_refused = false;
        try {
            lstmkit::look_up<Float32>(lookup, table.data(), out.data(), 1, lstmkit::default_set());
        } catch (const std::out_of_range&) {
            is_refused = true;
        }
        check(is_refused, "a number that is none of a row");
    }
    std::int64_t good = 0;
    check(rejects([&] { lstmkit::look_up<Float32>({3, 0, 1, 1, &good, false, false}, table.data(), out.data(), 1, lstmkit::default_set()); }), "no columns");
}

}  // namespace

int main() {
    every_lookup_matches_double<Float32>();
    every_lookup_matches_double<Float64>();
    numbers_of_no_row_are_refused();
    return failures != 0;
}
