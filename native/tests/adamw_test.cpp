// AdamW against its equations in double, on every instruction set and any count of threads.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "lstmkit/adamw.h"

namespace {

using lstmkit::AdamwStep;
using lstmkit::AdamwWeights;
using lstmkit::Index;
using Floats = std::vector<float>;

constexpr AdamwStep usual{0.01, 0.9, 0.999, 1e-8, 0.5, 0.3};

/// The weights of a model: one of several pieces, one without a gradient, one without an average.
struct Model {
    std::vector<Floats> weights, grads, means, squares, steps, averages;
    std::vector<double> decays{0.1, 0, 0.2, 0};

    Model() {
        std::mt19937 random(3);
        std::normal_distribution<float> normal;
        for (Index count : {40'003, 1, 17, 64}) {
            auto draw = [&] {
                Floats values(static_cast<std::size_t>(count));
                for (float& value : values) value = normal(random);
                return values;
            };
            weights.push_back(draw()), grads.push_back(draw()), averages.push_back(draw());
            means.emplace_back(size_t(count)), squares.emplace_back(size_t(count)), steps.push_back({0});
        }
        grads[1].clear(), averages[2].clear();
    }
    bool step(const AdamwStep& options, double loss, int threads, lstmkit::InstructionSet set) {
        std::vector<AdamwWeights> all;
        for (std::size_t n = 0; n < weights.size(); ++n)
            all.push_back({Index(weights[n].size()), weights[n].data(), grads[n].empty() ? nullptr : grads[n].data(), means[n].data(), squares[n].data(),
                           steps[n].data(), averages[n].empty() ? nullptr : averages[n].data(), decays[n]});
        return lstmkit::run_adamw(all.data(), Index(all.size()), options, loss, threads, set);
    }
};

void near(const Floats& actual, const std::vector<double>& right, const std::string& what) {
    double worst = 0;
    for (std::size_t k = 0; k < right.size(); ++k) {
        const double error = std::fabs(double(actual[k]) - right[k]) / (1 + std::fabs(right[k]));
        worst = error <= worst ? worst : error;
    }
    check(worst <= 1e-6, what + " off by " + std::to_string(worst));
}

void steps_match_double(const AdamwStep& s, lstmkit::InstructionSet set, int threads) {
    Model model;
    std::vector<std::vector<double>> weights, means, squares, averages;
    for (std::size_t n = 0; n < model.weights.size(); ++n) {
        weights.emplace_back(model.weights[n].begin(), model.weights[n].end()), averages.emplace_back(model.averages[n].begin(), model.averages[n].end());
        means.emplace_back(weights[n].size()), squares.emplace_back(weights[n].size());
    }
    double norm = 0;
    for (const Floats& grad : model.grads)
        for (float value : grad) norm += double(value) * double(value);
    const double scale = std::min(1.0, s.clip / (std::sqrt(norm) + 1e-6));
    for (int step = 1; step <= 3; ++step) {
        check(model.step(s, 1.0, threads, set), "a step is taken");
        for (std::size_t n = 0; n < weights.size(); ++n)
            for (std::size_t k = 0; k < weights[n].size(); ++k) {
                if (!model.grads[n].empty()) {
                    const double grad = double(model.grads[n][k]) * scale;
                    means[n][k] = s.beta1 * means[n][k] + (1 - s.beta1) * grad, squares[n][k] = s.beta2 * squares[n][k] + (1 - s.beta2) * grad * grad;
                    const double mean = means[n][k] / (1 - std::pow(s.beta1, step)), square = squares[n][k] / (1 - std::pow(s.beta2, step));
                    weights[n][k] -= s.rate * model.decays[n] * weights[n][k] + s.rate * mean / (std::sqrt(square) + s.epsilon);
                }
                if (!averages[n].empty()) averages[n][k] += s.average_share * (weights[n][k] - averages[n][k]);
            }
    }
    for (std::size_t n = 0; n < weights.size(); ++n) {
        const std::string name = std::string(lstmkit::name_of(set)) + " weight " + std::to_string(n) + " ";
        near(model.weights[n], weights[n], name), near(model.averages[n], averages[n], name + "average");
        near(model.means[n], means[n], name + "mean"), near(model.squares[n], squares[n], name + "square");
        check(model.steps[n][0] == (model.grads[n].empty() ? 0 : 3), name + "steps are counted");
    }
}

void threads_give_the_same() {
    Model one, three;
    one.step(usual, 1.0, 1, lstmkit::default_set()), three.step(usual, 1.0, 3, lstmkit::default_set());
    check(one.weights == three.weights && one.averages == three.averages, "the same for every count of threads");
}

void what_is_not_finite_is_not_taken() {
    constexpr float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
    for (float bad : {nan, infinity})
        for (bool in_loss : {false, true}) {
            Model model, before;
            if (!in_loss) model.grads[0][1234] = bad;
            check(!model.step(usual, in_loss ? double(bad) : 1.0, 2, lstmkit::default_set()), "a step is not taken");
            check(model.weights == before.weights && model.means == before.means && model.steps == before.steps, "nothing happens to the weights");
            const double right = 0.7 * double(before.averages[0][0]) + 0.3 * double(before.weights[0][0]);
            check(std::fabs(double(model.averages[0][0]) - right) < 1e-6, "averages follow all the same");
        }
}

void a_gradient_without_memory_is_refused() {
    float number = 0;
    const AdamwWeights bare{1, &number, &number, nullptr, nullptr, nullptr, nullptr, 0};
    check(rejects([&] { lstmkit::run_adamw(&bare, 1, usual, 0, 1, lstmkit::default_set()); }), "no memory");
}

}  // namespace

int main() {
    AdamwStep unclipped = usual;
    unclipped.clip = std::numeric_limits<double>::infinity();
    for (lstmkit::InstructionSet set : lstmkit::usable_sets())
        for (int threads : {1, 3}) steps_match_double(usual, set, threads), steps_match_double(unclipped, set, threads);
    threads_give_the_same();
    what_is_not_finite_is_not_taken();
    a_gradient_without_memory_is_refused();
    return failures != 0;
}
