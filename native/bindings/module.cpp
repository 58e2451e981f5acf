// lstmkit._native: conversions between Python and the core. No arithmetic here.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "lstmkit/dispatch.h"

namespace nb = nanobind;
using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

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

float dot(Floats a, Floats b, const std::string& instruction_set) {
    if (a.size() != b.size())
        throw std::invalid_argument("expected two vectors of one length, got " + std::to_string(a.size()) + " and " +
                                    std::to_string(b.size()));
    const auto set = instruction_set.empty() ? lstmkit::default_set() : lstmkit::choose_set(instruction_set);
    return lstmkit::kernels_of(set).dot(a.data(), b.data(), a.size());
}

}  // namespace

NB_MODULE(_native, module) {
    module.attr("version") = LSTMKIT_VERSION;
    module.def("compiled_sets", [] { return names(lstmkit::compiled_sets()); });
    module.def("machine_sets", machine_sets);
    module.def("active_set", [] { return std::string(lstmkit::name_of(lstmkit::default_set())); });
    module.def("available_threads", &lstmkit::available_threads);
    module.def("dot", &dot, nb::arg("a").noconvert(), nb::arg("b").noconvert(), nb::arg("instruction_set") = "");
}
