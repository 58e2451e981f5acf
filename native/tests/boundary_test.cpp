// What a caller can get wrong, and what looks wrong and is not: refused before anything is written, or well defined.
#include <cstdlib>
#include <functional>

#include "check.h"
#include "lstmkit/layer.h"
#include "random_case.h"

namespace {

using lstmkit::Float32;
using lstmkit::Index;
using lstmkit::InstructionSet;
using Layer = lstmkit::LayerCase<Float32>;
using Forward = lstmkit::ForwardJob<Float32>;
using Backward = lstmkit::BackwardJob<Float32>;

constexpr Shape plain{3, 2, 2, 3}, projected{3, 2, 2, 3, 2};

bool is_untouched(const RandomCase<Float32>& layer) {
    const std::vector<double> outputs = layer.outputs();
    return std::all_of(outputs.begin(), outputs.end(), [](double value) { return std::isnan(value); });
}

template <typename Change>
void forward_refuses(const Shape& shape, const char* what, Change change) {
    RandomCase<Float32> layer(shape);
    change(layer.forward_jobs().back());
    check(rejects([&] { layer.run_forward(2, lstmkit::usable_sets().front()); }) && is_untouched(layer), std::string("forward: ") + what);
}

template <typename Change>
void backward_refuses(const Shape& shape, const char* what, Change change) {
    RandomCase<Float32> layer(shape);
    change(layer.backward_jobs().back());
    check(rejects([&] { layer.run_backward(2, lstmkit::usable_sets().front()); }) && is_untouched(layer), std::string("backward: ") + what);
}

void both_refuse(const Shape& shape, const char* what, void (*change)(Layer&)) {
    forward_refuses(shape, what, [&](Forward& job) { change(job.layer); });
    backward_refuses(shape, what, [&](Backward& job) { change(job.layer); });
}

void sizes_are_checked() {
    constexpr Index huge = std::numeric_limits<Index>::max();
    static constexpr Index bad[] = {-1, std::numeric_limits<Index>::min(), huge, huge / 4, Index{1} << 31};
    static Index value;
    for (Index size : bad) {
        value = size;
        both_refuse(plain, "steps", [](Layer& layer) { layer.steps = value; });
        both_refuse(plain, "batch", [](Layer& layer) { layer.batch = value; });
        both_refuse(plain, "inputs", [](Layer& layer) { layer.inputs = value; });
        both_refuse(plain, "units", [](Layer& layer) { layer.units = layer.outputs = value; });
        both_refuse(projected, "outputs", [](Layer& layer) { layer.outputs = value; });
    }
    both_refuse(plain, "no steps", [](Layer& layer) { layer.steps = 0; });
    both_refuse(plain, "no units", [](Layer& layer) { layer.units = layer.outputs = 0; });
    both_refuse(projected, "no outputs", [](Layer& layer) { layer.outputs = 0; });
    both_refuse(plain, "too many weights", [](Layer& layer) { layer.units = layer.outputs = layer.inputs = 1 << 20; });
    both_refuse(plain, "too many rows", [](Layer& layer) { layer.steps = layer.batch = 1 << 21; });
    both_refuse(plain, "outputs without projection", [](Layer& layer) { layer.outputs = 2; });
}

void pointers_are_checked() {
    both_refuse(plain, "no input", [](Layer& layer) { layer.x.data = nullptr; });
    both_refuse(plain, "no weight", [](Layer& layer) { layer.weight_input = nullptr; });
    both_refuse(plain, "no recurrent weight", [](Layer& layer) { layer.weight_recurrent = nullptr; });
    both_refuse(plain, "half a bias", [](Layer& layer) { layer.bias_input = nullptr; });
    both_refuse(plain, "the other half", [](Layer& layer) { layer.bias_recurrent = nullptr; });
    both_refuse(projected, "no projection", [](Layer& layer) { layer.weight_projection = nullptr; });
    both_refuse(plain, "a projection unasked for", [](Layer& layer) { layer.weight_projection = layer.weight_input; });
    forward_refuses(plain, "no output", [](Forward& job) { job.result.y.data = nullptr; });
    backward_refuses(plain, "no output", [](Backward& job) { job.y.data = nullptr; });
    backward_refuses(plain, "no cells", [](Backward& job) { job.trace.cells.data = nullptr; });
    backward_refuses(plain, "no gates", [](Backward& job) { job.trace.activations.data = nullptr; });
    backward_refuses(plain, "some gradients", [](Backward& job) { job.gradients.weight_input = nullptr; });
    backward_refuses(plain, "no gradient of the bias", [](Backward& job) { job.gradients.bias = nullptr; });
    backward_refuses(projected, "no gradient of the projection", [](Backward& job) { job.gradients.weight_projection = nullptr; });
}

void options_are_checked() {
    const auto kind = [](CellKind of, Index units = 4) { return Shape{3, 2, 2, units, 0, 1, true, true, of}; };
    static lstmkit::CellOptions<Float32> other;
    both_refuse(kind(CellKind::gru), "a shape of another cell", [](Layer& layer) { layer.shape = {}; });
    both_refuse(plain, "a shape without its cell", [](Layer& layer) { layer.shape.sums = 8; });
    both_refuse(kind(CellKind::coupled), "heads of an LSTM", [](Layer& layer) { layer.heads = 2; });
    both_refuse(kind(CellKind::slstm), "heads that do not divide", [](Layer& layer) { layer.heads = 3; });
    both_refuse(kind(CellKind::slstm), "heads of parts of vectors", [](Layer& layer) { layer.heads = 4; });
    both_refuse(kind(CellKind::gru_before), "no weight of the middle", [](Layer& layer) { layer.weight_middle = nullptr; });
    both_refuse(kind(CellKind::gru), "a middle unasked for", [](Layer& layer) { layer.weight_middle = layer.weight_input; });
    both_refuse(kind(CellKind::mogrifier), "no weights of the rounds", [](Layer& layer) { layer.weight_rounds = nullptr; });
    both_refuse(kind(CellKind::mogrifier), "no rounds", [](Layer& layer) { layer.rounds = 0; });
    both_refuse(plain, "a rank without rounds", [](Layer& layer) { layer.rank = 2; });
    both_refuse(kind(CellKind::mogrifier), "a rank that is too large", [](Layer& layer) { layer.rank = Index{1} << 50; });
    both_refuse(kind(CellKind::mogrifier), "a negative number of rounds", [](Layer& layer) { layer.rounds = -1; });
    both_refuse(kind(CellKind::mogrifier), "too many rounds", [](Layer& layer) { layer.rounds = Index{1} << 60; });
    both_refuse(kind(CellKind::mogrifier), "rounds before options", [](Layer& layer) { layer.options = &other; });
    both_refuse(kind(CellKind::mogrifier), "a recurrent bias alone", [](Layer& layer) { layer.bias_input = nullptr; });
    both_refuse(kind(CellKind::coupled), "a recurrent bias alone", [](Layer& layer) { layer.bias_input = nullptr; });
    both_refuse(kind(CellKind::normed_products), "no gain", [](Layer& layer) {
        other = *layer.options, other.gain_recurrent = nullptr, layer.options = &other;
    });
    both_refuse(kind(CellKind::normed_gates), "no gain of the cell state", [](Layer& layer) {
        other = *layer.options, other.gain_cell = nullptr, layer.options = &other;
    });
    both_refuse(kind(CellKind::masked), "a projection's bias alone", [](Layer& layer) {
        other = *layer.options, other.projection_bias = layer.bias_input, layer.options = &other;
    });
    both_refuse(kind(CellKind::masked), "a misaligned mask", [](Layer& layer) {
        layer.masks.candidate.data = reinterpret_cast<const float*>(reinterpret_cast<std::uintptr_t>(layer.masks.candidate.data) + 1);
    });
    RandomCase<lstmkit::Float32SavedInBFloat16> halved(kind(CellKind::coupled));
    check(rejects([&] { halved.run_forward(1, lstmkit::usable_sets().front()); }), "cells that keep more than gates");
    backward_refuses(kind(CellKind::coupled), "no gradients of options", [](Backward& job) { job.gradients.totals = nullptr; });
    backward_refuses(kind(CellKind::mogrifier), "no gradient of the rounds", [](Backward& job) { job.gradients.weight_rounds = nullptr; });
    backward_refuses(kind(CellKind::multiplicative), "no gradient of the middle's weight", [](Backward& job) { job.gradients.weight_middle = nullptr; });
}

template <typename Number>
void shift(Number*& data) {
    data = reinterpret_cast<Number*>(reinterpret_cast<std::uintptr_t>(data) + 1);
}

void alignment_is_checked() {
    both_refuse(plain, "misaligned input", [](Layer& layer) { shift(layer.x.data); });
    both_refuse(plain, "misaligned state", [](Layer& layer) { shift(layer.h.data); });
    both_refuse(plain, "misaligned cell", [](Layer& layer) { shift(layer.c.data); });
    both_refuse(plain, "misaligned weight", [](Layer& layer) { shift(layer.weight_recurrent); });
    both_refuse(plain, "misaligned bias", [](Layer& layer) { shift(layer.bias_input); });
    both_refuse(plain, "misaligned lengths", [](Layer& layer) { shift(layer.lengths); });
    forward_refuses(plain, "misaligned output", [](Forward& job) { shift(job.result.y.data); });
    forward_refuses(plain, "misaligned gates", [](Forward& job) { shift(job.result.trace.activations.data); });
    backward_refuses(plain, "misaligned upstream", [](Backward& job) { shift(job.upstream.y.data); });
    backward_refuses(plain, "misaligned gradient", [](Backward& job) { shift(job.gradients.x.data); });
}

void directions_are_checked() {
    Shape both = plain;
    both.directions = 2;
    both_refuse(both, "another batch", [](Layer& layer) { layer.batch = 1; });
    both_refuse(both, "other lengths", [](Layer& layer) { layer.lengths = nullptr; });
    both_refuse(both, "other resets", [](Layer& layer) { layer.resets = nullptr; });
    const RandomCase<Float32> layer(plain);
    const Forward* none = nullptr;
    const std::vector<Forward> three(3, RandomCase<Float32>(plain).forward_jobs()[0]);
    for (int count : {0, -1, 3, std::numeric_limits<int>::max()})
        check(rejects([&] { lstmkit::run_forward(three.data(), count, 1, lstmkit::usable_sets().front()); }), "a number of directions");
    check(rejects([&] { lstmkit::run_forward(none, 1, 1, lstmkit::usable_sets().front()); }), "no directions");
    check(rejects([&] { layer.run_forward(1, static_cast<InstructionSet>(99)); }), "an unknown instruction set");
}

void lengths_are_checked() {
    for (std::int64_t length : {std::int64_t{4}, std::int64_t{-1}, std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()}) {
        RandomCase<Float32> layer(plain);
        layer.lengths()[1] = length;
        check(rejects([&] { layer.run_forward(1, lstmkit::usable_sets().front()); }) && rejects([&] { layer.run_backward(1, lstmkit::usable_sets().front()); }) &&
                  is_untouched(layer),
              "length " + std::to_string(length));
    }
}

void any_number_of_threads_will_do() {
    for (const Shape& shape : {Shape{20, 30, 20, 40}, Shape{20, 2, 60, 90, 0, 2}, Shape{9, 40, 33, 50, 20}}) {
        RandomCase<Float32> one(shape);
        one.run(1, lstmkit::usable_sets().front());
        for (int threads : {0, -1, std::numeric_limits<int>::min()}) {
            RandomCase<Float32> other(shape);
            other.run(threads, lstmkit::usable_sets().front());
            check(other.outputs() == one.outputs(), std::to_string(threads) + " threads are one");
        }
        RandomCase<Float32> most(shape);
        most.run(200, lstmkit::usable_sets().front());
        check(distance(most.outputs(), one.outputs()) < 1e-5, "more threads than anything to do");
    }
}

void nothing_to_do_is_done() {
    Shape shape{4, 3, 2, 5};
    RandomCase<Float32> empty(shape);
    for (std::int64_t& length : empty.lengths()) length = 0;
    empty.run(2, lstmkit::usable_sets().front());
    const Forward& job = empty.forward_jobs()[0];
    const Backward& back = empty.backward_jobs()[0];
    bool is_right = true;
    for (Index b = 0; b < 3; ++b)
        for (Index u = 0; u < 5; ++u) {
            is_right = is_right && job.result.h.at(b)[u] == job.layer.h.at(b)[u] && job.result.c.at(b)[u] == job.layer.c.at(b)[u];
            is_right = is_right && back.gradients.h.at(b)[u] == back.upstream.h.at(b)[u] && back.gradients.c.at(b)[u] == back.upstream.c.at(b)[u];
            for (Index t = 0; t < 4; ++t) is_right = is_right && job.result.y.at(t, b)[u] == 0;
        }
    is_right = is_right && std::all_of(back.gradients.bias, back.gradients.bias + 20, [](float value) { return value == 0; });
    check(is_right, "sequences of no step give back the state and its gradient");
    shape.batch = 0;
    const RandomCase<Float32> none(shape);
    none.run(2, lstmkit::usable_sets().front());
    const std::vector<double> outputs = none.outputs();
    check(!outputs.empty() && std::all_of(outputs.begin(), outputs.end(), [](double value) { return value == 0; }),
          "no rows leave no gradient of the weights");
}

void what_nobody_wants_may_be_null() {
    RandomCase<Float32> all(plain), some(plain);
    all.run(1, lstmkit::usable_sets().front());
    some.run_forward(1, lstmkit::usable_sets().front());
    Backward& back = some.backward_jobs()[0];
    back.gradients.x = {}, back.gradients.h = {}, back.gradients.c = {};
    some.run_backward(1, lstmkit::usable_sets().front());
    check(std::equal(back.gradients.weight_input, back.gradients.weight_input + 24, all.backward_jobs()[0].gradients.weight_input),
          "gradients of the weights alone");
    RandomCase<Float32> least(plain);
    Forward& job = least.forward_jobs()[0];
    job.result = {job.result.y, {}, {}, {}};
    least.run_forward(1, lstmkit::usable_sets().front());
    check(std::equal(job.result.y.data, job.result.y.data + 18, all.forward_jobs()[0].result.y.data), "the output alone");
}

}  // namespace

int main() {
    sizes_are_checked();
    pointers_are_checked();
    options_are_checked();
    alignment_is_checked();
    directions_are_checked();
    lengths_are_checked();
    any_number_of_threads_will_do();
    nothing_to_do_is_done();
    what_nobody_wants_may_be_null();
    std::printf("%d failures\n", failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
