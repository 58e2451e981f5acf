// minLSTM, minGRU and mLSTM, forward and backward, against the equations step by step in double; gradients against differences.
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "check.h"
#include "lstmkit/mlstm.h"
#include "lstmkit/scan.h"

namespace {

using lstmkit::Float32;
using lstmkit::Float64;
using lstmkit::Index;
using Doubles = std::vector<double>;

struct Sizes {
    Index T, B, I, H, N;
    bool masks, backwards;
    int threads;
};

/// Exactly as long as needed, so that a sanitizer sees a step beyond.
template <typename P>
using Numbers = std::vector<lstmkit::Real<P>>;

template <typename P>
Numbers<P> as_real(const Doubles& values) {
    return Numbers<P>(values.begin(), values.end());
}

template <typename P>
Numbers<P> poison(Index count) {
    return Numbers<P>(static_cast<std::size_t>(count), lstmkit::Real<P>(NAN));
}

/// What a layer is given and, behind it, what its loss weighs: x, states, weight, bias; then output and last states.
struct Case {
    Sizes sizes;
    Index width;
    std::vector<Index> state_numbers;  // of a row
    Doubles x, weight, bias, grad_y;
    std::vector<Doubles> first, grad_last;
    std::vector<std::int64_t> lengths;
    std::vector<std::uint8_t> resets;

    Case(const Sizes& s, Index width, std::vector<Index> state_numbers) : sizes(s), width(width), state_numbers(std::move(state_numbers)) {
        std::mt19937 random(static_cast<unsigned>(s.T + 10 * s.B + 100 * s.I + 1000 * s.H));
        std::normal_distribution<double> normal;
        // Rounded to float at once, so that both precisions are given the same numbers.
        auto draw = [&](Index count, double scale) {
            Doubles values(static_cast<std::size_t>(count));
            for (double& value : values) value = float(scale * normal(random));
            return values;
        };
        x = draw(s.T * s.B * s.I, 1), weight = draw(width * s.I, 1 / std::sqrt(double(s.I))), bias = draw(width, 1), grad_y = draw(s.T * s.B * s.H, 1);
        for (Index count : this->state_numbers) first.push_back(draw(s.B * count, 1)), grad_last.push_back(draw(s.B * count, 1));
        for (Index b = 0; b < s.B; ++b) lengths.push_back(s.masks ? Index(random() % unsigned(s.T + 1)) : s.T);
        for (Index k = 0; k < s.T * s.B; ++k) resets.push_back(s.masks && random() % 9 == 0);
        for (Index b = 0; b < s.B; ++b)
            for (Index t = lengths[size_t(b)]; t < s.T; ++t) std::fill_n(&x[size_t((t * s.B + b) * s.I)], s.I, NAN);
    }
    Index time(Index b, Index n) const { return sizes.backwards ? lengths[size_t(b)] - 1 - n : n; }
    bool is_reset(Index b, Index n) const {
        const Index border = sizes.backwards ? time(b, n) + 1 : n;
        return border < lengths[size_t(b)] && resets[size_t(border * sizes.B + b)];
    }
    Doubles products(Index b, Index t) const {
        Doubles z = bias;
        for (Index r = 0; r < width; ++r)
            for (Index k = 0; k < sizes.I; ++k) z[size_t(r)] += weight[size_t(r * sizes.I + k)] * x[size_t((t * sizes.B + b) * sizes.I + k)];
        return z;
    }
    lstmkit::Course course() const {
        return {sizes.T, sizes.B, sizes.I, sizes.H, sizes.H, false, sizes.masks ? lengths.data() : nullptr, sizes.masks ? resets.data() : nullptr,
                sizes.backwards};
    }
};

struct Result {
    Doubles y;
    std::vector<Doubles> last;
};

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

/// One step of a row: the states, changed, and its output, from products z.
using Step = void (*)(const Case& k, const Doubles& z, std::vector<Doubles>& state, double* y);

template <bool is_lstm>
void minimal_step(const Case& k, const Doubles& z, std::vector<Doubles>& state, double* y) {
    const Index H = k.sizes.H;
    for (Index u = 0; u < H; ++u) {
        const double i = sigmoid(z[size_t(u)]), f = is_lstm ? sigmoid(z[size_t(H + u)]) : 1 - i, g = z[size_t((is_lstm ? 2 : 1) * H + u)];
        double& h = state[0][size_t(u)];
        y[u] = h = (f * h + i * g) / (f + i);
    }
}

void mlstm_step(const Case& k, const Doubles& z, std::vector<Doubles>& state, double* y) {
    const Index H = k.sizes.H, N = k.sizes.N, S = H / N;
    for (Index head = 0; head < N; ++head) {
        double *C = &state[0][size_t(head * S * S)], *n = &state[1][size_t(head * S)], &m = state[2][size_t(head)];
        const double *q = &z[size_t(head * S)], *v = q + 2 * H, *o = v + H;
        Doubles key(q + H, q + H + S);
        for (Index d = 0; d < S; ++d) {
            const double bias = k.bias[size_t(H + head * S + d)];
            key[size_t(d)] = (key[size_t(d)] - bias) / std::sqrt(double(S)) + bias;
        }
        const double i = z[size_t(4 * H + head)], f = std::log(sigmoid(z[size_t(4 * H + N + head)]));
        const bool empty = std::all_of(n, n + S, [](double number) { return number == 0; });
        const double kept = empty ? i : f + m, before = m;
        m = std::max(kept, i);
        const double fade = std::exp((empty ? i : f + before) - m), enter = std::exp(i - m);
        double weight = 0;
        for (Index d = 0; d < S; ++d) n[d] = fade * n[d] + enter * key[size_t(d)], weight += n[d] * q[d];
        for (Index r = 0; r < S; ++r) {
            double read = 0;
            for (Index d = 0; d < S; ++d) C[r * S + d] = fade * C[r * S + d] + enter * v[r] * key[size_t(d)], read += C[r * S + d] * q[d];
            y[head * S + r] = sigmoid(o[r]) * read / std::max(std::fabs(weight), std::exp(-m));
        }
    }
}

Result expected(const Case& k, Step step) {
    const Sizes& s = k.sizes;
    Result found{Doubles(size_t(s.T * s.B * s.H)), k.first};
    for (Index b = 0; b < s.B; ++b) {
        std::vector<Doubles> state;
        for (std::size_t n = 0; n < k.first.size(); ++n) {
            const Index count = k.state_numbers[n];
            state.emplace_back(k.first[n].begin() + b * count, k.first[n].begin() + (b + 1) * count);
        }
        for (Index n = 0; n < k.lengths[size_t(b)]; ++n) {
            if (k.is_reset(b, n))
                for (Doubles& value : state) std::fill(value.begin(), value.end(), 0.0);
            step(k, k.products(b, k.time(b, n)), state, &found.y[size_t((k.time(b, n) * s.B + b) * s.H)]);
        }
        for (std::size_t n = 0; n < k.first.size(); ++n) std::copy(state[n].begin(), state[n].end(), found.last[n].begin() + b * k.state_numbers[n]);
    }
    return found;
}

/// The loss, and the size of what it adds up, which its rounding goes with.
struct Loss {
    double total = 0, size = 0;

    Loss(const Case& k, Step step) {
        const Result found = expected(k, step);
        add(found.y, k.grad_y);
        for (std::size_t state = 0; state < found.last.size(); ++state) add(found.last[state], k.grad_last[state]);
    }
    void add(const Doubles& values, const Doubles& weights) {
        for (std::size_t n = 0; n < values.size(); ++n) total += values[n] * weights[n], size += std::fabs(values[n] * weights[n]);
    }
};

/// How far a prediction is from the difference of two losses 1e-6 apart, beyond what their rounding explains; by `size`.
double error_of(const Loss& up, const Loss& down, double predicted, double size) {
    const double error = std::fabs((up.total - down.total) / 1e-6 - predicted), rounding = 1e-15 * (up.size + down.size) / 1e-6;
    return error <= rounding ? 0 : (error - rounding) / size;
}

template <typename Real>
void near(const std::vector<Real>& actual, const Doubles& right, double tolerance, const std::string& what) {
    double scale = 1, worst = 0;
    for (double value : right) scale = std::max(scale, std::fabs(value));
    for (std::size_t k = 0; k < right.size(); ++k) {
        const double error = std::fabs(double(actual[k]) - right[k]);
        worst = error <= worst ? worst : error;  // a NaN stays
    }
    check(worst <= tolerance * scale, what + " off by " + std::to_string(worst / scale));
}

template <typename P>
struct Gradients {
    Numbers<P> x, weight, bias;
    std::vector<Numbers<P>> first;
};

/// Along a random direction in each argument the loss changes as its gradient says.
template <typename P>
void gradients_match_differences(const Case& k, Step step, const Gradients<P>& found, double tolerance, const std::string& name) {
    std::mt19937 random(7);
    std::normal_distribution<double> normal;
    auto compare = [&](Doubles Case::*member, const Numbers<P>& gradient, const std::string& what) {
        Case up = k, down = k;
        double predicted = 0, size = 1;
        for (std::size_t n = 0; n < gradient.size(); ++n) {
            if (std::isnan((k.*member)[n])) {
                check(gradient[n] == 0, name + what + " is zero in the padding");
                continue;
            }
            const double along = normal(random);
            (up.*member)[n] += 5e-7 * along, (down.*member)[n] -= 5e-7 * along;
            predicted += along * double(gradient[n]), size += std::fabs(along * double(gradient[n]));
        }
        const double error = error_of({up, step}, {down, step}, predicted, size);
        check(error <= tolerance, name + what + " off by " + std::to_string(error));
    };
    compare(&Case::x, found.x, "dx"), compare(&Case::weight, found.weight, "dweight"), compare(&Case::bias, found.bias, "dbias");
    for (std::size_t state = 0; state < k.first.size(); ++state) {
        Case up = k, down = k;
        double predicted = 0, size = 1;
        for (std::size_t n = 0; n < k.first[state].size(); ++n) {
            const double along = normal(random);
            up.first[state][n] += 5e-7 * along, down.first[state][n] -= 5e-7 * along;
            predicted += along * double(found.first[state][n]), size += std::fabs(along * double(found.first[state][n]));
        }
        const double error = error_of({up, step}, {down, step}, predicted, size);
        check(error <= tolerance, name + "dstate " + std::to_string(state) + " off by " + std::to_string(error));
    }
}

template <typename P>
struct Tolerance {
    static constexpr bool wide = sizeof(lstmkit::Real<P>) == 8;
    static constexpr double values = wide ? 1e-13 : 2e-5, gradients = wide ? 1e-7 : 2e-5;
};

std::string describe(const Sizes& s, lstmkit::InstructionSet set, const char* cell) {
    return std::string(lstmkit::name_of(set)) + " " + cell + " T" + std::to_string(s.T) + " B" + std::to_string(s.B) + " I" + std::to_string(s.I) + " H" +
           std::to_string(s.H) + " N" + std::to_string(s.N) + (s.masks ? " masks" : "") + (s.backwards ? " backwards " : " ");
}

template <typename P>
void minimal_matches_double(const Sizes& s, lstmkit::ScanCell cell, lstmkit::InstructionSet set) {
    const bool is_lstm = cell == lstmkit::ScanCell::minlstm;
    const Step step = is_lstm ? minimal_step<true> : minimal_step<false>;
    const Index GH = lstmkit::scan_gates(cell) * s.H;
    const Case k(s, GH, {s.H});
    const auto x = as_real<P>(k.x), h = as_real<P>(k.first[0]), weight = as_real<P>(k.weight), bias = as_real<P>(k.bias);
    const auto gy = as_real<P>(k.grad_y), gh = as_real<P>(k.grad_last[0]);
    auto y = poison<P>(s.T * s.B * s.H), last = poison<P>(s.B * s.H), z = poison<P>(s.T * s.B * GH);
    const lstmkit::ScanCase<P> layer{k.course(), cell, {x.data(), s.B * s.I, s.I}, {h.data(), s.H}, weight.data(), bias.data()};
    lstmkit::run_scan(lstmkit::ScanForward<P>{layer, {y.data(), s.B * s.H, s.H}, {last.data(), s.H}, {z.data(), s.B * GH, GH}}, s.threads, set);
    const Result right = expected(k, step);
    const std::string name = describe(s, set, is_lstm ? "minlstm" : "mingru");
    near(y, right.y, Tolerance<P>::values, name + "y"), near(last, right.last[0], Tolerance<P>::values, name + "h");
    auto unkept = poison<P>(s.T * s.B * s.H);
    lstmkit::run_scan(lstmkit::ScanForward<P>{layer, {unkept.data(), s.B * s.H, s.H}, {}, {}}, s.threads, set);
    check(unkept == y, name + "the same without room for backward");
    Gradients<P> found{poison<P>(s.T * s.B * s.I), poison<P>(GH * s.I), poison<P>(GH), {poison<P>(s.B * s.H)}};
    lstmkit::run_scan(lstmkit::ScanBackward<P>{layer, {y.data(), s.B * s.H, s.H}, {z.data(), s.B * GH, GH}, {gy.data(), s.B * s.H, s.H}, {gh.data(), s.H},
                                               {found.x.data(), s.B * s.I, s.I}, {found.first[0].data(), s.H}, found.weight.data(), found.bias.data()},
                      s.threads, set);
    gradients_match_differences<P>(k, step, found, Tolerance<P>::gradients, name);
    const Numbers<P> kept_dx = found.x, kept_dweight = found.weight;
    lstmkit::run_scan(lstmkit::ScanBackward<P>{layer, {y.data(), s.B * s.H, s.H}, {}, {gy.data(), s.B * s.H, s.H}, {gh.data(), s.H},
                                               {found.x.data(), s.B * s.I, s.I}, {found.first[0].data(), s.H}, found.weight.data(), found.bias.data()},
                      s.threads, set);
    check(found.x == kept_dx && found.weight == kept_dweight, name + "the same gradients by products that were not kept");
}

template <typename P>
void mlstm_matches_double(const Sizes& s, lstmkit::InstructionSet set) {
    const Index S = s.H / s.N, W = 4 * s.H + 2 * s.N;
    const Case k(s, W, {s.N * S * S, s.N * S, s.N});
    const auto x = as_real<P>(k.x), weight = as_real<P>(k.weight), bias = as_real<P>(k.bias), gy = as_real<P>(k.grad_y);
    std::vector<Numbers<P>> first, grad_last, last;
    Gradients<P> found{poison<P>(s.T * s.B * s.I), poison<P>(W * s.I), poison<P>(W), {}};
    for (std::size_t n = 0; n < 3; ++n) {
        first.push_back(as_real<P>(k.first[n])), grad_last.push_back(as_real<P>(k.grad_last[n]));
        last.push_back(poison<P>(Index(k.first[n].size()))), found.first.push_back(last.back());
    }
    auto of = [](auto& values) { return lstmkit::MlstmState<std::remove_pointer_t<decltype(values[0].data())>>{values[0].data(), values[1].data(), values[2].data()}; };
    auto parts = [&](auto& weight, auto& bias) {
        return lstmkit::MlstmParameters<std::remove_pointer_t<decltype(weight.data())>>{weight.data(), &weight[size_t(4 * s.H * s.I)], bias.data(), &bias[size_t(4 * s.H)]};
    };
    const std::vector<Numbers<P>>&given = first, &upstream = grad_last, &known = last;
    const lstmkit::MlstmCase<P> layer{k.course(), s.N, {x.data(), s.B * s.I, s.I}, of(given), parts(weight, bias)};
    auto y = poison<P>(s.T * s.B * s.H), products = poison<P>(layer.chunks() * s.B * layer.product_numbers());
    auto between = poison<P>(layer.chunks() * s.B * s.N * layer.between_numbers());
    lstmkit::run_mlstm(lstmkit::MlstmForward<P>{layer, {y.data(), s.B * s.H, s.H}, of(last),
                                                {products.data(), between.data()}},
                       s.threads, set);
    const Result right = expected(k, mlstm_step);
    const std::string name = describe(s, set, "mlstm");
    near(y, right.y, Tolerance<P>::values, name + "y");
    for (std::size_t n = 0; n < 3; ++n) near(last[n], right.last[n], Tolerance<P>::values, name + "state " + std::to_string(n));
    auto unkept = poison<P>(s.T * s.B * s.H);
    lstmkit::run_mlstm(lstmkit::MlstmForward<P>{layer, {unkept.data(), s.B * s.H, s.H}, {}, {}}, s.threads, set);
    check(unkept == y, name + "the same without room for backward");
    auto backward = [&](const lstmkit::Real<P>* kept) {
        lstmkit::run_mlstm(lstmkit::MlstmBackward<P>{layer, of(known), {kept, between.data()}, {y.data(), s.B * s.H, s.H}, {gy.data(), s.B * s.H, s.H},
                                                     of(upstream), {found.x.data(), s.B * s.I, s.I}, of(found.first), parts(found.weight, found.bias)},
                           s.threads, set);
    };
    backward(products.data());
    gradients_match_differences<P>(k, mlstm_step, found, Tolerance<P>::gradients, name);
    const Numbers<P> kept_dx = found.x, kept_dweight = found.weight;
    backward(nullptr);
    check(found.x == kept_dx && found.weight == kept_dweight, name + "the same gradients by products that were not kept");
}

template <typename P>
void every_layer_matches_double() {
#if defined(__SANITIZE_THREAD__)
    for (lstmkit::InstructionSet set : {lstmkit::usable_sets().back()})
#else
    for (lstmkit::InstructionSet set : lstmkit::usable_sets())
#endif
        for (bool masks : {false, true})
            for (bool backwards : {false, true}) {
                for (const lstmkit::ScanCell cell : {lstmkit::ScanCell::minlstm, lstmkit::ScanCell::mingru})
                    for (const Sizes& s : {Sizes{5, 3, 3, 6, 1, masks, backwards, 1}, {1, 1, 1, 1, 1, masks, backwards, 2}, {40, 7, 66, 17, 1, masks, backwards, 3},
                                           {3, 150, 5, 33, 1, masks, backwards, 2}})
                        minimal_matches_double<P>(s, cell, set);
                for (const Sizes& s : {Sizes{5, 3, 3, 6, 2, masks, backwards, 1}, {1, 1, 1, 1, 1, masks, backwards, 2}, {64, 2, 5, 3, 3, masks, backwards, 1},
                                       {131, 3, 4, 17, 1, masks, backwards, 2}, {20, 2, 66, 68, 1, masks, backwards, 3}, {67, 2, 9, 16, 2, masks, backwards, 2},
                                       {5, 3, 3, 16, 4, masks, backwards, 1}, {9, 2, 3, 8, 4, masks, backwards, 1}})
                    mlstm_matches_double<P>(s, set);
            }
}

/// What cannot be is refused before anything is written.
void impossible_calls_are_refused() {
    const lstmkit::InstructionSet set = lstmkit::default_set();
    std::vector<float> numbers(64, 0);
    std::int64_t too_long = 3;
    const lstmkit::Course course{2, 1, 1, 2, 2, false, nullptr, nullptr, false};
    auto scan = [&](auto change) {
        lstmkit::ScanForward<Float32> job{{course, lstmkit::ScanCell::mingru, {numbers.data(), 1, 1}, {}, numbers.data(), nullptr}, {numbers.data(), 2, 2}, {}, {}};
        change(job);
        return rejects([&] { lstmkit::run_scan(job, 1, set); });
    };
    check(!scan([](auto&) {}), "what can be is run");
    check(scan([](auto& job) { job.layer.steps = 0; }), "no step is refused");
    check(scan([](auto& job) { job.layer.weight = nullptr; }), "no weight is refused");
    check(scan([](auto& job) { job.y = {}; }), "no output is refused");
    check(scan([&](auto& job) { job.layer.lengths = &too_long; }), "a length beyond the steps is refused");
    auto mlstm = [&](auto change) {
        lstmkit::MlstmForward<Float32> job{{course, 2, {numbers.data(), 1, 1}, {}, {numbers.data(), numbers.data()}}, {numbers.data(), 2, 2}, {}, {}};
        change(job);
        return rejects([&] { lstmkit::run_mlstm(job, 1, set); });
    };
    check(!mlstm([](auto&) {}), "an mLSTM that can be is run");
    check(mlstm([](auto& job) { job.layer.weights.gates = nullptr; }), "no gates' weight is refused");
    check(mlstm([&](auto& job) { job.layer.weights.side_bias = numbers.data(); }), "one bias of two is refused");
    check(mlstm([](auto& job) { job.layer.heads = 3; }), "heads that do not divide the units are refused");
    check(mlstm([&](auto& job) { job.layer.first.scale = numbers.data(); }), "a part of the states is refused");
    check(mlstm([&](auto& job) { job.kept.products = numbers.data(); }), "a part of the room is refused");
}

}  // namespace

int main() {
    every_layer_matches_double<Float32>();
    every_layer_matches_double<Float64>();
    impossible_calls_are_refused();
    return failures != 0;
}
