#include "layer.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>

#include "lstmkit/layer.h"
#include "lstmkit/memory.h"

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

template <typename Number>
lstmkit::Sequence<Number> sequence(const SequenceAt& at) {
    if (!at) return {};
    return {pointer<Number>(std::get<0>(*at)), std::get<1>(*at), std::get<2>(*at)};
}

template <typename Number>
lstmkit::State<Number> state(const StateAt& at) {
    if (!at) return {};
    return {pointer<Number>(std::get<0>(*at)), std::get<1>(*at)};
}

template <typename Cell, typename Gate>
lstmkit::Trace<Cell, Gate> trace(const TraceAt& at) {
    return {sequence<Cell>(std::get<0>(at)), sequence<Gate>(std::get<1>(at)), std::get<2>(at)};
}

using CaseAt = std::tuple<Sizes, SequenceAt, StateAt, StateAt, std::tuple<Address, Address, Address, Address>, Address, Address, bool>;

template <typename P>
lstmkit::LayerCase<P> layer_case(const CaseAt& at) {
    using Number = const lstmkit::Stored<P>;
    const auto& [sizes, x, h, c, weights, lengths, resets, backwards] = at;
    const auto& [T, B, I, H] = sizes;
    const auto& [weight_input, weight_recurrent, bias_input, bias_recurrent] = weights;
    return {{T, B, I, H, pointer<const std::int64_t>(lengths), pointer<const std::uint8_t>(resets), backwards},
            sequence<Number>(x), state<Number>(h), state<const lstmkit::Real<P>>(c), pointer<Number>(weight_input),
            pointer<Number>(weight_recurrent), pointer<Number>(bias_input), pointer<Number>(bias_recurrent)};
}

lstmkit::InstructionSet set_called(const std::string& name) {
    return name.empty() ? lstmkit::default_set() : lstmkit::choose_set(name);
}

/// Calls function(P{}) with the precision of that name, which is torch's and NumPy's.
template <typename Function>
auto with_precision(const std::string& name, Function function) {
    if (name == "float32") return function(lstmkit::Float32{});
    if (name == "float64") return function(lstmkit::Float64{});
    throw std::invalid_argument("no precision is called '" + name + "'; there are: float32, float64");
}

void forward(const CaseAt& layer, const SequenceAt& y, const StateAt& h, const StateAt& c, const TraceAt& kept, int threads,
             const std::string& instruction_set, const std::string& precision) {
    const lstmkit::InstructionSet set = set_called(instruction_set);
    with_precision(precision, [&](auto chosen) {
        using P = decltype(chosen);
        using Number = lstmkit::Stored<P>;
        using Real = lstmkit::Real<P>;
        const lstmkit::ForwardResult<P> result{sequence<Number>(y), state<Number>(h), state<Real>(c),
                                               trace<Real, lstmkit::Saved<P>>(kept)};
        const nb::gil_scoped_release released;
        lstmkit::run_forward(layer_case<P>(layer), result, threads, set);
    });
}

void backward(const CaseAt& layer, const SequenceAt& y, const TraceAt& kept, const SequenceAt& grad_y, const StateAt& grad_h,
              const StateAt& grad_c, const TraceAt& grad_trace, const SequenceAt& dx, const StateAt& dh, const StateAt& dc,
              const std::tuple<Address, Address, Address>& dweights, int threads, const std::string& instruction_set,
              const std::string& precision) {
    const lstmkit::InstructionSet set = set_called(instruction_set);
    with_precision(precision, [&](auto chosen) {
        using P = decltype(chosen);
        using Number = const lstmkit::Stored<P>;
        using Real = lstmkit::Real<P>;
        using Gate = const lstmkit::Saved<P>;
        const lstmkit::Upstream<P> upstream{sequence<Number>(grad_y), state<const Real>(grad_h), state<const Real>(grad_c),
                                            trace<const Real, Gate>(grad_trace)};
        const auto& [weight_input, weight_recurrent, bias] = dweights;
        const lstmkit::Gradients<P> gradients{sequence<Real>(dx), state<Real>(dh), state<Real>(dc), pointer<Real>(weight_input),
                                              pointer<Real>(weight_recurrent), pointer<Real>(bias)};
        const nb::gil_scoped_release released;
        lstmkit::run_backward(layer_case<P>(layer), sequence<Number>(y), trace<const Real, Gate>(kept), upstream, gradients,
                              threads, set);
    });
}

using AnyArray = nb::ndarray<nb::ndim<1>, nb::device::cpu>;

/// Numbers of any content in memory that is used again when the array is gone.
AnyArray empty(std::size_t count, const std::string& precision) {
    return with_precision(precision, [&](auto chosen) {
        using Memory = lstmkit::Array<lstmkit::Stored<decltype(chosen)>>;
        auto* memory = new Memory(static_cast<Index>(count));
        const nb::capsule owner(memory, [](void* held) noexcept { delete static_cast<Memory*>(held); });
        return AnyArray(memory->data(), {count}, owner, {}, nb::dtype<lstmkit::Stored<decltype(chosen)>>());
    });
}

}  // namespace

void bind_layer(nb::module_& module) {
    module.def("lstm_forward", &forward, nb::arg("layer"), nb::arg("y").none(), nb::arg("h").none(), nb::arg("c").none(),
               nb::arg("trace"), nb::arg("threads"), nb::arg("instruction_set") = "",
               nb::arg("precision") = "float32");
    module.def("lstm_backward", &backward, nb::arg("layer"), nb::arg("y").none(), nb::arg("trace"), nb::arg("grad_y").none(),
               nb::arg("grad_h").none(), nb::arg("grad_c").none(), nb::arg("grad_trace"), nb::arg("dx").none(),
               nb::arg("dh").none(), nb::arg("dc").none(), nb::arg("dweights"), nb::arg("threads"),
               nb::arg("instruction_set") = "", nb::arg("precision") = "float32");
    module.def("empty", &empty, nb::arg("count"), nb::arg("precision") = "float32");
    module.def("release_memory", &lstmkit::release_memory);
}
