#include "loss.h"

#include <nanobind/stl/string.h>

#include <stdexcept>
#include <string>
#include <tuple>

#include "addresses.h"
#include "lstmkit/loss.h"
#include "unlocked.h"

namespace nb = nanobind;
using lstmkit::Index;

namespace {

using CaseAt = std::tuple<std::tuple<Index, Index, Index>, Address, Address, Address, Address>;
using KeptAt = std::tuple<Address, Address, Address>;

template <typename P>
lstmkit::LossCase<P> loss_case(const CaseAt& at) {
    const auto& [sizes, x, weight, bias, targets] = at;
    const auto& [N, F, C] = sizes;
    return {N, F, C, pointer<const lstmkit::Stored<P>>(x), pointer<const lstmkit::Real<P>>(weight), pointer<const lstmkit::Real<P>>(bias),
            pointer<const std::int64_t>(targets)};
}

template <typename Share, typename Number>
lstmkit::LossKept<Share, Number> loss_kept(const KeptAt& at) {
    return {pointer<Share>(std::get<0>(at)), pointer<Number>(std::get<1>(at)), pointer<Share>(std::get<2>(at))};
}

template <typename Function>
void with_precision(const std::string& name, Function function) {
    if (name == "float32") return function(lstmkit::Float32{});
    if (name == "float64") return function(lstmkit::Float64{});
    if (name == "bfloat16") return function(lstmkit::BFloat16{});
    throw std::invalid_argument("the loss has no precision '" + name + "'; it has: bfloat16, float32, float64");
}

template <typename Job>
void run(const Job& job, int threads, const std::string& instruction_set) {
    const lstmkit::InstructionSet set = instruction_set.empty() ? lstmkit::default_set() : lstmkit::choose_set(instruction_set);
    const Unlocked unlocked(double(job.layer.rows) * double(job.layer.features) * double(job.layer.classes));
    lstmkit::run_loss(job, threads, set);
}

void forward(const CaseAt& layer, const KeptAt& kept, Address losses, int threads, const std::string& instruction_set,
             const std::string& precision) {
    with_precision(precision, [&](auto chosen) {
        using P = decltype(chosen);
        using Real = lstmkit::Real<P>;
        run(lstmkit::LossForward<P>{loss_case<P>(layer), loss_kept<lstmkit::Stored<P>, Real>(kept), pointer<Real>(losses)}, threads,
            instruction_set);
    });
}

void backward(const CaseAt& layer, const KeptAt& kept, Address upstream, Address dx, Address dweight, Address dbias, int threads,
              const std::string& instruction_set, const std::string& precision) {
    with_precision(precision, [&](auto chosen) {
        using P = decltype(chosen);
        using Real = lstmkit::Real<P>;
        run(lstmkit::LossBackward<P>{loss_case<P>(layer), loss_kept<const lstmkit::Stored<P>, const Real>(kept), pointer<const Real>(upstream), pointer<Real>(dx),
                                     pointer<Real>(dweight), pointer<Real>(dbias)},
            threads, instruction_set);
    });
}

}  // namespace

void bind_loss(nb::module_& module) {
    module.def("loss_forward", &forward, nb::arg("layer"), nb::arg("kept"), nb::arg("losses"), nb::arg("threads"), nb::arg("instruction_set") = "",
               nb::arg("precision") = "float32");
    module.def("loss_backward", &backward, nb::arg("layer"), nb::arg("kept"), nb::arg("upstream"), nb::arg("dx"), nb::arg("dweight"),
               nb::arg("dbias"), nb::arg("threads"), nb::arg("instruction_set") = "", nb::arg("precision") = "float32");
    module.attr("loss_block") = lstmkit::loss_block;
}
