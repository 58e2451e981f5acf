// Random layers, possible and impossible, for as many seconds as the command line says: refused with
// std::invalid_argument or run, with any set and any number of threads always to the same numbers but for rounding.
// For the address sanitizer; tests/ops/test_native_fuzz.py judges the numbers.
#include <chrono>
#include <cstdlib>

#include "check.h"
#include "lstmkit/layer.h"
#include "random_case.h"

namespace {

using lstmkit::Index;

std::mt19937 numbers(7);

Index draw(Index first, Index last) { return std::uniform_int_distribution<Index>(first, last)(numbers); }

Shape draw_shape() {
    Shape shape{draw(1, 12), draw(0, draw(0, 4) ? 20 : 240), draw(1, draw(0, 1) ? 8 : 70), draw(1, draw(0, 1) ? 20 : 140)};
    if (shape.units > 1 && draw(0, 2) == 0) shape.projection = draw(1, shape.units - 1);
    shape.directions = static_cast<int>(draw(1, 2));
    shape.has_lengths = draw(0, 1), shape.has_resets = draw(0, 1);
    shape.kind = static_cast<CellKind>(draw(0, 1) ? draw(0, cell_kinds - 1) : 0);
    if (shape.kind >= CellKind::gru) shape.projection = 0;
    return shape;
}

std::string named(const Shape& s, int threads, lstmkit::InstructionSet set) {
    return "T" + std::to_string(s.steps) + " B" + std::to_string(s.batch) + " I" + std::to_string(s.inputs) + " H" +
           std::to_string(s.units) + " R" + std::to_string(s.projection) + " D" + std::to_string(s.directions) +
           " kind " + std::to_string(static_cast<int>(s.kind)) + (s.has_lengths ? " lengths" : "") + (s.has_resets ? " resets" : "") + " on " + std::to_string(threads) + " threads, " +
           std::string(lstmkit::name_of(set));
}

template <typename P>
void run_possible(const Shape& shape, int threads, lstmkit::InstructionSet set) {
    const unsigned seed = static_cast<unsigned>(draw(0, 1 << 30));
    const RandomCase<P> one(shape, seed), other(shape, seed);
    one.run(1, lstmkit::usable_sets().front());
    other.run(threads, set);
    const double tolerance = sizeof(lstmkit::Real<P>) == 4 ? 5e-5 : 1e-12;
    check(distance(other.outputs(), one.outputs()) <= tolerance, named(shape, threads, set));
}

/// One number of the course is anything at all.
template <typename P>
void run_impossible(const Shape& shape, int threads, lstmkit::InstructionSet set) {
    RandomCase<P> layer(shape);
    lstmkit::LayerCase<P>& course = layer.forward_jobs().back().layer;
    Index* const sizes[] = {&course.steps, &course.batch, &course.inputs, &course.units, &course.outputs};
    Index& size = *sizes[draw(0, 4)];
    // Never a possible number that is not the right one: memory does not say how long it is.
    size = draw(0, 1) ? -draw(1, 5) : draw(Index{1} << 41, std::numeric_limits<Index>::max());
    layer.backward_jobs().back().layer = course;
    check(rejects([&] { layer.run_forward(threads, set); }) && rejects([&] { layer.run_backward(threads, set); }),
          "refuses T" + std::to_string(course.steps) + " B" + std::to_string(course.batch) + " for " + named(shape, threads, set));
}

template <typename P>
void run_one() {
    const Shape shape = draw_shape();
    const auto& sets = lstmkit::usable_sets();
    const lstmkit::InstructionSet set = sets[std::size_t(draw(0, Index(sets.size()) - 1))];
    const int threads = static_cast<int>(draw(-1, 5));
    draw(0, 5) ? run_possible<P>(shape, threads, set) : run_impossible<P>(shape, threads, set);
}

}  // namespace

int main(int count, char** arguments) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(count > 1 ? std::atoi(arguments[1]) : 1);
    long cases = 0;
    for (; std::chrono::steady_clock::now() < end && failures == 0; cases += 2) run_one<lstmkit::Float32>(), run_one<lstmkit::Float64>();
    std::printf("%ld cases, %d failures\n", cases, failures);
    return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
