#include "sequence/check.h"

#include <stdexcept>
#include <string>

#include "sequence/walk.h"

namespace lstmkit {
namespace {

// So small that no product of sizes, paddings and the most threads overflows: what is too much is refused by Array then.
constexpr Index largest_size = Index{1} << 30;
constexpr double most_numbers = double(Index{1} << 40);

// Texts are put together only where something is wrong: the checks run on every call.
void expect(bool condition, const char* what) {
    if (!condition) throw std::invalid_argument(what);
}

[[noreturn]] void refuse_sizes(const Course& course, const char* expected) {
    throw std::invalid_argument(std::string("expected ") + expected + ", got T=" + std::to_string(course.steps) +
                                " B=" + std::to_string(course.batch) + " I=" + std::to_string(course.inputs) +
                                " H=" + std::to_string(course.units) + " R=" + std::to_string(course.outputs));
}

void check_sizes(const Course& course) {
    const Index steps = course.steps, batch = course.batch, inputs = course.inputs, units = course.units, outputs = course.outputs;
    const bool projected = course.projected;
    if (steps < 1 || batch < 0 || inputs < 0 || units < 1 || outputs < 1)
        refuse_sizes(course, "at least one step, unit and output and no negative size");
    if (!projected && outputs != units) refuse_sizes(course, "as many outputs as units, or a projection");
    for (Index size : {steps, batch, inputs, units, outputs})
        if (size > largest_size) refuse_sizes(course, "sizes up to 2^30");
    if (double(steps) * double(batch) > most_numbers) refuse_sizes(course, "up to 2^40 steps of all rows");
    expect(course.heads >= 1 && units % course.heads == 0, "expected heads that divide the units");
    expect(course.heads == 1 || !projected, "expected no projection of a cell with heads");
    const double middle = double(course.shape.middle) * double(course.shape.middle_vectors) * double(units);
    expect(course.rounds >= 0 && course.rank >= 0 && (course.rounds || !course.rank), "expected no negative number of rounds, and a rank of theirs");
    const double each = double(inputs + units), round = course.rank ? double(course.rank) * (each + 1) : double(inputs) * double(units);
    if (double(units) * (double(gates) * double(inputs + outputs) + middle) + double(course.rounds) * (round + each) > most_numbers) refuse_sizes(course, "up to 2^40 weights");
}

void check_lengths(const Course& course) {
    for (Index b = 0; course.lengths && b < course.batch; ++b)
        if (course.lengths[b] < 0 || course.lengths[b] > course.steps)
            throw std::invalid_argument("expected lengths in 0.." + std::to_string(course.steps) + ", got " +
                                        std::to_string(course.lengths[b]));
}

template <typename... Numbers>
void expect_aligned(const Numbers*... buffers) {
    expect(((reinterpret_cast<std::uintptr_t>(buffers) % alignof(Numbers) == 0) && ...),
           "a buffer does not begin at a multiple of the size of its numbers");
}

bool are_alike(const CellShape& a, const CellShape& b) noexcept {
    return a.sums == b.sums && a.input_first == b.input_first && a.input == b.input && a.recurrent_first == b.recurrent_first &&
           a.recurrent == b.recurrent && a.kept == b.kept && a.states == b.states && a.whole_rows == b.whole_rows &&
           a.middle_first == b.middle_first && a.middle == b.middle && a.middle_vectors == b.middle_vectors;
}

/// That what an option needs is there: vectors are never looked for where the option is not.
template <typename P>
void check_options(const LayerCase<P>& layer) {
    const CellOptions<P>* const o = layer.options;
    expect(are_alike(layer.shape, o ? shape_of(*o) : CellShape{}), "the shape is not that of the cell");
    if (!o) return expect(layer.heads == 1, "a plain LSTM has no heads");
    expect(has_cells<P>, "where gates alone are kept in 16 bits there is the plain LSTM alone");
    expect(static_cast<int>(o->cell) >= 0 && static_cast<int>(o->cell) < most_cells, "no cell has that number");
    expect(o->cell == Cell::lstm || !layer.projected, "only an LSTM has a projection");
    expect(o->cell == Cell::slstm || layer.heads == 1, "only an sLSTM has heads");
    expect(o->norm != Norm::products || (o->gain_input && o->gain_recurrent), "a gain of the normalised products is null");
    expect(o->norm != Norm::gates || o->gain_gates, "the gain of the normalised gates is null");
    expect(o->cell_norm == CellNorm::none || o->gain_cell, "the gain of the normalised cell state is null");
    expect(o->cell != Cell::phased || o->ratio, "the ratios of a Phased LSTM are null");
    expect(o->chunk >= 1 && layer.units % o->chunk == 0, "expected chunks that divide the units");
    expect(!o->projection_bias || layer.projected, "expected a bias for a projection, and for nothing else");
}

template <typename P>
void check_case(const LayerCase<P>& layer) {
    check_sizes(layer);
    check_options(layer);
    expect(layer.weight_input && layer.weight_recurrent && (layer.x || layer.batch == 0), "the input or a weight is null");
    expect(!layer.bias_recurrent || layer.bias_input, "expected an input's bias beside a recurrent one");
    expect(layer.options || layer.rounds || !layer.bias_input == !layer.bias_recurrent, "expected both biases or none");
    expect(!layer.weight_projection == !layer.projected, "expected a weight for a projection, and for nothing else");
    expect(!layer.weight_middle == !layer.shape.middle, "expected a weight for a middle, and for nothing else");
    expect(!layer.weight_rounds == !(layer.rounds && layer.round_weights()), "expected weights for rounds, and for nothing else");
    expect(!layer.rounds || !(layer.options || layer.projected || layer.masks.state), "only a plain LSTM has rounds before its step");
    expect_aligned(layer.x.data, layer.h.data, layer.c.data, layer.weight_input, layer.weight_recurrent, layer.bias_input,
                   layer.bias_recurrent, layer.weight_projection, layer.weight_middle, layer.weight_rounds, layer.lengths, layer.masks.state.data,
                   layer.masks.candidate.data);
    check_lengths(layer);
}

template <typename P>
void check_job(const ForwardJob<P>& job) {
    check_case(job.layer);
    const ForwardResult<P>& out = job.result;
    expect(out.y || job.layer.batch == 0, "the output is null");
    expect_aligned(out.y.data, out.h.data, out.c.data, out.trace.cells.data, out.trace.activations.data);
}

template <typename P>
void check_job(const BackwardJob<P>& job) {
    check_case(job.layer);
    const Upstream<P>& up = job.upstream;
    const Gradients<P>& to = job.gradients;
    expect((job.y && job.trace.cells && job.trace.activations) || job.layer.batch == 0, "what forward wrote is null");
    const bool all = to.weight_input && to.weight_recurrent && to.bias && !to.weight_projection == !job.layer.projected &&
                     !to.weight_middle == !job.layer.shape.middle && !to.weight_rounds == !job.layer.weight_rounds;
    const bool none = !to.weight_input && !to.weight_recurrent && !to.bias && !to.weight_projection && !to.weight_middle && !to.weight_rounds;
    expect(all || none, "expected the gradients of all weights or of none");
    const bool has_totals = job.layer.options && totals_of(*job.layer.options);
    expect(none || !to.totals == !has_totals, "expected the gradients of options where there are options");
    expect_aligned(job.y.data, job.trace.cells.data, job.trace.activations.data, up.y.data, up.h.data, up.c.data,
                   up.trace.cells.data, up.trace.activations.data, to.x.data, to.h.data, to.c.data, to.weight_input,
                   to.weight_recurrent, to.bias, to.weight_projection, to.weight_middle, to.weight_rounds);
}

bool are_alike(const Course& a, const Course& b) noexcept {
    return a.steps == b.steps && a.batch == b.batch && a.inputs == b.inputs && a.units == b.units &&
           a.outputs == b.outputs && a.projected == b.projected && a.lengths == b.lengths && a.resets == b.resets &&
           are_alike(a.shape, b.shape) && a.heads == b.heads && a.rounds == b.rounds && a.rank == b.rank;
}

template <typename Job>
void check_all(const Job* directions, int count) {
    if (count < 1 || count > most_directions)
        throw std::invalid_argument("expected 1 or 2 directions, got " + std::to_string(count));
    expect(directions, "the directions are null");
    for (int d = 0; d < count; ++d) {
        check_job(directions[d]);
        expect(are_alike(directions[0].layer, directions[d].layer), "expected the same sizes, lengths and resets in both directions");
    }
}

}  // namespace

template <typename P>
void check_jobs(const ForwardJob<P>* directions, int count) {
    check_all(directions, count);
}

template <typename P>
void check_jobs(const BackwardJob<P>* directions, int count) {
    check_all(directions, count);
}

#define LSTMKIT_PRECISION(P)                                 \
    template void check_jobs(const ForwardJob<P>*, int);     \
    template void check_jobs(const BackwardJob<P>*, int);
LSTMKIT_EVERY_PRECISION
#undef LSTMKIT_PRECISION

}  // namespace lstmkit
