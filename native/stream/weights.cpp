#include "stream/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

#include "lstmkit/precision.h"

namespace lstmkit {
namespace {

void expect(bool condition, const std::string& what) {
    if (!condition) throw std::invalid_argument(what);
}

void expect_finite(const float* values, Index count, const StreamKernels& kernels) {
    expect(!values || kernels.is_finite(values, count), "a weight is NaN or infinite; train again, or load another file");
}

constexpr Index word_bytes = sizeof(Word);

Index round_up(Index count, Index unit) noexcept { return (count + unit - 1) / unit * unit; }

template <typename Value>
Word word_of(Value value) noexcept {
    static_assert(sizeof(Value) == sizeof(Word));
    Word word;
    std::memcpy(&word, &value, sizeof word);
    return word;
}

std::uint32_t bfloat16_of(float value) noexcept { return bfloat16(value).bits; }

constexpr float int8_steps = 127.0f;
constexpr Word int8_zero = 128;  // what prepare adds to every number

/// One row of a weight matrix, cut into words.
struct Row {
    const float* numbers;
    Index count;
    StreamPrecision precision;
    float scale = 0;

    Row(const float* numbers, Index count, StreamPrecision precision) noexcept : numbers(numbers), count(count), precision(precision) {
        for (Index k = 0; k < count; ++k) scale = std::max(scale, std::fabs(numbers[k]) / int8_steps);
    }
    float at(Index k) const noexcept { return k < count ? numbers[k] : 0.0f; }
    Word int8(Index k) const noexcept { return scale > 0 ? static_cast<Word>(std::lrintf(at(k) / scale)) : 0; }

    Word word(Index k) const noexcept {
        if (precision == StreamPrecision::float32) return word_of(at(k));
        if (precision == StreamPrecision::bfloat16) return word_of(bfloat16_of(at(2 * k)) | bfloat16_of(at(2 * k + 1)) << 16);
        std::uint32_t bytes = 0;
        for (Index way = 3; way >= 0; --way) bytes = bytes << 8 | (static_cast<std::uint32_t>(int8(4 * k + way)) & 0xff);
        return word_of(bytes);
    }
    Word offset() const noexcept {
        Word sum = 0;
        for (Index k = 0; k < count; ++k) sum += int8(k);
        return -int8_zero * sum;
    }
};

/// Writes one row into lane `lane` of its gate's column of words; `to` is the column's first vector.
void place(const Row& row, Index words, Index lanes, Index lane, Word* to) noexcept {
    for (Index k = 0; k < words; ++k) to[k * gates * lanes + lane] = row.word(k);
}

void check(const StreamLayer& layer, const StreamKernels& kernels) {
    const Index I = layer.inputs, H = layer.units, R = layer.projected ? layer.projected : H;
    expect(I >= 1 && H >= 1 && layer.projected >= 0,
           "expected at least one input and unit, got I=" + std::to_string(I) + " H=" + std::to_string(H));
    expect(layer.weight_input && layer.weight_recurrent, "a weight is null");
    expect(!layer.bias_input == !layer.bias_recurrent, "expected both biases or none");
    expect(!layer.weight_projection == !layer.projected, "expected a projection's size and its weights, or neither");
    expect_finite(layer.weight_input, gates * H * I, kernels);
    expect_finite(layer.weight_recurrent, gates * H * R, kernels);
    expect_finite(layer.bias_input, gates * H, kernels);
    expect_finite(layer.bias_recurrent, gates * H, kernels);
    expect_finite(layer.weight_projection, layer.projected * H, kernels);
}

Index constants_in(StreamPrecision precision) noexcept {
    return precision == StreamPrecision::int8 ? static_cast<Index>(constant_count) : 1;
}

void pack_row(const StreamLayer& from, const PackedLayer& to, StreamPrecision precision, Index gate, Index unit) noexcept {
    const LayerView& view = to.view;
    const Index L = to.lanes, block = unit / L, lane = unit % L, row = gate * to.units + unit;
    const Row input(from.weight_input + row * to.inputs, to.inputs, precision);
    const Row state(from.weight_recurrent + row * to.outputs, to.outputs, precision);
    Word* weights = &to.weights[(block * (view.input_words + view.state_words) * gates + gate) * L];
    place(input, view.input_words, L, lane, weights);
    place(state, view.state_words, L, lane, weights + view.input_words * gates * L);
    const Index count = constants_in(precision);
    const auto constant = [&](Constant which) -> Word& {
        return to.constants[((block * count + which) * gates + gate) * L + lane];
    };
    constant(bias) = word_of(from.bias_input ? from.bias_input[row] + from.bias_recurrent[row] : 0.0f);
    if (precision != StreamPrecision::int8) return;
    constant(input_scale) = word_of(input.scale);
    constant(input_offset) = input.offset();
    constant(state_scale) = word_of(state.scale);
    constant(state_offset) = state.offset();
}

void pack_projection(const StreamLayer& from, const PackedLayer& to) noexcept {
    const Index width = gates * to.lanes;
    for (Index p = 0; p < from.projected; ++p)
        for (Index k = 0; k < to.units; ++k)
            to.projection[(p / width * to.units + k) * width + p % width] = word_of(from.weight_projection[p * to.units + k]);
}

Array<Word> zeros(Index count) {
    Array<Word> words(count);
    std::fill_n(words.data(), count, 0);
    return words;
}

LayerView sizes(const StreamLayer& layer, Index outputs, Index lanes, Index ways) noexcept {
    const Index input_words = (layer.inputs + ways - 1) / ways, state_words = (outputs + ways - 1) / ways;
    return {(layer.units + lanes - 1) / lanes, input_words, state_words, round_up(input_words, lanes),
            round_up(state_words, lanes), nullptr, nullptr};
}

}  // namespace

PackedLayer::PackedLayer(const StreamLayer& layer, StreamPrecision precision, const StreamKernels& kernels)
    : inputs(layer.inputs), units(layer.units), outputs(layer.projected ? layer.projected : layer.units),
      lanes(kernels.lanes), blocks(round_up(units, lanes) / lanes),
      groups(round_up(layer.projected, gates * lanes) / (gates * lanes)),
      view(sizes(layer, outputs, lanes, kernels.of(precision).ways)),
      read{blocks, gates * (view.input_words + view.state_words), lanes * word_bytes, kernels.of(precision).cycles_per_vector},
      projected{groups, gates * units, lanes * word_bytes, kernels.of(StreamPrecision::float32).cycles_per_vector},
      weights(zeros(blocks * read.vectors * lanes)),
      constants(zeros(blocks * constants_in(precision) * gates * lanes)),
      projection(zeros(groups * units * gates * lanes)) {
    view.weights = weights.data();
    view.constants = constants.data();
    for (Index gate = 0; gate < gates; ++gate)
        for (Index unit = 0; unit < units; ++unit) pack_row(layer, *this, precision, gate, unit);
    pack_projection(layer, *this);
}

StreamWeights::StreamWeights(const std::vector<StreamLayer>& layers, StreamPrecision precision, InstructionSet set)
    : kernels_(table_of<StreamKernels>(set)), precision_(precision) {
    expect(!layers.empty(), "expected at least one layer");
    layers_.reserve(layers.size());
    for (const StreamLayer& layer : layers) {
        expect(layers_.empty() || layer.inputs == outputs_,
               "a layer reads " + std::to_string(layer.inputs) + " numbers, the one before it gives " + std::to_string(outputs_));
        check(layer, kernels_);
        layers_.emplace_back(layer, precision, kernels_);
        const PackedLayer& packed = layers_.back();
        outputs_ = packed.outputs;
        h_count_ += packed.outputs;
        c_count_ += packed.units;
        work_ += gates * packed.units * (packed.inputs + packed.outputs) + layer.projected * packed.units;
        step_cycles_ += lstmkit::step_cycles(packed.read, packed.blocks) + lstmkit::step_cycles(packed.projected, packed.groups);
    }
    inputs_ = layers_.front().inputs;
}

StreamWeights::~StreamWeights() = default;

}  // namespace lstmkit
