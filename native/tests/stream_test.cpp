// Streams and pools against the equations in double, on every instruction set of this machine, in every precision.
#include "lstmkit/stream.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "stream/kernels.h"

namespace {

using lstmkit::Index;
using lstmkit::InstructionSet;
using lstmkit::Outcome;
using lstmkit::StreamPrecision;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

constexpr StreamPrecision precisions[] = {StreamPrecision::float32, StreamPrecision::bfloat16, StreamPrecision::int8};
constexpr const char* precision_names[] = {"float32", "bfloat16", "int8"};
constexpr double tolerances[] = {1e-6, 1e-2, 3e-2};

Floats draw(std::mt19937& random, Index count, float scale) {
    std::normal_distribution<float> normal(0, scale);
    Floats values(static_cast<std::size_t>(count));
    for (float& value : values) value = normal(random);
    return values;
}

struct Sizes {
    Index inputs, units, projected, layers;

    Index outputs() const { return projected ? projected : units; }
    std::string name() const {
        return "I" + std::to_string(inputs) + " H" + std::to_string(units) + " P" + std::to_string(projected) + " L" + std::to_string(layers);
    }
};

/// Random weights of a stack, and the stack in double.
struct Model {
    struct Layer {
        Floats weight_input, weight_recurrent, bias_input, bias_recurrent, projection;
    };
    Sizes sizes;
    std::vector<Layer> layers;

    Model(Sizes sizes, unsigned seed) : sizes(sizes) {
        std::mt19937 random(seed);
        const Index H = sizes.units, R = sizes.outputs();
        for (Index l = 0; l < sizes.layers; ++l) {
            const Index I = l ? R : sizes.inputs;
            const auto by = [](Index n) { return 1.0f / std::sqrt(static_cast<float>(n)); };
            layers.push_back({draw(random, 4 * H * I, by(I)), draw(random, 4 * H * R, by(R)), draw(random, 4 * H, 0.5f),
                              draw(random, 4 * H, 0.5f), draw(random, sizes.projected * H, by(H))});
        }
    }

    std::vector<lstmkit::StreamLayer> given() const {
        std::vector<lstmkit::StreamLayer> all;
        for (const Layer& l : layers)
            all.push_back({all.empty() ? sizes.inputs : sizes.outputs(), sizes.units, sizes.projected, l.weight_input.data(),
                           l.weight_recurrent.data(), l.bias_input.data(), l.bias_recurrent.data(),
                           sizes.projected ? l.projection.data() : nullptr});
        return all;
    }

    std::shared_ptr<const lstmkit::StreamWeights> pack(StreamPrecision precision, InstructionSet set) const {
        return std::make_shared<const lstmkit::StreamWeights>(given(), precision, set);
    }

    /// One step; h: [L][R], c: [L][H], updated. Returns the last layer's output.
    Doubles step(Doubles x, std::vector<Doubles>& h, std::vector<Doubles>& c) const {
        for (std::size_t l = 0; l < layers.size(); ++l) {
            const Layer& w = layers[l];
            const std::size_t H = c[l].size(), R = h[l].size();
            Doubles z(4 * H), out(H);
            for (std::size_t row = 0; row < 4 * H; ++row) {
                z[row] = double(w.bias_input[row]) + w.bias_recurrent[row];
                for (std::size_t k = 0; k < x.size(); ++k) z[row] += w.weight_input[row * x.size() + k] * x[k];
                for (std::size_t k = 0; k < R; ++k) z[row] += w.weight_recurrent[row * R + k] * h[l][k];
            }
            const auto sigmoid = [](double a) { return 1 / (1 + std::exp(-a)); };
            for (std::size_t u = 0; u < H; ++u) {
                c[l][u] = sigmoid(z[H + u]) * c[l][u] + sigmoid(z[u]) * std::tanh(z[2 * H + u]);
                out[u] = sigmoid(z[3 * H + u]) * std::tanh(c[l][u]);
            }
            if (sizes.projected) {
                h[l].assign(R, 0);
                for (std::size_t p = 0; p < R; ++p)
                    for (std::size_t u = 0; u < H; ++u) h[l][p] += w.projection[p * H + u] * out[u];
            } else {
                h[l] = out;
            }
            x = h[l];
        }
        return x;
    }
};

struct State {
    Floats h, c;

    State(const Sizes& s, std::mt19937& random)
        : h(draw(random, s.layers * s.outputs(), 0.5f)), c(draw(random, s.layers * s.units, 0.5f)) {}
};

std::vector<Doubles> cut(const Floats& values, Index layers) {
    const Index size = static_cast<Index>(values.size()) / layers;
    std::vector<Doubles> rows;
    for (Index l = 0; l < layers; ++l) rows.emplace_back(values.begin() + l * size, values.begin() + (l + 1) * size);
    return rows;
}

double difference(const Floats& a, const Doubles& b) {
    double worst = a.size() == b.size() ? 0 : HUGE_VAL;
    for (std::size_t k = 0; k < b.size() && k < a.size(); ++k)
        worst = std::isfinite(a[k]) ? std::max(worst, std::fabs(a[k] - b[k])) : HUGE_VAL;
    return worst;
}

Doubles wide(const Floats& values) { return {values.begin(), values.end()}; }

Floats run(lstmkit::Stream& stream, const Floats& x, const std::vector<Index>& blocks) {
    const Index I = stream.weights().inputs(), O = stream.weights().outputs();
    Floats y;
    const float* from = x.data();
    for (Index steps : blocks) {
        // Exactly as long as it must be, so that a sanitizer sees a read or write beyond it.
        const Floats in(from, from + steps * I);
        Floats out(static_cast<std::size_t>(steps * O), NAN);
        check(stream.run(in.data(), steps, out.data()) == Outcome::done, "a run is done");
        y.insert(y.end(), out.begin(), out.end());
        from += steps * I;
    }
    return y;
}

constexpr Index steps = 31;

void stream_matches_double(const Model& model, StreamPrecision precision, InstructionSet set, int threads) {
    const Sizes& s = model.sizes;
    const std::string what = s.name() + " " + precision_names[static_cast<int>(precision)] + " " +
                             std::string(lstmkit::name_of(set)) + " threads " + std::to_string(threads);
    std::mt19937 random(5);
    const State first(s, random);
    const Floats x = draw(random, steps * s.inputs, 1.5f);
    std::vector<Doubles> h = cut(first.h, s.layers), c = cut(first.c, s.layers);
    Doubles expected;
    for (Index t = 0; t < steps; ++t) {
        const auto at = x.begin() + t * s.inputs;
        const Doubles y = model.step(Doubles(at, at + s.inputs), h, c);
        expected.insert(expected.end(), y.begin(), y.end());
    }
    const double tolerance = tolerances[static_cast<int>(precision)] * std::sqrt(double(s.layers));
    const auto weights = model.pack(precision, set);
    const std::vector<std::vector<Index>> splits = {{steps}, std::vector<Index>(steps, 1), {1, 25, 4, 1}, {24, 7}};
    Floats whole;
    for (const auto& split : splits) {
        lstmkit::Stream stream(weights, threads);
        check(stream.write_state(first.h.data(), first.c.data()) == Outcome::done, "write_state");
        const Floats y = run(stream, x, split);
        check(difference(y, expected) <= tolerance, what + " differs by " + std::to_string(difference(y, expected)));
        if (whole.empty()) whole = y;
        check(difference(y, wide(whole)) <= tolerance, what + " differs by its split");
        Floats last_h(first.h.size(), NAN), last_c(first.c.size(), NAN);
        check(stream.read_state(last_h.data(), last_c.data()) == Outcome::done, "read_state");
        check(difference({last_h.end() - s.outputs(), last_h.end()}, wide({y.end() - s.outputs(), y.end()})) == 0, what + " h is y");
        Doubles flat;
        for (const Doubles& layer : c) flat.insert(flat.end(), layer.begin(), layer.end());
        check(difference(last_c, flat) <= 4 * tolerance, what + " c differs by " + std::to_string(difference(last_c, flat)));
    }
}

/// Steps random subsets and holds every row against a stream of its own.
void pool_matches_streams(const Model& model, StreamPrecision precision, InstructionSet set, int threads) {
    const Sizes& s = model.sizes;
    const Index capacity = 211;
    const auto weights = model.pack(precision, set);
    lstmkit::StreamPool pool(weights, capacity);
    std::vector<std::unique_ptr<lstmkit::Stream>> singles;
    std::mt19937 random(9);
    for (Index b = 0; b < capacity; ++b) {
        const State state(s, random);
        singles.push_back(std::make_unique<lstmkit::Stream>(weights, 1));
        singles.back()->write_state(state.h.data(), state.c.data());
        pool.write_state(b, state.h.data(), state.c.data());
    }
    double worst = 0;
    for (Index count : {Index{1}, capacity, Index{7}, Index{100}, Index{0}, Index{13}}) {
        std::vector<std::int64_t> order(static_cast<std::size_t>(capacity));
        for (std::size_t k = 0; k < order.size(); ++k) order[k] = static_cast<std::int64_t>(k);
        std::shuffle(order.begin(), order.end(), random);
        const std::int64_t* indices = count == capacity ? nullptr : order.data();
        const Floats x = draw(random, count * s.inputs, 1.0f);
        Floats y(static_cast<std::size_t>(count * s.outputs()), NAN), one(static_cast<std::size_t>(s.outputs()));
        check(pool.step(x.data(), indices, count, y.data(), threads) == Outcome::done, "a pool steps");
        for (Index r = 0; r < count; ++r) {
            const auto index = static_cast<std::size_t>(indices ? indices[r] : r);
            singles[index]->step(x.data() + r * s.inputs, one.data());
            const auto at = y.begin() + r * s.outputs();
            worst = std::max(worst, difference(one, Doubles(at, at + s.outputs())));
        }
    }
    // With coarse numbers the last bit of a sum can flip a rounding.
    const double tolerance = tolerances[static_cast<int>(precision)];
    check(worst <= tolerance, "pool " + s.name() + " " + std::string(lstmkit::name_of(set)) + " differs by " + std::to_string(worst));
}

void calls_are_refused(const Model& model) {
    const auto weights = model.pack(StreamPrecision::float32, lstmkit::usable_sets().back());
    lstmkit::Stream stream(weights, 1);
    lstmkit::StreamPool pool(weights, 3);
    const auto I = static_cast<std::size_t>(model.sizes.inputs), O = static_cast<std::size_t>(model.sizes.outputs());
    Floats x(3 * I, 0.5f), y(3 * O, 7.0f), h(3 * O), c(h), h_after(h), c_after(h);
    stream.step(x.data(), h.data());
    stream.read_state(h.data(), c.data());
    for (float bad : {NAN, HUGE_VALF, -HUGE_VALF})
        for (std::size_t place : {std::size_t{0}, I - 1}) {
            Floats hostile = x;
            hostile[place] = bad;
            check(stream.step(hostile.data(), y.data()) == Outcome::not_finite, "a stream refuses what is not finite");
            check(pool.step(hostile.data(), nullptr, 3, y.data(), 2) == Outcome::not_finite, "a pool refuses it too");
        }
    stream.read_state(h_after.data(), c_after.data());
    check(h == h_after && c == c_after && y == Floats(3 * O, 7.0f), "after a refusal nothing has changed");
    const std::int64_t twice[] = {1, 1}, beyond[] = {0, 3}, below[] = {-1, 0};
    for (const std::int64_t* wrong : {twice, beyond, below})
        check(rejects([&] { pool.step(x.data(), wrong, 2, y.data(), 1); }), "wrong indices");
    check(rejects([&] { pool.step(x.data(), nullptr, 4, y.data(), 1); }), "too many streams");
    check(rejects([&] { pool.read_state(3, h.data(), c.data()); }), "a state beyond the last");
    check(rejects([&] { lstmkit::StreamPool(weights, 0); }), "a pool without room");
    Model broken = model;
    broken.layers[0].weight_recurrent[2] = NAN;
    check(rejects([&] { broken.pack(StreamPrecision::int8, lstmkit::usable_sets().front()); }), "weights that are not finite");
    auto layers = model.given();
    layers.push_back(layers[0]);
    layers.back().inputs += 1;
    check(rejects([&] { lstmkit::StreamWeights(layers, StreamPrecision::float32, lstmkit::usable_sets().front()); }), "layers that do not fit");
    check(rejects([] { lstmkit::StreamWeights({}, StreamPrecision::float32, lstmkit::usable_sets().front()); }), "no layers");
}

/// Calls while another thread works on the same object; whether it was refused once. A busy machine may let the one end
/// before the other begins, so this is tried again. `read` only looks.
template <typename Make, typename Work, typename Read, typename Call>
bool is_refused_during(Make make, Work work, Read read, Call call) {
    for (int attempt = 0; attempt < 200; ++attempt) {
        const auto object = make();
        std::atomic<bool> has_ended{false};
        std::thread other([&] {
            work(*object);
            has_ended = true;
        });
        while (!has_ended && read(*object) != Outcome::busy) std::this_thread::yield();
        const Outcome outcome = call(*object);
        other.join();
        if (outcome == Outcome::busy) return true;
    }
    return false;
}

/// Calls until the other's looking is not in the way.
template <typename Call>
Outcome insist(Call call) {
    Outcome outcome = call();
    while (outcome == Outcome::busy) outcome = call();
    return outcome;
}

/// A second thread is refused, whatever it wants, and the first one's numbers are those of a quiet stream.
void a_second_thread_is_refused(const Model& model, int threads) {
    const auto weights = model.pack(StreamPrecision::float32, lstmkit::usable_sets().back());
    constexpr Index many = 2000;
    const auto I = static_cast<std::size_t>(model.sizes.inputs), O = static_cast<std::size_t>(model.sizes.outputs());
    const Floats x(many * I, 0.1f);
    Floats right(many * O);
    const auto make_stream = [&] { return std::make_unique<lstmkit::Stream>(weights, threads); };
    make_stream()->run(x.data(), many, right.data());
    const auto run = [&](lstmkit::Stream& stream) {
        Floats y(many * O);
        const Outcome outcome = insist([&] { return stream.run(x.data(), many, y.data()); });
        check(outcome == Outcome::done && y == right, "a run among refused calls");
    };
    const auto count = static_cast<std::size_t>(std::max(weights->h_count(), weights->c_count()));
    Floats h(count), c(count), y(many * O);
    const auto read = [&](lstmkit::Stream& stream) { return stream.read_state(h.data(), c.data()); };
    const auto write = [&](lstmkit::Stream& stream) { return stream.write_state(h.data(), nullptr); };
    const auto step = [&](lstmkit::Stream& stream) { return stream.step(x.data(), y.data()); };
    check(is_refused_during(make_stream, run, read, read), "to read a busy stream's state");
    check(is_refused_during(make_stream, run, read, write), "to write a busy stream's state");
    check(is_refused_during(make_stream, run, read, step), "to step a busy stream");

    const auto make_pool = [&] { return std::make_unique<lstmkit::StreamPool>(weights, many); };
    make_pool()->step(x.data(), nullptr, many, right.data(), threads);
    const auto step_all = [&](lstmkit::StreamPool& pool) {
        Floats all(many * O);
        const Outcome outcome = insist([&] { return pool.step(x.data(), nullptr, many, all.data(), threads); });
        check(outcome == Outcome::done && all == right, "a pool among refused calls");
    };
    const auto read_one = [&](lstmkit::StreamPool& pool) { return pool.read_state(1, h.data(), c.data()); };
    const auto write_one = [&](lstmkit::StreamPool& pool) { return pool.write_state(1, h.data(), nullptr); };
    const std::int64_t one = 1;
    const auto step_one = [&](lstmkit::StreamPool& pool) { return pool.step(x.data(), &one, 1, y.data(), 1); };
    check(is_refused_during(make_pool, step_all, read_one, read_one), "to read a busy pool's state");
    check(is_refused_during(make_pool, step_all, read_one, write_one), "to write a busy pool's state");
    check(is_refused_during(make_pool, step_all, read_one, step_one), "to step a busy pool");
}

void every_stream_matches_double() {
    const Model small({3, 5, 0, 2}, 1), projected({5, 19, 3, 2}, 2), odd({1, 33, 0, 1}, 3), wide_projected({7, 90, 70, 1}, 4),
        even({64, 64, 0, 1}, 5), single({2, 1, 0, 1}, 6), large({40, 150, 0, 2}, 7);
    for (InstructionSet set : lstmkit::usable_sets())
        for (StreamPrecision precision : precisions) {
            for (const Model* model : {&small, &projected, &odd, &wide_projected, &even, &single}) {
                stream_matches_double(*model, precision, set, 1);
                pool_matches_streams(*model, precision, set, 2);
            }
            stream_matches_double(large, precision, set, 2);
        }
    calls_are_refused(small);
}

}  // namespace

int main(int count, char**) {
    if (count > 1)  // while_busy
        for (int threads : {1, 2}) a_second_thread_is_refused(Model({40, 96, 0, 1}, 7), threads);
    else
        every_stream_matches_double();
    std::printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
