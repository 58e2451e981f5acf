#include "layer.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <optional>
#include <string>
#include <tuple>

#include "lstmkit/layer.h"
#include "lstmkit/memory.h"
#include "unlocked.h"

namespace nb = nanobind;
using lstmkit::Index;

namespace {

using Address = std::uintptr_t;
using Sizes = std::tuple<Index, Index, Index, Index>;
using SequenceAt = std::optional<std::tuple<Address, Index, Index>>;
using StateAt = std::optional<std::tuple<Address, Index>>;
using TraceAt = std::tuple<SequenceAt, SequenceAt, Index>;

template <typename Number>
Number* pointer(Address address) {
    return reinterpret_cast<Number*>(address);
}

template <typename Float>
lstmkit::Sequence<Float> sequence(const SequenceAt& at) {
    if (!at) return {};
    return {pointer<Float>(std::get<0>(*at)), std::get<1>(*at), std::get<2>(*at)};
}

template <typename Float>
lstmkit::State<Float> state(const StateAt& at) {
    if (!at) return {};
    return {pointer<Float>(std::get<0>(*at)), std::get<1>(*at)};
}

template <typename Float>
lstmkit::Trace<Float> trace(const TraceAt& at) {
    return {sequence<Float>(std::get<0>(at)), sequence<Float>(std::get<1>(at)), std::get<2>(at)};
}

using CaseAt = std::tuple<Sizes, SequenceAt, StateAt, StateAt, std::tuple<Address, Address, Address, Address>, Address, Address, bool>;

lstmkit::LayerCase layer_case(const CaseAt& at) {
    const auto& [sizes, x, h, c, weights, lengths, resets, backwards] = at;
    const auto& [T, B, I, H] = sizes;
    const auto& [weight_input, weight_recurrent, bias_input, bias_recurrent] = weights;
    return {T, B, I, H, sequence<const float>(x), state<const float>(h), state<const float>(c),
            pointer<const float>(weight_input), pointer<const float>(weight_recurrent),
            pointer<const float>(bias_input), pointer<const float>(bias_recurrent),
            pointer<const std::int64_t>(lengths), pointer<const std::uint8_t>(resets), backwards};
}

lstmkit::InstructionSet set_called(const std::string& name) {
    return name.empty() ? lstmkit::default_set() : lstmkit::choose_set(name);
}

double multiply_adds(const lstmkit::LayerCase& layer) {
    return 4.0 * double(layer.steps) * double(layer.batch) * double(layer.units) * double(layer.inputs + layer.units);
}

void forward(const CaseAt& layer, const SequenceAt& y, const StateAt& h, const StateAt& c, const TraceAt& kept, int threads,
             const std::string& instruction_set) {
    const lstmkit::LayerCase given = layer_case(layer);
    const lstmkit::ForwardResult result{sequence<float>(y), state<float>(h), state<float>(c), trace<float>(kept)};
    const lstmkit::InstructionSet set = set_called(instruction_set);
    const Unlocked unlocked(multiply_adds(given));
    lstmkit::run_forward(given, result, threads, set);
}

void backward(const CaseAt& layer, const SequenceAt& y, const TraceAt& kept, const SequenceAt& grad_y, const StateAt& grad_h,
              const StateAt& grad_c, const TraceAt& grad_trace, const SequenceAt& dx, const StateAt& dh, const StateAt& dc,
              const std::tuple<Address, Address, Address>& dweights, int threads, const std::string& instruction_set) {
    const lstmkit::LayerCase given = layer_case(layer);
    const lstmkit::Upstream upstream{sequence<const float>(grad_y), state<const float>(grad_h), state<const float>(grad_c),
                                     trace<const float>(grad_trace)};
    const auto& [weight_input, weight_recurrent, bias] = dweights;
    const lstmkit::Gradients gradients{sequence<float>(dx), state<float>(dh), state<float>(dc), pointer<float>(weight_input),
                                       pointer<float>(weight_recurrent), pointer<float>(bias)};
    const lstmkit::InstructionSet set = set_called(instruction_set);
    const Unlocked unlocked(2 * multiply_adds(given));
    lstmkit::run_backward(given, sequence<const float>(y), trace<const float>(kept), upstream, gradients, threads, set);
}

/// Floats of any content in memory that is used again when the array is gone.
nb::ndarray<float, nb::ndim<1>, nb::device::cpu> empty(std::size_t count) {
    auto* memory = new lstmkit::Array<float>(static_cast<Index>(count));
    const nb::capsule owner(memory, [](void* held) noexcept { delete static_cast<lstmkit::Array<float>*>(held); });
    return {memory->data(), {count}, owner};
}

}  // namespace

void bind_layer(nb::module_& module) {
    module.def("lstm_forward", &forward, nb::arg("layer"), nb::arg("y").none(), nb::arg("h").none(), nb::arg("c").none(),
               nb::arg("trace"), nb::arg("threads"), nb::arg("instruction_set") = "");
    module.def("lstm_backward", &backward, nb::arg("layer"), nb::arg("y").none(), nb::arg("trace"), nb::arg("grad_y").none(),
               nb::arg("grad_h").none(), nb::arg("grad_c").none(), nb::arg("grad_trace"), nb::arg("dx").none(),
               nb::arg("dh").none(), nb::arg("dc").none(), nb::arg("dweights"), nb::arg("threads"),
               nb::arg("instruction_set") = "");
    module.def("empty", &empty, nb::arg("count"));
    module.def("release_memory", &lstmkit::release_memory);
}
