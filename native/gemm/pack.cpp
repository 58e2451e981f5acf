#include "gemm/pack.h"

#include <algorithm>

namespace lstmkit {
namespace {

// So many blocks of a group of weights stay in the second-level cache while all rows pass: 256 KiB with 16 lanes.
constexpr Index resident_blocks = 16;

/// to[k][l] at distance 4L = from[l][k] for l < count, zero beyond.
void transpose(const float* from, Index columns, Index count, Index lanes, float* to) noexcept {
    for (Index k = 0; k < columns; ++k, to += gates * lanes) {
        for (Index l = 0; l < count; ++l) to[l] = from[l * columns + k];
        std::fill(to + count, to + lanes, 0.0f);
    }
}

void transpose_back(const float* from, Index columns, Index count, Index lanes, float* to) noexcept {
    for (Index l = 0; l < count; ++l)
        for (Index k = 0; k < columns; ++k) to[l * columns + k] = from[k * gates * lanes + l];
}

}  // namespace

void pack_block(const LayerCase& layer, const Blocks& sizes, Index block, float* weights, float* bias) noexcept {
    const Index I = sizes.inputs, H = sizes.units, L = sizes.lanes, count = sizes.count(block);
    for (Index gate = 0; gate < gates; ++gate) {
        const Index row = gate * H + sizes.first(block);
        float* to = weights + gate * L;
        transpose(layer.weight_input + row * I, I, count, L, to);
        transpose(layer.weight_recurrent + row * H, H, count, L, to + I * sizes.gate_vectors());
        for (Index l = 0; l < L; ++l)
            bias[gate * L + l] = layer.bias_input && l < count ? layer.bias_input[row + l] + layer.bias_recurrent[row + l] : 0;
    }
}

void unpack_block(const Blocks& sizes, Index block, const float* weights, const float* bias, const Gradients& to) noexcept {
    const Index I = sizes.inputs, H = sizes.units, L = sizes.lanes, count = sizes.count(block);
    for (Index gate = 0; gate < gates; ++gate) {
        const Index row = gate * H + sizes.first(block);
        const float* from = weights + gate * L;
        transpose_back(from, I, count, L, to.weight_input + row * I);
        transpose_back(from + I * sizes.gate_vectors(), H, count, L, to.weight_recurrent + row * H);
        std::copy(bias + gate * L, bias + gate * L + count, to.bias + row);
    }
}

Index TransposedPack::group_size(Index group) const noexcept {
    return std::min(group_vectors, vectors_ - group * group_vectors);
}

void TransposedPack::fill(const float* matrix, Index block, float* pack) const noexcept {
    const Index L = sizes_.lanes, rows = sizes_.blocks * sizes_.gate_vectors();
    for (Index group = 0; group * group_vectors < vectors_; ++group) {
        const Index first = group * group_vectors * L, width = group_size(group) * L;
        const Index count = std::min(width, columns_ - first);
        float* to = pack + first * rows + block * sizes_.gate_vectors() * width;
        for (Index gate = 0; gate < gates; ++gate)
            for (Index l = 0; l < L; ++l, to += width) {
                const Index real = l < sizes_.count(block) ? count : 0;
                const float* from = matrix + (gate * sizes_.units + sizes_.first(block) + l) * columns_ + first;
                if (real) std::copy(from, from + real, to);
                std::fill(to + real, to + width, 0.0f);
            }
    }
}

void TransposedPack::multiply(const Kernels& kernels, const float* dz, Index dz_block, Index rows, const float* pack,
                              float* const* out) const noexcept {
    for (Index group = 0; group * group_vectors < vectors_; ++group) {
        const Index first = group * group_vectors * sizes_.lanes, width = group_size(group) * sizes_.lanes;
        const float* weights = pack + first * sizes_.blocks * sizes_.gate_vectors();
        for (Index block = 0; block < sizes_.blocks; block += resident_blocks)
            kernels.product({rows, dz + block * dz_block, dz_block, std::min(resident_blocks, sizes_.blocks - block),
                             weights + block * sizes_.gate_vectors() * width, group_size(group), out, first,
                             std::min(width, columns_ - first), block > 0});
    }
}

}  // namespace lstmkit
