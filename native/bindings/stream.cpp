#include "stream.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

namespace nb = nanobind;
using lstmkit::Index;
using lstmkit::Outcome;
using lstmkit::StreamPool;
using lstmkit::StreamWeights;

namespace {

template <typename Number, std::size_t Dimensions>
using Array = nb::ndarray<Number, nb::ndim<Dimensions>, nb::c_contig, nb::device::cpu>;
using Vector = Array<const float, 1>;
using Matrix = Array<const float, 2>;
using MatrixOut = Array<float, 2>;
using Indices = Array<const std::int64_t, 1>;
using LayerArrays = std::tuple<Matrix, Matrix, std::optional<Vector>, std::optional<Vector>, std::optional<Matrix>>;
using Shared = std::shared_ptr<const StreamWeights>;

void expect(bool condition, const char* what) {
    if (!condition) throw std::invalid_argument(what);
}

template <typename Given>
const float* data(const Given& given) {
    return given ? given->data() : nullptr;
}

lstmkit::StreamLayer layer(const LayerArrays& arrays) {
    const auto& [input, recurrent, bias_input, bias_recurrent, projection] = arrays;
    const std::size_t rows = input.shape(0), units = rows / lstmkit::gates, outputs = recurrent.shape(1);
    expect(rows % lstmkit::gates == 0 && recurrent.shape(0) == rows && outputs == (projection ? projection->shape(0) : units),
           "the weights of a layer do not fit each other");
    expect((!bias_input || bias_input->size() == rows) && (!bias_recurrent || bias_recurrent->size() == rows) &&
               (!projection || projection->shape(1) == units),
           "a bias or a projection does not fit its layer");
    return {static_cast<Index>(input.shape(1)), static_cast<Index>(units), projection ? static_cast<Index>(outputs) : 0,
            input.data(), recurrent.data(), data(bias_input), data(bias_recurrent), data(projection)};
}

lstmkit::StreamPrecision precision_called(const std::string& name) {
    if (name == "float32") return lstmkit::StreamPrecision::float32;
    if (name == "bfloat16") return lstmkit::StreamPrecision::bfloat16;
    if (name == "int8") return lstmkit::StreamPrecision::int8;
    throw std::invalid_argument("expected the precision float32, bfloat16 or int8, got '" + name + "'");
}

void pack(StreamWeights* made, const std::vector<LayerArrays>& arrays, const std::string& precision, const std::string& set) {
    std::vector<lstmkit::StreamLayer> layers;
    for (const LayerArrays& one : arrays) layers.push_back(layer(one));
    const lstmkit::InstructionSet chosen = set.empty() ? lstmkit::default_set() : lstmkit::choose_set(set);
    new (made) StreamWeights(layers, precision_called(precision), chosen);
}

Index rows(const Matrix& x) { return static_cast<Index>(x.shape(0)); }

void expect_block(const StreamWeights& weights, const Matrix& x, const MatrixOut& out) {
    expect(static_cast<Index>(x.shape(1)) == weights.inputs() && static_cast<Index>(out.shape(1)) == weights.outputs() &&
               x.shape(0) == out.shape(0),
           "expected x of shape (N, I) and out of shape (N, O)");
}

void expect_state(const StreamWeights& weights, std::size_t h, std::size_t c) {
    expect(static_cast<Index>(h) == weights.h_count() && static_cast<Index>(c) == weights.c_count(),
           "expected h and c of as many numbers as the layers have");
}

bool step_pool(StreamPool& pool, const Matrix& x, const MatrixOut& out, const std::optional<Indices>& indices, int threads) {
    expect_block(pool.weights(), x, out);
    expect(!indices || indices->size() == x.shape(0), "expected one index per row");
    const std::int64_t* at = indices ? indices->data() : nullptr;
    return is_done(without_lock(rows(x), pool.weights(), [&] { return pool.step(x.data(), at, rows(x), out.data(), threads); }));
}

}  // namespace

bool is_done(Outcome outcome) {
    if (outcome != Outcome::busy) return outcome == Outcome::done;
    const nb::object error = nb::module_::import_("lstmkit.spec").attr("EngineError");
    PyErr_SetString(error.ptr(), "another thread is using this stream; give each thread its own with clone(), or use a lock");
    throw nb::python_error();
}

void bind_stream(nb::module_& module) {
    import_numpy();
    nb::class_<StreamWeights>(module, "StreamWeights")
        .def("__init__", &pack, nb::arg("layers"), nb::arg("precision"), nb::arg("instruction_set") = "");
    nb::class_<BoundStream>(module, "Stream", nb::type_slots(step_slots))
        .def(nb::init<Shared, int, nb::object, nb::object>(), nb::arg("weights"), nb::arg("threads"), nb::arg("step"), nb::arg("run"))
        .def_prop_ro("input_size", [](const BoundStream& bound) { return bound.weights->inputs(); })
        .def_prop_ro("output_size", [](const BoundStream& bound) { return bound.weights->outputs(); })
        .def("read_state", [](const BoundStream& bound, const Array<float, 1>& h, const Array<float, 1>& c) {
            expect_state(*bound.weights, h.size(), c.size());
            is_done(bound.stream.read_state(h.data(), c.data()));
        }, nb::arg("h").noconvert(), nb::arg("c").noconvert())
        .def("write_state", [](BoundStream& bound, const Vector& h, const Vector& c) {
            expect_state(*bound.weights, h.size(), c.size());
            is_done(bound.stream.write_state(h.data(), c.data()));
        }, nb::arg("h").noconvert(), nb::arg("c").noconvert());
    nb::class_<StreamPool>(module, "StreamPool")
        .def(nb::init<Shared, Index>(), nb::arg("weights"), nb::arg("capacity"))
        .def_prop_ro("bytes_per_stream", &StreamPool::bytes)
        .def("step", &step_pool, nb::arg("x").noconvert(), nb::arg("out").noconvert(), nb::arg("indices").noconvert().none(),
             nb::arg("threads"))
        .def("read_state", [](const StreamPool& pool, Index index, const Array<float, 1>& h, const Array<float, 1>& c) {
            expect_state(pool.weights(), h.size(), c.size());
            is_done(pool.read_state(index, h.data(), c.data()));
        }, nb::arg("index"), nb::arg("h").noconvert(), nb::arg("c").noconvert())
        .def("write_state", [](StreamPool& pool, Index index, const Vector& h, const Vector& c) {
            expect_state(pool.weights(), h.size(), c.size());
            is_done(pool.write_state(index, h.data(), c.data()));
        }, nb::arg("index"), nb::arg("h").noconvert(), nb::arg("c").noconvert());
}
