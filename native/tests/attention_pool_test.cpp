// Attention over steps against its equations in double, on every instruction set; gradients against differences.
#include <algorithm>
#include <cmath>
#include <random>
#include <type_traits>
#include <vector>

#include "check.h"
#include "lstmkit/attention_pool.h"

namespace {

using lstmkit::Index;
using Doubles = std::vector<double>;

struct Sizes {
    Index T, B, F, U;
    int threads;
};

template <typename P>
using Numbers = std::vector<lstmkit::Real<P>>;
template <typename P>
using Stores = std::vector<lstmkit::Stored<P>>;

/// Numbers that bfloat16 holds, so that all precisions are given the same; NaN in the padding.
struct Case {
    Sizes sizes;
    Doubles x, weight, bias, v, grad_pooled, grad_shares;
    std::vector<std::int64_t> lengths;

    explicit Case(const Sizes& s) : sizes(s) {
        std::mt19937 random(static_cast<unsigned>(s.T + 10 * s.B + 100 * s.F + 1000 * s.U));
        std::normal_distribution<double> normal;
        auto draw = [&](Index count, double scale) {
            Doubles values(static_cast<std::size_t>(count));
            for (double& value : values) value = float(lstmkit::bfloat16(float(scale * normal(random))));
            return values;
        };
        x = draw(s.T * s.B * s.F, 1), weight = draw(s.U * s.F, 1 / std::sqrt(double(s.F))), bias = draw(s.U, 1), v = draw(s.U, 1);
        grad_pooled = draw(s.B * s.F, 1), grad_shares = draw(s.B * s.T, 1);
        for (Index b = 0; b < s.B; ++b) lengths.push_back(b == 0 ? s.T : 1 + Index(random() % unsigned(s.T)));
        for (Index b = 0; b < s.B; ++b)
            for (Index t = lengths[size_t(b)]; t < s.T; ++t) std::fill_n(&x[size_t((t * s.B + b) * s.F)], s.F, NAN);
    }
};

struct Result {
    Doubles pooled, shares;

    explicit Result(const Case& k) : pooled(k.grad_pooled.size()), shares(k.grad_shares.size()) {
        const auto [T, B, F, U, threads] = k.sizes;
        for (Index b = 0; b < B; ++b) {
            double total = 0;
            for (Index t = 0; t < k.lengths[size_t(b)]; ++t) {
                double score = 0;
                for (Index u = 0; u < U; ++u) {
                    double z = k.bias[size_t(u)];
                    for (Index f = 0; f < F; ++f) z += k.weight[size_t(u * F + f)] * k.x[size_t((t * B + b) * F + f)];
                    score += k.v[size_t(u)] * std::tanh(z);
                }
                total += shares[size_t(b * T + t)] = std::exp(score);
            }
            for (Index t = 0; t < k.lengths[size_t(b)]; ++t) {
                shares[size_t(b * T + t)] /= total;
                for (Index f = 0; f < F; ++f) pooled[size_t(b * F + f)] += shares[size_t(b * T + t)] * k.x[size_t((t * B + b) * F + f)];
            }
        }
    }
    double loss(const Case& k) const {
        double total = 0;
        for (std::size_t n = 0; n < pooled.size(); ++n) total += pooled[n] * k.grad_pooled[n];
        for (std::size_t n = 0; n < shares.size(); ++n) total += shares[n] * k.grad_shares[n];
        return total;
    }
};

template <typename P>
Numbers<P> as_real(const Doubles& values) {
    return Numbers<P>(values.begin(), values.end());
}

template <typename P>
struct Tolerance {
    static constexpr bool wide = sizeof(lstmkit::Real<P>) == 8, narrow = sizeof(lstmkit::Stored<P>) == 2;
    static constexpr double values = wide ? 1e-13 : 1e-5, gradients = wide ? 1e-7 : narrow ? 1e-2 : 2e-5;
};

template <typename Number>
void near(const std::vector<Number>& actual, const Doubles& right, double tolerance, const std::string& what) {
    double worst = 0;
    for (std::size_t k = 0; k < right.size(); ++k) {
        const double error = std::fabs(double(actual[k]) - right[k]) / (1 + std::fabs(right[k]));
        worst = error <= worst ? worst : error;  // a NaN stays
    }
    check(worst <= tolerance, what + " off by " + std::to_string(worst));
}

/// Along a random direction in an argument the loss changes as its gradient says.
template <typename Number>
void matches_differences(const Case& k, Doubles Case::*member, const std::vector<Number>& gradient, double tolerance, const std::string& what) {
    std::mt19937 random(7);
    std::normal_distribution<double> normal;
    Case up = k, down = k;
    double predicted = 0, size = 1;
    for (std::size_t n = 0; n < gradient.size(); ++n) {
        const double grad = double(float(gradient[n])), along = normal(random);
        if (std::isnan((k.*member)[n])) {
            check(grad == 0, what + " is zero in the padding");
            continue;
        }
        (up.*member)[n] += 1e-6 * along, (down.*member)[n] -= 1e-6 * along;
        predicted += along * double(gradient[n]), size += std::fabs(along * double(gradient[n]));
    }
    const double error = std::fabs((Result(up).loss(up) - Result(down).loss(down)) / 2e-6 - predicted) / size;
    check(error <= tolerance, what + " off by " + std::to_string(error));
}

template <typename P>
void pool_matches_double(const Sizes& s, lstmkit::InstructionSet set) {
    const Case k(s);
    const Stores<P> x(k.x.begin(), k.x.end());
    const auto weight = as_real<P>(k.weight), bias = as_real<P>(k.bias), v = as_real<P>(k.v);
    const auto grad_pooled = as_real<P>(k.grad_pooled), grad_shares = as_real<P>(k.grad_shares);
    const auto poison = [](Index count) { return Numbers<P>(size_t(count), lstmkit::Real<P>(NAN)); };
    auto pooled = poison(s.B * s.F), shares = poison(s.B * s.T), hidden = poison(s.B * s.T * lstmkit::hidden_width(s.U));
    const lstmkit::AttentionPool<P> pool{s.T, s.B, s.F, s.U, k.lengths.data(), {x.data(), s.B * s.F, s.F}, weight.data(), bias.data(), v.data()};
    lstmkit::run_attention_pool(lstmkit::AttentionPoolForward<P>{pool, pooled.data(), shares.data(), hidden.data()}, s.threads, set);
    const Result right(k);
    const std::string name = std::string(lstmkit::name_of(set)) + " T" + std::to_string(s.T) + " F" + std::to_string(s.F) + " U" + std::to_string(s.U) + " ";
    near(pooled, right.pooled, Tolerance<P>::values, name + "pooled"), near(shares, right.shares, Tolerance<P>::values, name + "shares");
    Stores<P> dx(x.size(), lstmkit::Stored<P>(NAN));
    auto dweight = poison(s.U * s.F), dbias = poison(s.U), dv = poison(s.U);
    lstmkit::run_attention_pool(lstmkit::AttentionPoolBackward<P>{pool, shares.data(), hidden.data(), grad_pooled.data(), grad_shares.data(),
                                                                  {dx.data(), s.B * s.F, s.F}, dweight.data(), dbias.data(), dv.data()},
                                s.threads, set);
    const double tolerance = Tolerance<P>::gradients;
    matches_differences(k, &Case::x, dx, tolerance, name + "dx"), matches_differences(k, &Case::weight, dweight, tolerance, name + "dweight");
    matches_differences(k, &Case::bias, dbias, tolerance, name + "dbias"), matches_differences(k, &Case::v, dv, tolerance, name + "dv");
}

template <typename P>
void every_pool_matches_double() {
    for (lstmkit::InstructionSet set : lstmkit::usable_sets())
        for (const Sizes& s : {Sizes{5, 3, 3, 6, 1}, {1, 1, 1, 1, 2}, {130, 3, 7, 17, 2}, {9, 20, 66, 64, 3}, {4, 5, 33, 70, 1}})
            pool_matches_double<P>(s, set);
}

void impossible_calls_are_refused() {
    using P = lstmkit::Float32;
    std::vector<float> numbers(64, 0);
    auto pool = [&](auto change, std::int64_t length = 2) {
        lstmkit::AttentionPoolForward<P> job{{2, 1, 1, 1, &length, {numbers.data(), 1, 1}, numbers.data(), numbers.data(), numbers.data()},
                                             numbers.data() + 8, numbers.data() + 16, numbers.data() + 32};
        change(job.pool);
        return rejects([&] { lstmkit::run_attention_pool(job, 1, lstmkit::default_set()); });
    };
    check(!pool([](auto&) {}), "what can be is run");
    check(pool([](auto& job) { job.steps = 0; }), "no step is refused");
    check(pool([](auto& job) { job.units = 0; }), "no unit is refused");
    check(pool([](auto& job) { job.x = {}; }), "no input is refused");
    check(pool([](auto&) {}, 0) && pool([](auto&) {}, 3), "a length that cannot be is refused");
}

}  // namespace

int main() {
    every_pool_matches_double<lstmkit::Float32>();
    every_pool_matches_double<lstmkit::Float64>();
    every_pool_matches_double<lstmkit::BFloat16>();
    impossible_calls_are_refused();
    return failures != 0;
}
