#include <algorithm>
#include <system_error>

#include "stream/claim.h"
#include "stream/helper.h"
#include "stream/weights.h"

namespace lstmkit {
namespace {

// Steps whose input products are computed together, a multiple of every tile's rows; their z stays in the caches.
constexpr Index block_steps = 24;

std::unique_ptr<Helper> find_helper(const std::vector<PackedLayer>& layers, int threads) {
    const auto is_large = [](const PackedLayer& layer) { return is_worth_sharing(layer.read); };
    if (threads < 2 || std::none_of(layers.begin(), layers.end(), is_large)) return nullptr;
    if (available_threads() < 2 || is_forked_child()) return nullptr;
    try {
        return std::make_unique<Helper>();
    } catch (const std::system_error&) {
        return nullptr;
    }
}

}  // namespace

/// A layer's state and the words that its next step reads.
struct Stream::Layer {
    const PackedLayer& packed;
    const bool is_shared;
    Experience with_steps, with_inputs;
    Array<Word> x_words, h_words;
    Array<float> h, c, unprojected;

    explicit Layer(const PackedLayer& packed)
        : packed(packed), is_shared(is_worth_sharing(packed.read)), x_words(packed.view.input_stride), h_words(packed.view.state_stride),
          h(zeros<float>(packed.padded_outputs())), c(zeros<float>(packed.padded_units())), unprojected(zeros<float>(packed.padded_units())) {}
    /// Where the kernel of a step writes.
    float* out() const noexcept { return packed.groups ? unprojected.data() : h.data(); }
    Index z_floats() const noexcept { return packed.padded_units() * gates; }
};

/// What a block of steps needs beside a single one.
struct Stream::Block {
    Array<Word> x_words;
    Array<float> x_units, z, outputs;

    explicit Block(const std::vector<Layer>& layers)
        : x_words(block_steps * most(layers, [](const Layer& layer) { return layer.packed.view.input_stride; })),
          x_units(block_steps), z(block_steps * most(layers, [](const Layer& layer) { return layer.z_floats(); })),
          outputs(block_steps * most(layers, [](const Layer& layer) { return layer.packed.outputs; })) {}

    template <typename Size>
    static Index most(const std::vector<Layer>& layers, Size size) {
        Index found = 0;
        for (const Layer& layer : layers) found = std::max(found, size(layer));
        return found;
    }
};

Stream::Stream(std::shared_ptr<const StreamWeights> weights, int threads)
    : weights_(std::move(weights)), helper_(find_helper(weights_->layers(), threads)) {
    layers_.reserve(weights_->layers().size());
    for (const PackedLayer& packed : weights_->layers()) layers_.emplace_back(packed);
}

Stream::~Stream() = default;

Outcome Stream::run(const float* x, Index steps, float* y) {
    const Claim claim(busy_);
    if (!claim) return Outcome::busy;
    if (!weights_->kernels().is_finite(x, steps * weights_->inputs())) return Outcome::not_finite;
    if (steps > 1 && !block_) block_ = std::make_unique<Block>(layers_);
    const FlushDenormals flush;
    if (steps == 1) {
        run_step(x, y);
        return Outcome::done;
    }
    for (Index first = 0; first < steps; first += block_steps) {
        const Index count = std::min(block_steps, steps - first);
        run_block(x + first * weights_->inputs(), count, y + first * weights_->outputs());
    }
    return Outcome::done;
}

void Stream::run_step(const float* x, float* y) noexcept {
    is_reversed_ = !is_reversed_;
    for (Layer& layer : layers_) {
        const float unit = precision().prepare(x, layer.packed.inputs, layer.x_words.data());
        advance(layer, {layer.x_words.data(), unit}, nullptr);
        x = layer.h.data();
    }
    std::copy_n(x, weights_->outputs(), y);
}

void Stream::run_block(const float* x, Index steps, float* y) noexcept {
    for (Layer& layer : layers_) {
        const PackedLayer& packed = layer.packed;
        multiply_inputs(layer, x, steps);
        float* out = &layer == &layers_.back() ? y : block_->outputs.data();
        for (Index step = 0; step < steps; ++step) {
            is_reversed_ = !is_reversed_;
            advance(layer, {}, &block_->z[step * layer.z_floats()]);
            std::copy_n(layer.h.data(), packed.outputs, out + step * packed.outputs);
        }
        x = out;
    }
}

void Stream::multiply_inputs(Layer& layer, const float* x, Index steps) noexcept {
    const PackedLayer& packed = layer.packed;
    for (Index step = 0; step < steps; ++step)
        block_->x_units[step] = precision().prepare(x + step * packed.inputs, packed.inputs,
                                                    &block_->x_words[step * packed.view.input_stride]);
    for_blocks(layer, layer.with_inputs, [&](Index first, Index last) noexcept {
        for (Index block = first; block < last; ++block)
            precision().inputs({&packed.view, block, steps, block_->x_words.data(), block_->x_units.data(), block_->z.data()});
    });
}

/// One step of one layer, from x or from z.
void Stream::advance(Layer& layer, const Operand& x, const float* z) noexcept {
    const PackedLayer& packed = layer.packed;
    const float unit = precision().prepare(layer.h.data(), packed.outputs, layer.h_words.data());
    for_blocks(layer, layer.with_steps, [&](Index first, Index last) noexcept {
        precision().step({&packed.view, x, {layer.h_words.data(), unit}, z, first, last, is_reversed_, layer.c.data(), layer.out()});
    });
    if (!packed.groups) return;
    const float* in = layer.unprojected.data();
    float* out = layer.h.data();
    weights_->kernels().project({1, packed.groups, packed.units, packed.projection.data(), &in, &out});
}

/// Calls work(first, last) for all blocks of a layer, in two halves where a second thread is worth it.
template <typename Work>
void Stream::for_blocks(const Layer& layer, Experience& experience, Work work) noexcept {
    const Index blocks = layer.packed.blocks, middle = first_half(blocks);
    if (!helper_ || !layer.is_shared) return work(0, blocks);
    auto halves = [&](int half) noexcept { half == 0 ? work(0, middle) : work(middle, blocks); };
    helper_->split(halves, experience);
}

const PrecisionKernels& Stream::precision() const noexcept {
    return weights_->kernels().of(weights_->precision());
}

Outcome Stream::write_state(const float* h, const float* c) noexcept {
    const Claim claim(busy_);
    if (!claim) return Outcome::busy;
    for (const Layer& layer : layers_) {
        std::fill_n(layer.h.data(), layer.packed.padded_outputs(), 0.0f);
        std::fill_n(layer.c.data(), layer.packed.padded_units(), 0.0f);
        if (h) std::copy_n(h, layer.packed.outputs, layer.h.data());
        if (c) std::copy_n(c, layer.packed.units, layer.c.data());
        if (h) h += layer.packed.outputs;
        if (c) c += layer.packed.units;
    }
    return Outcome::done;
}

Outcome Stream::read_state(float* h, float* c) const noexcept {
    const Claim claim(busy_);
    if (!claim) return Outcome::busy;
    for (const Layer& layer : layers_) {
        h = std::copy_n(layer.h.data(), layer.packed.outputs, h);
        c = std::copy_n(layer.c.data(), layer.packed.units, c);
    }
    return Outcome::done;
}

}  // namespace lstmkit
