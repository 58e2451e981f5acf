// The loss of a last layer, forward and backward, against its formula in double.
#include <cmath>
#include <random>
#include <vector>

#include "check.h"
#include "lstmkit/loss.h"

namespace {

using lstmkit::Index;
using Doubles = std::vector<double>;

/// Exactly as long as needed, so that a sanitizer sees a step beyond; NaN until it is written.
template <typename Number>
std::vector<Number> room(Index count) {
    return std::vector<Number>(static_cast<std::size_t>(count), Number(float(NAN)));
}

template <typename Number>
std::vector<Number> rounded(const Doubles& values) {
    std::vector<Number> result;
    for (double value : values) result.push_back(Number(value));
    return result;
}

template <>
std::vector<lstmkit::bfloat16> rounded(const Doubles& values) {
    std::vector<lstmkit::bfloat16> result;
    for (double value : values) result.emplace_back(float(value));
    return result;
}

template <typename Number>
Doubles widened(const std::vector<Number>& values) {
    Doubles result;
    for (const Number& value : values) result.push_back(double(value));
    return result;
}

template <>
Doubles widened(const std::vector<lstmkit::bfloat16>& values) {
    Doubles result;
    for (const lstmkit::bfloat16& value : values) result.push_back(float(value));
    return result;
}

struct Sizes {
    Index N, F, C;
};

struct Results {
    Doubles losses, dx, dweight, dbias;
};

/// What a call is given, in double.
struct Case {
    Sizes sizes;
    Doubles x, weight, bias, upstream;
    std::vector<std::int64_t> targets;

    explicit Case(const Sizes& s) : sizes(s) {
        std::mt19937 random(static_cast<unsigned>(s.N + 10 * s.F + 100 * s.C));
        std::normal_distribution<double> normal;
        auto draw = [&](Index count, double scale) {
            Doubles values(static_cast<std::size_t>(count));
            for (double& value : values) value = scale * normal(random);
            return values;
        };
        x = draw(s.N * s.F, 1), weight = draw(s.C * s.F, 2 / std::sqrt(double(s.F))), bias = draw(s.C, 1), upstream = draw(s.N, 1);
        for (Index r = 0; r < s.N; ++r) targets.push_back(std::int64_t(random() % unsigned(s.C)));
    }

    /// By the formula.
    Results expected() const {
        const auto [N, F, C] = sizes;
        Results to{Doubles(size_t(N)), Doubles(size_t(N * F)), Doubles(size_t(C * F)), Doubles(size_t(C))};
        for (Index r = 0; r < N; ++r) {
            Doubles z = bias;
            double highest = -INFINITY, sum = 0;
            for (Index c = 0; c < C; ++c) {
                for (Index k = 0; k < F; ++k) z[size_t(c)] += weight[size_t(c * F + k)] * x[size_t(r * F + k)];
                highest = std::fmax(highest, z[size_t(c)]);
            }
            for (double score : z) sum += std::exp(score - highest);
            const double log_sum = highest + std::log(sum);
            to.losses[size_t(r)] = log_sum - z[size_t(targets[size_t(r)])];
            for (Index c = 0; c < C; ++c) {
                const double grad = upstream[size_t(r)] * (std::exp(z[size_t(c)] - log_sum) - (targets[size_t(r)] == c));
                to.dbias[size_t(c)] += grad;
                for (Index k = 0; k < F; ++k) {
                    to.dx[size_t(r * F + k)] += grad * weight[size_t(c * F + k)];
                    to.dweight[size_t(c * F + k)] += grad * x[size_t(r * F + k)];
                }
            }
        }
        return to;
    }
};

/// By the core; without `keep` there are the losses alone.
template <typename P>
Results run(const Case& given, int threads, lstmkit::InstructionSet set, bool keep = true) {
    using Real = lstmkit::Real<P>;
    using Stored = lstmkit::Stored<P>;
    constexpr bool rounds = sizeof(Stored) < sizeof(Real);
    const auto [N, F, C] = given.sizes;
    const Index blocks = lstmkit::loss_blocks(C);
    const auto x = rounded<Stored>(given.x);
    const auto weight = rounded<Real>(given.weight), bias = rounded<Real>(given.bias), upstream = rounded<Real>(given.upstream);
    auto shares = room<Stored>(keep ? blocks * N * lstmkit::loss_block : 0), lower = room<Stored>(keep && rounds ? C * F : 0);
    auto factors = room<Real>(blocks * N), losses = room<Real>(N), dx = room<Real>(N * F), dweight = room<Real>(C * F), dbias = room<Real>(C);
    const lstmkit::LossCase<P> layer{N, F, C, x.data(), weight.data(), bias.data(), given.targets.data()};
    lstmkit::run_loss(lstmkit::LossForward<P>{layer, {keep ? shares.data() : nullptr, factors.data(), keep && rounds ? lower.data() : nullptr}, losses.data()},
                      threads, set);
    if (!keep) return {widened(losses), {}, {}, {}};
    lstmkit::run_loss(lstmkit::LossBackward<P>{layer, {shares.data(), factors.data(), rounds ? lower.data() : nullptr}, upstream.data(), dx.data(),
                                               dweight.data(), dbias.data()},
                      threads, set);
    return {widened(losses), widened(dx), widened(dweight), widened(dbias)};
}

/// |a - b| / |b|, infinite where something is NaN.
double distance(const Doubles& a, const Doubles& b) {
    double apart = 0, size = 1e-300;
    for (std::size_t k = 0; k < b.size(); ++k) apart += (a[k] - b[k]) * (a[k] - b[k]), size += b[k] * b[k];
    return a.size() == b.size() && apart == apart ? std::sqrt(apart / size) : INFINITY;
}

template <typename P>
void compare(const Case& given, double tolerance, const std::string& name) {
    const Results expected = given.expected();
    for (lstmkit::InstructionSet set : lstmkit::usable_sets())
        for (int threads : {1, 3}) {
            const Results found = run<P>(given, threads, set);
            const std::string where = name + " " + std::string(lstmkit::name_of(set)) + " N " + std::to_string(given.sizes.N) + " F " +
                                      std::to_string(given.sizes.F) + " C " + std::to_string(given.sizes.C) + " threads " + std::to_string(threads);
            check(distance(found.losses, expected.losses) < tolerance, "losses, " + where);
            check(distance(found.dx, expected.dx) < tolerance, "gradient of x, " + where);
            check(distance(found.dweight, expected.dweight) < tolerance, "gradient of the weight, " + where);
            check(distance(found.dbias, expected.dbias) < tolerance, "gradient of the bias, " + where);
            check(run<P>(given, threads, set, false).losses == found.losses, "losses alone, " + where);
            const Results again = run<P>(given, threads, set);
            check(again.dx == found.dx && again.dweight == found.dweight, "the same again, " + where);
        }
}

void test_results_match_formula() {
    // One class more than a block and than two, several groups of blocks, rows for several rounds of them, single numbers.
    for (const Sizes& sizes : {Sizes{5, 3, 2}, Sizes{1, 1, 3}, Sizes{7, 5, 128}, Sizes{49, 17, 129}, Sizes{3, 66, 257}, Sizes{6, 34, 1030}, Sizes{517, 9, 140}}) {
        Case given(sizes);
        compare<lstmkit::Float64>(given, 1e-12, "float64");
        given.x = widened(rounded<float>(given.x)), given.weight = widened(rounded<float>(given.weight));
        compare<lstmkit::Float32>(given, 3e-6, "float32");
        given.x = widened(rounded<lstmkit::bfloat16>(given.x)), given.weight = widened(rounded<lstmkit::bfloat16>(given.weight));
        compare<lstmkit::BFloat16>(given, 8e-3, "bfloat16");
    }
}

void test_losses_are_exact_in_bfloat16() {
    Case given({33, 40, 300});
    given.x = widened(rounded<lstmkit::bfloat16>(given.x)), given.weight = widened(rounded<lstmkit::bfloat16>(given.weight));
    const Doubles expected = given.expected().losses;
    for (lstmkit::InstructionSet set : lstmkit::usable_sets())
        check(distance(run<lstmkit::BFloat16>(given, 1, set).losses, expected) < 1e-5, "losses of rounded numbers are not rounded");
}

void test_nan_stays_in_its_row() {
    Case given({5, 4, 200});
    given.x[4] = NAN;
    for (lstmkit::InstructionSet set : lstmkit::usable_sets()) {
        const Results found = run<lstmkit::Float32>(given, 1, set);
        for (Index r = 0; r < 5; ++r) {
            check(std::isnan(found.losses[size_t(r)]) == (r == 1), "the loss of a row with NaN alone is NaN");
            check(std::isnan(found.dx[size_t(4 * r)]) == (r == 1), "and its gradient of x");
        }
        check(std::isnan(found.dweight[0]), "a gradient of the weights that saw NaN is NaN");
    }
}

void test_far_scores() {
    Case given({4, 2, 300});
    given.x = {0, 0, 1, 0, 0, 0, 0, 0};
    for (double& w : given.weight) w *= 300;
    for (Index c = 0; c < 150; ++c) given.bias[size_t(c)] = -INFINITY;  // a whole block, and a part of one
    for (auto& target : given.targets) target = 299;
    for (lstmkit::InstructionSet set : lstmkit::usable_sets()) {
        const Results found = run<lstmkit::Float32>(given, 1, set), expected = given.expected();
        check(distance(found.losses, expected.losses) < 1e-5, "losses where classes are excluded");
        check(found.dbias[7] == 0 || std::fabs(found.dbias[7]) < 1e-30, "an excluded class has no gradient");
        check(distance(found.dbias, expected.dbias) < 1e-5, "gradients where classes are excluded");
    }
}

void test_low_scores() {
    Case given({5, 4, 200});
    const Doubles losses = given.expected().losses;
    for (double& bias : given.bias) bias -= 1000;
    for (lstmkit::InstructionSet set : lstmkit::usable_sets())
        check(distance(run<lstmkit::Float32>(given, 1, set).losses, losses) < 1e-3, "losses do not change where all scores sink");
}

void test_no_rows() {
    const Case given({0, 3, 5});
    const Results found = run<lstmkit::Float32>(given, 2, lstmkit::default_set());
    check(found.losses.empty() && found.dweight == Doubles(15) && found.dbias == Doubles(5), "without rows gradients are zero");
}

void test_refusals() {
    const lstmkit::InstructionSet set = lstmkit::default_set();
    for (std::int64_t wrong : {std::int64_t(-1), std::int64_t(7)}) {
        Case given({3, 2, 7});
        given.targets[1] = wrong;
        check(rejects([&] { run<lstmkit::Float32>(given, 1, set); }), "a target that is no class");
    }
    check(rejects([&] { run<lstmkit::Float32>(Case({1, 1, 1}), 1, set), lstmkit::run_loss(lstmkit::LossForward<lstmkit::Float32>{}, 1, set); }),
          "no classes");
}

}  // namespace

int main() {
    test_results_match_formula();
    test_losses_are_exact_in_bfloat16();
    test_nan_stays_in_its_row();
    test_far_scores();
    test_low_scores();
    test_no_rows();
    test_refusals();
    return failures != 0;
}
