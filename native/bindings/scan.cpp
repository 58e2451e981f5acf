#include "scan.h"

#include <nanobind/stl/string.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>

#include "lstmkit/mlstm.h"
#include "lstmkit/scan.h"
#include "addresses.h"
#include "chosen.h"
#include "unlocked.h"

namespace nb = nanobind;
using lstmkit::Index;

namespace {

using Sizes = std::tuple<Index, Index, Index, Index>;
using MlstmSizes = std::tuple<Index, Index, Index, Index, Index>;
using MlstmStateAt = std::tuple<Address, Address, Address>;
using KeptAt = std::tuple<Address, Address>;
using ParametersAt = std::tuple<Address, Address, Address, Address>;
using MlstmCaseAt = std::tuple<MlstmSizes, SequenceAt, MlstmStateAt, ParametersAt, Address, Address, bool>;
using CaseAt = std::tuple<std::string, Sizes, SequenceAt, StateAt, Address, Address, Address, Address, bool>;

lstmkit::ScanCell cell_called(const std::string& name) {
    if (name == "minlstm") return lstmkit::ScanCell::minlstm;
    if (name == "mingru") return lstmkit::ScanCell::mingru;
    throw std::invalid_argument("no cell of the scan is called '" + name + "'; there are: minlstm, mingru");
}

template <typename P>
lstmkit::ScanCase<P> scan_case(const CaseAt& at) {
    using Real = const lstmkit::Real<P>;
    const auto& [cell, sizes, x, h, weight, bias, lengths, resets, backwards] = at;
    const auto& [T, B, I, H] = sizes;
    return {{T, B, I, H, H, false, pointer<const std::int64_t>(lengths), pointer<const std::uint8_t>(resets), backwards},
            cell_called(cell), sequence<Real>(x), state<Real>(h), pointer<Real>(weight), pointer<Real>(bias)};
}

template <typename Number>
lstmkit::MlstmState<Number> mlstm_state(const MlstmStateAt& at) {
    return {pointer<Number>(std::get<0>(at)), pointer<Number>(std::get<1>(at)), pointer<Number>(std::get<2>(at))};
}

template <typename Number>
lstmkit::MlstmParameters<Number> mlstm_parameters(const ParametersAt& at) {
    const auto& [sides, gates, side_bias, gate_bias] = at;
    return {pointer<Number>(sides), pointer<Number>(gates), pointer<Number>(side_bias), pointer<Number>(gate_bias)};
}

template <typename Number>
lstmkit::MlstmKept<Number> mlstm_kept(const KeptAt& at) {
    return {pointer<Number>(std::get<0>(at)), pointer<Number>(std::get<1>(at))};
}

template <typename P>
lstmkit::MlstmCase<P> mlstm_case(const MlstmCaseAt& at) {
    using Real = const lstmkit::Real<P>;
    const auto& [sizes, x, first, weights, lengths, resets, backwards] = at;
    const auto& [T, B, I, H, N] = sizes;
    return {{T, B, I, H, H, false, pointer<const std::int64_t>(lengths), pointer<const std::uint8_t>(resets), backwards},
            N, sequence<Real>(x), mlstm_state<Real>(first), mlstm_parameters<Real>(weights)};
}

/// How many numbers of products and of states between chunks one direction keeps.
std::tuple<Index, Index> mlstm_kept_numbers(const MlstmSizes& sizes) {
    const auto& [T, B, I, H, N] = sizes;
    const lstmkit::MlstmCase<lstmkit::Float32> layer{{T, B, I, H, H, false, nullptr, nullptr, false}, N, {}, {}, {}};
    return {layer.chunks() * B * layer.product_numbers(), layer.chunks() * B * N * layer.between_numbers()};
}

double multiply_adds(const lstmkit::Course& layer) {
    return 3.0 * double(layer.steps) * double(layer.batch) * double(layer.units) * double(layer.inputs);
}

template <typename P>
void run_job(const lstmkit::ScanForward<P>& job, int threads, lstmkit::InstructionSet set) { lstmkit::run_scan(job, threads, set); }
template <typename P>
void run_job(const lstmkit::ScanBackward<P>& job, int threads, lstmkit::InstructionSet set) { lstmkit::run_scan(job, threads, set); }
template <typename P>
void run_job(const lstmkit::MlstmForward<P>& job, int threads, lstmkit::InstructionSet set) { lstmkit::run_mlstm(job, threads, set); }
template <typename P>
void run_job(const lstmkit::MlstmBackward<P>& job, int threads, lstmkit::InstructionSet set) { lstmkit::run_mlstm(job, threads, set); }

template <typename P, typename Job>
void run(const Job& job, int threads, const std::string& instruction_set) {
    const lstmkit::InstructionSet set = set_called(instruction_set);
    const Unlocked unlocked(multiply_adds(job.layer));
    run_job<P>(job, threads, set);
}

void forward(const CaseAt& layer, const SequenceAt& y, const StateAt& h, const SequenceAt& z, int threads,
             const std::string& instruction_set, const std::string& precision) {
    with_precision<lstmkit::Float32, lstmkit::Float64>("the scan", precision, [&](auto chosen) {
        using P = decltype(chosen);
        using Real = lstmkit::Real<P>;
        run<P>(lstmkit::ScanForward<P>{scan_case<P>(layer), sequence<Real>(y), state<Real>(h), sequence<Real>(z)}, threads, instruction_set);
    });
}

void backward(const CaseAt& layer, const SequenceAt& y, const SequenceAt& z, const SequenceAt& grad_y, const StateAt& grad_h,
              const SequenceAt& dx, const StateAt& dh, Address dweight, Address dbias, int threads,
              const std::string& instruction_set, const std::string& precision) {
    with_precision<lstmkit::Float32, lstmkit::Float64>("the scan", precision, [&](auto chosen) {
        using P = decltype(chosen);
        using Real = lstmkit::Real<P>;
        run<P>(lstmkit::ScanBackward<P>{scan_case<P>(layer), sequence<const Real>(y), sequence<const Real>(z), sequence<const Real>(grad_y),
                                        state<const Real>(grad_h), sequence<Real>(dx), state<Real>(dh), pointer<Real>(dweight),
                                        pointer<Real>(dbias)},
               threads, instruction_set);
    });
}

void mlstm_forward(const MlstmCaseAt& layer, const SequenceAt& y, const MlstmStateAt& last, const KeptAt& kept, int threads,
                   const std::string& instruction_set, const std::string& precision) {
    with_precision<lstmkit::Float32, lstmkit::Float64>("the scan", precision, [&](auto chosen) {
        using P = decltype(chosen);
        using Real = lstmkit::Real<P>;
        run<P>(lstmkit::MlstmForward<P>{mlstm_case<P>(layer), sequence<Real>(y), mlstm_state<Real>(last), mlstm_kept<Real>(kept)}, threads,
               instruction_set);
    });
}

void mlstm_backward(const MlstmCaseAt& layer, const MlstmStateAt& last, const KeptAt& kept, const SequenceAt& y, const SequenceAt& grad_y,
                    const MlstmStateAt& grad_last, const SequenceAt& dx, const MlstmStateAt& d_first, const ParametersAt& d_weights, int threads,
                    const std::string& instruction_set, const std::string& precision) {
    with_precision<lstmkit::Float32, lstmkit::Float64>("the scan", precision, [&](auto chosen) {
        using P = decltype(chosen);
        using Real = lstmkit::Real<P>;
        run<P>(lstmkit::MlstmBackward<P>{mlstm_case<P>(layer), mlstm_state<const Real>(last), mlstm_kept<const Real>(kept), sequence<const Real>(y),
                                         sequence<const Real>(grad_y), mlstm_state<const Real>(grad_last), sequence<Real>(dx), mlstm_state<Real>(d_first),
                                         mlstm_parameters<Real>(d_weights)},
               threads, instruction_set);
    });
}

}  // namespace

void bind_scan(nb::module_& module) {
    module.def("scan_forward", &forward, nb::arg("layer"), nb::arg("y"), nb::arg("h").none(), nb::arg("z").none(), nb::arg("threads"),
               nb::arg("instruction_set") = "", nb::arg("precision") = "float32");
    module.def("scan_backward", &backward, nb::arg("layer"), nb::arg("y"), nb::arg("z").none(), nb::arg("grad_y").none(), nb::arg("grad_h").none(),
               nb::arg("dx").none(), nb::arg("dh").none(), nb::arg("dweight"), nb::arg("dbias"), nb::arg("threads"),
               nb::arg("instruction_set") = "", nb::arg("precision") = "float32");
    module.def("mlstm_forward", &mlstm_forward, nb::arg("layer"), nb::arg("y"), nb::arg("last"), nb::arg("kept"), nb::arg("threads"),
               nb::arg("instruction_set") = "", nb::arg("precision") = "float32");
    module.def("mlstm_backward", &mlstm_backward, nb::arg("layer"), nb::arg("last"), nb::arg("kept"), nb::arg("y"), nb::arg("grad_y").none(),
               nb::arg("grad_last"), nb::arg("dx").none(), nb::arg("d_first"), nb::arg("d_weights"), nb::arg("threads"),
               nb::arg("instruction_set") = "", nb::arg("precision") = "float32");
    module.def("mlstm_kept", &mlstm_kept_numbers, nb::arg("sizes"));
}
