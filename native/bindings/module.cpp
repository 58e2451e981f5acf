// lstmkit._native: conversions between Python and the core. No arithmetic here.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "layer.h"
#include "lstmkit/dispatch.h"
#include "stream.h"

namespace nb = nanobind;
using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using FloatsOut = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

namespace {

std::vector<std::string> names(const std::vector<lstmkit::InstructionSet>& sets) {
    std::vector<std::string> result;
    for (lstmkit::InstructionSet set : sets) result.emplace_back(lstmkit::name_of(set));
    return result;
}

std::vector<std::string> machine_sets() {
    std::vector<lstmkit::InstructionSet> found;
    for (lstmkit::InstructionSet set : lstmkit::all_instruction_sets)
        if (lstmkit::machine_has(set)) found.push_back(set);
    return names(found);
}

lstmkit::InstructionSet set_called(const std::string& name) {
    return name.empty() ? lstmkit::default_set() : lstmkit::choose_set(name);
}

void expect_one_length(std::size_t a, std::size_t b) {
    if (a != b)
        throw std::invalid_argument("expected two vectors of one length, got " + std::to_string(a) + " and " + std::to_string(b));
}

using Function = void (*lstmkit::Kernels::*)(const float*, float*, std::size_t) noexcept;

void apply(Function function, const Floats& in, const FloatsOut& out, const std::string& instruction_set) {
    expect_one_length(in.size(), out.size());
    (lstmkit::kernels_of(set_called(instruction_set)).*function)(in.data(), out.data(), in.size());
}

float dot(Floats a, Floats b, const std::string& instruction_set) {
    expect_one_length(a.size(), b.size());
    return lstmkit::kernels_of(set_called(instruction_set)).dot(a.data(), b.data(), a.size());
}

}  // namespace

NB_MODULE(_native, module) {
    module.attr("version") = LSTMKIT_VERSION;
    module.def("compiled_sets", [] { return names(lstmkit::compiled_sets()); });
    module.def("machine_sets", machine_sets);
    module.def("active_set", [] { return std::string(lstmkit::name_of(lstmkit::default_set())); });
    module.def("available_threads", &lstmkit::available_threads);
    module.def("sigmoid", [](Floats in, FloatsOut out, const std::string& set) { apply(&lstmkit::Kernels::sigmoid, in, out, set); },
               nb::arg("x").noconvert(), nb::arg("out").noconvert(), nb::arg("instruction_set") = "");
    module.def("tanh", [](Floats in, FloatsOut out, const std::string& set) { apply(&lstmkit::Kernels::tanh, in, out, set); },
               nb::arg("x").noconvert(), nb::arg("out").noconvert(), nb::arg("instruction_set") = "");
    bind_layer(module);
    bind_stream(module);
    module.def("dot", &dot, nb::arg("a").noconvert(), nb::arg("b").noconvert(), nb::arg("instruction_set") = "");
}
