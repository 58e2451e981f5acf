#include "layer.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "lstmkit/layer.h"
#include "lstmkit/memory.h"
#include "unlocked.h"

namespace nb = nanobind;
using lstmkit::Index;

template <>
struct nanobind::detail::dtype_traits<lstmkit::bfloat16> {
    static constexpr dlpack::dtype value{static_cast<std::uint8_t>(dlpack::dtype_code::Bfloat), 16, 1};
    static constexpr auto name = const_name("bfloat16");
};

namespace {

using Address = std::uintptr_t;
using Sizes = std::tuple<Index, Index, Index, Index, Index>;
using SequenceAt = std::optional<std::tuple<Address, Index, Index>>;
using StateAt = std::optional<std::tuple<Address, Index>>;
using TraceAt = std::tuple<SequenceAt, SequenceAt, Index>;
using WeightsAt = std::tuple<Address, Address, Address, Address, Address>;
using CaseAt = std::tuple<Sizes, SequenceAt, StateAt, StateAt, WeightsAt, Address, Address, bool>;
using ForwardAt = std::tuple<CaseAt, SequenceAt, StateAt, StateAt, TraceAt>;
using UpstreamAt = std::tuple<SequenceAt, StateAt, StateAt, TraceAt>;
using GradientsAt = std::tuple<SequenceAt, StateAt, StateAt, std::tuple<Address, Address, Address, Address>>;
using BackwardAt = std::tuple<CaseAt, SequenceAt, TraceAt, UpstreamAt, GradientsAt>;

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

template <typename P>
lstmkit::LayerCase<P> layer_case(const CaseAt& at) {
    using Number = const lstmkit::Stored<P>;
    const auto& [sizes, x, h, c, weights, lengths, resets, backwards] = at;
    const auto& [T, B, I, H, R] = sizes;
    const auto& [weight_input, weight_recurrent, bias_input, bias_recurrent, projection] = weights;
    return {{T, B, I, H, R, projection != 0, pointer<const std::int64_t>(lengths), pointer<const std::uint8_t>(resets), backwards},
            sequence<Number>(x), state<Number>(h), state<const lstmkit::Real<P>>(c), pointer<Number>(weight_input),
            pointer<Number>(weight_recurrent), pointer<Number>(bias_input), pointer<Number>(bias_recurrent),
            pointer<Number>(projection)};
}

template <typename P>
lstmkit::ForwardJob<P> forward_job(const ForwardAt& at) {
    const auto& [layer, y, h, c, kept] = at;
    using Stored = lstmkit::Stored<P>;
    using Real = lstmkit::Real<P>;
    return {layer_case<P>(layer), {sequence<Stored>(y), state<Stored>(h), state<Real>(c), trace<Real, lstmkit::Saved<P>>(kept)}};
}

template <typename P>
lstmkit::BackwardJob<P> backward_job(const BackwardAt& at) {
    using Stored = const lstmkit::Stored<P>;
    using Real = lstmkit::Real<P>;
    using Gate = const lstmkit::Saved<P>;
    const auto& [layer, y, kept, upstream, gradients] = at;
    const auto& [grad_y, grad_h, grad_c, grad_trace] = upstream;
    const auto& [dx, dh, dc, dweights] = gradients;
    const auto& [weight_input, weight_recurrent, bias, projection] = dweights;
    return {layer_case<P>(layer), sequence<Stored>(y), trace<const Real, Gate>(kept),
            {sequence<Stored>(grad_y), state<const Real>(grad_h), state<const Real>(grad_c), trace<const Real, Gate>(grad_trace)},
            {sequence<std::remove_const_t<Stored>>(dx), state<Real>(dh), state<Real>(dc), pointer<Real>(weight_input), pointer<Real>(weight_recurrent),
             pointer<Real>(bias), pointer<Real>(projection)}};
}

lstmkit::InstructionSet set_called(const std::string& name) {
    return name.empty() ? lstmkit::default_set() : lstmkit::choose_set(name);
}

double multiply_adds(const lstmkit::Course& layer) {
    return 4.0 * double(layer.steps) * double(layer.batch) * double(layer.units) * double(layer.inputs + layer.outputs);
}

/// Calls function(P{}) with the precision of that name: torch's of what is stored, and behind a stroke what else is saved.
template <typename Function>
auto with_precision(const std::string& name, Function function) {
    if (name == "float32") return function(lstmkit::Float32{});
    if (name == "float64") return function(lstmkit::Float64{});
    if (name == "bfloat16") return function(lstmkit::BFloat16{});
    if (name == "float32/bfloat16") return function(lstmkit::Float32SavedInBFloat16{});
    throw std::invalid_argument("no precision is called '" + name + "'; there are: float32, float64, bfloat16, float32/bfloat16");
}

/// The jobs of one call: one for each direction of a layer.
template <typename Job, typename At, typename Convert>
std::array<Job, lstmkit::most_directions> jobs_of(const std::vector<At>& directions, Convert convert) {
    if (directions.empty() || directions.size() > lstmkit::most_directions)
        throw std::invalid_argument("expected 1 or 2 directions, got " + std::to_string(directions.size()));
    std::array<Job, lstmkit::most_directions> jobs{};
    std::transform(directions.begin(), directions.end(), jobs.begin(), convert);
    return jobs;
}

void forward(const std::vector<ForwardAt>& directions, int threads, const std::string& instruction_set, const std::string& precision) {
    const lstmkit::InstructionSet set = set_called(instruction_set);
    with_precision(precision, [&](auto chosen) {
        using P = decltype(chosen);
        const auto jobs = jobs_of<lstmkit::ForwardJob<P>>(directions, forward_job<P>);
        const Unlocked unlocked(multiply_adds(jobs[0].layer));
        lstmkit::run_forward(jobs.data(), static_cast<int>(directions.size()), threads, set);
    });
}

void backward(const std::vector<BackwardAt>& directions, int threads, const std::string& instruction_set, const std::string& precision) {
    const lstmkit::InstructionSet set = set_called(instruction_set);
    with_precision(precision, [&](auto chosen) {
        using P = decltype(chosen);
        const auto jobs = jobs_of<lstmkit::BackwardJob<P>>(directions, backward_job<P>);
        const Unlocked unlocked(2 * multiply_adds(jobs[0].layer));
        lstmkit::run_backward(jobs.data(), static_cast<int>(directions.size()), threads, set);
    });
}

using AnyArray = nb::ndarray<nb::device::cpu>;

std::size_t numbers_of(const std::vector<std::size_t>& shape) {
    std::size_t count = 1;
    for (const std::size_t size : shape) {
        if (size > 0 && count > std::numeric_limits<std::size_t>::max() / size) throw std::bad_alloc();
        count *= size;
    }
    return count;
}

/// Numbers of any content in memory that is used again when the array is gone.
AnyArray empty(const std::vector<std::size_t>& shape, const std::string& precision) {
    return with_precision(precision, [&](auto chosen) {
        using Memory = lstmkit::Array<lstmkit::Stored<decltype(chosen)>>;
        auto* memory = new Memory(static_cast<Index>(numbers_of(shape)));
        const nb::capsule owner(memory, [](void* held) noexcept { delete static_cast<Memory*>(held); });
        return AnyArray(memory->data(), shape.size(), shape.data(), owner, nullptr, nb::dtype<lstmkit::Stored<decltype(chosen)>>());
    });
}

}  // namespace

void bind_layer(nb::module_& module) {
    module.def("lstm_forward", &forward, nb::arg("directions"), nb::arg("threads"), nb::arg("instruction_set") = "",
               nb::arg("precision") = "float32");
    module.def("lstm_backward", &backward, nb::arg("directions"), nb::arg("threads"), nb::arg("instruction_set") = "",
               nb::arg("precision") = "float32");
    module.def("empty", &empty, nb::arg("shape"), nb::arg("precision") = "float32");
    module.def("release_memory", &lstmkit::release_memory);
}
