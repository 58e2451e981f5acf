#include "layer.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <limits>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "lstmkit/draw.h"
#include "lstmkit/layer.h"
#include "lstmkit/memory.h"
#include "addresses.h"
#include "chosen.h"
#include "unlocked.h"

namespace nb = nanobind;
using lstmkit::Index;

template <>
struct nanobind::detail::dtype_traits<lstmkit::bfloat16> {
    static constexpr dlpack::dtype value{static_cast<std::uint8_t>(dlpack::dtype_code::Bfloat), 16, 1};
    static constexpr auto name = const_name("bfloat16");
};

namespace {

using Sizes = std::tuple<Index, Index, Index, Index, Index>;
using TraceAt = std::tuple<SequenceAt, SequenceAt, Index, Index>;  // strides of gates and of states
using WeightsAt = std::tuple<Address, Address, Address, Address, Address, Address, Address>;
using MasksAt = std::tuple<StateAt, SequenceAt, SequenceAt, SequenceAt>;  // state, candidate, keeps_h, keeps_c
using Options = std::optional<nb::dict>;
using CaseAt = std::tuple<Sizes, SequenceAt, StateAt, StateAt, WeightsAt, Address, Address, bool, Options, MasksAt>;
using ForwardAt = std::tuple<CaseAt, SequenceAt, StateAt, StateAt, TraceAt>;
using UpstreamAt = std::tuple<SequenceAt, StateAt, StateAt, TraceAt>;
using GradientsAt = std::tuple<SequenceAt, StateAt, StateAt, std::tuple<Address, Address, Address, Address, Address, Address, Address, Address>>;
using BackwardAt = std::tuple<CaseAt, SequenceAt, TraceAt, UpstreamAt, GradientsAt>;

template <typename Cell, typename Gate>
lstmkit::Trace<Cell, Gate> trace(const TraceAt& at) {
    return {sequence<Cell>(std::get<0>(at)), sequence<Gate>(std::get<1>(at)), std::get<2>(at), std::get<3>(at)};
}

/// The number of a name among those that an enumeration has.
template <typename Enumeration>
Enumeration number_of(const char* option, const std::string& name, std::initializer_list<const char*> names) {
    int number = 0;
    for (const char* known : names) {
        if (name == known) return static_cast<Enumeration>(number);
        ++number;
    }
    throw std::invalid_argument(std::string("no ") + option + " is called '" + name + "'");
}

lstmkit::Activation activation(const nb::handle& given) {
    const auto& [name, alpha, beta] = nb::cast<std::tuple<std::string, double, double>>(given);
    return {number_of<lstmkit::Curve>("activation", name, {"sigmoid", "tanh", "hard_sigmoid", "relu", "softsign", "identity"}), alpha, beta};
}

lstmkit::Gate gate(const nb::handle& given) {
    return number_of<lstmkit::Gate>("kind of gate", nb::cast<std::string>(given), {"free", "one", "coupled"});
}

/// Reads one option into its place; unknown ones are refused.
template <typename P>
void read_option(const std::string& name, const nb::handle& value, lstmkit::CellOptions<P>& o) {
    using Real = lstmkit::Real<P>;
    const auto vector = [&] { return pointer<const Real>(nb::cast<Address>(value)); };
    const auto number = [&] { return static_cast<Real>(nb::cast<double>(value)); };
    if (name == "cell")
        o.cell = number_of<lstmkit::Cell>("cell", nb::cast<std::string>(value),
                                          {"lstm", "gru", "rnn", "janet", "slstm", "gru_before", "multiplicative", "time_aware", "phased", "on_lstm"});
    else if (name == "input_gate") o.input_gate = gate(value);
    else if (name == "forget_gate") o.forget_gate = gate(value);
    else if (name == "output_gate") o.output_gate = gate(value);
    else if (name == "gate_activation") o.gate = activation(value);
    else if (name == "candidate_activation") o.candidate = activation(value);
    else if (name == "cell_activation") o.output = activation(value);
    else if (name == "peephole_i") o.peepholes[0] = vector();
    else if (name == "peephole_f") o.peepholes[1] = vector();
    else if (name == "peephole_o") o.peepholes[2] = vector();
    else if (name == "gate_clip") o.gate_clip = number();
    else if (name == "cell_clip") o.cell_clip = number();
    else if (name == "proj_clip") o.projection_clip = number();
    else if (name == "zoneout_h") o.zoneout_h = number();
    else if (name == "zoneout_c") o.zoneout_c = number();
    else if (name == "proj_bias") o.projection_bias = vector();
    else if (name == "truncates") o.truncates = nb::cast<bool>(value);
    else if (name == "gates_recur") o.gates_recur = nb::cast<bool>(value);
    else if (name == "beta") o.shift = number();
    else if (name == "ratio") o.ratio = vector();
    else if (name == "leak") o.leak = number();
    else if (name == "chunk_size") o.chunk = nb::cast<Index>(value);
    else if (name == "norm") o.norm = number_of<lstmkit::Norm>("norm", nb::cast<std::string>(value), {"none", "products", "gates"});
    else if (name == "cell_norm")
        o.cell_norm = number_of<lstmkit::CellNorm>("norm of a cell state", nb::cast<std::string>(value), {"none", "read", "fed back"});
    else if (name == "epsilon") o.epsilon = number();
    else if (name == "gain_ih") o.gain_input = vector();
    else if (name == "gain_hh") o.gain_recurrent = vector();
    else if (name == "gain_gates") o.gain_gates = vector();
    else if (name == "bias") o.bias = vector();
    else if (name == "gain_c") o.gain_cell = vector();
    else if (name == "bias_c") o.bias_cell = vector();
    else throw std::invalid_argument("no cell has the option '" + name + "'");
}

/// Options that are sizes of the layer instead of its cell's.
constexpr std::string_view heads_option = "heads", rounds_option = "rounds", rank_option = "rank";

Index size_of(const Options& given, std::string_view name, Index otherwise) {
    return given && given->contains(name.data()) ? nb::cast<Index>((*given)[name.data()]) : otherwise;
}

template <typename P>
lstmkit::CellOptions<P> cell_options(const nb::dict& given) {
    lstmkit::CellOptions<P> options;
    for (const auto& [key, value] : given) {
        const auto name = nb::cast<std::string>(key);
        if (name != heads_option && name != rounds_option && name != rank_option) read_option<P>(name, value, options);
    }
    return options;
}

template <typename P>
lstmkit::Masks<P> masks_of(const MasksAt& at) {
    using Number = const lstmkit::Stored<P>;
    const auto& [state_mask, candidate, keeps_h, keeps_c] = at;
    return {state<Number>(state_mask), sequence<Number>(candidate), sequence<const std::uint8_t>(keeps_h),
            sequence<const std::uint8_t>(keeps_c)};
}

/// The options of each direction of a call, which its jobs point to.
template <typename P>
using OptionsRoom = std::array<lstmkit::CellOptions<P>, lstmkit::most_directions>;

template <typename P>
lstmkit::LayerCase<P> layer_case(const CaseAt& at, lstmkit::CellOptions<P>& room) {
    using Number = const lstmkit::Stored<P>;
    const auto& [sizes, x, h, c, weights, lengths, resets, backwards, options, masks] = at;
    if (options) room = cell_options<P>(*options);
    const auto& [T, B, I, H, R] = sizes;
    const auto& [weight_input, weight_recurrent, bias_input, bias_recurrent, projection, middle, weight_rounds] = weights;
    const Index heads = size_of(options, heads_option, 1), rounds = size_of(options, rounds_option, 0), rank = size_of(options, rank_option, 0);
    const lstmkit::CellShape shape = options ? lstmkit::shape_of(room) : lstmkit::CellShape{};
    return {{T, B, I, H, R, projection != 0, pointer<const std::int64_t>(lengths), pointer<const std::uint8_t>(resets), backwards, shape,
             heads, rounds, rank},
            sequence<Number>(x), state<Number>(h), state<const lstmkit::Real<P>>(c), pointer<Number>(weight_input),
            pointer<Number>(weight_recurrent), pointer<Number>(bias_input), pointer<Number>(bias_recurrent),
            pointer<Number>(projection), options && !rounds ? &room : nullptr, masks_of<P>(masks), pointer<Number>(middle),
            pointer<Number>(weight_rounds)};
}

template <typename P>
lstmkit::ForwardJob<P> forward_job(const ForwardAt& at, lstmkit::CellOptions<P>& room) {
    const auto& [layer, y, h, c, kept] = at;
    using Stored = lstmkit::Stored<P>;
    using Real = lstmkit::Real<P>;
    return {layer_case<P>(layer, room), {sequence<Stored>(y), state<Stored>(h), state<Real>(c), trace<Real, lstmkit::Saved<P>>(kept)}};
}

template <typename P>
lstmkit::BackwardJob<P> backward_job(const BackwardAt& at, lstmkit::CellOptions<P>& room) {
    using Stored = const lstmkit::Stored<P>;
    using Real = lstmkit::Real<P>;
    using Gate = const lstmkit::Saved<P>;
    const auto& [layer, y, kept, upstream, gradients] = at;
    const auto& [grad_y, grad_h, grad_c, grad_trace] = upstream;
    const auto& [dx, dh, dc, dweights] = gradients;
    const auto& [weight_input, weight_recurrent, bias, projection, totals, projection_bias, middle, rounds] = dweights;
    return {layer_case<P>(layer, room), sequence<Stored>(y), trace<const Real, Gate>(kept),
            {sequence<Stored>(grad_y), state<const Real>(grad_h), state<const Real>(grad_c), trace<const Real, Stored>(grad_trace)},
            {sequence<std::remove_const_t<Stored>>(dx), state<Real>(dh), state<Real>(dc), pointer<Real>(weight_input), pointer<Real>(weight_recurrent),
             pointer<Real>(bias), pointer<Real>(projection), pointer<Real>(totals), pointer<Real>(projection_bias), pointer<Real>(middle),
             pointer<Real>(rounds)}};
}

double multiply_adds(const lstmkit::Course& layer) {
    const lstmkit::CellShape& shape = layer.shape;
    const Index middle = layer.units * shape.middle_vectors * shape.middle;
    const Index per_unit = layer.inputs * shape.input + layer.outputs / layer.heads * shape.recurrent + middle;
    return double(layer.steps) * double(layer.batch) * (double(layer.units) * double(per_unit) + double(layer.rounds) * double(layer.round_weights()));
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
template <typename Job, typename At, typename Room, typename Convert>
std::array<Job, lstmkit::most_directions> jobs_of(const std::vector<At>& directions, Room& room, Convert convert) {
    if (directions.empty() || directions.size() > lstmkit::most_directions)
        throw std::invalid_argument("expected 1 or 2 directions, got " + std::to_string(directions.size()));
    std::array<Job, lstmkit::most_directions> jobs{};
    std::transform(directions.begin(), directions.end(), room.begin(), jobs.begin(), convert);
    return jobs;
}

void forward(const std::vector<ForwardAt>& directions, int threads, const std::string& instruction_set, const std::string& precision) {
    const lstmkit::InstructionSet set = set_called(instruction_set);
    with_precision(precision, [&](auto chosen) {
        using P = decltype(chosen);
        OptionsRoom<P> room{};
        const auto jobs = jobs_of<lstmkit::ForwardJob<P>>(directions, room, forward_job<P>);
        const Unlocked unlocked(multiply_adds(jobs[0].layer));
        lstmkit::run_forward(jobs.data(), static_cast<int>(directions.size()), threads, set);
    });
}

void backward(const std::vector<BackwardAt>& directions, int threads, const std::string& instruction_set, const std::string& precision) {
    const lstmkit::InstructionSet set = set_called(instruction_set);
    with_precision(precision, [&](auto chosen) {
        using P = decltype(chosen);
        OptionsRoom<P> room{};
        const auto jobs = jobs_of<lstmkit::BackwardJob<P>>(directions, room, backward_job<P>);
        const Unlocked unlocked(2 * multiply_adds(jobs[0].layer));
        lstmkit::run_backward(jobs.data(), static_cast<int>(directions.size()), threads, set);
    });
}

/// What the arrays of a cell look like: its sums, the input's and the recurrent ones, numbers kept, states, vectors of totals.
std::tuple<Index, Index, Index, Index, Index, Index> cell_shape(const nb::dict& given) {
    const lstmkit::CellOptions<lstmkit::Float64> options = cell_options<lstmkit::Float64>(given);
    const lstmkit::CellShape shape = lstmkit::shape_of(options);
    return {shape.sums, shape.input, shape.recurrent, shape.kept, shape.states, lstmkit::totals_of(options)};
}

/// Choices in memory of the caller: as numbers of a precision, or as bytes of 1 and 0.
void draw(std::uint64_t seed, std::uint32_t times, double chosen, double otherwise, Address out, Index count, int threads,
          const std::string& precision) {
    const Unlocked unlocked{double(count)};
    with_precision(precision, [&](auto name) {
        using P = decltype(name);
        using Number = lstmkit::Stored<P>;
        lstmkit::draw<P>(seed, times, static_cast<Number>(chosen), static_cast<Number>(otherwise), pointer<Number>(out), count, threads,
                         lstmkit::default_set());
    });
}

void draw_bytes(std::uint64_t seed, std::uint32_t times, Address out, Index count, int threads) {
    const Unlocked unlocked{double(count)};
    lstmkit::draw_bytes(seed, times, pointer<std::uint8_t>(out), count, threads, lstmkit::default_set());
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
    module.def("draw", &draw, nb::arg("seed"), nb::arg("times"), nb::arg("chosen"), nb::arg("otherwise"), nb::arg("out"),
               nb::arg("count"), nb::arg("threads"), nb::arg("precision"));
    module.def("draw_bytes", &draw_bytes, nb::arg("seed"), nb::arg("times"), nb::arg("out"), nb::arg("count"), nb::arg("threads"));
    module.def("cell_shape", &cell_shape, nb::arg("options"));
    module.def("empty", &empty, nb::arg("shape"), nb::arg("precision") = "float32");
    module.def("release_memory", &lstmkit::release_memory);
}
