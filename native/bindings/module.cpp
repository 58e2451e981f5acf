// lstmkit._native: conversions between Python and the core. No arithmetic here.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "adamw.h"
#include "attention_pool.h"
#include "chosen.h"
#include "layer.h"
#include "lookup.h"
#include "loss.h"
#include "lstmkit/dispatch.h"
#include "lstmkit/peak.h"
#include "scan.h"
#include "stream.h"

namespace nb = nanobind;
template <typename P>
using In = nb::ndarray<const lstmkit::Real<P>, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <typename P>
using Out = nb::ndarray<lstmkit::Real<P>, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

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

void expect_one_length(std::size_t a, std::size_t b) {
    if (a != b)
        throw std::invalid_argument("expected two vectors of one length, got " + std::to_string(a) + " and " + std::to_string(b));
}

template <typename P>
using Function = void (*lstmkit::Kernels<P>::*)(const lstmkit::Real<P>*, lstmkit::Real<P>*, std::size_t) noexcept;

template <typename P>
void bind_function(nb::module_& module, const char* name, Function<P> function) {
    module.def(
        name,
        [function](In<P> in, Out<P> out, const std::string& instruction_set) {
            expect_one_length(in.size(), out.size());
            (lstmkit::table_of<lstmkit::Kernels<P>>(set_called(instruction_set)).*function)(in.data(), out.data(), in.size());
        },
        nb::arg("x").noconvert(), nb::arg("out").noconvert(), nb::arg("instruction_set") = "");
}

template <typename P>
void bind_kernels(nb::module_& module) {
    bind_function<P>(module, "sigmoid", &lstmkit::Kernels<P>::sigmoid);
    bind_function<P>(module, "tanh", &lstmkit::Kernels<P>::tanh);
}

double peak(const std::string& number, double seconds, const std::string& instruction_set) {
    const lstmkit::InstructionSet set = set_called(instruction_set);
    nb::gil_scoped_release others_may_run;
    return lstmkit::measure_peak(set, number, seconds);
}

}  // namespace

NB_MODULE(_native, module) {
    module.attr("version") = LSTMKIT_VERSION;
    module.def("compiled_sets", [] { return names(lstmkit::compiled_sets()); });
    module.def("machine_sets", machine_sets);
    module.def("active_set", [] { return std::string(lstmkit::name_of(lstmkit::default_set())); });
    module.def("available_threads", &lstmkit::available_threads);
    bind_kernels<lstmkit::Float32>(module);
    bind_kernels<lstmkit::Float64>(module);
    bind_adamw(module);
    bind_attention_pool(module);
    bind_layer(module);
    bind_lookup(module);
    bind_loss(module);
    bind_scan(module);
    bind_stream(module);
    module.def("peak", &peak, nb::arg("number") = "float32", nb::arg("seconds") = 0.2, nb::arg("instruction_set") = "");
}
