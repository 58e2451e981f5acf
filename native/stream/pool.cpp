#include <algorithm>
#include <stdexcept>
#include <string>

#include "stream/claim.h"
#include "stream/weights.h"
#include "threads/team.h"

namespace lstmkit {
namespace {

// So many rows pass through one block of weights while both stay in the second-level cache.
constexpr Index block_rows = 96;

// Multiply-adds below which a second thread costs more than it saves.
constexpr Index share_work = 4'000'000;

template <typename Size>
Index most(const StreamWeights& weights, Size size) {
    Index found = 0;
    for (const PackedLayer& layer : weights.layers()) found = std::max(found, size(layer));
    return found;
}

}  // namespace

/// The buffers of one thread.
struct StreamPool::Share {
    Array<Word> x_words, h_words;
    Array<float> x_units, h_units, unprojected;
    Array<float*> c, h, out;

    explicit Share(const StreamWeights& weights)
        : x_words(block_rows * most(weights, [](const PackedLayer& layer) { return layer.view.input_stride; })),
          h_words(block_rows * most(weights, [](const PackedLayer& layer) { return layer.view.state_stride; })),
          x_units(block_rows), h_units(block_rows),
          unprojected(block_rows * most(weights, [](const PackedLayer& layer) { return layer.groups ? layer.padded_units() : 1; })),
          c(block_rows), h(block_rows), out(block_rows) {}
};

StreamPool::StreamPool(std::shared_ptr<const StreamWeights> weights, Index capacity)
    : weights_(std::move(weights)), capacity_(capacity), stamps_(static_cast<std::size_t>(std::max<Index>(0, capacity)), 0) {
    if (capacity < 1) throw std::invalid_argument("expected room for at least one stream, got " + std::to_string(capacity));
    for (const PackedLayer& layer : weights_->layers()) {
        h_.push_back(zeros<float>(capacity * layer.padded_outputs()));
        c_.push_back(zeros<float>(capacity * layer.padded_units()));
    }
}

StreamPool::~StreamPool() = default;

Index StreamPool::bytes() const noexcept {
    Index floats = 0;
    for (const PackedLayer& layer : weights_->layers()) floats += layer.padded_outputs() + layer.padded_units();
    return floats * static_cast<Index>(sizeof(float)) + static_cast<Index>(sizeof(std::uint64_t));
}

void StreamPool::expect_index(Index index) const {
    if (index < 0 || index >= capacity_)
        throw std::invalid_argument("expected streams in 0.." + std::to_string(capacity_ - 1) + ", got " + std::to_string(index));
}

void StreamPool::check(const std::int64_t* indices, Index count) {
    if (count < 0 || count > capacity_)
        throw std::invalid_argument("expected at most " + std::to_string(capacity_) + " streams, got " + std::to_string(count));
    ++calls_;
    for (Index r = 0; indices && r < count; ++r) {
        expect_index(indices[r]);
        std::uint64_t& stamp = stamps_[static_cast<std::size_t>(indices[r])];
        if (stamp == calls_) throw std::invalid_argument("the stream " + std::to_string(indices[r]) + " is named twice");
        stamp = calls_;
    }
}

Outcome StreamPool::step(const float* x, const std::int64_t* indices, Index count, float* y, int threads) {
    const Claim claim(busy_);
    if (!claim) return Outcome::busy;
    check(indices, count);
    const StreamWeights& weights = *weights_;
    if (!weights.kernels().is_finite(x, count * weights.inputs())) return Outcome::not_finite;
    const Index blocks = (count + block_rows - 1) / block_rows;
    const Index wanted = std::min({static_cast<Index>(threads), blocks, count * weights.work() / share_work});
    const int shares = static_cast<int>(std::max<Index>(1, wanted));
    while (static_cast<int>(shares_.size()) < shares) shares_.emplace_back(weights);
    run_shares(shares, shares, [&](int share) noexcept {
        for (Index block = share; block < blocks; block += shares) {
            const Index first = block * block_rows;
            run_rows(shares_[static_cast<std::size_t>(share)], x, indices, first, std::min(block_rows, count - first), y);
        }
    });
    return Outcome::done;
}

void StreamPool::run_rows(const Share& share, const float* x, const std::int64_t* indices, Index first, Index rows,
                          float* y) noexcept {
    const PrecisionKernels& kernels = weights_->kernels().of(weights_->precision());
    for (std::size_t number = 0; number < h_.size(); ++number) {
        const PackedLayer& layer = weights_->layers()[number];
        for (Index r = 0; r < rows; ++r) {
            const Index index = indices ? indices[first + r] : first + r;
            const float* in = number ? share.h[r] : x + (first + r) * layer.inputs;
            share.x_units[r] = kernels.prepare(in, layer.inputs, &share.x_words[r * layer.view.input_stride]);
            share.h[r] = &h_[number][index * layer.padded_outputs()];
            share.c[r] = &c_[number][index * layer.padded_units()];
            share.h_units[r] = kernels.prepare(share.h[r], layer.outputs, &share.h_words[r * layer.view.state_stride]);
            share.out[r] = layer.groups ? &share.unprojected[r * layer.padded_units()] : share.h[r];
        }
        for (Index block = 0; block < layer.blocks; ++block)
            kernels.rows({&layer.view, block, rows, share.x_words.data(), share.h_words.data(), share.x_units.data(),
                          share.h_units.data(), share.c.data(), share.out.data()});
        if (layer.groups)
            weights_->kernels().project({rows, layer.groups, layer.units, layer.projection.data(), share.out.data(), share.h.data()});
    }
    for (Index r = 0; r < rows; ++r) std::copy_n(share.h[r], weights_->outputs(), y + (first + r) * weights_->outputs());
}

Outcome StreamPool::write_state(Index index, const float* h, const float* c) {
    const Claim claim(busy_);
    if (!claim) return Outcome::busy;
    expect_index(index);
    for (std::size_t number = 0; number < h_.size(); ++number) {
        const PackedLayer& layer = weights_->layers()[number];
        float* own_h = &h_[number][index * layer.padded_outputs()];
        float* own_c = &c_[number][index * layer.padded_units()];
        std::fill_n(own_h, layer.padded_outputs(), 0.0f);
        std::fill_n(own_c, layer.padded_units(), 0.0f);
        if (h) std::copy_n(h, layer.outputs, own_h);
        if (c) std::copy_n(c, layer.units, own_c);
        if (h) h += layer.outputs;
        if (c) c += layer.units;
    }
    return Outcome::done;
}

Outcome StreamPool::read_state(Index index, float* h, float* c) const {
    const Claim claim(busy_);
    if (!claim) return Outcome::busy;
    expect_index(index);
    for (std::size_t number = 0; number < h_.size(); ++number) {
        const PackedLayer& layer = weights_->layers()[number];
        h = std::copy_n(&h_[number][index * layer.padded_outputs()], layer.outputs, h);
        c = std::copy_n(&c_[number][index * layer.padded_units()], layer.units, c);
    }
    return Outcome::done;
}

}  // namespace lstmkit
